//! Which embedding model is used, and which one was used before it.

use std::{num::NonZeroUsize, path::PathBuf, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{
    ConfigError, optional, parsed,
    remote::{base_address, bearer_token, one_word},
    seconds_or, value_or,
};

/// The embedding model, and the one whose vectors serve until those of this one are complete.
#[derive(Debug, Clone)]
pub struct EmbeddingConfig {
    /// `EMBEDDING_PROVIDER` and what belongs to it: the model that articles are embedded by.
    pub current: ModelConfig,
    /// `EMBEDDING_PREVIOUS_PROVIDER` and what belongs to it: the same settings, as they were, while a deployment changes its
    /// model. Default: none.
    pub previous: Option<ModelConfig>,
}

/// Where vectors come from.
#[derive(Debug, Clone)]
pub enum ModelConfig {
    /// `local`, the default: all-MiniLM-L6-v2 in this process; no network.
    Local(LocalModelConfig),
    /// `openai`: any server with OpenAI's `/v1/embeddings`.
    OpenAi(OpenAiModelConfig),
}

/// The model in this process; the settings are the same whether it is the current or the previous one.
#[derive(Debug, Clone)]
pub struct LocalModelConfig {
    /// `EMBEDDING_MODEL_DIR`: the folder with the local model's `model.safetensors` and `tokenizer.json`; may be read-only.
    pub model_dir: PathBuf,
    /// `EMBEDDING_THREADS`: threads that the local model computes on for one call at a time; questions of one text have as
    /// many again, so that they need not wait. Default: the cores that this process may use.
    pub threads: Option<NonZeroUsize>,
}

/// A model behind an OpenAI-compatible server. For the previous one each variable has `PREVIOUS_` after `EMBEDDING_`.
#[derive(Debug, Clone)]
pub struct OpenAiModelConfig {
    /// `EMBEDDING_BASE_URL`: the address that `/embeddings` is added to, without a trailing slash. Default
    /// `https://api.openai.com/v1`.
    pub base_url: Url,
    /// `EMBEDDING_API_KEY`: sent as bearer token. Servers of one's own may need none; OpenAI's does.
    pub api_key: Option<SecretString>,
    /// `EMBEDDING_MODEL`: the model's name, as the server knows it.
    pub model: String,
    /// `EMBEDDING_MODEL_VERSION`: to be changed when the server gives other vectors under the same name. Default `1`.
    pub version: String,
    /// `EMBEDDING_TIMEOUT_SECONDS`: how long one request for a batch may take. Default 30. Queries have two seconds.
    pub timeout: Duration,
    /// `EMBEDDING_BATCH`: how many texts one request has at most, 1 to 2,048. Default 32.
    pub batch: usize,
    /// `EMBEDDING_SEND_DIMENSIONS`: whether requests say `dimensions: 384`. Default `true`. For servers that refuse it,
    /// `false`: their model must have 384 dimensions by itself.
    pub send_dimensions: bool,
}

impl EmbeddingConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        let current = ModelConfig::read(&CURRENT)?.map_or_else(ModelConfig::local, Ok)?;
        let previous = ModelConfig::read(&PREVIOUS)?;
        if previous.as_ref().is_some_and(|previous| previous.is_same_as(&current)) {
            return Err(ConfigError::Invalid {
                variable: PREVIOUS.provider,
                problem: "it and what belongs to it name the current model; leave them out, or name the one before"
                    .to_owned(),
            });
        }
        Ok(Self { current, previous })
    }
}

/// The variables of one model.
struct Variables {
    provider: &'static str,
    base_url: &'static str,
    api_key: &'static str,
    model: &'static str,
    version: &'static str,
    timeout: &'static str,
    batch: &'static str,
    send_dimensions: &'static str,
}

const CURRENT: Variables = Variables {
    provider: "EMBEDDING_PROVIDER",
    base_url: "EMBEDDING_BASE_URL",
    api_key: "EMBEDDING_API_KEY",
    model: "EMBEDDING_MODEL",
    version: "EMBEDDING_MODEL_VERSION",
    timeout: "EMBEDDING_TIMEOUT_SECONDS",
    batch: "EMBEDDING_BATCH",
    send_dimensions: "EMBEDDING_SEND_DIMENSIONS",
};

const PREVIOUS: Variables = Variables {
    provider: "EMBEDDING_PREVIOUS_PROVIDER",
    base_url: "EMBEDDING_PREVIOUS_BASE_URL",
    api_key: "EMBEDDING_PREVIOUS_API_KEY",
    model: "EMBEDDING_PREVIOUS_MODEL",
    version: "EMBEDDING_PREVIOUS_MODEL_VERSION",
    timeout: "EMBEDDING_PREVIOUS_TIMEOUT_SECONDS",
    batch: "EMBEDDING_PREVIOUS_BATCH",
    send_dimensions: "EMBEDDING_PREVIOUS_SEND_DIMENSIONS",
};

const OPENAI: &str = "https://api.openai.com/v1";
const MOST_TEXTS: usize = 2_048;

impl ModelConfig {
    /// What the variables say; `None` when they name no provider.
    fn read(variables: &Variables) -> Result<Option<Self>, ConfigError> {
        let provider = optional(variables.provider)?;
        if provider.as_deref() == Some("openai") {
            return OpenAiModelConfig::read(variables).map(|config| Some(Self::OpenAi(config)));
        }
        // Whoever sets these means `openai`, and texts would not go where they think.
        for variable in [variables.base_url, variables.api_key, variables.model] {
            if optional(variable)?.is_some() {
                let problem = format!("it is for `{}=openai`, which is not set", variables.provider);
                return Err(ConfigError::Invalid { variable, problem });
            }
        }
        match provider.as_deref() {
            None => Ok(None),
            Some("local") => Self::local().map(Some),
            Some(other) => Err(ConfigError::Invalid {
                variable: variables.provider,
                problem: format!("`{other}` is not a provider; the legal values are `local` and `openai`"),
            }),
        }
    }

    /// Whether their vectors can be compared.
    fn is_same_as(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Local(_), Self::Local(_)) => true,
            (Self::OpenAi(a), Self::OpenAi(b)) => (&a.model, &a.version) == (&b.model, &b.version),
            (Self::Local(_), Self::OpenAi(_)) | (Self::OpenAi(_), Self::Local(_)) => false,
        }
    }

    fn local() -> Result<Self, ConfigError> {
        Ok(Self::Local(LocalModelConfig {
            model_dir: parsed("EMBEDDING_MODEL_DIR")?.ok_or(ConfigError::Missing {
                variable: "EMBEDDING_MODEL_DIR",
                help: "It names the folder of the embedding model, which `make up` fetches.",
            })?,
            threads: parsed("EMBEDDING_THREADS")?,
        }))
    }
}

impl OpenAiModelConfig {
    fn read(variables: &Variables) -> Result<Self, ConfigError> {
        let invalid = |variable| move |problem| ConfigError::Invalid { variable, problem };
        let base_url = optional(variables.base_url)?;
        let api_key = optional(variables.api_key)?.map(|key| bearer_token(&key)).transpose();
        let api_key = api_key.map_err(invalid(variables.api_key))?;
        if base_url.is_none() && api_key.is_none() {
            return Err(ConfigError::Missing {
                variable: variables.api_key,
                help: "OpenAI wants a key. For a server of your own that needs none, set the base URL.",
            });
        }
        let model = optional(variables.model)?.ok_or(ConfigError::Missing {
            variable: variables.model,
            help: "It names the embedding model, for example text-embedding-3-small.",
        })?;
        let batch = value_or(variables.batch, 32)?;
        if !(1..=MOST_TEXTS).contains(&batch) {
            return Err(invalid(variables.batch)(format!("{batch} is not between 1 and {MOST_TEXTS}")));
        }
        Ok(Self {
            base_url: base_address(base_url.as_deref().unwrap_or(OPENAI), "/embeddings")
                .map_err(invalid(variables.base_url))?,
            api_key,
            model: one_word(&model).map_err(invalid(variables.model))?,
            version: one_word(&value_or(variables.version, "1".to_owned())?).map_err(invalid(variables.version))?,
            timeout: seconds_or(variables.timeout, 30)?,
            batch,
            send_dimensions: value_or(variables.send_dimensions, true)?,
        })
    }
}
