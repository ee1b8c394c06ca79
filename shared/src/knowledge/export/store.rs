//! The SQL of exporting.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use crate::db::TenantTx;

/// A category, as it is written.
pub(super) struct Category {
    pub(super) id: Uuid,
    pub(super) parent_id: Option<Uuid>,
    pub(super) name: String,
    pub(super) slug: String,
    pub(super) description: String,
    pub(super) icon: String,
    pub(super) color: String,
    pub(super) display_order: i32,
    pub(super) is_active: bool,
    pub(super) source: Option<String>,
    pub(super) source_path: Option<String>,
}

pub(super) async fn categories(tx: &mut TenantTx) -> Result<Vec<Category>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Category,
        "select id, parent_id, name, slug, description, icon, color, display_order, is_active, source, source_path
         from categories where tenant_id = $1",
        tenant
    )
    .fetch_all(tx.connection())
    .await
}

/// Id, slug and category of every article that has a text.
pub(super) async fn articles(tx: &mut TenantTx) -> Result<Vec<(Uuid, String, Option<Uuid>)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "select id, slug, category_id from articles where tenant_id = $1 and latest_revision_id is not null",
        tenant
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.slug, row.category_id)).collect())
}

pub(super) async fn tags(tx: &mut TenantTx) -> Result<Vec<String>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("select name from tags where tenant_id = $1", tenant).fetch_all(tx.connection()).await
}

/// An article, as it is written.
pub(super) struct Article {
    pub(super) slug: String,
    pub(super) difficulty: String,
    pub(super) target_roles: Vec<String>,
    pub(super) locale: String,
    pub(super) status: String,
    pub(super) review_due_on: Option<NaiveDate>,
    /// None when it has no translation.
    pub(super) translation_group: Option<Uuid>,
    pub(super) source: Option<String>,
    pub(super) source_path: Option<String>,
    pub(super) front_matter: serde_json::Value,
    pub(super) published_at: Option<DateTime<Utc>>,
    pub(super) last_reviewed_at: Option<DateTime<Utc>>,
    pub(super) tags: Vec<String>,
    pub(super) related: Vec<Uuid>,
    pub(super) former_slugs: Vec<String>,
    /// What readers see, or the latest text when they see none.
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) content: String,
    /// The latest text beside what readers see, when it is another revision.
    pub(super) draft_title: Option<String>,
    pub(super) draft_summary: Option<String>,
    pub(super) draft_content: Option<String>,
}

pub(super) async fn article(tx: &mut TenantTx, id: Uuid) -> Result<Option<Article>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Article,
        r#"select a.slug, a.difficulty, a.target_roles, a.locale, a.status, a.review_due_on,
                  case when exists (select from articles o where o.tenant_id = a.tenant_id and o.id <> a.id
                                      and o.translation_group = a.translation_group)
                       then a.translation_group end as translation_group,
                  a.source, a.source_path, a.source_front_matter as front_matter, a.published_at, a.last_reviewed_at,
                  array(select t.name from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                        where at.tenant_id = a.tenant_id and at.article_id = a.id) as "tags!",
                  array(select r.related_id from related_articles r
                        where r.tenant_id = a.tenant_id and r.article_id = a.id order by r.position, r.related_id) as "related!",
                  array(select f.slug from former_slugs f
                        where f.tenant_id = a.tenant_id and f.article_id = a.id) as "former_slugs!",
                  shown.title, shown.summary, shown.content,
                  latest.title as "draft_title?", latest.summary as "draft_summary?", latest.content as "draft_content?"
           from articles a
           join revisions shown on shown.tenant_id = a.tenant_id
               and shown.id = case when a.status = 'PUBLISHED' then a.published_revision_id else a.latest_revision_id end
           left join revisions latest on latest.tenant_id = a.tenant_id and latest.id = a.latest_revision_id
               and latest.id <> shown.id
           where a.tenant_id = $1 and a.id = $2"#,
        tenant,
        id
    )
    .fetch_optional(tx.connection())
    .await
}

/// Where a destination leads.
pub(super) struct Link {
    pub(super) destination: String,
    pub(super) fragment: String,
    pub(super) article_id: Option<Uuid>,
    pub(super) asset_id: Option<Uuid>,
    pub(super) hash: Option<String>,
    pub(super) name: Option<String>,
}

pub(super) async fn links(tx: &mut TenantTx, article: Uuid) -> Result<Vec<Link>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Link,
        r#"select l.destination, l.fragment, l.target_article_id as article_id, l.asset_id, s.hash as "hash?", s.name as "name?"
           from article_links l left join assets s on s.tenant_id = l.tenant_id and s.id = l.asset_id
           where l.tenant_id = $1 and l.article_id = $2"#,
        tenant,
        article
    )
    .fetch_all(tx.connection())
    .await
}
