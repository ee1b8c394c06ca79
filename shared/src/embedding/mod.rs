//! Text to vectors.
//!
//! An [`Embedder`] turns texts into [`Embedding`]s: 384 numbers of unit length
//! whose [cosine](Embedding::cosine) says how alike two texts are in meaning.
//! Search stores one per passage and title and compares a question with them.
//!
//! ```no_run
//! # use shared::{config::EmbeddingConfig, embedding::from_config};
//! # async fn example() -> anyhow::Result<()> {
//! let embedders = from_config(&EmbeddingConfig::from_env()?)?;
//! let embedder = embedders.current();
//! let texts = vec!["reset my password".into(), "log in again".into()];
//! let vectors = embedder.embed(texts).await?;
//! println!("{} by {}", vectors[0].cosine(&vectors[1]), embedder.model());
//! # Ok(())
//! # }
//! ```
//!
//! - Vectors of different models must never be compared: store
//!   [`Embedder::model`] beside each vector, and embed again when it changes.
//! - The local model reads the first 256 tokens of a text (about 180 English
//!   words) and nothing after them; cutting long texts into passages is the
//!   caller's.
//! - Texts go nowhere but to the configured provider and are never logged.
//!
//! Two providers: `local`, all-MiniLM-L6-v2 in process, without network (why it runs on the engine it runs on is in
//! docs/adr/0003-embedding-engine.md), and `openai`, any server with OpenAI's `/v1/embeddings` (how it is called, and how a
//! deployment changes its model, is in docs/adr/0008-changing-the-embedding-model.md).

mod files;
mod local;
mod openai;

use std::{
    fmt,
    sync::{Arc, LazyLock},
};

use futures::future::BoxFuture;
use pgvector::HalfVector;
use prometheus::IntGaugeVec;

use crate::{
    config::{EmbeddingConfig, ModelConfig},
    telemetry::metrics::gauges,
};

/// Numbers in a vector, of every provider: the width of the database's columns.
pub const DIMENSIONS: usize = 384;

/// Turns texts into vectors.
pub trait Embedder: Send + Sync {
    /// Which model, in which version, the vectors come from.
    fn model(&self) -> &ModelId;

    /// One vector per text, in the order of the texts; none for no texts.
    ///
    /// Any text is fine: empty, of any script, of any length (a model reads only
    /// its window, see the module). All vectors come back or none do.
    ///
    /// Dropping the future stops the work at the next batch.
    ///
    /// # Errors
    ///
    /// See [`EmbedError`]; [`EmbedError::is_retryable`] says whether the same
    /// call may succeed later.
    ///
    /// # Cost
    ///
    /// Local, on one core: about 4 ms for a short question, 30 ms for a text of
    /// 128 tokens, 60 ms for a full window. A call of one text does not queue
    /// behind calls of many. Remote: a request for each batch, tried again for
    /// minutes before it is given up.
    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>>;

    /// The vector of a query that somebody waits for: within two seconds or not at
    /// all, and at once where the provider is known to be down.
    ///
    /// # Errors
    ///
    /// As [`embed`](Self::embed).
    fn embed_query(&self, query: String) -> BoxFuture<'_, Result<Embedding, EmbedError>> {
        Box::pin(async move {
            let vector = self.embed_awaited(vec![query]).await?.pop();
            vector.ok_or_else(|| EmbedError::Rejected("there is no vector".into()))
        })
    }

    /// The vectors of a few short texts that somebody waits for, as [`embed_query`](Self::embed_query): not behind texts that
    /// are embedded in the background.
    ///
    /// # Errors
    ///
    /// As [`embed`](Self::embed).
    fn embed_awaited(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        self.embed(texts)
    }
}

/// The model that articles are embedded by, and while a deployment changes its model, the one before.
#[derive(Clone)]
pub struct Embedders {
    current: Arc<dyn Embedder>,
    previous: Option<Arc<dyn Embedder>>,
}

impl Embedders {
    /// One model and no other.
    pub fn only(current: Arc<dyn Embedder>) -> Self {
        Self { current, previous: None }
    }

    /// A model that takes over from another.
    pub fn changing(current: Arc<dyn Embedder>, previous: Arc<dyn Embedder>) -> Self {
        Self { current, previous: Some(previous) }
    }

    /// The model that articles are embedded by.
    pub fn current(&self) -> &Arc<dyn Embedder> {
        &self.current
    }

    /// The model before, if it is of this name.
    pub fn previous(&self, model: &str) -> Option<&Arc<dyn Embedder>> {
        self.previous.as_ref().filter(|previous| previous.model().as_ref() == model)
    }

    /// Both, the current one first.
    pub fn all(&self) -> impl Iterator<Item = Arc<dyn Embedder>> + use<> {
        [Some(Arc::clone(&self.current)), self.previous.clone()].into_iter().flatten()
    }

    /// The names of both.
    pub fn models(&self) -> (&ModelId, Option<&ModelId>) {
        (self.current.model(), self.previous.as_ref().map(|previous| previous.model()))
    }
}

/// The embedders that the configuration asks for; see [`load`].
pub fn from_config(config: &EmbeddingConfig) -> Result<Embedders, EmbedError> {
    let current = load(&config.current, Role::Current)?;
    let previous = config.previous.as_ref().map(|model| load(model, Role::Previous)).transpose()?;
    Ok(Embedders { current, previous })
}

/// What a model is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Articles are embedded by it.
    Current,
    /// Its vectors serve until those of the current one are complete.
    Previous,
}

/// A model, loaded and checked. A remote one is not asked anything yet.
///
/// # Errors
///
/// [`EmbedError::Misconfigured`] when the model's files are missing, are not
/// the ones this version was made for, or do not load; the message names the
/// file, the variable and the cure.
///
/// # Cost
///
/// Local: blocks for 0.2 to 0.5 s, reading and hashing 91 MB; call it once per process,
/// before serving. The local model holds 140 MB of memory, and while a batch of
/// 16 long texts runs up to 120 MB more.
pub fn load(model: &ModelConfig, role: Role) -> Result<Arc<dyn Embedder>, EmbedError> {
    let embedder: Arc<dyn Embedder> = match model {
        ModelConfig::Local(config) => Arc::new(local::LocalEmbedder::load(&config.model_dir, config.threads)?),
        ModelConfig::OpenAi(config) => Arc::new(openai::OpenAiEmbedder::new(config)?),
    };
    let role = match role {
        Role::Current => "current",
        Role::Previous => "previous",
    };
    MODELS.with_label_values(&[embedder.model().as_ref(), role]).set(1);
    Ok(embedder)
}

static MODELS: LazyLock<IntGaugeVec> = LazyLock::new(|| {
    gauges(
        "helpcenter_embedding_model_info",
        "Always 1; the embedding models of this process: `current` embeds articles, `previous` serves until that is done.",
        &["model", "role"],
    )
});

/// A model's name and version: `all-MiniLM-L6-v2@53aa5117`.
///
/// Equal ids mean comparable vectors. The version of a local model is the first
/// 8 hexadecimal digits of its weights' SHA-256, that of a remote one what the
/// operator says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ModelId(String);

impl ModelId {
    /// Of an embedder of one's own.
    pub fn new(name: &str, version: &str) -> Self {
        Self(format!("{name}@{version}"))
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<str> for ModelId {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A vector of [`DIMENSIONS`] finite numbers and length 1 (within 1e-6).
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding(Box<[f32; DIMENSIONS]>);

impl Embedding {
    /// Checks `values` and scales them to length 1.
    ///
    /// Values that already have length 1 (within 1e-6) are kept bit for bit.
    ///
    /// # Errors
    ///
    /// [`EmbedError::Rejected`] when there are not [`DIMENSIONS`] values, when one
    /// is infinite or not a number, or when all are zero.
    pub fn new(values: Vec<f32>) -> Result<Self, EmbedError> {
        let count = values.len();
        let mut values: Box<[f32; DIMENSIONS]> = values
            .into_boxed_slice()
            .try_into()
            .map_err(|_| EmbedError::Rejected(format!("a vector has {count} dimensions, {DIMENSIONS} are needed")))?;
        // In f64 the squares of f32 values neither overflow nor vanish.
        let length = values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt();
        if !length.is_finite() {
            return Err(EmbedError::Rejected("a vector holds values that are not finite".into()));
        }
        if length == 0.0 {
            return Err(EmbedError::Rejected("a vector is all zeros".into()));
        }
        if (length - 1.0).abs() > 1e-6 {
            for value in values.iter_mut() {
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "a component of a unit vector is at most 1; rounding to f32 is meant"
                )]
                let scaled = (f64::from(*value) / length) as f32;
                *value = scaled;
            }
        }
        Ok(Self(values))
    }

    /// The [`DIMENSIONS`] values.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        self.0.as_slice()
    }

    /// The [`DIMENSIONS`] values, without copying them.
    #[must_use]
    pub fn into_vec(self) -> Vec<f32> {
        let values: Box<[f32]> = self.0;
        values.into_vec()
    }

    /// As PostgreSQL keeps it and compares it: in half precision, whose cosines are off by less than .001.
    #[must_use]
    pub fn to_half(&self) -> HalfVector {
        HalfVector::from_f32_slice(self.as_slice())
    }

    /// Likeness of two vectors of the same model: -1 (opposite) to 1 (the same).
    ///
    /// Both have length 1, so this is their dot product.
    #[must_use]
    pub fn cosine(&self, other: &Self) -> f32 {
        let dot: f32 = self.0.iter().zip(other.0.iter()).map(|(a, b)| a * b).sum();
        dot.clamp(-1.0, 1.0)
    }
}

/// Why there are no vectors. The messages hold no text that was to be embedded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EmbedError {
    /// The provider cannot answer now: unreachable, overloaded, shutting down.
    #[error("the embedding provider cannot answer now: {0}")]
    Unavailable(String),
    /// The provider or a check refuses this input or this answer.
    #[error("embedding failed: {0}")]
    Rejected(String),
    /// The configuration or the model's files must be mended by the operator.
    #[error("embeddings are not set up: {0}")]
    Misconfigured(String),
}

impl EmbedError {
    /// Whether the same call may succeed later with nothing changed.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Unavailable(_) => true,
            Self::Rejected(_) | Self::Misconfigured(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vector_is_scaled_to_length_one_and_then_left_alone() {
        let mut values = vec![0.0; DIMENSIONS];
        values[0] = 3.0;
        values[383] = -4.0;
        let embedding = Embedding::new(values).unwrap();
        assert!((embedding.as_slice()[0] - 0.6).abs() < 1e-7);
        assert!((embedding.as_slice()[383] + 0.8).abs() < 1e-7);

        let uneven = Embedding::new((1_u8..=128).cycle().take(384).map(f32::from).collect());
        let uneven = uneven.unwrap();
        let again = Embedding::new(uneven.clone().into_vec()).unwrap();
        assert_eq!(again, uneven);
        assert!((uneven.cosine(&again) - 1.0).abs() < 1e-6);
        let opposite = Embedding::new(uneven.as_slice().iter().map(|value| -value).collect());
        assert!((uneven.cosine(&opposite.unwrap()) + 1.0).abs() < 1e-6);
    }

    #[test]
    fn extreme_values_are_scaled_too() {
        for value in [f32::MAX, f32::MIN_POSITIVE, 1e-45] {
            let embedding = Embedding::new(vec![value; DIMENSIONS]).unwrap();
            assert!((embedding.cosine(&embedding) - 1.0).abs() < 1e-5, "{value}");
        }
    }

    #[test]
    fn what_has_no_direction_is_rejected() {
        let mut infinite = vec![0.1; DIMENSIONS];
        infinite[7] = f32::INFINITY;
        for (values, told) in [
            (vec![1.0; 1536], "1536 dimensions"),
            (vec![], "0 dimensions"),
            (vec![0.0; DIMENSIONS], "zeros"),
            (vec![f32::NAN; DIMENSIONS], "not finite"),
            (infinite, "not finite"),
        ] {
            let error = Embedding::new(values).unwrap_err();
            assert!(error.to_string().contains(told), "{error}");
            assert!(!error.is_retryable());
        }
    }

    #[test]
    fn only_an_unavailable_provider_is_worth_another_try() {
        assert!(EmbedError::Unavailable(String::new()).is_retryable());
        assert!(!EmbedError::Rejected(String::new()).is_retryable());
        assert!(!EmbedError::Misconfigured(String::new()).is_retryable());
    }
}
