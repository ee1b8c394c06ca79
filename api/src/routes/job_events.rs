//! Watching a job: server-sent events, made from its row.
//!
//! The row is the truth, and looking at it costs little: no event is lost when Redis, a worker or this process is started
//! anew, and a browser that comes back sees the job as it is then.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data, Path},
};
use futures::{Stream, stream};
use shared::tenancy::TenantId;
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Instant, sleep},
};
use uuid::Uuid;

use super::jobs::{JobLine, find, no_such_job};
use crate::{
    Services,
    caller::Admin,
    error::{ApiError, Code, Problem},
};

/// How often a watched job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How long a stream may be silent before it shows that it is alive.
const BEAT_EVERY: Duration = Duration::from_secs(15);
/// How long a stream lasts at most: browsers open another one, and whoever may not any more is refused then.
const LASTS: Duration = Duration::from_secs(600);
/// The id of a job's last event: a browser that comes back with it is told not to.
const END: &str = "end";

/// Watches one job: an event `job` with the job whenever it has changed, until it ends.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/jobs/{id}/events/", tag = "Jobs", operation_id = "watchJob",
    params(("id" = String, Path, description = "Id of the job")),
    responses(
        (status = 200, description = "Server-sent events: `job` with the job, whenever it has changed. The last one has the \
                                      id `end`; who comes back with `Last-Event-ID: end` is answered 204.",
         body = JobLine, content_type = "text/event-stream"),
        (status = 401, description = "No valid credential", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller is no admin", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such job of the caller's help center", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away, or too many are watching", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn events(
    services: Data<Services>,
    Admin(caller): Admin,
    request: HttpRequest,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = id.parse().map_err(|_| no_such_job())?;
    find(&services, caller.tenant, id).await?.ok_or_else(no_such_job)?;
    if request.headers().get("last-event-id").is_some_and(|last| last == END) {
        return Ok(HttpResponse::NoContent().finish());
    }
    let place = services.watchers.clone().try_acquire_owned().map_err(|_| {
        ApiError::new(
            Code::ServiceUnavailable,
            "Too many jobs are being watched at the moment. Please try again later.",
        )
    })?;
    let now = Instant::now();
    let watch = Watch {
        services,
        tenant: caller.tenant,
        id,
        ends: now + LASTS,
        said: now,
        told: None,
        has_ended: false,
        _place: place,
    };
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(watch.stream()))
}

/// A stream of one job's events.
struct Watch {
    services: Data<Services>,
    tenant: TenantId,
    id: Uuid,
    ends: Instant,
    said: Instant,
    told: Option<JobLine>,
    has_ended: bool,
    _place: OwnedSemaphorePermit,
}

impl Watch {
    fn stream(self) -> impl Stream<Item = Result<Bytes, ApiError>> {
        stream::unfold(self, async |mut watch| Some((Ok(watch.next().await?), watch)))
    }

    /// What is to be said next; none when there is no more to say.
    async fn next(&mut self) -> Option<Bytes> {
        while !self.has_ended && Instant::now() < self.ends && !self.services.stopping.is_cancelled() {
            // An error is waited out: the browser would do no better.
            if let Ok(found) = find(&self.services, self.tenant, self.id).await
                && found != self.told
            {
                return Some(self.tell(found));
            }
            if self.said.elapsed() >= BEAT_EVERY {
                self.said = Instant::now();
                return Some(Bytes::from_static(b": still there\n\n"));
            }
            self.services.stopping.run_until_cancelled(sleep(LOOK_EVERY)).await;
        }
        None
    }

    /// An event with the job as it is now. One that was trimmed meanwhile is told as it was last.
    fn tell(&mut self, found: Option<JobLine>) -> Bytes {
        self.said = Instant::now();
        self.has_ended = found.as_ref().is_none_or(JobLine::has_ended);
        self.told = found.or(self.told.take());
        let id = if self.has_ended { format!("id: {END}\n") } else { String::new() };
        let job = serde_json::to_string(&self.told).unwrap_or_default();
        Bytes::from(format!("event: job\n{id}data: {job}\n\n"))
    }
}
