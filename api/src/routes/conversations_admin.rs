//! What people ask the assistant, for staff.

use actix_web::{
    HttpResponse,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::assistant::conversations::{self, Conversation, ConversationFilter, OUTCOMES, Transcript};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    conversations::{ExchangeLine, exchange_line, private},
    handovers::parse_reason,
    paging,
    refusals::InvalidRequest,
};
use crate::{
    Services,
    caller::Agent,
    error::{ApiError, Problem},
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

/// Which conversations to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ConversationsFilter {
    /// Only with an answer of which this is noted: `answered`, `cited`, `refused`, `handed_over`, `confirmed_helpful` or `ticket_opened`.
    outcome: Option<String>,
    /// Only with an answer that was refused or handed over for this reason: `missing_knowledge`, `customer_request`,
    /// `unsupported_request`, `policy`, `budget` or `provider_down`.
    reason: Option<String>,
    /// Only with an answer that was found helpful (`true`), or not (`false`).
    helpful: Option<String>,
    /// Only with a question since then, such as `2026-06-01T00:00:00Z`.
    since: Option<DateTime<Utc>>,
    /// How many at most, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200, default = 50)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of conversations of all askers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AskedPage {
    /// The one that was gone on with last first.
    results: Vec<AskedLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// A conversation. Its session is not told: of visitors it is a secret.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AskedLine {
    id: Uuid,
    /// Who asks: `person:` and their subject, `visitor:` and a hash, or `key:` and its id.
    asker: String,
    started_at: DateTime<Utc>,
    last_asked_at: DateTime<Utc>,
    /// How many questions it has.
    questions: i64,
    last_question: String,
    /// What became of the last question: `answered`, `refused` or `handed_over`; null: nothing yet, or there is no answer.
    last_outcome: Option<String>,
    /// Whether a person is to go on with it.
    handed_over: bool,
}

/// A conversation with everything that was said.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AskedBody {
    #[serde(flatten)]
    conversation: AskedLine,
    /// In their order, at most the latest 1000.
    exchanges: Vec<ExchangeLine>,
}

/// Lists what people ask the assistant.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/conversations/", tag = "Conversations", operation_id = "listAllConversations",
    params(ConversationsFilter),
    responses(
        (status = 200, description = "A page of conversations", body = AskedPage),
        InvalidRequest, Agent,
    )
)]
pub(crate) async fn list(
    services: Data<Services>,
    Agent(caller): Agent,
    query: Query<ConversationsFilter>,
) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    if query.outcome.as_deref().is_some_and(|outcome| !OUTCOMES.contains(&outcome)) {
        return Err(ApiError::invalid(format!("`outcome` must be one of {}.", OUTCOMES.join(", "))));
    }
    query.reason.as_deref().map(parse_reason).transpose()?;
    let is_helpful = match query.helpful.as_deref() {
        None => None,
        Some("true") => Some(true),
        Some("false") => Some(false),
        Some(_) => return Err(ApiError::invalid("`helpful` must be `true` or `false`.")),
    };
    let filter = ConversationFilter {
        asker: None,
        outcome: query.outcome,
        reason: query.reason,
        is_helpful,
        since: query.since,
        before: paging::after::<(DateTime<Utc>, Uuid)>(query.cursor.as_deref())?,
        limit: limit + 1,
    };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut found = conversations::conversations(&mut tx, &filter).await?;
    let next_cursor = paging::next_cursor(&mut found, limit, |last| (last.last_asked_at, last.id));
    Ok(private(&AskedPage { results: found.into_iter().map(line).collect(), next_cursor }))
}

/// A conversation with everything that was said, as it was told to its asker.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/conversations/{id}/", tag = "Conversations", operation_id = "getAnyConversation",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The conversation", body = AskedBody),
        (status = 404, description = "There is none with this id", body = Problem, content_type = "application/problem+json"),
        Agent,
    )
)]
pub(crate) async fn detail(
    services: Data<Services>,
    Agent(caller): Agent,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let none = || ApiError::not_found("There is no conversation with this id.");
    let id = id.parse().map_err(|_| none())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let transcript = conversations::transcript_by_id(&mut tx, id).await?.ok_or_else(none)?;
    Ok(private(&body(transcript)))
}

fn line(conversation: Conversation) -> AskedLine {
    AskedLine {
        id: conversation.id,
        asker: conversation.asker,
        started_at: conversation.started_at,
        last_asked_at: conversation.last_asked_at,
        questions: conversation.questions,
        last_question: conversation.last_question,
        last_outcome: conversation.last_outcome,
        handed_over: conversation.is_handed_over,
    }
}

pub(super) fn body(transcript: Transcript) -> AskedBody {
    AskedBody {
        conversation: line(transcript.conversation),
        exchanges: transcript.exchanges.into_iter().map(exchange_line).collect(),
    }
}
