//! A model that reads a query and texts together and says how well each answers it, behind a server with `/rerank` as Cohere and
//! Jina have it; vLLM, Infinity and llama.cpp have the same.
//!
//! A person waits for the answer, so a request is tried once, and a server that fails again and again is left alone for a while
//! ([`Circuit`]).

mod metrics;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use self::metrics::RerankMetrics;
use crate::{
    circuit::{Change, Circuit},
    config::RerankerConfig,
    remote::{self, CallError, Endpoint},
};

/// How much of a text is sent, in characters: more than any passage has.
const WINDOW_CHARS: usize = 4_000;

/// The remote model.
pub struct Reranker {
    endpoint: Endpoint,
    http: reqwest::Client,
    address: String,
    model: String,
    timeout: Duration,
    candidates: usize,
    circuit: Circuit,
    metrics: RerankMetrics,
}

/// Why there is no order. The messages repeat nothing of what was sent or answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RerankError {
    /// Nothing was sent.
    #[error("it has failed again and again, and is left alone for a while")]
    CircuitOpen,
    /// There was no answer.
    #[error("{0}")]
    Call(String),
    /// The answer is not one to the question.
    #[error("its answer is wrong: {0}")]
    Wrong(&'static str),
}

#[derive(serde::Serialize)]
struct Question<'a> {
    model: &'a str,
    query: &'a str,
    documents: &'a [String],
    top_n: usize,
}

/// What is read of an answer: servers differ in the rest.
#[derive(serde::Deserialize)]
struct Answer {
    results: Vec<Scored>,
}

#[derive(serde::Deserialize)]
struct Scored {
    index: usize,
    relevance_score: f64,
}

impl Reranker {
    /// Nothing is sent yet.
    pub fn new(config: &RerankerConfig) -> Result<Self, reqwest::Error> {
        Ok(Self {
            endpoint: Endpoint::new(&config.base_url, config.api_key.as_ref()),
            http: remote::http()?,
            address: config.base_url.to_string(),
            model: config.model.clone(),
            timeout: config.timeout,
            candidates: config.candidates,
            circuit: Circuit::new(),
            metrics: RerankMetrics::of(&config.model),
        })
    }

    /// How many texts it is to be asked about.
    pub fn candidates(&self) -> usize {
        self.candidates
    }

    /// How well each text answers the query, 0 to 1, in the order of the texts; a text that the server says nothing of has 0.
    pub async fn scores(&self, query: &str, texts: Vec<String>) -> Result<Vec<f64>, RerankError> {
        let Some(permit) = self.circuit.permit(Instant::now()) else {
            self.metrics.ended("not_sent", None);
            return Err(RerankError::CircuitOpen);
        };
        let began = Instant::now();
        let answer = match tokio::time::timeout(self.timeout, self.ask(query, &texts)).await {
            Ok(answer) => answer,
            Err(_) => Err(CallError::TimedOut(self.timeout)),
        };
        let scores = match &answer {
            Ok(answer) => scores(&answer.results, texts.len()),
            Err(error) => Err(RerankError::Call(error.to_string())),
        };
        let outcome = match (&answer, &scores) {
            (Err(error), _) => error.outcome(),
            (Ok(_), Err(_)) => "wrong_answer",
            (Ok(_), Ok(_)) => "done",
        };
        self.metrics.ended(outcome, Some(began.elapsed()));
        // What one person searches for does not take the reranker from all others.
        let has_answered = scores.is_ok() || answer.is_err_and(|error| error.is_about_what_was_sent());
        let change = if has_answered { permit.succeeded() } else { permit.failed(Instant::now()) };
        self.tell(change, scores.as_ref().err());
        scores
    }

    async fn ask(&self, query: &str, texts: &[String]) -> Result<Answer, CallError> {
        let documents: Vec<String> = texts.iter().map(|text| text.chars().take(WINDOW_CHARS).collect()).collect();
        let question = Question { model: &self.model, query, documents: &documents, top_n: documents.len() };
        self.endpoint.post(&self.http, "/rerank", &question).await
    }

    /// Tells of a circuit that has opened or closed, once for all calls that are refused meanwhile.
    fn tell(&self, change: Change, error: Option<&RerankError>) {
        let (model, address) = (&self.model, &self.address);
        match change {
            Change::None => return,
            Change::Opened(rest) => {
                let cause = error.map(ToString::to_string).unwrap_or_default();
                let rest_seconds = rest.as_secs();
                tracing::error!(
                    model,
                    address,
                    cause,
                    rest_seconds,
                    "rerank.circuit_opened: the reranker fails again and again"
                );
            }
            Change::Closed => tracing::info!(model, address, "rerank.circuit_closed: the reranker answers again"),
        }
        self.metrics.circuit(self.circuit.is_open());
    }
}

impl std::fmt::Debug for Reranker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reranker").field("model", &self.model).field("address", &self.address).finish_non_exhaustive()
    }
}

/// Some servers give the logit of what others give as a probability.
fn scores(results: &[Scored], texts: usize) -> Result<Vec<f64>, RerankError> {
    let are_logits = results.iter().any(|scored| !(0.0..=1.0).contains(&scored.relevance_score));
    let mut scores = vec![None; texts];
    for scored in results {
        let place = scores.get_mut(scored.index).ok_or(RerankError::Wrong("it scores a text that was not sent"))?;
        let score = scored.relevance_score;
        if place.replace(if are_logits { 1.0 / (1.0 + (-score).exp()) } else { score }).is_some() {
            return Err(RerankError::Wrong("it scores a text twice"));
        }
    }
    if results.is_empty() {
        return Err(RerankError::Wrong("it scores nothing"));
    }
    Ok(scores.into_iter().map(Option::unwrap_or_default).collect())
}
