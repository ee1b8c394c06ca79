//! What calls cost, and what is left of a tenant's day.
//!
//! A call enters the most that it can cost before it is made, in a transaction that no other call of the tenant runs beside, and what
//! it did cost afterwards. So a budget holds, however many calls run at once; a call whose process died counts as the most.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::{
    cost::{Budget, Prices, Usage, Usd},
    error::{BudgetKind, LlmError},
    metrics,
    prompt::Purpose,
    store::{self, Amounts, Ended},
};
use crate::{
    clock::Clock,
    db::{Database, TenantTx},
    tenancy::TenantId,
};

/// The part of a budget from which people are told.
const ALERT_AT: f64 = 0.8;
/// How long the ledger is waited for.
const WITHIN: Duration = Duration::from_secs(5);

/// What a tenant's calls of a day have cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayUsage {
    /// UTC.
    pub day: NaiveDate,
    /// How many there were.
    pub calls: i64,
    /// Those of them without a whole answer: failed, broken off, cancelled or lost.
    pub unfinished_calls: i64,
    /// Those whose tokens the server has not counted.
    pub estimated_calls: i64,
    /// Those that are not in `usd`, because their price is not known.
    pub calls_without_price: i64,
    /// Read.
    pub input_tokens: i64,
    /// Written.
    pub output_tokens: i64,
    /// Money.
    pub usd: Usd,
}

/// What a tenant has used of today.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedToday {
    /// How many calls have ended.
    pub calls: i64,
    /// Those that are not in `usd`, because their price is not known.
    pub calls_without_price: i64,
    /// Tokens, read and written.
    pub tokens: i64,
    /// Money.
    pub usd: Usd,
}

/// What a tenant has used of the day (UTC) that has this moment.
pub async fn used_today(tx: &mut TenantTx, now: DateTime<Utc>) -> Result<UsedToday, sqlx::Error> {
    let used = store::used(tx, now).await?;
    Ok(UsedToday {
        calls: used.calls,
        calls_without_price: used.calls_without_price,
        tokens: used.spent.tokens,
        usd: used.spent.usd,
    })
}

/// What a tenant's calls have cost by day, from `first` to `last`, the latest first; days without any are left out. Calls that run
/// at this moment are in none.
pub async fn usage_by_day(
    tx: &mut TenantTx,
    first: NaiveDate,
    last: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Vec<DayUsage>, sqlx::Error> {
    store::by_day(tx, first, last, now).await
}

/// A call that is to be made.
#[derive(Debug, Clone)]
pub(super) struct NewCall<'a> {
    pub(super) tenant: TenantId,
    pub(super) purpose: Purpose,
    pub(super) answer: Option<Uuid>,
    pub(super) is_own_model: bool,
    pub(super) provider: &'a str,
    pub(super) model: &'a str,
    pub(super) prices: Option<Prices>,
    pub(super) budget: Budget,
}

/// How it has ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct CallEnd {
    pub(super) outcome: &'static str,
    pub(super) usage: Usage,
    pub(super) took: Duration,
    pub(super) first_text: Option<Duration>,
}

/// Keeps the books.
pub(super) struct Ledger {
    database: Database,
    clock: Clock,
    /// The parts of their budgets that tenants had used, by their latest calls here.
    used: Mutex<HashMap<TenantId, (NaiveDate, [f64; 2])>>,
}

impl Ledger {
    pub(super) fn new(database: Database, clock: Clock) -> Self {
        Self { database, clock, used: Mutex::default() }
    }

    /// Enters a call with the most that it can cost, if the budget has that much left.
    pub(super) async fn reserve(&self, call: &NewCall<'_>, worst: Usage) -> Result<Uuid, LlmError> {
        in_time(async {
            let now = self.clock.now();
            let mut tx = self.database.tenant(call.tenant).await?;
            store::lock_budget(&mut tx).await?;
            let used = store::used(&mut tx, now).await?.reserved;
            let usd = call.prices.map(|prices| prices.of(worst));
            let tokens = i64::from(worst.input_tokens) + i64::from(worst.output_tokens);
            let Some(spent) = exceeded(call.budget, used, tokens, usd) else {
                let id = store::begin_call(&mut tx, now, call, worst, usd).await?;
                tx.commit().await?;
                return Ok(id);
            };
            let is_new = store::note_alert(&mut tx, now, spent).await?;
            tx.commit().await?;
            metrics::requested(metrics::owner(call.is_own_model), "over_budget");
            metrics::refused(spent);
            if is_new {
                alert(call, spent, used);
            }
            Err(LlmError::Budget(spent))
        })
        .await
    }

    /// Enters what a call has cost.
    pub(super) async fn settle(&self, call: &NewCall<'_>, id: Uuid, end: CallEnd) {
        let usd = call.prices.map(|prices| prices.of(end.usage));
        metrics::ended(metrics::owner(call.is_own_model), end.usage, usd, end.took, end.first_text);
        let ended = Ended {
            outcome: end.outcome,
            usage: end.usage,
            usd,
            took_ms: milliseconds(end.took),
            first_token_ms: end.first_text.map(milliseconds),
        };
        let settled = in_time(async {
            let now = self.clock.now();
            let mut tx = self.database.tenant(call.tenant).await?;
            store::lock_budget(&mut tx).await?;
            store::end_call(&mut tx, id, &ended).await?;
            let spent = store::used(&mut tx, now).await?.spent;
            let mut alerts = Vec::new();
            for kind in BudgetKind::ALL {
                if part(call.budget, kind, spent) >= ALERT_AT && store::note_alert(&mut tx, now, kind).await? {
                    alerts.push(kind);
                }
            }
            tx.commit().await?;
            self.note_used(call, now.date_naive(), spent);
            for kind in alerts {
                alert(call, kind, spent);
            }
            Ok(())
        });
        if let Err(error) = settled.await {
            let tenant = call.tenant;
            tracing::warn!(%error, %tenant, call = %id, "llm.not_settled: the call counts as the most that it can cost");
        }
    }

    fn note_used(&self, call: &NewCall<'_>, today: NaiveDate, spent: Amounts) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|_, (day, _)| *day == today);
        used.insert(call.tenant, (today, BudgetKind::ALL.map(|kind| part(call.budget, kind, spent))));
        for (place, kind) in BudgetKind::ALL.into_iter().enumerate() {
            metrics::used(kind, used.values().map(|(_, parts)| parts[place]).fold(0.0, f64::max));
        }
    }
}

/// Tells that most of a budget is used, or all of it.
fn alert(call: &NewCall<'_>, budget: BudgetKind, used: Amounts) {
    metrics::alerted(budget);
    let (used_usd, used_tokens) = (used.usd.dollars(), used.tokens);
    let (budget_usd, budget_tokens) = (call.budget.usd.dollars(), call.budget.tokens);
    tracing::warn!(
        tenant = %call.tenant,
        budget = budget.as_str(),
        used_usd,
        budget_usd,
        used_tokens,
        budget_tokens,
        "llm.budget_nearly_spent: at the end of it, answers are composed without the model until midnight UTC"
    );
}

/// The budget that would be exceeded; that of money holds for calls with a price.
fn exceeded(budget: Budget, used: Amounts, tokens: i64, usd: Option<Usd>) -> Option<BudgetKind> {
    if usd.is_some_and(|usd| used.usd + usd > budget.usd) {
        return Some(BudgetKind::Usd);
    }
    let tokens = u64::try_from(used.tokens.saturating_add(tokens)).unwrap_or(u64::MAX);
    (tokens > budget.tokens).then_some(BudgetKind::Tokens)
}

/// How much of a budget is used; of one that allows nothing, all of it.
#[expect(clippy::cast_precision_loss, reason = "a ratio")]
fn part(budget: Budget, kind: BudgetKind, used: Amounts) -> f64 {
    let (used, of) = match kind {
        BudgetKind::Usd => (used.usd.dollars(), budget.usd.dollars()),
        BudgetKind::Tokens => (used.tokens as f64, budget.tokens as f64),
    };
    match (used > 0.0, of > 0.0) {
        (_, true) => used / of,
        (true, false) => 1.0,
        (false, false) => 0.0,
    }
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

/// Whoever waits for an answer is told soon that there is no database.
async fn in_time<T>(asking: impl Future<Output = Result<T, LlmError>>) -> Result<T, LlmError> {
    tokio::time::timeout(WITHIN, asking).await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
}
