//! What readers leave with articles: votes, reports, bookmarks, suggestions.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::{
    auth::Principal,
    knowledge::{
        self,
        feedback::{self, ReaderKey, ReportKind, Votes},
    },
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    articles::{ArticleLine, line},
    paging,
    refusals::{InvalidBody, InvalidRequest, Leaver},
};
use crate::{
    Services,
    caller::Reader,
    error::{ApiError, Code, Problem},
};

const DEFAULT_LIMIT: i64 = 20;
const MAX_LIMIT: i64 = 100;

/// A vote.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VoteBody {
    /// Whether the article helped.
    helpful: bool,
    /// Why, at most 1000 characters.
    #[serde(default)]
    comment: String,
    /// For visitors without an account: a random text of 16 to 100 characters that their browser keeps.
    session_id: Option<String>,
}

/// Whose vote or bookmark is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SessionQuery {
    /// For visitors without an account: the `session_id` that they voted with.
    session_id: Option<String>,
}

/// The votes on an article.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VoteCounts {
    helpful_count: i64,
    not_helpful_count: i64,
    /// helpful / votes; 0.5 without votes.
    helpful_ratio: f64,
    /// The caller's own vote; null: they have not voted.
    own: Option<bool>,
}

/// What is wrong with an article.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReportBody {
    /// `INCORRECT` or `OUTDATED`.
    kind: String,
    /// What exactly, at most 2000 characters.
    #[serde(default)]
    comment: String,
    /// For visitors without an account: a random text of 16 to 100 characters that their browser keeps.
    session_id: Option<String>,
}

/// An article that is missing.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuggestionBody {
    /// What it would be called, 1 to 200 characters.
    title: String,
    /// What it should say, at most 5000 characters.
    #[serde(default)]
    details: String,
    /// For visitors without an account: a random text of 16 to 100 characters that their browser keeps.
    session_id: Option<String>,
}

/// What was kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Kept {
    id: Uuid,
}

/// A page of bookmarks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BookmarkPage {
    /// The latest set first.
    results: Vec<ArticleLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// Which bookmarks to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct BookmarksQuery {
    /// For visitors without an account: the `session_id` that they set bookmarks with.
    session_id: Option<String>,
    /// How many at most, 1 to 100; 20 when left out.
    #[param(minimum = 1, maximum = 100, default = 20)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The votes on an article, and the caller's own.
#[utoipa::path(
    get, path = "/api/v2/help-center/articles/{id}/vote/", tag = "Feedback", operation_id = "getVotes",
    params(("id" = String, Path, description = "Id or slug of the article"), SessionQuery),
    responses(
        (status = 200, description = "The votes", body = VoteCounts),
        (status = 401, description = "No valid credential, and no session", body = Problem, content_type = "application/problem+json"),
        (status = 404, description = "No such article that the caller may see", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
        InvalidRequest,
    )
)]
pub(crate) async fn votes(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    query: Query<SessionQuery>,
) -> Result<Json<VoteCounts>, ApiError> {
    let reader = ReaderKey::of(&caller, query.session_id.as_deref(), services.authenticator.pepper());
    let mut tx = services.database.tenant(caller.tenant).await?;
    let votes = feedback::votes(&mut tx, &caller.roles, &id, reader.as_ref()).await?;
    Ok(Json(counts(votes.ok_or_else(no_such_article)?)))
}

/// Votes on an article. A reader has one vote on each; voting again changes it.
#[utoipa::path(
    put, path = "/api/v2/help-center/articles/{id}/vote/", tag = "Feedback", operation_id = "vote",
    params(("id" = String, Path, description = "Id or slug of the article")),
    request_body = VoteBody,
    responses(
        (status = 200, description = "The votes, this one included", body = VoteCounts),
        (status = 404, description = "No such article that the caller may see", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Leaver,
    )
)]
pub(crate) async fn vote(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    body: Json<VoteBody>,
) -> Result<Json<VoteCounts>, ApiError> {
    let reader = reader(&services, &caller, body.session_id.as_deref())?;
    at_most("comment", &body.comment, feedback::MAX_VOTE_COMMENT_CHARS)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let votes = feedback::vote(&mut tx, &caller.roles, &id, &reader, body.helpful, &body.comment).await?;
    tx.commit().await?;
    Ok(Json(counts(votes.ok_or_else(no_such_article)?)))
}

/// Takes the caller's vote back.
#[utoipa::path(
    delete, path = "/api/v2/help-center/articles/{id}/vote/", tag = "Feedback", operation_id = "takeVoteBack",
    params(("id" = String, Path, description = "Id or slug of the article"), SessionQuery),
    responses(
        (status = 200, description = "The votes that are left", body = VoteCounts),
        (status = 404, description = "No such article that the caller may see", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Leaver,
    )
)]
pub(crate) async fn take_vote_back(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    query: Query<SessionQuery>,
) -> Result<Json<VoteCounts>, ApiError> {
    let reader = reader(&services, &caller, query.session_id.as_deref())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let votes = feedback::take_vote_back(&mut tx, &caller.roles, &id, &reader).await?;
    tx.commit().await?;
    Ok(Json(counts(votes.ok_or_else(no_such_article)?)))
}

/// Reports that an article says something wrong. Reporting the same again, while the first report is open, replaces its words.
#[utoipa::path(
    post, path = "/api/v2/help-center/articles/{id}/reports/", tag = "Feedback", operation_id = "reportArticle",
    params(("id" = String, Path, description = "Id or slug of the article")),
    request_body = ReportBody,
    responses(
        (status = 201, description = "The report was kept", body = Kept),
        (status = 404, description = "No such article that the caller may see", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Leaver,
    )
)]
pub(crate) async fn report(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    body: Json<ReportBody>,
) -> Result<HttpResponse, ApiError> {
    let reader = reader(&services, &caller, body.session_id.as_deref())?;
    let kind = match body.kind.as_str() {
        "INCORRECT" => ReportKind::Incorrect,
        "OUTDATED" => ReportKind::Outdated,
        _ => return Err(ApiError::invalid("`kind` must be `INCORRECT` or `OUTDATED`.")),
    };
    at_most("comment", &body.comment, feedback::MAX_REPORT_COMMENT_CHARS)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let report = feedback::report(&mut tx, &caller.roles, &id, &reader, kind, &body.comment).await?;
    let id = report.ok_or_else(no_such_article)?;
    tx.commit().await?;
    Ok(HttpResponse::Created().json(Kept { id }))
}

/// Sets a bookmark on an article.
#[utoipa::path(
    put, path = "/api/v2/help-center/articles/{id}/bookmark/", tag = "Feedback", operation_id = "setBookmark",
    params(("id" = String, Path, description = "Id or slug of the article"), SessionQuery),
    responses(
        (status = 204, description = "Done"),
        (status = 404, description = "No such article that the caller may see", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Leaver,
    )
)]
pub(crate) async fn set_bookmark(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    query: Query<SessionQuery>,
) -> Result<HttpResponse, ApiError> {
    bookmark(&services, &caller, &id, &query, true).await
}

/// Removes the bookmark from an article.
#[utoipa::path(
    delete, path = "/api/v2/help-center/articles/{id}/bookmark/", tag = "Feedback", operation_id = "removeBookmark",
    params(("id" = String, Path, description = "Id or slug of the article"), SessionQuery),
    responses(
        (status = 204, description = "Done"),
        (status = 404, description = "No such article that the caller may see", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Leaver,
    )
)]
pub(crate) async fn remove_bookmark(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    query: Query<SessionQuery>,
) -> Result<HttpResponse, ApiError> {
    bookmark(&services, &caller, &id, &query, false).await
}

/// The caller's bookmarks, the latest set first.
#[utoipa::path(
    get, path = "/api/v2/help-center/bookmarks/", tag = "Feedback", operation_id = "listBookmarks",
    params(BookmarksQuery),
    responses(
        (status = 200, description = "A page of bookmarks", body = BookmarkPage),
        InvalidRequest, Leaver,
    )
)]
pub(crate) async fn bookmarks(
    services: Data<Services>,
    Reader(caller): Reader,
    query: Query<BookmarksQuery>,
) -> Result<Json<BookmarkPage>, ApiError> {
    let reader = reader(&services, &caller, query.session_id.as_deref())?;
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let before = paging::after::<(DateTime<Utc>, Uuid)>(query.cursor.as_deref())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut found = feedback::bookmarks(&mut tx, &caller.roles, &reader, before, limit + 1).await?;
    let paths = knowledge::category_paths(&mut tx).await?;
    let next_cursor = paging::next_cursor(&mut found, limit, |(at, last)| (*at, last.id));
    let results = found.into_iter().map(|(_, article)| line(article, &paths)).collect();
    Ok(Json(BookmarkPage { results, next_cursor }))
}

/// Suggests an article that is missing.
#[utoipa::path(
    post, path = "/api/v2/help-center/suggestions/", tag = "Feedback", operation_id = "suggestArticle",
    request_body = SuggestionBody,
    responses(
        (status = 201, description = "The suggestion was kept", body = Kept),
        InvalidBody, Leaver,
    )
)]
pub(crate) async fn suggest(
    services: Data<Services>,
    Reader(caller): Reader,
    body: Json<SuggestionBody>,
) -> Result<HttpResponse, ApiError> {
    let reader = reader(&services, &caller, body.session_id.as_deref())?;
    let title = body.title.trim();
    if title.is_empty() || title.chars().count() > 200 || title.chars().any(char::is_control) {
        return Err(ApiError::invalid("`title` must be one line of 1 to 200 characters."));
    }
    at_most("details", &body.details, feedback::MAX_SUGGESTION_CHARS)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let id = feedback::suggest(&mut tx, &reader, title, &body.details).await?;
    tx.commit().await?;
    Ok(HttpResponse::Created().json(Kept { id }))
}

async fn bookmark(
    services: &Services,
    caller: &Principal,
    article: &str,
    query: &SessionQuery,
    is_set: bool,
) -> Result<HttpResponse, ApiError> {
    let reader = reader(services, caller, query.session_id.as_deref())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    if !feedback::bookmark(&mut tx, &caller.roles, article, &reader, is_set).await? {
        return Err(no_such_article());
    }
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Who leaves something.
pub(super) fn reader(services: &Services, caller: &Principal, session: Option<&str>) -> Result<ReaderKey, ApiError> {
    if matches!(caller.identity, shared::auth::Identity::Machine { .. }) {
        return Err(ApiError::new(
            Code::PermissionRequired,
            "People leave votes and the like; send a person's token instead of a key.",
        ));
    }
    ReaderKey::of(caller, session, services.authenticator.pepper()).ok_or_else(|| {
        ApiError::new(
            Code::AuthenticationRequired,
            "Sign in, or send a `session_id`: a random text of 16 to 100 characters that the browser keeps.",
        )
    })
}

fn at_most(name: &str, text: &str, most: usize) -> Result<(), ApiError> {
    let length = text.chars().count();
    if length > most {
        return Err(ApiError::invalid(format!("`{name}` may have at most {most} characters; this one has {length}.")));
    }
    Ok(())
}

pub(super) fn no_such_article() -> ApiError {
    ApiError::not_found("There is no article with this id or slug, or you may not see it.")
}

fn counts(votes: Votes) -> VoteCounts {
    VoteCounts {
        helpful_ratio: votes.helpful_ratio(),
        helpful_count: votes.helpful,
        not_helpful_count: votes.not_helpful,
        own: votes.own,
    }
}
