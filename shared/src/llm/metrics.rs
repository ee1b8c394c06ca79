//! What is counted of calls to language models. Tenants name models as they like, so labels say whose model it is, not which.

use std::{sync::LazyLock, time::Duration};

use prometheus::{CounterVec, GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec};

use super::{
    cost::{Usage, Usd},
    error::BudgetKind,
};
use crate::telemetry::metrics::{counters, float_counters, float_gauges, gauges, histograms};

/// How requests end; of these, calls in the ledger never have `over_budget`.
pub(super) const OUTCOMES: [&str; 12] = [
    "done",
    "rate_limited",
    "failed",
    "refused",
    "timed_out",
    "unreachable",
    "wrong_answer",
    "not_sent",
    "over_budget",
    "cut",
    "empty",
    "cancelled",
];
/// Whose models there are.
const OWNERS: [&str; 2] = ["deployment", "tenant"];
const FIRST_TEXT_BUCKETS: &[f64] = &[0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 10.0, 15.0, 30.0];
const DURATION_BUCKETS: &[f64] = &[0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0, 120.0];

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_llm_requests_total",
        "Requests to language models by how they ended; `not_sent` were refused while the circuit was open, `over_budget` because \
         the tenant's budget was spent.",
        &["owner", "outcome"],
    )
});
static FIRST_TEXT: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_llm_first_token_seconds",
        "From a call's first request to its first text, attempts that failed included.",
        &["owner"],
        FIRST_TEXT_BUCKETS,
    )
});
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_llm_duration_seconds",
        "How long calls to language models took to their end, whatever it was.",
        &["owner"],
        DURATION_BUCKETS,
    )
});
static TOKENS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_llm_tokens_total",
        "Tokens that language models read (`input`) and wrote (`output`).",
        &["owner", "direction"],
    )
});
static SPENT: LazyLock<CounterVec> = LazyLock::new(|| {
    float_counters(
        "helpcenter_llm_usd_total",
        "What calls to language models cost, where prices are known.",
        &["owner"],
    )
});
static CIRCUIT_OPEN: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges(
        "helpcenter_llm_circuit_open",
        "How many language models are left alone because they failed again and again.",
        &["owner"],
    )
});
static REFUSALS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_llm_budget_refusals_total",
        "Calls to language models that were not made because a tenant's daily budget was spent.",
        &["budget"],
    )
});
static ALERTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_llm_budget_alerts_total",
        "Tenants that have used 80 % of a daily budget, once a day each.",
        &["budget"],
    )
});
static USED: LazyLock<GaugeVec> = LazyLock::new(|| {
    float_gauges(
        "helpcenter_llm_budget_used_ratio",
        "The largest part of its daily budget that a tenant had used when a call of it ended here, today.",
        &["budget"],
    )
});

/// All of them at 0, so that they are there from the beginning.
pub(super) fn prepare() {
    for owner in OWNERS {
        for outcome in OUTCOMES {
            REQUESTS.with_label_values(&[owner, outcome]);
        }
        for direction in ["input", "output"] {
            TOKENS.with_label_values(&[owner, direction]);
        }
        FIRST_TEXT.with_label_values(&[owner]);
        DURATION.with_label_values(&[owner]);
        SPENT.with_label_values(&[owner]);
        CIRCUIT_OPEN.with_label_values(&[owner]);
    }
    for budget in BudgetKind::ALL {
        REFUSALS.with_label_values(&[budget.as_str()]);
        ALERTS.with_label_values(&[budget.as_str()]);
        USED.with_label_values(&[budget.as_str()]);
    }
}

/// Whose model it is, as a label.
pub(super) fn owner(is_own: bool) -> &'static str {
    OWNERS[usize::from(is_own)]
}

pub(super) fn requested(owner: &str, outcome: &str) {
    REQUESTS.with_label_values(&[owner, outcome]).inc();
}

pub(super) fn ended(owner: &str, usage: Usage, usd: Option<Usd>, took: Duration, first_text: Option<Duration>) {
    DURATION.with_label_values(&[owner]).observe(took.as_secs_f64());
    if let Some(first_text) = first_text {
        FIRST_TEXT.with_label_values(&[owner]).observe(first_text.as_secs_f64());
    }
    TOKENS.with_label_values(&[owner, "input"]).inc_by(usage.input_tokens.into());
    TOKENS.with_label_values(&[owner, "output"]).inc_by(usage.output_tokens.into());
    SPENT.with_label_values(&[owner]).inc_by(usd.unwrap_or_default().dollars());
}

/// A circuit has opened (1) or closed (-1).
pub(super) fn circuits(owner: &str, more: i64) {
    CIRCUIT_OPEN.with_label_values(&[owner]).add(more);
}

pub(super) fn refused(budget: BudgetKind) {
    REFUSALS.with_label_values(&[budget.as_str()]).inc();
}

pub(super) fn alerted(budget: BudgetKind) {
    ALERTS.with_label_values(&[budget.as_str()]).inc();
}

pub(super) fn used(budget: BudgetKind, ratio: f64) {
    USED.with_label_values(&[budget.as_str()]).set(ratio);
}
