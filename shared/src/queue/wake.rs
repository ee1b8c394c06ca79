//! Telling workers that a queue may have something for them, so that an idle one need not ask all the time.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::StreamExt as _;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::{Queue, QueueStore, RETRY, RedisError};

/// What sleeps until its queue is woken.
#[derive(Debug, Clone)]
pub(super) struct Wake(Arc<HashMap<Queue, Notify>>);

impl Wake {
    pub(super) fn new() -> Self {
        Self(Arc::new(Queue::ALL.into_iter().map(|queue| (queue, Notify::new())).collect()))
    }

    /// Waits for a sign that there may be work, or for the time to pass.
    pub(super) async fn wait(&self, queue: Queue, at_most: Duration) {
        if let Some(notify) = self.0.get(&queue) {
            let _ = tokio::time::timeout(at_most, notify.notified()).await;
        }
    }

    /// A sign given before the wait is not lost: the next wait ends at once.
    pub(super) fn wake(&self, queue: Queue) {
        if let Some(notify) = self.0.get(&queue) {
            notify.notify_one();
        }
    }

    /// Passes on what the scripts publish, until cancelled. While Redis is away workers wake by the clock alone.
    pub(super) async fn listen(self, store: QueueStore, queues: Vec<Queue>, stop: CancellationToken) {
        let mut failures = 0;
        while let Some(ended) = stop.run_until_cancelled(self.pass_on(&store, &queues, &mut failures)).await {
            failures += 1;
            let wait = RETRY.delay(failures, rand::random());
            if let Err(error) = ended {
                tracing::debug!(%error, failures, "queue.wake.paused");
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
    }

    async fn pass_on(&self, store: &QueueStore, queues: &[Queue], failures: &mut u32) -> Result<(), RedisError> {
        let mut subscription = store.subscribe(queues).await?;
        *failures = 0;
        for queue in queues {
            self.wake(*queue);
        }
        let mut messages = subscription.on_message();
        while let Some(message) = messages.next().await {
            let channel = message.get_channel_name();
            if let Some(queue) = queues.iter().find(|queue| store.wake_channel(**queue) == channel) {
                self.wake(*queue);
            }
        }
        Ok(())
    }
}
