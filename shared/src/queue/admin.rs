//! What operators and admins do with jobs: look at them, try them again, get rid of them, pause queues.
//!
//! All of it changes PostgreSQL, and works while Redis is away. Workers hear of a pause or of a cancelled job within a second.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use tracing::Span;
use uuid::Uuid;

use super::{
    OutboxCounts, Queue, counts,
    outbox::{self, ALL_QUEUES, CHANNEL},
};
use crate::{
    audit,
    db::{Database, TenantTx},
    telemetry::traces,
};

/// Where a job is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// May start now.
    Waiting,
    /// May start later: enqueued for then, or waiting for its next attempt.
    Scheduled,
    /// At a worker, or at one that has died and not been missed yet.
    Running,
    /// Given up after an error: a dead letter.
    Dead,
    /// Finished.
    Done,
    /// Ended because somebody did not want it any more.
    Cancelled,
    /// A dead letter that somebody put away.
    Discarded,
}

impl State {
    /// Every state.
    pub const ALL: [Self; 7] =
        [Self::Waiting, Self::Scheduled, Self::Running, Self::Dead, Self::Done, Self::Cancelled, Self::Discarded];

    /// The stable name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Scheduled => "scheduled",
            Self::Running => "running",
            Self::Dead => "dead",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
            Self::Discarded => "discarded",
        }
    }

    /// The state of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// A job as people see it.
#[derive(Debug, Clone, Serialize)]
pub struct JobRecord {
    /// The job's id.
    pub id: Uuid,
    /// The queue's name.
    pub queue: String,
    /// The name of its type.
    pub job: String,
    /// Where it is.
    pub state: State,
    /// What it was given.
    pub payload: Value,
    /// Attempts begun so far.
    pub attempts: i32,
    /// Attempts before it is given up.
    pub max_attempts: Option<i32>,
    /// What the latest failed attempt said.
    pub last_error: Option<String>,
    /// What it left, when it is done.
    pub result: Option<Value>,
    /// How far it is, when it says so.
    pub progress: Option<ProgressRecord>,
    /// When it was enqueued.
    pub created_at: DateTime<Utc>,
    /// When it may start, or could have, while it is open.
    pub run_at: Option<DateTime<Utc>>,
    /// When its latest attempt began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended or was given up.
    pub ended_at: Option<DateTime<Utc>>,
}

/// How far a job is, in units of its own.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProgressRecord {
    /// Units done.
    pub done: i64,
    /// Of how many.
    pub total: i64,
    /// Units a second of the latest attempt; none before it has done any, and of a job that has ended.
    pub rate_per_second: Option<f64>,
    /// Seconds until the rest is done at that rate.
    pub eta_seconds: Option<f64>,
}

impl ProgressRecord {
    /// `worked`: what the attempt has done so far, and in how many seconds.
    fn new(done: Option<i64>, total: Option<i64>, worked: Option<(i64, f64)>) -> Option<Self> {
        let (done, total) = (done?, total?);
        let rate_per_second = worked
            .filter(|(units, seconds)| *units > 0 && *seconds > 0.0)
            .map(|(units, seconds)| float(units) / seconds);
        let eta_seconds = rate_per_second.map(|rate| float((total - done).max(0)) / rate);
        Some(Self { done, total, rate_per_second, eta_seconds })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of units of work are far below 2^52")]
fn float(units: i64) -> f64 {
    units as f64
}

/// Which jobs are meant. Conditions left out hold for every job.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// These.
    pub ids: Option<Vec<Uuid>>,
    /// Of this queue.
    pub queue: Option<Queue>,
    /// Of this type.
    pub job: Option<String>,
}

impl Selection {
    /// One job.
    pub fn one(id: Uuid) -> Self {
        Self { ids: Some(vec![id]), ..Self::default() }
    }

    fn queue_name(&self) -> Option<&'static str> {
        self.queue.map(Queue::name)
    }
}

/// The tenant's jobs, the latest enqueued first; at most `limit`, of those enqueued before `before` when given.
pub async fn list(
    tx: &mut TenantTx,
    selection: &Selection,
    states: &[State],
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<JobRecord>, sqlx::Error> {
    let states: Vec<String> = states.iter().map(|state| state.name().to_owned()).collect();
    let rows = sqlx::query!(
        r#"select id as "id!", queue as "queue!", job as "job!", state as "state!", payload as "payload!",
                  attempts as "attempts!", max_attempts, last_error, result, created_at as "created_at!", run_at, started_at,
                  ended_at, progress_done, progress_total, worked_units, worked_seconds
           from (
               select id, queue, job, payload, attempts, max_attempts, last_error, null::jsonb as result, created_at, run_at,
                      started_at, dead_at as ended_at, progress_done, progress_total,
                      progress_done - progress_from as worked_units,
                      extract(epoch from progress_at - started_at)::float8 as worked_seconds,
                      case when dead_at is not null then 'dead' when holder is not null then 'running'
                           when run_at > now() then 'scheduled' else 'waiting' end as state
               from outbox where tenant_id = $1
               union all
               select id, queue, job, payload, attempts, null, last_error, result, created_at, null, started_at,
                      finished_at, progress_done, progress_total, null, null, outcome
               from finished_jobs where tenant_id = $1
           ) jobs
           where ($2::uuid[] is null or id = any ($2)) and ($3::text is null or queue = $3)
             and ($4::text is null or job = $4) and (cardinality($5::text[]) = 0 or state = any ($5))
             and ($6::uuid is null or id < $6)
           order by id desc limit $7"#,
        tx.tenant().uuid(),
        selection.ids.as_deref(),
        selection.queue_name(),
        selection.job,
        &states,
        before,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|r| {
            Some(JobRecord {
                id: r.id,
                queue: r.queue,
                job: r.job,
                state: State::from_name(&r.state)?,
                payload: r.payload,
                attempts: r.attempts,
                max_attempts: r.max_attempts,
                last_error: r.last_error,
                result: r.result,
                progress: ProgressRecord::new(r.progress_done, r.progress_total, r.worked_units.zip(r.worked_seconds)),
                created_at: r.created_at,
                run_at: r.run_at,
                started_at: r.started_at,
                ended_at: r.ended_at,
            })
        })
        .collect())
}

/// One of the tenant's jobs.
pub async fn find(tx: &mut TenantTx, id: Uuid) -> Result<Option<JobRecord>, sqlx::Error> {
    Ok(list(tx, &Selection::one(id), &[], None, 1).await?.pop())
}

/// Opens dead letters again, with all their attempts before them; returns which. Of those with the same unique key only the
/// latest is opened, and none while another job of that key is open. Their next attempts are of the trace of whoever asked.
pub async fn retry(tx: &mut TenantTx, selection: &Selection, actor: &str) -> Result<Vec<Uuid>, sqlx::Error> {
    let retried = sqlx::query_scalar!(
        "with chosen as (
             select distinct on (job, coalesce(unique_key, id::text), unique_key is null) id from outbox d
             where tenant_id = $1 and dead_at is not null
               and ($2::uuid[] is null or id = any ($2)) and ($3::text is null or queue = $3)
               and ($4::text is null or job = $4)
               and not exists (select from outbox o where o.tenant_id = $1 and o.job = d.job
                                 and o.unique_key = d.unique_key and o.dead_at is null)
             order by job, coalesce(unique_key, id::text), unique_key is null, id desc
         ), retried as (
             update outbox o set dead_at = null, attempts = 0, holder = null, run_at = now(), cancelled_at = null,
                                 trace_parent = coalesce($5, trace_parent)
             from chosen where o.tenant_id = $1 and o.id = chosen.id and o.dead_at is not null
             returning o.tenant_id, o.queue, o.id
         ), relayed_again as (
             insert into unrelayed_jobs select tenant_id, queue, id from retried on conflict do nothing
         )
         select id from retried order by id",
        tx.tenant().uuid(),
        selection.ids.as_deref(),
        selection.queue_name(),
        selection.job,
        traces::trace_parent(&Span::current())
    )
    .fetch_all(tx.connection())
    .await?;
    if !retried.is_empty() {
        tx.notify(CHANNEL, ALL_QUEUES);
    }
    record(tx, actor, "jobs.retried", &retried).await?;
    Ok(retried)
}

/// Puts dead letters away; returns which. They can be looked at until finished jobs are trimmed.
pub async fn discard(tx: &mut TenantTx, selection: &Selection, actor: &str) -> Result<Vec<Uuid>, sqlx::Error> {
    let discarded = sqlx::query_scalar!(
        "with gone as (
             delete from outbox
             where tenant_id = $1 and dead_at is not null
               and ($2::uuid[] is null or id = any ($2)) and ($3::text is null or queue = $3)
               and ($4::text is null or job = $4)
             returning *
         )
         insert into finished_jobs (tenant_id, id, queue, job, payload, outcome, attempts, last_error, created_at, started_at)
         select tenant_id, id, queue, job, payload, 'discarded', attempts, last_error, created_at, started_at from gone
         returning id",
        tx.tenant().uuid(),
        selection.ids.as_deref(),
        selection.queue_name(),
        selection.job
    )
    .fetch_all(tx.connection())
    .await?;
    record(tx, actor, "jobs.discarded", &discarded).await?;
    Ok(discarded)
}

/// Which jobs, in the audit log: the one, or how many.
async fn record(tx: &mut TenantTx, actor: &str, action: &str, jobs: &[Uuid]) -> Result<(), sqlx::Error> {
    match jobs {
        [] => Ok(()),
        [job] => audit::record(tx, actor, action, &job.to_string()).await,
        jobs => audit::record(tx, actor, action, &format!("{} jobs", jobs.len())).await,
    }
}

/// What became of jobs that somebody wanted to end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Cancelled {
    /// Ended before they ran.
    pub ended: Vec<Uuid>,
    /// Told to end; their workers hear of it within a second.
    pub told: Vec<Uuid>,
}

/// Ends open jobs. Dead letters are left alone: see [`discard`].
pub async fn cancel(tx: &mut TenantTx, selection: &Selection, actor: &str) -> Result<Cancelled, sqlx::Error> {
    let rows = sqlx::query!(
        r#"with open as (
             select id, holder is null as is_idle from outbox
             where tenant_id = $1 and dead_at is null
               and ($2::uuid[] is null or id = any ($2)) and ($3::text is null or queue = $3)
               and ($4::text is null or job = $4)
             for update
         ), told as (
             update outbox o set cancelled_at = now() from open where o.tenant_id = $1 and o.id = open.id and not open.is_idle
         ), gone as (
             delete from outbox o using open where o.tenant_id = $1 and o.id = open.id and open.is_idle returning o.*
         ), kept as (
             insert into finished_jobs
                 (tenant_id, id, queue, job, payload, outcome, attempts, last_error, created_at, started_at)
             select tenant_id, id, queue, job, payload, 'cancelled', attempts, last_error, created_at, started_at from gone
         )
         select id, is_idle as "is_idle!" from open order by id"#,
        tx.tenant().uuid(),
        selection.ids.as_deref(),
        selection.queue_name(),
        selection.job
    )
    .fetch_all(tx.connection())
    .await?;
    let all: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    record(tx, actor, "jobs.cancelled", &all).await?;
    let (ended, told): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.is_idle);
    Ok(Cancelled { ended: ended.iter().map(|row| row.id).collect(), told: told.iter().map(|row| row.id).collect() })
}

/// Keeps all workers from starting jobs of a queue; those that run go on. False: it was paused already.
pub async fn pause(database: &Database, queue: Queue) -> Result<bool, sqlx::Error> {
    let mut connection = database.registry().await?;
    let paused = sqlx::query!("insert into paused_queues (queue) values ($1) on conflict do nothing", queue.name());
    Ok(paused.execute(&mut *connection).await?.rows_affected() == 1)
}

/// Lets workers start jobs of a queue again. False: it was not paused.
pub async fn resume(database: &Database, queue: Queue) -> Result<bool, sqlx::Error> {
    let mut connection = database.registry().await?;
    let resumed = sqlx::query!("delete from paused_queues where queue = $1", queue.name());
    Ok(resumed.execute(&mut *connection).await?.rows_affected() == 1)
}

/// A queue at a glance.
#[derive(Debug, Clone, Serialize)]
pub struct QueueStats {
    /// Whether an operator paused it.
    pub is_paused: bool,
    /// Its jobs, of all tenants.
    #[serde(flatten)]
    pub counts: OutboxCounts,
}

/// Every queue at a glance.
pub async fn stats(database: &Database) -> Result<Vec<QueueStats>, sqlx::Error> {
    let paused = outbox::paused(database).await?;
    let counts = counts(database).await?;
    let stats = |counts: OutboxCounts| QueueStats { is_paused: paused.contains(&counts.queue), counts };
    Ok(counts.into_iter().map(stats).collect())
}
