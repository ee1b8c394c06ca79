//! The SQL of writing articles. Reading is in `read.rs`, embedding in `embed_store.rs`.

use uuid::Uuid;

use super::article::{ArticleProperties, ArticleText};
use crate::db::TenantTx;

/// An article as its import keeps it: what a file is compared with.
pub(super) struct SourcedArticle {
    pub(super) id: Uuid,
    /// The revision that the file's text is compared with.
    pub(super) revision_id: Uuid,
    pub(super) slug: String,
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) content: String,
    pub(super) category_id: Option<Uuid>,
    pub(super) difficulty: String,
    pub(super) target_roles: Vec<String>,
    pub(super) locale: String,
    pub(super) status: String,
    pub(super) review_due_on: Option<chrono::NaiveDate>,
    pub(super) front_matter: serde_json::Value,
    pub(super) tags: Vec<String>,
}

/// The article that a source keeps for a file.
pub(super) async fn sourced_article(
    tx: &mut TenantTx,
    source: &str,
    path: &str,
) -> Result<Option<SourcedArticle>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        SourcedArticle,
        r#"select a.id, r.id as revision_id, a.slug, r.title, r.summary, r.content, a.category_id,
                  a.difficulty, a.target_roles, a.locale, a.status, a.review_due_on,
                  a.source_front_matter as front_matter,
                  array(select t.name from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                        where at.tenant_id = a.tenant_id and at.article_id = a.id order by t.name) as "tags!"
           from articles a join revisions r on r.tenant_id = a.tenant_id and r.id = a.latest_revision_id
           where a.tenant_id = $1 and a.source = $2 and a.source_path = $3 for update of a"#,
        tenant,
        source,
        path
    )
    .fetch_optional(tx.connection())
    .await
}

/// Id and file of every article that a source keeps and that is not archived.
pub(super) async fn sourced_articles(tx: &mut TenantTx, source: &str) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select id, source_path as "source_path!" from articles
           where tenant_id = $1 and source = $2 and source_path is not null and status <> 'ARCHIVED'"#,
        tenant,
        source
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.source_path)).collect())
}

/// Creates an article without text for an imported file; its first revision follows in the same transaction.
pub(super) async fn insert_article(
    tx: &mut TenantTx,
    slug: &str,
    source: &str,
    path: &str,
) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into articles (tenant_id, slug, source, source_path) values ($1, $2, $3, $4) returning id",
        tenant,
        slug,
        source,
        path
    )
    .fetch_one(tx.connection())
    .await
}

/// Whether another article of the tenant has this slug.
pub(super) async fn slug_is_taken(
    tx: &mut TenantTx,
    slug: &str,
    by_other_than: Option<Uuid>,
) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"select exists (select from articles where tenant_id = $1 and slug = $2 and id is distinct from $3) as "taken!""#,
        tenant,
        slug,
        by_other_than
    )
    .fetch_one(tx.connection())
    .await
}

/// Revisions whose author wrote no summary and that have no excerpt yet, with their content.
pub(super) async fn revisions_without_excerpt(
    tx: &mut TenantTx,
    limit: i64,
) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r"select id, content from revisions
          where tenant_id = $1 and excerpt is null and summary !~ '\S' limit $2",
        tenant,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.content)).collect())
}

/// Keeps the excerpt of a revision.
pub(super) async fn set_excerpt(tx: &mut TenantTx, revision_id: Uuid, excerpt: &str) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("update revisions set excerpt = $3 where tenant_id = $1 and id = $2", tenant, revision_id, excerpt)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Adds a revision and makes it the latest.
pub(super) async fn insert_revision(
    tx: &mut TenantTx,
    article_id: Uuid,
    text: &ArticleText,
    author: &str,
    note: &str,
) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let id = sqlx::query_scalar!(
        "insert into revisions (tenant_id, article_id, number, title, summary, content, author, note, excerpt)
         select $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, $8
         from revisions where tenant_id = $1 and article_id = $2
         returning id",
        tenant,
        article_id,
        text.title,
        text.summary,
        text.content,
        author,
        note,
        text.excerpt()
    )
    .fetch_one(tx.connection())
    .await?;
    sqlx::query!(
        "update articles set latest_revision_id = $3 where tenant_id = $1 and id = $2",
        tenant,
        article_id,
        id
    )
    .execute(tx.connection())
    .await?;
    Ok(id)
}

/// Sets an article's properties; one whose status is published shows this revision from now on.
pub(super) async fn update_properties(
    tx: &mut TenantTx,
    article_id: Uuid,
    revision_id: Uuid,
    slug: &str,
    properties: &ArticleProperties,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update articles set slug = $3, category_id = $4, difficulty = $5, target_roles = $6, locale = $7, status = $8,
             review_due_on = $9, source_front_matter = $10, version = version + 1, updated_at = now(),
             published_revision_id = case when $8 = 'PUBLISHED' then $11 else published_revision_id end,
             published_at = case when $8 = 'PUBLISHED' then coalesce(published_at, now()) else published_at end
         where tenant_id = $1 and id = $2",
        tenant,
        article_id,
        slug,
        properties.category_id,
        properties.difficulty.as_str(),
        &properties.target_roles,
        properties.locale,
        properties.status.as_str(),
        properties.review_due_on,
        properties.front_matter,
        revision_id
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Archives an article.
pub(super) async fn archive(tx: &mut TenantTx, article_id: Uuid) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update articles set status = 'ARCHIVED', version = version + 1, updated_at = now()
         where tenant_id = $1 and id = $2",
        tenant,
        article_id
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Gives an article exactly these tags: name and slug of each. Tags that do not exist are created.
pub(super) async fn set_tags(
    tx: &mut TenantTx,
    article_id: Uuid,
    tags: &[(String, String)],
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (names, slugs): (Vec<String>, Vec<String>) = tags.iter().cloned().unzip();
    sqlx::query!(
        "insert into tags (tenant_id, name, slug)
         select distinct on (slug) $1::uuid, name, slug from unnest($2::text[], $3::text[]) as new (name, slug)
         order by slug, name on conflict do nothing",
        tenant,
        &names,
        &slugs
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "delete from article_tags at using tags t
         where at.tenant_id = $1 and at.article_id = $2 and t.tenant_id = at.tenant_id and t.id = at.tag_id
           and t.slug <> all ($3)",
        tenant,
        article_id,
        &slugs
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "insert into article_tags (tenant_id, article_id, tag_id)
         select $1, $2, id from tags where tenant_id = $1 and slug = any ($3) on conflict do nothing",
        tenant,
        article_id,
        &slugs
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The category that a source keeps for a folder.
pub(super) async fn sourced_category(tx: &mut TenantTx, source: &str, path: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select id from categories where tenant_id = $1 and source = $2 and source_path = $3",
        tenant,
        source,
        path
    )
    .fetch_optional(tx.connection())
    .await
}

/// The category with this slug.
pub(super) async fn category_id(tx: &mut TenantTx, slug: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("select id from categories where tenant_id = $1 and slug = $2", tenant, slug)
        .fetch_optional(tx.connection())
        .await
}

/// A category to be created.
pub(super) struct NewCategory<'a> {
    pub(super) parent_id: Option<Uuid>,
    pub(super) name: &'a str,
    pub(super) slug: &'a str,
    pub(super) source: Option<(&'a str, &'a str)>,
}

/// Creates a category, unless its slug or folder has one already; then `None`.
pub(super) async fn insert_category(tx: &mut TenantTx, new: &NewCategory<'_>) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into categories (tenant_id, parent_id, name, slug, source, source_path) values ($1, $2, $3, $4, $5, $6)
         on conflict do nothing returning id",
        tenant,
        new.parent_id,
        new.name,
        new.slug,
        new.source.map(|(source, _)| source),
        new.source.map(|(_, path)| path)
    )
    .fetch_optional(tx.connection())
    .await
}

/// Where a link of an article leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) destination: String,
    pub(super) fragment: String,
    pub(super) target: Option<Uuid>,
    /// The image that the destination is.
    pub(super) asset: Option<Uuid>,
    /// Whether the text that readers see has it, or a newer one alone.
    pub(super) is_shown: bool,
}

/// The links that are known of an article.
pub(super) async fn links(tx: &mut TenantTx, article_id: Uuid) -> Result<Vec<Link>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Link,
        "select destination, fragment, target_article_id as target, asset_id as asset, is_shown
         from article_links where tenant_id = $1 and article_id = $2 order by destination",
        tenant,
        article_id
    )
    .fetch_all(tx.connection())
    .await
}

/// Replaces the links of an article where they differ.
pub(super) async fn set_links(tx: &mut TenantTx, article_id: Uuid, links: &[Link]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let destinations: Vec<String> = links.iter().map(|l| l.destination.clone()).collect();
    let fragments: Vec<String> = links.iter().map(|l| l.fragment.clone()).collect();
    let targets: Vec<Option<Uuid>> = links.iter().map(|l| l.target).collect();
    let assets: Vec<Option<Uuid>> = links.iter().map(|l| l.asset).collect();
    let shown: Vec<bool> = links.iter().map(|l| l.is_shown).collect();
    sqlx::query!(
        "delete from article_links where tenant_id = $1 and article_id = $2 and destination <> all ($3)",
        tenant,
        article_id,
        &destinations
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "insert into article_links as l
             (tenant_id, article_id, destination, fragment, target_article_id, asset_id, is_shown)
         select $1, $2, * from unnest($3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::boolean[])
         on conflict (tenant_id, article_id, destination) do update
         set fragment = excluded.fragment, target_article_id = excluded.target_article_id, asset_id = excluded.asset_id,
             is_shown = excluded.is_shown
         where (l.fragment, l.target_article_id, l.asset_id, l.is_shown)
             is distinct from (excluded.fragment, excluded.target_article_id, excluded.asset_id, excluded.is_shown)",
        tenant,
        article_id,
        &destinations,
        &fragments,
        &targets as &[Option<Uuid>],
        &assets as &[Option<Uuid>],
        &shown
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
