//! What a tenant's admins set: a model of their own, and budgets.

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use url::Url;

use super::{
    Llm,
    cost::{Budget, Prices, Usd},
    store::{self, StoredSettings},
};
use crate::{
    audit,
    config::{
        COMPLETIONS, OPENAI,
        remote::{base_address, bearer_token, one_word},
    },
    db::TenantTx,
};

/// The column of keys, which they are encrypted for.
pub(super) const KEY_COLUMN: &str = "llm_settings.api_key";
/// Keys have no more; OpenAI's have up to 200.
const LONGEST_KEY: usize = 1_000;
const LONGEST_ADDRESS: usize = 2_000;
/// A key this long can show its end.
const SHOWS_ITS_END: usize = 16;

/// What writes answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provider {
    /// No model: sentences that were found.
    Extractive,
    /// A model behind an OpenAI-compatible server.
    OpenAi,
}

impl Provider {
    /// As it is called in settings and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Extractive => "extractive",
            Self::OpenAi => "openai",
        }
    }

    /// By its name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Extractive, Self::OpenAi].into_iter().find(|provider| provider.as_str() == name)
    }
}

/// What a tenant has set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LlmSettings {
    /// `None`: the deployment's.
    pub provider: Option<Provider>,
    /// Of the model's server.
    pub base_url: Option<String>,
    /// The model's name there.
    pub model: Option<String>,
    /// The last characters of the server's key, at most four; empty for a short one. `None`: there is no key.
    pub api_key_end: Option<String>,
    /// `None`: not known.
    pub prices: Option<Prices>,
    /// `None`: the deployment's.
    pub daily_budget_usd: Option<Usd>,
    /// `None`: the deployment's.
    pub daily_budget_tokens: Option<u64>,
}

/// What follows from the settings of a tenant and of the deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// What writes answers.
    pub provider: Provider,
    /// The model's name.
    pub model: Option<String>,
    /// Whether the model is the tenant's own.
    pub is_own_model: bool,
    /// Whether it is known what calls cost.
    pub has_prices: bool,
    /// What may be spent in a day.
    pub budget: Budget,
}

/// What a tenant's admin wants to set, in place of everything that was set.
#[derive(Debug, Clone, Default)]
pub struct NewLlmSettings {
    /// `None`: the deployment's.
    pub provider: Option<Provider>,
    /// With [`Provider::OpenAi`] only; OpenAI's when left out.
    pub base_url: Option<String>,
    /// With [`Provider::OpenAi`] only, where it is needed.
    pub model: Option<String>,
    /// With [`Provider::OpenAi`] only. `None` keeps the key that there is, `Some(None)` removes it.
    pub api_key: Option<Option<SecretString>>,
    /// US dollars per million tokens read.
    pub price_input: Option<f64>,
    /// US dollars per million tokens written.
    pub price_output: Option<f64>,
    /// US dollars.
    pub daily_budget_usd: Option<f64>,
    /// Tokens.
    pub daily_budget_tokens: Option<i64>,
}

/// Settings that were looked at: [`Llm::checked`].
#[derive(Debug, Clone)]
pub struct CheckedSettings {
    stored: StoredSettings,
    address: Option<Url>,
    api_key: Option<Option<SecretString>>,
}

/// Why settings were not taken over.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// What was asked for cannot be; the message names the field.
    #[error("{0}")]
    Invalid(String),
    /// The deployment lacks what it takes.
    #[error("{0}")]
    NotPossible(&'static str),
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

fn invalid(field: &str, problem: impl std::fmt::Display) -> SettingsError {
    SettingsError::Invalid(format!("`{field}`: {problem}."))
}

impl Llm {
    /// What the tenant has set.
    pub async fn settings(&self, tx: &mut TenantTx) -> Result<LlmSettings, sqlx::Error> {
        Ok(store::settings(tx).await?.as_ref().map(shown).unwrap_or_default())
    }

    /// Looks at new settings, and where their address leads; that may take some seconds, for which no transaction should be open.
    pub async fn checked(&self, new: NewLlmSettings) -> Result<CheckedSettings, SettingsError> {
        let checked = checked(new)?;
        if let Some(address) = &checked.address {
            self.inner.outbound.check(address).await.map_err(|problem| invalid("base_url", problem))?;
        }
        Ok(checked)
    }

    /// Takes new settings over. The key of a server is kept for that server only: whoever may not read it could else have it sent to
    /// another one.
    pub async fn put_settings(
        &self,
        tx: &mut TenantTx,
        actor: &str,
        new: CheckedSettings,
        now: DateTime<Utc>,
    ) -> Result<LlmSettings, SettingsError> {
        let mut stored = new.stored;
        match new.api_key {
            Some(Some(key)) => {
                let Some(secrets) = &self.inner.secrets else {
                    return Err(SettingsError::NotPossible(
                        "Keys cannot be kept here: the deployment has no SECRETS_KEY. Ask its operator to set one, or use a \
                         model that needs no key.",
                    ));
                };
                stored.api_key = Some(secrets.seal(tx.tenant(), KEY_COLUMN, &key));
                stored.api_key_end = Some(end_of(key.expose_secret()));
            }
            Some(None) => {}
            None => {
                let present = store::settings(tx).await?.unwrap_or_default();
                if present.api_key.is_some() && stored.base_url.is_some() {
                    if present.base_url != stored.base_url {
                        return Err(invalid(
                            "api_key",
                            "give the key anew, or null: the present one is for another address and is not sent to this one",
                        ));
                    }
                    (stored.api_key, stored.api_key_end) = (present.api_key, present.api_key_end);
                }
            }
        }
        store::put_settings(tx, now, &stored).await?;
        let settings = shown(&stored);
        let details = json!({
            "provider": settings.provider.map(Provider::as_str),
            "base_url": settings.base_url,
            "model": settings.model,
            "has_api_key": settings.api_key_end.is_some(),
            "price_input": settings.prices.map(|prices| prices.input.dollars()),
            "price_output": settings.prices.map(|prices| prices.output.dollars()),
            "daily_budget_usd": settings.daily_budget_usd.map(Usd::dollars),
            "daily_budget_tokens": settings.daily_budget_tokens,
        });
        audit::record_with(tx, actor, "language_model.changed", "language_model", &details).await?;
        Ok(settings)
    }

    /// What follows from a tenant's settings.
    pub fn in_use(&self, settings: &LlmSettings) -> InUse {
        let is_own_model = settings.provider == Some(Provider::OpenAi);
        let deployments = self.inner.deployment.as_ref().filter(|_| settings.provider.is_none());
        let budget = self.budget(is_own_model, settings.daily_budget_usd, settings.daily_budget_tokens);
        InUse {
            provider: if is_own_model || deployments.is_some() { Provider::OpenAi } else { Provider::Extractive },
            model: settings.model.clone().or_else(|| deployments.map(|server| server.model.clone())),
            is_own_model,
            has_prices: settings.prices.is_some() || deployments.is_some_and(|server| server.prices.is_some()),
            budget,
        }
    }

    /// What a tenant may spend: what it has set; of the operator's money, no more than the operator has.
    pub(super) fn budget(&self, is_own_model: bool, usd: Option<Usd>, tokens: Option<u64>) -> Budget {
        let most = self.inner.budget;
        let budget = Budget { usd: usd.unwrap_or(most.usd), tokens: tokens.unwrap_or(most.tokens) };
        if is_own_model {
            return budget;
        }
        Budget { usd: budget.usd.min(most.usd), tokens: budget.tokens.min(most.tokens) }
    }
}

fn shown(stored: &StoredSettings) -> LlmSettings {
    LlmSettings {
        provider: stored.provider.as_deref().and_then(Provider::from_name),
        base_url: stored.base_url.clone(),
        model: stored.model.clone(),
        api_key_end: stored.api_key_end.clone(),
        prices: stored.prices,
        daily_budget_usd: stored.daily_budget_usd,
        daily_budget_tokens: stored.daily_budget_tokens.map(|tokens| u64::try_from(tokens).unwrap_or_default()),
    }
}

fn checked(new: NewLlmSettings) -> Result<CheckedSettings, SettingsError> {
    let dollars = |field, amount: Option<f64>| {
        let wrong = || invalid(field, "it must be an amount of US dollars from 0 to 1000000");
        amount.map(|amount| Usd::from_dollars(amount).ok_or_else(wrong)).transpose()
    };
    let mut stored = StoredSettings {
        provider: new.provider.map(|provider| provider.as_str().to_owned()),
        daily_budget_usd: dollars("daily_budget_usd", new.daily_budget_usd)?,
        daily_budget_tokens: new.daily_budget_tokens,
        ..StoredSettings::default()
    };
    if new.daily_budget_tokens.is_some_and(|tokens| !(0..=1_000_000_000_000).contains(&tokens)) {
        return Err(invalid("daily_budget_tokens", "it must be from 0 to 1000000000000"));
    }
    if new.provider != Some(Provider::OpenAi) {
        for (field, is_given) in [
            ("base_url", new.base_url.is_some()),
            ("model", new.model.is_some()),
            ("api_key", new.api_key.flatten().is_some()),
            ("price_input", new.price_input.is_some()),
            ("price_output", new.price_output.is_some()),
        ] {
            if is_given {
                return Err(invalid(field, "it is for the provider `openai`"));
            }
        }
        return Ok(CheckedSettings { stored, address: None, api_key: Some(None) });
    }
    let address = new.base_url.as_deref().unwrap_or(OPENAI);
    if address.len() > LONGEST_ADDRESS {
        return Err(invalid("base_url", format!("it may have at most {LONGEST_ADDRESS} bytes")));
    }
    let address = base_address(address, COMPLETIONS).map_err(|problem| invalid("base_url", problem))?;
    let model = new.model.as_deref().map(str::trim).filter(|model| !model.is_empty());
    let model = model.ok_or_else(|| invalid("model", "the provider `openai` needs the name of a model"))?;
    stored.model = Some(one_word(model).map_err(|problem| invalid("model", problem))?);
    stored.base_url = Some(address.as_str().trim_end_matches('/').to_owned());
    stored.prices = match (dollars("price_input", new.price_input)?, dollars("price_output", new.price_output)?) {
        (Some(input), Some(output)) => Some(Prices { input, output }),
        (None, None) => None,
        (input, _) => {
            let missing = if input.is_none() { "price_input" } else { "price_output" };
            return Err(invalid(missing, "give both prices, or neither"));
        }
    };
    let api_key = match new.api_key {
        Some(Some(key)) => {
            let key = bearer_token(key.expose_secret()).map_err(|problem| invalid("api_key", problem))?;
            if !(1..=LONGEST_KEY).contains(&key.expose_secret().len()) {
                return Err(invalid("api_key", format!("it must have 1 to {LONGEST_KEY} characters; null removes it")));
            }
            Some(Some(key))
        }
        other => other,
    };
    Ok(CheckedSettings { stored, address: Some(address), api_key })
}

/// What may be shown of a key. It is ASCII.
fn end_of(key: &str) -> String {
    if key.len() < SHOWS_ITS_END { String::new() } else { key[key.len() - 4..].to_owned() }
}
