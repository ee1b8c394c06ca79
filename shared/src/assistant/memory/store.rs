//! The SQL of what is remembered.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{KEPT_DAYS, LOOKED_AT, MAX_MEMORIES, Memory, MemoryKind, NewMemory, QUIET, recurring::PastQuestion};
use crate::{
    assistant::{jobs::RememberConversation, question::Asker},
    db::{Database, TenantTx},
    tenancy::TenantId,
};

/// How many rows are deleted between two commits.
const DELETED_AT_ONCE: i64 = 5_000;
/// A job that is so much overdue was lost: it was cancelled, or became a dead letter.
const LOST_AFTER_SECONDS: f64 = 3_600.0;

/// A conversation that is gone through.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) id: Uuid,
    pub(super) asker: Asker,
    /// Questions up to then were gone through before.
    pub(super) remembered_until: Option<DateTime<Utc>>,
    /// When it will have been quiet for long enough. `None`: it has.
    pub(super) goes_on_until: Option<DateTime<Utc>>,
}

/// Notes that a job goes through an asker's conversation once it is quiet. `None`: one does already.
pub(super) async fn mark(
    tx: &mut TenantTx,
    asker: &Asker,
    session: &str,
) -> Result<Option<RememberConversation>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let marked = sqlx::query!(
        r#"update conversations set remember_at = now() + make_interval(secs => $4)
           where tenant_id = $1 and asker = $2 and session_id = $3
             and (remember_at is null or remember_at < now() - make_interval(secs => $5))
           returning id, remember_at as "due_at!""#,
        tenant,
        asker.as_str(),
        asker.session_name(session),
        QUIET.as_seconds_f64(),
        LOST_AFTER_SECONDS
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(marked.map(|row| RememberConversation { conversation_id: row.id, due_at: row.due_at }))
}

/// The conversation of a job, locked until the transaction ends. `None`: it is gone, or another job goes through it.
pub(super) async fn begin(tx: &mut TenantTx, job: &RememberConversation) -> Result<Option<Conversation>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"select asker, last_asked_at, remembered_until, now() as "now!" from conversations
           where tenant_id = $1 and id = $2 and remember_at = $3 for update"#,
        tenant,
        job.conversation_id,
        job.due_at
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|row| Conversation {
        id: job.conversation_id,
        asker: Asker::from_row(row.asker),
        remembered_until: row.remembered_until,
        goes_on_until: Some(row.last_asked_at + QUIET).filter(|until| *until > row.now),
    }))
}

/// Notes that the conversation is gone through later.
pub(super) async fn postpone(
    tx: &mut TenantTx,
    conversation: Uuid,
    due_at: DateTime<Utc>,
) -> Result<RememberConversation, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update conversations set remember_at = $3 where tenant_id = $1 and id = $2",
        tenant,
        conversation,
        due_at
    )
    .execute(tx.connection())
    .await?;
    Ok(RememberConversation { conversation_id: conversation, due_at })
}

/// Notes that the conversation was gone through, up to the last of its questions that were. `None`: there were no new ones.
pub(super) async fn end(
    tx: &mut TenantTx,
    conversation: &Conversation,
    last: Option<DateTime<Utc>>,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update conversations set remember_at = null, remembered_until = $3 where tenant_id = $1 and id = $2",
        tenant,
        conversation.id,
        last.or(conversation.remembered_until)
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The questions that were not gone through, in their order, with their times.
pub(super) async fn new_questions(
    tx: &mut TenantTx,
    conversation: &Conversation,
) -> Result<Vec<(String, DateTime<Utc>)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "select question, asked_at from answers
         where tenant_id = $1 and conversation_id = $2 and ($3::timestamptz is null or asked_at > $3)
         order by asked_at desc, id desc limit $4",
        tenant,
        conversation.id,
        conversation.remembered_until,
        LOOKED_AT
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().rev().map(|row| (row.question, row.asked_at)).collect())
}

/// What a person asked in the last 90 days, the latest first: what was refused, and what was answered by which articles.
pub(super) async fn asked(tx: &mut TenantTx, asker: &Asker) -> Result<Vec<PastQuestion>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        PastQuestion,
        r#"select a.conversation_id, a.question, a.asked_at, a.outcome = 'refused' as "is_refused!",
                  array(select p.article_id from answer_passages p
                        where p.tenant_id = a.tenant_id and p.answer_id = a.id and p.is_cited) as "cited!"
           from answers a join conversations c on c.tenant_id = a.tenant_id and c.id = a.conversation_id
           where a.tenant_id = $1 and c.asker = $2 and a.status = 'done' and a.asked_at > now() - make_interval(days => $3)
           order by a.asked_at desc, a.id desc limit $4"#,
        tenant,
        asker.as_str(),
        KEPT_DAYS,
        LOOKED_AT
    )
    .fetch_all(tx.connection())
    .await
}

/// Keeps a memory, or confirms it. What a person says again, in another conversation, is surer each time; what they say
/// differently now takes the place of what they said before.
pub(super) async fn keep(
    tx: &mut TenantTx,
    conversation: &Conversation,
    memory: &NewMemory,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "insert into memories (tenant_id, asker, kind, key, body, confidence, conversation_id, created_at, confirmed_at, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $8,
                 case when $3 <> 'fact' then $8::timestamptz + make_interval(days => $9) end)
         on conflict (tenant_id, asker, kind, key) do update set
             body = excluded.body, confirmed_at = excluded.confirmed_at, expires_at = excluded.expires_at,
             conversation_id = excluded.conversation_id,
             confidence = case
                 when excluded.kind = 'recurring_issue' or lower(memories.body) <> lower(excluded.body) then excluded.confidence
                 when memories.conversation_id = excluded.conversation_id
                     then greatest(memories.confidence, excluded.confidence)
                 else least(0.99, greatest(1 - (1 - memories.confidence) / 2, excluded.confidence)) end",
        tenant,
        conversation.asker.as_str(),
        memory.kind.as_str(),
        memory.key(),
        memory.body,
        memory.confidence,
        conversation.id,
        memory.said_at,
        KEPT_DAYS
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Deletes what is more than a person may have.
pub(super) async fn drop_surplus(tx: &mut TenantTx, asker: &Asker) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "delete from memories where tenant_id = $1 and id in (
             select id from memories where tenant_id = $1 and asker = $2 order by confirmed_at desc, id desc offset $3)",
        tenant,
        asker.as_str(),
        MAX_MEMORIES
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What is remembered of an asker, what was said last first.
pub async fn memories(tx: &mut TenantTx, asker: &Asker) -> Result<Vec<Memory>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "select id, kind, body, confidence, created_at, confirmed_at, expires_at from memories
         where tenant_id = $1 and asker = $2 and (expires_at is null or expires_at > now())
         order by confirmed_at desc, id desc",
        tenant,
        asker.as_str()
    )
    .fetch_all(tx.connection())
    .await?;
    let memories = rows.into_iter().map(|row| Memory {
        id: row.id,
        kind: MemoryKind::of_row(&row.kind),
        body: row.body,
        confidence: row.confidence,
        created_at: row.created_at,
        confirmed_at: row.confirmed_at,
        expires_at: row.expires_at,
    });
    Ok(memories.collect())
}

/// Forgets one thing. `false`: nothing of that id is remembered of this asker.
pub async fn forget(tx: &mut TenantTx, asker: &Asker, id: Uuid) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let forgotten = sqlx::query!(
        "delete from memories where tenant_id = $1 and asker = $2 and id = $3",
        tenant,
        asker.as_str(),
        id
    )
    .execute(tx.connection())
    .await?;
    Ok(forgotten.rows_affected() > 0)
}

/// Forgets everything; how much it was.
pub async fn forget_all(tx: &mut TenantTx, asker: &Asker) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let forgotten = sqlx::query!("delete from memories where tenant_id = $1 and asker = $2", tenant, asker.as_str())
        .execute(tx.connection())
        .await?;
    Ok(forgotten.rows_affected())
}

/// Deletes a tenant's memories whose time is over, some at a time: a run after a crash finds what is left. How many.
pub async fn expire(database: &Database, tenant: TenantId) -> Result<u64, sqlx::Error> {
    let mut deleted = 0;
    loop {
        let mut tx = database.tenant(tenant).await?;
        let now = sqlx::query!(
            "with old as (
                 select id from memories where tenant_id = $1 and expires_at <= now() order by expires_at limit $2)
             delete from memories m using old where m.tenant_id = $1 and m.id = old.id",
            tenant.uuid(),
            DELETED_AT_ONCE
        )
        .execute(tx.connection())
        .await?
        .rows_affected();
        tx.commit().await?;
        deleted += now;
        if now < DELETED_AT_ONCE.cast_unsigned() {
            return Ok(deleted);
        }
    }
}
