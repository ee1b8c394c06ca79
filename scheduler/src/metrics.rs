//! What a scheduler tells Prometheus.

use std::sync::LazyLock;

use prometheus::{HistogramVec, IntGauge};
use shared::telemetry::metrics::{gauge, histograms};

use crate::schedule::Line;

pub(crate) static LEADER: LazyLock<IntGauge> =
    LazyLock::new(|| gauge("helpcenter_scheduler_leader", "1 while this scheduler leads, else 0."));
pub(crate) static LATENESS: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_scheduler_lateness_seconds",
        "From when a tick was due to when it was made.",
        &["line"],
        &[0.1, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 600.0],
    )
});

/// Tells from the start that this scheduler does not lead, and that no line was late.
pub(crate) fn prepare(lines: &[Line]) {
    LEADER.set(0);
    for line in lines {
        LATENESS.with_label_values(&[line.name]);
    }
}
