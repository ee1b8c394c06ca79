//! Running jobs: leasing them, keeping the lease while they run, and settling how they ended.

mod attempt;
mod finish;
mod held;
mod progress;
mod registry;
mod room;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use apalis::prelude::{WorkerBuilder, WorkerBuilderExt as _};
use serde::Serialize;
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
    Queue, QueueStore, RETRY,
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
/// How many times per lease leases are renewed, and jobs looked for whose lease ended.
const RENEWALS: u32 = 5;
const LOOKS: u32 = 10;
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
    states: Arc<Mutex<HashMap<Queue, QueueState>>>,
}

/// What a worker does with one of its queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum QueueState {
    /// It takes jobs.
    Running,
    /// An operator paused the queue: it takes none.
    Paused,
    /// It cannot take any, because PostgreSQL or Redis does not answer; it tries again.
    Waiting,
}

/// One of a worker's queues, for people who look at its health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct QueueStatus {
    /// What the worker does with it.
    pub state: QueueState,
    /// Jobs of this process, those at hand included.
    pub jobs: usize,
    /// How many may run at once.
    pub concurrency: usize,
}

/// A part of the worker ended by itself. What is left cannot keep its promises: start the process anew.
#[derive(Debug, thiserror::Error)]
#[error("a part of the worker ended by itself (the log says which): the process must be started anew")]
pub struct Broken;

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
            states: Arc::default(),
        }
    }

    /// Runs until told to stop, then lets running jobs finish within the grace period and hands the others back; told to end
    /// at once, it hands back what runs.
    pub async fn run(self, stop: CancellationToken, at_once: CancellationToken) -> Result<(), Broken> {
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
        let taking = stop.child_token();
        let mut serving = JoinSet::new();
        // Not one job of a queue that is paused already.
        self.until_controls_are_known(&stop).await;
        for queue in queues {
            serving.spawn(self.clone().take_over(queue, taking.clone()));
            serving.spawn(self.clone().serve(queue, ended.clone(), taking.clone()));
        }
        drop(ended);
        // Each part runs until it is told to stop. One that ends before has panicked: leases might not be renewed any more.
        let outcome = tokio::select! {
            biased; // Told to stop, the parts may have ended already.
            () = stop.cancelled() => Ok(()),
            part = background.join_next() => Err(part),
            part = serving.join_next() => Err(part),
        };
        taking.cancel();
        tracing::info!(grace_s = self.config.grace.as_secs(), jobs = self.held.len(), "queue.worker.draining");
        if let Err(part) = &outcome {
            tracing::error!(?part, "queue.worker.part_ended");
            at_once.cancel();
        }
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
        outcome.map_err(|_| Broken)
    }

    /// Each of its queues, by name.
    pub fn status(&self) -> BTreeMap<&'static str, QueueStatus> {
        let states = self.states();
        let status = |queue: Queue| {
            let concurrency = self.config.concurrency_of(queue)?;
            let state = states.get(&queue).copied().unwrap_or(QueueState::Waiting);
            Some((queue.name(), QueueStatus { state, jobs: self.held.count(queue), concurrency }))
        };
        self.queues().into_iter().filter_map(status).collect()
    }

    fn states(&self) -> std::sync::MutexGuard<'_, HashMap<Queue, QueueState>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Renews every lease of this process, several times per lease.
    async fn keep_leases(self, stop: CancellationToken) {
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
    async fn take_over(self, queue: Queue, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(self.store.lease() / LOOKS)).await.is_some() {
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

    async fn until_controls_are_known(&self, stop: &CancellationToken) {
        let mut failures = 0;
        while let Some(Err(error)) = stop.run_until_cancelled(self.read_controls()).await {
            failures += 1;
            let wait = RETRY.delay(failures, rand::random());
            tracing::warn!(%error, failures, retry_in_ms = wait.as_millis(), "queue.worker.waiting: PostgreSQL does not answer");
            let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
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

    fn is_paused(&self, queue: Queue) -> bool {
        self.states().get(&queue) == Some(&QueueState::Paused)
    }

    /// Notes what the latest attempt to take jobs was like; that a queue was paused meanwhile is not forgotten.
    fn heard_of(&self, queue: Queue, state: QueueState) {
        let mut states = self.states();
        if states.get(&queue) != Some(&QueueState::Paused) {
            states.insert(queue, state);
        }
    }

    /// Writes reports of progress down. One that is lost is made up for by the next.
    async fn tell_progress(&self, reports: &[(Uuid, Uuid, i64, i64)]) {
        if !reports.is_empty()
            && let Err(error) = outbox::progress(&self.database, reports).await
        {
            tracing::debug!(%error, "queue.progress.not_told");
        }
    }

    /// Measures every queue, also those that this worker does not serve: nobody else may tell that nobody serves one.
    async fn measure(self, stop: CancellationToken) {
        loop {
            for queue in Queue::ALL {
                metrics::set_depths(queue, self.store.depths(queue).await.ok().as_ref());
            }
            metrics::set_troubles(outbox::troubles(&self.database).await.ok().as_deref());
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
