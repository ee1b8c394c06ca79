//! Search.

use std::time::Instant;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Json, Path, Query},
};
use serde::{Deserialize, Serialize};
use shared::{
    auth::Principal,
    knowledge::{self, CategoryPaths, Locale, feedback::ReaderKey},
    search::{
        self, Arm, Facets, Hit, SearchOutcome, SearchRequest,
        history::{self, Answered},
    },
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::refusals::InvalidRequest;
use crate::{
    Services,
    caller::Reader,
    error::{ApiError, Problem},
    routes::articles::{Breadcrumb, article_url, breadcrumb, parse_difficulty},
};

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 50;
const MAX_TAGS: usize = 20;
const MAX_TYPED: usize = 500;
const MAX_SESSION: usize = 200;

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
    /// Names the session, so that what somebody types one after the other is told from separate searches: 1 to 200
    /// characters; a random text of 16 to 100 characters for visitors without an account.
    #[schema(min_length = 1, max_length = 200)]
    session_id: Option<String>,
}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchResponse {
    /// Best first.
    results: Vec<SearchResult>,
    /// How many articles were found in all. Each arm contributes its best 100 articles at most.
    total: usize,
    /// What people searched for next who asked the same.
    suggestions: Vec<String>,
    /// The query with its mistakes put right, when no article has its words.
    did_you_mean: Option<String>,
    /// How many of the articles that were found are of which kind.
    facets: SearchFacets,
    /// Names the search when a result of it is opened; null: it could not be kept.
    search_id: Option<Uuid>,
    /// What was not available: `semantic` while the embedding model is away, `reranker` while the model that orders the best is.
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
    /// The author's, or the beginning of the text where the author wrote none.
    summary: String,
    /// The passage that fits best, as safe HTML: text in which only `<mark>` is markup.
    snippet: String,
    /// Name of its category.
    category: Option<String>,
    breadcrumb: Vec<Breadcrumb>,
    difficulty_level: String,
    locale: String,
    view_count: i64,
    /// helpful / votes; 0.5 without votes.
    helpful_ratio: f64,
    /// 0 to 1; comparable within one answer only.
    score: f64,
    /// The arms that found it: `keyword`, `semantic`.
    #[schema(value_type = Vec<String>)]
    matched: Vec<Arm>,
}

/// How many of the articles that were found are of which kind, most first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchFacets {
    categories: Vec<CategoryFacet>,
    /// By slug of the tag.
    tags: Vec<Facet>,
    difficulties: Vec<Facet>,
    locales: Vec<Facet>,
}

/// A category and how many articles of it were found; those of categories below it are not counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CategoryFacet {
    slug: String,
    name: String,
    count: i64,
}

/// A value and how many articles with it were found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Facet {
    value: String,
    count: i64,
}

/// What somebody has typed so far.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct CompletionQuery {
    /// At most 500 characters.
    #[param(max_length = 500, example = "reset pass")]
    q: String,
}

/// How it may go on.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Completions {
    /// What several people asked that begins like it, most asked first.
    queries: Vec<String>,
    /// Articles with such a title, most read first.
    articles: Vec<TitleLine>,
}

/// An article by its title.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TitleLine {
    id: Uuid,
    title: String,
    slug: String,
    /// Address of its page, from the root of the site.
    url: String,
}

/// A result that was opened.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClickBody {
    article_id: Uuid,
    /// 1 for the first result, at most 1000.
    #[schema(minimum = 1, maximum = 1000)]
    position: i32,
    /// The session that was searched in.
    session_id: Option<String>,
}

/// Searches the articles that the caller may see, by words and by meaning. What stands in quotation marks must occur just so.
/// Articles in the language of the header `Accept-Language` come before others.
#[utoipa::path(
    post, path = "/api/v2/help-center/search/", tag = "Search", operation_id = "search",
    request_body = SearchBody,
    responses(
        (status = 200, description = "What was found, best first", body = SearchResponse),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn search(
    services: Data<Services>,
    Reader(caller): Reader,
    http: HttpRequest,
    body: Json<SearchBody>,
) -> Result<Json<SearchResponse>, ApiError> {
    let started = Instant::now();
    let body = body.into_inner();
    let limit = body.limit.map_or(Ok(DEFAULT_LIMIT), parse_limit)?;
    let query = body.query.parse().map_err(|e: search::QueryError| ApiError::invalid(format!("`query`: {e}.")))?;
    if body.tags.as_ref().is_some_and(|tags| tags.len() > MAX_TAGS) {
        return Err(ApiError::invalid(format!("`tags` may hold at most {MAX_TAGS} slugs.")));
    }
    let session = parse_session(body.session_id.as_deref())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let paths = knowledge::category_paths(&mut tx).await?;
    drop(tx);
    let categories = body.category.as_deref().map(|slug| paths.below(slug));
    let request = SearchRequest {
        query,
        limit,
        categories,
        tags: body.tags,
        difficulty: body.difficulty.as_deref().map(parse_difficulty).transpose()?,
        locale: body.locale,
        language: asked_in(&http),
    };
    let found = services.search.run(caller.tenant, &caller.roles, &request).await?;
    let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let search_id = keep(&services, &caller, session, &request, &found, took_ms).await;
    Ok(Json(SearchResponse {
        results: found.hits.iter().map(|hit| result(hit, &paths)).collect(),
        total: found.total,
        suggestions: found.suggestions.clone(),
        did_you_mean: found.did_you_mean.clone(),
        facets: facets(&found.facets, &paths),
        search_id,
        degraded: found.degraded.clone(),
        took_ms,
    }))
}

/// Completes what somebody types, by what others asked and by titles that the caller may see.
#[utoipa::path(
    get, path = "/api/v2/help-center/search/suggestions/", tag = "Search", operation_id = "completeSearch",
    params(CompletionQuery),
    responses(
        (status = 200, description = "How it may go on", body = Completions),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn complete(
    services: Data<Services>,
    Reader(caller): Reader,
    query: Query<CompletionQuery>,
) -> Result<Json<Completions>, ApiError> {
    let length = query.q.chars().count();
    if length > MAX_TYPED {
        return Err(ApiError::invalid(format!("`q` may have at most {MAX_TYPED} characters; this one has {length}.")));
    }
    let mut tx = services.database.tenant_with_generic_plans(caller.tenant).await?;
    let found = search::complete(&mut tx, &caller.roles, &query.q).await?;
    let articles = found.articles.into_iter().map(|article| TitleLine {
        url: article_url(&article.slug),
        id: article.id,
        title: article.title,
        slug: article.slug,
    });
    Ok(Json(Completions { queries: found.queries, articles: articles.collect() }))
}

/// Tells that a result of one's own search was opened. The first time counts.
#[utoipa::path(
    post, path = "/api/v2/help-center/search/{id}/clicks/", tag = "Search", operation_id = "openResult",
    params(("id" = String, Path, description = "`search_id` of the answer")),
    request_body = ClickBody,
    responses(
        (status = 204, description = "It was kept"),
        (status = 404, description = "No such search of the caller, or no such article that they may see", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is not JSON", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Reader,
    )
)]
pub(crate) async fn click(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    body: Json<ClickBody>,
) -> Result<HttpResponse, ApiError> {
    if !(1..=history::MAX_POSITION).contains(&body.position) {
        return Err(ApiError::invalid(format!("`position` must be from 1 to {}.", history::MAX_POSITION)));
    }
    let unknown = || ApiError::not_found("There is no such search of yours, or no such article that you may see.");
    let id = Uuid::try_parse(&id).map_err(|_| unknown())?;
    let session = parse_session(body.session_id.as_deref())?;
    let searcher = ReaderKey::of(&caller, session, services.authenticator.pepper());
    let mut tx = services.database.tenant(caller.tenant).await?;
    let (article, position) = (body.article_id, body.position);
    if !history::record_click(&mut tx, &caller.roles, searcher.as_ref(), id, article, position).await? {
        return Err(unknown());
    }
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Keeps a search. One that cannot be kept was answered all the same.
pub(crate) async fn keep(
    services: &Services,
    caller: &Principal,
    session: Option<&str>,
    request: &SearchRequest,
    outcome: &SearchOutcome,
    took_ms: u64,
) -> Option<Uuid> {
    let searcher = ReaderKey::of(caller, session, services.authenticator.pepper());
    let answered = Answered {
        searcher: searcher.as_ref(),
        session,
        locale: request.language.as_deref(),
        query: &request.query,
        outcome,
        took_ms,
    };
    let kept = async {
        let mut tx = services.database.tenant(caller.tenant).await?;
        let id = history::record(&mut tx, &answered).await?;
        tx.commit().await?;
        Ok::<_, sqlx::Error>(id)
    };
    kept.await.inspect_err(|error| tracing::warn!(%error, "search.not_kept")).ok()
}

/// The language that the caller prefers.
pub(crate) fn asked_in(request: &HttpRequest) -> Option<String> {
    let accepted = request.headers().get(header::ACCEPT_LANGUAGE)?.to_str().ok()?;
    let first = accepted.split([',', ';']).next()?.trim();
    first.parse::<Locale>().ok().map(|locale| locale.to_string())
}

fn parse_limit(limit: i64) -> Result<usize, ApiError> {
    usize::try_from(limit)
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
        .ok_or_else(|| ApiError::invalid(format!("`limit` must be from 1 to {MAX_LIMIT}; this one is {limit}.")))
}

fn parse_session(session: Option<&str>) -> Result<Option<&str>, ApiError> {
    let fits = |text: &&str| (1..=MAX_SESSION).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    let wrong = || {
        ApiError::invalid(format!("`session_id` must have 1 to {MAX_SESSION} characters, and no control characters."))
    };
    session.map(|text| Some(text).filter(fits).ok_or_else(wrong)).transpose()
}

fn result(hit: &Hit, paths: &CategoryPaths) -> SearchResult {
    let breadcrumb = breadcrumb(hit.category_id, paths);
    SearchResult {
        id: hit.id,
        title: hit.title.clone(),
        url: article_url(&hit.slug),
        slug: hit.slug.clone(),
        summary: hit.summary.clone(),
        snippet: hit.snippet.clone(),
        category: breadcrumb.last().map(|crumb| crumb.name.clone()),
        breadcrumb,
        difficulty_level: hit.difficulty.clone(),
        locale: hit.locale.clone(),
        view_count: hit.view_count,
        helpful_ratio: hit.helpful_ratio,
        score: hit.score,
        matched: hit.matched.clone(),
    }
}

/// A category without a path is not active.
fn facets(facets: &Facets, paths: &CategoryPaths) -> SearchFacets {
    let counted = |values: &[(String, i64)]| {
        values.iter().map(|(value, count)| Facet { value: value.clone(), count: *count }).collect()
    };
    let category = |(id, count): &(Uuid, i64)| {
        let crumb = paths.of(Some(*id)).last()?;
        Some(CategoryFacet { slug: crumb.slug.clone(), name: crumb.name.clone(), count: *count })
    };
    SearchFacets {
        categories: facets.categories.iter().filter_map(category).collect(),
        tags: counted(&facets.tags),
        difficulties: counted(&facets.difficulties),
        locales: counted(&facets.locales),
    }
}
