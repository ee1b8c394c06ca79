//! What observers tell the checker.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// What the observer in the database saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(in crate::torture) enum What {
    Enqueued,
    Started,
    HandedBack,
    Released,
    Dead,
    Revived,
    Deleted,
    Finished,
    Effect,
    Ticked,
    Led,
}

/// A row of the history.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(in crate::torture) struct Transition {
    pub(in crate::torture) at: DateTime<Utc>,
    pub(in crate::torture) process: String,
    pub(in crate::torture) event: What,
    pub(in crate::torture) job: Option<Uuid>,
    pub(in crate::torture) tenant: Option<Uuid>,
    pub(in crate::torture) name: Option<String>,
    pub(in crate::torture) unique_key: Option<String>,
    pub(in crate::torture) key: Option<Uuid>,
    pub(in crate::torture) holder: Option<Uuid>,
    pub(in crate::torture) attempts: Option<i32>,
    pub(in crate::torture) max_attempts: Option<i32>,
    pub(in crate::torture) due: Option<DateTime<Utc>>,
    pub(in crate::torture) epoch: Option<i64>,
    pub(in crate::torture) outcome: Option<String>,
}

/// What an enqueuer says of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::torture) enum Told {
    /// It committed, and this job exists.
    Job(Uuid),
    /// It committed, and a job of this key exists.
    Key(Uuid),
    /// It rolled back.
    NoJob(Uuid),
    NoKey(Uuid),
}
