//! What is counted of calls to a remote model.

use std::{sync::LazyLock, time::Duration};

use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::Failure;
use crate::{
    embedding::ModelId,
    remote::OUTCOMES,
    telemetry::metrics::{counters, gauges, histograms},
};

const BUCKETS: &[f64] = &[0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.0, 6.0, 12.0, 30.0, 60.0];

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_embedding_requests_total",
        "Requests to a remote embedding model by how they ended; `not_sent` were refused while the circuit was open.",
        &["model", "outcome"],
    )
});
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_embedding_request_duration_seconds",
        "How long requests to a remote embedding model took, failed ones included.",
        &["model"],
        BUCKETS,
    )
});
static TOKENS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("helpcenter_embedding_tokens_total", "Tokens that a remote embedding model says it has read.", &["model"])
});
static CIRCUIT_OPEN: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges(
        "helpcenter_embedding_circuit_open",
        "1 while a remote embedding model is left alone because it failed again and again, else 0.",
        &["model"],
    )
});

/// The metrics of one model.
pub(super) struct RemoteMetrics {
    model: String,
    duration: Histogram,
    tokens: IntCounter,
    circuit_open: IntGauge,
}

impl RemoteMetrics {
    /// All at 0.
    pub(super) fn of(id: &ModelId) -> Self {
        let model = id.to_string();
        for outcome in OUTCOMES {
            REQUESTS.with_label_values(&[model.as_str(), outcome]);
        }
        let circuit_open = CIRCUIT_OPEN.with_label_values(&[&model]);
        circuit_open.set(0);
        Self {
            duration: DURATION.with_label_values(&[&model]),
            tokens: TOKENS.with_label_values(&[&model]),
            circuit_open,
            model,
        }
    }

    pub(super) fn ended(&self, failure: Option<&Failure>, took: Duration) {
        self.count(failure.map_or("done", outcome));
        self.duration.observe(took.as_secs_f64());
    }

    pub(super) fn refused(&self) {
        self.count("not_sent");
    }

    pub(super) fn tokens(&self, read: u64) {
        self.tokens.inc_by(read);
    }

    pub(super) fn circuit(&self, is_open: bool) {
        self.circuit_open.set(i64::from(is_open));
    }

    fn count(&self, outcome: &str) {
        REQUESTS.with_label_values(&[self.model.as_str(), outcome]).inc();
    }
}

fn outcome(failure: &Failure) -> &'static str {
    match failure {
        Failure::CircuitOpen => "not_sent",
        Failure::Call(error) => error.outcome(),
        Failure::Dimensions(_) | Failure::Wrong(_) => "wrong_answer",
    }
}
