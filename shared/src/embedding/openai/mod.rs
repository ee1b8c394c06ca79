//! A model behind a server with OpenAI's `/v1/embeddings`: OpenAI, Azure's v1 API, Ollama, vLLM, llama.cpp and others.
//!
//! Batches are tried again, with patience; a query is tried once and for two seconds at most, because somebody waits for it. A
//! server that fails again and again is left alone for a while ([`Circuit`]): queries are refused at once meanwhile, and batches
//! wait, so that a job does not use up its attempts while the others queue behind it.

mod metrics;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use async_openai::{
    Client,
    types::embeddings::{CreateEmbeddingRequest, EmbeddingInput},
};
use backon::{ExponentialBuilder, Retryable as _};
use futures::future::BoxFuture;

use self::metrics::RemoteMetrics;
use super::{DIMENSIONS, EmbedError, Embedder, Embedding, ModelId};
use crate::{
    circuit::{Change, Circuit, Permit},
    config::OpenAiModelConfig,
    remote::{self, CallError, Endpoint},
};

/// How much text one request has at most, in bytes, unless one text has more. OpenAI takes 300,000 tokens.
const MOST_BYTES: usize = 256 * 1024;
/// How much of a text is sent, in bytes. OpenAI's models read 8,192 tokens, and a token has at least a byte.
const WINDOW_BYTES: usize = 8 * 1024;
/// How long an answer may be: four times what vectors for the largest batch take.
const MOST_ANSWER_BYTES: usize = 64 * 1024 * 1024;
/// Sent for a text without a word: servers refuse empty ones.
const NOTHING: &str = ".";

/// How often a batch looks whether the circuit lets it through.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
struct Patience {
    /// For the answer to a query: less than search waits, so that it is this provider that counts the failure.
    query: Duration,
    /// For the answer to a batch.
    batch: Duration,
    /// Before a batch is tried again; doubled each time, and up to twice as long by chance.
    pause: Duration,
    /// How often a batch is tried again.
    retries: usize,
    /// For a circuit that is open, before a batch is given up.
    circuit: Duration,
    /// Longest wait that a server may ask for; whoever asks for more is asked by a later attempt of the job.
    longest_pause: Duration,
}

impl Patience {
    fn new(batch: Duration) -> Self {
        Self {
            query: Duration::from_millis(1_900),
            batch,
            pause: Duration::from_millis(500),
            retries: 3,
            circuit: Duration::from_secs(120),
            longest_pause: Duration::from_secs(30),
        }
    }
}

/// The remote model.
pub(super) struct OpenAiEmbedder {
    id: ModelId,
    name: String,
    address: String,
    client: Client<Endpoint>,
    batch: usize,
    send_dimensions: bool,
    patience: Patience,
    circuit: Circuit,
    metrics: RemoteMetrics,
}

impl OpenAiEmbedder {
    /// Nothing is sent yet.
    pub(super) fn new(config: &OpenAiModelConfig) -> Result<Self, EmbedError> {
        let endpoint = Endpoint::new(&config.base_url, config.api_key.as_ref());
        let http = remote::http()
            .map_err(|error| EmbedError::Misconfigured(format!("there can be no HTTP client: {error}")))?;
        let client = remote::client(endpoint, http, MOST_ANSWER_BYTES);
        let id = ModelId::new(&config.model, &config.version);
        Ok(Self {
            metrics: RemoteMetrics::of(&id),
            id,
            name: config.model.clone(),
            address: config.base_url.to_string(),
            client,
            batch: config.batch,
            send_dimensions: config.send_dimensions,
            patience: Patience::new(config.timeout),
            circuit: Circuit::new(),
        })
    }

    /// One batch, tried again as long as that may help.
    async fn embed_batch(&self, texts: Vec<String>) -> Result<Vec<Embedding>, Failure> {
        let backoff = ExponentialBuilder::default()
            .with_min_delay(self.patience.pause)
            .with_max_delay(self.patience.longest_pause)
            .with_max_times(self.patience.retries)
            .with_jitter();
        let longest = self.patience.longest_pause;
        (|| self.attempt(texts.clone(), self.patience.batch, self.patience.circuit))
            .retry(backoff)
            .when(Failure::is_transient)
            .adjust(|failure, pause| match failure.retry_after() {
                Some(asked) if asked > longest => None,
                Some(asked) => pause.map(|pause| pause.max(asked)),
                None => pause,
            })
            .await
    }

    /// Asks once, unless the circuit is open for longer than `wait`.
    async fn attempt(&self, texts: Vec<String>, within: Duration, wait: Duration) -> Result<Vec<Embedding>, Failure> {
        let Some(permit) = self.permit(wait).await else {
            self.metrics.refused();
            return Err(Failure::CircuitOpen);
        };
        let began = Instant::now();
        let answer = match tokio::time::timeout(within, self.ask(texts)).await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::Call(CallError::TimedOut(within))),
        };
        self.metrics.ended(answer.as_ref().err(), began.elapsed());
        let change = match &answer {
            Err(failure) if !failure.is_about_the_texts() => permit.failed(Instant::now()),
            _ => permit.succeeded(),
        };
        self.tell(change, answer.as_ref().err());
        answer
    }

    async fn permit(&self, wait: Duration) -> Option<Permit<'_>> {
        let deadline = Instant::now() + wait;
        loop {
            let now = Instant::now();
            let permit = self.circuit.permit(now);
            if permit.is_some() || now >= deadline {
                return permit;
            }
            tokio::time::sleep(LOOK_EVERY.min(deadline.saturating_duration_since(now))).await;
        }
    }

    async fn ask(&self, texts: Vec<String>) -> Result<Vec<Embedding>, Failure> {
        let count = texts.len();
        let request = CreateEmbeddingRequest {
            model: self.name.clone(),
            input: EmbeddingInput::StringArray(texts),
            dimensions: self.send_dimensions.then_some(DIMENSIONS_U32),
            ..CreateEmbeddingRequest::default()
        };
        let answer: Answer = self.client.embeddings().create_byot(request).await.map_err(CallError::from)?;
        if let Some(usage) = &answer.usage {
            self.metrics.tokens(usage.prompt_tokens);
        }
        vectors(answer.data, count)
    }

    /// Tells of a circuit that has opened or closed, once for all calls that are refused meanwhile.
    fn tell(&self, change: Change, failure: Option<&Failure>) {
        let model = self.id.as_ref();
        match change {
            Change::None => return,
            Change::Opened(rest) => {
                let cause = failure.map(ToString::to_string).unwrap_or_default();
                let rest_seconds = rest.as_secs();
                tracing::error!(model, address = %self.address, cause, rest_seconds, "embedding.circuit_opened: the provider fails again and again");
            }
            Change::Closed => tracing::info!(model, "embedding.circuit_closed: the provider answers again"),
        }
        self.metrics.circuit(self.circuit.is_open());
    }

    fn error(&self, failure: &Failure) -> EmbedError {
        let told = format!("{} at {}: {failure}", self.id, self.address);
        match failure {
            Failure::CircuitOpen => EmbedError::Unavailable(told),
            Failure::Call(error) if error.is_transient() => EmbedError::Unavailable(told),
            Failure::Call(CallError::Refused { status: 429, .. }) => {
                EmbedError::Unavailable(format!("{told}; the account has no credit left"))
            }
            Failure::Call(CallError::Refused { status: 401 | 403, .. }) => {
                EmbedError::Misconfigured(format!("{told}; check the API key"))
            }
            Failure::Call(CallError::Refused { status: 400 | 413 | 422, .. }) if self.send_dimensions => {
                EmbedError::Rejected(format!(
                    "{told}; if that is so for all texts, the model may not know `dimensions`: EMBEDDING_SEND_DIMENSIONS=false leaves it out"
                ))
            }
            Failure::Call(CallError::Refused { status: 400 | 413 | 422, .. }) | Failure::Wrong(_) => {
                EmbedError::Rejected(told)
            }
            Failure::Call(_) => {
                EmbedError::Misconfigured(format!("{told}; check the base URL and the name of the model"))
            }
            Failure::Dimensions(_) => EmbedError::Misconfigured(format!(
                "{told}; choose a model that can give {DIMENSIONS}, such as text-embedding-3-small, or one that has so many, such as all-minilm"
            )),
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "384")]
const DIMENSIONS_U32: u32 = DIMENSIONS as u32;

impl Embedder for OpenAiEmbedder {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        Box::pin(async move {
            let mut vectors = Vec::with_capacity(texts.len());
            for batch in batches(texts, self.batch) {
                vectors.extend(self.embed_batch(batch).await.map_err(|failure| self.error(&failure))?);
            }
            Ok(vectors)
        })
    }

    fn embed_awaited(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        Box::pin(async move {
            if texts.is_empty() {
                return Ok(Vec::new());
            }
            let texts = texts.into_iter().map(sendable).collect();
            self.attempt(texts, self.patience.query, Duration::ZERO).await.map_err(|failure| self.error(&failure))
        })
    }
}

/// Why an attempt gave no vectors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Failure {
    /// Nothing was sent.
    #[error("it has failed again and again, and is left alone for a while")]
    CircuitOpen,
    /// There was no answer.
    #[error(transparent)]
    Call(#[from] CallError),
    /// The vectors have another width.
    #[error("it gives vectors of {0} numbers, and {DIMENSIONS} are needed")]
    Dimensions(usize),
    /// The answer is not one to the question.
    #[error("its answer is wrong: {0}")]
    Wrong(String),
}

impl Failure {
    fn is_transient(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_transient())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(error) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether other texts would have been answered.
    fn is_about_the_texts(&self) -> bool {
        matches!(self, Self::Call(error) if error.is_about_what_was_sent())
    }
}

/// What is read of an answer: servers differ in the rest.
#[derive(serde::Deserialize)]
struct Answer {
    data: Vec<Item>,
    usage: Option<Usage>,
}

#[derive(serde::Deserialize)]
struct Item {
    index: usize,
    embedding: Vec<f32>,
}

#[derive(serde::Deserialize)]
struct Usage {
    #[serde(default)]
    prompt_tokens: u64,
}

/// One vector for each text, in the order of the texts.
fn vectors(mut items: Vec<Item>, count: usize) -> Result<Vec<Embedding>, Failure> {
    if items.len() != count {
        return Err(Failure::Wrong(format!("{} vectors for {count} texts", items.len())));
    }
    items.sort_by_key(|item| item.index);
    if items.iter().enumerate().any(|(place, item)| item.index != place) {
        return Err(Failure::Wrong("its vectors are not numbered one by one".to_owned()));
    }
    items
        .into_iter()
        .map(|item| match item.embedding.len() {
            DIMENSIONS => Embedding::new(item.embedding).map_err(|error| Failure::Wrong(error.to_string())),
            other => Err(Failure::Dimensions(other)),
        })
        .collect()
}

/// At most `most` texts each, and about [`MOST_BYTES`].
fn batches(texts: Vec<String>, most: usize) -> Vec<Vec<String>> {
    let mut batches: Vec<Vec<String>> = Vec::new();
    let mut bytes = 0;
    for text in texts.into_iter().map(sendable) {
        match batches.last_mut() {
            Some(batch) if batch.len() < most && bytes + text.len() <= MOST_BYTES => {
                bytes += text.len();
                batch.push(text);
            }
            _ => {
                bytes = text.len();
                batches.push(vec![text]);
            }
        }
    }
    batches
}

/// A text as it can be sent.
fn sendable(mut text: String) -> String {
    text.truncate(text.floor_char_boundary(WINDOW_BYTES));
    if text.trim().is_empty() { NOTHING.to_owned() } else { text }
}
