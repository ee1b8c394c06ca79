//! What is not kept for ever, and what does not stay as it is: old conversations, answers to be given again, and answers that
//! nobody writes any more.

use super::{event::FailureCode, jobs::GenerateAnswer, store};
use crate::{
    db::{Database, TenantTx},
    queue::Job as _,
    tenancy::TenantId,
};

/// How many conversations, with all that belongs to them, or entries of the cache are deleted between two commits.
const DELETED_AT_ONCE: i64 = 500;
/// For how long an answer may be given again.
const CACHED_DAYS: i32 = 7;
/// An answer without a job that was asked for so long ago is lost.
const LOST_AFTER_MINUTES: i32 = 10;
/// How many of them are ended at once.
const ENDED_AT_ONCE: i64 = 500;

/// What a run forgot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Conversations, with their answers and hand-overs.
    pub conversations: u64,
    /// Answers that are not given again any more. They are kept, but in the cache.
    pub cached_answers: u64,
}

/// Deletes a tenant's conversations whose last question is more than so many days old, and what is in the cache for more than
/// seven, some at a time: a run after a crash finds what is left.
pub async fn prune(database: &Database, tenant: TenantId, days: u16) -> Result<Pruned, sqlx::Error> {
    let mut pruned = Pruned::default();
    loop {
        let mut tx = database.tenant(tenant).await?;
        let conversations = old_conversations(&mut tx, days).await?;
        let cached_answers = old_cache(&mut tx).await?;
        tx.commit().await?;
        pruned.conversations += conversations;
        pruned.cached_answers += cached_answers;
        if conversations.max(cached_answers) < DELETED_AT_ONCE.cast_unsigned() {
            return Ok(pruned);
        }
    }
}

async fn old_conversations(tx: &mut TenantTx, days: u16) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let deleted = sqlx::query!(
        "with old as (
             select id from conversations where tenant_id = $1 and last_asked_at < now() - make_interval(days => $2)
             order by last_asked_at limit $3)
         -- Asked for again: somebody may go on with it at this moment.
         delete from conversations c using old
         where c.tenant_id = $1 and c.id = old.id and c.last_asked_at < now() - make_interval(days => $2)",
        tenant,
        i32::from(days),
        DELETED_AT_ONCE
    )
    .execute(tx.connection())
    .await?;
    Ok(deleted.rows_affected())
}

async fn old_cache(tx: &mut TenantTx) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let deleted = sqlx::query!(
        "with old as (
             select key from answer_cache where tenant_id = $1 and kept_at < now() - make_interval(days => $2)
             order by kept_at limit $3)
         delete from answer_cache k using old where k.tenant_id = $1 and k.key = old.key",
        tenant,
        CACHED_DAYS,
        DELETED_AT_ONCE
    )
    .execute(tx.connection())
    .await?;
    Ok(deleted.rows_affected())
}

/// Ends answers that were asked for more than ten minutes ago and have no open job: it became a dead letter, or was cancelled. How
/// many. Should such a job be tried again all the same, it finds nothing to do.
pub async fn reconcile(tx: &mut TenantTx) -> Result<usize, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let lost = sqlx::query_scalar!(
        "select a.id from answers a
         where a.tenant_id = $1 and a.status in ('queued', 'writing') and a.asked_at < now() - make_interval(mins => $2)
           and not exists (select from outbox o where o.tenant_id = a.tenant_id and o.job = $3 and o.unique_key = a.id::text
                             and o.dead_at is null)
         order by a.asked_at limit $4",
        tenant,
        LOST_AFTER_MINUTES,
        GenerateAnswer::NAME,
        ENDED_AT_ONCE
    )
    .fetch_all(tx.connection())
    .await?;
    let mut ended = 0;
    for answer in lost {
        ended += usize::from(store::give_up(tx, answer, FailureCode::Failed).await?);
    }
    Ok(ended)
}
