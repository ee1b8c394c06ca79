//! What the torture's child processes do. They are this program again, with hidden arguments and the product's variables.

use std::{
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::Duration,
};

use chrono::TimeDelta;
use chrono_tz::Tz;
use clap::Subcommand;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use scheduler::{
    leader,
    schedule::{CatchUp, Line, Overlap},
};
use shared::{
    clock::Clock,
    config::{ApiConfig, AuthConfig, DatabaseConfig, LlmConfig, QueueConfig, TelemetryConfig, WorkerConfig},
    db::{Database, TenantTx},
    llm::Llm,
    queue::{
        self, Job, QueueStore,
        admin::{self, Selection},
        worker::Worker,
    },
    scheduling::Template,
    search::Search,
    telemetry::{self, shutdown},
    tenancy::{self, TenantId},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{
    chats,
    editor::Editor,
    jobs::{
        self, Contested, Fast, Flaky, Garbled, Hopeless, Journal, Killer, Later, Limited, Overdue, Panicking, Quick,
        Ranked, Refused, Single, Slow, Tick,
    },
    product,
};

/// How many of a tick that was missed are made up for: more than any fault can cost.
const CATCH_UP: usize = 100_000;

/// The lines of the torture's schedulers. Seconds that are missed are all made up for, so none may be missing in the end.
pub(super) const LINES: &[Line] = &[line("every_second", "* * * * * *"), line("every_other_second", "*/2 * * * * *")];

const fn line(name: &'static str, cron: &'static str) -> Line {
    Line {
        name,
        cron,
        time_zone: Tz::UTC,
        catch_up: CatchUp::Each(CATCH_UP),
        overlap: Overlap::Skip,
        work: |key| Template::of(&Tick {}, key),
    }
}

/// A child process.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum Child {
    /// Runs the product's worker with the jobs of the torture.
    #[command(hide = true)]
    Worker { journal: PathBuf },
    /// Runs the product's scheduler with the lines of the torture.
    #[command(hide = true)]
    Scheduler,
    /// Enqueues jobs.
    #[command(hide = true)]
    Enqueuer { journal: PathBuf, seed: u64, jobs_per_second: f64, most_open: i64 },
    /// Writes, publishes, tags and imports articles.
    #[command(hide = true)]
    Editor { journal: PathBuf, seed: u64 },
    /// Runs the product's API.
    #[command(hide = true)]
    Api,
    /// Asks the assistant.
    #[command(hide = true)]
    Asker { journal: PathBuf, seed: u64, apis: Vec<SocketAddr> },
    /// Tries dead letters again, puts them away, and cancels jobs.
    #[command(hide = true)]
    Operator { seed: u64 },
}

impl Child {
    pub(super) async fn run(self) {
        telemetry::install_tls();
        let traces = telemetry::start("torture", &TelemetryConfig::from_env(0).unwrap()).unwrap();
        let database = Database::open(&DatabaseConfig::from_env().unwrap()).unwrap();
        let shutdown = shutdown::on_signal().unwrap();
        match self {
            Self::Worker { journal } => {
                let queues = QueueConfig::from_env().unwrap();
                let store = QueueStore::open(&queues).unwrap();
                let registry = jobs::registry(database.clone(), &queues, Journal::open(&journal));
                let config = WorkerConfig::from_env().unwrap();
                Worker::new(database, store, registry, config).run(shutdown.stop, shutdown.at_once).await.unwrap();
            }
            Self::Scheduler => leader::run(&database, LINES, shutdown.stop).await.unwrap(),
            Self::Enqueuer { journal, seed, jobs_per_second, most_open } => {
                let random = StdRng::seed_from_u64(seed);
                let enqueuer = Enqueuer::new(database, &journal, random, jobs_per_second).await;
                enqueuer.run(most_open, shutdown.stop).await;
            }
            Self::Editor { journal, seed } => {
                Editor::new(database, &journal, StdRng::seed_from_u64(seed)).await.run(shutdown.stop).await;
            }
            Self::Api => serve(database, shutdown.stop).await,
            Self::Asker { journal, seed, apis } => chats::ask(&apis, &journal, seed, &shutdown.stop).await,
            Self::Operator { seed } => operate(&database, StdRng::seed_from_u64(seed), &shutdown.stop).await,
        }
        traces.finish().await;
    }
}

/// The API as its program starts it, without a model: questions are embedded by workers.
async fn serve(database: Database, stopping: CancellationToken) {
    let config = ApiConfig::from_env().unwrap();
    let auth = AuthConfig::from_env().unwrap();
    let queues = QueueConfig::from_env().unwrap();
    let search = Search::new(database.clone(), []);
    let llm = Llm::new(&LlmConfig::from_env().unwrap(), None, database.clone(), Clock::system()).unwrap();
    let listener = TcpListener::bind(config.address).unwrap();
    let services = api::Services::new(config, &auth, database, search, &queues, llm, Clock::system()).unwrap();
    let services = api::Services { stopping, ..services };
    // Actix' server wants actix' runtime.
    let served = tokio::task::spawn_blocking(|| {
        actix_web::rt::System::new().block_on(async { api::serve(listener, services)?.await })
    });
    served.await.unwrap().unwrap();
}

/// To be called by the first thread.
#[cfg(target_os = "linux")]
pub(super) fn die_with_parent() {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).unwrap();
}

#[cfg(not(target_os = "linux"))]
pub(super) fn die_with_parent() {}

/// Jobs that kill their process are few: so many a second of each enqueuer.
const KILLERS_PER_SECOND: f64 = 0.03;
/// How many jobs a transaction enqueues at least, on average; the pace is kept by pauses in between.
const LARGEST_BATCH: u32 = 60;

struct Enqueuer {
    database: Database,
    journal: Journal,
    random: StdRng,
    tenants: Vec<TenantId>,
    jobs_per_second: f64,
    killed_at: Instant,
}

/// What a transaction enqueued.
#[derive(Default)]
struct Written {
    jobs: Vec<Uuid>,
    /// Those of which nobody tells the ids, by the key of the enqueueing.
    keys: Vec<Uuid>,
    /// Jobs with a unique key: if this transaction is rolled back, they may be those of others.
    jobs_if_committed: Vec<Uuid>,
}

impl Written {
    fn tell(&self, journal: &Journal, is_committed: bool) {
        let what = if is_committed { "enqueued" } else { "rolled_back" };
        let singles = self.jobs_if_committed.iter().filter(|_| is_committed);
        for id in self.jobs.iter().chain(singles) {
            journal.write(&format!("{what} job {id}"));
        }
        for key in &self.keys {
            journal.write(&format!("{what} key {key}"));
        }
    }
}

impl Enqueuer {
    async fn new(database: Database, journal: &Path, random: StdRng, jobs_per_second: f64) -> Self {
        let tenants = tenants(&database).await;
        Self { database, journal: Journal::open(journal), random, tenants, jobs_per_second, killed_at: Instant::now() }
    }

    /// Enqueues at its pace until told to stop, and waits while too many jobs are open.
    async fn run(mut self, most_open: i64, stop: CancellationToken) {
        let mut counted_at = Instant::now();
        let mut next = Instant::now();
        while !stop.is_cancelled() {
            if counted_at.elapsed() > Duration::from_millis(500) {
                counted_at = Instant::now();
                let counts = queue::counts(&self.database).await.unwrap_or_default();
                if counts.iter().map(queue::OutboxCounts::open).sum::<i64>() > most_open {
                    let _ = stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(600))).await;
                    next = Instant::now();
                    continue;
                }
            }
            // What an enqueuer was not told about it does not acknowledge. Its server may never answer.
            let Some(written) = stop.run_until_cancelled(self.transaction()).await else { return };
            let count = written.unwrap_or(1);
            next = next.max(Instant::now().checked_sub(Duration::from_secs(2)).unwrap_or(next));
            next += Duration::from_secs_f64(f64::from(count) / self.jobs_per_second);
            let _ = stop.run_until_cancelled(tokio::time::sleep_until(next)).await;
        }
    }

    /// One transaction with some jobs; how many.
    async fn transaction(&mut self) -> Result<u32, sqlx::Error> {
        // The first tenant has as much to do as a third of all together.
        let place = if self.random.random_bool(0.3) { 0 } else { self.random.random_range(0..self.tenants.len()) };
        let mut tx = self.database.tenant(self.tenants[place]).await?;
        let mut written = Written::default();
        let mut count = self.random.random_range(1..=6);
        for _ in 0..count {
            self.single(&mut tx, &mut written).await?;
        }
        if self.random.random_bool(0.6) {
            let size = self.random.random_range(1..=LARGEST_BATCH);
            count += size;
            if self.random.random_bool(0.5) {
                all::<Fast>(&mut tx, &mut written, (0..size).map(|number| Fast { key: Uuid::new_v4(), number }))
                    .await?;
            } else {
                all::<Quick>(&mut tx, &mut written, (0..size).map(|number| Quick { key: Uuid::new_v4(), number }))
                    .await?;
            }
        }
        if self.random.random_bool(0.05) {
            drop(tx);
            written.tell(&self.journal, false);
        } else {
            tx.commit().await?;
            written.tell(&self.journal, true);
        }
        Ok(count)
    }

    async fn single(&mut self, tx: &mut TenantTx, written: &mut Written) -> Result<(), sqlx::Error> {
        let key = Uuid::new_v4();
        if self.killed_at.elapsed().as_secs_f64() * KILLERS_PER_SECOND > 1.0 {
            self.killed_at = Instant::now();
            written.jobs.push(one(tx, &Killer { key, number: 0 }).await?);
            return Ok(());
        }
        let id = match self.random.random_range(0..100) {
            0..15 => one(tx, &Slow { key, number: self.random.random_range(200..2000) }).await?,
            15..30 => one(tx, &Flaky { key, number: self.random.random_range(1..=3) }).await?,
            30..45 => {
                let soon = TimeDelta::milliseconds(self.random.random_range(200..15_000));
                let job = Later { key, number: 0 };
                queue::enqueue_at(tx, &job, Clock::system().now() + soon).await?.uuid()
            }
            45..60 => {
                let id = one(tx, &Single { key, number: self.random.random_range(0..10) }).await?;
                written.jobs_if_committed.push(id);
                return Ok(());
            }
            60..75 => one(tx, &Ranked { key, number: self.random.random_range(0..3) }).await?,
            75..85 => one(tx, &Limited { key, number: 0 }).await?,
            85..87 => {
                let id = one(tx, &Contested { key, number: self.random.random_range(0..3) }).await?;
                written.jobs_if_committed.push(id);
                return Ok(());
            }
            87..88 => one(tx, &Hopeless { key, number: 0 }).await?,
            88..91 => one(tx, &Refused { key, number: 0 }).await?,
            91..94 => one(tx, &Panicking { key, number: 0 }).await?,
            94..96 => one(tx, &Overdue { key, number: 0 }).await?,
            96..98 => garbled(tx).await?,
            _ => one(tx, &Fast { key, number: 0 }).await?,
        };
        written.jobs.push(id);
        Ok(())
    }
}

async fn tenants(database: &Database) -> Vec<TenantId> {
    loop {
        match tenancy::all(database).await {
            Ok(tenants) => return tenants.into_iter().map(|tenant| tenant.id).collect(),
            Err(_) => tokio::time::sleep(Duration::from_millis(200)).await,
        }
    }
}

async fn one<J: Job>(tx: &mut TenantTx, job: &J) -> Result<Uuid, sqlx::Error> {
    Ok(queue::enqueue(tx, job).await?.uuid())
}

async fn all<J: Job + HasKey>(
    tx: &mut TenantTx,
    written: &mut Written,
    jobs: impl Iterator<Item = J>,
) -> Result<(), sqlx::Error> {
    let jobs: Vec<J> = jobs.collect();
    queue::enqueue_all(tx, &jobs).await?;
    for job in &jobs {
        written.keys.push(job.key());
    }
    Ok(())
}

trait HasKey {
    fn key(&self) -> Uuid;
}

impl HasKey for Fast {
    fn key(&self) -> Uuid {
        self.key
    }
}

impl HasKey for Quick {
    fn key(&self) -> Uuid {
        self.key
    }
}

/// A job as a release with other ideas may have written it.
async fn garbled(tx: &mut TenantTx) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar(
        "insert into outbox (tenant_id, queue, job, payload, max_attempts) values ($1, $2, $3, '{\"number\": \"many\"}', $4)
         returning id",
    )
    .bind(tenant)
    .bind(Garbled::QUEUE.name())
    .bind(Garbled::NAME)
    .bind(Garbled::MAX_ATTEMPTS.cast_signed())
    .fetch_one(tx.connection())
    .await
}

/// Dead letters that operators try again, and those that they put away.
const TRIED_AGAIN: &[&str] = &["contested", "hopeless"];
const PUT_AWAY: &[&str] = &["contested", "garbled", "hopeless", "overdue", "panicking", "refused"];

/// Who does it, in the audit log.
const OPERATOR: &str = "torture";

/// Does what operators do, until told to stop.
async fn operate(database: &Database, mut random: StdRng, stop: &CancellationToken) {
    let tenants = tenants(database).await;
    while !stop.is_cancelled() {
        let tenant = tenants[random.random_range(0..tenants.len())];
        // An operator who gets an error looks what happened, and does something else.
        let _ = operate_once(database, &mut random, tenant).await;
        let _ = stop.run_until_cancelled(tokio::time::sleep(Duration::from_millis(300))).await;
    }
}

async fn operate_once(database: &Database, random: &mut StdRng, tenant: TenantId) -> Result<(), sqlx::Error> {
    let mut tx = database.tenant(tenant).await?;
    match random.random_range(0..10) {
        0..6 => {
            let ids = Some(some_jobs(&mut tx, "dead_at is not null and job = any ($2)", TRIED_AGAIN).await?);
            admin::retry(&mut tx, &Selection { ids, ..Selection::default() }, OPERATOR).await?;
        }
        6..8 => {
            let ids = Some(some_jobs(&mut tx, "dead_at is null and not job = any ($2)", &not_cancelled()).await?);
            admin::cancel(&mut tx, &Selection { ids, ..Selection::default() }, OPERATOR).await?;
        }
        _ => {
            for job in PUT_AWAY {
                let selection = Selection { job: Some((*job).to_owned()), ..Selection::default() };
                admin::discard(&mut tx, &selection, OPERATOR).await?;
            }
        }
    }
    tx.commit().await
}

/// What these are to come to is checked.
fn not_cancelled() -> Vec<&'static str> {
    [Killer::NAME].into_iter().chain(product::JOBS.iter().copied()).collect()
}

async fn some_jobs(tx: &mut TenantTx, which: &str, jobs: &[&str]) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let sql = format!("select id from outbox where tenant_id = $1 and {which} order by random() limit 3");
    sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(tenant).bind(jobs).fetch_all(tx.connection()).await
}
