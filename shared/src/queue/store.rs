//! The dispatch state in Redis: which jobs wait, which are leased to whom, which are due later.
//!
//! Every change is one Lua script in `scripts/`, so it happens whole or not at all. The keys of a queue share the hash tag
//! `{queue}`, which keeps them on one node of a cluster:
//!
//! | key | type | what |
//! |---|---|---|
//! | `prefix:{queue}:waiting` | list | ids in the order in which they run |
//! | `prefix:{queue}:delayed` | sorted set | ids by when they are due |
//! | `prefix:{queue}:leased` | sorted set | ids by when their lease ends |
//! | `prefix:{queue}:job:ID` | hash | tenant, attempts, max_attempts, token of the holder |
//! | `prefix:incarnation` | string | set by the relay; missing after Redis lost its memory |

use std::{sync::LazyLock, time::Duration};

use redis::{AsyncCommands as _, Script, aio::ConnectionManagerConfig};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{Queue, connection::Connection, outbox::OpenJob};
use crate::config::QueueConfig;

pub use redis::RedisError;

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/push.lua")));
static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/take.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/renew.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/settle.lua")));
static TAKE_OVER: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/take_over.lua")));

/// How many expired leases one call takes over.
const TAKE_OVER_BATCH: usize = 100;

/// The queues in Redis. Cheap to clone; reconnects by itself.
#[derive(Clone)]
pub struct QueueStore {
    connection: Connection,
    prefix: String,
    lease: Duration,
}

impl std::fmt::Debug for QueueStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QueueStore").field("prefix", &self.prefix).field("lease", &self.lease).finish_non_exhaustive()
    }
}

/// How a lease ends.
#[derive(Debug, Clone, Copy)]
pub(super) enum Settlement {
    /// Finished, or a dead letter.
    Forget,
    /// Tried again after the delay.
    Delay(Duration),
    /// Offered again after the delay, the attempt not counted.
    Postpone(Duration),
    /// Back to the front of the queue, the attempt not counted.
    HandBack,
}

/// What was found when expired leases were looked for.
#[derive(Debug, Default)]
pub(super) struct TakenOver {
    /// How many jobs wait again.
    pub(super) waiting: usize,
    /// Jobs without attempts left, now leased under the caller's token.
    pub(super) exhausted: Vec<Uuid>,
}

impl QueueStore {
    /// Prepares the connection; it is made, and made again, when it is needed.
    pub fn open(config: &QueueConfig) -> Result<Self, RedisError> {
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(config.redis_timeout))
            .set_number_of_retries(2)
            .set_max_delay(Duration::from_millis(500));
        let client = redis::Client::open(config.redis_url.expose_secret())?;
        let connection = Connection::prepare(client, settings)?;
        Ok(Self { connection, prefix: config.prefix.clone(), lease: config.lease })
    }

    /// How long a silent worker keeps its jobs.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// Asks the server for a sign of life.
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.connection.clone().ping().await
    }

    /// How many jobs of the queue wait, are delayed and are leased.
    pub async fn depths(&self, queue: Queue) -> Result<[(&'static str, u64); 3], RedisError> {
        let (waiting, delayed, leased): (u64, u64, u64) = redis::pipe()
            .llen(self.key(queue, "waiting"))
            .zcard(self.key(queue, "delayed"))
            .zcard(self.key(queue, "leased"))
            .query_async(&mut self.connection.clone())
            .await?;
        Ok([("waiting", waiting), ("delayed", delayed), ("leased", leased)])
    }

    /// Whether the server still has the memory in which this deployment's jobs were dispatched.
    pub(super) async fn has_incarnation(&self) -> Result<bool, RedisError> {
        self.connection.clone().exists(format!("{}:incarnation", self.prefix)).await
    }

    /// Marks the server's memory as one in which all open jobs have been, or are about to be, dispatched.
    pub(super) async fn mark_incarnation(&self) -> Result<(), RedisError> {
        self.connection.clone().set(format!("{}:incarnation", self.prefix), Uuid::now_v7().to_string()).await
    }

    /// Makes jobs known to the queue; those that are known already stay as they are. Returns how many were new.
    pub(super) async fn push(&self, queue: Queue, jobs: &[&OpenJob]) -> Result<usize, RedisError> {
        let mut call = PUSH.key(self.key(queue, "waiting"));
        call.key(self.key(queue, "delayed")).arg(self.key(queue, "job:"));
        for job in jobs {
            call.arg(job.id.to_string())
                .arg(job.tenant.to_string())
                .arg(job.max_attempts)
                .arg(job.attempts)
                .arg(job.run_at.timestamp_millis());
        }
        call.invoke_async(&mut self.connection.clone()).await
    }

    /// Leases up to `count` jobs under the token: id and attempt, counted from 1.
    pub(super) async fn take(&self, queue: Queue, count: usize, token: &str) -> Result<Vec<(Uuid, i32)>, RedisError> {
        let taken: Vec<(String, i32)> = TAKE
            .key(self.key(queue, "waiting"))
            .key(self.key(queue, "delayed"))
            .key(self.key(queue, "leased"))
            .arg(self.key(queue, "job:"))
            .arg(count)
            .arg(millis(self.lease))
            .arg(token)
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(taken.into_iter().filter_map(|(id, attempt)| Some((id.parse().ok()?, attempt))).collect())
    }

    /// Extends leases, each named by job and token; returns those that were lost.
    pub(super) async fn renew(&self, queue: Queue, held: &[(Uuid, String)]) -> Result<Vec<(Uuid, String)>, RedisError> {
        let mut call = RENEW.key(self.key(queue, "leased"));
        call.arg(self.key(queue, "job:")).arg(millis(self.lease));
        for (id, token) in held {
            call.arg(id.to_string()).arg(token);
        }
        let lost: Vec<(String, String)> = call.invoke_async(&mut self.connection.clone()).await?;
        Ok(lost.into_iter().filter_map(|(id, token)| Some((id.parse().ok()?, token))).collect())
    }

    /// Ends a lease. False: the token is stale, and nothing was changed.
    pub(super) async fn settle(
        &self,
        queue: Queue,
        id: Uuid,
        token: &str,
        how: Settlement,
    ) -> Result<bool, RedisError> {
        let (what, delay) = match how {
            Settlement::Forget => ("forget", Duration::ZERO),
            Settlement::Delay(delay) => ("delay", delay),
            Settlement::Postpone(delay) => ("postpone", delay),
            Settlement::HandBack => ("hand_back", Duration::ZERO),
        };
        SETTLE
            .key(self.key(queue, "waiting"))
            .key(self.key(queue, "delayed"))
            .key(self.key(queue, "leased"))
            .key(self.key(queue, &format!("job:{id}")))
            .arg(id.to_string())
            .arg(token)
            .arg(what)
            .arg(millis(delay))
            .invoke_async(&mut self.connection.clone())
            .await
    }

    /// Takes jobs away from workers whose lease ended.
    pub(super) async fn take_over(&self, queue: Queue, token: &str) -> Result<TakenOver, RedisError> {
        let (waiting, exhausted): (usize, Vec<String>) = TAKE_OVER
            .key(self.key(queue, "waiting"))
            .key(self.key(queue, "leased"))
            .arg(self.key(queue, "job:"))
            .arg(millis(self.lease))
            .arg(token)
            .arg(TAKE_OVER_BATCH)
            .invoke_async(&mut self.connection.clone())
            .await?;
        Ok(TakenOver { waiting, exhausted: exhausted.into_iter().filter_map(|id| id.parse().ok()).collect() })
    }

    fn key(&self, queue: Queue, name: &str) -> String {
        format!("{}:{{{queue}}}:{name}", self.prefix)
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
