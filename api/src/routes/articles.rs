//! Articles.

use std::collections::HashMap;

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Json, Path, Query},
};
use chrono::{DateTime, Utc};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use shared::{
    knowledge::{self, ArticleFilter, ArticleSummary, CategoryPaths, Difficulty, LinkTo, Sort, SortBy},
    markdown, pagination,
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{paging, refusals::InvalidRequest};
use crate::{
    Services,
    caller::Reader,
    error::{ApiError, Problem},
};

const DEFAULT_LIMIT: i64 = 20;
const MAX_LIMIT: i64 = 100;
const MAX_TAGS: usize = 20;

/// Which articles to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ListQuery {
    /// Only this category and those below it, by slug.
    category: Option<String>,
    /// Only with this tag, by slug; with one of several, separated by commas, at most 20.
    tag: Option<String>,
    /// Only this difficulty: `BEGINNER`, `INTERMEDIATE` or `ADVANCED`.
    difficulty: Option<String>,
    /// Only this language, such as `en`.
    locale: Option<String>,
    /// By what: `published` (when readers first saw it; the default), `updated`, `title` (without case and accents, numbers by
    /// their value), `views` or `helpful` (the lower bound of the Wilson score interval of its votes).
    sort: Option<String>,
    /// `asc` or `desc`. When left out, titles go from A to Z, and the newest, most read and most helpful come first.
    order: Option<String>,
    /// How many at most, 1 to 100; 20 when left out.
    #[param(minimum = 1, maximum = 100, default = 20)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before, with the same other parameters.
    cursor: Option<String>,
}

/// A page of articles.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArticlePage {
    /// In the order that was asked for.
    results: Vec<ArticleLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// An article in a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArticleLine {
    id: Uuid,
    title: String,
    slug: String,
    /// Address of its page, from the root of the site.
    url: String,
    /// The author's, or the beginning of the text where the author wrote none.
    summary: String,
    /// Name of its category.
    category: Option<String>,
    breadcrumb: Vec<Breadcrumb>,
    difficulty_level: String,
    locale: String,
    view_count: i64,
    /// helpful / votes; 0.5 without votes.
    helpful_ratio: f64,
    published_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
}

/// A category on the way to an article, from the root on.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Breadcrumb {
    pub(crate) name: String,
    pub(crate) slug: String,
}

/// An article as its readers see it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArticleDetail {
    #[serde(flatten)]
    line: ArticleLine,
    /// Markdown.
    content: String,
    /// The content as safe HTML: no script, whatever its author wrote.
    html: String,
    /// The headings of the content, in order.
    headings: Vec<HeadingLine>,
    tags: Vec<String>,
    /// What to read next, at most 5: what an editor chose, then what is about the same.
    related: Vec<RelatedArticle>,
    /// Number of the published revision, from 1.
    revision: i32,
    /// Raised by every change of the article.
    version: i32,
    last_reviewed_at: Option<DateTime<Utc>>,
}

/// An article to be read next.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RelatedArticle {
    id: Uuid,
    title: String,
    slug: String,
    /// Address of its page, from the root of the site.
    url: String,
    /// The author's, or the beginning of the text where the author wrote none.
    summary: String,
    /// Name of its category.
    category: Option<String>,
    breadcrumb: Vec<Breadcrumb>,
    locale: String,
}

/// A heading.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HeadingLine {
    /// 1 to 6.
    level: u8,
    text: String,
    /// The part of its address after `#`.
    anchor: String,
}

/// Lists the articles that the caller may see, the newest first unless another order is asked for.
#[utoipa::path(
    get, path = "/api/v2/help-center/articles/", tag = "Articles", operation_id = "listArticles",
    params(ListQuery),
    responses(
        (status = 200, description = "A page of articles", body = ArticlePage),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn list(
    services: Data<Services>,
    Reader(caller): Reader,
    query: Query<ListQuery>,
) -> Result<Json<ArticlePage>, ApiError> {
    let query = query.into_inner();
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let sort = parse_sort(query.sort.as_deref(), query.order.as_deref())?;
    let tags = query.tag.as_deref().map(parse_tags).transpose()?;
    let list = list_name(&query, sort);
    let after = paging::after_article(&list, sort, query.cursor.as_deref())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let paths = knowledge::category_paths(&mut tx).await?;
    let categories = query.category.as_deref().map(|slug| paths.below(slug));
    let filter = ArticleFilter {
        categories,
        tags,
        difficulty: query.difficulty.as_deref().map(parse_difficulty).transpose()?,
        locale: query.locale,
        sort,
        after,
        limit: limit + 1,
    };
    let mut articles = knowledge::articles(&mut tx, &caller.roles, &filter).await?;
    let next_cursor = paging::next_article(&mut articles, limit, &list, sort);
    Ok(Json(ArticlePage { results: articles.into_iter().map(|a| line(a, &paths)).collect(), next_cursor }))
}

/// One article, by id or slug.
#[utoipa::path(
    get, path = "/api/v2/help-center/articles/{id}/", tag = "Articles", operation_id = "getArticle",
    params(("id" = String, Path, description = "Id or slug")),
    responses(
        (status = 200, description = "The article", body = ArticleDetail),
        (status = 301, description = "The article has another slug now"),
        (status = 404, description = "No such article that the caller may see", body = Problem, content_type = "application/problem+json"),
        Reader,
    )
)]
pub(crate) async fn detail(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    let Some(article) = knowledge::article(&mut tx, &caller.roles, &id).await? else {
        let slug = knowledge::moved_to(&mut tx, &caller.roles, &id)
            .await?
            .ok_or_else(|| ApiError::not_found("There is no article with this id or slug, or you may not see it."))?;
        return Ok(moved(&format!("/api/v2/help-center/articles/{}/", in_address(&slug))));
    };
    let targets = knowledge::link_targets(&mut tx, &caller.roles, article.summary.id).await?;
    let paths = knowledge::category_paths(&mut tx).await?;
    let related = services.search.related(&mut tx, &caller.roles, &article).await?;
    drop(tx);
    let rendered = markdown::render(&article.content, &|destination| link_target(&targets, destination));
    Ok(HttpResponse::Ok().json(ArticleDetail {
        line: line(article.summary, &paths),
        content: article.content,
        html: rendered.html,
        headings: rendered
            .headings
            .into_iter()
            .map(|h| HeadingLine { level: h.level, text: h.text, anchor: h.anchor })
            .collect(),
        tags: article.tags,
        related: related.into_iter().map(|article| related_line(article, &paths)).collect(),
        revision: article.revision,
        version: article.version,
        last_reviewed_at: article.last_reviewed_at,
    }))
}

/// Where a link of an article leads for this caller.
pub(crate) fn link_target(targets: &HashMap<String, LinkTo>, destination: &str) -> markdown::LinkTarget {
    match targets.get(destination) {
        None => markdown::LinkTarget::Keep,
        Some(LinkTo::Nothing) => markdown::LinkTarget::Broken,
        Some(LinkTo::Image(address)) => markdown::LinkTarget::Replace(address.clone()),
        Some(LinkTo::Article { slug, fragment }) if fragment.is_empty() => {
            markdown::LinkTarget::Replace(article_url(slug))
        }
        Some(LinkTo::Article { slug, fragment }) => {
            markdown::LinkTarget::Replace(format!("{}#{fragment}", article_url(slug)))
        }
    }
}

/// An answer that leads to another address for good.
pub(crate) fn moved(location: &str) -> HttpResponse {
    HttpResponse::MovedPermanently().insert_header((header::LOCATION, location)).finish()
}

/// A slug as it stands in addresses.
pub(crate) fn in_address(slug: &str) -> String {
    utf8_percent_encode(slug, NON_ALPHANUMERIC).to_string().replace("%2D", "-")
}

/// The address of an article's page.
pub(crate) fn article_url(slug: &str) -> String {
    format!("/articles/{slug}/")
}

/// The way from the root to a category that the caller may see.
pub(crate) fn breadcrumb(category: Option<Uuid>, paths: &CategoryPaths) -> Vec<Breadcrumb> {
    paths.of(category).iter().map(|c| Breadcrumb { name: c.name.clone(), slug: c.slug.clone() }).collect()
}

/// Reads a difficulty from a request.
pub(crate) fn parse_difficulty(text: &str) -> Result<Difficulty, ApiError> {
    text.parse().map_err(|problem| ApiError::invalid(format!("`difficulty`: {problem}.")))
}

fn related_line(article: ArticleSummary, paths: &CategoryPaths) -> RelatedArticle {
    let breadcrumb = breadcrumb(article.category_id, paths);
    RelatedArticle {
        id: article.id,
        url: article_url(&article.slug),
        title: article.title,
        slug: article.slug,
        summary: article.summary,
        category: breadcrumb.last().map(|crumb| crumb.name.clone()),
        breadcrumb,
        locale: article.locale,
    }
}

fn parse_sort(by: Option<&str>, order: Option<&str>) -> Result<Sort, ApiError> {
    let unknown = || {
        let names: Vec<String> = SortBy::ALL.iter().map(|by| format!("`{}`", by.as_str())).collect();
        ApiError::invalid(format!("`sort` must be one of {}.", names.join(", ")))
    };
    let by = by.map_or(Some(SortBy::default()), |name| SortBy::ALL.into_iter().find(|by| by.as_str() == name));
    let usual = by.ok_or_else(unknown)?.usual();
    match order {
        None => Ok(usual),
        Some("asc") => Ok(Sort { is_descending: false, ..usual }),
        Some("desc") => Ok(Sort { is_descending: true, ..usual }),
        Some(_) => Err(ApiError::invalid("`order` must be `asc` or `desc`.")),
    }
}

fn parse_tags(text: &str) -> Result<Vec<String>, ApiError> {
    let tags: Vec<String> = text.split(',').map(|tag| tag.trim().to_owned()).collect();
    if tags.len() > MAX_TAGS {
        return Err(ApiError::invalid(format!("`tag` may hold at most {MAX_TAGS} slugs.")));
    }
    Ok(tags)
}

fn list_name(query: &ListQuery, sort: Sort) -> String {
    let filters = [
        ("category", &query.category),
        ("tag", &query.tag),
        ("difficulty", &query.difficulty),
        ("locale", &query.locale),
    ];
    let mut parts = vec![sort.by.as_str(), if sort.is_descending { "desc" } else { "asc" }];
    for (name, value) in filters {
        parts.extend(value.as_deref().into_iter().flat_map(|value| [name, value]));
    }
    pagination::list_name(&parts)
}

pub(super) fn line(article: ArticleSummary, paths: &CategoryPaths) -> ArticleLine {
    let breadcrumb = breadcrumb(article.category_id, paths);
    ArticleLine {
        id: article.id,
        url: article_url(&article.slug),
        helpful_ratio: article.helpful_ratio(),
        title: article.title,
        slug: article.slug,
        summary: article.summary,
        category: breadcrumb.last().map(|crumb| crumb.name.clone()),
        breadcrumb,
        difficulty_level: article.difficulty,
        locale: article.locale,
        view_count: article.view_count,
        published_at: article.published_at,
        updated_at: article.updated_at,
    }
}
