//! What admins teach search, and what people searched for.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Json, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    auth::Principal,
    search::{
        self,
        history::{self, SearchEntry, SearchFilter},
        teach::{self, Pin, SynonymGroup, TeachError},
    },
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    paging,
    refusals::{InvalidBody, InvalidRequest},
};
use crate::{
    Services,
    caller::{Admin, Editor},
    error::{ApiError, Problem},
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 500;

/// All groups of synonyms.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SynonymList {
    /// By their first term.
    results: Vec<SynonymLine>,
}

/// Terms that mean the same: whoever searches for one finds what has another.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SynonymLine {
    id: Uuid,
    terms: Vec<String>,
}

/// Terms that mean the same.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SynonymBody {
    /// 2 to 20 words or phrases, each of 1 to 100 characters.
    #[schema(min_items = 2, max_items = 20, example = json!(["SSO", "single sign-on"]))]
    terms: Vec<String>,
}

/// All pins.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PinList {
    /// By query.
    results: Vec<PinLine>,
}

/// Articles that come first for a query.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PinLine {
    /// In lower case, with one space between words.
    query: String,
    /// In their order. Who may not see one of them does not get it.
    article_ids: Vec<Uuid>,
}

/// Articles that shall come first for a query, in place of those that did.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PinBody {
    /// 2 to 500 characters; case and white space do not matter.
    query: String,
    /// At most 10, in their order; none takes the pins away.
    #[schema(max_items = 10)]
    article_ids: Vec<Uuid>,
}

/// Which searches to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SearchesQuery {
    /// `none`: only searches that found nothing; `unopened`: only those of which nothing was opened.
    only: Option<String>,
    /// How many at most, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of searches.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchesPage {
    /// The latest first. A search shows 30 seconds after somebody stopped typing.
    results: Vec<SearchLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// A search. Who searched is not told.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SearchLine {
    id: Uuid,
    /// As it was typed last.
    query: String,
    /// The asker's language; null: it was not told.
    locale: Option<String>,
    /// How many articles were found.
    result_count: i32,
    took_ms: i32,
    /// Search by meaning was away.
    degraded: bool,
    /// The search before it, of the same session; null: it was the first.
    refines: Option<Uuid>,
    /// The position of the result that was opened first, from 1; null: none was.
    first_click: Option<i32>,
    settled_at: DateTime<Utc>,
}

/// Lists the synonyms.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/synonyms/", tag = "Search", operation_id = "listSynonyms",
    responses(
        (status = 200, description = "All groups", body = SynonymList),
        Admin,
    )
)]
pub(crate) async fn synonyms(services: Data<Services>, Admin(caller): Admin) -> Result<Json<SynonymList>, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    let results = teach::synonyms(&mut tx).await?.into_iter().map(line).collect();
    Ok(Json(SynonymList { results }))
}

/// Adds a group of synonyms.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/synonyms/", tag = "Search", operation_id = "addSynonyms",
    request_body = SynonymBody,
    responses(
        (status = 201, description = "The group", body = SynonymLine),
        InvalidBody, Admin,
    )
)]
pub(crate) async fn add_synonyms(
    services: Data<Services>,
    Admin(caller): Admin,
    body: Json<SynonymBody>,
) -> Result<HttpResponse, ApiError> {
    let group = put_synonyms(&services, &caller, None, &body).await?;
    let address = format!("/api/v2/help-center/admin/synonyms/{}/", group.id);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, address)).json(group))
}

/// Replaces a group of synonyms.
#[utoipa::path(
    put, path = "/api/v2/help-center/admin/synonyms/{id}/", tag = "Search", operation_id = "replaceSynonyms",
    params(("id" = String, Path, description = "Id of the group")),
    request_body = SynonymBody,
    responses(
        (status = 200, description = "The group", body = SynonymLine),
        (status = 404, description = "No such group", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Admin,
    )
)]
pub(crate) async fn replace_synonyms(
    services: Data<Services>,
    Admin(caller): Admin,
    id: Path<String>,
    body: Json<SynonymBody>,
) -> Result<Json<SynonymLine>, ApiError> {
    let id = id.parse().map_err(|_| TeachError::NotFound)?;
    Ok(Json(put_synonyms(&services, &caller, Some(id), &body).await?))
}

/// Removes a group of synonyms.
#[utoipa::path(
    delete, path = "/api/v2/help-center/admin/synonyms/{id}/", tag = "Search", operation_id = "deleteSynonyms",
    params(("id" = String, Path, description = "Id of the group")),
    responses(
        (status = 204, description = "It is gone"),
        (status = 404, description = "No such group", body = Problem, content_type = "application/problem+json"),
        Admin,
    )
)]
pub(crate) async fn delete_synonyms(
    services: Data<Services>,
    Admin(caller): Admin,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = id.parse().map_err(|_| TeachError::NotFound)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    teach::delete_synonyms(&mut tx, &caller.actor(), id).await?;
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Lists the articles that are pinned to queries.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/search-pins/", tag = "Search", operation_id = "listSearchPins",
    responses(
        (status = 200, description = "All pins", body = PinList),
        Admin,
    )
)]
pub(crate) async fn pins(services: Data<Services>, Admin(caller): Admin) -> Result<Json<PinList>, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    let results = teach::pins(&mut tx).await?.into_iter().map(pin_line).collect();
    Ok(Json(PinList { results }))
}

/// Pins articles to a query.
#[utoipa::path(
    put, path = "/api/v2/help-center/admin/search-pins/", tag = "Search", operation_id = "pinToSearch",
    request_body = PinBody,
    responses(
        (status = 200, description = "The pins of the query", body = PinLine),
        InvalidBody, Admin,
    )
)]
pub(crate) async fn pin(
    services: Data<Services>,
    Admin(caller): Admin,
    body: Json<PinBody>,
) -> Result<Json<PinLine>, ApiError> {
    let query = body.query.parse().map_err(|e: search::QueryError| ApiError::invalid(format!("`query`: {e}.")))?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let pin = teach::pin(&mut tx, &caller.actor(), &query, &body.article_ids).await?;
    tx.commit().await?;
    Ok(Json(pin_line(pin)))
}

/// Lists what people searched for.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/searches/", tag = "Search", operation_id = "listSearches",
    params(SearchesQuery),
    responses(
        (status = 200, description = "A page of searches", body = SearchesPage),
        InvalidRequest, Editor,
    )
)]
pub(crate) async fn searches(
    services: Data<Services>,
    Editor(caller): Editor,
    query: Query<SearchesQuery>,
) -> Result<Json<SearchesPage>, ApiError> {
    let query = query.into_inner();
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let filter = SearchFilter {
        without_results: query.only.as_deref() == Some("none"),
        without_click: query.only.as_deref() == Some("unopened"),
        after: paging::after::<(DateTime<Utc>, Uuid)>(query.cursor.as_deref())?,
        limit: limit + 1,
    };
    if query.only.as_deref().is_some_and(|only| !["none", "unopened"].contains(&only)) {
        return Err(ApiError::invalid("`only` must be `none` or `unopened`."));
    }
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut searches = history::searches(&mut tx, &filter).await?;
    let next_cursor = paging::next_cursor(&mut searches, limit, |last| (last.settled_at, last.id));
    Ok(Json(SearchesPage { results: searches.into_iter().map(search_line).collect(), next_cursor }))
}

/// Adds a group of synonyms, or replaces the one with this id.
async fn put_synonyms(
    services: &Services,
    caller: &Principal,
    id: Option<Uuid>,
    body: &SynonymBody,
) -> Result<SynonymLine, ApiError> {
    let mut tx = services.database.tenant(caller.tenant).await?;
    let group = teach::put_synonyms(&mut tx, &caller.actor(), id, &body.terms).await?;
    tx.commit().await?;
    Ok(line(group))
}

fn line(group: SynonymGroup) -> SynonymLine {
    SynonymLine { id: group.id, terms: group.terms }
}

fn pin_line(pin: Pin) -> PinLine {
    PinLine { query: pin.query, article_ids: pin.article_ids }
}

fn search_line(entry: SearchEntry) -> SearchLine {
    SearchLine {
        id: entry.id,
        query: entry.query,
        locale: entry.locale,
        result_count: entry.result_count,
        took_ms: entry.took_ms,
        degraded: entry.is_degraded,
        refines: entry.refines,
        first_click: entry.first_click,
        settled_at: entry.settled_at,
    }
}
