//! What articles were before: their revisions, what differs between two, and going back to one.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::knowledge::writing::{self, Comparison, Revision};
use utoipa::{IntoParams, ToSchema};

use super::{
    paging,
    refusals::{InvalidBody, InvalidRequest},
    writing::{WritingArticle, act, find, parse_id},
};
use crate::{
    Services,
    caller::Author,
    error::{ApiError, Problem},
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;

/// Which revisions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct RevisionsQuery {
    /// How many at most, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200, default = 50)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of revisions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionPage {
    /// The latest first, without their content.
    results: Vec<RevisionLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// A saved text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionLine {
    /// From 1.
    number: i32,
    title: String,
    summary: String,
    /// Markdown. Left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
    /// Who wrote it.
    author: String,
    note: String,
    created_at: DateTime<Utc>,
    /// Whether readers see it.
    is_published: bool,
}

/// Which two revisions to compare.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct DiffQuery {
    /// Number of the former.
    from: i32,
    /// Number of the latter.
    to: i32,
}

/// What differs between two revisions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionDiff {
    /// The former, without its content.
    from: RevisionLine,
    /// The latter, without its content.
    to: RevisionLine,
    /// `title` and `summary`: pieces of text, each `{kind, text}`, where `kind` is `same`, `removed` or `added`. `content`: the
    /// places that differ, each `{from_line, to_line, lines}`, where a line is `{kind, pieces}`.
    #[schema(value_type = Object)]
    changes: Comparison,
}

/// Which revision to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RestoreBody {
    /// The version that the caller saw, instead of the header `If-Match`.
    version: Option<i32>,
    /// Number of the revision.
    revision: i32,
}

/// Lists the revisions of an article, the latest first.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/articles/{id}/revisions/", tag = "Writing", operation_id = "listRevisions",
    params(("id" = String, Path, description = "Id of the article"), RevisionsQuery),
    responses(
        (status = 200, description = "A page of revisions", body = RevisionPage),
        (status = 404, description = "No such article", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Author,
    )
)]
pub(crate) async fn list(
    services: Data<Services>,
    Author(caller): Author,
    id: Path<String>,
    query: Query<RevisionsQuery>,
) -> Result<Json<RevisionPage>, ApiError> {
    let id = parse_id(&id)?;
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let before = paging::after::<i32>(query.cursor.as_deref())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    find(&mut tx, id).await?;
    let mut revisions = writing::revisions(&mut tx, id, before, limit + 1).await?;
    let next_cursor = paging::next_cursor(&mut revisions, limit, |last| last.number);
    let results = revisions.into_iter().map(|revision| RevisionLine { content: None, ..line(revision) }).collect();
    Ok(Json(RevisionPage { results, next_cursor }))
}

/// One revision with its content.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/articles/{id}/revisions/{number}/", tag = "Writing", operation_id = "getRevision",
    params(("id" = String, Path, description = "Id of the article"), ("number" = String, Path, description = "Number of the revision")),
    responses(
        (status = 200, description = "The revision", body = RevisionLine),
        (status = 404, description = "No such revision", body = Problem, content_type = "application/problem+json"),
        Author,
    )
)]
pub(crate) async fn detail(
    services: Data<Services>,
    Author(caller): Author,
    path: Path<(String, String)>,
) -> Result<Json<RevisionLine>, ApiError> {
    let (id, number) = path.into_inner();
    let number = number.parse().map_err(|_| no_such_revision(&number))?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    Ok(Json(line(revision(&mut tx, parse_id(&id)?, number).await?)))
}

/// What differs between two revisions of an article.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/articles/{id}/diff/", tag = "Writing", operation_id = "compareRevisions",
    params(("id" = String, Path, description = "Id of the article"), DiffQuery),
    responses(
        (status = 200, description = "What differs", body = RevisionDiff),
        (status = 404, description = "No such article or revision", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Author,
    )
)]
pub(crate) async fn diff(
    services: Data<Services>,
    Author(caller): Author,
    id: Path<String>,
    query: Query<DiffQuery>,
) -> Result<Json<RevisionDiff>, ApiError> {
    let id = parse_id(&id)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let from = revision(&mut tx, id, query.from).await?;
    let to = revision(&mut tx, id, query.to).await?;
    drop(tx);
    let changes = writing::compare(&from.text, &to.text);
    let without_content = |revision| RevisionLine { content: None, ..line(revision) };
    Ok(Json(RevisionDiff { from: without_content(from), to: without_content(to), changes }))
}

/// Makes the text of an earlier revision the latest one, as a new revision.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/articles/{id}/restore/", tag = "Writing", operation_id = "restoreRevision",
    params(("id" = String, Path, description = "Id of the article"),
           ("If-Match" = Option<String>, Header, description = "The version that the caller saw")),
    request_body = RestoreBody,
    responses(
        (status = 200, description = "The article as it is now", body = WritingArticle),
        (status = 404, description = "No such article", body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "Somebody else changed it", body = Problem, content_type = "application/problem+json"),
        (status = 428, description = "The request does not say which version it is for", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Author,
    )
)]
pub(crate) async fn restore(
    services: Data<Services>,
    request: HttpRequest,
    Author(caller): Author,
    id: Path<String>,
    body: Json<RestoreBody>,
) -> Result<HttpResponse, ApiError> {
    act(&services, &request, &caller, &id, body.version, async |tx, writer, id, seen| {
        writing::restore(tx, writer, id, seen, body.revision).await
    })
    .await
}

async fn revision(tx: &mut shared::db::TenantTx, article: uuid::Uuid, number: i32) -> Result<Revision, ApiError> {
    writing::revision(tx, article, number).await?.ok_or_else(|| no_such_revision(&number.to_string()))
}

fn no_such_revision(number: &str) -> ApiError {
    ApiError::not_found(format!("There is no article with this id, or it has no revision {number}."))
}

fn line(revision: Revision) -> RevisionLine {
    RevisionLine {
        number: revision.number,
        title: revision.text.title,
        summary: revision.text.summary,
        content: Some(revision.text.content),
        author: revision.author,
        note: revision.note,
        created_at: revision.created_at,
        is_published: revision.is_published,
    }
}
