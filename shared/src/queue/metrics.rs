//! What the queues tell Prometheus. Labels are names of queues, jobs and outcomes: bounded, whoever calls.

use std::sync::LazyLock;

use prometheus::{HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use crate::telemetry::metrics::{counter, counters, gauges, histograms};

pub(super) static RELAYED: LazyLock<IntCounter> =
    LazyLock::new(|| counter("helpcenter_jobs_relayed_total", "Jobs sent from the outbox to Redis."));
pub(super) static RELAY_FAILURES: LazyLock<IntCounter> =
    LazyLock::new(|| counter("helpcenter_relay_failures_total", "Rounds of the relay that ended in an error."));
pub(super) static FINISHED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_jobs_finished_total",
        "Attempts by how they ended: done, retry, dead, lease_lost, handed_back.",
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
