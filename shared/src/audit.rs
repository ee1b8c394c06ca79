//! The append-only record of what people with rights did.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::db::TenantTx;

/// Writes an entry in the transaction of the change that it tells of. `actor` is a subject or the operator's command line.
pub async fn record(tx: &mut TenantTx, actor: &str, action: &str, subject: &str) -> Result<(), sqlx::Error> {
    record_with(tx, actor, action, subject, &json!({})).await
}

/// Like [`record`], with an object that tells more.
pub async fn record_with(
    tx: &mut TenantTx,
    actor: &str,
    action: &str,
    subject: &str,
    details: &Value,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant();
    sqlx::query!(
        "insert into audit_log (tenant_id, actor, action, subject, details) values ($1, $2, $3, $4, $5)",
        tenant.uuid(),
        actor,
        action,
        subject,
        details
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// What somebody did.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Identity.
    pub id: Uuid,
    /// Who: a person's subject, a key or the command line.
    pub actor: String,
    /// What, such as `article.published`.
    pub action: String,
    /// To what: mostly an id.
    pub subject: String,
    /// More about it.
    pub details: Value,
    /// When.
    pub created_at: DateTime<Utc>,
}

/// Which entries to list.
#[derive(Debug, Clone, Default)]
pub struct EntryFilter {
    /// Only of this actor.
    pub actor: Option<String>,
    /// Only of this action, or of all whose names begin with it and a point.
    pub action: Option<String>,
    /// Only about this.
    pub subject: Option<String>,
}

/// Entries, the latest first: those before `before` (time and id of the last one of an earlier page), at most `limit`.
pub async fn entries(
    tx: &mut TenantTx,
    filter: &EntryFilter,
    before: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<Entry>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (before_at, before_id) = before.unzip();
    sqlx::query_as!(
        Entry,
        "select id, actor, action, subject, details, created_at from audit_log
         where tenant_id = $1 and ($2::text is null or actor = $2)
           and ($3::text is null or action = $3 or starts_with(action, $3 || '.'))
           and ($4::text is null or subject = $4)
           and ($5::timestamptz is null or (created_at, id) < ($5, $6::uuid))
         order by created_at desc, id desc limit $7",
        tenant,
        filter.actor.as_deref(),
        filter.action.as_deref(),
        filter.subject.as_deref(),
        before_at,
        before_id,
        limit
    )
    .fetch_all(tx.connection())
    .await
}
