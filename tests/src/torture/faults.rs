//! The faults: what they do, and when. The plan follows from the seed alone; on which process a fault falls is part of it.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use rustix::process::{Resource, Rlimit, Signal};
use secrecy::{ExposeSecret as _, SecretString};
use shared::clock::Clock;
use sqlx::{Connection as _, PgConnection};
use tokio::{sync::Mutex as AsyncMutex, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    LEASE,
    fleet::{Role, Slot},
    servers::{Loss, POSTGRES_CONNECTIONS, Postgres, Redis},
};

/// Storm and calm take turns. In a calm processes are killed and schedulers disturbed, but no server and no connection.
const STORM: Duration = Duration::from_secs(24);
const CALM: Duration = Duration::from_secs(16);
/// How long what a fault of a server or connection caused may go on.
const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// What has been done so far.
#[derive(Debug)]
pub(super) struct Log {
    file: File,
    counts: Mutex<BTreeMap<String, u64>>,
    total: AtomicU64,
    disturbed: Mutex<Vec<(DateTime<Utc>, DateTime<Utc>)>>,
}

impl Log {
    /// Written to a file as well, for people who want to know what caused what.
    pub(super) fn new(file: &Path) -> Self {
        let (counts, total, disturbed) = <_>::default();
        Self { file: File::create(file).unwrap(), counts, total, disturbed }
    }

    fn add(&self, kind: impl fmt::Display) {
        self.add_many(kind, 1);
    }

    fn add_many(&self, kind: impl fmt::Display, count: u64) {
        writeln!(&self.file, "{} {kind} ({count})", Clock::system().now()).unwrap();
        *self.counts.lock().unwrap().entry(kind.to_string()).or_default() += count;
        self.total.fetch_add(count, Ordering::SeqCst);
    }

    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::SeqCst)
    }

    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap().clone()
    }

    pub(super) fn disturbed(&self) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        self.disturbed.lock().unwrap().clone()
    }

    /// Servers or connections were not as they should be from then until now.
    fn disturbed_since(&self, since: DateTime<Utc>) {
        self.disturbed.lock().unwrap().push((since, Clock::system().now() + SETTLE));
    }
}

/// What faults are about.
#[derive(Clone)]
pub(super) struct Faults {
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) postgres: Arc<AsyncMutex<Postgres>>,
    pub(super) redis: Arc<AsyncMutex<Redis>>,
    pub(super) owner_url: SecretString,
    pub(super) service_url: SecretString,
    pub(super) log: Arc<Log>,
    pub(super) started: Instant,
    pub(super) stop: CancellationToken,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("log", &self.log).finish_non_exhaustive()
    }
}

/// One kind of faults after another, each drawn from a shuffled deck, so that none is left out for long.
struct Deck<T> {
    random: StdRng,
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    fn new(seed: u64, stream: u64, all: &[T]) -> Self {
        let random = StdRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { random, all: all.to_vec(), left: Vec::new() }
    }

    fn draw(&mut self) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            self.left.shuffle(&mut self.random);
        }
        self.left.pop().expect("a deck has cards")
    }

    /// Between half and one and a half of a time.
    fn about(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(self.random.random_range(0.5..1.5))
    }
}

#[derive(Debug, Clone, Copy)]
enum OfRedis {
    KilledEverySecond,
    KilledAlways,
    TailLost,
    Emptied,
    Flushed,
    OutOfMemory,
    StaleCopy,
    Paused,
}

#[derive(Debug, Clone, Copy)]
enum OfPostgres {
    RestartedFast,
    RestartedImmediately,
    BackendsTerminated,
    LongTransaction,
    ConnectionsExhausted,
}

#[derive(Debug, Clone, Copy)]
enum OfConnections {
    Cut,
    Reset,
    Slow,
    Narrow,
    RepliesLost,
}

#[derive(Debug, Clone, Copy)]
enum OfSchedulers {
    LeaderKilled,
    LeaderPaused,
    LeaderConnectionKilled,
    LeaderCutOff,
    ClockWrong,
    AnyKilled,
}

impl Faults {
    /// Starts all kinds of faults; they end, and leave everything running, when `stop` is cancelled.
    pub(super) fn begin(&self, seed: u64) -> tokio::task::JoinSet<()> {
        let mut lanes = tokio::task::JoinSet::new();
        lanes.spawn(self.clone().kills(seed));
        lanes.spawn(self.clone().pauses(seed));
        lanes.spawn(self.clone().limits(seed));
        for stream in 10..15 {
            lanes.spawn(self.clone().connections(seed, stream));
        }
        lanes.spawn(self.clone().silences(seed));
        lanes.spawn(self.clone().of_redis(seed));
        lanes.spawn(self.clone().of_postgres(seed));
        lanes.spawn(self.clone().of_schedulers(seed));
        lanes
    }

    async fn sleep(&self, time: Duration) {
        let _ = self.stop.run_until_cancelled(tokio::time::sleep(time)).await;
    }

    /// Waits, and in a calm until it is over. Whether to go on.
    async fn next(&self, time: Duration, only_in_storms: bool) -> bool {
        self.sleep(time).await;
        if only_in_storms {
            let cycle = (STORM + CALM).as_secs_f64();
            let into = self.started.elapsed().as_secs_f64() % cycle;
            if into > STORM.as_secs_f64() {
                self.sleep(Duration::from_secs_f64(cycle - into)).await;
            }
        }
        !self.stop.is_cancelled()
    }

    /// Waits, at most until the storm is over.
    async fn sleep_in_storm(&self, time: Duration) {
        let cycle = (STORM + CALM).as_secs_f64();
        let left = STORM.as_secs_f64() - self.started.elapsed().as_secs_f64() % cycle;
        self.sleep(time.min(Duration::from_secs_f64(left.max(0.0)))).await;
    }

    fn of(&self, role: Role) -> Vec<&Arc<Slot>> {
        self.slots.iter().filter(|slot| slot.role == role).collect()
    }

    async fn kills(self, seed: u64) {
        let mut deck = Deck::new(seed, 1, &[Signal::KILL]);
        loop {
            let wait = deck.about(Duration::from_millis(1800));
            let which = deck.random.random_range(0..1000);
            let signal = deck.draw();
            if !self.next(wait, false).await {
                return;
            }
            let workers = self.of(Role::Worker);
            if workers[which % workers.len()].signal(signal) {
                self.log.add("worker killed");
            }
        }
    }

    /// Workers that are as good as dead for two to three leases, and come back believing that nothing happened.
    async fn pauses(self, seed: u64) {
        let mut deck = Deck::new(seed, 2, &[()]);
        loop {
            let wait = deck.about(Duration::from_secs(6));
            let pause = LEASE.mul_f64(deck.random.random_range(2.0..3.0));
            let which = deck.random.random_range(0..1000);
            if !self.next(wait, false).await {
                return;
            }
            let workers = self.of(Role::Worker);
            let slot = workers[which % workers.len()];
            let name = slot.name();
            if slot.signal(Signal::STOP) {
                self.log.add("worker paused for 2-3 leases");
                self.sleep(pause).await;
                // Another process that took its place since was not paused, and does not mind.
                if slot.name() == name {
                    slot.signal(Signal::CONT);
                }
            }
        }
    }

    async fn limits(self, seed: u64) {
        let mut deck = Deck::new(seed, 3, &[()]);
        loop {
            let wait = deck.about(Duration::from_secs(12));
            let which = deck.random.random_range(0..1000);
            if !self.next(wait, true).await {
                return;
            }
            let workers = self.of(Role::Worker);
            let slot = workers[which % workers.len()];
            let Some(pid) = slot.pid() else { continue };
            let Ok(open) = std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) else { continue };
            let few = Some(open.count() as u64);
            let since = Clock::system().now();
            let limit = |current, maximum| Rlimit { current, maximum };
            let Ok(before) = rustix::process::prlimit(Some(pid), Resource::Nofile, limit(few, Some(4096))) else {
                continue;
            };
            self.log.add("worker out of file descriptors");
            // New connections are what it needs descriptors for.
            slot.postgres.reset_connections();
            self.sleep_in_storm(Duration::from_secs(3)).await;
            if slot.pid() == Some(pid) {
                let _ = rustix::process::prlimit(
                    Some(pid),
                    Resource::Nofile,
                    limit(before.current.map(|most| most.min(4096)), Some(4096)),
                );
            }
            self.log.disturbed_since(since);
        }
    }

    async fn connections(self, seed: u64, stream: u64) {
        use OfConnections::{Cut, Narrow, RepliesLost, Reset, Slow};
        let all = [Cut, Cut, Reset, Reset, Reset, Slow, Narrow, RepliesLost, RepliesLost, RepliesLost, RepliesLost];
        let mut deck = Deck::new(seed, stream, &all);
        loop {
            let wait = deck.about(Duration::from_millis(500));
            let what = deck.draw();
            let which = deck.random.random_range(0..1000);
            let is_of_redis = deck.random.random_bool(0.4);
            let time = deck.about(Duration::from_secs(2));
            let one_of = deck.random.random_range(10..=20);
            let latency = Duration::from_millis(deck.random.random_range(50..150));
            if !self.next(wait, true).await {
                return;
            }
            let slot = &self.slots[which % self.slots.len()];
            let proxy = if is_of_redis && slot.role != Role::Enqueuer && slot.role != Role::Scheduler {
                &slot.redis
            } else {
                &slot.postgres
            };
            let since = Clock::system().now();
            match what {
                Cut => {
                    self.log.add("connections cut, none accepted for a while");
                    proxy.cut();
                    self.sleep_in_storm(time / 2).await;
                    proxy.restore();
                }
                Reset => {
                    self.log.add("connections reset");
                    proxy.reset_connections();
                }
                Slow => {
                    self.log.add("connections slow (latency)");
                    proxy.slow_down(latency, 0);
                    self.sleep_in_storm(time).await;
                    proxy.slow_down(Duration::ZERO, 0);
                }
                Narrow => {
                    self.log.add("connections slow (bandwidth)");
                    proxy.slow_down(Duration::ZERO, 64 * 1024);
                    self.sleep_in_storm(time).await;
                    proxy.slow_down(Duration::ZERO, 0);
                }
                RepliesLost => {
                    let before = proxy.lost_replies();
                    proxy.lose_one_reply_of(one_of);
                    self.sleep_in_storm(time).await;
                    proxy.lose_one_reply_of(0);
                    self.log.add_many("reply lost after the command was carried out", proxy.lost_replies() - before);
                }
            }
            self.log.disturbed_since(since);
        }
    }

    /// Connections that are half open: neither side hears of the other, nor of an end.
    async fn silences(self, seed: u64) {
        let mut deck = Deck::new(seed, 7, &[()]);
        loop {
            let wait = deck.about(Duration::from_secs(2));
            let which = deck.random.random_range(0..1000);
            let is_of_redis = deck.random.random_bool(0.4);
            let time = deck.about(Duration::from_secs(16));
            if !self.next(wait, true).await {
                return;
            }
            let slot = &self.slots[which % self.slots.len()];
            let proxy = if is_of_redis { &slot.redis } else { &slot.postgres };
            let since = Clock::system().now();
            self.log.add("connections silent");
            proxy.silence_connections();
            self.sleep_in_storm(time).await;
            proxy.cut();
            proxy.restore();
            self.log.disturbed_since(since);
        }
    }

    async fn of_redis(self, seed: u64) {
        use OfRedis::{Emptied, Flushed, KilledAlways, KilledEverySecond, OutOfMemory, Paused, StaleCopy, TailLost};
        let all = [KilledEverySecond, KilledAlways, TailLost, Emptied, Flushed, OutOfMemory, StaleCopy, Paused];
        let mut deck = Deck::new(seed, 4, &all);
        loop {
            let wait = deck.about(Duration::from_secs(6));
            let what = deck.draw();
            let bytes = deck.random.random_range(1..20_000);
            if !self.next(wait, true).await {
                return;
            }
            let since = Clock::system().now();
            let mut redis = self.redis.lock().await;
            match what {
                KilledEverySecond => {
                    self.restart_redis(&mut redis, "everysec", Loss::Nothing, "redis killed (everysec)").await;
                }
                KilledAlways => self.restart_redis(&mut redis, "always", Loss::Nothing, "redis killed (always)").await,
                TailLost => {
                    self.restart_redis(&mut redis, "everysec", Loss::Tail(bytes), "redis killed, end of its file lost")
                        .await;
                }
                Emptied => self.restart_redis(&mut redis, "everysec", Loss::Everything, "redis came back empty").await,
                Flushed => {
                    self.log.add("redis flushed");
                    on_redis(&redis, &["FLUSHALL"]);
                }
                OutOfMemory => {
                    self.log.add("redis out of memory");
                    on_redis(&redis, &["CONFIG", "SET", "maxmemory", "1mb"]);
                    self.sleep(Duration::from_secs(2)).await;
                    on_redis(&redis, &["CONFIG", "SET", "maxmemory", "0"]);
                }
                StaleCopy => {
                    redis.copy();
                    self.sleep(Duration::from_secs(3)).await;
                    self.restart_redis(&mut redis, "everysec", Loss::SinceCopy, "redis replaced by an older copy")
                        .await;
                }
                Paused => {
                    self.log.add("redis does not answer for 3 s");
                    on_redis(&redis, &["CLIENT", "PAUSE", "3000", "ALL"]);
                    self.sleep(Duration::from_secs(3)).await;
                }
            }
            self.log.disturbed_since(since);
        }
    }

    async fn restart_redis(&self, redis: &mut Redis, flushing: &str, loss: Loss, kind: &str) {
        redis.kill().await;
        redis.lose(loss);
        redis.start(flushing).await;
        self.log.add(kind);
    }

    async fn of_postgres(self, seed: u64) {
        use OfPostgres::{
            BackendsTerminated, ConnectionsExhausted, LongTransaction, RestartedFast, RestartedImmediately,
        };
        let all = [RestartedFast, RestartedImmediately, BackendsTerminated, LongTransaction, ConnectionsExhausted];
        let mut deck = Deck::new(seed, 5, &all);
        loop {
            let wait = deck.about(Duration::from_secs(6));
            let what = deck.draw();
            if !self.next(wait, true).await {
                return;
            }
            let since = Clock::system().now();
            match what {
                RestartedFast | RestartedImmediately => {
                    let immediately = matches!(what, RestartedImmediately);
                    let mut postgres = self.postgres.lock().await;
                    postgres.stop(immediately).await;
                    postgres.start().await;
                    self.log.add(if immediately { "postgresql crashed" } else { "postgresql restarted" });
                }
                // Errors: the server is away in this moment, because of another fault.
                BackendsTerminated => drop(self.terminate_backends("true").await),
                LongTransaction => drop(self.long_transaction().await),
                ConnectionsExhausted => self.exhaust_connections().await,
            }
            self.log.disturbed_since(since);
        }
    }

    async fn terminate_backends(&self, which: &'static str) -> Result<(), sqlx::Error> {
        let mut owner = PgConnection::connect(self.owner_url.expose_secret()).await?;
        let sql = format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'helpcenter' and {which}"
        );
        let killed: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(&mut owner).await?;
        self.log.add_many("postgresql backend terminated", killed.unsigned_abs());
        Ok(())
    }

    async fn long_transaction(&self) -> Result<(), sqlx::Error> {
        let mut owner = PgConnection::connect(self.owner_url.expose_secret()).await?;
        let mut transaction = owner.begin().await?;
        sqlx::query("insert into torture.idle default values").execute(&mut *transaction).await?;
        sqlx::query("select count(*) from outbox").execute(&mut *transaction).await?;
        self.log.add("postgresql transaction left open");
        self.sleep_in_storm(Duration::from_secs(10)).await;
        transaction.rollback().await
    }

    async fn exhaust_connections(&self) {
        let mut taken = Vec::new();
        while taken.len() < POSTGRES_CONNECTIONS as usize {
            match PgConnection::connect(self.service_url.expose_secret()).await {
                Ok(connection) => taken.push(connection),
                Err(_) => break,
            }
        }
        self.log.add("postgresql out of connections");
        self.sleep_in_storm(Duration::from_secs(3)).await;
    }

    async fn of_schedulers(self, seed: u64) {
        use OfSchedulers::{AnyKilled, ClockWrong, LeaderConnectionKilled, LeaderCutOff, LeaderKilled, LeaderPaused};
        let all = [LeaderKilled, LeaderPaused, LeaderConnectionKilled, LeaderCutOff, ClockWrong, AnyKilled];
        let mut deck = Deck::new(seed, 6, &all);
        loop {
            let wait = deck.about(Duration::from_secs(4));
            let what = deck.draw();
            let which = deck.random.random_range(0..1000);
            let ahead = [-3600, -60, -5, 5, 20][deck.random.random_range(0..5)];
            let pause = deck.about(Duration::from_secs(6));
            if !self.next(wait, false).await {
                return;
            }
            let schedulers = self.of(Role::Scheduler);
            let leader = self
                .leader()
                .await
                .and_then(|name| schedulers.iter().copied().find(|slot| slot.name().as_deref() == Some(name.as_str())));
            let slot = leader.unwrap_or(schedulers[which % schedulers.len()]);
            match what {
                LeaderKilled => {
                    slot.signal(Signal::KILL);
                    self.log.add("leader killed");
                }
                LeaderPaused => {
                    slot.signal(Signal::STOP);
                    self.log.add("leader paused");
                    self.sleep(pause).await;
                    slot.signal(Signal::CONT);
                }
                LeaderConnectionKilled => {
                    slot.postgres.reset_connections();
                    self.log.add("leader's connection killed");
                }
                LeaderCutOff => {
                    slot.postgres.silence_everything();
                    self.log.add("leader cut off");
                    self.sleep(pause).await;
                    slot.postgres.cut();
                    slot.postgres.restore();
                }
                ClockWrong => {
                    slot.ahead_seconds.store(ahead, Ordering::SeqCst);
                    slot.signal(Signal::KILL);
                    self.log.add(format!("scheduler's clock off by {ahead} s"));
                    self.sleep(pause).await;
                    slot.ahead_seconds.store(0, Ordering::SeqCst);
                    slot.signal(Signal::KILL);
                }
                AnyKilled => {
                    schedulers[which % schedulers.len()].signal(Signal::KILL);
                    self.log.add("scheduler killed");
                }
            }
        }
    }

    /// A scheduler whose clock is an hour ahead leads for a while.
    pub(super) async fn one_hour_ahead(&self) {
        for slot in self.of(Role::Scheduler) {
            slot.ahead_seconds.store(if slot.is_first() { 3600 } else { 0 }, Ordering::SeqCst);
            slot.signal(Signal::KILL);
        }
        self.log.add("scheduler's clock off by 3600 s");
        tokio::time::sleep(Duration::from_secs(8)).await;
        for slot in self.of(Role::Scheduler).into_iter().filter(|slot| slot.is_first()) {
            slot.ahead_seconds.store(0, Ordering::SeqCst);
            slot.signal(Signal::KILL);
        }
    }

    async fn leader(&self) -> Option<String> {
        let mut owner = PgConnection::connect(self.owner_url.expose_secret()).await.ok()?;
        sqlx::query_scalar("select process from torture.leader").fetch_one(&mut owner).await.ok()
    }

    /// Ends everything that faults may have left behind.
    pub(super) fn heal(&self) {
        for slot in &self.slots {
            for proxy in [&slot.postgres, &slot.redis] {
                proxy.lose_one_reply_of(0);
                proxy.slow_down(Duration::ZERO, 0);
                proxy.cut();
                proxy.restore();
            }
            slot.signal(Signal::CONT);
        }
    }
}

fn on_redis(redis: &Redis, command: &[&str]) {
    let mut call = redis::cmd(command[0]);
    for argument in &command[1..] {
        call.arg(*argument);
    }
    if let Ok(mut connection) = redis.connect() {
        let _ = call.exec(&mut connection);
    }
}
