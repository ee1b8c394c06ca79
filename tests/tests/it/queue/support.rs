//! What the tests of the queue share: jobs that write down that they ran, workers that vanish, and a look inside.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use shared::{
    config::DatabaseConfig,
    db::{Database, TenantTx},
    queue::{
        self, Backoff, Job, JobError, JobId, Priority, Queue, QueueStore, Rate, RateLimit,
        worker::{Broken, Registry, Run, Worker},
    },
    tenancy::TenantId,
};
use sqlx::PgConnection;
use tests::{Settings, TestApp};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long anything that must happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again until there is an answer.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

macro_rules! jobs {
    ($($(#[$doc:meta])* $job:ident { $($member:item)* })*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Serialize, Deserialize)]
        pub(crate) struct $job {
            key: String,
        }

        impl $job {
            pub(crate) fn new(key: impl Into<String>) -> Self {
                Self { key: key.into() }
            }
        }

        impl Job for $job {
            $($member)*
        }
    )* };
}

jobs! {
    /// The usual job.
    Step {
        const NAME: &'static str = "step";
        const QUEUE: Queue = Queue::Maintenance;
        const TIMEOUT: Duration = Duration::from_secs(60);
        const MAX_ATTEMPTS: u32 = 3;
        const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_millis(400) };
    }
    /// At most one of a key is open.
    Single {
        const NAME: &'static str = "single";
        const QUEUE: Queue = Queue::Maintenance;
        const TIMEOUT: Duration = Duration::from_secs(60);

        fn unique_key(&self) -> Option<String> {
            Some(self.key.clone())
        }
    }
    /// Has one attempt, and no time.
    Hurried {
        const NAME: &'static str = "hurried";
        const QUEUE: Queue = Queue::Maintenance;
        const TIMEOUT: Duration = Duration::from_millis(150);
        const MAX_ATTEMPTS: u32 = 1;
    }
    /// Waits for a minute after a failure.
    Slow {
        const NAME: &'static str = "slow";
        const QUEUE: Queue = Queue::Maintenance;
        const TIMEOUT: Duration = Duration::from_secs(60);
        const BACKOFF: Backoff = Backoff { base: Duration::from_secs(120), max: Duration::from_secs(120) };
    }
    /// Two at once of each tenant, then one in half a second.
    Limited {
        const NAME: &'static str = "limited";
        const QUEUE: Queue = Queue::Maintenance;
        const TIMEOUT: Duration = Duration::from_secs(60);
        const RATE_LIMIT: Option<RateLimit> =
            Some(RateLimit { overall: None, per_tenant: Some(Rate { starts: 2, per: Duration::from_secs(1) }) });
    }
    /// Is tried often enough to survive whatever happens around it, in another queue than the rest.
    Persistent {
        const NAME: &'static str = "persistent";
        const QUEUE: Queue = Queue::Embeddings;
        const TIMEOUT: Duration = Duration::from_secs(60);
        const MAX_ATTEMPTS: u32 = 100;
        const BACKOFF: Backoff = Backoff { base: Duration::from_millis(50), max: Duration::from_millis(100) };
    }
}

/// Has a priority of its own.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Ranked {
    key: String,
    priority: i16,
}

impl Ranked {
    pub(crate) fn new(key: impl Into<String>, priority: Priority) -> Self {
        Self { key: key.into(), priority: priority as i16 }
    }
}

impl Job for Ranked {
    const NAME: &'static str = "ranked";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn priority(&self) -> Priority {
        [Priority::High, Priority::Normal, Priority::Low].into_iter().find(|p| *p as i16 == self.priority).unwrap()
    }
}

/// What jobs did, in order; only ever added to.
#[derive(Debug, Clone, Default)]
pub(crate) struct History(Arc<Mutex<Vec<Event>>>);

#[derive(Debug, Clone)]
struct Event {
    key: String,
    attempt: u32,
    what: What,
    at: Instant,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Started,
    Finished,
    /// Ended without finishing: failed, interrupted or dropped.
    Left,
}

impl History {
    fn add(&self, key: &str, run: &Run, what: What) {
        let event = Event { key: key.to_owned(), attempt: run.attempt, what, at: Instant::now() };
        self.0.lock().unwrap().push(event);
    }

    fn of(&self, key: &str, what: What) -> Vec<Event> {
        self.0.lock().unwrap().iter().filter(|event| event.key == key && event.what == what).cloned().collect()
    }

    /// The attempts of a job that were begun.
    pub(crate) fn started(&self, key: &str) -> Vec<u32> {
        self.of(key, What::Started).iter().map(|event| event.attempt).collect()
    }

    /// When they were begun.
    pub(crate) fn started_at(&self, key: &str) -> Vec<Instant> {
        self.of(key, What::Started).iter().map(|event| event.at).collect()
    }

    /// The jobs in the order in which attempts were begun.
    pub(crate) fn order(&self) -> Vec<String> {
        let events = self.0.lock().unwrap();
        events.iter().filter(|event| event.what == What::Started).map(|event| event.key.clone()).collect()
    }

    /// How many attempts of a job are neither finished nor otherwise over.
    pub(crate) fn running(&self, key: &str) -> usize {
        self.of(key, What::Started).len() - self.of(key, What::Finished).len() - self.of(key, What::Left).len()
    }

    /// How many attempts of a job ran at the same time.
    pub(crate) fn most_at_once(&self, key: &str) -> usize {
        let (mut running, mut most) = (0_usize, 0);
        for event in self.0.lock().unwrap().iter().filter(|event| event.key == key) {
            running = if event.what == What::Started { running + 1 } else { running - 1 };
            most = most.max(running);
        }
        most
    }

    /// How often each job was finished.
    pub(crate) fn finished(&self) -> BTreeMap<String, usize> {
        let mut finished = BTreeMap::new();
        for event in self.0.lock().unwrap().iter().filter(|event| event.what == What::Finished) {
            *finished.entry(event.key.clone()).or_default() += 1;
        }
        finished
    }

    /// How many attempts of all jobs were begun.
    pub(crate) fn attempts(&self) -> usize {
        self.0.lock().unwrap().iter().filter(|event| event.what == What::Started).count()
    }

    /// A worker's registry with every job of these tests, all of which do the same and write it down.
    pub(crate) fn registry<F, R>(&self, act: F) -> Registry
    where
        F: Fn(String, Run) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let history = self.clone();
        let run = move |key: String, run: Run| {
            let (history, act) = (history.clone(), act.clone());
            async move {
                history.add(&key, &run, What::Started);
                let mut left = Left(Some((history.clone(), key.clone(), run.clone())));
                act(key.clone(), run.clone()).await?;
                left.0 = None;
                history.add(&key, &run, What::Finished);
                Ok(())
            }
            .boxed()
        };
        let (step, single, hurried, slow) = (run.clone(), run.clone(), run.clone(), run.clone());
        let (ranked, limited, persistent) = (run.clone(), run.clone(), run);
        Registry::new()
            .job::<Step, _, _>(move |job, about| step(job.key, about))
            .job::<Single, _, _>(move |job, about| single(job.key, about))
            .job::<Hurried, _, _>(move |job, about| hurried(job.key, about))
            .job::<Slow, _, _>(move |job, about| slow(job.key, about))
            .job::<Ranked, _, _>(move |job, about| ranked(job.key, about))
            .job::<Limited, _, _>(move |job, about| limited(job.key, about))
            .job::<Persistent, _, _>(move |job, about| persistent(job.key, about))
    }

    /// A registry whose jobs have nothing more to do.
    pub(crate) fn succeeding(&self) -> Registry {
        self.registry(|_, _| async { Ok(()) })
    }

    /// A registry whose jobs wait at the gate.
    pub(crate) fn waiting_at(&self, gate: &Gate) -> Registry {
        let gate = gate.clone();
        self.registry(move |_, _| {
            let gate = gate.clone();
            async move {
                gate.passed().await;
                Ok(())
            }
        })
    }
}

/// Tells the history of an attempt that is dropped.
struct Left(Option<(History, String, Run)>);

impl Drop for Left {
    fn drop(&mut self) {
        if let Some((history, key, run)) = &self.0 {
            history.add(key, run, What::Left);
        }
    }
}

/// What `finished` says when each of these jobs was finished exactly once.
pub(crate) fn once_each(keys: impl IntoIterator<Item = impl Into<String>>) -> BTreeMap<String, usize> {
    keys.into_iter().map(|key| (key.into(), 1)).collect()
}

/// Where jobs wait until it is opened.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(crate) async fn passed(&self) {
        self.0.subscribe().wait_for(|open| *open).await.unwrap();
    }
}

/// A worker of this process.
#[derive(Debug)]
pub(crate) struct Running {
    stop: CancellationToken,
    task: JoinHandle<Result<(), Broken>>,
}

impl Running {
    pub(crate) fn start(worker: Worker) -> Self {
        let stop = CancellationToken::new();
        let task = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
        Self { stop, task }
    }

    /// Tells it to stop, without waiting.
    pub(crate) fn tell_to_stop(&self) {
        self.stop.cancel();
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.task.is_finished()
    }

    /// Tells it to stop and waits until it has.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Ends its lease keeping and leasing at once. Attempts that run go on, as those of a process that was paused will.
    pub(crate) async fn freeze(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// A worker with a runtime of its own, so that all of it can vanish at once like a killed process.
#[derive(Debug)]
pub(crate) struct Doomed(Option<tokio::runtime::Runtime>);

impl Doomed {
    pub(crate) fn start(app: &TestApp, registry: Registry) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (database, queue) = (database_config(app), app.queue_config.clone());
        runtime.spawn(async move {
            let database = Database::open(&database).unwrap();
            let store = QueueStore::open(&queue).unwrap();
            let never = CancellationToken::new();
            Worker::new(database, store, registry, tests::worker_config(4)).run(never.clone(), never).await.unwrap();
        });
        Self(Some(runtime))
    }

    pub(crate) fn vanish(self) {
        drop(self);
    }
}

impl Drop for Doomed {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// How a process of its own would reach the test's database.
pub(crate) fn database_config(app: &TestApp) -> DatabaseConfig {
    DatabaseConfig {
        url: app.db.url.clone(),
        max_connections: 8,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(30),
    }
}

/// A job's row.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub(crate) struct Row {
    pub(crate) attempts: i32,
    pub(crate) last_error: Option<String>,
    pub(crate) is_dead: bool,
}

/// A help center with a tenant, seen from the outside and from the inside.
pub(crate) struct QueueTest {
    pub(crate) app: TestApp,
    pub(crate) tenant: TenantId,
    pub(crate) owner: PgConnection,
    pub(crate) redis: redis::Connection,
}

impl QueueTest {
    /// With the usual lease, which no busy machine makes a live worker lose.
    pub(crate) async fn start() -> Self {
        Self::with_lease(Settings::default().lease).await
    }

    /// For tests that wait for a lease to end.
    pub(crate) async fn with_lease(lease: Duration) -> Self {
        let app = TestApp::start_with(Settings { with_model: false, lease, ..Settings::default() }).await;
        let tenant = app.db.tenant("acme").await.id;
        let owner = app.db.owner().await;
        let client = redis::Client::open(app.queue_config.redis_url.expose_secret()).unwrap();
        Self { redis: client.get_connection().unwrap(), app, tenant, owner }
    }

    pub(crate) async fn transaction(&self) -> TenantTx {
        self.app.db.database.tenant(self.tenant).await.unwrap()
    }

    pub(crate) async fn enqueue<J: Job>(&self, job: &J) -> JobId {
        let mut tx = self.transaction().await;
        let id = queue::enqueue(&mut tx, job).await.unwrap();
        tx.commit().await.unwrap();
        id
    }

    /// Enqueues a job as any release may have written it.
    pub(crate) async fn enqueue_raw(&mut self, queue: &str, job: &str, payload: serde_json::Value) -> Uuid {
        sqlx::query_scalar(
            "insert into outbox (tenant_id, queue, job, payload, max_attempts) values ($1, $2, $3, $4, 3) returning id",
        )
        .bind(self.tenant.uuid())
        .bind(queue)
        .bind(job)
        .bind(payload)
        .fetch_one(&mut self.owner)
        .await
        .unwrap()
    }

    /// Starts a worker with the usual concurrency and grace period.
    pub(crate) fn run(&self, registry: Registry) -> Running {
        Running::start(self.app.worker_with(registry))
    }

    /// Runs a worker until no job is open.
    pub(crate) async fn finish(&self, registry: Registry) {
        self.app.run_jobs_with(self.app.worker_with(registry)).await;
    }

    /// The job's row, while it is open or dead.
    pub(crate) async fn row(&mut self, id: Uuid) -> Option<Row> {
        sqlx::query_as("select attempts, last_error, dead_at is not null as is_dead from outbox where id = $1")
            .bind(id)
            .fetch_optional(&mut self.owner)
            .await
            .unwrap()
    }

    /// Waits until the job is a dead letter; its attempts and error.
    pub(crate) async fn dead_letter(&mut self, id: Uuid) -> (i32, String) {
        let row = eventually("the job is a dead letter", async || self.row(id).await.filter(|row| row.is_dead)).await;
        (row.attempts, row.last_error.unwrap())
    }

    /// How many rows the outbox has.
    pub(crate) async fn rows(&mut self) -> i64 {
        sqlx::query_scalar("select count(*) from outbox").fetch_one(&mut self.owner).await.unwrap()
    }

    pub(crate) fn key(&self, queue: Queue, name: &str) -> String {
        format!("{}:{{{queue}}}:{name}", self.app.queue_config.prefix)
    }

    /// What Redis knows of a job of the maintenance queue.
    pub(crate) fn hash(&mut self, id: Uuid) -> HashMap<String, String> {
        let key = self.key(Queue::Maintenance, &format!("job:{id}"));
        redis::cmd("HGETALL").arg(key).query(&mut self.redis).unwrap()
    }

    /// How many jobs of the maintenance queue wait, are delayed and are leased.
    pub(crate) async fn depths(&self) -> (u64, u64, u64) {
        let depths = self.app.store.depths(Queue::Maintenance).await.unwrap();
        (depths.waiting, depths.delayed, depths.leased)
    }

    /// Makes a delayed job due, or ends a job's lease, by putting its time into the past.
    pub(crate) fn backdate(&mut self, set: &str, id: Uuid) {
        let key = self.key(Queue::Maintenance, set);
        redis::cmd("ZADD").arg(key).arg("XX").arg(1).arg(id.to_string()).exec(&mut self.redis).unwrap();
    }

    /// Ends a job's lease and takes it over, as another process would.
    pub(crate) fn take_over(&mut self, id: Uuid) {
        self.backdate("leased", id);
        let script = concat!(
            include_str!("../../../../shared/src/queue/scripts/lanes.lua"),
            include_str!("../../../../shared/src/queue/scripts/take_over.lua")
        );
        let base = format!("{}:{{{}}}", self.app.queue_config.prefix, Queue::Maintenance);
        let taken: Vec<(String, String)> = redis::Script::new(script).key(base).arg(1).invoke(&mut self.redis).unwrap();
        assert_eq!(taken.len(), 1, "one job waits again");
    }

    /// When a delayed job is due, in milliseconds since 1970.
    pub(crate) fn delayed_until(&mut self, id: Uuid) -> Option<u64> {
        let key = self.key(Queue::Maintenance, "delayed");
        redis::cmd("ZSCORE").arg(key).arg(id.to_string()).query(&mut self.redis).unwrap()
    }

    /// Makes Redis forget everything about this test's queues. Other tests use the server too.
    pub(crate) fn forget_everything(&mut self) {
        tests::forget_everything(&mut self.redis, &self.app.queue_config.prefix);
    }
}
