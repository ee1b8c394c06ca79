//! The SQL of questions and answers.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    event::{Citation, Done, Event, FailureCode, Nearest, Outcome, Reason, Usage},
    handovers,
    passage::Passage,
    question::{Asked, Asker},
};
use crate::{auth::Roles, db::TenantTx, knowledge::PageUrl};

/// Keeps a question, in its conversation.
pub(super) async fn add(tx: &mut TenantTx, asked: &Asked) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let conversation = sqlx::query_scalar!(
        "insert into conversations (tenant_id, asker, session_id) values ($1, $2, $3)
         on conflict (tenant_id, asker, session_id) do update set last_asked_at = now()
         returning id",
        tenant,
        asked.asker.as_str(),
        asked.asker.session_name(&asked.session)
    )
    .fetch_one(tx.connection())
    .await?;
    sqlx::query_scalar!(
        "insert into answers (tenant_id, conversation_id, question, page_url, roles, locale)
         values ($1, $2, $3, $4, $5, $6) returning id",
        tenant,
        conversation,
        asked.question.as_str(),
        asked.page.as_ref().map(PageUrl::key),
        asked.roles.as_slice(),
        asked.locale
    )
    .fetch_one(tx.connection())
    .await
}

/// Where an answer is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Queued,
    Writing,
    Done,
    Cancelled,
    Failed,
}

impl Status {
    fn of_row(name: &str) -> Self {
        match name {
            "queued" => Self::Queued,
            "writing" => Self::Writing,
            "done" => Self::Done,
            "cancelled" => Self::Cancelled,
            _ => Self::Failed,
        }
    }
}

/// A question as the worker finds it.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) conversation_id: Uuid,
    pub(super) asker: Asker,
    pub(super) question: String,
    pub(super) page: Option<String>,
    pub(super) roles: Roles,
    pub(super) locale: Option<String>,
    pub(super) asked_at: DateTime<Utc>,
    pub(super) queued_for: Duration,
    /// Names this attempt.
    pub(super) writer: Uuid,
    /// The how many-th it is, from 1.
    pub(super) attempt: u32,
}

/// Begins, or begins anew, to write an answer. `None`: it is written or was given up.
pub(super) async fn begin(tx: &mut TenantTx, answer: Uuid) -> Result<Option<Open>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"update answers a set status = 'writing', started_at = clock_timestamp(), writer = gen_random_uuid(), begun = a.begun + 1,
                queue_ms = extract(epoch from clock_timestamp() - a.asked_at) * 1000
         from conversations c
         where a.tenant_id = $1 and a.id = $2 and a.status in ('queued', 'writing')
           and c.tenant_id = a.tenant_id and c.id = a.conversation_id
         returning a.conversation_id, c.asker, a.question, a.page_url, a.roles, a.locale, a.asked_at, a.queue_ms as "queue_ms!",
                   a.writer as "writer!", a.begun"#,
        tenant,
        answer
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| Open {
        conversation_id: row.conversation_id,
        asker: Asker::from_row(row.asker),
        question: row.question,
        page: row.page_url,
        roles: Roles::new(row.roles).unwrap_or_default(),
        locale: row.locale,
        asked_at: row.asked_at,
        queued_for: Duration::from_millis(row.queue_ms.unsigned_abs().into()),
        writer: row.writer,
        attempt: row.begun.unsigned_abs(),
    }))
}

/// What was said in a conversation before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Turn {
    pub(super) question: String,
    pub(super) searched_for: Option<String>,
    pub(super) answer: Option<String>,
}

/// The last turns of a conversation in the 24 hours before a question, the oldest first.
pub(super) async fn turns_before(
    tx: &mut TenantTx,
    open: &Open,
    answer: Uuid,
    limit: i64,
) -> Result<Vec<Turn>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let mut turns = sqlx::query_as!(
        Turn,
        "select question, searched_for, answer from answers
         where tenant_id = $1 and conversation_id = $2 and (asked_at, id) < ($3, $4) and status = 'done'
               and asked_at >= $3 - interval '24 hours'
         order by asked_at desc, id desc limit $5",
        tenant,
        open.conversation_id,
        open.asked_at,
        answer,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    turns.reverse();
    Ok(turns)
}

/// An answer as it is kept.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) searched_for: String,
    pub(super) relevance: f64,
    pub(super) prompt: Option<Value>,
    pub(super) took: Took,
    pub(super) text: String,
    pub(super) citations: Vec<Citation>,
    pub(super) nearest: Vec<Nearest>,
    pub(super) model: Option<String>,
    pub(super) done: Done,
}

/// How long the steps of an answer took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Took {
    pub(super) retrieval: Duration,
    pub(super) writing: Duration,
    /// From the question on. `None`: nothing was said.
    pub(super) first_chunk: Option<Duration>,
}

/// Keeps an answer with what it was made of and what came of it. `false`: it is not to be written any more, or not by this attempt.
pub(super) async fn finish(
    tx: &mut TenantTx,
    answer: Uuid,
    open: &Open,
    written: &Written,
    passages: &[Passage],
) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let usage = written.done.usage;
    let json = |value: Result<Value, serde_json::Error>| value.map_err(|error| sqlx::Error::Encode(error.into()));
    let done = &written.done;
    #[expect(clippy::cast_possible_truncation, reason = "a share between 0 and 1")]
    let relevance = written.relevance as f32;
    let finished = sqlx::query!(
        "update answers set status = 'done', finished_at = clock_timestamp(), writing_ms = $3, searched_for = $4, relevance = $5,
                retrieval_ms = $6, prompt = $7, first_chunk_ms = $8, outcome = $9, reason = $10, answer = $11, citations = $12, nearest = $13, provider = $14,
                model = $15, degraded = $16, is_cached = $17, withheld_claims = $18, input_tokens = $19, output_tokens = $20,
                usd = round($21::float8::numeric, 6)
         where tenant_id = $1 and id = $2 and status = 'writing' and writer = $22",
        tenant,
        answer,
        milliseconds(written.took.writing),
        written.searched_for,
        relevance,
        milliseconds(written.took.retrieval),
        written.prompt,
        written.took.first_chunk.map(milliseconds),
        done.outcome.as_str(),
        done.reason.map(Reason::as_str),
        written.text,
        json(serde_json::to_value(&written.citations))?,
        json(serde_json::to_value(&written.nearest))?,
        done.provider,
        written.model,
        &done.degraded,
        done.is_cached,
        i32::try_from(done.withheld_claims).unwrap_or(i32::MAX),
        usage.map(|usage| usage.input_tokens),
        usage.map(|usage| usage.output_tokens),
        usage.and_then(|usage| usage.usd),
        open.writer
    )
    .execute(tx.connection())
    .await?;
    if finished.rows_affected() == 0 {
        return Ok(false);
    }
    add_passages(tx, answer, passages, &written.citations).await?;
    let mut outcomes = vec![done.outcome.as_str()];
    if done.outcome == Outcome::Answered && !written.citations.is_empty() {
        outcomes.push("cited");
    }
    for outcome in outcomes {
        add_outcome(tx, answer, outcome).await?;
    }
    if done.outcome == Outcome::HandedOver {
        handovers::open(tx, answer, done.reason).await?;
    }
    Ok(true)
}

fn milliseconds(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

async fn add_passages(
    tx: &mut TenantTx,
    answer: Uuid,
    passages: &[Passage],
    citations: &[Citation],
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    for passage in passages {
        let is_cited = citations.iter().any(|citation| citation.marker == passage.marker);
        #[expect(clippy::cast_possible_truncation, reason = "shares between -1 and 1")]
        let (similarity, score) = (passage.similarity.map(|s| s as f32), passage.score as f32);
        sqlx::query!(
            // An article that was deleted meanwhile takes what is kept of it along.
            "insert into answer_passages (tenant_id, answer_id, marker, article_id, revision_id, first_ordinal, last_ordinal,
                                          slug, title, heading_path, anchor, body, similarity, score, is_cited)
             select $1, $2, $3, id, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15
             from articles where tenant_id = $1 and id = $4
             on conflict (tenant_id, answer_id, marker) do nothing",
            tenant,
            answer,
            i16::try_from(passage.marker).unwrap_or(i16::MAX),
            passage.article_id,
            passage.revision_id,
            passage.first_ordinal,
            passage.last_ordinal,
            passage.slug,
            passage.title,
            &passage.heading_path,
            passage.anchor,
            passage.text,
            similarity,
            score,
            is_cited
        )
        .execute(tx.connection())
        .await?;
    }
    Ok(())
}

/// Notes a fact about an answer, once.
pub(super) async fn add_outcome(tx: &mut TenantTx, answer: Uuid, outcome: &str) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "insert into answer_outcomes (tenant_id, answer_id, outcome) values ($1, $2, $3) on conflict do nothing",
        tenant,
        answer,
        outcome
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Ends an answer that nobody waits for, or that cannot be written. `false`: it has ended already.
pub(super) async fn give_up(tx: &mut TenantTx, answer: Uuid, why: FailureCode) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let status = if why == FailureCode::Cancelled { "cancelled" } else { "failed" };
    let given_up = sqlx::query!(
        "update answers set status = $3, finished_at = clock_timestamp()
         where tenant_id = $1 and id = $2 and status in ('queued', 'writing')",
        tenant,
        answer,
        status
    )
    .execute(tx.connection())
    .await?;
    Ok(given_up.rows_affected() > 0)
}

/// An answer as its asker reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Which.
    pub id: Uuid,
    /// The session that it was asked in, as the client named it. `None`: a visitor's, whose name nobody else is to know.
    pub session: Option<String>,
    /// What was asked.
    pub question: String,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// When it ended. `None`: it has not.
    pub finished_at: Option<DateTime<Utc>>,
    /// What was answered, as events: chunk, citations and how it ended. Empty while it is written.
    pub events: Vec<Event>,
    /// Whether the asker found it helpful. `None`: they have not said.
    pub is_helpful: Option<bool>,
}

/// An asker's answer by its id.
pub(super) async fn answer(tx: &mut TenantTx, asker: &Asker, answer: Uuid) -> Result<Option<Answer>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query_as!(
        Row,
        r#"select a.id, case when c.session_id <> c.asker then c.session_id end as session, a.question, a.asked_at, a.finished_at, a.status, a.outcome, a.reason, a.answer, a.citations,
                  a.nearest, a.provider, a.degraded, a.is_cached, a.withheld_claims, a.input_tokens, a.output_tokens, a.usd::float8 as usd,
                  a.is_helpful
           from answers a join conversations c on c.tenant_id = a.tenant_id and c.id = a.conversation_id
           where a.tenant_id = $1 and c.asker = $2 and a.id = $3"#,
        tenant,
        asker.as_str(),
        answer
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(Row::into_answer))
}

struct Row {
    id: Uuid,
    session: Option<String>,
    question: String,
    asked_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
    status: String,
    outcome: Option<String>,
    reason: Option<String>,
    answer: Option<String>,
    citations: Value,
    nearest: Value,
    provider: Option<String>,
    degraded: Vec<String>,
    is_cached: bool,
    withheld_claims: i32,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    usd: Option<f64>,
    is_helpful: Option<bool>,
}

impl Row {
    fn into_answer(self) -> Answer {
        let usage = self.input_tokens.zip(self.output_tokens);
        let usage = usage.map(|(input_tokens, output_tokens)| Usage { input_tokens, output_tokens, usd: self.usd });
        let events = match Status::of_row(&self.status) {
            Status::Queued | Status::Writing => Vec::new(),
            Status::Cancelled => vec![FailureCode::Cancelled.event()],
            Status::Failed => vec![FailureCode::Failed.event()],
            Status::Done => vec![
                Event::Chunk { text: self.answer.unwrap_or_default() },
                Event::Citations {
                    citations: serde_json::from_value(self.citations).unwrap_or_default(),
                    nearest: serde_json::from_value(self.nearest).unwrap_or_default(),
                },
                Event::Done(Done {
                    outcome: self.outcome.as_deref().and_then(Outcome::from_name).unwrap_or(Outcome::Refused),
                    reason: self.reason.as_deref().and_then(Reason::from_name),
                    provider: self.provider.unwrap_or_default(),
                    degraded: self.degraded,
                    is_cached: self.is_cached,
                    withheld_claims: self.withheld_claims.unsigned_abs(),
                    usage,
                }),
            ],
        };
        Answer {
            id: self.id,
            session: self.session,
            question: self.question,
            asked_at: self.asked_at,
            finished_at: self.finished_at,
            events,
            is_helpful: self.is_helpful,
        }
    }
}

/// Keeps what the asker thinks of an answer that has ended; the latest counts. `false`: there is no such answer of theirs.
pub(super) async fn rate(
    tx: &mut TenantTx,
    asker: &Asker,
    answer: Uuid,
    is_helpful: bool,
    comment: Option<&str>,
) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rated = sqlx::query!(
        "update answers a set is_helpful = $4, comment = $5, rated_at = now()
         from conversations c
         where a.tenant_id = $1 and a.id = $2 and a.status = 'done'
           and c.tenant_id = a.tenant_id and c.id = a.conversation_id and c.asker = $3",
        tenant,
        answer,
        asker.as_str(),
        is_helpful,
        comment
    )
    .execute(tx.connection())
    .await?;
    if rated.rows_affected() == 0 {
        return Ok(false);
    }
    if is_helpful {
        add_outcome(tx, answer, "confirmed_helpful").await?;
    } else {
        sqlx::query!(
            "delete from answer_outcomes where tenant_id = $1 and answer_id = $2 and outcome = 'confirmed_helpful'",
            tenant,
            answer
        )
        .execute(tx.connection())
        .await?;
    }
    Ok(true)
}

/// An answer of the same key whose text can be given again, with its citations.
pub(super) async fn cached(
    tx: &mut TenantTx,
    key: &[u8],
) -> Result<Option<(String, Vec<Citation>, Option<String>)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"select a.answer as "answer!", a.citations, a.model
           from answer_cache k join answers a on a.tenant_id = k.tenant_id and a.id = k.answer_id
           where k.tenant_id = $1 and k.key = $2 and a.answer is not null"#,
        tenant,
        key
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.and_then(|row| Some((row.answer, serde_json::from_value(row.citations).ok()?, row.model))))
}

/// Keeps an answer to be given again.
pub(super) async fn cache(tx: &mut TenantTx, key: &[u8], answer: Uuid) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "insert into answer_cache (tenant_id, key, answer_id) values ($1, $2, $3)
         on conflict (tenant_id, key) do update set answer_id = excluded.answer_id, kept_at = now()",
        tenant,
        key,
        answer
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
