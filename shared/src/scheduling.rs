//! What schedulers agree on in PostgreSQL: who leads, and which ticks were made.

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, PgConnection};

use crate::db::Database;

/// Names the lock; any number that nothing else in the database uses.
const LEADER_LOCK: i64 = 0x6865_6c70_6c65_6164;
/// How long a tick is remembered.
const REMEMBERED: &str = "30 days";

/// A scheduler's connection: the lock that makes it the leader lives and dies with it.
#[derive(Debug)]
pub struct Candidate {
    connection: PgConnection,
}

impl Candidate {
    /// Opens the connection.
    pub async fn connect(database: &Database) -> Result<Self, sqlx::Error> {
        Ok(Self { connection: database.detached().await? })
    }

    /// Takes the lead, unless another scheduler has it.
    pub async fn try_lead(&mut self) -> Result<bool, sqlx::Error> {
        let leads =
            sqlx::query_scalar!("select pg_try_advisory_lock($1)", LEADER_LOCK).fetch_one(&mut self.connection).await?;
        Ok(leads.unwrap_or(false))
    }

    /// Fails when the connection, and with it the lead, is gone.
    pub async fn confirm(&mut self) -> Result<(), sqlx::Error> {
        self.connection.ping().await
    }
}

/// Whether this tick is the caller's to make. At most one caller ever gets yes for a line and a time.
pub async fn claim_tick(database: &Database, line: &str, due_at: DateTime<Utc>) -> Result<bool, sqlx::Error> {
    let mut transaction = database.untenanted().await?;
    sqlx::query("delete from scheduler_ticks where line = $1 and due_at < $2 - $3::interval")
        .bind(line)
        .bind(due_at)
        .bind(REMEMBERED)
        .execute(&mut *transaction)
        .await?;
    let claimed =
        sqlx::query!("insert into scheduler_ticks (line, due_at) values ($1, $2) on conflict do nothing", line, due_at)
            .execute(&mut *transaction)
            .await?;
    transaction.commit().await?;
    Ok(claimed.rows_affected() == 1)
}

/// When a line ticked last, whoever led then.
pub async fn last_tick(database: &Database, line: &str) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let mut registry = database.registry().await?;
    sqlx::query_scalar!("select max(due_at) from scheduler_ticks where line = $1", line).fetch_one(&mut *registry).await
}
