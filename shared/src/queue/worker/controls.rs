//! What a worker hears from operators, and what it tells of itself.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    super::{Queue, RETRY, counts, metrics, outbox},
    QueueState, Worker,
    held::Why,
};

/// How often it is asked which queues are paused and which running jobs are cancelled, and progress told.
const CONTROLS_EVERY: Duration = Duration::from_secs(1);
/// How often the queues are counted for the metrics.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

impl Worker {
    pub(super) async fn until_controls_are_known(&self, stop: &CancellationToken) {
        let mut failures = 0;
        while let Some(Err(error)) = stop.run_until_cancelled(self.read_controls()).await {
            failures += 1;
            let wait = RETRY.delay(failures, rand::random());
            tracing::warn!(%error, failures, retry_in_ms = wait.as_millis(), "queue.worker.waiting: PostgreSQL does not answer");
            let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
        }
    }

    /// Keeps to what operators say: which queues are paused, which running jobs are to end.
    pub(super) async fn heed_controls(self, stop: CancellationToken) {
        loop {
            if let Err(error) = self.read_controls().await {
                tracing::debug!(%error, "queue.controls.not_read: as before");
            }
            if stop.run_until_cancelled(tokio::time::sleep(CONTROLS_EVERY)).await.is_none() {
                return;
            }
        }
    }

    async fn read_controls(&self) -> Result<(), sqlx::Error> {
        let paused = outbox::paused(&self.database).await?;
        metrics::set_paused(&paused);
        self.heed_pauses(&paused);
        let running: Vec<Uuid> = self.held.by_queue().into_values().flatten().map(|(id, _)| id).collect();
        if !running.is_empty() {
            for id in outbox::cancelled(&self.database, &running).await? {
                self.held.end_job(id, Why::Cancelled);
            }
        }
        self.tell_progress(&self.held.progress()).await;
        Ok(())
    }

    fn heed_pauses(&self, paused: &[String]) {
        for queue in self.queues() {
            let mut states = self.states();
            let was_paused = states.get(&queue) == Some(&QueueState::Paused);
            let is_paused = paused.iter().any(|name| name == queue.name());
            if is_paused {
                states.insert(queue, QueueState::Paused);
            } else if was_paused {
                states.remove(&queue);
            }
            drop(states);
            if was_paused && !is_paused {
                self.wake.wake(queue);
            }
        }
    }

    pub(super) fn is_paused(&self, queue: Queue) -> bool {
        self.states().get(&queue) == Some(&QueueState::Paused)
    }

    /// Notes what the latest attempt to take jobs was like; that a queue was paused meanwhile is not forgotten.
    pub(super) fn heard_of(&self, queue: Queue, state: QueueState) {
        let mut states = self.states();
        if states.get(&queue) != Some(&QueueState::Paused) {
            states.insert(queue, state);
        }
    }

    /// Writes reports of progress down. One that is lost is made up for by the next.
    pub(super) async fn tell_progress(&self, reports: &[(Uuid, Uuid, i64, i64)]) {
        if !reports.is_empty()
            && let Err(error) = outbox::progress(&self.database, reports).await
        {
            tracing::debug!(%error, "queue.progress.not_told");
        }
    }

    /// Measures every queue, also those that this worker does not serve: nobody else may tell that nobody serves one.
    pub(super) async fn measure(self, stop: CancellationToken) {
        loop {
            for queue in Queue::ALL {
                metrics::set_depths(queue, self.store.depths(queue).await.ok().as_ref());
            }
            metrics::set_troubles(counts::troubles(&self.database).await.ok().as_deref());
            if stop.run_until_cancelled(tokio::time::sleep(MEASURE_EVERY)).await.is_none() {
                return;
            }
        }
    }
}
