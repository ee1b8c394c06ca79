//! What somebody asked the assistant: their conversations, to read again, to keep and to erase.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    assistant::{
        self, Asker,
        conversations::{self, Conversation, ConversationFilter, Exchange, Transcript},
    },
    auth::Principal,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{paging, refusals::InvalidRequest};
use crate::{
    Services,
    answering::{CitationLine, NearestLine, citation_line, citation_url, nearest_line},
    caller::Reader,
    error::{ApiError, Code, Problem},
};

const DEFAULT_LIMIT: i64 = 20;
const MAX_LIMIT: i64 = 100;

/// Whose conversations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConversationsQuery {
    /// For visitors without an account: the `session_id` that they asked with.
    session_id: Option<String>,
    /// How many at most, 1 to 100; 20 when left out.
    #[param(minimum = 1, maximum = 100, default = 20)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// As what a transcript is wanted.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct TranscriptQuery {
    /// `json`, or `markdown` for a document to keep; `json` when left out.
    format: Option<String>,
}

/// A page of conversations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConversationPage {
    /// The one that was gone on with last first.
    results: Vec<ConversationLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// A conversation of the caller's.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ConversationLine {
    /// Names it: questions with it go on from the last one.
    session_id: String,
    started_at: DateTime<Utc>,
    last_asked_at: DateTime<Utc>,
    /// How many questions it has.
    questions: i64,
    last_question: String,
    /// Whether a person is to go on with it.
    handed_over: bool,
}

/// Everything that was asked and answered in a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TranscriptBody {
    #[serde(flatten)]
    conversation: ConversationLine,
    /// In their order, at most the latest 1000.
    exchanges: Vec<ExchangeLine>,
}

/// A question with its answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ExchangeLine {
    answer_id: Uuid,
    question: String,
    asked_at: DateTime<Utc>,
    /// When the answer ended; null: it has not.
    finished_at: Option<DateTime<Utc>>,
    /// `queued`, `writing`, `done`, `cancelled` or `failed`.
    status: String,
    /// `answered`, `refused` or `handed_over`, once it is done.
    outcome: Option<String>,
    /// Why it was not answered.
    reason: Option<String>,
    /// Markdown; markers like `[1]` name citations. Null: there is none, or it is withheld.
    answer: Option<String>,
    /// The same as safe HTML: its only links are those of its markers.
    html: Option<String>,
    /// It rests on an article that the caller may not see any more.
    withheld: bool,
    citations: Vec<CitationLine>,
    /// The nearest articles, where the question was refused.
    nearest: Vec<NearestLine>,
    /// Whether the asker found it helpful; null: they have not said.
    helpful: Option<bool>,
    /// What they said about it.
    comment: Option<String>,
}

/// Lists the caller's conversations with the assistant.
#[utoipa::path(
    get, path = "/api/v2/help-center/assistant/conversations/", tag = "Assistant", operation_id = "listConversations",
    params(ConversationsQuery),
    responses(
        (status = 200, description = "A page of conversations", body = ConversationPage),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn list(
    services: Data<Services>,
    Reader(caller): Reader,
    query: Query<ConversationsQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let before = paging::after::<(DateTime<Utc>, Uuid)>(query.cursor.as_deref())?;
    let asker = Asker::of(&caller, query.session_id.as_deref(), services.authenticator.pepper()).ok_or_else(|| {
        ApiError::new(
            Code::AuthenticationRequired,
            "Sign in, or send the `session_id` of your conversation: a random text of 16 to 100 characters.",
        )
    })?;
    let filter = ConversationFilter { asker: Some(asker), before, limit: limit + 1, ..ConversationFilter::default() };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut found = conversations::conversations(&mut tx, &filter).await?;
    let next_cursor = paging::next_cursor(&mut found, limit, |last| (last.last_asked_at, last.id));
    let session = query.session_id.as_deref().unwrap_or_default();
    let results = found.into_iter().map(|conversation| line(conversation, session)).collect();
    Ok(private(&ConversationPage { results, next_cursor }))
}

/// A conversation of the caller's, whole.
#[utoipa::path(
    get, path = "/api/v2/help-center/assistant/conversations/{session_id}/", tag = "Assistant", operation_id = "getConversation",
    params(("session_id" = String, Path, description = "The session that it was asked in"), TranscriptQuery),
    responses(
        (status = 200, description = "The transcript", content(
            (TranscriptBody = "application/json"),
            (String = "text/markdown"),
        )),
        (status = 404, description = "There is no such conversation of the caller's", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn detail(
    services: Data<Services>,
    Reader(caller): Reader,
    session: Path<String>,
    query: Query<TranscriptQuery>,
) -> Result<HttpResponse, ApiError> {
    let as_markdown = match query.format.as_deref() {
        None | Some("json") => false,
        Some("markdown") => true,
        Some(_) => return Err(ApiError::invalid("`format` must be `json` or `markdown`.")),
    };
    let asker = own(&services, &caller, &session)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let transcript = conversations::transcript(&mut tx, &asker, &session, &caller.roles).await?;
    let transcript = transcript.ok_or_else(no_such_conversation)?;
    if !as_markdown {
        return Ok(private(&body(transcript, &session)));
    }
    let root = services.config.public_url.trim_end_matches('/');
    let text = assistant::to_markdown(&transcript, |citation| format!("{root}{}", citation_url(citation)));
    Ok(HttpResponse::Ok()
        .content_type("text/markdown; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"conversation.md\""))
        .body(text))
}

/// Erases a conversation of the caller's with everything that belongs to it. What is remembered of them stays until they delete
/// it as well.
#[utoipa::path(
    delete, path = "/api/v2/help-center/assistant/conversations/{session_id}/", tag = "Assistant",
    operation_id = "eraseConversation",
    params(("session_id" = String, Path, description = "The session that it was asked in")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "There is no such conversation of the caller's", body = Problem, content_type = "application/problem+json"),
        Reader,
    )
)]
pub(crate) async fn erase(
    services: Data<Services>,
    Reader(caller): Reader,
    session: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let asker = own(&services, &caller, &session)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    if !conversations::erase(&mut tx, &asker, &session).await? {
        return Err(no_such_conversation());
    }
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Who asked in a session of the caller's. Nobody did in one that nobody can have.
fn own(services: &Services, caller: &Principal, session: &str) -> Result<Asker, ApiError> {
    Asker::of(caller, Some(session), services.authenticator.pepper()).ok_or_else(no_such_conversation)
}

fn no_such_conversation() -> ApiError {
    ApiError::not_found("There is no such conversation of yours.")
}

/// What is of one person: nothing on the way keeps it.
pub(super) fn private(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

/// `session`: as the caller names it; visitors alone know that.
fn line(conversation: Conversation, session: &str) -> ConversationLine {
    ConversationLine {
        session_id: conversation.session.unwrap_or_else(|| session.to_owned()),
        started_at: conversation.started_at,
        last_asked_at: conversation.last_asked_at,
        questions: conversation.questions,
        last_question: conversation.last_question,
        handed_over: conversation.is_handed_over,
    }
}

fn body(transcript: Transcript, session: &str) -> TranscriptBody {
    TranscriptBody {
        conversation: line(transcript.conversation, session),
        exchanges: transcript.exchanges.into_iter().map(exchange_line).collect(),
    }
}

pub(super) fn exchange_line(exchange: Exchange) -> ExchangeLine {
    let html = exchange.answer.as_deref().map(|answer| assistant::html(answer, &exchange.citations, citation_url));
    ExchangeLine {
        answer_id: exchange.answer_id,
        question: exchange.question,
        asked_at: exchange.asked_at,
        finished_at: exchange.finished_at,
        status: exchange.status,
        outcome: exchange.outcome,
        reason: exchange.reason,
        html,
        answer: exchange.answer,
        withheld: exchange.is_withheld,
        citations: exchange.citations.iter().map(citation_line).collect(),
        nearest: exchange.nearest.into_iter().map(nearest_line).collect(),
        helpful: exchange.is_helpful,
        comment: exchange.comment,
    }
}
