//! The outbox table: writing jobs in the caller's transaction, and what relay and worker do with its rows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use sqlx::{PgConnection, postgres::types::PgInterval};
use uuid::Uuid;

use super::{Job, JobId, Queue, spans};
use crate::{
    db::{Database, TenantTx},
    telemetry::traces,
    tenancy::TenantId,
};

/// How many jobs are written by one statement.
const ENQUEUE_BATCH: usize = 1000;
/// Where relays hear which queue has something for them.
pub(crate) const CHANNEL: &str = "outbox";
/// Said there when it may be any.
pub(super) const ALL_QUEUES: &str = "";

/// Enqueues a job in the caller's transaction: it runs once the transaction commits, and never if it does not.
///
/// With a unique key that an open job has already, nothing is written and that job's id is returned.
pub async fn enqueue<J: Job>(tx: &mut TenantTx, job: &J) -> Result<JobId, sqlx::Error> {
    insert(tx, job, None).await
}

/// Like [`enqueue`], for a job that is to start at a time or later.
pub async fn enqueue_at<J: Job>(tx: &mut TenantTx, job: &J, run_at: DateTime<Utc>) -> Result<JobId, sqlx::Error> {
    insert(tx, job, Some(run_at)).await
}

/// Like [`enqueue`] for many jobs, a thousand in one statement. Returns how many were written: jobs whose unique key an open
/// job has already, or one before them in `jobs`, are left out.
pub async fn enqueue_all<J: Job>(tx: &mut TenantTx, jobs: &[J]) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let mut written = 0;
    for batch in jobs.chunks(ENQUEUE_BATCH) {
        let payloads = batch.iter().map(payload).collect::<Result<Vec<_>, _>>()?;
        let keys: Vec<Option<String>> = batch.iter().map(Job::unique_key).collect();
        let priorities: Vec<i16> = batch.iter().map(|job| job.priority().level()).collect();
        let span = spans::enqueue::<J>(tx.tenant(), batch.len());
        let inserted = sqlx::query!(
            "insert into outbox (tenant_id, queue, job, max_attempts, is_limited, trace_parent, payload, unique_key, priority)
             select $1, $2, $3, $4, $5, $9, payload, unique_key, priority
             from unnest($6::jsonb[], $7::text[], $8::smallint[]) with ordinality as new (payload, unique_key, priority, place)
             order by place
             on conflict (tenant_id, job, unique_key) where unique_key is not null and dead_at is null do nothing",
            tenant,
            J::QUEUE.name(),
            J::NAME,
            J::MAX_ATTEMPTS.cast_signed(),
            J::RATE_LIMIT.is_some(),
            &payloads,
            &keys as &[Option<String>],
            &priorities,
            traces::trace_parent(&span)
        )
        .execute(tx.connection())
        .await?;
        written += inserted.rows_affected();
    }
    if written > 0 {
        tx.notify(CHANNEL, J::QUEUE.name());
    }
    Ok(written)
}

fn payload<J: Job>(job: &J) -> Result<Value, sqlx::Error> {
    serde_json::to_value(job).map_err(|error| sqlx::Error::Encode(error.into()))
}

async fn insert<J: Job>(tx: &mut TenantTx, job: &J, run_at: Option<DateTime<Utc>>) -> Result<JobId, sqlx::Error> {
    let payload = payload(job)?;
    let unique_key = job.unique_key();
    let tenant = tx.tenant().uuid();
    let span = spans::enqueue::<J>(tx.tenant(), 1);
    let trace_parent = traces::trace_parent(&span);
    loop {
        let inserted = sqlx::query_scalar!(
            "insert into outbox (tenant_id, queue, job, payload, unique_key, max_attempts, is_limited, priority, run_at,
                                 trace_parent)
             values ($1, $2, $3, $4, $5, $6, $7, $8, coalesce($9, now()), $10)
             on conflict (tenant_id, job, unique_key) where unique_key is not null and dead_at is null do nothing
             returning id",
            tenant,
            J::QUEUE.name(),
            J::NAME,
            payload,
            unique_key,
            J::MAX_ATTEMPTS.cast_signed(),
            J::RATE_LIMIT.is_some(),
            job.priority().level(),
            run_at,
            trace_parent
        )
        .fetch_optional(tx.connection())
        .await?;
        if let Some(id) = inserted {
            tx.notify(CHANNEL, J::QUEUE.name());
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

/// A job as the relay sends it to Redis.
#[derive(Debug, Clone)]
pub(super) struct Dispatch {
    pub(super) id: Uuid,
    /// The name of its type.
    pub(super) job: String,
    /// Where it waits: `priority:tenant`, and `:job` for a type of job that has a rate limit.
    pub(super) lane: String,
    /// The tenant's share while others wait too.
    pub(super) weight: i16,
    pub(super) run_at: DateTime<Utc>,
}

/// Maps a row of `outbox_relay` or `outbox_relayed_page`, whose columns PostgreSQL reports as nullable. Left out are jobs that
/// ended before they were relayed.
macro_rules! dispatches {
    ($connection:expr, $sql:literal $(, $argument:expr)*) => {
        sqlx::query!($sql $(, $argument)*).fetch_all($connection).await.map(|rows| {
            let found = rows.len();
            let jobs = rows.into_iter().filter_map(|r| {
                let lane = format!("{}:{}", r.priority?, r.tenant_id?);
                let job = r.job?;
                let lane = if r.is_limited? { format!("{lane}:{job}") } else { lane };
                Some(Dispatch { id: r.id?, job, lane, weight: r.weight?, run_at: r.run_at? })
            });
            (jobs.collect::<Vec<_>>(), found)
        })
    };
}

/// Takes up to `batch` jobs of a queue that are to be relayed, oldest first; and how many entries that were. None too while
/// another relay has the queue.
pub(super) async fn relay(
    connection: &mut PgConnection,
    queue: Queue,
    batch: i32,
) -> Result<(Vec<Dispatch>, usize), sqlx::Error> {
    dispatches!(
        connection,
        "select id, tenant_id, job, priority, is_limited, run_at, weight from outbox_relay($1, $2)",
        queue.name(),
        batch
    )
}

/// Waits until the relay that has the queue at this moment, if any, has written down what it sent.
pub(super) async fn wait_for_relay(connection: &mut PgConnection, queue: Queue) -> Result<(), sqlx::Error> {
    // What `outbox_relay` holds until its transaction ends; given back with this statement.
    sqlx::query!("select pg_advisory_xact_lock(hashtext('outbox relay'), hashtext($1))", queue.name())
        .execute(connection)
        .await?;
    Ok(())
}

/// Makes every open job due for the relay again; returns how many that were.
pub(super) async fn forget_relayed(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    Ok(sqlx::query_scalar!("select outbox_forget_relayed()").fetch_one(connection).await?.unwrap_or(0))
}

/// Open jobs that were written at least `older_than` ago and relayed since, by id after `after`.
pub(super) async fn relayed_page(
    connection: &mut PgConnection,
    queue: Queue,
    after: Uuid,
    older_than: Duration,
    batch: i32,
) -> Result<Vec<Dispatch>, sqlx::Error> {
    let older_than = PgInterval::try_from(older_than).map_err(sqlx::Error::Encode)?;
    let (jobs, _) = dispatches!(
        connection,
        "select id, tenant_id, job, priority, is_limited, run_at, weight from outbox_relayed_page($1, $2, $3, $4)",
        queue.name(),
        after,
        older_than,
        batch
    )?;
    Ok(jobs)
}

/// A job whose attempt begins.
#[derive(Debug, Clone)]
pub(super) struct Started {
    pub(super) id: Uuid,
    pub(super) tenant: TenantId,
    pub(super) job: String,
    pub(super) payload: Value,
    /// Begun so far, this one included.
    pub(super) attempts: i32,
    pub(super) max_attempts: i32,
    pub(super) is_cancelled: bool,
    /// From when it could have run to when it did.
    pub(super) waited: Duration,
    /// The W3C trace context that it was enqueued in.
    pub(super) trace_parent: Option<String>,
}

/// Begins an attempt of each of the jobs under a lease; those that have ended are left out.
pub(super) async fn start(database: &Database, ids: &[Uuid], lease: Uuid) -> Result<Vec<Started>, sqlx::Error> {
    let asking = sqlx::query!(
        r#"select id as "id!", tenant_id as "tenant_id!", job as "job!", payload as "payload!", attempts as "attempts!",
                  max_attempts as "max_attempts!", cancelled_at is not null as "is_cancelled!", run_at as "run_at!",
                  started_at as "started_at!", trace_parent
           from outbox_start($1, $2)"#,
        ids,
        lease
    );
    let rows = database.ask(async |connection| asking.fetch_all(connection).await).await?;
    Ok(rows
        .into_iter()
        .map(|r| Started {
            id: r.id,
            tenant: TenantId::new(r.tenant_id),
            job: r.job,
            payload: r.payload,
            attempts: r.attempts,
            max_attempts: r.max_attempts,
            is_cancelled: r.is_cancelled,
            waited: (r.started_at - r.run_at).to_std().unwrap_or_default(),
            trace_parent: r.trace_parent,
        })
        .collect())
}

/// How an attempt ended that is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Done,
    Cancelled,
}

impl Ending {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

/// An attempt that is to be recorded as ended.
#[derive(Debug, Clone)]
pub(super) struct Finished {
    pub(super) id: Uuid,
    pub(super) lease: Uuid,
    pub(super) ending: Ending,
    pub(super) result: Option<Value>,
}

/// Records endings; returns the jobs whose leases were still the ones to say so.
pub(super) async fn finish(database: &Database, finished: &[Finished]) -> Result<Vec<Uuid>, sqlx::Error> {
    let ids: Vec<Uuid> = finished.iter().map(|f| f.id).collect();
    let leases: Vec<Uuid> = finished.iter().map(|f| f.lease).collect();
    let endings: Vec<String> = finished.iter().map(|f| f.ending.name().to_owned()).collect();
    let results: Vec<Option<Value>> = finished.iter().map(|f| f.result.clone()).collect();
    let asking = sqlx::query_scalar!(
        r#"select id as "id!" from outbox_finish($1, $2, $3, $4) as id"#,
        &ids,
        &leases,
        &endings,
        &results as &[Option<Value>]
    );
    database.ask(async |connection| asking.fetch_all(connection).await).await
}

/// Records a failed attempt: tried again after `again_in`, or a dead letter. False: it was not this lease's to say.
pub(super) async fn fail(
    database: &Database,
    id: Uuid,
    lease: Uuid,
    error: &str,
    again_in: Option<Duration>,
) -> Result<bool, sqlx::Error> {
    let again_in = again_in.map(whole_millis).map(PgInterval::try_from).transpose().map_err(sqlx::Error::Encode)?;
    let asking = sqlx::query_scalar!(
        "select outbox_fail($1, $2, $3, now() + $4::interval)",
        id,
        lease,
        shortened(error),
        again_in
    );
    let failed = database.ask(async |connection| asking.fetch_one(connection).await).await?;
    Ok(failed.unwrap_or(false))
}

/// Takes back that attempts were begun.
pub(super) async fn hand_back(database: &Database, ids: &[Uuid], lease: Uuid) -> Result<(), sqlx::Error> {
    let asking = sqlx::query!("select outbox_hand_back($1, $2)", ids, lease);
    database.ask(async |connection| asking.execute(connection).await).await?;
    Ok(())
}

/// Tells how far attempts are, each named by job and lease; of those that are not the lease's any more nothing is kept.
pub(super) async fn progress(database: &Database, reports: &[(Uuid, Uuid, i64, i64)]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = reports.iter().map(|r| r.0).collect();
    let leases: Vec<Uuid> = reports.iter().map(|r| r.1).collect();
    let dones: Vec<i64> = reports.iter().map(|r| r.2).collect();
    let totals: Vec<i64> = reports.iter().map(|r| r.3).collect();
    let asking = sqlx::query!("select outbox_progress($1, $2, $3, $4)", &ids, &leases, &dones, &totals);
    database.ask(async |connection| asking.execute(connection).await).await?;
    Ok(())
}

/// Which of these jobs somebody wants to end.
pub(super) async fn cancelled(database: &Database, ids: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    let asking = sqlx::query_scalar!(r#"select id as "id!" from outbox_cancelled($1) as id"#, ids);
    database.ask(async |connection| asking.fetch_all(connection).await).await
}

/// The names of the queues that are paused.
pub(super) async fn paused(database: &Database) -> Result<Vec<String>, sqlx::Error> {
    let asking = sqlx::query_scalar!("select queue from paused_queues");
    database.ask(async |connection| asking.fetch_all(connection).await).await
}

/// Forgets up to `batch` finished jobs of a queue that are older than `keep_for` or beyond the latest `keep`.
pub(super) async fn trim(
    database: &Database,
    queue: Queue,
    keep_for: Duration,
    keep: i32,
    batch: i32,
) -> Result<i64, sqlx::Error> {
    let keep_for = PgInterval::try_from(keep_for).map_err(sqlx::Error::Encode)?;
    let asking = sqlx::query_scalar!("select finished_jobs_trim($1, $2, $3, $4)", queue.name(), keep_for, keep, batch);
    let trimmed = database.ask(async |connection| asking.fetch_one(connection).await).await?;
    Ok(trimmed.unwrap_or(0))
}

/// An error's text as it is kept: enough to understand it, never a page, and without what PostgreSQL cannot store.
fn shortened(error: &str) -> String {
    error.chars().filter(|c| *c != '\0').take(2000).collect()
}

/// PostgreSQL's intervals have microseconds, and refuse anything finer.
fn whole_millis(duration: Duration) -> Duration {
    Duration::from_millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
