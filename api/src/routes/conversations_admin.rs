//! What people ask the assistant, for staff: conversations, how each answer came to be, and what is kept of a person.

use actix_web::{
    HttpResponse,
    web::{Data, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    assistant::{
        self,
        conversations::{self, Conversation, ConversationFilter, OUTCOMES, Transcript},
        person::{self, PersonErased, PersonExport},
        replay::{self, Fact, Replay, ReplayPassage, Timings},
    },
    audit,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    articles::article_url,
    conversations::{ExchangeLine, exchange_line, private},
    handovers::parse_reason,
    memories::{self, MemoryLine},
    paging,
    refusals::InvalidRequest,
};
use crate::{
    Services,
    answering::{CitationLine, NearestLine, citation_line, citation_url, nearest_line},
    caller::{Admin, Agent},
    error::{ApiError, Problem},
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;
/// Most characters of a person's subject.
const MAX_SUBJECT_CHARS: usize = 255;

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

/// How an answer came to be.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReplayBody {
    id: Uuid,
    conversation_id: Uuid,
    /// Who asked: `person:` and their subject, `visitor:` and a hash, or `key:` and its id.
    asker: String,
    /// The asker's roles, by which passages were chosen.
    roles: Vec<String>,
    locale: Option<String>,
    /// The page of the host application that it was asked on.
    page: Option<String>,
    question: String,
    /// `queued`, `writing`, `done`, `cancelled` or `failed`.
    status: String,
    /// The question as it was searched for, with what a follow-up left out.
    searched_for: Option<String>,
    /// How probably the help center knows an answer, 0 to 1.
    relevance: Option<f32>,
    /// What was retrieved, by marker.
    passages: Vec<PassageLine>,
    /// What a language model was sent; null: none was asked.
    #[schema(value_type = Option<Object>)]
    prompt: Option<serde_json::Value>,
    /// What was said: Markdown.
    answer: Option<String>,
    /// The same as safe HTML: its only links are those of its markers.
    html: Option<String>,
    citations: Vec<CitationLine>,
    nearest: Vec<NearestLine>,
    /// `answered`, `refused` or `handed_over`.
    outcome: Option<String>,
    reason: Option<String>,
    /// Who wrote it: `extractive`, or `openai` for a language model.
    provider: Option<String>,
    model: Option<String>,
    /// What was not available.
    degraded: Vec<String>,
    /// Whether the same had been answered before.
    is_cached: bool,
    /// How many sentences were left out because no passage supports them.
    withheld_claims: i32,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    /// US dollars; null: no model was asked, or its price is not known.
    usd: Option<f64>,
    timings: TimingsLine,
    /// What is noted of it, in the order in which it happened.
    facts: Vec<FactLine>,
    helpful: Option<bool>,
    comment: Option<String>,
}

/// A passage as it was then.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PassageLine {
    marker: i16,
    article_id: Uuid,
    revision_id: Uuid,
    title: String,
    /// Address of the article's page, from the root of the site.
    url: String,
    heading_path: Vec<String>,
    text: String,
    /// Cosine with what was searched for; null: it was not measured.
    similarity: Option<f32>,
    /// The article's, 0 to 1.
    score: f32,
    /// Whether the answer cites it.
    cited: bool,
}

/// When things happened, and how many milliseconds they took.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TimingsLine {
    asked_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    /// From the question to the worker that wrote it.
    queue_ms: Option<i32>,
    retrieval_ms: Option<i32>,
    /// From the question to the first words.
    first_chunk_ms: Option<i32>,
    writing_ms: Option<i32>,
    /// From the question to the end.
    total_ms: Option<i64>,
}

/// Something that came of an answer.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FactLine {
    /// `answered`, `cited`, `refused`, `handed_over`, `confirmed_helpful` or `ticket_opened`.
    outcome: String,
    happened_at: DateTime<Utc>,
}

/// What the assistant keeps of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonBody {
    subject: String,
    /// The latest first.
    conversations: Vec<AskedBody>,
    memories: Vec<MemoryLine>,
}

/// What was erased of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonErasedBody {
    /// Conversations, with their answers and hand-overs.
    conversations: u64,
    memories: u64,
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

/// How an answer came to be: what was searched for, found, prompted and said, by whom, how long it took, and what came of it.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/answers/{id}/", tag = "Conversations", operation_id = "replayAnswer",
    params(("id" = String, Path, description = "`answer_id`")),
    responses(
        (status = 200, description = "Everything that is kept of the answer", body = ReplayBody),
        (status = 404, description = "There is none with this id", body = Problem, content_type = "application/problem+json"),
        Agent,
    )
)]
pub(crate) async fn answer(
    services: Data<Services>,
    Agent(caller): Agent,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let none = || ApiError::not_found("There is no answer with this id.");
    let id = id.parse().map_err(|_| none())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let replay = replay::replay(&mut tx, id).await?.ok_or_else(none)?;
    Ok(private(&replay_body(replay)))
}

/// Hands out what the assistant keeps of a person: their conversations and what is remembered of them. It is in the audit log.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/people/{subject}/assistant/", tag = "Conversations", operation_id = "exportPerson",
    params(("subject" = String, Path, description = "The `sub` of their tokens, or the id of their local account")),
    responses(
        (status = 200, description = "All of it; nothing for somebody who never asked", body = PersonBody),
        (status = 404, description = "Nobody can have this subject", body = Problem, content_type = "application/problem+json"),
        Admin,
    )
)]
pub(crate) async fn export_person(
    services: Data<Services>,
    Admin(caller): Admin,
    subject: Path<String>,
) -> Result<HttpResponse, ApiError> {
    check_subject(&subject)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let export = person::export_person(&mut tx, &subject).await?;
    audit::record(&mut tx, &caller.actor(), "person.assistant_exported", &subject).await?;
    tx.commit().await?;
    Ok(private(&person_body(export)))
}

/// Erases what the assistant keeps of a person. It is in the audit log.
#[utoipa::path(
    delete, path = "/api/v2/help-center/admin/people/{subject}/assistant/", tag = "Conversations", operation_id = "erasePerson",
    params(("subject" = String, Path, description = "The `sub` of their tokens, or the id of their local account")),
    responses(
        (status = 200, description = "How much there was", body = PersonErasedBody),
        (status = 404, description = "Nobody can have this subject", body = Problem, content_type = "application/problem+json"),
        Admin,
    )
)]
pub(crate) async fn erase_person(
    services: Data<Services>,
    Admin(caller): Admin,
    subject: Path<String>,
) -> Result<HttpResponse, ApiError> {
    check_subject(&subject)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let PersonErased { conversations, memories } = person::erase_person(&mut tx, &subject).await?;
    let details = serde_json::json!({ "conversations": conversations, "memories": memories });
    audit::record_with(&mut tx, &caller.actor(), "person.assistant_erased", &subject, &details).await?;
    tx.commit().await?;
    Ok(private(&PersonErasedBody { conversations, memories }))
}

fn check_subject(subject: &str) -> Result<(), ApiError> {
    if subject.is_empty() || subject.chars().count() > MAX_SUBJECT_CHARS || subject.chars().any(char::is_control) {
        return Err(ApiError::not_found("Nobody can have this subject. Check the address for a typing error."));
    }
    Ok(())
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

fn body(transcript: Transcript) -> AskedBody {
    AskedBody {
        conversation: line(transcript.conversation),
        exchanges: transcript.exchanges.into_iter().map(exchange_line).collect(),
    }
}

fn person_body(export: PersonExport) -> PersonBody {
    PersonBody {
        subject: export.subject,
        conversations: export.conversations.into_iter().map(body).collect(),
        memories: export.memories.into_iter().map(memories::line).collect(),
    }
}

fn replay_body(replay: Replay) -> ReplayBody {
    ReplayBody {
        html: replay.answer.as_deref().map(|answer| assistant::html(answer, &replay.citations, citation_url)),
        id: replay.id,
        conversation_id: replay.conversation_id,
        asker: replay.asker,
        roles: replay.roles,
        locale: replay.locale,
        page: replay.page,
        question: replay.question,
        status: replay.status,
        searched_for: replay.searched_for,
        relevance: replay.relevance,
        passages: replay.passages.into_iter().map(passage_line).collect(),
        prompt: replay.prompt,
        answer: replay.answer,
        citations: replay.citations.iter().map(citation_line).collect(),
        nearest: replay.nearest.into_iter().map(nearest_line).collect(),
        outcome: replay.outcome,
        reason: replay.reason,
        provider: replay.provider,
        model: replay.model,
        degraded: replay.degraded,
        is_cached: replay.is_cached,
        withheld_claims: replay.withheld_claims,
        input_tokens: replay.input_tokens,
        output_tokens: replay.output_tokens,
        usd: replay.usd,
        timings: timings_line(&replay.timings),
        facts: replay.facts.into_iter().map(fact_line).collect(),
        helpful: replay.is_helpful,
        comment: replay.comment,
    }
}

fn passage_line(passage: ReplayPassage) -> PassageLine {
    PassageLine {
        marker: passage.marker,
        article_id: passage.article_id,
        revision_id: passage.revision_id,
        url: article_url(&passage.slug),
        title: passage.title,
        heading_path: passage.heading_path,
        text: passage.body,
        similarity: passage.similarity,
        score: passage.score,
        cited: passage.is_cited,
    }
}

fn timings_line(timings: &Timings) -> TimingsLine {
    TimingsLine {
        asked_at: timings.asked_at,
        started_at: timings.started_at,
        finished_at: timings.finished_at,
        queue_ms: timings.queue_ms,
        retrieval_ms: timings.retrieval_ms,
        first_chunk_ms: timings.first_chunk_ms,
        writing_ms: timings.writing_ms,
        total_ms: timings.total_ms,
    }
}

fn fact_line(fact: Fact) -> FactLine {
    FactLine { outcome: fact.outcome, happened_at: fact.happened_at }
}
