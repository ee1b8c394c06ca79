//! The language model that writes a tenant's answers, and what it costs.

use std::ops::RangeInclusive;

use actix_web::web::{Data, Json, Query};
use chrono::{Datelike as _, NaiveDate, TimeDelta};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use shared::{
    clock::Clock,
    llm::{DayUsage, InUse, Llm, LlmSettings, NewLlmSettings, Provider, Usd, ledger},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    given,
    refusals::{InvalidBody, InvalidRequest},
};
use crate::{
    Services,
    caller::Admin,
    error::{ApiError, Problem},
};

/// How many days are listed when it is not said which.
const USUAL_DAYS: i64 = 30;
/// Of the days that can be asked for.
const YEARS: RangeInclusive<i32> = 1970..=9999;
/// How many days can be listed at once.
const MOST_DAYS: i64 = 400;

/// The language model: what is set, and what follows from it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LanguageModel {
    /// What writes answers: `extractive`, sentences that were found, or `openai`, a model behind an OpenAI-compatible server; null:
    /// what the deployment has.
    provider: Option<&'static str>,
    /// Of the server of the model of your own.
    base_url: Option<String>,
    /// The name of the model of your own.
    model: Option<String>,
    /// The key for its server.
    api_key: ApiKeyShown,
    /// US dollars per million tokens that it reads; null: not known.
    price_input: Option<f64>,
    /// US dollars per million tokens that it writes.
    price_output: Option<f64>,
    /// US dollars that may be spent in a day (UTC); null: as the deployment has it.
    daily_budget_usd: Option<f64>,
    /// Tokens that may be read and written in a day; null: as the deployment has it.
    daily_budget_tokens: Option<u64>,
    in_use: LanguageModelInUse,
}

/// A key is never shown.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ApiKeyShown {
    is_set: bool,
    /// Its last four characters; null for a short one, and when there is none.
    ends_with: Option<String>,
}

/// What writes answers by now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LanguageModelInUse {
    /// `extractive` or `openai`.
    provider: &'static str,
    /// The model's name; null: there is none.
    model: Option<String>,
    /// Whether it is the one of your own, rather than the deployment's.
    is_own_model: bool,
    /// Whether it is known what calls cost. Else only the budget of tokens holds.
    has_prices: bool,
    /// US dollars that may be spent in a day (UTC). With the deployment's model, no more than the deployment allows.
    daily_budget_usd: f64,
    /// Tokens that may be read and written in a day.
    daily_budget_tokens: u64,
}

/// New settings, in place of all that were set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LanguageModelBody {
    /// `extractive` or `openai`; null: what the deployment has.
    #[schema(example = "openai")]
    provider: Option<String>,
    /// The address that `/chat/completions` is added to, with https. OpenAI's when left out.
    #[schema(example = "https://api.openai.com/v1")]
    base_url: Option<String>,
    /// The model's name, as its server knows it.
    #[schema(example = "gpt-4o-mini")]
    model: Option<String>,
    /// The key for the server. Left out: the key that there is, if the address is the same. Null: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    api_key: Option<Option<String>>,
    /// US dollars per million tokens that the model reads; null: not known.
    price_input: Option<f64>,
    /// US dollars per million tokens that it writes.
    price_output: Option<f64>,
    /// US dollars that may be spent in a day (UTC), 0 to 1,000,000; null: as the deployment has it.
    daily_budget_usd: Option<f64>,
    /// Tokens that may be read and written in a day; null: as the deployment has it.
    daily_budget_tokens: Option<i64>,
}

/// Which days to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct UsageQuery {
    /// The first day (UTC), such as `2026-06-01`; 30 days up to `to` when left out.
    #[param(value_type = Option<String>, format = Date)]
    from: Option<String>,
    /// The last day; today when left out.
    #[param(value_type = Option<String>, format = Date)]
    to: Option<String>,
}

/// What the language model has cost.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct LanguageModelUsage {
    /// The latest day first; days without a call are left out.
    results: Vec<UsageDay>,
    today: UsageToday,
}

/// What the calls of a day have cost. Calls that run at this moment are not counted yet.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageDay {
    /// UTC.
    #[schema(value_type = String, format = Date)]
    day: NaiveDate,
    calls: i64,
    /// Of these, those without a whole answer: failed, broken off or cancelled.
    unfinished_calls: i64,
    /// Of these, those whose tokens the server has not counted, so that they were estimated.
    estimated_calls: i64,
    input_tokens: i64,
    output_tokens: i64,
    /// US dollars, of the calls with a known price.
    usd: f64,
    /// Calls that are not in `usd`, because their price is not known.
    calls_without_price: i64,
}

/// How much of today's budgets is used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UsageToday {
    calls: i64,
    calls_without_price: i64,
    tokens: i64,
    /// Tokens that may be used today.
    daily_budget_tokens: u64,
    /// US dollars, of the calls with a known price.
    usd: f64,
    /// US dollars that may be spent today.
    daily_budget_usd: f64,
}

/// Shows the language model's settings.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/language-model/", tag = "Language model", operation_id = "getLanguageModel",
    responses(
        (status = 200, description = "The settings", body = LanguageModel),
        Admin,
    )
)]
pub(crate) async fn show(services: Data<Services>, Admin(caller): Admin) -> Result<Json<LanguageModel>, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    let settings = services.llm.settings(&mut tx).await?;
    Ok(Json(language_model(&services.llm, settings)))
}

/// Replaces the language model's settings.
#[utoipa::path(
    put, path = "/api/v2/help-center/admin/language-model/", tag = "Language model", operation_id = "setLanguageModel",
    request_body = LanguageModelBody,
    responses(
        (status = 200, description = "The settings as they are now", body = LanguageModel),
        (status = 409, description = "The deployment cannot keep keys", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Admin,
    )
)]
pub(crate) async fn set(
    services: Data<Services>,
    Admin(caller): Admin,
    body: Json<LanguageModelBody>,
) -> Result<Json<LanguageModel>, ApiError> {
    let new = services.llm.checked(new_settings(body.into_inner())?).await?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let settings = services.llm.put_settings(&mut tx, &caller.actor(), new, services.clock.now()).await?;
    tx.commit().await?;
    Ok(Json(language_model(&services.llm, settings)))
}

/// Shows what the language model has cost, by day.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/language-model/usage/", tag = "Language model",
    operation_id = "getLanguageModelUsage",
    params(UsageQuery),
    responses(
        (status = 200, description = "Calls, tokens and money by day", body = LanguageModelUsage),
        InvalidRequest, Admin,
    )
)]
pub(crate) async fn usage(
    services: Data<Services>,
    Admin(caller): Admin,
    query: Query<UsageQuery>,
) -> Result<Json<LanguageModelUsage>, ApiError> {
    let (first, last) = days(&query, &services.clock)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let now = services.clock.now();
    let results = ledger::usage_by_day(&mut tx, first, last, now).await?.into_iter().map(usage_day).collect();
    let used = ledger::used_today(&mut tx, now).await?;
    let budget = services.llm.in_use(&services.llm.settings(&mut tx).await?).budget;
    let today = UsageToday {
        calls: used.calls,
        calls_without_price: used.calls_without_price,
        tokens: used.tokens,
        daily_budget_tokens: budget.tokens,
        usd: used.usd.dollars(),
        daily_budget_usd: budget.usd.dollars(),
    };
    Ok(Json(LanguageModelUsage { results, today }))
}

/// The days that are asked for.
fn days(query: &UsageQuery, clock: &Clock) -> Result<(NaiveDate, NaiveDate), ApiError> {
    let day = |name: &str, text: &Option<String>| {
        let wrong = || ApiError::invalid(format!("`{name}` must be a day, such as `2026-06-01`."));
        let parsed =
            |text: &str| NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().filter(|day| YEARS.contains(&day.year()));
        text.as_deref().map(|text| parsed(text).ok_or_else(wrong)).transpose()
    };
    let last = day("to", &query.to)?.unwrap_or_else(|| clock.now().date_naive());
    let usual = last.checked_sub_signed(TimeDelta::days(USUAL_DAYS - 1)).unwrap_or(last);
    let first = day("from", &query.from)?.unwrap_or(usual);
    if first > last {
        return Err(ApiError::invalid("`from` must not be after `to`."));
    }
    if (last - first).num_days() >= MOST_DAYS {
        return Err(ApiError::invalid(format!("`from` and `to` may be at most {MOST_DAYS} days apart.")));
    }
    Ok((first, last))
}

fn new_settings(body: LanguageModelBody) -> Result<NewLlmSettings, ApiError> {
    let provider = body.provider.as_deref().map(|name| {
        Provider::from_name(name).ok_or_else(|| ApiError::invalid("`provider` must be `extractive`, `openai` or null."))
    });
    Ok(NewLlmSettings {
        provider: provider.transpose()?,
        base_url: body.base_url,
        model: body.model,
        api_key: body.api_key.map(|key| key.map(SecretString::from)),
        price_input: body.price_input,
        price_output: body.price_output,
        daily_budget_usd: body.daily_budget_usd,
        daily_budget_tokens: body.daily_budget_tokens,
    })
}

fn language_model(llm: &Llm, settings: LlmSettings) -> LanguageModel {
    let InUse { provider, model, is_own_model, has_prices, budget } = llm.in_use(&settings);
    let in_use = LanguageModelInUse {
        provider: provider.as_str(),
        model,
        is_own_model,
        has_prices,
        daily_budget_usd: budget.usd.dollars(),
        daily_budget_tokens: budget.tokens,
    };
    LanguageModel {
        provider: settings.provider.map(Provider::as_str),
        base_url: settings.base_url,
        model: settings.model,
        api_key: ApiKeyShown {
            is_set: settings.api_key_end.is_some(),
            ends_with: settings.api_key_end.filter(|end| !end.is_empty()),
        },
        price_input: settings.prices.map(|prices| prices.input.dollars()),
        price_output: settings.prices.map(|prices| prices.output.dollars()),
        daily_budget_usd: settings.daily_budget_usd.map(Usd::dollars),
        daily_budget_tokens: settings.daily_budget_tokens,
        in_use,
    }
}

fn usage_day(day: DayUsage) -> UsageDay {
    UsageDay {
        day: day.day,
        calls: day.calls,
        unfinished_calls: day.unfinished_calls,
        estimated_calls: day.estimated_calls,
        input_tokens: day.input_tokens,
        output_tokens: day.output_tokens,
        usd: day.usd.dollars(),
        calls_without_price: day.calls_without_price,
    }
}
