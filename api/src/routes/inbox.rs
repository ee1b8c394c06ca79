//! What readers left, for staff: reports of articles, and suggestions of new ones.

use actix_web::web::{Data, Json, Path, Query};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::knowledge::feedback;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    paging,
    refusals::{InvalidBody, InvalidRequest},
};
use crate::{
    Services,
    caller::{Author, Editor},
    error::{ApiError, Problem},
};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 200;
const REPORT_STATUSES: &[&str] = &["OPEN", "RESOLVED", "DISMISSED"];
const SUGGESTION_STATUSES: &[&str] = &["OPEN", "PLANNED", "DONE", "DECLINED"];

/// Which reports or suggestions to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct InboxQuery {
    /// Only in this state: of reports `OPEN`, `RESOLVED` or `DISMISSED`, of suggestions `OPEN`, `PLANNED`, `DONE` or `DECLINED`.
    status: Option<String>,
    /// Only reports of this article, by id.
    article_id: Option<Uuid>,
    /// How many at most, 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200, default = 50)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of reports.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportPage {
    /// The latest first.
    results: Vec<ReportLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// A report of an article.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ReportLine {
    id: Uuid,
    article_id: Uuid,
    /// Of its latest text.
    title: String,
    /// Number of the revision that was reported.
    revision: i32,
    /// `INCORRECT` or `OUTDATED`.
    kind: String,
    comment: String,
    /// `OPEN`, `RESOLVED` or `DISMISSED`.
    status: String,
    created_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
    settled_by: Option<String>,
}

/// A page of suggestions.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SuggestionPage {
    /// The latest first.
    results: Vec<SuggestionLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// A suggestion of an article.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SuggestionLine {
    id: Uuid,
    title: String,
    details: String,
    /// `OPEN`, `PLANNED`, `DONE` or `DECLINED`.
    status: String,
    /// What came of it.
    article_id: Option<Uuid>,
    created_at: DateTime<Utc>,
    settled_at: Option<DateTime<Utc>>,
    settled_by: Option<String>,
}

/// What becomes of a report or suggestion.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SettleBody {
    /// Of a report `OPEN`, `RESOLVED` or `DISMISSED`; of a suggestion `OPEN`, `PLANNED`, `DONE` or `DECLINED`.
    status: String,
    /// The article that came of a suggestion.
    article_id: Option<Uuid>,
}

/// What was settled.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Settled {
    id: Uuid,
    status: String,
}

/// Lists reports of articles, the latest first.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/reports/", tag = "Feedback", operation_id = "listReports",
    params(InboxQuery),
    responses(
        (status = 200, description = "A page of reports", body = ReportPage),
        InvalidRequest, Author,
    )
)]
pub(crate) async fn reports(
    services: Data<Services>,
    Author(caller): Author,
    query: Query<InboxQuery>,
) -> Result<Json<ReportPage>, ApiError> {
    let (limit, before) = page(&query)?;
    query.status.as_deref().map(|status| check_status(status, REPORT_STATUSES)).transpose()?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut found = feedback::reports(&mut tx, query.status.as_deref(), query.article_id, before, limit + 1).await?;
    let next_cursor = paging::next_cursor(&mut found, limit, |last| last.id);
    Ok(Json(ReportPage { results: found.into_iter().map(report_line).collect(), next_cursor }))
}

/// Says what becomes of a report.
#[utoipa::path(
    patch, path = "/api/v2/help-center/admin/reports/{id}/", tag = "Feedback", operation_id = "settleReport",
    params(("id" = String, Path, description = "Its id")),
    request_body = SettleBody,
    responses(
        (status = 200, description = "It is settled", body = Settled),
        (status = 404, description = "There is none with this id", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Editor,
    )
)]
pub(crate) async fn settle_report(
    services: Data<Services>,
    Editor(caller): Editor,
    id: Path<String>,
    body: Json<SettleBody>,
) -> Result<Json<Settled>, ApiError> {
    let id = id.parse().map_err(|_| no_such_thing())?;
    check_status(&body.status, REPORT_STATUSES)?;
    if body.article_id.is_some() {
        return Err(ApiError::invalid("`article_id` belongs to suggestions."));
    }
    let mut tx = services.database.tenant(caller.tenant).await?;
    if !feedback::settle_report(&mut tx, &caller.actor(), id, &body.status).await? {
        return Err(no_such_thing());
    }
    tx.commit().await?;
    Ok(Json(Settled { id, status: body.into_inner().status }))
}

/// Lists suggestions of articles, the latest first.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/suggestions/", tag = "Feedback", operation_id = "listSuggestions",
    params(InboxQuery),
    responses(
        (status = 200, description = "A page of suggestions", body = SuggestionPage),
        InvalidRequest, Author,
    )
)]
pub(crate) async fn suggestions(
    services: Data<Services>,
    Author(caller): Author,
    query: Query<InboxQuery>,
) -> Result<Json<SuggestionPage>, ApiError> {
    let (limit, before) = page(&query)?;
    query.status.as_deref().map(|status| check_status(status, SUGGESTION_STATUSES)).transpose()?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut found = feedback::suggestions(&mut tx, query.status.as_deref(), before, limit + 1).await?;
    let next_cursor = paging::next_cursor(&mut found, limit, |last| last.id);
    Ok(Json(SuggestionPage { results: found.into_iter().map(suggestion_line).collect(), next_cursor }))
}

/// Says what becomes of a suggestion.
#[utoipa::path(
    patch, path = "/api/v2/help-center/admin/suggestions/{id}/", tag = "Feedback", operation_id = "settleSuggestion",
    params(("id" = String, Path, description = "Its id")),
    request_body = SettleBody,
    responses(
        (status = 200, description = "It is settled", body = Settled),
        (status = 404, description = "There is none with this id", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Editor,
    )
)]
pub(crate) async fn settle_suggestion(
    services: Data<Services>,
    Editor(caller): Editor,
    id: Path<String>,
    body: Json<SettleBody>,
) -> Result<Json<Settled>, ApiError> {
    let id = id.parse().map_err(|_| no_such_thing())?;
    check_status(&body.status, SUGGESTION_STATUSES)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    if !feedback::settle_suggestion(&mut tx, &caller.actor(), id, &body.status, body.article_id).await? {
        return Err(no_such_thing());
    }
    tx.commit().await?;
    Ok(Json(Settled { id, status: body.into_inner().status }))
}

fn page(query: &InboxQuery) -> Result<(i64, Option<Uuid>), ApiError> {
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let before = paging::after::<Uuid>(query.cursor.as_deref())?;
    Ok((limit, before))
}

fn check_status(status: &str, statuses: &[&str]) -> Result<(), ApiError> {
    if statuses.contains(&status) {
        return Ok(());
    }
    Err(ApiError::invalid(format!("`status` must be one of {}.", statuses.join(", "))))
}

fn no_such_thing() -> ApiError {
    ApiError::not_found("There is none with this id.")
}

fn report_line(report: feedback::Report) -> ReportLine {
    ReportLine {
        id: report.id,
        article_id: report.article_id,
        title: report.title,
        revision: report.revision,
        kind: report.kind,
        comment: report.comment,
        status: report.status,
        created_at: report.created_at,
        settled_at: report.settled_at,
        settled_by: report.settled_by,
    }
}

fn suggestion_line(suggestion: feedback::Suggestion) -> SuggestionLine {
    SuggestionLine {
        id: suggestion.id,
        title: suggestion.title,
        details: suggestion.details,
        status: suggestion.status,
        article_id: suggestion.article_id,
        created_at: suggestion.created_at,
        settled_at: suggestion.settled_at,
        settled_by: suggestion.settled_by,
    }
}
