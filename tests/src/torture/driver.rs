//! One run of the torture, from empty servers to the verdict.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::ExitCode, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use shared::{
    clock::Clock,
    config::{DatabaseConfig, OwnerDatabaseConfig},
    db::{self, Database},
    telemetry,
    tenancy::{self, NewTenant},
};
use sqlx::{Connection as _, PgConnection};
use tokio::{sync::Mutex as AsyncMutex, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Arguments,
    check::{Checker, Invariant},
    editor,
    faults::{Faults, Log},
    fleet::{Ground, Role, Slot},
    history::{self, Reader},
    product,
    report::{self, Kept, Rest, Run},
    servers::{Postgres, Redis, free_port},
};

const WORKERS: u32 = 5;
const SCHEDULERS: u32 = 3;
const ENQUEUERS: u32 = 3;
const OPERATORS: u32 = 2;
const APIS: u32 = 2;
const TENANTS: u32 = 20;
/// How many seconds lie between the due times of each line.
const EVERY: &[(&str, i64)] = &[("every_second", 1), ("every_other_second", 2)];
/// Enqueuers wait while more jobs than this are open.
const MOST_OPEN: i64 = 5000;
/// How often the history is read and progress told.
const WINDOW: Duration = Duration::from_secs(5);
/// How long healing may take: what Redis lost of its memory is noticed when it is a minute old, a page every 15 s.
const HEALING: Duration = Duration::from_secs(300);
const DEFAULT_DURATION: Duration = Duration::from_secs(600);
const LONGEST: Duration = Duration::from_secs(4 * 3600);
/// How long processes have to stop.
const TO_STOP: Duration = Duration::from_secs(30);
/// The memory of a worker may grow by so much after it has warmed up.
const GROWTH_BYTES: u64 = 64 << 20;

pub(super) async fn run(arguments: Arguments) -> ExitCode {
    telemetry::install_tls();
    sweep(&arguments.folder);
    let folder = tempfile::Builder::new()
        .prefix(&format!("torture-{}-", std::process::id()))
        .permissions(fs::Permissions::from_mode(0o711))
        .tempdir_in(&arguments.folder)
        .unwrap();
    let path = folder.path().to_owned();
    let seed = arguments.seed.unwrap_or_else(|| rand::random_range(0..1_000_000_000));
    report::say(&format!("torture: seed {seed} (SEED={seed} repeats its faults)"));
    let mut torture = Torture::start(arguments, &path, seed).await;
    let run = tokio::select! {
        run = torture.run() => Some(run),
        _ = tokio::signal::ctrl_c() => None,
        () = terminated() => None,
    };
    torture.stop_servers().await;
    if torture.arguments.keep {
        let kept = path.with_file_name(format!("kept-torture-{seed}-{}", std::process::id()));
        fs::rename(folder.keep(), &kept).unwrap();
        report::say(&format!("Everything is in {}.", kept.display()));
    }
    let Some(run) = run else {
        report::say("torture: interrupted");
        return ExitCode::from(130);
    };
    report::tell(&run);
    if let Some(file) = &torture.arguments.report {
        fs::write(file, report::markdown(&run)).unwrap();
    }
    report::say(&report::figures(&run));
    if run.holds() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Removes what a run that was itself killed could not.
fn sweep(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.strip_prefix("torture-")?.split('-').next()?.parse::<i32>().ok());
        let Some(pid) = pid.and_then(rustix::process::Pid::from_raw) else { continue };
        if rustix::process::test_kill_process(pid) == Err(rustix::io::Errno::SRCH) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

async fn terminated() {
    let mut signal = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).unwrap();
    signal.recv().await;
}

struct Torture {
    arguments: Arguments,
    seed: u64,
    ground: Ground,
    postgres: Arc<AsyncMutex<Postgres>>,
    redis: Arc<AsyncMutex<Redis>>,
    faults: Faults,
    running: JoinSet<()>,
    /// Stops the faults.
    calm_down: CancellationToken,
    checker: Checker,
    reader: Reader,
    started: Instant,
    /// Of the worker whose memory is watched: after warming up, and the most of later.
    memory: Option<(u64, u64)>,
    kept: Vec<Kept>,
}

impl Torture {
    async fn start(arguments: Arguments, folder: &Path, seed: u64) -> Self {
        let postgres = Postgres::create(&arguments.postgres_bin, folder).await;
        let redis = Redis::create(&arguments.valkey_bin, folder).await;
        prepare(&postgres).await;
        let ground = Ground {
            folder: folder.to_owned(),
            postgres_url: postgres.service_url(),
            redis_url: redis.url(),
            beside: arguments.beside.clone(),
            deaths: Arc::default(),
        };
        let slots = slots(&arguments, seed, &ground).await;
        let reader = Reader::new(postgres.owner_url(), folder);
        let calm_down = CancellationToken::new();
        let faults = Faults {
            slots,
            owner_url: postgres.owner_url(),
            service_url: postgres.service_url(),
            postgres: Arc::new(AsyncMutex::new(postgres)),
            redis: Arc::new(AsyncMutex::new(redis)),
            log: Arc::new(Log::new(&folder.join("faults.log"))),
            started: Instant::now(),
            stop: calm_down.clone(),
        };
        Self {
            arguments,
            seed,
            ground,
            postgres: Arc::clone(&faults.postgres),
            redis: Arc::clone(&faults.redis),
            faults,
            running: JoinSet::new(),
            calm_down,
            checker: Checker::default(),
            reader,
            started: Instant::now(),
            memory: None,
            kept: Vec::new(),
        }
    }

    async fn run(&mut self) -> Run {
        for slot in &self.faults.slots {
            self.running.spawn(Arc::clone(slot).keep_running());
        }
        // So that everything has begun before the first fault.
        tokio::time::sleep(Duration::from_secs(2)).await;
        self.faults.started = Instant::now();
        let lanes = self.faults.begin(self.seed);
        self.until_enough().await;
        let tortured = self.started.elapsed();
        self.calm_down.cancel();
        lanes.join_all().await;
        let (rest, until) = self.heal().await;
        let checker = std::mem::take(&mut self.checker);
        let deaths = self.ground.deaths.lock().unwrap().clone();
        let log = &self.faults.log;
        Run {
            seed: self.seed,
            tortured,
            faults: log.total(),
            by_fault: log.counts(),
            deaths: (deaths.iter().filter(|death| death.was_killed).count(), deaths.len()),
            verdict: checker.finish(&deaths, &log.disturbed(), EVERY, until),
            rest,
        }
    }

    /// Lets jobs and faults come until there were enough.
    async fn until_enough(&mut self) {
        let Arguments { duration, jobs, faults, .. } = self.arguments;
        let until_reached = jobs.is_some() || faults.is_some();
        let duration = duration.map_or(if until_reached { LONGEST } else { DEFAULT_DURATION }, Duration::from_secs);
        while self.started.elapsed() < duration {
            tokio::time::sleep(WINDOW).await;
            self.window().await;
            let (finished, done) = (self.checker.finished(), self.faults.log.total());
            if until_reached && finished >= jobs.unwrap_or(0) && done >= faults.unwrap_or(0) {
                return;
            }
        }
    }

    async fn window(&mut self) {
        // An error: the server is away in this moment. The next window has it all.
        let running = || self.faults.slots.iter().filter_map(|slot| slot.name()).collect();
        let _ = self.reader.read(&mut self.checker, running).await;
        let witness = self.faults.slots.iter().find(|slot| slot.role == Role::Witness);
        if self.started.elapsed() > Duration::from_secs(60)
            && let Some(memory) = witness.and_then(|slot| slot.memory())
        {
            let (warm, most) = self.memory.unwrap_or((memory, memory));
            self.memory = Some((warm, most.max(memory)));
        }
        self.kept.extend(self.kept().await);
        let (ended, open) = self.checker.counts();
        let (finished, elapsed) = (self.checker.finished(), self.started.elapsed().as_secs());
        let problem = if self.checker.has_violations() { ", VIOLATIONS" } else { "" };
        report::say(&format!(
            "{elapsed:>6} s  {finished} jobs finished ({ended} done), {open} open, {} faults{problem}",
            self.faults.log.total()
        ));
    }

    /// Ends all faults, waits for the backlog to end and looks at what is left; and until when there were schedulers.
    async fn heal(&mut self) -> (Rest, DateTime<Utc>) {
        let healing = Instant::now();
        self.faults.heal();
        for slot in self.slots(&[Role::Enqueuer, Role::Editor, Role::Operator, Role::Asker]) {
            slot.stop();
        }
        let mut rest = Rest::default();
        while healing.elapsed() < HEALING {
            tokio::time::sleep(Duration::from_secs(1)).await;
            rest.open = self.count("dead_at is null").await;
            rest.redis_keys = self.redis_keys().await;
            if healing.elapsed().as_secs().is_multiple_of(5) {
                self.window().await;
            }
            // An error: the server is not back yet.
            if self.retry_product().await.is_ok_and(|retried| retried == 0) && rest.open == 0 && !rest.has_job_keys() {
                break;
            }
        }
        rest.healed_after = healing.elapsed();
        let until = Clock::system().now();
        self.stop_processes().await;
        self.window().await;
        rest.dead_tuples = self.dead_tuples().await.unwrap_or(-1);
        rest.memory = self.memory;
        rest.kept = std::mem::take(&mut self.kept);
        rest.refused_leaders = self.refused_leaders();
        rest.dead_letters = self.count("dead_at is not null").await;
        self.check_rest(&rest);
        self.check_product().await;
        self.check_chats().await;
        (rest, until)
    }

    fn check_rest(&mut self, rest: &Rest) {
        let mut found = Vec::new();
        if rest.open != 0 {
            found.push(format!("{} jobs are still open after {:?}", rest.open, rest.healed_after));
        }
        let dead_letters = self.checker.finished() - self.checker.counts().0 as u64;
        if u64::try_from(rest.dead_letters) != Ok(dead_letters) {
            found.push(format!("there are {} dead letters, and {dead_letters} in the history", rest.dead_letters));
        }
        if rest.has_job_keys() {
            found.push(format!("Redis still has {:?}", rest.redis_keys));
        }
        if !(0..1000).contains(&rest.dead_tuples) {
            found.push(format!("{} dead tuples are left after VACUUM", rest.dead_tuples));
        }
        if let Some((warm, most)) = rest.memory
            && most > warm + GROWTH_BYTES
        {
            found.push(format!("a worker's memory grew from {warm} to {most} bytes"));
        }
        for example in found {
            self.checker.violated(Invariant::Baseline, example);
        }
    }

    async fn retry_product(&self) -> Result<usize, sqlx::Error> {
        let mut owner = PgConnection::connect(self.faults.owner_url.expose_secret()).await?;
        let tenant = product::tenant(&mut owner).await?;
        product::retry(&database(&self.faults.service_url), tenant).await
    }

    async fn check_product(&mut self) {
        let problems = async {
            let mut owner = PgConnection::connect(self.faults.owner_url.expose_secret()).await?;
            let tenant = product::tenant(&mut owner).await?;
            product::problems(&mut owner, &database(&self.faults.service_url), tenant).await
        };
        for problem in problems.await.unwrap_or_else(|error| vec![format!("it cannot be checked: {error}")]) {
            self.checker.violated(Invariant::Product, problem);
        }
    }

    async fn check_chats(&mut self) {
        let problems = async {
            let mut owner = PgConnection::connect(self.faults.owner_url.expose_secret()).await?;
            self.checker.chats.problems(&mut owner).await
        };
        for problem in problems.await.unwrap_or_else(|error| vec![format!("it cannot be checked: {error}")]) {
            self.checker.violated(Invariant::Chats, problem);
        }
    }

    async fn stop_processes(&mut self) {
        for slot in &self.faults.slots {
            slot.stop();
        }
        let stopped = tokio::time::timeout(TO_STOP, async { while self.running.join_next().await.is_some() {} }).await;
        if stopped.is_err() {
            let names: Vec<String> = self.faults.slots.iter().filter_map(|slot| slot.name()).collect();
            self.checker.violated(Invariant::Baseline, format!("{names:?} did not stop within {TO_STOP:?}"));
        }
    }

    fn slots(&self, roles: &[Role]) -> Vec<Arc<Slot>> {
        self.faults.slots.iter().filter(|slot| roles.contains(&slot.role)).cloned().collect()
    }

    /// How many rows of the outbox there are of a kind; -1 when PostgreSQL cannot be asked.
    async fn count(&self, which: &str) -> i64 {
        let count = async {
            let mut owner = PgConnection::connect(self.faults.owner_url.expose_secret()).await?;
            let sql = format!("select count(*) from outbox where {which}");
            sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut owner).await
        };
        count.await.unwrap_or(-1)
    }

    async fn dead_tuples(&self) -> Result<i64, sqlx::Error> {
        let mut owner = PgConnection::connect(self.faults.owner_url.expose_secret()).await?;
        for table in ["vacuum outbox", "vacuum finished_jobs", "vacuum unrelayed_jobs"] {
            sqlx::query(table).execute(&mut owner).await?;
        }
        sqlx::query_scalar(
            "select sum(n_dead_tup)::bigint from pg_stat_user_tables
             where relname in ('outbox', 'finished_jobs', 'unrelayed_jobs')",
        )
        .fetch_one(&mut owner)
        .await
    }

    /// What the servers keep at this moment; nothing while one of them is away.
    async fn kept(&self) -> Option<Kept> {
        let redis: redis::InfoDict =
            redis::cmd("INFO").arg("memory").query(&mut self.redis.try_lock().ok()?.connect().ok()?).ok()?;
        let mut owner = PgConnection::connect(self.faults.owner_url.expose_secret()).await.ok()?;
        let tables: i64 = sqlx::query_scalar(
            "select sum(pg_total_relation_size(name))::bigint
             from unnest('{outbox, finished_jobs, unrelayed_jobs}'::regclass[]) as name",
        )
        .fetch_one(&mut owner)
        .await
        .ok()?;
        let jobs_finished = self.checker.finished();
        Some(Kept { jobs_finished, redis: redis.get("used_memory")?, tables: tables.unsigned_abs() })
    }

    /// How many keys of each kind Redis has: their names without queue, ids and tenants.
    async fn redis_keys(&self) -> std::collections::BTreeMap<String, u64> {
        let redis = self.redis.lock().await;
        let mut kinds = std::collections::BTreeMap::new();
        let Ok(mut connection) = redis.connect() else { return kinds };
        let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap_or_default();
        for key in keys {
            let key = key.replace("{answer:", "answer:");
            let kind = key.split(':').find(|part| *part != "torture" && !part.starts_with('{')).unwrap_or_default();
            *kinds.entry(kind.to_owned()).or_default() += 1;
        }
        kinds
    }

    /// How often a scheduler that had led heard that it does not any more.
    fn refused_leaders(&self) -> usize {
        let entries = fs::read_dir(&self.ground.folder).unwrap().map(|entry| entry.unwrap().path());
        let logs = entries.filter(|path| path.to_string_lossy().contains("scheduler-"));
        logs.map(|log| fs::read_to_string(log).unwrap_or_default().matches("scheduler.not_leading").count()).sum()
    }

    async fn stop_servers(&mut self) {
        self.calm_down.cancel();
        self.running.shutdown().await;
        self.redis.lock().await.kill().await;
        self.postgres.lock().await.stop(true).await;
    }
}

async fn prepare(postgres: &Postgres) {
    let mut server = url::Url::parse(postgres.owner_url().expose_secret()).unwrap();
    server.set_path("postgres");
    let mut connection = PgConnection::connect(server.as_str()).await.unwrap();
    sqlx::raw_sql("create database torture").execute(&mut connection).await.unwrap();
    db::migrate(&OwnerDatabaseConfig { url: postgres.owner_url() }, &postgres.service_url()).await.unwrap();
    let mut owner = PgConnection::connect(postgres.owner_url().expose_secret()).await.unwrap();
    history::install(&mut owner).await.unwrap();
    let mut transaction = database(&postgres.service_url()).untenanted().await.unwrap();
    for slug in (0..TENANTS).map(|n| format!("tenant-{n}")).chain([editor::TENANT.to_owned()]) {
        let is_public = slug == editor::TENANT;
        let new = NewTenant { slug: slug.parse().unwrap(), name: slug, hosts: Vec::new(), is_public };
        tenancy::create(&mut transaction, &new).await.unwrap();
    }
    transaction.commit().await.unwrap();
}

/// For what this process itself does.
fn database(url: &SecretString) -> Database {
    Database::open(&DatabaseConfig {
        url: url.clone(),
        max_connections: 1,
        acquire_timeout: Duration::from_secs(5),
        statement_timeout: Duration::from_secs(30),
    })
    .unwrap()
}

async fn slots(arguments: &Arguments, seed: u64, ground: &Ground) -> Vec<Arc<Slot>> {
    let mut slots = Vec::new();
    for index in 0..WORKERS {
        slots.push(Slot::new(Role::Worker, index, Vec::new(), ground).await);
    }
    slots.push(Slot::new(Role::Witness, 0, Vec::new(), ground).await);
    for index in 0..SCHEDULERS {
        slots.push(Slot::new(Role::Scheduler, index, Vec::new(), ground).await);
    }
    for index in 0..ENQUEUERS {
        let rate = arguments.rate / f64::from(ENQUEUERS);
        let own = vec![(seed + u64::from(index)).to_string(), rate.to_string(), MOST_OPEN.to_string()];
        slots.push(Slot::new(Role::Enqueuer, index, own, ground).await);
    }
    slots.push(Slot::new(Role::Editor, 0, vec![seed.to_string()], ground).await);
    let apis: Vec<String> = (0..APIS).map(|_| format!("127.0.0.1:{}", free_port())).collect();
    for (index, address) in (0..).zip(&apis) {
        let variables = api_variables(address);
        slots.push(Slot::with_variables(Role::Api, index, Vec::new(), variables, ground).await);
    }
    slots.push(Slot::new(Role::Asker, 0, [seed.to_string()].into_iter().chain(apis).collect(), ground).await);
    for index in 0..OPERATORS {
        slots.push(Slot::new(Role::Operator, index, vec![(seed + u64::from(index)).to_string()], ground).await);
    }
    slots
}

/// Without limits: what is asked is not to be refused.
fn api_variables(address: &str) -> Vec<(&'static str, String)> {
    let most = || 1_000_000.to_string();
    vec![
        ("API_ADDRESS", address.to_owned()),
        ("API_KEY_PEPPER", "a pepper of at least thirty-two bytes, for tests only".to_owned()),
        ("DEFAULT_TENANT", editor::TENANT.to_owned()),
        ("ASSISTANT_QUESTIONS_PER_MINUTE", most()),
        ("ASSISTANT_QUESTIONS_BURST", most()),
        ("ASSISTANT_QUESTIONS_PER_DAY", most()),
        ("ASSISTANT_TENANT_QUESTIONS_PER_MINUTE", most()),
        ("CHAT_SOCKETS_PER_PERSON", most()),
    ]
}
