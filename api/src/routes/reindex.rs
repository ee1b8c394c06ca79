//! Making anew what search knows.

use actix_web::{
    HttpResponse,
    http::header,
    web::{Data, Json},
};
use serde::Deserialize;
use shared::knowledge::{ReindexPart, reindex, taxonomy};
use utoipa::ToSchema;
use uuid::Uuid;

use super::bulk::JobStarted;
use crate::{
    Services,
    caller::Admin,
    error::{ApiError, Problem},
};

/// What is made anew; all of it, when nothing is said.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReindexBody {
    /// Only articles of this category and those below it.
    category_id: Option<Uuid>,
    /// `all` (the default), `embeddings` or `full_text`.
    part: Option<String>,
}

/// Makes anew what search knows of all articles or a category, while it is searched. One of the same extent that is open
/// already goes on, and its job is returned.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/reindex/", tag = "Search", operation_id = "reindex",
    request_body = ReindexBody,
    responses(
        (status = 202, description = "The job that does it", body = JobStarted),
        (status = 400, description = "The request is not valid", body = Problem, content_type = "application/problem+json"),
        (status = 401, description = "No valid credential", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller is no admin", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The body is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away", body = Problem, content_type = "application/problem+json"),
    )
)]
pub(crate) async fn start(
    services: Data<Services>,
    Admin(caller): Admin,
    body: Json<ReindexBody>,
) -> Result<HttpResponse, ApiError> {
    let part = match body.part.as_deref() {
        None | Some("all") => ReindexPart::All,
        Some("embeddings") => ReindexPart::Embeddings,
        Some("full_text") => ReindexPart::FullText,
        Some(_) => return Err(ApiError::invalid("`part` must be `all`, `embeddings` or `full_text`.")),
    };
    let mut tx = services.database.tenant(caller.tenant).await?;
    if let Some(id) = body.category_id
        && !taxonomy::all_categories(&mut tx).await?.iter().any(|category| category.id == id)
    {
        return Err(ApiError::invalid(format!("`category_id` names no category: there is no {id}.")));
    }
    let job_id = reindex::request(&mut tx, &caller.actor(), body.category_id, part).await?.uuid();
    tx.commit().await?;
    let url = format!("/api/v2/help-center/admin/jobs/{job_id}/");
    Ok(HttpResponse::Accepted().insert_header((header::LOCATION, url.clone())).json(JobStarted { job_id, url }))
}
