//! Search.

use std::time::Instant;

use actix_web::web::{Data, Json};
use serde::{Deserialize, Serialize};
use shared::{
    knowledge,
    search::{self, Arm, Hit, SearchRequest},
};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    Services,
    caller::Reader,
    error::{ApiError, Problem},
    routes::articles::{Breadcrumb, article_url, breadcrumb, parse_difficulty},
};

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 50;
const MAX_TAGS: usize = 20;

/// What is searched for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SearchBody {
    /// 2 to 500 characters, any language.
    #[schema(min_length = 2, max_length = 500, example = "how do I reset my password")]
    query: String,
    /// How many results at most, 1 to 50; 20 when left out.
    #[schema(minimum = 1, maximum = 50, default = 20)]
    limit: Option<i64>,
    /// Only this category and those below it, by slug.
    category: Option<String>,
    /// Only articles with one of these tags, by slug.
    #[schema(max_items = 20)]
    tags: Option<Vec<String>>,
    /// Only this difficulty: `BEGINNER`, `INTERMEDIATE` or `ADVANCED`.
    difficulty: Option<String>,
    /// Only this language, such as `en`.
    locale: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchResponse {
    /// Best first.
    results: Vec<SearchResult>,
    /// How many articles were found in all. Each arm contributes its best 100 articles at most.
    total: usize,
    /// The arms that were not available: `semantic` while the embedding model is away.
    #[schema(value_type = Vec<String>)]
    degraded: Vec<Arm>,
    /// How long the search took on the server, in milliseconds.
    took_ms: u64,
}

/// A found article.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchResult {
    id: Uuid,
    title: String,
    slug: String,
    /// Address of its page, from the root of the site.
    url: String,
    summary: String,
    /// The passage that fits best, as safe HTML: text in which only `<mark>` is markup.
    snippet: String,
    /// Name of its category.
    category: Option<String>,
    breadcrumb: Vec<Breadcrumb>,
    difficulty_level: String,
    view_count: i64,
    /// helpful / votes; 0.5 without votes.
    helpful_ratio: f64,
    /// 0 to 1; comparable within one answer only.
    score: f64,
    /// The arms that found it: `keyword`, `semantic`.
    #[schema(value_type = Vec<String>)]
    matched: Vec<Arm>,
}

/// Searches the articles that the caller may see, by words and by meaning.
#[utoipa::path(
    post, path = "/api/v2/help-center/search/", tag = "Search", operation_id = "search",
    request_body = SearchBody,
    responses(
        (status = 200, description = "What was found, best first", body = SearchResponse),
        (status = 400, description = "The request is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid credential", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn search(
    services: Data<Services>,
    Reader(caller): Reader,
    body: Json<SearchBody>,
) -> Result<Json<SearchResponse>, ApiError> {
    let started = Instant::now();
    let body = body.into_inner();
    let limit = body.limit.map_or(Ok(DEFAULT_LIMIT), parse_limit)?;
    let query = body.query.parse().map_err(|e: search::QueryError| ApiError::invalid(format!("`query`: {e}.")))?;
    if body.tags.as_ref().is_some_and(|tags| tags.len() > MAX_TAGS) {
        return Err(ApiError::invalid(format!("`tags` may hold at most {MAX_TAGS} slugs.")));
    }
    let mut tx = services.database.tenant(caller.tenant).await?;
    let tree = knowledge::categories(&mut tx, &caller.roles).await?;
    drop(tx);
    // A category that the caller cannot see holds nothing for them, like one that does not exist.
    let categories = body.category.as_deref().map(|slug| {
        knowledge::category_by_slug(&tree, slug).map(knowledge::category_with_descendants).unwrap_or_default()
    });
    let request = SearchRequest {
        query,
        limit,
        categories,
        tags: body.tags,
        difficulty: body.difficulty.as_deref().map(parse_difficulty).transpose()?,
        locale: body.locale,
    };
    let found =
        search::search(&services.database, services.embedder.as_deref(), caller.tenant, &caller.roles, &request)
            .await?;
    let paths = knowledge::breadcrumbs(&tree);
    let results = found.hits.into_iter().map(|hit| result(hit, &paths)).collect();
    Ok(Json(SearchResponse {
        results,
        total: found.total,
        degraded: found.degraded,
        took_ms: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }))
}

fn parse_limit(limit: i64) -> Result<usize, ApiError> {
    usize::try_from(limit)
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| ApiError::invalid(format!("`limit` must be from 1 to {MAX_LIMIT}; this one is {limit}.")))
}

fn result(hit: Hit, paths: &std::collections::HashMap<Uuid, Vec<knowledge::Crumb>>) -> SearchResult {
    let breadcrumb = breadcrumb(hit.category_id, paths);
    SearchResult {
        id: hit.id,
        title: hit.title,
        url: article_url(&hit.slug),
        slug: hit.slug,
        summary: hit.summary,
        snippet: hit.snippet,
        category: breadcrumb.last().map(|crumb| crumb.name.clone()),
        breadcrumb,
        difficulty_level: hit.difficulty,
        view_count: hit.view_count,
        helpful_ratio: hit.helpful_ratio,
        score: hit.score,
        matched: hit.matched,
    }
}
