//! Conversations that people are to go on with: asked for by those who ask, and looked after by staff.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    assistant::{
        Reason,
        conversations::{self, Transcript},
        handovers::{self, Handover, MAX_NOTE_CHARS, NewHandover},
    },
    markdown::strip_invisible,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    assistant::asker,
    conversations::{ExchangeLine, exchange_line, private},
    paging,
    refusals::{InvalidBody, InvalidRequest},
};
use crate::{
    Services,
    caller::{Agent, Reader},
    error::{ApiError, Problem},
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

/// A wish for a person.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct HandoverBody {
    /// The session of the conversation.
    #[schema(min_length = 1, max_length = 200)]
    session_id: String,
    /// The answer after which a person is wanted; the last one when left out.
    answer_id: Option<Uuid>,
    /// `missing_knowledge`, `customer_request`, `unsupported_request`, `policy`, `budget` or `provider_down`; when left out, the reason
    /// for which the assistant refused last, or else `customer_request`.
    reason: Option<String>,
    /// What to tell the person, at most 2000 characters.
    #[schema(max_length = 2000)]
    note: Option<String>,
}

/// A wish that was kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HandoverKept {
    id: Uuid,
    reason: String,
    note: Option<String>,
    requested_at: DateTime<Utc>,
}

/// Which hand-overs to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct HandoversQuery {
    /// Only `open` or only `closed` ones.
    status: Option<String>,
    /// How many at most, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200, default = 50)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of hand-overs.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HandoverPage {
    /// The latest first.
    results: Vec<HandoverLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// A conversation that a person is to go on with.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HandoverLine {
    id: Uuid,
    /// `open` or `closed`.
    status: &'static str,
    conversation_id: Uuid,
    /// Who asked: `person:` and their subject, `visitor:` and a hash, or `key:` and its id.
    asker: String,
    /// The answer after which it was asked for.
    answer_id: Option<Uuid>,
    reason: String,
    /// The asker's own words.
    note: Option<String>,
    last_question: Option<String>,
    requested_at: DateTime<Utc>,
    closed_at: Option<DateTime<Utc>>,
    closed_by: Option<String>,
}

/// A hand-over with everything that was said before.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HandoverDetail {
    #[serde(flatten)]
    handover: HandoverLine,
    /// In their order, at most the latest 1000.
    exchanges: Vec<ExchangeLine>,
}

/// What becomes of a hand-over.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CloseBody {
    /// `closed`: somebody is done with it.
    status: String,
}

/// Asks for a person to go on with the caller's conversation. While one was asked for and nobody is done with it, asking again
/// changes nothing.
#[utoipa::path(
    post, path = "/api/v2/help-center/assistant/handovers/", tag = "Assistant", operation_id = "askForPerson",
    request_body = HandoverBody,
    responses(
        (status = 200, description = "A person is asked for", body = HandoverKept),
        InvalidBody, Reader,
    )
)]
pub(crate) async fn request(
    services: Data<Services>,
    Reader(caller): Reader,
    body: Json<HandoverBody>,
) -> Result<HttpResponse, ApiError> {
    let body = body.into_inner();
    let asker = asker(&services, &caller, &body.session_id)?;
    let reason = body.reason.as_deref().map(parse_reason).transpose()?;
    let new = NewHandover { answer: body.answer_id, reason, note: note(body.note.as_deref())? };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let kept = handovers::request(&mut tx, &asker, &body.session_id, &new).await?;
    let handover = kept.ok_or_else(|| {
        ApiError::invalid(
            "`session_id` names no conversation of yours, or `answer_id` no answer in it. Ask something first.",
        )
    })?;
    tx.commit().await?;
    let Handover { id, reason, note, requested_at, .. } = handover;
    Ok(private(&HandoverKept { id, reason, note, requested_at }))
}

/// Lists hand-overs.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/handovers/", tag = "Conversations", operation_id = "listHandovers",
    params(HandoversQuery),
    responses(
        (status = 200, description = "A page of hand-overs", body = HandoverPage),
        InvalidRequest, Agent,
    )
)]
pub(crate) async fn list(
    services: Data<Services>,
    Agent(caller): Agent,
    query: Query<HandoversQuery>,
) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let is_open = match query.status.as_deref() {
        None => None,
        Some("open") => Some(true),
        Some("closed") => Some(false),
        Some(_) => return Err(ApiError::invalid("`status` must be `open` or `closed`.")),
    };
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let before = paging::after::<(DateTime<Utc>, Uuid)>(query.cursor.as_deref())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut found = handovers::handovers(&mut tx, is_open, before, limit + 1).await?;
    let next_cursor = paging::next_cursor(&mut found, limit, |last| (last.requested_at, last.id));
    Ok(private(&HandoverPage { results: found.into_iter().map(line).collect(), next_cursor }))
}

/// A hand-over with the conversation.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/handovers/{id}/", tag = "Conversations", operation_id = "getHandover",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 200, description = "The hand-over and what was said before", body = HandoverDetail),
        (status = 404, description = "There is none with this id", body = Problem, content_type = "application/problem+json"),
        Agent,
    )
)]
pub(crate) async fn detail(
    services: Data<Services>,
    Agent(caller): Agent,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = id.parse().map_err(|_| no_such_handover())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let handover = handovers::handover(&mut tx, id).await?.ok_or_else(no_such_handover)?;
    let transcript = conversations::transcript_by_id(&mut tx, handover.conversation_id).await?;
    Ok(private(&with_transcript(handover, transcript)))
}

/// Says that somebody is done with a hand-over.
#[utoipa::path(
    patch, path = "/api/v2/help-center/admin/handovers/{id}/", tag = "Conversations", operation_id = "closeHandover",
    params(("id" = String, Path, description = "Its id")),
    request_body = CloseBody,
    responses(
        (status = 200, description = "It is closed", body = HandoverLine),
        (status = 404, description = "There is none with this id", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Agent,
    )
)]
pub(crate) async fn close(
    services: Data<Services>,
    Agent(caller): Agent,
    id: Path<String>,
    body: Json<CloseBody>,
) -> Result<Json<HandoverLine>, ApiError> {
    let id = id.parse().map_err(|_| no_such_handover())?;
    if body.status != "closed" {
        return Err(ApiError::invalid("`status` must be `closed`: a conversation that goes on is handed over anew."));
    }
    let mut tx = services.database.tenant(caller.tenant).await?;
    let closed = handovers::close(&mut tx, &caller.actor(), id).await?.ok_or_else(no_such_handover)?;
    tx.commit().await?;
    Ok(Json(line(closed)))
}

pub(super) fn parse_reason(name: &str) -> Result<Reason, ApiError> {
    Reason::from_name(name).ok_or_else(|| {
        ApiError::invalid(format!("`reason` must be one of {}.", Reason::ALL.map(Reason::as_str).join(", ")))
    })
}

/// What is to be told to a person, as they can see it. Nothing but white space is nothing.
fn note(text: Option<&str>) -> Result<Option<String>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let length = text.chars().count();
    if length > MAX_NOTE_CHARS {
        return Err(ApiError::invalid(format!(
            "`note` may have at most {MAX_NOTE_CHARS} characters; this one has {length}."
        )));
    }
    let visible: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
    Ok(Some(strip_invisible(&visible).trim().to_owned()).filter(|note| !note.is_empty()))
}

fn no_such_handover() -> ApiError {
    ApiError::not_found("There is no hand-over with this id.")
}

pub(super) fn line(handover: Handover) -> HandoverLine {
    HandoverLine {
        id: handover.id,
        status: if handover.closed_at.is_some() { "closed" } else { "open" },
        conversation_id: handover.conversation_id,
        asker: handover.asker,
        answer_id: handover.answer_id,
        reason: handover.reason,
        note: handover.note,
        last_question: handover.last_question,
        requested_at: handover.requested_at,
        closed_at: handover.closed_at,
        closed_by: handover.closed_by,
    }
}

fn with_transcript(handover: Handover, transcript: Option<Transcript>) -> HandoverDetail {
    let exchanges = transcript.map(|transcript| transcript.exchanges).unwrap_or_default();
    HandoverDetail { handover: line(handover), exchanges: exchanges.into_iter().map(exchange_line).collect() }
}
