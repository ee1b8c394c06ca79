//! Conversations that people are to go on with: one open hand-over for each.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use super::{event::Reason, question::Asker, store::add_outcome};
use crate::{audit, db::TenantTx};

/// Most characters of what an asker says to the person who goes on.
pub const MAX_NOTE_CHARS: usize = 2_000;

/// A conversation that a person is to go on with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Handover {
    /// Identity.
    pub id: Uuid,
    /// Which conversation.
    pub conversation_id: Uuid,
    /// Who asked: `person:SUBJECT`, `visitor:HASH` or `key:ID`.
    pub asker: String,
    /// The answer after which it was asked for.
    pub answer_id: Option<Uuid>,
    /// Why; a name of [`Reason`].
    pub reason: String,
    /// The asker's own words.
    pub note: Option<String>,
    /// The last question of the conversation.
    pub last_question: Option<String>,
    /// When it was asked for.
    pub requested_at: DateTime<Utc>,
    /// When somebody was done with it.
    pub closed_at: Option<DateTime<Utc>>,
    /// Who.
    pub closed_by: Option<String>,
}

/// What an asker says who wants a person.
#[derive(Debug, Clone, Default)]
pub struct NewHandover {
    /// After which answer; the last one if none is named.
    pub answer: Option<Uuid>,
    /// Why; the reason of the last refusal if none is named, or else that it was asked for.
    pub reason: Option<Reason>,
    /// The asker's own words, at most [`MAX_NOTE_CHARS`] characters.
    pub note: Option<String>,
}

/// Asks for a person. While a hand-over of the conversation is open there is no other: that one is returned, with the note if it
/// had none. `None`: the asker has no such conversation or answer.
pub async fn request(
    tx: &mut TenantTx,
    asker: &Asker,
    session: &str,
    new: &NewHandover,
) -> Result<Option<Handover>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let after = sqlx::query!(
        "select a.conversation_id, a.id,
                  coalesce(a.reason, (select r.reason from answers r
                                      where r.tenant_id = a.tenant_id and r.conversation_id = a.conversation_id
                                        and r.reason is not null
                                      order by r.asked_at desc, r.id desc limit 1)) as refused_for
           from answers a join conversations c on c.tenant_id = a.tenant_id and c.id = a.conversation_id
           where a.tenant_id = $1 and c.asker = $2 and c.session_id = $3 and ($4::uuid is null or a.id = $4)
           order by a.asked_at desc, a.id desc limit 1",
        tenant,
        asker.as_str(),
        asker.session_name(session),
        new.answer
    )
    .fetch_optional(tx.connection())
    .await?;
    let Some(after) = after else { return Ok(None) };
    let refused_for = after.refused_for.as_deref().and_then(Reason::from_name);
    let reason = new.reason.or(refused_for).unwrap_or(Reason::CustomerRequest);
    let kept = sqlx::query_scalar!(
        "insert into handovers (tenant_id, conversation_id, answer_id, reason, note) values ($1, $2, $3, $4, $5)
           on conflict (tenant_id, conversation_id) where closed_at is null
               do update set note = coalesce(handovers.note, excluded.note)
           returning id",
        tenant,
        after.conversation_id,
        after.id,
        reason.as_str(),
        new.note
    )
    .fetch_one(tx.connection())
    .await?;
    add_outcome(tx, after.id, "handed_over").await?;
    handover(tx, kept).await
}

/// Asks for a person on behalf of the assistant, in the transaction that ends its answer.
pub(super) async fn open(tx: &mut TenantTx, answer: Uuid, reason: Option<Reason>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "insert into handovers (tenant_id, conversation_id, answer_id, reason)
         select tenant_id, conversation_id, id, $3 from answers where tenant_id = $1 and id = $2
         on conflict (tenant_id, conversation_id) where closed_at is null do nothing",
        tenant,
        answer,
        reason.unwrap_or(Reason::CustomerRequest).as_str()
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Hand-overs, the latest first: only open or only closed ones, if `is_open` says so; those before `before` (time and id of the
/// last one of an earlier page).
pub async fn handovers(
    tx: &mut TenantTx,
    is_open: Option<bool>,
    before: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Handover>, sqlx::Error> {
    find(tx, None, None, is_open, before, limit).await
}

/// Those of one asker, the latest first.
pub(super) async fn handovers_of(tx: &mut TenantTx, asker: &Asker) -> Result<Vec<Handover>, sqlx::Error> {
    find(tx, None, Some(asker), None, None, i64::MAX).await
}

/// One by its id.
pub async fn handover(tx: &mut TenantTx, id: Uuid) -> Result<Option<Handover>, sqlx::Error> {
    Ok(find(tx, Some(id), None, None, None, 1).await?.pop())
}

/// Says that somebody is done with it; the first word counts. `None`: there is none with this id.
pub async fn close(tx: &mut TenantTx, actor: &str, id: Uuid) -> Result<Option<Handover>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let closed = sqlx::query!(
        "update handovers set closed_at = now(), closed_by = $3 where tenant_id = $1 and id = $2 and closed_at is null",
        tenant,
        id,
        actor
    )
    .execute(tx.connection())
    .await?;
    if closed.rows_affected() > 0 {
        audit::record(tx, actor, "handover.closed", &id.to_string()).await?;
    }
    handover(tx, id).await
}

async fn find(
    tx: &mut TenantTx,
    id: Option<Uuid>,
    asker: Option<&Asker>,
    is_open: Option<bool>,
    before: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Handover>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (before_at, before_id) = before.unzip();
    sqlx::query_as!(
        Handover,
        "select h.id, h.conversation_id, c.asker, h.answer_id, h.reason, h.note, h.requested_at, h.closed_at, h.closed_by,
                  (select a.question from answers a where a.tenant_id = h.tenant_id and a.conversation_id = h.conversation_id
                   order by a.asked_at desc, a.id desc limit 1) as last_question
           from handovers h join conversations c on c.tenant_id = h.tenant_id and c.id = h.conversation_id
           where h.tenant_id = $1 and ($2::uuid is null or h.id = $2) and ($3::bool is null or (h.closed_at is null) = $3)
             and ($4::timestamptz is null or (h.requested_at, h.id) < ($4, $5::uuid)) and ($7::text is null or c.asker = $7)
           order by h.requested_at desc, h.id desc limit $6",
        tenant,
        id,
        is_open,
        before_at,
        before_id,
        limit,
        asker.map(Asker::as_str)
    )
    .fetch_all(tx.connection())
    .await
}
