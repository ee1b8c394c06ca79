//! What the queues tell Prometheus. Labels are names of queues, jobs and outcomes: bounded, whoever calls.

use std::sync::LazyLock;

use prometheus::{GaugeVec, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec};

use super::{Queue, counts::Troubles, store::Depths};
use crate::telemetry::metrics::{counter, counters, float_gauges, gauges, histograms};

/// How attempts end.
const OUTCOMES: [&str; 6] = ["done", "retry", "dead", "cancelled", "lease_lost", "handed_back"];
/// Where open jobs are in Redis.
const STATES: [&str; 3] = ["waiting", "delayed", "leased"];

// The functions that enqueue write in their caller's transaction and do not know whether it commits, and some of those
// callers are commands that nobody scrapes. The relay is the first that sees every committed job.
pub(super) static ENQUEUED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_jobs_enqueued_total",
        "Committed jobs that this process's relay sent to Redis. One that is sent once more counts once more: a dead letter \
         tried again, and what Redis forgot.",
        &["queue", "job_name"],
    )
});
pub(super) static RESENT: LazyLock<IntCounter> = LazyLock::new(|| {
    counter("helpcenter_jobs_resent_total", "Open jobs that Redis had forgotten, so that they are sent to it again.")
});
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
        "Attempts by how they ended: done, retry (failed, tried again), dead (failed, given up), cancelled, lease_lost, \
         handed_back.",
        &["queue", "job_name", "outcome"],
    )
});
pub(super) static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_job_duration_seconds",
        "How long attempts ran.",
        &["queue", "job_name"],
        &[0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 600.0],
    )
});
pub(super) static TAKEN_OVER: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("helpcenter_jobs_taken_over_total", "Jobs taken from workers whose lease ended.", &["queue"])
});
pub(super) static DEPTH: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges(
        "helpcenter_queue_jobs",
        "Jobs of all tenants by state: unrelayed, waiting, delayed, leased, dead. Every worker tells the same.",
        &["queue", "state"],
    )
});
static PAUSED: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges("helpcenter_queue_paused", "1 while an operator has paused the queue, else 0.", &["queue"])
});
static OLDEST: LazyLock<GaugeVec> = LazyLock::new(|| {
    float_gauges(
        "helpcenter_queue_oldest_seconds",
        "How long the oldest job that could start has waited, 0 when none waits. Every worker tells the same.",
        &["queue"],
    )
});
static RELAY_LAG: LazyLock<GaugeVec> = LazyLock::new(|| {
    float_gauges(
        "helpcenter_relay_lag_seconds",
        "Age of the oldest job that was not sent to Redis yet, 0 when there is none. Every worker tells the same.",
        &["queue"],
    )
});

/// Makes every counter exist at 0: one that appears with its first event has no rate and raises no alert.
pub(super) fn prepare(jobs: impl Iterator<Item = (Queue, &'static str)>) {
    LazyLock::force(&RESENT);
    LazyLock::force(&RELAY_FAILURES);
    for queue in Queue::ALL {
        TAKEN_OVER.with_label_values(&[queue.name()]);
    }
    for (queue, job) in jobs {
        let labels = [queue.name(), job];
        ENQUEUED.with_label_values(&labels);
        STARTED.with_label_values(&labels);
        WAIT.with_label_values(&labels);
        DURATION.with_label_values(&labels);
        for outcome in OUTCOMES {
            FINISHED.with_label_values(&[queue.name(), job, outcome]);
        }
    }
}

/// What Redis says of a queue. `None`: it does not answer. Then there is no figure, rather than an old one that would hide
/// what other workers see.
pub(super) fn set_depths(queue: Queue, depths: Option<&Depths>) {
    let Some(depths) = depths else {
        // Errors say that there was no figure before either.
        for state in STATES {
            let _ = DEPTH.remove_label_values(&[queue.name(), state]);
        }
        let _ = OLDEST.remove_label_values(&[queue.name()]);
        return;
    };
    for (state, count) in STATES.into_iter().zip([depths.waiting, depths.delayed, depths.leased]) {
        DEPTH.with_label_values(&[queue.name(), state]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }
    OLDEST.with_label_values(&[queue.name()]).set(depths.oldest.unwrap_or_default().as_secs_f64());
}

/// Which queues are paused, by name.
pub(super) fn set_paused(paused: &[String]) {
    for queue in Queue::ALL {
        PAUSED.with_label_values(&[queue.name()]).set(i64::from(paused.iter().any(|name| name == queue.name())));
    }
}

/// What PostgreSQL says is wrong with each queue; `None` as above.
pub(super) fn set_troubles(troubles: Option<&[Troubles]>) {
    for queue in Queue::ALL {
        let Some(troubles) = troubles else {
            for state in ["unrelayed", "dead"] {
                let _ = DEPTH.remove_label_values(&[queue.name(), state]);
            }
            let _ = RELAY_LAG.remove_label_values(&[queue.name()]);
            continue;
        };
        let found = troubles.iter().find(|t| t.queue == queue.name());
        let (unrelayed, dead, lag) = found.map_or((0, 0, 0.0), |t| (t.unrelayed, t.dead, t.relay_lag_seconds));
        DEPTH.with_label_values(&[queue.name(), "unrelayed"]).set(unrelayed);
        DEPTH.with_label_values(&[queue.name(), "dead"]).set(dead);
        RELAY_LAG.with_label_values(&[queue.name()]).set(lag);
    }
}
