//! Forgetting what was read and searched for long ago.

use crate::{
    db::{Database, TenantTx},
    tenancy::TenantId,
};

/// How many rows are deleted between two commits.
const DELETED_AT_ONCE: i64 = 5_000;

/// What a run forgot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Views of articles. They stay in the articles' counts.
    pub views: u64,
    /// Searches, with what was opened of their results.
    pub searches: u64,
}

/// Deletes a tenant's views and searches that are more than so many days old, some at a time: a run after a crash finds what is
/// left. Views that are not counted yet stay until they are.
pub async fn prune(database: &Database, tenant: TenantId, days: u16) -> Result<Pruned, sqlx::Error> {
    Ok(Pruned {
        views: all(database, tenant, Kind::Views, days).await?,
        searches: all(database, tenant, Kind::Searches, days).await?,
    })
}

#[derive(Clone, Copy)]
enum Kind {
    Views,
    Searches,
}

async fn all(database: &Database, tenant: TenantId, kind: Kind, days: u16) -> Result<u64, sqlx::Error> {
    let mut deleted = 0;
    loop {
        let mut tx = database.tenant(tenant).await?;
        let now = match kind {
            Kind::Views => old_views(&mut tx, days).await?,
            Kind::Searches => old_searches(&mut tx, days).await?,
        };
        tx.commit().await?;
        deleted += now;
        if now < DELETED_AT_ONCE.cast_unsigned() {
            return Ok(deleted);
        }
    }
}

async fn old_views(tx: &mut TenantTx, days: u16) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let deleted = sqlx::query!(
        "with old as (
             select article_id, reader, viewed_on from article_views
             where tenant_id = $1 and viewed_at < now() - make_interval(days => $2) and is_counted
             order by viewed_at limit $3)
         delete from article_views v using old
         where v.tenant_id = $1 and v.article_id = old.article_id and v.reader = old.reader and v.viewed_on = old.viewed_on",
        tenant,
        i32::from(days),
        DELETED_AT_ONCE
    )
    .execute(tx.connection())
    .await?;
    Ok(deleted.rows_affected())
}

async fn old_searches(tx: &mut TenantTx, days: u16) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let deleted = sqlx::query!(
        "with old as (
             select id from searches where tenant_id = $1 and settled_at < now() - make_interval(days => $2)
             order by settled_at limit $3)
         delete from searches s using old where s.tenant_id = $1 and s.id = old.id",
        tenant,
        i32::from(days),
        DELETED_AT_ONCE
    )
    .execute(tx.connection())
    .await?;
    Ok(deleted.rows_affected())
}
