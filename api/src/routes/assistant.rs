//! Asking the assistant over HTTP: one JSON answer, or server-sent events as it is written. What is done with answers is done here for
//! sockets as well.

use std::net::IpAddr;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Bytes, Data, Json, Path, Query},
};
use futures::{Stream, stream};
use serde::Deserialize;
use shared::{
    assistant::{
        self, Answer, AnswerId, Asked, Asker, FailureCode, MAX_COMMENT_CHARS, MAX_SESSION_CHARS, Question,
        QuestionError, conversations,
    },
    auth::Principal,
    knowledge::{PageUrl, PageUrlError},
    tenancy::TenantId,
};
use tokio::time::{Duration, sleep};
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;
use uuid::Uuid;

use super::refusals::{InvalidBody, InvalidRequest};
use crate::{
    Services, address,
    answering::{AnswerBody, AnswerMessage, Messages},
    caller::Reader,
    error::{ApiError, Code, Problem},
    limits,
    routes::asked_in,
};

/// How long a stream may be silent before it shows that it is alive.
const BEAT_EVERY: Duration = Duration::from_secs(15);

/// Where answers are.
const ANSWERS: &str = "/api/v2/help-center/assistant/answers/";

/// A question.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskBody {
    /// 2 to 2000 characters, any language.
    #[schema(min_length = 2, max_length = 2000, example = "How do I invite a colleague?")]
    query: String,
    /// Names the session: questions with the same name go on from each other. 1 to 200 characters; for visitors without an
    /// account a random text of 16 to 100 characters. Left out: a new session.
    #[schema(min_length = 1, max_length = 200)]
    session_id: Option<String>,
    /// The page that the asker is on.
    #[schema(max_length = 2048, example = "https://app.example.com/settings/people")]
    current_url: Option<String>,
}

/// Answers a question from the articles that the caller may see. With the header `Accept: text/event-stream` the answer comes as
/// server-sent events while it is written; otherwise as one JSON document.
#[utoipa::path(
    post, path = "/api/v2/help-center/assistant/", tag = "Assistant", operation_id = "ask",
    request_body = AskBody,
    responses(
        (status = 200, description = "The answer", content(
            (AnswerBody = "application/json"),
            (AnswerMessage = "text/event-stream"),
        )),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "The caller, or all of the help center together, asked too much; `Retry-After` says when to ask again", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn ask(
    services: Data<Services>,
    Reader(caller): Reader,
    http: HttpRequest,
    body: Json<AskBody>,
) -> Result<HttpResponse, ApiError> {
    let body = body.into_inner();
    let session = body.session_id.unwrap_or_else(|| Uuid::new_v4().to_string());
    let asker = asker(&services, &caller, &session)?;
    let asked = Asked {
        asker: asker.clone(),
        roles: caller.roles.clone(),
        session: session.clone(),
        question: parse_question(&body.query)?,
        page: parse_page(body.current_url.as_deref())?,
        locale: asked_in(&http),
    };
    let address = address::of(&http, &services.config.trusted_proxies);
    let answer = ask_for(&services, &caller, &asked, address).await?;
    let messages = Messages::new(services.relay.follow(asker, answer, 0, true));
    if wants_events(&http) {
        let mut stream = event_stream(messages, services.stopping.clone());
        // Known before the first event, should the connection break.
        let address = format!("{ANSWERS}{}/", answer.id);
        if let Ok(address) = header::HeaderValue::from_str(&address) {
            stream.headers_mut().insert(header::CONTENT_LOCATION, address);
        }
        Ok(stream)
    } else {
        whole(messages, session).await
    }
}

/// An answer of the caller's: whole, or from where a stream of events broke off.
#[utoipa::path(
    get, path = "/api/v2/help-center/assistant/answers/{id}/", tag = "Assistant", operation_id = "getAnswer",
    params(
        ("id" = String, Path, description = "`answer_id`"),
        ("session_id" = Option<String>, Query, description = "The session that it was asked in, for visitors without an account"),
        ("Last-Event-ID" = Option<u64>, Header, description = "With `Accept: text/event-stream`: the last `seq` that arrived"),
    ),
    responses(
        (status = 200, description = "The answer; waits until it is complete", content(
            (AnswerBody = "application/json"),
            (AnswerMessage = "text/event-stream"),
        )),
        (status = 404, description = "There is no such answer of the caller's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It is told no more, for it names an article that the caller may not see any more; or it was given up", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn answer(
    services: Data<Services>,
    Reader(caller): Reader,
    http: HttpRequest,
    id: Path<String>,
    query: Query<SessionQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let (asker, found) = own(&services, &caller, &id, query.session_id.as_deref()).await?;
    let id = found.id;
    check_tellable(&services, &caller, id).await?;
    if !wants_events(&http) {
        let messages = Messages::new(services.relay.follow(asker, AnswerId { tenant: caller.tenant, id }, 0, false));
        let session = found.session.or(query.session_id).unwrap_or_default();
        return whole(messages, session).await;
    }
    let after = http.headers().get("last-event-id").and_then(|last| last.to_str().ok()?.parse().ok()).unwrap_or(0);
    let following = services.relay.follow(asker, AnswerId { tenant: caller.tenant, id }, after, false);
    Ok(event_stream(Messages::resumed(following, after), services.stopping.clone()))
}

/// In which session something was asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionQuery {
    session_id: Option<String>,
}

fn no_such_answer() -> ApiError {
    ApiError::not_found("There is no such answer of yours.")
}

/// Keeps a question and has it answered, unless the caller has asked too much or nobody could hear the answer.
pub(crate) async fn ask_for(
    services: &Services,
    caller: &Principal,
    asked: &Asked,
    address: IpAddr,
) -> Result<AnswerId, ApiError> {
    let pepper = services.authenticator.pepper();
    limits::admit(&services.limiter, &services.config.chat, pepper, caller, &asked.asker, address).await?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let answer = assistant::ask(&mut tx, asked).await?;
    tx.commit().await?;
    Ok(answer)
}

/// Which answer of the caller's is meant; another person's is none.
async fn own(
    services: &Services,
    caller: &Principal,
    id: &str,
    session: Option<&str>,
) -> Result<(Asker, Answer), ApiError> {
    let id = Uuid::try_parse(id).map_err(|_| no_such_answer())?;
    let asker = Asker::of(caller, session, services.authenticator.pepper()).ok_or_else(no_such_answer)?;
    let found = find_answer(services, caller.tenant, &asker, id).await?;
    Ok((asker, found))
}

/// An answer of the asker's; another person's is none.
pub(crate) async fn find_answer(
    services: &Services,
    tenant: TenantId,
    asker: &Asker,
    id: Uuid,
) -> Result<Answer, ApiError> {
    let mut tx = services.database.tenant(tenant).await?;
    assistant::answer(&mut tx, asker, id).await?.ok_or_else(no_such_answer)
}

/// Refuses to tell an answer again that names what the caller may not see any more.
pub(crate) async fn check_tellable(services: &Services, caller: &Principal, id: Uuid) -> Result<(), ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    if !conversations::is_withheld(&mut tx, id, &caller.roles).await? {
        return Ok(());
    }
    Err(ApiError::new(
        Code::NotPossible,
        "This answer names an article that you may not see any more. Please ask again.",
    ))
}

/// Gives up an answer that is not wanted any more.
#[utoipa::path(
    post, path = "/api/v2/help-center/assistant/answers/{id}/cancel/", tag = "Assistant", operation_id = "cancelAnswer",
    params(
        ("id" = String, Path, description = "`answer_id`"),
        ("session_id" = Option<String>, Query, description = "The session that it was asked in, for visitors without an account"),
    ),
    responses(
        (status = 204, description = "It is not written any more; whoever waits for it is told `cancelled`"),
        (status = 404, description = "There is no such answer of the caller's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "It has ended already", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn cancel(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    query: Query<SessionQuery>,
) -> Result<HttpResponse, ApiError> {
    let (asker, answer) = own(&services, &caller, &id, query.session_id.as_deref()).await?;
    cancel_answer(&services, caller.tenant, &asker, answer.id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Gives up an answer of the asker's, and stops whoever writes it.
pub(crate) async fn cancel_answer(
    services: &Services,
    tenant: TenantId,
    asker: &Asker,
    id: Uuid,
) -> Result<(), ApiError> {
    let mut tx = services.database.tenant(tenant).await?;
    if !assistant::cancel(&mut tx, asker, id).await? {
        let found = assistant::answer(&mut tx, asker, id).await?.ok_or_else(no_such_answer)?;
        let is_cancelled = found.events.contains(&FailureCode::Cancelled.event());
        let ended = || ApiError::new(Code::NotPossible, "This answer has ended already.");
        return if is_cancelled { Ok(()) } else { Err(ended()) };
    }
    tx.commit().await?;
    if let Err(error) = services.relay.streams().end(AnswerId { tenant, id }, &FailureCode::Cancelled.event()).await {
        tracing::warn!(%error, answer = %id, "assistant.cancel.not_told: whoever waits reads it from the row");
    }
    Ok(())
}

/// What somebody thinks of an answer.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AnswerFeedbackBody {
    /// Whether it helped.
    helpful: bool,
    /// Why, at most 1000 characters.
    #[schema(max_length = 1000)]
    comment: Option<String>,
    /// The session that it was asked in, for visitors without an account.
    session_id: Option<String>,
}

/// Keeps whether an answer helped. The latest word counts.
#[utoipa::path(
    put, path = "/api/v2/help-center/assistant/answers/{id}/feedback/", tag = "Assistant", operation_id = "rateAnswer",
    params(("id" = String, Path, description = "`answer_id`")),
    request_body = AnswerFeedbackBody,
    responses(
        (status = 204, description = "It is kept"),
        (status = 404, description = "There is no such answer of the caller's", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "There is nothing to rate: it is being written, or was given up", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Reader,
    )
)]
pub(crate) async fn rate(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    body: Json<AnswerFeedbackBody>,
) -> Result<HttpResponse, ApiError> {
    let AnswerFeedbackBody { helpful, comment, session_id } = body.into_inner();
    let (asker, answer) = own(&services, &caller, &id, session_id.as_deref()).await?;
    rate_answer(&services, caller.tenant, &asker, answer.id, helpful, comment.as_deref()).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Keeps what the asker thinks of an answer of theirs.
pub(crate) async fn rate_answer(
    services: &Services,
    tenant: TenantId,
    asker: &Asker,
    id: Uuid,
    is_helpful: bool,
    comment: Option<&str>,
) -> Result<(), ApiError> {
    let length = comment.map_or(0, |comment| comment.chars().count());
    if length > MAX_COMMENT_CHARS {
        let detail = format!("`comment` may have at most {MAX_COMMENT_CHARS} characters; this one has {length}.");
        return Err(ApiError::invalid(detail));
    }
    let comment = comment.map(str::trim).filter(|comment| !comment.is_empty());
    let mut tx = services.database.tenant(tenant).await?;
    if !assistant::rate(&mut tx, asker, id, is_helpful, comment).await? {
        assistant::answer(&mut tx, asker, id).await?.ok_or_else(no_such_answer)?;
        return Err(ApiError::new(Code::NotPossible, "This answer is not complete, so it cannot be rated."));
    }
    tx.commit().await?;
    Ok(())
}

/// Who asks in a session.
pub(crate) fn asker(services: &Services, caller: &Principal, session: &str) -> Result<Asker, ApiError> {
    check_session(session)?;
    Asker::of(caller, Some(session), services.authenticator.pepper()).ok_or_else(|| {
        ApiError::invalid("`session_id` must be a random text of 16 to 100 characters for visitors without an account.")
    })
}

pub(crate) fn check_session(session: &str) -> Result<(), ApiError> {
    let length = session.chars().count();
    if (1..=MAX_SESSION_CHARS).contains(&length) && !session.chars().any(char::is_control) {
        return Ok(());
    }
    Err(ApiError::invalid(format!(
        "`session_id` must have 1 to {MAX_SESSION_CHARS} characters, and no control characters."
    )))
}

pub(crate) fn parse_question(text: &str) -> Result<Question, ApiError> {
    text.parse().map_err(|error: QuestionError| ApiError::invalid(format!("`query`: {error}.")))
}

pub(crate) fn parse_page(text: Option<&str>) -> Result<Option<PageUrl>, ApiError> {
    let parse =
        |text: &str| text.parse().map_err(|error: PageUrlError| ApiError::invalid(format!("`current_url` {error}.")));
    text.filter(|text| !text.is_empty()).map(parse).transpose()
}

/// The whole answer as JSON, once it is there.
async fn whole(messages: Messages, session: String) -> Result<HttpResponse, ApiError> {
    match AnswerBody::of(messages, session).await {
        Ok(body) => Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)),
        Err((message, true)) => Err(ApiError::new(Code::ServiceUnavailable, message)),
        Err((message, false)) => Err(ApiError::new(Code::NotPossible, message)),
    }
}

fn wants_events(request: &HttpRequest) -> bool {
    let accepted = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    accepted.is_some_and(|accept| accept.contains("text/event-stream"))
}

fn event_stream(messages: Messages, stopping: CancellationToken) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header(("x-accel-buffering", "no"))
        .streaming(events(messages, stopping))
}

/// Messages, and signs of life while there are none. Ends when the process does: the client comes back to another one.
fn events(messages: Messages, stopping: CancellationToken) -> impl Stream<Item = Result<Bytes, ApiError>> {
    stream::unfold((messages, stopping), async |(mut messages, stopping)| {
        let said = tokio::select! {
            message = messages.next() => message?.to_server_sent_event(),
            () = sleep(BEAT_EVERY) => Bytes::from_static(b": still there\n\n"),
            () = stopping.cancelled() => return None,
        };
        Some((Ok(said), (messages, stopping)))
    })
}
