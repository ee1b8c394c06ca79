//! Conversations as they are kept: listed, read again, erased.
//!
//! An answer that rests on articles which its asker may not see any more is kept, but not told to them again.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::{
    event::{Citation, Nearest},
    question::Asker,
};
use crate::{auth::Roles, db::TenantTx};

/// Most questions of a transcript, the latest.
pub const MAX_EXCHANGES: i64 = 1_000;

/// What is noted of answers: [`ConversationFilter::outcome`] is one of them.
pub const OUTCOMES: [&str; 6] = ["answered", "cited", "refused", "handed_over", "confirmed_helpful", "ticket_opened"];

/// A conversation in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Conversation {
    /// Identity.
    pub id: Uuid,
    /// Who asks: `person:SUBJECT`, `visitor:HASH` or `key:ID`.
    pub asker: String,
    /// As the client names it. `None`: a visitor's, whose name nobody else is to know.
    #[serde(skip)]
    pub session: Option<String>,
    /// When the first question was asked.
    pub started_at: DateTime<Utc>,
    /// When the last one was.
    pub last_asked_at: DateTime<Utc>,
    /// How many there are.
    pub questions: i64,
    /// The last one.
    pub last_question: String,
    /// What became of it. `None`: nothing yet, or there is no answer.
    pub last_outcome: Option<String>,
    /// Whether a person is to go on with it.
    pub is_handed_over: bool,
}

/// Which conversations to list.
#[derive(Debug, Clone, Default)]
pub struct ConversationFilter {
    /// Only of this asker.
    pub asker: Option<Asker>,
    /// Only with an answer of which this is noted: one of [`OUTCOMES`].
    pub outcome: Option<String>,
    /// Only with an answer that was refused or handed over for this reason.
    pub reason: Option<String>,
    /// Only with an answer that was found helpful, or not.
    pub is_helpful: Option<bool>,
    /// Only with a question since then.
    pub since: Option<DateTime<Utc>>,
    /// Only before this one: its last question's time, and its id.
    pub before: Option<(DateTime<Utc>, Uuid)>,
    /// At most so many.
    pub limit: i64,
}

/// A question with its answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Exchange {
    /// Identity of the answer.
    pub answer_id: Uuid,
    /// What was asked.
    pub question: String,
    /// The page of the host application that it was asked on.
    pub page: Option<String>,
    /// When.
    pub asked_at: DateTime<Utc>,
    /// When the answer ended.
    pub finished_at: Option<DateTime<Utc>>,
    /// `queued`, `writing`, `done`, `cancelled` or `failed`.
    pub status: String,
    /// `answered`, `refused` or `handed_over`, once it is done.
    pub outcome: Option<String>,
    /// Why it was not answered.
    pub reason: Option<String>,
    /// Markdown with markers of citations. `None`: there is none, or it is withheld.
    pub answer: Option<String>,
    /// It rests on something that the asker may not see any more.
    pub is_withheld: bool,
    /// What it rests on.
    pub citations: Vec<Citation>,
    /// What was offered instead.
    pub nearest: Vec<Nearest>,
    /// Whether it was found helpful.
    pub is_helpful: Option<bool>,
    /// What was said about it.
    pub comment: Option<String>,
}

/// Everything that was asked and answered in a conversation.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Transcript {
    /// Which.
    #[serde(flatten)]
    pub conversation: Conversation,
    /// In their order; the latest [`MAX_EXCHANGES`] if there are more.
    pub exchanges: Vec<Exchange>,
}

/// Conversations, the one that was gone on with last first.
pub async fn conversations(tx: &mut TenantTx, filter: &ConversationFilter) -> Result<Vec<Conversation>, sqlx::Error> {
    find(tx, filter, None, None).await
}

/// The conversation of an asker in a session, with the answers that somebody with these roles may see. `None`: there is none.
pub async fn transcript(
    tx: &mut TenantTx,
    asker: &Asker,
    session: &str,
    roles: &Roles,
) -> Result<Option<Transcript>, sqlx::Error> {
    let filter = ConversationFilter { asker: Some(asker.clone()), limit: 1, ..ConversationFilter::default() };
    let Some(conversation) = find(tx, &filter, None, Some(asker.session_name(session))).await?.pop() else {
        return Ok(None);
    };
    let exchanges = exchanges(tx, conversation.id, Some(roles), MAX_EXCHANGES).await?;
    Ok(Some(Transcript { conversation, exchanges }))
}

/// A conversation for staff, as it was. `None`: there is none.
pub async fn transcript_by_id(tx: &mut TenantTx, id: Uuid) -> Result<Option<Transcript>, sqlx::Error> {
    transcript_of(tx, id, MAX_EXCHANGES).await
}

/// A conversation as it was, with so many of its latest questions.
pub(super) async fn transcript_of(
    tx: &mut TenantTx,
    id: Uuid,
    most_exchanges: i64,
) -> Result<Option<Transcript>, sqlx::Error> {
    let filter = ConversationFilter { limit: 1, ..ConversationFilter::default() };
    let Some(conversation) = find(tx, &filter, Some(id), None).await?.pop() else { return Ok(None) };
    let exchanges = exchanges(tx, id, None, most_exchanges).await?;
    Ok(Some(Transcript { conversation, exchanges }))
}

/// Erases a conversation with its answers, what they were made of, the hand-overs and the entries of the cache. `false`: there
/// is none.
pub async fn erase(tx: &mut TenantTx, asker: &Asker, session: &str) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let erased = sqlx::query!(
        "delete from conversations where tenant_id = $1 and asker = $2 and session_id = $3",
        tenant,
        asker.as_str(),
        asker.session_name(session)
    )
    .execute(tx.connection())
    .await?;
    Ok(erased.rows_affected() > 0)
}

async fn find(
    tx: &mut TenantTx,
    filter: &ConversationFilter,
    id: Option<Uuid>,
    session: Option<&str>,
) -> Result<Vec<Conversation>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (before_at, before_id) = filter.before.unzip();
    sqlx::query_as!(
        Conversation,
        r#"select c.id, c.asker, case when c.session_id <> c.asker then c.session_id end as session, c.started_at, c.last_asked_at,
                  (select count(*) from answers a where a.tenant_id = c.tenant_id and a.conversation_id = c.id) as "questions!",
                  coalesce(l.question, '') as "last_question!", l.outcome as "last_outcome?",
                  exists (select from handovers h where h.tenant_id = c.tenant_id and h.conversation_id = c.id
                            and h.closed_at is null) as "is_handed_over!"
           from conversations c
           left join lateral (
               select a.question, a.outcome from answers a where a.tenant_id = c.tenant_id and a.conversation_id = c.id
               order by a.asked_at desc, a.id desc limit 1) l on true
           where c.tenant_id = $1 and ($2::text is null or c.asker = $2) and ($3::uuid is null or c.id = $3)
             and ($4::text is null or c.session_id = $4)
             and ($5::timestamptz is null or c.last_asked_at >= $5)
             and ($6::text is null and $7::text is null and $8::bool is null or exists (
                 select from answers a where a.tenant_id = c.tenant_id and a.conversation_id = c.id
                   and ($6::text is null or exists (
                       select from answer_outcomes o
                       where o.tenant_id = a.tenant_id and o.answer_id = a.id and o.outcome = $6))
                   and ($7::text is null or a.reason = $7) and ($8::bool is null or a.is_helpful = $8)))
             and ($9::timestamptz is null or (c.last_asked_at, c.id) < ($9, $10::uuid))
           order by c.last_asked_at desc, c.id desc limit $11"#,
        tenant,
        filter.asker.as_ref().map(Asker::as_str),
        id,
        session,
        filter.since,
        filter.outcome.as_deref(),
        filter.reason.as_deref(),
        filter.is_helpful,
        before_at,
        before_id,
        filter.limit
    )
    .fetch_all(tx.connection())
    .await
}

/// The questions of a conversation in their order. With roles: what they may not see is left out.
async fn exchanges(
    tx: &mut TenantTx,
    conversation: Uuid,
    roles: Option<&Roles>,
    limit: i64,
) -> Result<Vec<Exchange>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let everybody = Roles::none();
    let rows = sqlx::query!(
        r#"select a.id, a.question, a.page_url, a.asked_at, a.finished_at, a.status, a.outcome, a.reason, a.answer, a.citations,
                  a.nearest, a.is_helpful, a.comment,
                  array(select x.id from jsonb_array_elements(a.citations || a.nearest) e
                        join articles x on x.tenant_id = a.tenant_id and x.id = (e ->> 'article_id')::uuid
                        where article_is_visible(x.status, x.target_roles, $3)) as "visible!"
           from answers a where a.tenant_id = $1 and a.conversation_id = $2
           order by a.asked_at desc, a.id desc limit $4"#,
        tenant,
        conversation,
        roles.unwrap_or(&everybody).as_slice(),
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    let exchanges = rows.into_iter().rev().map(|row| {
        let may_see = |article: &Uuid| roles.is_none() || row.visible.contains(article);
        let mut citations: Vec<Citation> = list(row.citations);
        let mut nearest: Vec<Nearest> = list(row.nearest);
        nearest.retain(|article| may_see(&article.article_id));
        let is_withheld = !citations.iter().all(|citation| may_see(&citation.article_id));
        if is_withheld {
            citations.clear();
        }
        Exchange {
            answer_id: row.id,
            question: row.question,
            page: row.page_url,
            asked_at: row.asked_at,
            finished_at: row.finished_at,
            status: row.status,
            outcome: row.outcome,
            reason: row.reason,
            answer: row.answer.filter(|_| !is_withheld),
            is_withheld,
            citations,
            nearest,
            is_helpful: row.is_helpful,
            comment: row.comment,
        }
    });
    Ok(exchanges.collect())
}

/// Whether an answer names articles that somebody with these roles may not see any more.
pub async fn is_withheld(tx: &mut TenantTx, answer: Uuid, roles: &Roles) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"select exists (
               select from answers a, jsonb_array_elements(a.citations || a.nearest) e
               where a.tenant_id = $1 and a.id = $2 and not exists (
                   select from articles x
                   where x.tenant_id = a.tenant_id and x.id = (e ->> 'article_id')::uuid
                     and article_is_visible(x.status, x.target_roles, $3))) as "is_withheld!""#,
        tenant,
        answer,
        roles.as_slice()
    )
    .fetch_one(tx.connection())
    .await
}

/// What is kept as a list.
pub(super) fn list<T: serde::de::DeserializeOwned>(value: Value) -> Vec<T> {
    serde_json::from_value(value).unwrap_or_default()
}
