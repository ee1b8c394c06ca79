//! Which language model writes answers, how long it is waited for, and what it may cost.

use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::{
    ConfigError, optional, parsed,
    remote::{base_address, bearer_token, one_word},
    seconds_or, value_or,
};
use crate::{
    llm::{Budget, Prices, Usd},
    outbound::AllowedHost,
};

/// Language models.
#[derive(Debug, Clone)]
pub struct LlmConfig {
    /// `LLM_PROVIDER` and what belongs to it: the model of tenants that have none of their own. `extractive`, the default, is
    /// none: answers are composed of sentences that were found.
    pub model: Option<LlmModelConfig>,
    /// How long models are waited for, and how much they read and write.
    pub limits: LlmLimits,
    /// `LLM_DAILY_BUDGET_USD` (default 5) and `LLM_DAILY_BUDGET_TOKENS` (default 1,000,000): what a tenant may spend in a day (UTC).
    pub budget: Budget,
    /// `LLM_ALLOWED_HOSTS`: hosts, separated by commas, each with a port where it is that port only, that models of tenants' own
    /// may be on although their addresses are private, and by plain HTTP. Default: none.
    pub allowed_hosts: Vec<AllowedHost>,
}

/// A model behind a server with OpenAI's `/v1/chat/completions`.
#[derive(Debug, Clone)]
pub struct LlmModelConfig {
    /// `LLM_BASE_URL`: the address that `/chat/completions` is added to. Default `https://api.openai.com/v1`.
    pub base_url: Url,
    /// `LLM_API_KEY`: sent as bearer token. Servers of one's own may need none; OpenAI's does.
    pub api_key: Option<SecretString>,
    /// `LLM_MODEL`: the model's name, as the server knows it.
    pub model: String,
    /// `LLM_PRICE_INPUT` and `LLM_PRICE_OUTPUT`: USD per million tokens. Unset: what calls cost is not known, and only the budget
    /// of tokens holds.
    pub prices: Option<Prices>,
}

/// How long models are waited for, and how much they read and write.
#[derive(Debug, Clone, Copy)]
pub struct LlmLimits {
    /// `LLM_FIRST_TOKEN_TIMEOUT_SECONDS`: until the first text of an attempt. Default 15.
    pub first_token: Duration,
    /// `LLM_IDLE_TIMEOUT_SECONDS`: from one piece of text to the next. Default 10.
    pub idle: Duration,
    /// `LLM_TIMEOUT_SECONDS`: for a whole call, all its attempts included, at most 300. Default 60.
    pub total: Duration,
    /// `LLM_MAX_OUTPUT_TOKENS`: how long an answer may be, 16 to 100,000. Default 800.
    pub max_output_tokens: u32,
    /// `LLM_CONTEXT_TOKENS`: how much text prompts are made of, 500 to 1,000,000. Default 6,000.
    pub context_tokens: u32,
}

/// The address of OpenAI's own API.
pub(crate) const OPENAI: &str = "https://api.openai.com/v1";
/// What is added to the address of a server.
pub(crate) const COMPLETIONS: &str = "/chat/completions";
/// Calls that take longer were lost: see [`crate::llm::ledger`].
const LONGEST_CALL: Duration = Duration::from_secs(300);

impl LlmConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        let allowed_hosts = optional("LLM_ALLOWED_HOSTS")?.unwrap_or_default();
        let allowed_hosts = allowed_hosts.split(',').filter(|host| !host.trim().is_empty()).map(str::parse);
        Ok(Self {
            model: LlmModelConfig::read()?,
            limits: LlmLimits::read()?,
            budget: Budget {
                usd: value_or("LLM_DAILY_BUDGET_USD", Usd::from_micros(5_000_000))?,
                tokens: value_or("LLM_DAILY_BUDGET_TOKENS", 1_000_000)?,
            },
            allowed_hosts: allowed_hosts.collect::<Result<_, _>>().map_err(invalid("LLM_ALLOWED_HOSTS"))?,
        })
    }
}

impl LlmModelConfig {
    fn read() -> Result<Option<Self>, ConfigError> {
        match optional("LLM_PROVIDER")?.as_deref() {
            Some("openai") => {}
            None | Some("extractive") => {
                // Whoever sets these means `openai`, and answers would not be written by what they think.
                for variable in ["LLM_BASE_URL", "LLM_API_KEY", "LLM_MODEL", "LLM_PRICE_INPUT", "LLM_PRICE_OUTPUT"] {
                    if optional(variable)?.is_some() {
                        return Err(invalid(variable)("it is for `LLM_PROVIDER=openai`, which is not set".to_owned()));
                    }
                }
                return Ok(None);
            }
            Some(other) => {
                return Err(invalid("LLM_PROVIDER")(format!(
                    "`{other}` is not a provider; the legal values are `extractive` and `openai`"
                )));
            }
        }
        let base_url = optional("LLM_BASE_URL")?;
        let api_key = optional("LLM_API_KEY")?.map(|key| bearer_token(&key)).transpose();
        let api_key = api_key.map_err(invalid("LLM_API_KEY"))?;
        if base_url.is_none() && api_key.is_none() {
            return Err(ConfigError::Missing {
                variable: "LLM_API_KEY",
                help: "OpenAI wants a key. For a server of your own that needs none, set LLM_BASE_URL.",
            });
        }
        let model = optional("LLM_MODEL")?.ok_or(ConfigError::Missing {
            variable: "LLM_MODEL",
            help: "It names the language model, for example gpt-4o-mini.",
        })?;
        let prices = match (parsed("LLM_PRICE_INPUT")?, parsed("LLM_PRICE_OUTPUT")?) {
            (Some(input), Some(output)) => Some(Prices { input, output }),
            (None, None) => None,
            (input, _) => {
                let variable = if input.is_none() { "LLM_PRICE_INPUT" } else { "LLM_PRICE_OUTPUT" };
                return Err(ConfigError::Missing { variable, help: "Set both prices, or neither." });
            }
        };
        let base_url = base_address(base_url.as_deref().unwrap_or(OPENAI), COMPLETIONS);
        Ok(Some(Self {
            base_url: base_url.map_err(invalid("LLM_BASE_URL"))?,
            api_key,
            model: one_word(&model).map_err(invalid("LLM_MODEL"))?,
            prices,
        }))
    }
}

impl LlmLimits {
    fn read() -> Result<Self, ConfigError> {
        let total = seconds_or("LLM_TIMEOUT_SECONDS", 60)?;
        if total > LONGEST_CALL {
            let problem = format!("it must be at most {} seconds", LONGEST_CALL.as_secs());
            return Err(invalid("LLM_TIMEOUT_SECONDS")(problem));
        }
        Ok(Self {
            first_token: seconds_or("LLM_FIRST_TOKEN_TIMEOUT_SECONDS", 15)?,
            idle: seconds_or("LLM_IDLE_TIMEOUT_SECONDS", 10)?,
            total,
            max_output_tokens: between("LLM_MAX_OUTPUT_TOKENS", 800, 16, 100_000)?,
            context_tokens: between("LLM_CONTEXT_TOKENS", 6_000, 500, 1_000_000)?,
        })
    }
}

fn between(variable: &'static str, default: u32, least: u32, most: u32) -> Result<u32, ConfigError> {
    let value = value_or(variable, default)?;
    if (least..=most).contains(&value) {
        return Ok(value);
    }
    Err(invalid(variable)(format!("{value} is not between {least} and {most}")))
}

fn invalid(variable: &'static str) -> impl Fn(String) -> ConfigError {
    move |problem| ConfigError::Invalid { variable, problem }
}
