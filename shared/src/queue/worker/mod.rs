//! Running jobs: leasing them, keeping the lease while they run, and settling how they ended.

mod attempt;
mod finish;
mod held;
mod registry;
mod room;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apalis::prelude::{WorkerBuilder, WorkerBuilderExt as _};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use registry::{Registry, Run};

use self::{
    attempt::Leased,
    finish::Ended,
    held::{Held, Why},
    room::Room,
};
use super::{
    Backoff, Queue, QueueStore,
    backend::LeasedJobs,
    metrics, outbox, relay,
    store::{Limit, Settlement},
    wake::Wake,
};
use crate::{config::WorkerConfig, db::Database};

/// How long an idle queue waits for a sign before it looks again.
const IDLE_POLL: Duration = Duration::from_millis(500);
/// How many jobs are leased at once.
const LEASE_BATCH: usize = 500;
/// How often it is asked which queues are paused and which running jobs are cancelled.
const CONTROLS_EVERY: Duration = Duration::from_secs(1);
/// How often the queues are counted for the metrics.
const MEASURE_EVERY: Duration = Duration::from_secs(5);
/// How long runs that were told to end may take to do so.
const END_WITHIN: Duration = Duration::from_secs(5);

/// A worker process: relay, leases and the jobs of its queues.
#[derive(Debug, Clone)]
pub struct Worker {
    database: Database,
    store: QueueStore,
    registry: Arc<Registry>,
    config: WorkerConfig,
    held: Held,
    wake: Wake,
    paused: Arc<Mutex<HashSet<String>>>,
}

impl Worker {
    /// Prepares a worker for the configured queues that the registry has jobs of.
    pub fn new(database: Database, store: QueueStore, registry: Registry, config: WorkerConfig) -> Self {
        Self {
            database,
            store,
            registry: Arc::new(registry),
            config,
            held: Held::default(),
            wake: Wake::new(),
            paused: Arc::default(),
        }
    }

    /// Runs until told to stop, then lets running jobs finish within the grace period and hands the others back; told to end
    /// at once, it hands back what runs.
    pub async fn run(self, stop: CancellationToken, at_once: CancellationToken) {
        metrics::prepare(self.registry.names());
        let queues = self.queues();
        let upkeep = CancellationToken::new();
        let mut background = JoinSet::new();
        background.spawn(relay::run(self.database.clone(), self.store.clone(), upkeep.clone()));
        background.spawn(self.wake.clone().listen(self.store.clone(), queues.clone(), upkeep.clone()));
        background.spawn(self.clone().keep_leases(upkeep.clone()));
        background.spawn(self.clone().heed_controls(upkeep.clone()));
        background.spawn(self.clone().measure(upkeep.clone()));

        let (ended, endings) = finish::channel();
        let recording = tokio::spawn(finish::record(self.database.clone(), self.store.clone(), endings));
        let mut serving = JoinSet::new();
        for queue in queues {
            serving.spawn(self.clone().take_over(queue, stop.clone()));
            serving.spawn(self.clone().serve(queue, ended.clone(), stop.clone()));
        }
        drop(ended);
        stop.cancelled().await;
        tracing::info!(grace_s = self.config.grace.as_secs(), jobs = self.held.len(), "queue.worker.draining");
        let within_grace = tokio::time::timeout(self.config.grace, drain(&mut serving));
        if !matches!(at_once.run_until_cancelled(within_grace).await, Some(Ok(()))) {
            tracing::warn!(jobs = self.held.len(), "queue.worker.grace_over: running jobs are handed back");
            self.held.end_all(Why::Stopping);
            let _ = tokio::time::timeout(END_WITHIN, drain(&mut serving)).await;
        }
        // Nobody sends endings any more, except runs that would not end.
        serving.shutdown().await;
        if tokio::time::timeout(END_WITHIN, recording).await.is_err() {
            tracing::warn!(jobs = self.held.len(), "queue.worker.endings_not_recorded: their leases will run out");
        }
        // Leases are kept until the last job is settled.
        upkeep.cancel();
        // None of these leaves anything half done, and a server that does not answer must not keep the process.
        background.shutdown().await;
        tracing::info!("queue.worker.stopped");
    }

    fn queues(&self) -> Vec<Queue> {
        self.registry.queues().into_iter().filter(|queue| self.config.concurrency_of(*queue).is_some()).collect()
    }

    /// One queue: an apalis worker, fed with leased jobs.
    async fn serve(self, queue: Queue, ended: mpsc::Sender<Ended>, stop: CancellationToken) {
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
                    let wait = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(2) }
                        .delay(failures, rand::random());
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
    ) -> Result<(usize, Option<Duration>), relay::RelayError> {
        let token = Uuid::new_v4();
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

    async fn settle_all(
        &self,
        queue: Queue,
        ids: &[Uuid],
        token: Uuid,
        how: Settlement,
    ) -> Result<(), relay::RelayError> {
        let ended: Vec<(Uuid, Uuid, Settlement)> = ids.iter().map(|id| (*id, token, how)).collect();
        self.store.settle(queue, &ended).await?;
        Ok(())
    }

    /// Renews every lease of this process three times per lease.
    async fn keep_leases(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(self.store.lease() / 3)).await.is_some() {
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

    /// Looks for jobs whose worker died, three times per lease.
    async fn take_over(self, queue: Queue, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(self.store.lease() / 3)).await.is_some() {
            match self.store.take_over(queue).await {
                Ok(0) => {}
                Ok(jobs) => {
                    metrics::TAKEN_OVER.with_label_values(&[queue.name()]).inc_by(jobs);
                    tracing::warn!(%queue, jobs, "queue.job.taken_over: their worker went silent");
                }
                Err(error) => tracing::debug!(%queue, %error, "queue.take_over.paused"),
            }
        }
    }

    /// Keeps to what operators say: which queues are paused, which running jobs are to end.
    async fn heed_controls(self, stop: CancellationToken) {
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
        let paused: HashSet<String> = outbox::paused(&self.database).await?.into_iter().collect();
        metrics::set_paused(&paused);
        *self.paused.lock().unwrap_or_else(PoisonError::into_inner) = paused;
        let running: Vec<Uuid> = self.held.by_queue().into_values().flatten().map(|(id, _)| id).collect();
        if !running.is_empty() {
            for id in outbox::cancelled(&self.database, &running).await? {
                self.held.end_job(id, Why::Cancelled);
            }
        }
        Ok(())
    }

    fn is_paused(&self, queue: Queue) -> bool {
        self.paused.lock().unwrap_or_else(PoisonError::into_inner).contains(queue.name())
    }

    /// Measures every queue, also those that this worker does not serve: nobody else may tell that nobody serves one.
    async fn measure(self, stop: CancellationToken) {
        loop {
            for queue in Queue::ALL {
                metrics::set_depths(queue, self.store.depths(queue).await.ok().as_ref());
            }
            metrics::set_counts(outbox::counts(&self.database).await.ok().as_deref());
            if stop.run_until_cancelled(tokio::time::sleep(MEASURE_EVERY)).await.is_none() {
                return;
            }
        }
    }
}

async fn drain(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "queue.worker.task_failed");
        }
    }
}
