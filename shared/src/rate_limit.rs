//! How often something may be done, and how many may do it at once, counted in Redis for all processes together.
//!
//! | key | type | what |
//! |---|---|---|
//! | `prefix:limit:{TENANT}:NAME:SUBJECT` | string | of a [`Limit`]: when the next one would be due (us), or how many there were today |
//! | `prefix:places:{TENANT}:NAME:SUBJECT` | sorted set | of [`Places`]: who has a place, until when (ms) |
//!
//! Subjects are hashes: neither people nor addresses can be read there. Redis' own clock counts. Whether Redis being away means yes or
//! no is up to the caller, who gets the error.

use std::{sync::LazyLock, time::Duration};

use redis::{AsyncCommands as _, Script};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use crate::{
    config::QueueConfig,
    queue::RedisError,
    redis_connection::{Connection, within},
    tenancy::TenantId,
};

/// How long a call may take: somebody waits.
const PATIENCE: Duration = Duration::from_millis(800);

static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/take.lua")));
static HOLD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/hold.lua")));

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// So many a minute, evenly, and so many at once after a pause.
    Minute {
        /// At least 1.
        most: u32,
        /// At least 1.
        burst: u32,
    },
    /// So many from midnight to midnight, UTC.
    Day(u32),
}

/// Something that somebody may do so often.
#[derive(Debug, Clone)]
pub struct Limit {
    /// A stable word.
    pub name: &'static str,
    /// Who: hashed, or nothing where the tenant is meant as a whole.
    pub subject: String,
    /// How often.
    pub pace: Pace,
}

/// One of the limits has none left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exceeded {
    /// Which limit.
    pub name: &'static str,
    /// When it has one again.
    pub retry_after: Duration,
}

/// Places of which somebody may have so many at once.
#[derive(Debug, Clone)]
pub struct Places {
    /// A stable word.
    pub name: &'static str,
    /// Who, hashed.
    pub subject: String,
    /// How many.
    pub most: u32,
    /// After how long without being kept a place is free again.
    pub lasts: Duration,
}

/// Counts. Cheap to clone; reconnects by itself.
#[derive(Clone)]
pub struct RateLimiter {
    connection: Connection,
    prefix: String,
}

impl std::fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RateLimiter").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RateLimiter {
    /// Prepares the connection; it is made, and made again, when it is needed.
    pub fn open(config: &QueueConfig) -> Result<Self, RedisError> {
        let connection = Connection::impatient(redis::Client::open(config.redis_url.expose_secret())?, PATIENCE)?;
        Ok(Self { connection, prefix: config.prefix.clone() })
    }

    /// Takes one from each limit, or from none.
    pub async fn take(&self, tenant: TenantId, limits: &[Limit]) -> Result<Result<(), Exceeded>, RedisError> {
        let mut call = TAKE.prepare_invoke();
        for Limit { name, subject, pace } in limits {
            call.key(format!("{}:limit:{{{tenant}}}:{name}:{subject}", self.prefix));
            match pace {
                Pace::Minute { most, burst } => call.arg("rate").arg(60_000_000 / (*most).max(1)).arg((*burst).max(1)),
                Pace::Day(most) => call.arg("day").arg(0).arg(*most),
            };
        }
        let (number, wait): (usize, u64) = within(PATIENCE, call.invoke_async(&mut self.connection.clone())).await?;
        let exceeded = number.checked_sub(1).and_then(|at| limits.get(at));
        Ok(exceeded
            .map_or(Ok(()), |limit| Err(Exceeded { name: limit.name, retry_after: Duration::from_millis(wait) })))
    }

    /// Takes a place, or keeps it. `false`: all are taken.
    pub async fn hold(&self, tenant: TenantId, places: &Places, who: Uuid) -> Result<bool, RedisError> {
        let mut call = HOLD.key(self.places(tenant, places));
        let lasts = u64::try_from(places.lasts.as_millis()).unwrap_or(u64::MAX);
        call.arg(who.to_string()).arg(places.most).arg(lasts);
        within(PATIENCE, call.invoke_async(&mut self.connection.clone())).await
    }

    /// Gives a place back.
    pub async fn leave(&self, tenant: TenantId, places: &Places, who: Uuid) -> Result<(), RedisError> {
        let key = self.places(tenant, places);
        within(PATIENCE, self.connection.clone().zrem(key, who.to_string())).await
    }

    fn places(&self, tenant: TenantId, places: &Places) -> String {
        format!("{}:places:{{{tenant}}}:{}:{}", self.prefix, places.name, places.subject)
    }
}
