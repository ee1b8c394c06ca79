//! How answers of the assistant came to be, for staff.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::assistant::{
    self,
    replay::{self, Fact, Replay, ReplayPassage, Timings},
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{articles::article_url, conversations::private};
use crate::{
    Services,
    answering::{CitationLine, NearestLine, citation_line, citation_url, nearest_line},
    caller::Agent,
    error::{ApiError, Problem},
};

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
pub(crate) async fn replay(
    services: Data<Services>,
    Agent(caller): Agent,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let none = || ApiError::not_found("There is no answer with this id.");
    let id = id.parse().map_err(|_| none())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let found = replay::replay(&mut tx, id).await?.ok_or_else(none)?;
    Ok(private(&replay_body(found)))
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
