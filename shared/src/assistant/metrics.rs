//! Metrics of answers.

use std::{sync::LazyLock, time::Duration};

use prometheus::{HistogramVec, IntCounter, IntCounterVec};

use super::{
    event::{Done, Outcome, Reason},
    store::Took,
};
use crate::telemetry::metrics::{counter, counters, histograms};

/// Answers by how they ended.
static ANSWERS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_assistant_answers_total",
        "Answers that were written, by outcome, reason of a refusal or hand-over (`none` otherwise) and who wrote them.",
        &["outcome", "reason", "provider"],
    )
});
/// Answers that could not be written.
pub(super) static FAILED: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("helpcenter_assistant_failed_total", "Answers that were given up after their last attempt.")
});
/// Answers that were given again.
static CACHED: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("helpcenter_assistant_cache_hits_total", "Answers that had been given before and were given again.")
});
/// How long the steps of an answer took.
static STEPS: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_assistant_step_seconds",
        "Steps of an answer: `queue` from the question to the worker, `retrieval`, `writing`; and from the question on \
         `first_chunk` and `whole`.",
        &["step"],
        &[0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0],
    )
});

/// Makes every series, so that a first event is seen as one.
pub(super) fn prepare() {
    for provider in ["extractive", "openai"] {
        ANSWERS.with_label_values(&[Outcome::Answered.as_str(), "none", provider]);
        for reason in Reason::ALL {
            ANSWERS.with_label_values(&[Outcome::Refused.as_str(), reason.as_str(), provider]);
        }
    }
    ANSWERS.with_label_values(&[Outcome::HandedOver.as_str(), Reason::CustomerRequest.as_str(), "extractive"]);
    for step in ["queue", "retrieval", "writing", "first_chunk", "whole"] {
        STEPS.with_label_values(&[step]);
    }
    FAILED.inc_by(0);
    CACHED.inc_by(0);
}

/// Counts an answer.
pub(super) fn written(done: &Done, queued_for: Duration, took: &Took) {
    let reason = done.reason.map_or("none", Reason::as_str);
    ANSWERS.with_label_values(&[done.outcome.as_str(), reason, done.provider.as_str()]).inc();
    if done.is_cached {
        CACHED.inc();
    }
    let observe = |step: &str, took: Duration| STEPS.with_label_values(&[step]).observe(took.as_secs_f64());
    observe("queue", queued_for);
    observe("retrieval", took.retrieval);
    observe("writing", took.writing);
    observe("whole", queued_for + took.retrieval + took.writing);
    if let Some(first_chunk) = took.first_chunk {
        observe("first_chunk", first_chunk);
    }
}
