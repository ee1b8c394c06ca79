//! Leasing jobs, keeping their leases, and taking over those of workers that died.

use std::{collections::HashMap, sync::Arc, time::Duration};

use apalis::prelude::{WorkerBuilder, WorkerBuilderExt as _};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    super::{
        Queue, RETRY,
        backend::LeasedJobs,
        metrics, outbox,
        relay::RelayError,
        store::{Limit, Settlement},
    },
    QueueState, Worker,
    attempt::{self, Leased},
    finish::Ended,
    held::Why,
    room::Room,
};

/// How long an idle queue waits for a sign before it looks again.
const IDLE_POLL: Duration = Duration::from_millis(500);
/// How many jobs are leased at once.
const LEASE_BATCH: usize = 500;
/// How many times per lease leases are renewed, and jobs looked for whose lease ended.
const RENEWALS: u32 = 5;
const LOOKS: u32 = 10;

impl Worker {
    /// One queue: an apalis worker, fed with leased jobs.
    pub(super) async fn serve(self, queue: Queue, ended: mpsc::Sender<Ended>, stop: CancellationToken) {
        let Some(concurrency) = self.config.concurrency_of(queue) else { return };
        let (sender, receiver) = mpsc::channel(LEASE_BATCH);
        let worker = WorkerBuilder::new(format!("{queue}-{}", Uuid::now_v7()).as_str())
            .backend(LeasedJobs::new(receiver))
            .concurrency(concurrency)
            .build(attempt::run_leased);
        let room = Room::new(concurrency);
        let (ran, ()) = tokio::join!(worker.run(), self.lease(queue, room, sender, ended, stop));
        if let Err(error) = ran {
            tracing::error!(%queue, %error, "queue.worker.failed");
        }
    }

    /// Leases jobs while there is room for them, until told to stop. Errors are waited out.
    async fn lease(
        &self,
        queue: Queue,
        room: Arc<Room>,
        sender: mpsc::Sender<Leased>,
        ended: mpsc::Sender<Ended>,
        stop: CancellationToken,
    ) {
        let limits = self.registry.limits(queue);
        let mut failures = 0;
        while let Some(count) = stop.run_until_cancelled(room.wait()).await {
            if self.is_paused(queue) {
                let _ = stop.run_until_cancelled(self.wake.wait(queue, IDLE_POLL)).await;
                continue;
            }
            let count = count.min(LEASE_BATCH);
            match self.lease_some(queue, count, &limits, &room, &sender, &ended).await {
                Ok((taken, again_in)) => {
                    self.heard_of(queue, QueueState::Running);
                    if std::mem::take(&mut failures) > 0 {
                        tracing::info!(%queue, "queue.lease.resumed");
                    }
                    if taken < count {
                        let idle = again_in.map_or(IDLE_POLL, |again| again.min(IDLE_POLL));
                        let _ = stop.run_until_cancelled(self.wake.wait(queue, idle)).await;
                    }
                }
                Err(error) => {
                    failures += 1;
                    self.heard_of(queue, QueueState::Waiting);
                    let wait = RETRY.delay(failures, rand::random());
                    tracing::warn!(%queue, %error, failures, retry_in_ms = wait.as_millis(), "queue.lease.paused");
                    let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
                }
            }
        }
    }

    /// Takes up to `count` jobs and passes them on. Returns how many were taken, and when there may be more.
    async fn lease_some(
        &self,
        queue: Queue,
        count: usize,
        limits: &[Limit],
        room: &Arc<Room>,
        sender: &mpsc::Sender<Leased>,
        ended: &mpsc::Sender<Ended>,
    ) -> Result<(usize, Option<Duration>), RelayError> {
        let token = Uuid::new_v4();
        tracing::debug!(%queue, %token, "queue.lease.asked");
        let taken = self.store.take(queue, count, token, limits).await?;
        if taken.ids.is_empty() {
            return Ok((0, taken.again_in));
        }
        // From here on the leases are renewed, and lost ones noticed.
        let mut leases: HashMap<Uuid, _> = taken.ids.iter().map(|id| (*id, self.held.add(queue, *id, token))).collect();
        let started = match outbox::start(&self.database, &taken.ids, token).await {
            Ok(started) => started,
            Err(error) => {
                // It may have been done although we were not told.
                if let Err(error) = outbox::hand_back(&self.database, &taken.ids, token).await {
                    tracing::debug!(%queue, %error, "queue.lease.attempts_not_taken_back");
                }
                self.settle_all(queue, &taken.ids, token, Settlement::HandBack).await?;
                return Err(error.into());
            }
        };
        for job in started {
            let Some(lease) = leases.remove(&job.id) else { continue };
            let leased = Leased { worker: self.clone(), job, lease, place: room.take(), ended: ended.clone() };
            if let Some(leased) = leased.unless_ended().await
                && let Err(mpsc::error::SendError(leased)) = sender.send(leased).await
            {
                leased.hand_back().await;
            }
        }
        // Those without an open row were finished before, for example when Redis came back with an older memory.
        let gone: Vec<Uuid> = leases.keys().copied().collect();
        self.settle_all(queue, &gone, token, Settlement::Forget).await?;
        Ok((taken.ids.len(), taken.again_in))
    }

    async fn settle_all(&self, queue: Queue, ids: &[Uuid], token: Uuid, how: Settlement) -> Result<(), RelayError> {
        let ended: Vec<(Uuid, Uuid, Settlement)> = ids.iter().map(|id| (*id, token, how)).collect();
        self.store.settle(queue, &ended).await?;
        Ok(())
    }

    /// Renews every lease of this process, several times per lease.
    pub(super) async fn keep_leases(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(self.store.lease() / RENEWALS)).await.is_some() {
            for (queue, held) in self.held.by_queue() {
                match self.store.renew(queue, &held).await {
                    Ok(lost) => {
                        for (id, token) in lost {
                            // Settled in this moment, or taken over: in the second case its run must end.
                            self.held.end(queue, id, token, Why::Lost);
                        }
                    }
                    Err(error) => tracing::warn!(%queue, %error, "queue.lease.not_renewed"),
                }
            }
        }
    }

    /// Looks for jobs whose worker died, several times per lease.
    pub(super) async fn take_over(self, queue: Queue, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(self.store.lease() / LOOKS)).await.is_some() {
            match self.store.take_over(queue).await {
                Ok(taken) if taken.is_empty() => {}
                Ok(taken) => {
                    metrics::TAKEN_OVER.with_label_values(&[queue.name()]).inc_by(taken.len() as u64);
                    tracing::warn!(%queue, jobs = taken.len(), "queue.job.taken_over: their worker went silent");
                    for (job, token) in taken {
                        tracing::debug!(%queue, job.id = %job, %token, "queue.lease.lapsed");
                    }
                }
                Err(error) => tracing::debug!(%queue, %error, "queue.take_over.paused"),
            }
        }
    }
}
