//! Making anew what search knows.

use actix_web::{
    HttpResponse,
    web::{Data, Json},
};
use serde::Deserialize;
use shared::knowledge::{ReindexPart, reindex, taxonomy};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{
    jobs::{self, JobStarted},
    refusals::InvalidBody,
};
use crate::{Services, caller::Admin, error::ApiError};

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
        InvalidBody, Admin,
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
    Ok(jobs::started(job_id))
}
