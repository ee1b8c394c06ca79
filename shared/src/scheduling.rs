//! What schedulers agree on in PostgreSQL: who leads, which ticks were made, and what comes next.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{Connection as _, PgConnection, postgres::types::PgInterval};
use tracing::Span;
use uuid::Uuid;

use crate::{
    db::Database,
    queue::{self, Job},
    telemetry::traces,
};

/// How long a tick is remembered.
const REMEMBERED: Duration = Duration::from_secs(30 * 24 * 3600);
/// What `scheduler_tick` says to a former leader.
const FORMER_LEADER: &str = "HC001";

/// The lead, which lasts until its lease is over or another epoch began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lead {
    epoch: i64,
}

impl Lead {
    /// Grows with each change of the leader.
    pub fn epoch(self) -> i64 {
        self.epoch
    }
}

/// Takes the lead for the length of a lease if nobody has it.
pub async fn try_lead(database: &Database, candidate: Uuid, lease: Duration) -> Result<Option<Lead>, sqlx::Error> {
    let asking = sqlx::query_scalar!(
        "update scheduler_leader set epoch = epoch + 1, holder = $1, leads_until = clock_timestamp() + $2::interval
         where leads_until < clock_timestamp() returning epoch",
        candidate,
        interval(lease)?
    );
    let epoch = database.ask(async |connection| asking.fetch_optional(connection).await).await?;
    Ok(epoch.map(|epoch| Lead { epoch }))
}

/// Keeps the lead for another lease; what time it is by the clock of PostgreSQL. `None`: it is lost.
pub async fn keep_leading(
    database: &Database,
    lead: Lead,
    lease: Duration,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let asking = sqlx::query_scalar!(
        r#"update scheduler_leader set leads_until = clock_timestamp() + $2::interval where epoch = $1
           returning clock_timestamp() as "now!""#,
        lead.epoch,
        interval(lease)?
    );
    database.ask(async |connection| asking.fetch_optional(connection).await).await
}

/// Gives the lead up, so that another scheduler need not wait for the lease to end.
pub async fn resign(database: &Database, lead: Lead) -> Result<(), sqlx::Error> {
    let asking = sqlx::query!("update scheduler_leader set leads_until = '-infinity' where epoch = $1", lead.epoch);
    database.ask(async |connection| asking.execute(connection).await).await?;
    Ok(())
}

/// The job of a scheduled line, the same for every tenant.
#[derive(Debug, Clone)]
pub struct Template {
    queue: &'static str,
    job: &'static str,
    payload: serde_json::Value,
    unique_key: Option<String>,
    max_attempts: i32,
    is_limited: bool,
    priority: i16,
}

impl Template {
    /// Made from a job; `unique_key` stands in when the job has none of its own.
    pub fn of<J: Job>(job: &J, unique_key: Option<String>) -> Result<Self, serde_json::Error> {
        Ok(Self {
            queue: J::QUEUE.name(),
            job: J::NAME,
            payload: serde_json::to_value(job)?,
            unique_key: job.unique_key().or(unique_key),
            max_attempts: J::MAX_ATTEMPTS.cast_signed(),
            is_limited: J::RATE_LIMIT.is_some(),
            priority: job.priority().level(),
        })
    }
}

/// What became of a tick.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// Made now, with a new job for so many tenants; the others still have an open one.
    Made(i64),
    /// Made before, by this scheduler or another.
    MadeBefore,
    /// Refused: another scheduler leads.
    NotLeading,
}

/// Makes a tick: enqueues the line's job for every tenant and remembers the tick, in one transaction. The tick begins a
/// trace, in which the jobs go on.
pub async fn tick(
    database: &Database,
    lead: Lead,
    line: &str,
    due_at: DateTime<Utc>,
    template: &Template,
) -> Result<Tick, sqlx::Error> {
    let span = tick_span(line, due_at, template);
    let asking = sqlx::query_scalar!(
        "select scheduler_tick($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        line,
        due_at,
        lead.epoch,
        template.queue,
        template.job,
        template.payload,
        template.unique_key,
        template.max_attempts,
        template.is_limited,
        template.priority,
        traces::trace_parent(&span)
    );
    let made = database.ask(async |connection| asking.fetch_one(connection).await).await;
    match made {
        Ok(Some(tenants)) => {
            database.notify(queue::CHANNEL, template.queue);
            Ok(Tick::Made(tenants))
        }
        Ok(None) => Ok(Tick::MadeBefore),
        Err(sqlx::Error::Database(error)) if error.code().is_some_and(|code| code == FORMER_LEADER) => {
            Ok(Tick::NotLeading)
        }
        Err(error) => Err(error),
    }
}

fn tick_span(line: &str, due_at: DateTime<Utc>, template: &Template) -> Span {
    if !traces::are_exported() {
        return Span::none();
    }
    tracing::info_span!(
        parent: None,
        "scheduler.tick",
        otel.name = %format_args!("tick {line}"),
        otel.kind = "producer",
        messaging.system = "helpcenter",
        messaging.operation.type = "send",
        messaging.destination.name = template.queue,
        helpcenter.job = template.job,
        helpcenter.due_at = %due_at,
    )
}

/// Up to when a line needs no more ticks, whoever led: its latest tick or, when there is none, when it was published first.
pub async fn ticked_until(database: &Database, line: &str) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    let asking = sqlx::query_scalar!(
        "select coalesce((select max(due_at) from scheduler_ticks where line = $1),
                         (select since from scheduler_lines where name = $1))",
        line
    );
    database.ask(async |connection| asking.fetch_one(connection).await).await
}

/// Forgets ticks of long ago, though never the latest of a line.
pub async fn forget_old_ticks(database: &Database) -> Result<(), sqlx::Error> {
    let asking = sqlx::query!(
        "delete from scheduler_ticks t where due_at < now() - $1::interval
         and due_at < (select max(due_at) from scheduler_ticks l where l.line = t.line)",
        interval(REMEMBERED)?
    );
    database.ask(async |connection| asking.execute(connection).await).await?;
    Ok(())
}

/// A line of the cron table, as the leader knows it.
#[derive(Debug, Clone, Serialize)]
pub struct LineStatus {
    /// Its name.
    pub name: String,
    /// When it is due, in its time zone.
    pub cron: String,
    /// IANA name.
    pub time_zone: String,
    /// When it is due next.
    pub next_at: Option<DateTime<Utc>>,
    /// When its latest tick was due. `None`: it never ticked.
    pub last_due_at: Option<DateTime<Utc>>,
    /// When that tick was made.
    pub last_made_at: Option<DateTime<Utc>>,
    /// How many jobs it enqueued.
    pub last_jobs: Option<i64>,
}

/// Every line with its next and last tick.
pub async fn lines(database: &Database) -> Result<Vec<LineStatus>, sqlx::Error> {
    let mut registry = database.registry().await?;
    sqlx::query_as!(
        LineStatus,
        r#"select l.name, l.cron, l.time_zone, l.next_at, t.due_at as "last_due_at?", t.enqueued_at as "last_made_at?",
                  t.jobs as "last_jobs?"
           from scheduler_lines l
           left join lateral (select * from scheduler_ticks where line = l.name order by due_at desc limit 1) t on true
           order by l.name"#
    )
    .fetch_all(&mut *registry)
    .await
}

/// Tells people what the leader's lines are and when each is due next; lines that are no more are removed.
pub async fn publish_lines(
    database: &Database,
    lines: &[(&str, &str, &str, Option<DateTime<Utc>>)],
) -> Result<(), sqlx::Error> {
    let names: Vec<&str> = lines.iter().map(|line| line.0).collect();
    let publishing = async |connection: &mut PgConnection| {
        let mut transaction = connection.begin().await?;
        sqlx::query!("delete from scheduler_lines where not name = any ($1)", &names as &[&str])
            .execute(&mut *transaction)
            .await?;
        for (name, cron, time_zone, next_at) in lines {
            sqlx::query!(
                "insert into scheduler_lines (name, cron, time_zone, next_at) values ($1, $2, $3, $4)
                 on conflict (name) do update set cron = $2, time_zone = $3, next_at = $4",
                name,
                cron,
                time_zone,
                *next_at
            )
            .execute(&mut *transaction)
            .await?;
        }
        transaction.commit().await
    };
    database.ask(publishing).await
}

fn interval(duration: Duration) -> Result<PgInterval, sqlx::Error> {
    PgInterval::try_from(duration).map_err(sqlx::Error::Encode)
}
