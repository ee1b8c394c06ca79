//! Language models behind OpenAI-compatible servers: the deployment's, and models of tenants' own.
//!
//! [`Llm::for_tenant`] says which model writes a tenant's answers, if any; [`Model::ask`] asks it. A call is entered in a ledger with
//! the most that it can cost before it is made ([`ledger`]), is tried again as long as there is no text, ends within the limits of
//! [`LlmLimits`], and is settled however it ends. A server that fails again and again is left alone for a while.
//!
//! Nothing here makes an answer of what a model says: whoever asks decides what of it may stand, and what is said in its place.

mod call;
mod cost;
mod error;
pub mod ledger;
mod metrics;
mod prompt;
mod server;
mod settings;
mod store;
mod wire;

use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::Stream;
use tokio::sync::mpsc;
use tracing::Instrument as _;
use url::Url;
use uuid::Uuid;

use self::{call::Call, ledger::Ledger, server::Server, settings::KEY_COLUMN, store::StoredSettings};
pub use self::{
    cost::{Budget, Prices, Usage, Usd, estimated_tokens},
    error::{BudgetKind, CallFailure, LlmError, Reason},
    ledger::{DayUsage, UsedToday},
    prompt::{Message, Prompt, Purpose, Role},
    settings::{CheckedSettings, InUse, LlmSettings, NewLlmSettings, Provider, SettingsError},
};
use crate::{
    clock::Clock,
    config::{LlmConfig, LlmLimits},
    db::Database,
    outbound::Outbound,
    remote,
    secrets::SecretsKey,
    tenancy::TenantId,
};

/// How many pieces of text wait for whoever listens.
const PIECES: usize = 64;

/// The language models of a deployment. Cheap to clone.
#[derive(Clone)]
pub struct Llm {
    inner: Arc<Inner>,
}

struct Inner {
    deployment: Option<Arc<Server>>,
    /// Models of tenants' own, each with the version of the settings that it was made of.
    own: Mutex<HashMap<TenantId, (Uuid, Arc<Server>)>>,
    limits: LlmLimits,
    budget: Budget,
    outbound: Outbound,
    secrets: Option<SecretsKey>,
    database: Database,
    ledger: Arc<Ledger>,
}

impl Llm {
    /// Nothing is sent yet. `secrets` reads the keys of tenants' own models.
    pub fn new(
        config: &LlmConfig,
        secrets: Option<SecretsKey>,
        database: Database,
        clock: Clock,
    ) -> Result<Self, reqwest::Error> {
        metrics::prepare();
        let deployment = config.model.as_ref().map(|model| {
            let http = remote::http()?;
            let server = Server::new(&model.base_url, model.api_key.as_ref(), http, &model.model, model.prices, false);
            Ok::<_, reqwest::Error>(Arc::new(server))
        });
        Ok(Self {
            inner: Arc::new(Inner {
                deployment: deployment.transpose()?,
                own: Mutex::default(),
                limits: config.limits,
                budget: config.budget,
                outbound: Outbound::new(config.allowed_hosts.clone()),
                secrets,
                ledger: Arc::new(Ledger::new(database.clone(), clock)),
                database,
            }),
        })
    }

    /// The model that writes a tenant's answers: its own, or the deployment's. `None`: answers are composed without one.
    pub async fn for_tenant(&self, tenant: TenantId) -> Result<Option<Model>, LlmError> {
        let mut tx = self.inner.database.tenant(tenant).await?;
        let stored = store::settings(&mut tx).await?.unwrap_or_default();
        drop(tx);
        let provider = stored.provider.as_deref().and_then(Provider::from_name);
        if provider != Some(Provider::OpenAi) {
            self.own_models().remove(&tenant);
        }
        let server = match provider {
            Some(Provider::Extractive) => None,
            Some(Provider::OpenAi) => Some(self.own(tenant, &stored)?),
            None => self.inner.deployment.clone(),
        };
        let tokens = stored.daily_budget_tokens.map(|tokens| u64::try_from(tokens).unwrap_or_default());
        Ok(server.map(|server| Model {
            budget: self.budget(server.is_own, stored.daily_budget_usd, tokens),
            ledger: Arc::clone(&self.inner.ledger),
            limits: self.inner.limits,
            server,
            tenant,
        }))
    }

    /// A tenant's own model, made anew when its settings have changed.
    fn own(&self, tenant: TenantId, stored: &StoredSettings) -> Result<Arc<Server>, LlmError> {
        let mut own = self.own_models();
        if let Some((version, server)) = own.get(&tenant)
            && *version == stored.version
        {
            return Ok(Arc::clone(server));
        }
        let server = self.server_of(tenant, stored).inspect_err(|error| {
            tracing::warn!(%error, %tenant, "llm.misconfigured: the tenant's own model cannot be used");
        });
        let server = Arc::new(server?);
        own.insert(tenant, (stored.version, Arc::clone(&server)));
        Ok(server)
    }

    fn own_models(&self) -> MutexGuard<'_, HashMap<TenantId, (Uuid, Arc<Server>)>> {
        self.inner.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server_of(&self, tenant: TenantId, stored: &StoredSettings) -> Result<Server, LlmError> {
        let wrong = |problem: &str| LlmError::Misconfigured(problem.to_owned());
        let address = stored.base_url.as_deref().and_then(|address| Url::parse(address).ok());
        let (Some(address), Some(model)) = (address, &stored.model) else {
            return Err(wrong("the settings name no server"));
        };
        // What the operator allows may have changed since they were saved.
        let outbound = &self.inner.outbound;
        outbound
            .permits(&address)
            .map_err(|error| LlmError::Misconfigured(format!("the server's address: {error}")))?;
        let key = match (&stored.api_key, &self.inner.secrets) {
            (None, _) => None,
            (Some(_), None) => return Err(wrong("SECRETS_KEY is not set, so the server's key cannot be read")),
            (Some(sealed), Some(secrets)) => Some(
                secrets
                    .open(tenant, KEY_COLUMN, sealed)
                    .ok_or_else(|| wrong("the server's key was encrypted with another SECRETS_KEY; set it anew"))?,
            ),
        };
        let http = outbound.http(&address).map_err(|_| wrong("there can be no HTTP client"))?;
        Ok(Server::new(&address, key.as_ref(), http, model, stored.prices, true))
    }
}

impl std::fmt::Debug for Llm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Llm").finish_non_exhaustive()
    }
}

/// The model that writes a tenant's answers.
#[derive(Clone)]
pub struct Model {
    server: Arc<Server>,
    ledger: Arc<Ledger>,
    limits: LlmLimits,
    budget: Budget,
    tenant: TenantId,
}

impl Model {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.server.model
    }

    /// What a call costs. `None`: its prices are not known.
    pub fn price_of(&self, usage: Usage) -> Option<Usd> {
        self.server.prices.map(|prices| prices.of(usage))
    }

    /// How much text a prompt is to be made of, in tokens ([`estimated_tokens`]).
    pub fn context_tokens(&self) -> u32 {
        self.limits.context_tokens
    }

    /// How long an answer may be, in tokens.
    pub fn max_output_tokens(&self) -> u32 {
        self.limits.max_output_tokens
    }

    /// Asks. Resolves with the first text of the answer: until then, a server that is busy, fails or cannot be reached is asked
    /// again, and an error means that nothing was said.
    ///
    /// Dropped, or the answer dropped, the call is over; what it has cost until then is entered in the ledger.
    pub async fn ask(&self, purpose: Purpose, answer: Option<Uuid>, prompt: Prompt) -> Result<Answer, LlmError> {
        let (listener, mut told) = mpsc::channel(PIECES);
        let call = Call {
            ledger: Arc::clone(&self.ledger),
            server: Arc::clone(&self.server),
            limits: self.limits,
            tenant: self.tenant,
            budget: self.budget,
            purpose,
            answer,
            prompt,
        };
        tokio::spawn(call.run(listener).in_current_span());
        match told.recv().await {
            Some(Ok(first)) => Ok(Answer { first: Some(first), told, has_ended: false }),
            Some(Err(error)) => Err(error),
            None => Err(LlmError::Cut),
        }
    }
}

impl std::fmt::Debug for Model {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Model").field("name", &self.server.model).field("tenant", &self.tenant).finish_non_exhaustive()
    }
}

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delta {
    /// Text, never empty.
    Text(String),
    /// The answer is complete. The last piece.
    End {
        /// Why it ends here.
        finish: Finish,
        /// What it has cost.
        usage: Usage,
    },
}

/// Why an answer ends where it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// All is said.
    Stop,
    /// It may not be longer.
    Length,
    /// The provider did not let the model say more.
    Filtered,
    /// For another reason, which the server may have named.
    Other,
}

impl Finish {
    fn named(reason: &str) -> Self {
        match reason {
            "stop" => Self::Stop,
            "length" => Self::Length,
            "content_filter" => Self::Filtered,
            _ => Self::Other,
        }
    }
}

/// An answer, piece by piece. Ends with [`Delta::End`], or with an error: then what was said is not the whole of it. Dropped, it ends
/// the call.
#[derive(Debug)]
pub struct Answer {
    first: Option<Delta>,
    told: mpsc::Receiver<Result<Delta, LlmError>>,
    has_ended: bool,
}

impl Stream for Answer {
    type Item = Result<Delta, LlmError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        if self.has_ended {
            return Poll::Ready(None);
        }
        self.told.poll_recv(context).map(|told| {
            // A call that says nothing of its end was ended with the process.
            let told = told.unwrap_or(Err(LlmError::Cut));
            self.has_ended = !matches!(told, Ok(Delta::Text(_)));
            Some(told)
        })
    }
}
