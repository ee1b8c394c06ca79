//! Metrics of this process, and their text form for Prometheus.

use prometheus::{
    CounterVec, Encoder as _, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, TextEncoder, core::Collector,
};

/// Tells which release runs.
pub(super) fn tell_version() {
    let name = "helpcenter_build_info";
    gauges(name, "Always 1; the version of the program.", &["version"])
        .with_label_values(&[env!("CARGO_PKG_VERSION")])
        .set(1);
}

/// A counter without labels.
pub fn counter(name: &str, help: &str) -> IntCounter {
    registered(IntCounter::new(name, help), name)
}

/// A counter for each combination of labels.
pub fn counters(name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    registered(IntCounterVec::new(Opts::new(name, help), labels), name)
}

/// A counter of real numbers for each combination of labels.
pub fn float_counters(name: &str, help: &str, labels: &[&str]) -> CounterVec {
    registered(CounterVec::new(Opts::new(name, help), labels), name)
}

/// A gauge without labels.
pub fn gauge(name: &str, help: &str) -> IntGauge {
    registered(IntGauge::new(name, help), name)
}

/// A gauge for each combination of labels.
pub fn gauges(name: &str, help: &str, labels: &[&str]) -> IntGaugeVec {
    registered(IntGaugeVec::new(Opts::new(name, help), labels), name)
}

/// A gauge of real numbers, without labels.
pub fn float_gauge(name: &str, help: &str) -> Gauge {
    registered(Gauge::new(name, help), name)
}

/// A gauge of real numbers for each combination of labels.
pub fn float_gauges(name: &str, help: &str, labels: &[&str]) -> GaugeVec {
    registered(GaugeVec::new(Opts::new(name, help), labels), name)
}

/// A histogram for each combination of labels; `buckets` are upper bounds in the unit that the name ends with.
pub fn histograms(name: &str, help: &str, labels: &[&str], buckets: &[f64]) -> HistogramVec {
    registered(HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets.to_vec()), labels), name)
}

/// A histogram without labels.
pub fn histogram(name: &str, help: &str, buckets: &[f64]) -> Histogram {
    registered(Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec())), name)
}

/// Everything that was counted so far, in Prometheus' text format 0.0.4.
pub fn render() -> Vec<u8> {
    let mut text = Vec::new();
    if let Err(error) = TextEncoder::new().encode(&prometheus::gather(), &mut text) {
        tracing::error!(%error, "telemetry.metrics.not_encoded");
    }
    text
}

/// Names are literals of this crate: a bad or doubled one is found by the first test that touches it.
#[expect(clippy::panic, reason = "a wrong literal, found by the first test that touches it")]
fn registered<M: Collector + Clone + 'static>(metric: prometheus::Result<M>, name: &str) -> M {
    match metric.and_then(|metric| prometheus::register(Box::new(metric.clone())).map(|()| metric)) {
        Ok(metric) => metric,
        Err(error) => panic!("metric {name}: {error}"),
    }
}
