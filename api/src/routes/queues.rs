//! The queues of the deployment, for those who look after it: what waits, and what is paused.

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpRequest,
    dev::Payload,
    web::{Bytes, Data, Json, Path},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    audit,
    queue::{Queue, admin},
    scheduling,
};
use utoipa::ToSchema;

use super::jobs::parse_queue;
use crate::{
    Services,
    caller::Operator,
    error::{ApiError, Problem},
};

/// Every queue.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueList {
    results: Vec<QueueLine>,
}

/// A queue. Jobs of all tenants are counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueueLine {
    queue: String,
    /// Whether workers start none of its jobs, because an operator said so.
    is_paused: bool,
    /// Jobs that are written and not sent to Redis yet.
    unrelayed: i64,
    /// Jobs that may start now.
    waiting: i64,
    /// Jobs that may start later.
    scheduled: i64,
    /// Jobs at a worker.
    running: i64,
    /// Dead letters.
    dead: i64,
    /// For how long the oldest job that may start has waited, in seconds; null when there is none.
    oldest_seconds: Option<f64>,
    /// For how long the oldest job that is not in Redis yet has waited for it, in seconds; null when there is none.
    relay_lag_seconds: Option<f64>,
}

/// What was paused or resumed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct QueuePaused {
    queue: &'static str,
    is_paused: bool,
}

/// The whole cron table.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Schedule {
    results: Vec<ScheduleLine>,
}

/// A line of the cron table.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ScheduleLine {
    name: String,
    /// When it is due: seconds first.
    cron: String,
    /// IANA name.
    time_zone: String,
    /// When it is due next.
    next_at: Option<DateTime<Utc>>,
    /// When its latest tick was due; null when there was none.
    last_due_at: Option<DateTime<Utc>>,
    /// When that tick was made.
    last_made_at: Option<DateTime<Utc>>,
    /// How many jobs it enqueued.
    last_jobs: Option<i64>,
}

/// Counts the jobs of every queue.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/queues/", tag = "Operations", operation_id = "listQueues",
    responses(
        (status = 200, description = "Every queue", body = QueueList),
        Operator,
    )
)]
pub(crate) async fn list(services: Data<Services>, Operator(_caller): Operator) -> Result<Json<QueueList>, ApiError> {
    let stats = admin::stats(&services.database).await?;
    let line = |admin::QueueStats { is_paused, counts }| QueueLine {
        queue: counts.queue,
        is_paused,
        unrelayed: counts.unrelayed,
        waiting: counts.waiting,
        scheduled: counts.scheduled,
        running: counts.running,
        dead: counts.dead,
        oldest_seconds: counts.oldest_seconds,
        relay_lag_seconds: counts.relay_lag_seconds,
    };
    Ok(Json(QueueList { results: stats.into_iter().map(line).collect() }))
}

/// Keeps all workers from starting jobs of a queue; those that run go on.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/queues/{name}/pause/", tag = "Operations", operation_id = "pauseQueue",
    params(("name" = String, Path, description = "Name of the queue")),
    responses(
        (status = 200, description = "The queue is paused", body = QueuePaused),
        (status = 404, description = "No such queue", body = Problem, content_type = "application/problem+json"),
        Operator,
    )
)]
pub(crate) async fn pause(
    services: Data<Services>,
    Operator(caller): Operator,
    name: Path<String>,
    _body: BodyRead,
) -> Result<Json<QueuePaused>, ApiError> {
    let queue = named(&name)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    if admin::pause(&services.database, queue).await? {
        audit::record(&mut tx, &caller.actor(), "queue.paused", queue.name()).await?;
        tx.commit().await?;
    }
    Ok(Json(QueuePaused { queue: queue.name(), is_paused: true }))
}

/// Lets workers start jobs of a queue again.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/queues/{name}/resume/", tag = "Operations", operation_id = "resumeQueue",
    params(("name" = String, Path, description = "Name of the queue")),
    responses(
        (status = 200, description = "The queue is not paused", body = QueuePaused),
        (status = 404, description = "No such queue", body = Problem, content_type = "application/problem+json"),
        Operator,
    )
)]
pub(crate) async fn resume(
    services: Data<Services>,
    Operator(caller): Operator,
    name: Path<String>,
    _body: BodyRead,
) -> Result<Json<QueuePaused>, ApiError> {
    let queue = named(&name)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    if admin::resume(&services.database, queue).await? {
        audit::record(&mut tx, &caller.actor(), "queue.resumed", queue.name()).await?;
        tx.commit().await?;
    }
    Ok(Json(QueuePaused { queue: queue.name(), is_paused: false }))
}

/// Tells when each line of the cron table is due next, and when it was last.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/schedule/", tag = "Operations", operation_id = "getSchedule",
    responses(
        (status = 200, description = "Every line", body = Schedule),
        Operator,
    )
)]
pub(crate) async fn schedule(
    services: Data<Services>,
    Operator(_caller): Operator,
) -> Result<Json<Schedule>, ApiError> {
    let lines = scheduling::lines(&services.database).await?;
    let line = |line: scheduling::LineStatus| ScheduleLine {
        name: line.name,
        cron: line.cron,
        time_zone: line.time_zone,
        next_at: line.next_at,
        last_due_at: line.last_due_at,
        last_made_at: line.last_made_at,
        last_jobs: line.last_jobs,
    };
    Ok(Json(Schedule { results: lines.into_iter().map(line).collect() }))
}

/// Nothing is expected in the body, but who sends one that is no HTTP is told so.
pub(crate) struct BodyRead;

impl FromRequest for BodyRead {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let body = Bytes::from_request(request, payload);
        Box::pin(async move {
            let unreadable = |_| ApiError::invalid("The body could not be read to its end. Send it again, or none.");
            body.await.map(|_| Self).map_err(unreadable)
        })
    }
}

fn named(name: &str) -> Result<Queue, ApiError> {
    parse_queue(name).map_err(|error| ApiError::not_found(error.detail))
}
