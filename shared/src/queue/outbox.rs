//! The outbox table: writing jobs in the caller's transaction, and what relay and worker do with its rows.

use std::time::Duration;

use serde_json::Value;
use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

use super::{Job, JobId};
use crate::{
    db::{Database, TenantTx},
    tenancy::TenantId,
};

/// Enqueues a job in the caller's transaction: it runs once the transaction commits, and never if it does not.
///
/// With a unique key that an open job has already, nothing is written and that job's id is returned.
pub async fn enqueue<J: Job>(tx: &mut TenantTx, job: &J) -> Result<JobId, sqlx::Error> {
    let payload = serde_json::to_value(job).map_err(|e| sqlx::Error::Encode(e.into()))?;
    let unique_key = job.unique_key();
    let tenant = tx.tenant().uuid();
    loop {
        let inserted = sqlx::query_scalar!(
            "insert into outbox (tenant_id, queue, job, payload, unique_key, max_attempts) values ($1, $2, $3, $4, $5, $6)
             on conflict (tenant_id, job, unique_key) where unique_key is not null and dead_at is null do nothing
             returning id",
            tenant,
            J::QUEUE.name(),
            J::NAME,
            payload,
            unique_key,
            J::MAX_ATTEMPTS.cast_signed()
        )
        .fetch_optional(tx.connection())
        .await?;
        if let Some(id) = inserted {
            return Ok(JobId(id));
        }
        let open = sqlx::query_scalar!(
            "select id from outbox where tenant_id = $1 and job = $2 and unique_key = $3 and dead_at is null",
            tenant,
            J::NAME,
            unique_key
        )
        .fetch_optional(tx.connection())
        .await?;
        // None: the other job finished in between, so there is room for this one now.
        if let Some(id) = open {
            return Ok(JobId(id));
        }
    }
}

/// A job as relay and worker see it.
#[derive(Debug, Clone)]
pub(super) struct OpenJob {
    pub(super) id: Uuid,
    pub(super) tenant: TenantId,
    pub(super) queue: String,
    pub(super) job: String,
    pub(super) payload: Value,
    pub(super) attempts: i32,
    pub(super) max_attempts: i32,
    pub(super) run_at: chrono::DateTime<chrono::Utc>,
}

/// Maps a row of a function that returns `setof outbox`, whose columns PostgreSQL reports as nullable.
macro_rules! open_jobs {
    ($connection:expr, $sql:literal $(, $argument:expr)*) => {
        sqlx::query!($sql $(, $argument)*).fetch_all($connection).await.map(|rows| {
            rows.into_iter()
                .map(|r| OpenJob {
                    id: r.id,
                    tenant: TenantId::new(r.tenant_id),
                    queue: r.queue,
                    job: r.job,
                    payload: r.payload,
                    attempts: r.attempts,
                    max_attempts: r.max_attempts,
                    run_at: r.run_at,
                })
                .collect::<Vec<_>>()
        })
    };
}

/// Locks up to `batch` jobs that were not relayed yet, until the transaction ends.
pub(super) async fn claim(connection: &mut PgConnection, batch: i32) -> Result<Vec<OpenJob>, sqlx::Error> {
    open_jobs!(
        connection,
        r#"select id as "id!", tenant_id as "tenant_id!", queue as "queue!", job as "job!", payload as "payload!",
                  attempts as "attempts!", max_attempts as "max_attempts!", run_at as "run_at!" from outbox_claim($1)"#,
        batch
    )
}

pub(super) async fn mark_relayed(connection: &mut PgConnection, ids: &[Uuid]) -> Result<(), sqlx::Error> {
    sqlx::query!("select outbox_mark_relayed($1)", ids).execute(connection).await?;
    Ok(())
}

/// Makes every open job due for the relay again; returns how many that were.
pub(super) async fn forget_relayed(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    Ok(sqlx::query_scalar!("select outbox_forget_relayed()").fetch_one(connection).await?.unwrap_or(0))
}

/// Open jobs that were relayed at least `older_than` ago, by id after `after`.
pub(super) async fn relayed_page(
    connection: &mut PgConnection,
    after: Uuid,
    older_than: Duration,
    batch: i32,
) -> Result<Vec<OpenJob>, sqlx::Error> {
    let older_than = PgInterval::try_from(older_than).map_err(sqlx::Error::Encode)?;
    open_jobs!(
        connection,
        r#"select id as "id!", tenant_id as "tenant_id!", queue as "queue!", job as "job!", payload as "payload!",
                  attempts as "attempts!", max_attempts as "max_attempts!", run_at as "run_at!"
           from outbox_relayed_page($1, $2, $3)"#,
        after,
        older_than,
        batch
    )
}

/// The given jobs, where they are still open.
pub(super) async fn open(database: &Database, ids: &[Uuid]) -> Result<Vec<OpenJob>, sqlx::Error> {
    let mut transaction = database.untenanted().await?;
    open_jobs!(
        &mut *transaction,
        r#"select id as "id!", tenant_id as "tenant_id!", queue as "queue!", job as "job!", payload as "payload!",
                  attempts as "attempts!", max_attempts as "max_attempts!", run_at as "run_at!" from outbox_open($1)"#,
        ids
    )
}

/// Removes a finished job's row. One that is gone already is no error.
pub(super) async fn finish(database: &Database, tenant: TenantId, id: Uuid) -> Result<(), sqlx::Error> {
    let mut tx = database.tenant(tenant).await?;
    sqlx::query!("delete from outbox where tenant_id = $1 and id = $2", tenant.uuid(), id)
        .execute(tx.connection())
        .await?;
    tx.commit().await
}

/// Keeps what a failed attempt said, so that it survives Redis.
pub(super) async fn record_failure(
    database: &Database,
    tenant: TenantId,
    id: Uuid,
    attempts: i32,
    error: &str,
) -> Result<(), sqlx::Error> {
    let mut tx = database.tenant(tenant).await?;
    sqlx::query!(
        "update outbox set attempts = $3, last_error = $4 where tenant_id = $1 and id = $2 and dead_at is null",
        tenant.uuid(),
        id,
        attempts,
        shortened(error)
    )
    .execute(tx.connection())
    .await?;
    tx.commit().await
}

/// Turns a job into a dead letter: it stays here with its error and is never relayed again.
pub(super) async fn bury(
    database: &Database,
    tenant: TenantId,
    id: Uuid,
    attempts: i32,
    error: &str,
) -> Result<(), sqlx::Error> {
    let mut tx = database.tenant(tenant).await?;
    sqlx::query!(
        "update outbox set attempts = $3, last_error = $4, dead_at = now()
         where tenant_id = $1 and id = $2 and dead_at is null",
        tenant.uuid(),
        id,
        attempts,
        shortened(error)
    )
    .execute(tx.connection())
    .await?;
    tx.commit().await
}

/// How many jobs of a queue are where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxCounts {
    /// The queue's name.
    pub queue: String,
    /// Written, not yet sent to Redis.
    pub unrelayed: i64,
    /// Sent to Redis, not yet finished.
    pub relayed: i64,
    /// Given up.
    pub dead: i64,
}

/// Counts the open and dead jobs of all tenants; queues without any are not listed.
pub async fn counts(database: &Database) -> Result<Vec<OutboxCounts>, sqlx::Error> {
    let mut transaction = database.untenanted().await?;
    let rows = sqlx::query!(
        r#"select queue as "queue!", waiting as "waiting!", relayed as "relayed!", dead as "dead!" from outbox_counts()"#
    )
    .fetch_all(&mut *transaction)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| OutboxCounts { queue: r.queue, unrelayed: r.waiting, relayed: r.relayed, dead: r.dead })
        .collect())
}

/// An error's text as it is kept: enough to understand it, never a page.
fn shortened(error: &str) -> String {
    error.chars().take(2000).collect()
}
