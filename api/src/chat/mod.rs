//! Chats: a socket over which somebody asks the assistant and hears the answers as they are written.
//!
//! One task serves a socket. It waits for four things at once: what the client says, what is said of the answers that the client
//! follows, the next sign of life that is due, and the end of the process. An answer's next message is taken only when the one before
//! could be handed over, so that a client that reads slowly is waited for, and what it has not read lies in Redis.
//!
//! Nothing of a socket needs to be kept: whoever comes back, to any process, resumes.

mod allowance;
mod credential;
mod ending;
mod message;
mod metrics;
mod obey;
mod origin;

use std::{future::poll_fn, net::IpAddr, pin::Pin};

use actix_web::web::Data;
use actix_ws::{AggregatedMessage, AggregatedMessageStream, MessageStream, ProtocolError, Session};
use futures::{FutureExt as _, Sink as _, StreamExt as _, future::LocalBoxFuture, stream::FuturesUnordered};
use serde::Serialize;
use shared::{assistant::Asker, auth::Principal, rate_limit::Places};
use tokio::time::{Duration, Instant, sleep_until, timeout};
use tracing::Instrument as _;
use uuid::Uuid;

use self::{
    allowance::{Allowance, TooFast},
    ending::Ending,
    message::{Limits, Refusal, Reply, Request},
};
pub(crate) use self::{
    credential::{Credential, PROTOCOL},
    metrics::{Place, Refused, prepare as prepare_metrics},
    origin::{check as check_origin, check_own as check_own_origin},
};
use crate::{
    Services,
    answering::{AnswerMessage, Messages},
    error::{ApiError, Code},
};

/// Most bytes of a message of a client.
pub(crate) const MAX_MESSAGE_BYTES: usize = 64 * 1024;
/// How long somebody may take to hear why the socket is closed.
const FAREWELL: Duration = Duration::from_secs(2);

/// Who has opened a socket.
pub(crate) struct Chat {
    pub(crate) services: Data<Services>,
    pub(crate) credential: Credential,
    pub(crate) caller: Principal,
    pub(crate) asker: Asker,
    pub(crate) session: String,
    pub(crate) locale: Option<String>,
    pub(crate) address: IpAddr,
    pub(crate) places: Places,
}

/// Serves a socket until it ends.
pub(crate) async fn serve(chat: Chat, out: Session, incoming: MessageStream) {
    let incoming =
        incoming.max_frame_size(MAX_MESSAGE_BYTES).aggregate_continuations().max_continuation_size(MAX_MESSAGE_BYTES);
    let mut socket = Socket::new(chat, out);
    let ending = if socket.hold().await { socket.run(incoming).await } else { Ending::TooMany };
    let Socket { chat, out, id, .. } = socket;
    end(out, &ending).await;
    let Chat { services, caller, places, .. } = chat;
    // Otherwise it is free a little later.
    let _ = services.limiter.leave(caller.tenant, &places, id).await;
}

/// Tells somebody who is not let in why, and closes the socket.
pub(crate) async fn turn_away(out: Session, error: ApiError) {
    tracing::warn!(target: "audit", code = error.code.as_str(), cause = error.cause.as_ref().map(|c| format!("{c:#}")), "chat.denied");
    end(out, &Ending::NotAuthenticated(error)).await;
}

async fn end(mut out: Session, ending: &Ending) {
    metrics::closed(ending);
    let told = async {
        if let Some(refusal) = ending.refusal() {
            out.text(json(&refusal.reply())).await?;
        }
        out.close(ending.close()).await
    };
    let _ = timeout(FAREWELL, told).await;
}

/// An answer that is followed, and its next message; none: there is no more.
type Followed = (Messages, Option<AnswerMessage>);

struct Socket {
    chat: Chat,
    out: Session,
    id: Uuid,
    answers: FuturesUnordered<LocalBoxFuture<'static, Followed>>,
    /// Which answers are followed.
    followed: Vec<Uuid>,
    /// The one of them that was asked for here.
    asked: Option<Uuid>,
    allowance: Allowance,
    /// When there was the last sign of life.
    heard: Instant,
    ping_at: Instant,
    check_at: Instant,
}

impl Socket {
    fn new(chat: Chat, out: Session) -> Self {
        let now = Instant::now();
        let heartbeat = chat.services.config.chat.heartbeat;
        // Sockets that were opened at once, as after a restart, do not ask at once from then on.
        let first_check = recheck_every(heartbeat).mul_f64(rand::random::<f64>());
        Self {
            chat,
            out,
            id: Uuid::new_v4(),
            answers: FuturesUnordered::new(),
            followed: Vec::new(),
            asked: None,
            allowance: Allowance::new(now),
            heard: now,
            ping_at: now + heartbeat,
            check_at: now + first_check,
        }
    }

    async fn run(&mut self, mut incoming: AggregatedMessageStream) -> Ending {
        if let Err(ending) = self.greet().await {
            return ending;
        }
        let stopping = self.chat.services.stopping.clone();
        loop {
            let due = self.ping_at.min(self.check_at);
            let ended = tokio::select! {
                biased;
                () = stopping.cancelled() => Err(Ending::Stopping),
                () = sleep_until(due) => self.beat().await,
                message = incoming.recv() => self.hear(message).await,
                told = next_told(&mut self.out, &mut self.answers), if !self.answers.is_empty() => self.tell(told).await,
            };
            if let Err(ending) = ended {
                return ending;
            }
        }
    }

    async fn greet(&mut self) -> Result<(), Ending> {
        let config = &self.chat.services.config.chat;
        let greeting = json(&Reply::Connection {
            seq: 0,
            session_id: &self.chat.session,
            heartbeat_seconds: config.heartbeat.as_secs(),
            limits: Limits::of(config),
        });
        self.send(greeting).await
    }

    /// Does what is due: pings, checks the credential, and gives up who is silent.
    async fn beat(&mut self) -> Result<(), Ending> {
        let (now, heartbeat) = (Instant::now(), self.chat.services.config.chat.heartbeat);
        if now >= self.heard + silence_after(heartbeat) {
            return Err(Ending::Silent);
        }
        if now >= self.check_at {
            self.check_at = now + recheck_every(heartbeat);
            // Where there is no telling, it is good until the next time.
            let _ = self.check().boxed_local().await?;
        }
        if now >= self.ping_at {
            self.ping_at = now + heartbeat;
            self.keep_place();
            return handed_over(heartbeat, self.out.ping(b"")).await;
        }
        Ok(())
    }

    /// Whether the credential is good still. The inner error: there is no telling at the moment.
    async fn check(&mut self) -> Result<Result<(), ApiError>, Ending> {
        let Chat { services, credential, caller, .. } = &self.chat;
        match credential.check(services, caller).await {
            Ok(caller) => {
                self.chat.caller = caller;
                Ok(Ok(()))
            }
            Err(error) if error.code.status() == Code::CredentialInvalid.status() => {
                tracing::warn!(target: "audit", code = error.code.as_str(), "chat.denied: the credential is not good any more");
                Err(Ending::NotAuthenticated(error))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// Takes a place for this socket. `false`: there is none. Without Redis there is no counting: sockets cost little, and each process
    /// has a limit of its own.
    async fn hold(&self) -> bool {
        let Chat { services, caller, places, .. } = &self.chat;
        services.limiter.hold(caller.tenant, places, self.id).await.unwrap_or_else(|error| {
            tracing::debug!(%error, "chat.places_not_counted");
            true
        })
    }

    /// Keeps the place, without waiting for it.
    fn keep_place(&self) {
        let Chat { services, caller, places, .. } = &self.chat;
        let (limiter, tenant, places, id) = (services.limiter.clone(), caller.tenant, places.clone(), self.id);
        actix_web::rt::spawn(async move {
            let _ = limiter.hold(tenant, &places, id).await;
        });
    }

    async fn hear(&mut self, message: Option<Result<AggregatedMessage, ProtocolError>>) -> Result<(), Ending> {
        let message = match message {
            None | Some(Ok(AggregatedMessage::Close(_))) => return Err(Ending::Client),
            Some(Err(error)) => return Err((&error).into()),
            Some(Ok(message)) => message,
        };
        let now = Instant::now();
        self.heard = now;
        if matches!(message, AggregatedMessage::Pong(_)) {
            return Ok(());
        }
        match self.allowance.take(now) {
            Ok(()) => {}
            Err(TooFast::Abuse) => return Err(Ending::Abuse),
            Err(TooFast::Wait) => return self.refuse_haste(&message).await,
        }
        match message {
            AggregatedMessage::Ping(bytes) => {
                handed_over(self.chat.services.config.chat.heartbeat, self.out.pong(&bytes)).await
            }
            AggregatedMessage::Text(text) => self.obey_text(&text).await,
            _ => self.misunderstand("Messages are JSON as text; this one is binary.").await,
        }
    }

    async fn refuse_haste(&mut self, message: &AggregatedMessage) -> Result<(), Ending> {
        Refused::TooFast.count();
        if matches!(message, AggregatedMessage::Ping(_)) {
            return Ok(());
        }
        let refusal =
            Refusal::for_now(Code::RateLimited.as_str(), "Too many messages. Wait a second before the next one.");
        self.refuse(Refusal { retry_after_seconds: Some(1), ..refusal }).await
    }

    async fn obey_text(&mut self, text: &str) -> Result<(), Ending> {
        let request = match Request::parse(text) {
            Ok(request) => request,
            Err(error) => {
                let message = format!(
                    "This is no message that is understood here: {error}. Send `{{\"query\": \"…\"}}`, or the type `cancel`, `resume` or \
                     `feedback`."
                );
                return self.misunderstand(&message).await;
            }
        };
        metrics::message(request.kind());
        // On the heap, for as long as it takes: most sockets say nothing most of the time.
        let span = tracing::info_span!("chat.message", r#type = request.kind(), otel.kind = "server");
        match self.obey(request).instrument(span).boxed_local().await? {
            Ok(()) => Ok(()),
            Err(refusal) => {
                Refused::Other.count();
                self.refuse(refusal).await
            }
        }
    }

    async fn misunderstand(&mut self, message: &str) -> Result<(), Ending> {
        Refused::NotUnderstood.count();
        self.refuse(Refusal::new(Code::InvalidRequest.as_str(), message)).await
    }

    async fn refuse(&mut self, refusal: Refusal) -> Result<(), Ending> {
        self.send(json(&refusal.reply())).await
    }

    /// Follows an answer from now on.
    fn follow(&mut self, answer: Uuid, mut messages: Messages) {
        self.followed.push(answer);
        self.answers.push(
            async move {
                let next = messages.next().await;
                (messages, next)
            }
            .boxed_local(),
        );
    }

    /// Passes a message of an answer on.
    async fn tell(&mut self, (messages, next): Followed) -> Result<(), Ending> {
        let answer = messages.answer();
        self.followed.retain(|followed| *followed != answer);
        let is_last = next.as_ref().is_none_or(|message| message.said.is_last());
        if is_last && self.asked == Some(answer) {
            self.asked = None;
        }
        if let Some(message) = next {
            self.send(json(&message)).await?;
        }
        if !is_last {
            self.follow(answer, messages);
        }
        Ok(())
    }

    async fn send(&mut self, text: String) -> Result<(), Ending> {
        handed_over(self.chat.services.config.chat.heartbeat, self.out.text(text)).await
    }
}

/// The next message of any answer, once the client has read enough of those before.
async fn next_told(out: &mut Session, answers: &mut FuturesUnordered<LocalBoxFuture<'static, Followed>>) -> Followed {
    // One that is closed is found to be when something is sent.
    let _ = poll_fn(|context| Pin::new(&mut *out).poll_ready(context)).await;
    match answers.next().await {
        Some(told) => told,
        None => std::future::pending().await,
    }
}

async fn handed_over(
    patience: Duration,
    sending: impl Future<Output = Result<(), actix_ws::Closed>>,
) -> Result<(), Ending> {
    match timeout(patience, sending).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(Ending::Client),
        Err(_) => Err(Ending::Slow),
    }
}

/// After how long without a sign of life a socket is given up: two pings were not answered.
fn silence_after(heartbeat: Duration) -> Duration {
    heartbeat * 9 / 4
}

fn recheck_every(heartbeat: Duration) -> Duration {
    heartbeat * 3 / 4
}

fn json(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_default()
}
