//! A model on a server: how it is reached, what it costs, and whether it is left alone for a while.

use std::{
    pin::Pin,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use async_openai::{Client, error::OpenAIError};
use futures::Stream;
use secrecy::SecretString;
use url::Url;

use super::{
    cost::Prices,
    error::LlmError,
    metrics,
    prompt::Prompt,
    wire::{Chunk, Request},
};
use crate::{
    circuit::{Change, Circuit, Permit},
    remote::{self, Endpoint},
};

/// How long an answer may be as it is sent, in bytes: a hundred thousand pieces of text.
const MOST_ANSWER_BYTES: usize = 32 * 1024 * 1024;

/// The parts of an answer, as the server sends them.
pub(super) type Chunks = Pin<Box<dyn Stream<Item = Result<Chunk, OpenAIError>> + Send>>;

/// The remote model. All calls of a process share it, and so its circuit.
pub(super) struct Server {
    client: Client<Endpoint>,
    base_url: Url,
    /// The host, in the ledger.
    pub(super) host: String,
    /// The model's name, as the server knows it.
    pub(super) model: String,
    /// `None`: not known.
    pub(super) prices: Option<Prices>,
    /// A tenant's, else the deployment's.
    pub(super) is_own: bool,
    circuit: Circuit,
    is_counted_as_open: AtomicBool,
    takes_temperature: AtomicBool,
}

impl Server {
    /// Nothing is sent yet.
    pub(super) fn new(
        base_url: &Url,
        api_key: Option<&SecretString>,
        http: reqwest::Client,
        model: &str,
        prices: Option<Prices>,
        is_own: bool,
    ) -> Self {
        let host = base_url.host_str().unwrap_or_default();
        Self {
            client: remote::client(Endpoint::new(base_url, api_key), http, MOST_ANSWER_BYTES),
            host: base_url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            base_url: base_url.clone(),
            model: model.to_owned(),
            prices,
            is_own,
            circuit: Circuit::new(),
            is_counted_as_open: AtomicBool::new(false),
            takes_temperature: AtomicBool::new(true),
        }
    }

    /// Whose model it is, for metrics.
    pub(super) fn owner(&self) -> &'static str {
        metrics::owner(self.is_own)
    }

    /// Whether it is left alone at this moment.
    pub(super) fn is_left_alone(&self) -> bool {
        self.circuit.refuses(Instant::now())
    }

    /// Leave to ask it.
    pub(super) fn permit(&self) -> Option<Permit<'_>> {
        self.circuit.permit(Instant::now())
    }

    /// Asks once; resolves when the server has accepted the question. A model that leaves nothing to whoever asks, as those of
    /// OpenAI that think, is asked without a temperature from then on.
    pub(super) async fn ask(&self, prompt: &Prompt, most_tokens: u32) -> Result<Chunks, LlmError> {
        let mut request = Request::new(&self.base_url, &self.model, prompt, most_tokens);
        if !self.takes_temperature.load(Ordering::Relaxed) {
            request.temperature = None;
        }
        match self.send(&request).await {
            Err(error) if error.refuses_a_parameter() && request.temperature.take().is_some() => {
                self.takes_temperature.store(false, Ordering::Relaxed);
                tracing::info!(model = self.model, "llm.without_temperature: the model takes none");
                self.send(&request).await
            }
            sent => sent,
        }
    }

    async fn send(&self, request: &Request<'_>) -> Result<Chunks, LlmError> {
        Ok(self.client.chat().create_stream_byot(request).await?)
    }

    /// Says how an attempt has ended.
    pub(super) fn ended(&self, permit: Permit<'_>, error: Option<&LlmError>) {
        metrics::requested(self.owner(), error.map_or("done", LlmError::outcome));
        let change = match error {
            Some(error) if !error.is_about_the_question() => permit.failed(Instant::now()),
            _ => permit.succeeded(),
        };
        let (model, address) = (&self.model, self.base_url.as_str());
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
                    "llm.circuit_opened: the model fails again and again"
                );
            }
            Change::Closed => tracing::info!(model, address, "llm.circuit_closed: the model answers again"),
        }
        self.count(self.circuit.is_open());
    }

    fn count(&self, is_open: bool) {
        if self.is_counted_as_open.swap(is_open, Ordering::SeqCst) != is_open {
            metrics::circuits(self.owner(), if is_open { 1 } else { -1 });
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.count(false);
    }
}
