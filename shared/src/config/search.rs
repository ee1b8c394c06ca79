//! How people's searches are answered.

use std::{num::NonZeroU32, time::Duration};

use secrecy::SecretString;
use url::Url;

use super::{
    ConfigError, optional,
    remote::{base_address, bearer_token, one_word},
    value_or,
};
use crate::search::DEFAULT_MEMORY_MEGABYTES;

/// Search.
#[derive(Debug, Clone)]
pub struct SearchConfig {
    /// `SEARCH_MEMORY_MEGABYTES`: how much memory search takes for what it remembers of articles, in MiB. Default 192.
    pub memory_megabytes: u32,
    /// `RERANK_BASE_URL` and what belongs to it: a model that puts the best articles in their final order. Default: none.
    pub reranker: Option<RerankerConfig>,
}

/// A reranker behind a server with `/rerank` as Cohere and Jina have it.
#[derive(Debug, Clone)]
pub struct RerankerConfig {
    /// `RERANK_BASE_URL`: the address that `/rerank` is added to, such as `https://api.cohere.com/v2`.
    pub base_url: Url,
    /// `RERANK_API_KEY`: sent as bearer token. Servers of one's own may need none.
    pub api_key: Option<SecretString>,
    /// `RERANK_MODEL`: the model's name, as the server knows it.
    pub model: String,
    /// `RERANK_TIMEOUT_MILLISECONDS`: how long a search waits for it before it answers without. Default 1,000.
    pub timeout: Duration,
    /// `RERANK_CANDIDATES`: how many of the best articles it is asked about, 2 to 100. Default 30.
    pub candidates: usize,
}

const MOST_CANDIDATES: usize = 100;

impl SearchConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            memory_megabytes: value_or("SEARCH_MEMORY_MEGABYTES", DEFAULT_MEMORY_MEGABYTES)?,
            reranker: RerankerConfig::read()?,
        })
    }
}

impl RerankerConfig {
    fn read() -> Result<Option<Self>, ConfigError> {
        let invalid = |variable| move |problem| ConfigError::Invalid { variable, problem };
        let Some(base_url) = optional("RERANK_BASE_URL")? else {
            for variable in ["RERANK_API_KEY", "RERANK_MODEL"] {
                if optional(variable)?.is_some() {
                    return Err(invalid(variable)("it is for RERANK_BASE_URL, which is not set".to_owned()));
                }
            }
            return Ok(None);
        };
        let model = optional("RERANK_MODEL")?.ok_or(ConfigError::Missing {
            variable: "RERANK_MODEL",
            help: "It names the reranker, for example rerank-v3.5 or jina-reranker-v2-base-multilingual.",
        })?;
        let candidates = value_or("RERANK_CANDIDATES", 30)?;
        if !(2..=MOST_CANDIDATES).contains(&candidates) {
            let problem = format!("{candidates} is not between 2 and {MOST_CANDIDATES}");
            return Err(invalid("RERANK_CANDIDATES")(problem));
        }
        let api_key = optional("RERANK_API_KEY")?.map(|key| bearer_token(&key)).transpose();
        let timeout = value_or("RERANK_TIMEOUT_MILLISECONDS", NonZeroU32::new(1_000).unwrap_or(NonZeroU32::MAX))?;
        Ok(Some(Self {
            base_url: base_address(&base_url, "/rerank").map_err(invalid("RERANK_BASE_URL"))?,
            api_key: api_key.map_err(invalid("RERANK_API_KEY"))?,
            model: one_word(&model).map_err(invalid("RERANK_MODEL"))?,
            timeout: Duration::from_millis(u64::from(timeout.get())),
            candidates,
        }))
    }
}
