//! What the queues tell Prometheus. Labels are names of queues, jobs and outcomes: bounded, whoever calls.

use std::sync::LazyLock;

use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::{Queue, outbox::Troubles, store::Depths};
use crate::telemetry::metrics::{counter, counters, float_gauges, gauges, histograms};

pub(super) static RELAYED: LazyLock<IntCounter> =
    LazyLock::new(|| counter("helpcenter_jobs_relayed_total", "Jobs sent from the outbox to Redis."));
pub(super) static RELAY_FAILURES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("helpcenter_relay_failures_total", "Rounds of the relay that ended in an error."));
pub(super) static STARTED: LazyLock<IntCounterVec> =
    LazyLock::new(|| counters("helpcenter_jobs_started_total", "Attempts that were begun.", &["queue", "job_name"]));
pub(super) static WAIT: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_job_wait_seconds",
        "From when a job could have run to when its attempt began.",
        &["queue", "job_name"],
        &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 3600.0],
    )
});
pub(super) static FINISHED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_jobs_finished_total",
        "Attempts by how they ended: done, retry, dead, cancelled, lease_lost, handed_back.",
        &["queue", "job_name", "outcome"],
    )
});
pub(super) static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_job_duration_seconds",
        "How long attempts ran.",
        &["queue", "job_name"],
        &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0],
    )
});
pub(super) static TAKEN_OVER: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("helpcenter_jobs_taken_over_total", "Jobs taken from workers whose lease ended.", &["queue"])
});
pub(super) static DEPTH: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges("helpcenter_queue_jobs", "Jobs by state: unrelayed, waiting, delayed, leased, dead.", &["queue", "state"])
});
static OLDEST: LazyLock<GaugeVec> = LazyLock::new(|| {
    float_gauges("helpcenter_queue_oldest_seconds", "How long the oldest waiting job has waited.", &["queue"])
});
static RELAY_LAG: LazyLock<GaugeVec> = LazyLock::new(|| {
    float_gauges("helpcenter_relay_lag_seconds", "Age of the oldest job that was not sent to Redis yet.", &["queue"])
});

pub(super) fn set_depths(queue: Queue, depths: &Depths) {
    for (state, count) in [("waiting", depths.waiting), ("delayed", depths.delayed), ("leased", depths.leased)] {
        DEPTH.with_label_values(&[queue.name(), state]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    OLDEST.with_label_values(&[queue.name()]).set(depths.oldest.unwrap_or_default().as_secs_f64());
}

pub(super) fn set_troubles(troubles: &[Troubles]) {
    for queue in Queue::ALL {
        let found = troubles.iter().find(|t| t.queue == queue.name());
        let (unrelayed, dead, lag) = found.map_or((0, 0, 0.0), |t| (t.unrelayed, t.dead, t.relay_lag_seconds));
        DEPTH.with_label_values(&[queue.name(), "unrelayed"]).set(unrelayed);
        DEPTH.with_label_values(&[queue.name(), "dead"]).set(dead);
        RELAY_LAG.with_label_values(&[queue.name()]).set(lag);
    }
}
