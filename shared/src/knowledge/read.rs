//! What readers see. Every query here asks `article_is_visible` with the caller's roles.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::assets;
use crate::{auth::Roles, db::TenantTx};

/// An article in a list.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ArticleSummary {
    /// Identity.
    pub id: Uuid,
    /// Present address.
    pub slug: String,
    /// Title.
    pub title: String,
    /// The author's, or the beginning of the text where the author wrote none.
    pub summary: String,
    /// Its category.
    pub category_id: Option<Uuid>,
    /// `BEGINNER`, `INTERMEDIATE` or `ADVANCED`.
    pub difficulty: String,
    /// Language.
    pub locale: String,
    /// What its translations have in common.
    pub translation_group: Uuid,
    /// How often it was read.
    pub view_count: i64,
    /// How many found it helpful.
    pub helpful_count: i64,
    /// How many did not.
    pub not_helpful_count: i64,
    /// When readers first saw it.
    pub published_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

impl ArticleSummary {
    /// helpful / (helpful + not helpful); 0.5 without votes.
    pub fn helpful_ratio(&self) -> f64 {
        helpful_ratio(self.helpful_count, self.not_helpful_count)
    }
}

/// helpful / (helpful + not helpful); 0.5 without votes.
#[expect(clippy::cast_precision_loss, reason = "votes stay far below 2^52")]
pub(crate) fn helpful_ratio(helpful: i64, not_helpful: i64) -> f64 {
    match helpful + not_helpful {
        0 => 0.5,
        votes => helpful as f64 / votes as f64,
    }
}

/// An article as its readers see it.
#[derive(Debug, Clone)]
pub struct ArticleView {
    /// What a list shows of it.
    pub summary: ArticleSummary,
    /// Markdown of the published revision.
    pub content: String,
    /// Number of the published revision.
    pub revision: i32,
    /// Raised by every change of the article.
    pub version: i32,
    /// Names of its tags, sorted.
    pub tags: Vec<String>,
    /// When somebody last read it critically.
    pub last_reviewed_at: Option<DateTime<Utc>>,
}

/// The article with this id or slug. `None`: there is none that the caller may see; which of the two is not told.
pub async fn article(tx: &mut TenantTx, roles: &Roles, id_or_slug: &str) -> Result<Option<ArticleView>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"select a.id, a.slug, r.title, r.shown_summary as summary, r.content, r.number, a.category_id, a.difficulty, a.locale,
                  a.translation_group, a.view_count, a.helpful_count, a.not_helpful_count, a.published_at as "published_at!", a.updated_at,
                  a.version, a.last_reviewed_at,
                  array(select t.name from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                        where at.tenant_id = a.tenant_id and at.article_id = a.id order by t.name) as "tags!"
           from articles a join revisions r on r.tenant_id = a.tenant_id and r.id = a.published_revision_id
           where a.tenant_id = $1 and (a.id = $2 or a.slug = $3)
             and article_is_visible(a.status, a.target_roles, $4)
           order by a.id = $2 desc limit 1"#,
        tenant,
        Uuid::try_parse(id_or_slug).ok(),
        id_or_slug,
        roles.as_slice()
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|r| ArticleView {
        summary: ArticleSummary {
            id: r.id,
            slug: r.slug,
            title: r.title,
            summary: r.summary,
            category_id: r.category_id,
            difficulty: r.difficulty,
            locale: r.locale,
            translation_group: r.translation_group,
            view_count: r.view_count,
            helpful_count: r.helpful_count,
            not_helpful_count: r.not_helpful_count,
            published_at: r.published_at,
            updated_at: r.updated_at,
        },
        content: r.content,
        revision: r.number,
        version: r.version,
        tags: r.tags,
        last_reviewed_at: r.last_reviewed_at,
    }))
}

/// The present slug of the article that had this one once. `None`: none did that the caller may see.
pub async fn moved_to(tx: &mut TenantTx, roles: &Roles, former_slug: &str) -> Result<Option<String>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select a.slug from former_slugs f join articles a on a.tenant_id = f.tenant_id and a.id = f.article_id
         where f.tenant_id = $1 and f.slug = $2 and article_is_visible(a.status, a.target_roles, $3)",
        tenant,
        former_slug,
        roles.as_slice()
    )
    .fetch_optional(tx.connection())
    .await
}

/// Where a link or an image of an article leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTo {
    /// To an article that the caller may see.
    Article {
        /// Its present address.
        slug: String,
        /// The part after `#`.
        fragment: String,
    },
    /// To an image: its address, from the root of the site.
    Image(String),
    /// Nowhere, or to what the caller may not see.
    Nothing,
}

/// Where the links and images of an article that the caller sees lead, by destination as written.
pub async fn link_targets(
    tx: &mut TenantTx,
    roles: &Roles,
    article_id: Uuid,
) -> Result<HashMap<String, LinkTo>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select l.destination, l.fragment, a.slug as "slug?", s.hash as "hash?", s.name as "name?"
           from article_links l
           left join assets s on s.tenant_id = l.tenant_id and s.id = l.asset_id
           left join articles a on a.tenant_id = l.tenant_id and a.id = l.target_article_id
                               and article_is_visible(a.status, a.target_roles, $3)
           where l.tenant_id = $1 and l.article_id = $2"#,
        tenant,
        article_id,
        roles.as_slice()
    )
    .fetch_all(tx.connection())
    .await?;
    let to = |slug: Option<String>, fragment, image: Option<(String, String)>| match (slug, image) {
        (Some(slug), _) => LinkTo::Article { slug, fragment },
        (None, Some((hash, name))) => LinkTo::Image(assets::address(&hash, &name)),
        (None, None) => LinkTo::Nothing,
    };
    Ok(rows.into_iter().map(|r| (r.destination, to(r.slug, r.fragment, r.hash.zip(r.name)))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_helpful_ratio_is_a_half_without_votes() {
        assert!((helpful_ratio(0, 0) - 0.5).abs() < f64::EPSILON);
        assert!((helpful_ratio(3, 1) - 0.75).abs() < f64::EPSILON);
    }
}
