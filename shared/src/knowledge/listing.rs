//! Lists of articles for readers: filters, orders, and where a page goes on.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use super::{article::Difficulty, read::ArticleSummary};
use crate::{auth::Roles, db::TenantTx};

/// Which articles to list.
#[derive(Debug, Clone, Default)]
pub struct ArticleFilter {
    /// Only of these categories; descendants are not added by themselves.
    pub categories: Option<Vec<Uuid>>,
    /// Only with one of these tags, by slug.
    pub tags: Option<Vec<String>>,
    /// Only of this difficulty.
    pub difficulty: Option<Difficulty>,
    /// Only in this language.
    pub locale: Option<String>,
    /// In which order.
    pub sort: Sort,
    /// Only after this place and id, in this order.
    pub after: Option<(Place, Uuid)>,
    /// At most so many.
    pub limit: i64,
}

/// An order. Articles with the same key are ordered by id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sort {
    /// By what.
    pub by: SortBy,
    /// The greatest first.
    pub is_descending: bool,
}

/// What lists are ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// When readers first saw the article.
    #[default]
    Published,
    /// When it was changed last.
    Updated,
    /// Its title, without case and accents, numbers by their value.
    Title,
    /// How often it was read.
    Views,
    /// The lower bound of the Wilson score interval of its votes.
    Helpful,
}

impl SortBy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Published, Self::Updated, Self::Title, Self::Views, Self::Helpful];

    /// As it stands in requests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Published => "published",
            Self::Updated => "updated",
            Self::Title => "title",
            Self::Views => "views",
            Self::Helpful => "helpful",
        }
    }

    /// The order that people expect: titles from A to Z; the newest, most read and most helpful first.
    pub fn usual(self) -> Sort {
        Sort { by: self, is_descending: self != Self::Title }
    }

    /// The column; each has an index.
    fn column(self) -> &'static str {
        match self {
            Self::Published => "a.published_at",
            Self::Updated => "a.updated_at",
            Self::Title => "a.title_key",
            Self::Views => "a.view_count",
            Self::Helpful => "a.helpfulness",
        }
    }
}

impl Default for Sort {
    fn default() -> Self {
        SortBy::default().usual()
    }
}

/// Where an article stands in an order, beside its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// By time.
    At(DateTime<Utc>),
    /// By title.
    Titled(String),
    /// By views.
    Read(i64),
    /// By votes, helpful and not: a share would not survive being written down.
    Voted(i64, i64),
}

impl Sort {
    /// Where an article stands.
    pub fn place(self, article: &ArticleSummary) -> (Place, Uuid) {
        let place = match self.by {
            SortBy::Published => Place::At(article.published_at),
            SortBy::Updated => Place::At(article.updated_at),
            SortBy::Title => Place::Titled(article.title.clone()),
            SortBy::Views => Place::Read(article.view_count),
            SortBy::Helpful => Place::Voted(article.helpful_count, article.not_helpful_count),
        };
        (place, article.id)
    }

    /// Whether a place is one in this order.
    pub fn has(self, place: &Place) -> bool {
        match self.by {
            SortBy::Published | SortBy::Updated => matches!(place, Place::At(_)),
            SortBy::Title => matches!(place, Place::Titled(_)),
            SortBy::Views => matches!(place, Place::Read(_)),
            SortBy::Helpful => matches!(place, Place::Voted(..)),
        }
    }
}

/// The visible articles that pass the filter, in its order.
pub async fn articles(
    tx: &mut TenantTx,
    roles: &Roles,
    filter: &ArticleFilter,
) -> Result<Vec<ArticleSummary>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let key = filter.sort.by.column();
    // Built, because an index serves only an order that the statement names.
    let mut query = QueryBuilder::<Postgres>::new(
        "select a.id, a.slug, r.title, r.shown_summary as summary, a.category_id, a.difficulty, a.locale, a.translation_group, a.view_count,
                a.helpful_count, a.not_helpful_count, a.published_at, a.updated_at
         from articles a join revisions r on r.tenant_id = a.tenant_id and r.id = a.published_revision_id
         where a.tenant_id = ",
    );
    query.push_bind(tenant).push(" and article_is_visible(a.status, a.target_roles, ").push_bind(roles.as_slice());
    query.push(")");
    if let Some(categories) = &filter.categories {
        query.push(" and a.category_id = any (").push_bind(&categories[..]).push(")");
    }
    if let Some(tags) = &filter.tags {
        query
            .push(
                " and a.id in (select at.article_id
                               from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                               where at.tenant_id = ",
            )
            .push_bind(tenant)
            .push(" and t.slug = any (")
            .push_bind(&tags[..])
            .push("))");
    }
    if let Some(difficulty) = filter.difficulty {
        query.push(" and a.difficulty = ").push_bind(difficulty.as_str());
    }
    if let Some(locale) = &filter.locale {
        query.push(" and a.locale = ").push_bind(locale);
    }
    let (after, direction) = if filter.sort.is_descending { ("<", "desc") } else { (">", "asc") };
    if let Some((place, id)) = &filter.after {
        query.push(format!(" and ({key}, a.id) {after} ("));
        match place {
            Place::At(time) => query.push_bind(time),
            Place::Titled(title) => query.push("title_key(").push_bind(title).push(")"),
            Place::Read(views) => query.push_bind(views),
            Place::Voted(helpful, not_helpful) => {
                query.push("wilson_lower_bound(").push_bind(helpful).push(", ").push_bind(not_helpful).push(")")
            }
        };
        query.push(", ").push_bind(id).push(")");
    }
    query.push(format!(" order by {key} {direction}, a.id {direction} limit ")).push_bind(filter.limit);
    query.build_query_as().fetch_all(tx.connection()).await
}

/// Of these articles those that the caller may see, in the order in which they are named: each, where there is one, in the
/// translation of this language.
pub async fn articles_by_id(
    tx: &mut TenantTx,
    roles: &Roles,
    articles: &[Uuid],
    language: Option<&str>,
) -> Result<Vec<ArticleSummary>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        ArticleSummary,
        r#"select a.id, a.slug, r.title, r.shown_summary as summary, a.category_id, a.difficulty, a.locale, a.translation_group, a.view_count,
                  a.helpful_count, a.not_helpful_count, a.published_at as "published_at!", a.updated_at
           from unnest($2::uuid[]) with ordinality as named (id, place)
           join articles n on n.tenant_id = $1 and n.id = named.id
           cross join lateral (
               select t.* from articles t
               where t.tenant_id = $1 and t.translation_group = n.translation_group
                 and article_is_visible(t.status, t.target_roles, $3)
                 and (t.id = n.id or split_part(lower(t.locale), '-', 1) = split_part(lower($4), '-', 1))
               order by split_part(lower(t.locale), '-', 1) is not distinct from split_part(lower($4), '-', 1) desc,
                        t.locale is not distinct from $4 desc, t.id = n.id desc, t.id
               limit 1) a
           join revisions r on r.tenant_id = a.tenant_id and r.id = a.published_revision_id
           order by named.place"#,
        tenant,
        articles,
        roles.as_slice(),
        language
    )
    .fetch_all(tx.connection())
    .await
}
