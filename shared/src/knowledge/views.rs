//! What readers read. A reader's views of an article on one day (UTC) are one, so that reloading a page counts nothing. Views
//! are kept at once and counted a little later, many at a time ([`count`]): readers of one article never wait for each other,
//! nor for whoever changes it.

use uuid::Uuid;

use super::{feedback, feedback::ReaderKey, page_url::PageUrl};
use crate::{
    auth::Roles,
    db::{Database, TenantTx},
    tenancy::TenantId,
};

/// How many views are counted between two commits.
const COUNTED_AT_ONCE: i64 = 10_000;

/// Keeps a view of an article that is being shown to the reader. Hardly waits for whoever changes the article: that is an error
/// then.
pub async fn keep(tx: &mut TenantTx, article: Uuid, reader: &ReaderKey) -> Result<(), sqlx::Error> {
    insert(tx, article, reader, None, "250ms").await
}

/// Keeps a view of the article with this id or slug, with the page of the host application that it was read on: of the day's
/// pages the first that is known. `false`: there is no such article that the caller may see.
pub async fn view(
    tx: &mut TenantTx,
    roles: &Roles,
    article: &str,
    reader: &ReaderKey,
    page: Option<&PageUrl>,
) -> Result<bool, sqlx::Error> {
    let Some((article, _)) = feedback::seen(tx, roles, article).await? else { return Ok(false) };
    insert(tx, article, reader, page, "0").await?;
    Ok(true)
}

/// The transaction does not wait for the disk when it commits: a crash of the server may lose the views of the last moment.
async fn insert(
    tx: &mut TenantTx,
    article: Uuid,
    reader: &ReaderKey,
    page: Option<&PageUrl>,
    lock_timeout: &str,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "insert into article_views as v (tenant_id, article_id, reader, page)
         select $1, $2, $3, $4
         from (select set_config('synchronous_commit', 'off', true), set_config('lock_timeout', $5, true)) as settings
         on conflict (tenant_id, article_id, reader, viewed_on) do update set page = excluded.page
         where v.page is null and excluded.page is not null",
        tenant,
        article,
        reader.as_str(),
        page.map(PageUrl::key),
        lock_timeout
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Counts the views that are not counted yet; returns how many. Each is counted once, whoever counts at the same time.
pub async fn count(database: &Database, tenant: TenantId) -> Result<u64, sqlx::Error> {
    let mut counted = 0;
    loop {
        let mut tx = database.tenant(tenant).await?;
        let now = count_some(&mut tx, COUNTED_AT_ONCE).await?;
        tx.commit().await?;
        counted += now.cast_unsigned();
        if now < COUNTED_AT_ONCE {
            return Ok(counted);
        }
    }
}

/// Articles are locked in order, so that two that change many never wait for each other.
async fn count_some(tx: &mut TenantTx, limit: i64) -> Result<i64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"with new as (
               select article_id, reader, viewed_on from article_views
               where tenant_id = $1 and not is_counted limit $2 for update skip locked),
           marked as (
               update article_views v set is_counted = true from new
               where v.tenant_id = $1 and v.article_id = new.article_id and v.reader = new.reader
                 and v.viewed_on = new.viewed_on
               returning v.article_id),
           counted as (select article_id, count(*) as views from marked group by article_id),
           locked as (
               select a.id, c.views from articles a join counted c on c.article_id = a.id
               where a.tenant_id = $1 order by a.id for no key update of a),
           updated as (
               update articles a set view_count = a.view_count + l.views from locked l
               where a.tenant_id = $1 and a.id = l.id)
           select count(*) as "counted!" from marked"#,
        tenant,
        limit
    )
    .fetch_one(tx.connection())
    .await
}
