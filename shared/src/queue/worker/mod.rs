//! Running jobs: leasing them, keeping the lease while they run, and settling how they ended.

mod attempt;
mod controls;
mod finish;
mod held;
mod lease;
mod progress;
mod registry;
mod room;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use registry::{Registry, Run};

use self::held::{Held, Why};
use super::{Queue, QueueStore, metrics, relay, wake::Wake};
use crate::{config::WorkerConfig, db::Database};

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
}

async fn drain(tasks: &mut JoinSet<()>) {
    while let Some(ended) = tasks.join_next().await {
        if let Err(error) = ended {
            tracing::error!(%error, "queue.worker.task_failed");
        }
    }
}
