//! Articles as those see them who write: whatever their status, with the latest text.

use chrono::{DateTime, Duration, NaiveDate, Utc};
use sqlx::{Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

use super::super::{article::ArticleText, read::helpful_ratio};
use crate::db::TenantTx;

/// An article that was reviewed longer ago than this may be stale.
const STALE_AFTER: Duration = Duration::days(180);
/// It is, if fewer than this share of the votes found it helpful.
const STALE_BELOW: f64 = 0.6;

/// An article with its latest text.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
pub struct ManagedArticle {
    /// Identity.
    pub id: Uuid,
    /// Present address.
    pub slug: String,
    /// `DRAFT`, `REVIEW`, `PUBLISHED` or `ARCHIVED`.
    pub status: String,
    /// Raised by every change.
    pub version: i32,
    /// Title of the latest revision.
    pub title: String,
    /// Summary of the latest revision.
    pub summary: String,
    /// Markdown of the latest revision.
    pub content: String,
    /// Number of the latest revision.
    pub revision: i32,
    /// Number of the revision that was published last.
    pub published_revision: Option<i32>,
    /// Since when the latest revision waits for an editor.
    pub review_requested_at: Option<DateTime<Utc>>,
    /// When it will be published by itself.
    pub publish_at: Option<DateTime<Utc>>,
    /// Number of the revision that will be.
    pub publish_revision: Option<i32>,
    /// Its category.
    pub category_id: Option<Uuid>,
    /// Names of its tags, sorted.
    pub tags: Vec<String>,
    /// `BEGINNER`, `INTERMEDIATE` or `ADVANCED`.
    pub difficulty: String,
    /// Who may read it.
    pub target_roles: Vec<String>,
    /// Its language.
    pub locale: String,
    /// What its translations have in common.
    pub translation_group: Uuid,
    /// The same article in other languages.
    #[sqlx(json)]
    pub translations: Vec<Translation>,
    /// What an editor wants to be read next.
    pub related: Vec<Uuid>,
    /// Who wrote its revisions, sorted.
    pub authors: Vec<String>,
    /// The import that keeps it. None: it was written here.
    pub source: Option<String>,
    /// Its file in that import.
    pub source_path: Option<String>,
    /// How often it was read.
    pub view_count: i64,
    /// How many found it helpful.
    pub helpful_count: i64,
    /// How many did not.
    pub not_helpful_count: i64,
    /// When readers first saw it.
    pub published_at: Option<DateTime<Utc>>,
    /// When somebody last read it critically.
    pub last_reviewed_at: Option<DateTime<Utc>>,
    /// When somebody should again.
    pub review_due_on: Option<NaiveDate>,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When it was changed last.
    pub updated_at: DateTime<Utc>,
}

/// The same article in another language.
#[derive(Debug, Clone, PartialEq, Eq, serde::Deserialize)]
pub struct Translation {
    /// Identity.
    pub id: Uuid,
    /// Language.
    pub locale: String,
    /// Present address.
    pub slug: String,
    /// Status.
    pub status: String,
}

impl ManagedArticle {
    /// Its latest text.
    pub fn text(&self) -> ArticleText {
        ArticleText { title: self.title.clone(), summary: self.summary.clone(), content: self.content.clone() }
    }

    /// Whether readers see it.
    pub fn is_published(&self) -> bool {
        self.status == "PUBLISHED"
    }

    /// Whether there is a newer text than the one that readers see.
    pub fn has_unpublished_text(&self) -> bool {
        self.is_published() && self.published_revision != Some(self.revision)
    }

    /// helpful / (helpful + not helpful); 0.5 without votes.
    pub fn helpful_ratio(&self) -> f64 {
        helpful_ratio(self.helpful_count, self.not_helpful_count)
    }

    /// Whether it was last reviewed over 180 days ago, or never, and fewer than 0.6 of the votes found it helpful.
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        self.last_reviewed_at.is_none_or(|at| now - at > STALE_AFTER) && self.helpful_ratio() < STALE_BELOW
    }
}

/// Which articles to list.
#[derive(Debug, Clone, Default)]
pub struct ManagedFilter {
    /// Only in one of these states.
    pub statuses: Vec<&'static str>,
    /// Only of these categories.
    pub categories: Option<Vec<Uuid>>,
    /// Only with this tag, by slug.
    pub tag: Option<String>,
    /// Only in this language.
    pub locale: Option<String>,
    /// Only those that this one wrote a revision of.
    pub author: Option<String>,
    /// Only those that an import of this name keeps.
    pub source: Option<String>,
    /// Only with this in the title, in any case.
    pub title: Option<String>,
    /// Only those whose latest text waits for an editor.
    pub is_review_requested: bool,
    /// Only those that should be read again on this day or before.
    pub review_due_by: Option<NaiveDate>,
}

/// By what a list is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ManagedSort {
    /// The latest change first.
    #[default]
    Updated,
    /// By title.
    Title,
    /// The most read first.
    Views,
    /// The most helpful first, by the lower bound of the Wilson score interval.
    Helpful,
    /// What should be read again soonest first; what never should be, last.
    ReviewDue,
}

impl ManagedSort {
    /// The key, ascending, as text that sorts as the key does: so that one cursor serves all.
    fn key(self) -> &'static str {
        match self {
            Self::Updated => "to_char(10000000000 - extract(epoch from a.updated_at), 'FM00000000000.000000')",
            Self::Title => "lower(r.title)",
            Self::Views => "to_char(1000000000000000 - a.view_count, 'FM0000000000000000')",
            Self::Helpful => "to_char(1 - wilson_lower_bound(a.helpful_count, a.not_helpful_count), 'FM0.0000000000')",
            Self::ReviewDue => "coalesce(to_char(a.review_due_on, 'YYYY-MM-DD'), '~')",
        }
    }
}

/// What an article is selected with; the text is that of the latest revision.
const COLUMNS: &str = "a.id, a.slug, a.status, a.version, r.title, r.summary, r.content, r.number as revision,
    (select number from revisions where tenant_id = a.tenant_id and id = a.published_revision_id) as published_revision,
    a.review_requested_at, a.publish_at,
    (select number from revisions where tenant_id = a.tenant_id and id = a.publish_revision_id) as publish_revision,
    a.category_id, a.difficulty, a.target_roles, a.locale, a.translation_group,
    array(select t.name from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
          where at.tenant_id = a.tenant_id and at.article_id = a.id order by t.name) as tags,
    (select coalesce(jsonb_agg(jsonb_build_object('id', o.id, 'locale', o.locale, 'slug', o.slug, 'status', o.status)
                               order by o.locale), '[]')
     from articles o where o.tenant_id = a.tenant_id and o.translation_group = a.translation_group and o.id <> a.id)
        as translations,
    array(select related_id from related_articles l where l.tenant_id = a.tenant_id and l.article_id = a.id
          order by l.position) as related,
    array(select distinct author from revisions w where w.tenant_id = a.tenant_id and w.article_id = a.id order by author)
        as authors,
    a.source, a.source_path, a.view_count, a.helpful_count, a.not_helpful_count, a.published_at, a.last_reviewed_at,
    a.review_due_on, a.created_at, a.updated_at";
const FROM: &str = "from articles a join revisions r on r.tenant_id = a.tenant_id and r.id = a.latest_revision_id";

/// One article.
pub async fn managed_article(tx: &mut TenantTx, id: Uuid) -> Result<Option<ManagedArticle>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    // Built, because the list has the same columns with conditions of its own.
    QueryBuilder::<Postgres>::new(format!("select {COLUMNS} {FROM} where a.tenant_id = "))
        .push_bind(tenant)
        .push(" and a.id = ")
        .push_bind(id)
        .build_query_as()
        .fetch_optional(tx.connection())
        .await
}

/// The articles that pass the filter, each with its sort key: those after a sort key and id, at most `limit`.
pub async fn managed_articles(
    tx: &mut TenantTx,
    filter: &ManagedFilter,
    sort: ManagedSort,
    after: Option<&(String, Uuid)>,
    limit: i64,
) -> Result<Vec<(String, ManagedArticle)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let key = sort.key();
    // Built, because order and conditions differ from call to call.
    let mut query = QueryBuilder::<Postgres>::new(format!("select {COLUMNS}, {key} collate \"C\" as sort_key {FROM}"));
    query.push(" where a.tenant_id = ").push_bind(tenant);
    push_filter(&mut query, filter);
    if let Some((after, id)) = after {
        query
            .push(format!(" and ({key} collate \"C\", a.id) > ("))
            .push_bind(after)
            .push(", ")
            .push_bind(*id)
            .push(")");
    }
    query.push(" order by sort_key, a.id limit ").push_bind(limit);
    let rows = query.build().fetch_all(tx.connection()).await?;
    rows.iter().map(|row| Ok((row.try_get("sort_key")?, sqlx::FromRow::from_row(row)?))).collect()
}

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &ManagedFilter) {
    if !filter.statuses.is_empty() {
        query.push(" and a.status = any (").push_bind(&filter.statuses[..]).push(")");
    }
    if let Some(categories) = &filter.categories {
        query.push(" and a.category_id = any (").push_bind(&categories[..]).push(")");
    }
    if let Some(tag) = &filter.tag {
        query
            .push(
                " and exists (select from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                   where at.tenant_id = a.tenant_id and at.article_id = a.id and t.slug = ",
            )
            .push_bind(tag)
            .push(")");
    }
    if let Some(locale) = &filter.locale {
        query.push(" and a.locale = ").push_bind(locale);
    }
    if let Some(author) = &filter.author {
        query
            .push(" and exists (select from revisions w where w.tenant_id = a.tenant_id and w.article_id = a.id and w.author = ")
            .push_bind(author)
            .push(")");
    }
    if let Some(source) = &filter.source {
        query.push(" and a.source = ").push_bind(source);
    }
    if let Some(title) = &filter.title {
        query.push(" and strpos(lower(r.title), lower(").push_bind(title).push(")) > 0");
    }
    if filter.is_review_requested {
        query.push(" and a.review_requested_at is not null");
    }
    if let Some(day) = filter.review_due_by {
        query.push(" and a.review_due_on <= ").push_bind(day);
    }
}
