//! Running jobs: leasing them, keeping the lease while they run, and settling how they ended.

use std::{
    collections::HashMap,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use apalis::prelude::{Data, WorkerBuilder};
use futures::{FutureExt as _, future::BoxFuture};
use serde_json::Value;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    Backoff, Job, JobError, JobId, Queue, QueueStore, backend::LeasedJobs, metrics, outbox, relay, store::Settlement,
};
use crate::{db::Database, tenancy::TenantId};

/// How long an idle queue waits before it looks again.
const IDLE_POLL: Duration = Duration::from_millis(50);
/// When a job that this worker does not know is offered again.
const UNKNOWN_JOB_DELAY: Duration = Duration::from_secs(60);
/// How often the depth of the queues is counted for the metrics.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// What a running job knows about itself.
#[derive(Debug, Clone)]
pub struct Run {
    /// The job's id.
    pub id: JobId,
    /// Whose job it is; checked against the outbox row, never taken from Redis.
    pub tenant: TenantId,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
}

type Handler = Box<dyn Fn(Value, Run) -> BoxFuture<'static, Result<(), JobError>> + Send + Sync>;

struct Registered {
    queue: Queue,
    timeout: Duration,
    backoff: Backoff,
    handler: Handler,
}

/// The jobs that a worker can run, by name.
#[derive(Default)]
pub struct Registry {
    jobs: HashMap<&'static str, Registered>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.jobs.keys()).finish()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type of job and what runs it.
    #[must_use]
    pub fn job<J, F, R>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Run) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let erased: Handler = Box::new(move |payload, run| {
            let handler = handler.clone();
            async move {
                // A payload that does not decode will never decode: set aside, never looped.
                let job = serde_json::from_value(payload).map_err(JobError::fail)?;
                handler(job, run).await
            }
            .boxed()
        });
        let registered = Registered { queue: J::QUEUE, timeout: J::TIMEOUT, backoff: J::BACKOFF, handler: erased };
        self.jobs.insert(J::NAME, registered);
        self
    }

    /// The queues that have a job here.
    pub fn queues(&self) -> Vec<Queue> {
        Queue::ALL.into_iter().filter(|queue| self.jobs.values().any(|job| job.queue == *queue)).collect()
    }
}

/// A worker process: relay, leases and the jobs of all its queues.
#[derive(Debug, Clone)]
pub struct Worker {
    database: Database,
    store: QueueStore,
    registry: Arc<Registry>,
    concurrency: usize,
    grace: Duration,
    held: Held,
}

impl Worker {
    /// Prepares a worker for every queue that the registry has jobs of; `concurrency` jobs of each run at once.
    pub fn new(database: Database, store: QueueStore, registry: Registry, concurrency: usize, grace: Duration) -> Self {
        let registry = Arc::new(registry);
        Self { database, store, registry, concurrency: concurrency.max(1), grace, held: Held::default() }
    }

    /// Runs until cancelled, then lets running jobs finish within the grace period and hands the others back.
    pub async fn run(self, stop: CancellationToken) {
        let upkeep = CancellationToken::new();
        let mut background = JoinSet::new();
        background.spawn(relay::run(self.database.clone(), self.store.clone(), upkeep.clone()));
        background.spawn(self.clone().keep_leases(upkeep.clone()));
        background.spawn(self.clone().measure(upkeep.clone()));

        let mut queues = JoinSet::new();
        for queue in self.registry.queues() {
            queues.spawn(self.clone().take_over(queue, stop.clone()));
            queues.spawn(self.clone().serve(queue, stop.clone()));
        }
        stop.cancelled().await;
        tracing::info!(grace_s = self.grace.as_secs(), jobs = self.held.len(), "queue.worker.draining");
        if tokio::time::timeout(self.grace, drain(&mut queues)).await.is_err() {
            tracing::warn!(jobs = self.held.len(), "queue.worker.grace_over: running jobs are handed back");
            self.held.interrupt_all();
            let _ = tokio::time::timeout(Duration::from_secs(5), drain(&mut queues)).await;
        }
        // Leases are kept until the last job is settled.
        upkeep.cancel();
        // None of these leaves anything half done, and a server that does not answer must not keep the process.
        background.shutdown().await;
        tracing::info!("queue.worker.stopped");
    }

    /// One queue: an apalis worker, fed with leased jobs.
    async fn serve(self, queue: Queue, stop: CancellationToken) {
        let (sender, receiver) = mpsc::channel(self.concurrency);
        let worker = WorkerBuilder::new(format!("{queue}-{}", Uuid::now_v7()).as_str())
            .backend(LeasedJobs::new(receiver))
            .data(self.clone())
            .build(run_leased);
        let (ended, ()) = tokio::join!(worker.run(), self.lease(queue, sender, stop));
        if let Err(error) = ended {
            tracing::error!(%queue, %error, "queue.worker.failed");
        }
    }

    /// Leases jobs while there is room for them, until told to stop. Errors are waited out.
    async fn lease(&self, queue: Queue, sender: mpsc::Sender<Leased>, stop: CancellationToken) {
        let room = Arc::new(Semaphore::new(self.concurrency));
        let mut failures = 0;
        while let Some(Ok(permit)) = stop.run_until_cancelled(Arc::clone(&room).acquire_owned()).await {
            match self.lease_some(queue, &room, permit, &sender).await {
                Ok(0) => {
                    failures = 0;
                    let _ = stop.run_until_cancelled(tokio::time::sleep(IDLE_POLL)).await;
                }
                Ok(_) => failures = 0,
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

    /// Takes as many jobs as there is room for and passes them on. Returns how many were taken.
    async fn lease_some(
        &self,
        queue: Queue,
        room: &Arc<Semaphore>,
        first: OwnedSemaphorePermit,
        sender: &mpsc::Sender<Leased>,
    ) -> Result<usize, relay::RelayError> {
        let mut permits = vec![first];
        while let Ok(permit) = Arc::clone(room).try_acquire_owned() {
            permits.push(permit);
        }
        let token = Uuid::new_v4().to_string();
        let taken = self.store.take(queue, permits.len(), &token).await?;
        if taken.is_empty() {
            return Ok(0);
        }
        let ids: Vec<Uuid> = taken.iter().map(|(id, _)| *id).collect();
        let open = match outbox::open(&self.database, &ids).await {
            Ok(open) => open,
            Err(error) => {
                for id in ids {
                    self.store.settle(queue, id, &token, Settlement::HandBack).await?;
                }
                return Err(error.into());
            }
        };
        let mut open: HashMap<Uuid, outbox::OpenJob> = open.into_iter().map(|job| (job.id, job)).collect();
        let count = taken.len();
        for (id, attempt) in taken {
            let Some(job) = open.remove(&id) else {
                // Finished before, for example when Redis came back with an older memory.
                self.store.settle(queue, id, &token, Settlement::Forget).await?;
                continue;
            };
            let interrupt = self.held.add(queue, id, &token);
            let lease = Lease { held: self.held.clone(), queue, id, token: token.clone(), _permit: permits.pop() };
            // The channel has room for as many jobs as there are permits.
            if sender.send(Leased { job, attempt, interrupt, lease }).await.is_err() {
                self.store.settle(queue, id, &token, Settlement::HandBack).await?;
            }
        }
        Ok(count)
    }

    /// Runs one attempt and settles it.
    async fn run_attempt(&self, leased: Leased) {
        let Leased { job, attempt, interrupt, lease } = leased;
        let (queue, id) = (lease.queue, lease.id);
        let Some(registered) = self.registry.jobs.get(job.job.as_str()) else {
            // A newer release's job: a newer worker will know it.
            tracing::error!(%queue, job.id = %id, job.name = %job.job, "queue.job.unknown_name");
            let later = Settlement::Postpone(UNKNOWN_JOB_DELAY);
            report(&lease, self.store.settle(queue, id, &lease.token, later).await);
            return;
        };
        let run = Run { id: JobId(id), tenant: job.tenant, attempt: attempt.max(1).cast_unsigned() };
        let started = Instant::now();
        let name = job.job.as_str();
        let mut attempt_task = tokio::spawn(tokio::time::timeout(
            registered.timeout,
            AssertUnwindSafe((registered.handler)(job.payload, run.clone())).catch_unwind(),
        ));
        let ended = tokio::select! {
            ended = &mut attempt_task => Some(ended),
            () = interrupt.cancelled() => {
                attempt_task.abort();
                // Another worker may have the job next: until then this attempt must have ended, one way or the other.
                match attempt_task.await {
                    Err(join) if join.is_cancelled() => None,
                    ended => Some(ended),
                }
            }
        };
        metrics::DURATION.with_label_values(&[queue.name(), name]).observe(started.elapsed().as_secs_f64());
        let outcome = match ended {
            None => self.interrupted(&lease).await,
            Some(Ok(Ok(Ok(Ok(()))))) => self.succeed(&lease, job.tenant).await,
            Some(Ok(Ok(Ok(Err(error))))) => self.fail(&lease, &run, job.max_attempts, registered.backoff, error).await,
            Some(Ok(Ok(Err(panic)))) => {
                let error = JobError::retry(anyhow::anyhow!("panicked: {}", panic_text(panic.as_ref())));
                self.fail(&lease, &run, job.max_attempts, registered.backoff, error).await
            }
            Some(Ok(Err(_elapsed))) => {
                let error = JobError::retry(anyhow::anyhow!("took longer than {:?}", registered.timeout));
                self.fail(&lease, &run, job.max_attempts, registered.backoff, error).await
            }
            Some(Err(join)) => {
                let error = JobError::retry(anyhow::Error::from(join));
                self.fail(&lease, &run, job.max_attempts, registered.backoff, error).await
            }
        };
        metrics::FINISHED.with_label_values(&[queue.name(), name, outcome]).inc();
        tracing::debug!(%queue, job.id = %id, job.name = name, attempt, outcome, "queue.job.settled");
    }

    /// The row goes first, since it is the truth; before that, the lease is checked once more, so that a holder that slept
    /// through its lease leaves the decision to the one that has it now.
    async fn succeed(&self, lease: &Lease, tenant: TenantId) -> &'static str {
        if !self.still_holds(lease).await {
            return "lease_lost";
        }
        if let Err(error) = outbox::finish(&self.database, tenant, lease.id).await {
            // The lease runs out and the job is done once more, which is harmless.
            tracing::warn!(job.id = %lease.id, %error, "queue.job.not_recorded_as_done");
            return "retry";
        }
        report(lease, self.store.settle(lease.queue, lease.id, &lease.token, Settlement::Forget).await);
        "done"
    }

    /// Like success, a failure is for the holder of the lease alone to record.
    async fn fail(
        &self,
        lease: &Lease,
        run: &Run,
        max_attempts: i32,
        backoff: Backoff,
        error: JobError,
    ) -> &'static str {
        if !self.still_holds(lease).await {
            return "lease_lost";
        }
        let attempts = run.attempt.cast_signed();
        let text = error.to_string();
        let dead = matches!(error, JobError::Fail(_)) || attempts >= max_attempts;
        let recorded = if dead {
            tracing::error!(queue = %lease.queue, job.id = %lease.id, attempts, error = %text, "queue.job.dead");
            outbox::bury(&self.database, run.tenant, lease.id, attempts, &text).await
        } else {
            tracing::warn!(queue = %lease.queue, job.id = %lease.id, attempts, error = %text, "queue.job.failed");
            outbox::record_failure(&self.database, run.tenant, lease.id, attempts, &text).await
        };
        let is_recorded = recorded.is_ok();
        if let Err(error) = recorded {
            tracing::warn!(job.id = %lease.id, %error, "queue.job.failure_not_recorded");
        }
        // A dead letter that is not in PostgreSQL is an open job: it ends in another attempt.
        let how = if dead && is_recorded {
            Settlement::Forget
        } else {
            Settlement::Delay(backoff.delay(run.attempt, rand::random()))
        };
        report(lease, self.store.settle(lease.queue, lease.id, &lease.token, how).await);
        if dead { "dead" } else { "retry" }
    }

    async fn interrupted(&self, lease: &Lease) -> &'static str {
        match self.store.settle(lease.queue, lease.id, &lease.token, Settlement::HandBack).await {
            Ok(true) => "handed_back",
            Ok(false) => "lease_lost",
            Err(error) => {
                tracing::warn!(job.id = %lease.id, %error, "queue.job.not_handed_back: its lease will run out");
                "lease_lost"
            }
        }
    }

    /// Whether the attempt still has its lease, which lasts anew from now. Redis away: nobody else can have taken the job,
    /// and the row alone decides.
    async fn still_holds(&self, lease: &Lease) -> bool {
        let held = [(lease.id, lease.token.clone())];
        self.store.renew(lease.queue, &held).await.map_or(true, |lost| lost.is_empty())
    }

    /// Renews every lease of this process three times per lease.
    async fn keep_leases(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(self.store.lease() / 3)).await.is_some() {
            for (queue, held) in self.held.by_queue() {
                match self.store.renew(queue, &held).await {
                    Ok(lost) => {
                        for (id, token) in lost {
                            // Settled in this moment, or taken over: in the second case its run must end.
                            self.held.interrupt(queue, id, &token);
                        }
                    }
                    Err(error) => tracing::warn!(%queue, %error, "queue.lease.not_renewed"),
                }
            }
        }
    }

    /// Looks for jobs whose worker died, three times per lease.
    async fn take_over(self, queue: Queue, stop: CancellationToken) {
        let token = Uuid::new_v4().to_string();
        while stop.run_until_cancelled(tokio::time::sleep(self.store.lease() / 3)).await.is_some() {
            match self.store.take_over(queue, &token).await {
                Ok(found) => {
                    let count = found.waiting + found.exhausted.len();
                    if count > 0 {
                        metrics::TAKEN_OVER.with_label_values(&[queue.name()]).inc_by(count as u64);
                        tracing::warn!(%queue, jobs = count, "queue.job.taken_over: their worker went silent");
                    }
                    if let Err(error) = self.bury_exhausted(queue, &found.exhausted, &token).await {
                        tracing::warn!(%queue, %error, "queue.job.not_buried: tried again after a lease");
                    }
                }
                Err(error) => tracing::debug!(%queue, %error, "queue.take_over.paused"),
            }
        }
    }

    /// Makes dead letters of jobs that killed a worker with each of their attempts. Whose they are is what the rows say.
    async fn bury_exhausted(&self, queue: Queue, ids: &[Uuid], token: &str) -> Result<(), relay::RelayError> {
        if ids.is_empty() {
            return Ok(());
        }
        for job in outbox::open(&self.database, ids).await? {
            let (id, attempts, error) = (job.id, job.max_attempts, "every attempt ended with the death of its worker");
            tracing::error!(%queue, job.id = %id, job.name = %job.job, attempts, error, "queue.job.dead");
            outbox::bury(&self.database, job.tenant, id, attempts, error).await?;
        }
        for id in ids {
            self.store.settle(queue, *id, token, Settlement::Forget).await?;
        }
        Ok(())
    }

    async fn measure(self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(MEASURE_EVERY)).await.is_some() {
            for queue in self.registry.queues() {
                if let Ok(depths) = self.store.depths(queue).await {
                    for (state, count) in depths {
                        let count = i64::try_from(count).unwrap_or(i64::MAX);
                        metrics::DEPTH.with_label_values(&[queue.name(), state]).set(count);
                    }
                }
            }
            if let Ok(counts) = outbox::counts(&self.database).await {
                for queue in Queue::ALL {
                    let found = counts.iter().find(|c| c.queue == queue.name());
                    let (unrelayed, dead) = found.map_or((0, 0), |c| (c.unrelayed, c.dead));
                    metrics::DEPTH.with_label_values(&[queue.name(), "unrelayed"]).set(unrelayed);
                    metrics::DEPTH.with_label_values(&[queue.name(), "dead"]).set(dead);
                }
            }
        }
    }
}

/// A job on its way from Redis to its handler.
struct Leased {
    job: outbox::OpenJob,
    attempt: i32,
    interrupt: CancellationToken,
    lease: Lease,
}

/// Held while a job is this process's; dropping it makes room for the next.
struct Lease {
    held: Held,
    queue: Queue,
    id: Uuid,
    token: String,
    _permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.remove(self.queue, self.id, &self.token);
    }
}

/// What apalis calls for each job. Never an error: how an attempt ended is settled by then.
async fn run_leased(leased: Leased, worker: Data<Worker>) {
    let worker = Worker::clone(&worker);
    // A task of its own, so that the jobs of a queue share all cores.
    if let Err(error) = tokio::spawn(async move { worker.run_attempt(leased).await }).await {
        tracing::error!(%error, "queue.worker.attempt_failed");
    }
}

fn report(lease: &Lease, settled: Result<bool, super::RedisError>) {
    match settled {
        Ok(true) => {}
        Ok(false) => tracing::warn!(queue = %lease.queue, job.id = %lease.id, "queue.job.lease_was_lost"),
        // The lease runs out; a job that is done is then found finished, any other is tried again.
        Err(error) => tracing::warn!(queue = %lease.queue, job.id = %lease.id, %error, "queue.job.not_settled"),
    }
}

/// The leases of this process, and how to end their runs. By token too: a job that the process lost and took again is held
/// twice until its first run has ended.
#[derive(Debug, Clone, Default)]
struct Held(Arc<Mutex<Leases>>);

type Leases = HashMap<(Queue, Uuid, String), CancellationToken>;

impl Held {
    fn lock(&self) -> std::sync::MutexGuard<'_, Leases> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, queue: Queue, id: Uuid, token: &str) -> CancellationToken {
        let interrupt = CancellationToken::new();
        self.lock().insert((queue, id, token.to_owned()), interrupt.clone());
        interrupt
    }

    fn remove(&self, queue: Queue, id: Uuid, token: &str) {
        self.lock().remove(&(queue, id, token.to_owned()));
    }

    fn len(&self) -> usize {
        self.lock().len()
    }

    fn by_queue(&self) -> HashMap<Queue, Vec<(Uuid, String)>> {
        let mut by_queue: HashMap<Queue, Vec<(Uuid, String)>> = HashMap::new();
        for (queue, id, token) in self.lock().keys() {
            by_queue.entry(*queue).or_default().push((*id, token.clone()));
        }
        by_queue
    }

    fn interrupt(&self, queue: Queue, id: Uuid, token: &str) {
        if let Some(interrupt) = self.lock().get(&(queue, id, token.to_owned())) {
            interrupt.cancel();
        }
    }

    fn interrupt_all(&self) {
        for interrupt in self.lock().values() {
            interrupt.cancel();
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

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
