//! What is counted of calls to a reranker.

use std::{sync::LazyLock, time::Duration};

use prometheus::{Histogram, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec};

use crate::{
    remote::OUTCOMES,
    telemetry::metrics::{counters, gauges, histograms},
};

const BUCKETS: &[f64] = &[0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0];

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_rerank_requests_total",
        "Requests to a reranker by how they ended; `not_sent` were refused while the circuit was open.",
        &["model", "outcome"],
    )
});
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_rerank_request_duration_seconds",
        "How long requests to a reranker took, failed ones included.",
        &["model"],
        BUCKETS,
    )
});
static CIRCUIT_OPEN: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges(
        "helpcenter_rerank_circuit_open",
        "1 while a reranker is left alone because it failed again and again, else 0.",
        &["model"],
    )
});

/// The metrics of one model.
pub(super) struct RerankMetrics {
    model: String,
    duration: Histogram,
    circuit_open: IntGauge,
}

impl RerankMetrics {
    /// All at 0.
    pub(super) fn of(model: &str) -> Self {
        for outcome in OUTCOMES {
            REQUESTS.with_label_values(&[model, outcome]);
        }
        let circuit_open = CIRCUIT_OPEN.with_label_values(&[model]);
        circuit_open.set(0);
        Self { duration: DURATION.with_label_values(&[model]), circuit_open, model: model.to_owned() }
    }

    pub(super) fn ended(&self, outcome: &str, took: Option<Duration>) {
        REQUESTS.with_label_values(&[self.model.as_str(), outcome]).inc();
        if let Some(took) = took {
            self.duration.observe(took.as_secs_f64());
        }
    }

    pub(super) fn circuit(&self, is_open: bool) {
        self.circuit_open.set(i64::from(is_open));
    }
}
