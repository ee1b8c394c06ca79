//! The dispatch state in Redis: which jobs wait, which are leased to whom, which are due later.
//!
//! Every change is one Lua script in `scripts/`, so it happens whole or not at all. The keys of a queue share the hash tag
//! `{queue}`, which keeps them on one node of a cluster:
//!
//! | key | type | what |
//! |---|---|---|
//! | `prefix:{queue}:job:ID` | hash | lane, state, since (ms), token of the holder |
//! | `prefix:{queue}:lane:LANE` | list | ids in the order in which they run; may name jobs that are elsewhere by now |
//! | `prefix:{queue}:ring:PRIORITY` | sorted set | lanes that may have something, by pass |
//! | `prefix:{queue}:left:PRIORITY` | sorted set | lanes that left the ring with a pass ahead of the clock |
//! | `prefix:{queue}:clock` | hash | by priority, the pass of the latest turn |
//! | `prefix:{queue}:weights` | hash | by lane, where not 1 |
//! | `prefix:{queue}:throttled` | sorted set | lanes held back by a rate limit, by when they may go on |
//! | `prefix:{queue}:limit:JOB[:TENANT]` | string | the rate limiter's clock (µs), expiring by itself |
//! | `prefix:{queue}:delayed` | sorted set | ids by when they are due |
//! | `prefix:{queue}:leased` | sorted set | ids by when their lease ends |
//! | `prefix:{queue}:counts` | hash | how many wait |
//! | `prefix:{queue}:wake` | channel | published to when something new waits |
//! | `prefix:incarnation` | string | the run of the server whose memory the relay knows to be whole |

use std::{sync::LazyLock, time::Duration};

use redis::{AsyncCommands as _, Script, aio::ConnectionManagerConfig};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::{Queue, RateLimit, outbox::Dispatch};
use crate::{config::QueueConfig, redis_connection::Connection};

pub use redis::RedisError;

/// A script with what all of them share before it.
macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("scripts/lanes.lua"), include_str!($file))))
    };
}

static PUSH: LazyLock<Script> = script!("scripts/push.lua");
static TAKE: LazyLock<Script> = script!("scripts/take.lua");
static RENEW: LazyLock<Script> = script!("scripts/renew.lua");
static SETTLE: LazyLock<Script> = script!("scripts/settle.lua");
static TAKE_OVER: LazyLock<Script> = script!("scripts/take_over.lua");
static DROP: LazyLock<Script> = script!("scripts/drop.lua");
static DEPTHS: LazyLock<Script> = script!("scripts/depths.lua");

/// How long making a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How many expired leases one call takes over.
const TAKE_OVER_BATCH: usize = 100;

/// What a server remembers of the jobs that it was told of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Memory {
    /// Everything.
    Whole,
    /// What it wrote down before it was started anew, which may lack the latest or be an older copy.
    OfAnEarlierRun {
        /// Names the present run.
        run: String,
    },
    /// Nothing.
    None {
        /// Names the present run.
        run: String,
    },
}

/// The queues in Redis. Cheap to clone; reconnects by itself.
#[derive(Clone)]
pub struct QueueStore {
    client: redis::Client,
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
    /// Back to the front of its lane.
    HandBack,
}

/// What a worker got.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// The jobs, now leased.
    pub(super) ids: Vec<Uuid>,
    /// When to ask again even if nothing is pushed: a delayed job is due then, or a rate limit allows more.
    pub(super) again_in: Option<Duration>,
}

/// A type of job's rate limit, as the script takes it.
#[derive(Debug, Clone)]
pub(super) struct Limit {
    pub(super) job: &'static str,
    pub(super) limit: RateLimit,
}

/// How many jobs of a queue are where in Redis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depths {
    /// May start now.
    pub waiting: u64,
    /// May start later.
    pub delayed: u64,
    /// At a worker.
    pub leased: u64,
    /// How long the oldest waiting job has waited, among those at the heads of lanes. `None`: none waits.
    pub oldest: Option<Duration>,
}

impl QueueStore {
    /// Prepares the connection; it is made, and made again, when it is needed.
    pub fn open(config: &QueueConfig) -> Result<Self, RedisError> {
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            .set_response_timeout(Some(config.redis_timeout))
            .set_number_of_retries(2)
            .set_max_delay(Duration::from_millis(500));
        let client = redis::Client::open(config.redis_url.expose_secret())?;
        let connection = Connection::prepare(client.clone(), settings)?;
        Ok(Self { client, connection, prefix: config.prefix.clone(), lease: config.lease })
    }

    /// How long a silent worker keeps its jobs.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// How long a lease lives without being renewed: the rest of the promised time is for noticing that it ended.
    fn time_to_live(&self) -> Duration {
        self.lease * 7 / 10
    }

    /// Asks the server for a sign of life.
    pub async fn ping(&self) -> Result<(), RedisError> {
        self.connection.clone().ping().await
    }

    /// Counts the queue.
    pub async fn depths(&self, queue: Queue) -> Result<Depths, RedisError> {
        let (waiting, delayed, leased, oldest): (u64, u64, u64, i64) = self.call(&DEPTHS, queue).run().await?;
        Ok(Depths { waiting, delayed, leased, oldest: u64::try_from(oldest).ok().map(Duration::from_millis) })
    }

    /// Where the scripts of a queue say that something waits.
    pub(super) fn wake_channel(&self, queue: Queue) -> String {
        format!("{}:wake", self.base(queue))
    }

    /// A connection of its own that hears when something waits.
    pub(super) async fn subscribe(&self, queues: &[Queue]) -> Result<redis::aio::PubSub, RedisError> {
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, async {
            let mut subscription = self.client.get_async_pubsub().await?;
            for queue in queues {
                subscription.subscribe(self.wake_channel(*queue)).await?;
            }
            Ok(subscription)
        });
        connecting.await.map_err(|_| RedisError::from((redis::ErrorKind::Io, "no answer in time")))?
    }

    /// What the server remembers of this deployment's jobs.
    pub(super) async fn memory(&self) -> Result<Memory, RedisError> {
        let (info, mark): (String, Option<String>) = redis::pipe()
            .cmd("INFO")
            .arg("server")
            .get(self.incarnation())
            .query_async(&mut self.connection.clone())
            .await?;
        // New with each start of the server. One that does not tell it has the same name always.
        let run = info.lines().find_map(|line| line.strip_prefix("run_id:")).unwrap_or("unknown").to_owned();
        Ok(match mark {
            None => Memory::None { run },
            Some(mark) if mark == run => Memory::Whole,
            Some(_) => Memory::OfAnEarlierRun { run },
        })
    }

    /// Marks the server's memory as one in which all open jobs have been, or are about to be, dispatched.
    pub(super) async fn mark_memory(&self, run: &str) -> Result<(), RedisError> {
        self.connection.clone().set(self.incarnation(), run).await
    }

    fn incarnation(&self) -> String {
        format!("{}:incarnation", self.prefix)
    }

    /// Makes jobs known to the queue; those that are known already stay as they are. Returns how many were new.
    pub(super) async fn push(&self, queue: Queue, jobs: &[Dispatch]) -> Result<usize, RedisError> {
        if jobs.is_empty() {
            return Ok(0);
        }
        let mut call = self.call(&PUSH, queue);
        for job in jobs {
            call.arg(job.id.to_string()).arg(&job.lane).arg(job.weight).arg(job.run_at.timestamp_millis());
        }
        call.run().await
    }

    /// Leases up to `count` jobs under the token.
    pub(super) async fn take(
        &self,
        queue: Queue,
        count: usize,
        token: Uuid,
        limits: &[Limit],
    ) -> Result<Taken, RedisError> {
        let mut call = self.call(&TAKE, queue);
        call.arg(count).arg(millis(self.time_to_live())).arg(token.to_string());
        for Limit { job, limit } in limits {
            call.arg(job);
            for rate in [limit.overall, limit.per_tenant] {
                let (interval, starts) = rate
                    .map_or((0, 0), |rate| (rate.per.as_micros() / u128::from(rate.starts.max(1)), rate.starts.max(1)));
                call.arg(u64::try_from(interval).unwrap_or(u64::MAX)).arg(starts);
            }
        }
        let (again_ms, ids): (i64, Vec<String>) = call.run().await?;
        Ok(Taken { ids: parsed(ids), again_in: u64::try_from(again_ms).ok().map(Duration::from_millis) })
    }

    /// Extends leases, each named by job and token; returns those that were lost.
    pub(super) async fn renew(&self, queue: Queue, held: &[(Uuid, Uuid)]) -> Result<Vec<(Uuid, Uuid)>, RedisError> {
        let mut call = self.call(&RENEW, queue);
        call.arg(millis(self.time_to_live()));
        for (id, token) in held {
            call.arg(id.to_string()).arg(token.to_string());
        }
        let lost: Vec<(String, String)> = call.run().await?;
        Ok(lost.into_iter().filter_map(|(id, token)| Some((id.parse().ok()?, token.parse().ok()?))).collect())
    }

    /// Ends leases, each named by job and token. Returns for each whether it was the token's to end; where not, nothing was
    /// changed.
    pub(super) async fn settle(
        &self,
        queue: Queue,
        ended: &[(Uuid, Uuid, Settlement)],
    ) -> Result<Vec<bool>, RedisError> {
        if ended.is_empty() {
            return Ok(Vec::new());
        }
        let mut call = self.call(&SETTLE, queue);
        for (id, token, how) in ended {
            let (what, delay) = match how {
                Settlement::Forget => ("forget", Duration::ZERO),
                Settlement::Delay(delay) => ("delay", *delay),
                Settlement::HandBack => ("hand_back", Duration::ZERO),
            };
            call.arg(id.to_string()).arg(token.to_string()).arg(what).arg(millis(delay));
        }
        call.run().await
    }

    /// Takes jobs away from workers whose lease ended; returns them, each with the token of the holder that lost it.
    pub(super) async fn take_over(&self, queue: Queue) -> Result<Vec<(String, String)>, RedisError> {
        let mut call = self.call(&TAKE_OVER, queue);
        call.arg(TAKE_OVER_BATCH);
        call.run().await
    }

    /// Forgets jobs that no worker has, as they are or will be ended by other means; returns how many.
    pub async fn forget(&self, queue: Queue, ids: &[Uuid]) -> Result<u64, RedisError> {
        let mut call = self.call(&DROP, queue);
        for id in ids {
            call.arg(id.to_string());
        }
        call.run().await
    }

    fn base(&self, queue: Queue) -> String {
        format!("{}:{{{queue}}}", self.prefix)
    }

    fn call<'a>(&'a self, script: &'a Script, queue: Queue) -> Call<'a> {
        Call { script: script.key(self.base(queue)), connection: self.connection.clone() }
    }
}

/// A script about to run on the keys of a queue.
struct Call<'a> {
    script: redis::ScriptInvocation<'a>,
    connection: Connection,
}

impl Call<'_> {
    fn arg<T: redis::ToRedisArgs>(&mut self, argument: T) -> &mut Self {
        self.script.arg(argument);
        self
    }

    async fn run<T: redis::FromRedisValue>(mut self) -> Result<T, RedisError> {
        self.script.invoke_async(&mut self.connection).await
    }
}

fn parsed(ids: Vec<String>) -> Vec<Uuid> {
    ids.into_iter().filter_map(|id| id.parse().ok()).collect()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
