//! The SQL of the ledger and of tenants' settings.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    cost::{Prices, Usage, Usd},
    error::BudgetKind,
    ledger::{DayUsage, NewCall},
};
use crate::db::TenantTx;

/// Calls of which nothing was heard for so long were lost with their process; none takes longer (`LLM_TIMEOUT_SECONDS`).
const LOST_AFTER: TimeDelta = TimeDelta::minutes(10);

/// What a tenant has used of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Used {
    /// Calls that have ended.
    pub(super) spent: Amounts,
    /// Those, and what others may cost that have not.
    pub(super) reserved: Amounts,
    pub(super) calls: i64,
    pub(super) calls_without_price: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amounts {
    pub(super) tokens: i64,
    pub(super) usd: Usd,
}

/// What a tenant's settings are stored as.
#[derive(Debug, Clone, Default)]
pub(super) struct StoredSettings {
    pub(super) version: Uuid,
    pub(super) provider: Option<String>,
    pub(super) base_url: Option<String>,
    pub(super) model: Option<String>,
    pub(super) api_key: Option<Vec<u8>>,
    pub(super) api_key_end: Option<String>,
    pub(super) prices: Option<Prices>,
    pub(super) daily_budget_usd: Option<Usd>,
    pub(super) daily_budget_tokens: Option<i64>,
}

/// Makes the tenant's calls wait for each other, until the end of the transaction.
pub(super) async fn lock_budget(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let name = format!("llm budget {}", tx.tenant());
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended($1, 0))", name).execute(tx.connection()).await?;
    Ok(())
}

/// What the day (UTC) that has this moment has cost so far.
pub(super) async fn used(tx: &mut TenantTx, now: DateTime<Utc>) -> Result<Used, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (begin, end) = bounds(now.date_naive(), now.date_naive());
    let row = sqlx::query!(
        r#"select coalesce(sum(input_tokens::bigint + output_tokens), 0)::bigint as "reserved_tokens!",
                  (coalesce(sum(usd), 0) * 1000000)::bigint as "reserved_usd!",
                  coalesce(sum(input_tokens::bigint + output_tokens) filter (where has_ended), 0)::bigint as "spent_tokens!",
                  (coalesce(sum(usd) filter (where has_ended), 0) * 1000000)::bigint as "spent_usd!",
                  count(*) filter (where has_ended) as "calls!",
                  count(*) filter (where has_ended and usd is null) as "calls_without_price!"
           from llm_usage cross join lateral (select outcome is not null or at < $4 as has_ended)
           where tenant_id = $1 and at >= $2 and at < $3"#,
        tenant,
        begin,
        end,
        now - LOST_AFTER
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(Used {
        spent: Amounts { tokens: row.spent_tokens, usd: Usd::from_micros(row.spent_usd) },
        reserved: Amounts { tokens: row.reserved_tokens, usd: Usd::from_micros(row.reserved_usd) },
        calls: row.calls,
        calls_without_price: row.calls_without_price,
    })
}

/// Enters a call with the most that it can cost.
pub(super) async fn begin_call(
    tx: &mut TenantTx,
    now: DateTime<Utc>,
    call: &NewCall<'_>,
    worst: Usage,
    usd: Option<Usd>,
) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into llm_usage (tenant_id, purpose, answer_id, is_own_model, provider, model, at,
                                input_tokens, output_tokens, is_estimated, usd)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, true, $10::bigint / 1000000::numeric) returning id",
        tenant,
        call.purpose.as_str(),
        call.answer,
        call.is_own_model,
        call.provider,
        call.model,
        now,
        whole(worst.input_tokens),
        whole(worst.output_tokens),
        usd.map(Usd::micros)
    )
    .fetch_one(tx.connection())
    .await
}

/// How a call has ended.
pub(super) struct Ended<'a> {
    pub(super) outcome: &'a str,
    pub(super) usage: Usage,
    pub(super) usd: Option<Usd>,
    pub(super) took_ms: i32,
    pub(super) first_token_ms: Option<i32>,
}

/// Enters how a call has ended, in place of the most that it could cost.
pub(super) async fn end_call(tx: &mut TenantTx, id: Uuid, ended: &Ended<'_>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update llm_usage
         set outcome = $3, input_tokens = $4, output_tokens = $5, is_estimated = $6, usd = $7::bigint / 1000000::numeric,
             took_ms = $8, first_token_ms = $9
         where tenant_id = $1 and id = $2 and outcome is null",
        tenant,
        id,
        ended.outcome,
        whole(ended.usage.input_tokens),
        whole(ended.usage.output_tokens),
        ended.usage.is_estimated,
        ended.usd.map(Usd::micros),
        ended.took_ms,
        ended.first_token_ms
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Notes that most of the day's budget is used; whether that was not noted before.
pub(super) async fn note_alert(tx: &mut TenantTx, now: DateTime<Utc>, budget: BudgetKind) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let done = sqlx::query!(
        "insert into llm_budget_alerts (tenant_id, day, budget, at) values ($1, $2, $3, $4) on conflict do nothing",
        tenant,
        now.date_naive(),
        budget.as_str(),
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Calls by day (UTC), the latest day first; days without any are left out.
pub(super) async fn by_day(
    tx: &mut TenantTx,
    first: NaiveDate,
    last: NaiveDate,
    now: DateTime<Utc>,
) -> Result<Vec<DayUsage>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (begin, end) = bounds(first, last);
    let rows = sqlx::query!(
        r#"select (at at time zone 'UTC')::date as "day!", count(*) as "calls!",
                  count(*) filter (where outcome is distinct from 'done') as "unfinished_calls!",
                  count(*) filter (where is_estimated) as "estimated_calls!",
                  count(*) filter (where usd is null) as "calls_without_price!",
                  sum(input_tokens)::bigint as "input_tokens!", sum(output_tokens)::bigint as "output_tokens!",
                  (coalesce(sum(usd), 0) * 1000000)::bigint as "usd!"
           from llm_usage
           where tenant_id = $1 and at >= $2 and at < $3 and (outcome is not null or at < $4)
           group by 1 order by 1 desc"#,
        tenant,
        begin,
        end,
        now - LOST_AFTER
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| DayUsage {
            day: row.day,
            calls: row.calls,
            unfinished_calls: row.unfinished_calls,
            estimated_calls: row.estimated_calls,
            calls_without_price: row.calls_without_price,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            usd: Usd::from_micros(row.usd),
        })
        .collect())
}

/// What the tenant has set; `None`: nothing.
pub(super) async fn settings(tx: &mut TenantTx) -> Result<Option<StoredSettings>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"select version, provider, base_url, model, api_key, api_key_end, (price_input * 1000000)::bigint as price_input,
                  (price_output * 1000000)::bigint as price_output, (daily_budget_usd * 1000000)::bigint as daily_budget_usd,
                  daily_budget_tokens
           from llm_settings where tenant_id = $1"#,
        tenant
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| StoredSettings {
        version: row.version,
        provider: row.provider,
        base_url: row.base_url,
        model: row.model,
        api_key: row.api_key,
        api_key_end: row.api_key_end,
        prices: row
            .price_input
            .zip(row.price_output)
            .map(|(input, output)| Prices { input: Usd::from_micros(input), output: Usd::from_micros(output) }),
        daily_budget_usd: row.daily_budget_usd.map(Usd::from_micros),
        daily_budget_tokens: row.daily_budget_tokens,
    }))
}

/// Keeps what the tenant has set, under a version of its own.
pub(super) async fn put_settings(
    tx: &mut TenantTx,
    now: DateTime<Utc>,
    new: &StoredSettings,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (input, output) = new.prices.map(|prices| (prices.input.micros(), prices.output.micros())).unzip();
    sqlx::query!(
        "insert into llm_settings (tenant_id, provider, base_url, model, api_key, api_key_end, price_input, price_output,
                                   daily_budget_usd, daily_budget_tokens, updated_at)
         values ($1, $2, $3, $4, $5, $6, $7::bigint / 1000000::numeric, $8::bigint / 1000000::numeric,
                 $9::bigint / 1000000::numeric, $10, $11)
         on conflict (tenant_id) do update set
             version = uuidv7(), provider = excluded.provider, base_url = excluded.base_url, model = excluded.model,
             api_key = excluded.api_key, api_key_end = excluded.api_key_end, price_input = excluded.price_input,
             price_output = excluded.price_output, daily_budget_usd = excluded.daily_budget_usd,
             daily_budget_tokens = excluded.daily_budget_tokens, updated_at = excluded.updated_at",
        tenant,
        new.provider,
        new.base_url,
        new.model,
        new.api_key,
        new.api_key_end,
        input,
        output,
        new.daily_budget_usd.map(Usd::micros),
        new.daily_budget_tokens,
        now
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// From the beginning of the first day to the end of the last.
fn bounds(first: NaiveDate, last: NaiveDate) -> (DateTime<Utc>, DateTime<Utc>) {
    let midnight = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc();
    (midnight(first), last.succ_opt().map_or(DateTime::<Utc>::MAX_UTC, midnight))
}

/// As PostgreSQL counts.
fn whole(tokens: u32) -> i32 {
    i32::try_from(tokens).unwrap_or(i32::MAX)
}
