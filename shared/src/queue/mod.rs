//! Jobs: what is enqueued, how it reaches a worker, and what holds when something dies on the way.
//!
//! A job is written to the `outbox` table in the transaction of the change that it follows from ([`enqueue`]). The relay
//! ([`relay`]) sends it to Redis, where a worker leases it ([`store`]), runs it ([`worker`]) and settles it. PostgreSQL is
//! the truth about which jobs exist; Redis only dispatches them. So
//!
//! - a job whose transaction rolled back never runs, and one whose transaction committed always does;
//! - a worker that dies keeps its jobs until their lease ends, then another one takes them over;
//! - Redis may lose everything: the relay sends every open job again;
//! - a job may run more than once, and every job is written so that this is harmless.
//!
//! Only this module and the worker know apalis.

pub mod admin;
mod backend;
mod counts;
mod metrics;
mod outbox;
pub mod relay;
mod spans;
mod store;
mod wake;
pub mod worker;

use std::{fmt, time::Duration};

use serde::{Serialize, de::DeserializeOwned};
use uuid::Uuid;

pub(crate) use counts::oldest;
pub use counts::{OutboxCounts, counts};
pub(crate) use outbox::CHANNEL;
pub use outbox::{enqueue, enqueue_all, enqueue_at};
pub use store::{Depths, QueueStore, RedisError};

/// A kind of work with its own workers, so that slow work never blocks fast work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// Writing answers: somebody waits for each.
    Answers,
    /// Computing embeddings: bound by the processor.
    Embeddings,
    /// Finding and repairing drift, and other work that nobody waits for.
    Maintenance,
}

impl Queue {
    /// Every queue.
    pub const ALL: [Self; 3] = [Self::Answers, Self::Embeddings, Self::Maintenance];

    /// The stable name: part of keys, rows and labels.
    pub fn name(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Embeddings => "embeddings",
            Self::Maintenance => "maintenance",
        }
    }

    /// The queue of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|queue| queue.name() == name)
    }
}

/// Which of a queue's jobs start first. A job never waits for one of a lower priority.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Priority {
    /// Somebody is waiting for it.
    High,
    /// The usual.
    #[default]
    Normal,
    /// Whenever there is nothing else to do.
    Low,
}

impl Priority {
    /// As rows and keys have it: 0 runs first.
    pub(crate) fn level(self) -> i16 {
        match self {
            Self::High => 0,
            Self::Normal => 1,
            Self::Low => 2,
        }
    }
}

/// How many jobs of a type may start: `starts` within `per`, evenly spread after a burst of at most `starts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub starts: u32,
    /// In which time.
    pub per: Duration,
}

/// The rates of a type of job across all workers. A job that is held back neither fails nor uses an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// For all tenants together.
    pub overall: Option<Rate>,
    /// For each tenant.
    pub per_tenant: Option<Rate>,
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// How long to wait before the next attempt: `base × 2^(failures - 1)`, at most `max`, then a random half of it less.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The wait after the first failure.
    pub base: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after `failures` failed attempts; `random` in 0..1 spreads jobs that failed together.
    fn delay(self, failures: u32, random: f64) -> Duration {
        let doubled = self.base.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(30)));
        doubled.min(self.max).mul_f64(1.0 - random / 2.0)
    }
}

/// The waits of a process whose PostgreSQL or Redis does not answer.
const RETRY: Backoff = Backoff { base: Duration::from_millis(100), max: Duration::from_secs(2) };

/// A type of job. The payload holds ids: the job re-reads what they mean and converges, so running it twice is harmless.
pub trait Job: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Stable across releases; never the name of the Rust type.
    const NAME: &'static str;
    /// Who runs it.
    const QUEUE: Queue;
    /// How long one attempt may take.
    const TIMEOUT: Duration;
    /// Attempts, crashes of workers included, before the job becomes a dead letter.
    const MAX_ATTEMPTS: u32 = 10;
    /// The waits between attempts.
    const BACKOFF: Backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_secs(600) };

    /// How fast jobs of this type may start. `None`: as fast as there are workers.
    const RATE_LIMIT: Option<RateLimit> = None;

    /// Which jobs of the queue start first.
    fn priority(&self) -> Priority {
        Priority::Normal
    }

    /// While a job with this key is open, enqueueing another returns the first one's id. `None`: never unique.
    fn unique_key(&self) -> Option<String> {
        None
    }
}

/// A job's identity: the outbox row's id, and the id in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(transparent)]
pub struct JobId(Uuid);

impl JobId {
    /// The plain id.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Why an attempt did not succeed. A missing entity is not an error: the job has nothing left to do.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// May work later: tried again after the backoff, until the attempts are used up.
    #[error("{0:#}")]
    Retry(#[source] anyhow::Error),
    /// Will never work: a dead letter at once.
    #[error("{0:#}")]
    Fail(#[source] anyhow::Error),
}

impl JobError {
    /// An error that another attempt may not meet.
    pub fn retry(error: impl Into<anyhow::Error>) -> Self {
        Self::Retry(error.into())
    }

    /// An error that every attempt would meet.
    pub fn fail(error: impl Into<anyhow::Error>) -> Self {
        Self::Fail(error.into())
    }
}

impl From<sqlx::Error> for JobError {
    fn from(error: sqlx::Error) -> Self {
        Self::retry(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum_and_spreads() {
        let backoff = Backoff { base: Duration::from_secs(2), max: Duration::from_secs(60) };
        assert_eq!(backoff.delay(1, 0.0), Duration::from_secs(2));
        assert_eq!(backoff.delay(3, 0.0), Duration::from_secs(8));
        assert_eq!(backoff.delay(3, 1.0), Duration::from_secs(4));
        assert_eq!(backoff.delay(u32::MAX, 0.0), Duration::from_secs(60));
    }
}
