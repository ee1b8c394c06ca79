//! What readers read.

use actix_web::{
    HttpResponse,
    web::{Data, Json, Path},
};
use serde::Deserialize;
use shared::knowledge::{PageUrl, PageUrlError, views};
use utoipa::ToSchema;

use super::{
    feedback::{no_such_article, reader},
    refusals::{InvalidBody, Leaver},
};
use crate::{
    Services,
    caller::Reader,
    error::{ApiError, Problem},
};

/// A view of an article.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ViewBody {
    /// For visitors without an account: a random text of 16 to 100 characters that their browser keeps.
    session_id: Option<String>,
    /// The page of the host application that the article is read on, at most 2048 characters. Host and path are kept, with `:id`
    /// in place of what looks like an id; the rest is not.
    #[schema(max_length = 2048, example = "https://app.example.com/projects/42/billing")]
    url: Option<String>,
}

/// Tells that an article is being read. A reader's views of an article on one day (UTC) count as one, a minute or so later.
#[utoipa::path(
    post, path = "/api/v2/help-center/articles/{id}/view/", tag = "Feedback", operation_id = "viewArticle",
    params(("id" = String, Path, description = "Id or slug of the article")),
    request_body = ViewBody,
    responses(
        (status = 204, description = "It was kept"),
        (status = 404, description = "No such article that the caller may see", body = Problem, content_type = "application/problem+json"),
        InvalidBody, Leaver,
    )
)]
pub(crate) async fn view(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
    body: Json<ViewBody>,
) -> Result<HttpResponse, ApiError> {
    let reader = reader(&services, &caller, body.session_id.as_deref())?;
    let page = body.url.as_deref().map(parse_page).transpose()?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    if !views::view(&mut tx, &caller.roles, &id, &reader, page.as_ref()).await? {
        return Err(no_such_article());
    }
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Reads the address of a page from a request.
pub(super) fn parse_page(text: &str) -> Result<PageUrl, ApiError> {
    text.parse().map_err(|problem: PageUrlError| ApiError::invalid(format!("`url` {problem}.")))
}
