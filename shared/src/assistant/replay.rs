//! How an answer came to be, step by step: for those who want to know why it says what it says.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    conversations::list,
    event::{Citation, Nearest},
};
use crate::db::TenantTx;

/// Everything that is kept of an answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Replay {
    /// Identity.
    pub id: Uuid,
    /// In which conversation.
    pub conversation_id: Uuid,
    /// Who asked: `person:SUBJECT`, `visitor:HASH` or `key:ID`.
    pub asker: String,
    /// With which roles.
    pub roles: Vec<String>,
    /// Their language.
    pub locale: Option<String>,
    /// The page of the host application that they were on.
    pub page: Option<String>,
    /// What was asked.
    pub question: String,
    /// `queued`, `writing`, `done`, `cancelled` or `failed`.
    pub status: String,
    /// What was searched for: the question with what a follow-up leaves out.
    pub searched_for: Option<String>,
    /// How probably the help center knows an answer, 0 to 1.
    pub relevance: Option<f32>,
    /// What was retrieved, by marker.
    pub passages: Vec<ReplayPassage>,
    /// What a language model was sent. `None`: none was asked.
    pub prompt: Option<Value>,
    /// What was said.
    pub answer: Option<String>,
    /// What it rests on.
    pub citations: Vec<Citation>,
    /// What was offered instead.
    pub nearest: Vec<Nearest>,
    /// `answered`, `refused` or `handed_over`.
    pub outcome: Option<String>,
    /// Why it was not answered.
    pub reason: Option<String>,
    /// Who wrote it.
    pub provider: Option<String>,
    /// The language model.
    pub model: Option<String>,
    /// What was not available.
    pub degraded: Vec<String>,
    /// Whether the same had been answered before.
    pub is_cached: bool,
    /// How many sentences were left out because no passage supports them.
    pub withheld_claims: i32,
    /// Tokens of the prompt.
    pub input_tokens: Option<i64>,
    /// Tokens of the answer.
    pub output_tokens: Option<i64>,
    /// US dollars.
    pub usd: Option<f64>,
    /// How long the steps took.
    pub timings: Timings,
    /// What is noted of it, in the order in which it happened.
    pub facts: Vec<Fact>,
    /// Whether the asker found it helpful.
    pub is_helpful: Option<bool>,
    /// What they said about it.
    pub comment: Option<String>,
}

/// When things happened, and how many milliseconds they took.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Timings {
    /// When it was asked.
    pub asked_at: DateTime<Utc>,
    /// When the worker that wrote it began.
    pub started_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// From the question to the beginning.
    pub queue_ms: Option<i32>,
    /// Finding passages.
    pub retrieval_ms: Option<i32>,
    /// From the question to the first words.
    pub first_chunk_ms: Option<i32>,
    /// Writing.
    pub writing_ms: Option<i32>,
    /// From the question to the end.
    pub total_ms: Option<i64>,
}

/// A passage as it was then.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ReplayPassage {
    /// Its number in the prompt and in the answer.
    pub marker: i16,
    /// The article.
    pub article_id: Uuid,
    /// The revision.
    pub revision_id: Uuid,
    /// The article's address.
    pub slug: String,
    /// Its title.
    pub title: String,
    /// The headings that it stands under.
    pub heading_path: Vec<String>,
    /// The text.
    pub body: String,
    /// Cosine with what was searched for.
    pub similarity: Option<f32>,
    /// The article's, 0 to 1.
    pub score: f32,
    /// Whether the answer cites it.
    pub is_cited: bool,
}

/// Something that came of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fact {
    /// What.
    pub outcome: String,
    /// When.
    pub happened_at: DateTime<Utc>,
}

/// An answer in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AnswerEntry {
    /// Identity.
    pub id: Uuid,
    /// What was asked.
    pub question: String,
    /// `queued`, `writing`, `done`, `cancelled` or `failed`.
    pub status: String,
    /// `answered`, `refused` or `handed_over`, once it is done.
    pub outcome: Option<String>,
    /// Why it was not answered.
    pub reason: Option<String>,
    /// Who wrote it.
    pub provider: Option<String>,
    /// When it was asked.
    pub asked_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub total_ms: Option<i64>,
}

/// Answers, the latest first, at most so many: all, or those of an outcome.
pub async fn answers(tx: &mut TenantTx, outcome: Option<&str>, limit: i64) -> Result<Vec<AnswerEntry>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        AnswerEntry,
        "select id, question, status, outcome, reason, provider, asked_at,
                (extract(epoch from finished_at - asked_at) * 1000)::bigint as total_ms
         from answers where tenant_id = $1 and ($2::text is null or outcome = $2)
         order by asked_at desc, id desc limit $3",
        tenant,
        outcome,
        limit
    )
    .fetch_all(tx.connection())
    .await
}

/// How an answer came to be. `None`: there is none.
pub async fn replay(tx: &mut TenantTx, answer: Uuid) -> Result<Option<Replay>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        "select a.id, a.conversation_id, c.asker, a.roles, a.locale, a.page_url, a.question, a.status, a.searched_for, a.relevance,
                  a.prompt, a.answer, a.citations, a.nearest, a.outcome, a.reason, a.provider, a.model, a.degraded, a.is_cached,
                  a.withheld_claims, a.input_tokens, a.output_tokens, a.usd::float8 as usd, a.asked_at, a.started_at,
                  a.finished_at, a.queue_ms, a.retrieval_ms, a.first_chunk_ms, a.writing_ms, a.is_helpful, a.comment,
                  (extract(epoch from a.finished_at - a.asked_at) * 1000)::bigint as total_ms
           from answers a join conversations c on c.tenant_id = a.tenant_id and c.id = a.conversation_id
           where a.tenant_id = $1 and a.id = $2",
        tenant,
        answer
    )
    .fetch_optional(tx.connection())
    .await?;
    let Some(row) = row else { return Ok(None) };
    let passages = sqlx::query_as!(
        ReplayPassage,
        "select marker, article_id, revision_id, slug, title, heading_path, body, similarity, score, is_cited
         from answer_passages where tenant_id = $1 and answer_id = $2 order by marker",
        tenant,
        answer
    )
    .fetch_all(tx.connection())
    .await?;
    let facts = sqlx::query_as!(
        Fact,
        "select outcome, happened_at from answer_outcomes where tenant_id = $1 and answer_id = $2
         order by happened_at, outcome",
        tenant,
        answer
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(Some(Replay {
        id: row.id,
        conversation_id: row.conversation_id,
        asker: row.asker,
        roles: row.roles,
        locale: row.locale,
        page: row.page_url,
        question: row.question,
        status: row.status,
        searched_for: row.searched_for,
        relevance: row.relevance,
        passages,
        prompt: row.prompt,
        answer: row.answer,
        citations: list(row.citations),
        nearest: list(row.nearest),
        outcome: row.outcome,
        reason: row.reason,
        provider: row.provider,
        model: row.model,
        degraded: row.degraded,
        is_cached: row.is_cached,
        withheld_claims: row.withheld_claims,
        input_tokens: row.input_tokens,
        output_tokens: row.output_tokens,
        usd: row.usd,
        timings: Timings {
            asked_at: row.asked_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            queue_ms: row.queue_ms,
            retrieval_ms: row.retrieval_ms,
            first_chunk_ms: row.first_chunk_ms,
            writing_ms: row.writing_ms,
            total_ms: row.total_ms,
        },
        facts,
        is_helpful: row.is_helpful,
        comment: row.comment,
    }))
}
