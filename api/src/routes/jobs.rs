//! Jobs, for those who manage a help center: its own jobs, whatever they do.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Json, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    queue::{
        Queue,
        admin::{self, JobRecord, Selection, State},
    },
    tenancy::TenantId,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    paging,
    refusals::{InvalidBody, InvalidRequest},
};
use crate::{
    Services,
    caller::Admin,
    error::{ApiError, Problem},
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 500;
/// Most ids in one request.
const MAX_IDS: usize = 1000;

/// Which jobs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct JobsQuery {
    /// Only those in this state: `waiting`, `scheduled`, `running`, `dead`, `done`, `cancelled` or `discarded`. Several are
    /// separated by commas.
    state: Option<String>,
    /// Only those of this queue.
    queue: Option<String>,
    /// Only those of this type, such as `embed_article`.
    job: Option<String>,
    /// How many at most, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobPage {
    /// The latest enqueued first.
    results: Vec<JobLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct JobLine {
    id: Uuid,
    queue: String,
    /// The name of its type.
    job: String,
    /// `waiting`, `scheduled`, `running`, `dead`, `done`, `cancelled` or `discarded`.
    state: &'static str,
    /// What it was given.
    #[schema(value_type = Object)]
    payload: serde_json::Value,
    /// Attempts begun so far.
    attempts: i32,
    /// Attempts before it is given up; null once it has ended.
    max_attempts: Option<i32>,
    /// What the latest failed attempt said.
    last_error: Option<String>,
    /// What it left, when it is done.
    #[schema(value_type = Option<Object>)]
    result: Option<serde_json::Value>,
    /// How far it is; null of jobs that do not say so.
    progress: Option<JobProgress>,
    created_at: DateTime<Utc>,
    /// When it may start, or could have; null once it has ended.
    run_at: Option<DateTime<Utc>>,
    /// When its latest attempt began.
    started_at: Option<DateTime<Utc>>,
    /// When it ended or was given up.
    ended_at: Option<DateTime<Utc>>,
}

/// How far a job is, in units of its own.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub(crate) struct JobProgress {
    done: i64,
    total: i64,
    /// Units a second of the latest attempt; null before it has done any.
    rate_per_second: Option<f64>,
    /// Seconds until the rest is done at that rate.
    eta_seconds: Option<f64>,
}

/// Which jobs are meant: `ids`, or all that fulfil the conditions.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobSelection {
    /// These, at most 1000.
    ids: Option<Vec<Uuid>>,
    /// `true`: every job that fulfils the conditions. Not together with `ids`.
    #[serde(default)]
    all: bool,
    /// Only those of this queue.
    queue: Option<String>,
    /// Only those of this type.
    job: Option<String>,
}

/// Which jobs were changed. Jobs that were named and are missing here were in no state for it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsChanged {
    ids: Vec<Uuid>,
}

/// Which jobs were ended.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobsCancelled {
    /// Ended before they ran.
    ids: Vec<Uuid>,
    /// Running; their workers end them within a second.
    told: Vec<Uuid>,
}

/// The job that does it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobStarted {
    /// Its progress and result are at `url`.
    job_id: Uuid,
    /// Address of the job.
    url: String,
}

/// Lists the jobs of the caller's help center, the latest enqueued first.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/jobs/", tag = "Jobs", operation_id = "listJobs",
    params(JobsQuery),
    responses(
        (status = 200, description = "A page of jobs", body = JobPage),
        InvalidRequest, Admin,
    )
)]
pub(crate) async fn list(
    services: Data<Services>,
    Admin(caller): Admin,
    query: Query<JobsQuery>,
) -> Result<Json<JobPage>, ApiError> {
    let query = query.into_inner();
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let states =
        query.state.iter().flat_map(|states| states.split(',')).map(parse_state).collect::<Result<Vec<_>, _>>()?;
    let before = paging::after::<Uuid>(query.cursor.as_deref())?;
    let selection =
        Selection { ids: None, queue: query.queue.as_deref().map(parse_queue).transpose()?, job: query.job };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut jobs = admin::list(&mut tx, &selection, &states, before, limit + 1).await?;
    let next_cursor = paging::next_cursor(&mut jobs, limit, |last| last.id);
    Ok(Json(JobPage { results: jobs.into_iter().map(line).collect(), next_cursor }))
}

/// Everything about one job.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/jobs/{id}/", tag = "Jobs", operation_id = "getJob",
    params(("id" = String, Path, description = "Id of the job")),
    responses(
        (status = 200, description = "The job", body = JobLine),
        (status = 404, description = "No such job of the caller's help center", body = Problem, content_type = "application/problem+json"),
        Admin,
    )
)]
pub(crate) async fn detail(
    services: Data<Services>,
    Admin(caller): Admin,
    id: Path<String>,
) -> Result<Json<JobLine>, ApiError> {
    let id = id.parse().map_err(|_| no_such_job())?;
    Ok(Json(find(&services, caller.tenant, id).await?.ok_or_else(no_such_job)?))
}

/// Tries dead letters again, with all attempts before them.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/jobs/retry/", tag = "Jobs", operation_id = "retryJobs",
    request_body = JobSelection,
    responses(
        (status = 200, description = "The jobs that are tried again", body = JobsChanged),
        InvalidBody, Admin,
    )
)]
pub(crate) async fn retry(
    services: Data<Services>,
    Admin(caller): Admin,
    body: Json<JobSelection>,
) -> Result<Json<JobsChanged>, ApiError> {
    let selection = selection(body.into_inner())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let ids = admin::retry(&mut tx, &selection, &caller.actor()).await?;
    tx.commit().await?;
    Ok(Json(JobsChanged { ids }))
}

/// Puts dead letters away.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/jobs/discard/", tag = "Jobs", operation_id = "discardJobs",
    request_body = JobSelection,
    responses(
        (status = 200, description = "The jobs that were put away", body = JobsChanged),
        InvalidBody, Admin,
    )
)]
pub(crate) async fn discard(
    services: Data<Services>,
    Admin(caller): Admin,
    body: Json<JobSelection>,
) -> Result<Json<JobsChanged>, ApiError> {
    let selection = selection(body.into_inner())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let ids = admin::discard(&mut tx, &selection, &caller.actor()).await?;
    tx.commit().await?;
    Ok(Json(JobsChanged { ids }))
}

/// Ends jobs that wait or run.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/jobs/cancel/", tag = "Jobs", operation_id = "cancelJobs",
    request_body = JobSelection,
    responses(
        (status = 200, description = "The jobs that are ended", body = JobsCancelled),
        InvalidBody, Admin,
    )
)]
pub(crate) async fn cancel(
    services: Data<Services>,
    Admin(caller): Admin,
    body: Json<JobSelection>,
) -> Result<Json<JobsCancelled>, ApiError> {
    let selection = selection(body.into_inner())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let admin::Cancelled { ended, told } = admin::cancel(&mut tx, &selection, &caller.actor()).await?;
    tx.commit().await?;
    Ok(Json(JobsCancelled { ids: ended, told }))
}

fn selection(body: JobSelection) -> Result<Selection, ApiError> {
    let JobSelection { ids, all, queue, job } = body;
    match &ids {
        Some(ids) if all => Err(format!("say `all` or name {} `ids`, not both", ids.len())),
        Some(ids) if !(1..=MAX_IDS).contains(&ids.len()) => {
            Err(format!("`ids` may name 1 to {MAX_IDS} jobs; here are {}", ids.len()))
        }
        None if !all => Err("name jobs in `ids`, or say `\"all\": true`".to_owned()),
        _ => Ok(()),
    }
    .map_err(|problem| ApiError::invalid(format!("Which jobs are meant? {problem}.")))?;
    Ok(Selection { ids, queue: queue.as_deref().map(parse_queue).transpose()?, job })
}

fn parse_state(name: &str) -> Result<State, ApiError> {
    let states = || State::ALL.map(State::name).join(", ");
    State::from_name(name).ok_or_else(|| ApiError::invalid(format!("`state` must be one of {}.", states())))
}

/// Reads a queue's name from a request.
pub(crate) fn parse_queue(name: &str) -> Result<Queue, ApiError> {
    let queues = || Queue::ALL.map(Queue::name).join(", ");
    Queue::from_name(name).ok_or_else(|| ApiError::invalid(format!("`queue` must be one of {}.", queues())))
}

pub(super) fn no_such_job() -> ApiError {
    ApiError::not_found("There is no job with this id. Finished jobs are kept for three days.")
}

/// The address of a job.
pub(super) fn url(id: Uuid) -> String {
    format!("/api/v2/help-center/admin/jobs/{id}/")
}

/// The answer to a request that a job fulfils.
pub(super) fn started(job_id: Uuid) -> HttpResponse {
    let url = url(job_id);
    HttpResponse::Accepted().insert_header((header::LOCATION, url.clone())).json(JobStarted { job_id, url })
}

/// One of the tenant's jobs.
pub(super) async fn find(services: &Services, tenant: TenantId, id: Uuid) -> Result<Option<JobLine>, sqlx::Error> {
    let mut tx = services.database.tenant(tenant).await?;
    Ok(admin::find(&mut tx, id).await?.map(line))
}

impl JobLine {
    /// Whether nothing more happens to it by itself.
    pub(super) fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }
}

fn line(job: JobRecord) -> JobLine {
    JobLine {
        id: job.id,
        queue: job.queue,
        job: job.job,
        state: job.state.name(),
        payload: job.payload,
        attempts: job.attempts,
        max_attempts: job.max_attempts,
        last_error: job.last_error,
        result: job.result,
        progress: job.progress.map(|progress| JobProgress {
            done: progress.done,
            total: progress.total,
            rate_per_second: progress.rate_per_second,
            eta_seconds: progress.eta_seconds,
        }),
        created_at: job.created_at,
        run_at: job.run_at,
        started_at: job.started_at,
        ended_at: job.ended_at,
    }
}
