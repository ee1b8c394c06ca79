//! One call: entered in the ledger, tried until there is text, listened to until its end, and settled.
//!
//! It runs in a task of its own, so that it is settled even when whoever asked has gone: they hold the other end of a channel, and
//! when that is dropped the connection to the server is closed.

use std::{sync::Arc, time::Duration};

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures::StreamExt as _;
use tokio::{
    sync::mpsc::Sender,
    time::{Instant, timeout_at},
};
use uuid::Uuid;

use super::{
    Delta, Finish,
    cost::{Budget, Usage, estimated_tokens},
    error::LlmError,
    ledger::{CallEnd, Ledger, NewCall},
    metrics,
    prompt::{Prompt, Purpose},
    server::Server,
};
use crate::{config::LlmLimits, remote::CallError, tenancy::TenantId};

/// How often a server is asked again that did not take the question.
const RETRIES: usize = 2;
/// Before it is asked again; doubled each time, and up to twice as long by chance.
const PAUSE: Duration = Duration::from_millis(300);
/// Longest wait that a server may ask for: somebody waits for the answer. One that asks for more is not asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After an answer is complete, for what it has cost.
const USAGE_WITHIN: Duration = Duration::from_secs(2);
/// How long a text may be for each token that was asked for, in bytes: more than tokens of any language have on average. Not all
/// servers heed how long an answer may be.
const BYTES_PER_TOKEN: usize = 8;

/// What a call needs.
pub(super) struct Call {
    pub(super) ledger: Arc<Ledger>,
    pub(super) server: Arc<Server>,
    pub(super) limits: LlmLimits,
    pub(super) tenant: TenantId,
    pub(super) budget: Budget,
    pub(super) purpose: Purpose,
    pub(super) answer: Option<Uuid>,
    pub(super) prompt: Prompt,
}

/// What is known of the answer so far.
#[derive(Default)]
struct Progress {
    first_text_at: Option<Instant>,
    text: String,
    /// Only what the server has said.
    usage: Option<Usage>,
}

/// Whoever has asked.
type Listener = Sender<Result<Delta, LlmError>>;

impl Call {
    /// Makes the call. The last thing that the listener hears is [`Delta::End`] or why there is none, when the ledger knows it too.
    pub(super) async fn run(self, listener: Listener) {
        // Nobody listens any more: so be it, here and below.
        if let Err(error) = self.make(&listener).await {
            let _ = listener.send(Err(error)).await;
        }
    }

    async fn make(&self, listener: &Listener) -> Result<(), LlmError> {
        if self.server.is_left_alone() {
            metrics::requested(self.server.owner(), "not_sent");
            return Err(LlmError::CircuitOpen);
        }
        let began = Instant::now();
        let entry = self.entry();
        let read = self.prompt.estimated_tokens();
        let worst = Usage { input_tokens: read, output_tokens: self.most_tokens(), is_estimated: true };
        let id = self.ledger.reserve(&entry, worst).await?;
        let mut progress = Progress::default();
        let ended = tokio::select! {
            biased;
            ended = self.converse(&mut progress, listener, began) => Some(ended),
            () = listener.closed() => None,
        };
        let usage = progress.usage.unwrap_or_else(|| {
            let is_free = progress.text.is_empty() && matches!(&ended, Some(Err(error)) if !error.may_have_cost());
            Usage {
                input_tokens: if is_free { 0 } else { read },
                output_tokens: estimated_tokens(&progress.text),
                is_estimated: !is_free,
            }
        });
        let outcome = match &ended {
            Some(Ok(_)) => "done",
            Some(Err(error)) => error.outcome(),
            None => {
                metrics::requested(self.server.owner(), "cancelled");
                "cancelled"
            }
        };
        let first_text = progress.first_text_at.map(|at| at - began);
        self.ledger.settle(&entry, id, CallEnd { outcome, usage, took: began.elapsed(), first_text }).await;
        match ended {
            Some(Ok(finish)) => {
                let _ = listener.send(Ok(Delta::End { finish, usage })).await;
                Ok(())
            }
            Some(Err(error)) => {
                let (model, purpose, took_ms) =
                    (&self.server.model, self.purpose.as_str(), began.elapsed().as_millis());
                let has_text = !progress.text.is_empty();
                tracing::warn!(%error, tenant = %self.tenant, model, purpose, took_ms, has_text, "llm.failed: there is no whole answer");
                Err(error)
            }
            None => Ok(()),
        }
    }

    /// Asks until there is text, and listens to it.
    async fn converse(&self, progress: &mut Progress, listener: &Listener, began: Instant) -> Result<Finish, LlmError> {
        let deadline = began + self.limits.total;
        let backoff =
            ExponentialBuilder::default().with_min_delay(PAUSE).with_max_delay(LONGEST_PAUSE).with_max_times(RETRIES);
        let mut pauses = backoff.with_jitter().build();
        loop {
            let error = match self.attempt(progress, listener, deadline).await {
                Ok(finish) => return Ok(finish),
                Err(error) => error,
            };
            let asked = error.retry_after().unwrap_or_default();
            let pause = pauses.next().filter(|_| error.is_transient() && asked <= LONGEST_PAUSE);
            match pause.map(|pause| pause.max(asked)) {
                Some(pause) if progress.text.is_empty() && Instant::now() + pause < deadline => {
                    tokio::time::sleep(pause).await;
                }
                _ => return Err(error),
            }
        }
    }

    /// Asks once, unless the server is left alone by now.
    async fn attempt(
        &self,
        progress: &mut Progress,
        listener: &Listener,
        deadline: Instant,
    ) -> Result<Finish, LlmError> {
        let Some(permit) = self.server.permit() else {
            metrics::requested(self.server.owner(), "not_sent");
            return Err(LlmError::CircuitOpen);
        };
        let ended = self.listen(progress, listener, deadline).await;
        self.server.ended(permit, ended.as_ref().err());
        ended
    }

    async fn listen(
        &self,
        progress: &mut Progress,
        listener: &Listener,
        deadline: Instant,
    ) -> Result<Finish, LlmError> {
        let most_tokens = self.most_tokens();
        let most_bytes = most_tokens as usize * BYTES_PER_TOKEN;
        let too_slow = || LlmError::TooSlow(self.limits.total);
        let first_by = Instant::now() + self.limits.first_token;
        let no_text = || if first_by < deadline { LlmError::NoText(self.limits.first_token) } else { too_slow() };
        let asked = timeout_at(first_by.min(deadline), self.server.ask(&self.prompt, most_tokens)).await;
        let mut chunks = asked.map_err(|_| no_text())??;
        let mut text_by = first_by;
        let mut finish = None;
        loop {
            let next = match timeout_at(text_by.min(deadline), chunks.next()).await {
                // It is complete, and nothing more needs to be known.
                Err(_) | Ok(Some(Err(_))) if finish.is_some() => None,
                Err(_) if progress.text.is_empty() => return Err(no_text()),
                Err(_) if text_by < deadline => return Err(LlmError::Silent(self.limits.idle)),
                Err(_) => return Err(too_slow()),
                Ok(Some(Err(error))) => return Err(broken(error.into(), progress)),
                Ok(next) => next.transpose()?,
            };
            let Some(said) = next.map(super::wire::Chunk::said) else { break };
            if said.has_failed && finish.is_none() {
                return Err(broken(CallError::Failed { status: 500, retry_after: None }.into(), progress));
            }
            progress.usage = said.usage.or(progress.usage);
            if !said.text.is_empty() && finish.is_none() {
                let room = most_bytes - progress.text.len();
                let is_too_long = said.text.len() > room;
                let mut text = said.text;
                text.truncate(text.floor_char_boundary(room));
                let now = Instant::now();
                progress.first_text_at.get_or_insert(now);
                progress.text.push_str(&text);
                text_by = now + self.limits.idle;
                // Whoever does not listen to text that is there is as slow as a server that sends none.
                if !text.is_empty() {
                    let told = timeout_at(deadline, listener.send(Ok(Delta::Text(text)))).await;
                    told.map_err(|_| too_slow())?.ok();
                }
                if is_too_long {
                    return Ok(Finish::Length);
                }
            }
            if let Some(reason) = said.finish {
                finish = Some(reason);
                text_by = Instant::now() + USAGE_WITHIN;
            }
        }
        match finish {
            Some(_) if progress.text.trim().is_empty() => Err(LlmError::Empty),
            Some(finish) => Ok(finish),
            None => Err(LlmError::Cut),
        }
    }

    fn most_tokens(&self) -> u32 {
        self.prompt.max_output_tokens.min(self.limits.max_output_tokens)
    }

    fn entry(&self) -> NewCall<'_> {
        NewCall {
            tenant: self.tenant,
            purpose: self.purpose,
            answer: self.answer,
            is_own_model: self.server.is_own,
            provider: &self.server.host,
            model: &self.server.model,
            prices: self.server.prices,
            budget: self.budget,
        }
    }
}

/// A connection that breaks in the middle of an answer cuts it off, whatever broke it.
fn broken(error: LlmError, progress: &Progress) -> LlmError {
    if !progress.text.is_empty() && error.is_transient() { LlmError::Cut } else { error }
}
