//! The spans of jobs in traces: one where a job is enqueued, and its child for each attempt. Attributes are those of
//! OpenTelemetry's semantic conventions for messaging; none holds anything of a payload.

use tracing::{Span, field::Empty};

use super::{Job, Queue, outbox::Started};
use crate::{telemetry::traces, tenancy::TenantId};

/// Where `jobs` jobs are enqueued. Ends when it is dropped.
pub(super) fn enqueue<J: Job>(tenant: TenantId, jobs: usize) -> Span {
    if !traces::are_exported() {
        return Span::none();
    }
    tracing::info_span!(
        "job.enqueue",
        otel.name = %format_args!("enqueue {}", J::NAME),
        otel.kind = "producer",
        messaging.system = "helpcenter",
        messaging.operation.type = "send",
        messaging.destination.name = J::QUEUE.name(),
        messaging.batch.message_count = i64::try_from(jobs).unwrap_or(i64::MAX),
        helpcenter.job = J::NAME,
        helpcenter.tenant_id = %tenant,
    )
}

/// An attempt of a job, in the trace that it was enqueued in.
pub(super) fn attempt(queue: Queue, job: &Started) -> Span {
    if !traces::are_exported() {
        return Span::none();
    }
    let span = tracing::info_span!(
        parent: None,
        "job.attempt",
        otel.name = %format_args!("job {}", job.job),
        otel.kind = "consumer",
        otel.status_code = Empty,
        messaging.system = "helpcenter",
        messaging.operation.type = "process",
        messaging.destination.name = queue.name(),
        messaging.message.id = %job.id,
        helpcenter.job = job.job,
        helpcenter.tenant_id = %job.tenant,
        helpcenter.attempt = job.attempts,
        helpcenter.wait_ms = i64::try_from(job.waited.as_millis()).unwrap_or(i64::MAX),
        helpcenter.outcome = Empty,
        trace_id = Empty,
    );
    traces::follow(&span, job.trace_parent.as_deref());
    span
}

/// Tells how the attempt ended whose span this runs in.
pub(super) fn ended(outcome: &str) {
    if !traces::are_exported() {
        return;
    }
    let span = Span::current();
    span.record("helpcenter.outcome", outcome);
    if ["retry", "dead", "lease_lost"].contains(&outcome) {
        span.record("otel.status_code", "ERROR");
    }
}
