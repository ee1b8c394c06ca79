//! Images for articles.

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Payload, Query},
};
use serde::{Deserialize, Serialize};
use shared::{
    audit,
    knowledge::assets::{self, AssetError, Image},
};
use utoipa::{IntoParams, ToSchema};

use super::{
    refusals::InvalidRequest,
    upload::{self, FileBody},
};
use crate::{
    Services,
    caller::Author,
    error::{ApiError, Code, Problem},
};

/// What the image is called.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AssetQuery {
    /// The name of its file; the last part of its address is made of it.
    name: Option<String>,
}

/// An image that articles can show.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AssetLine {
    /// Its address, from the root of the site: the destination to write in the Markdown of an article.
    url: String,
    /// SHA-256 of its bytes, in hexadecimal.
    hash: String,
    name: String,
    /// `image/png`, `image/jpeg`, `image/gif`, `image/webp`, `image/avif` or `image/svg+xml`, by its bytes.
    media_type: String,
    size_bytes: usize,
    /// `![](…)`, to be put into an article.
    markdown: String,
}

/// Keeps an image for articles that are written here. The image is the body, at most 5 MiB; one that is there already is kept
/// once. An image that no article shows is deleted after a week.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/assets/", tag = "Writing", operation_id = "addImage",
    params(AssetQuery),
    request_body(content = FileBody, content_type = "application/octet-stream", description = "The image"),
    responses(
        (status = 201, description = "The image", body = AssetLine),
        (status = 413, description = "The image is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is no image that articles can show", body = Problem, content_type = "application/problem+json"),
        InvalidRequest, Author,
    )
)]
pub(crate) async fn add(
    services: Data<Services>,
    Author(caller): Author,
    request: HttpRequest,
    query: Query<AssetQuery>,
    body: Payload,
) -> Result<HttpResponse, ApiError> {
    let bytes = upload::bytes(&request, body, assets::MAX_BYTES).await?;
    let image = Image::of(&bytes).map_err(|problem| {
        let code = match problem {
            AssetError::TooLarge { .. } => Code::PayloadTooLarge,
            AssetError::NotAnImage => Code::UnsupportedMediaType,
        };
        ApiError::new(code, format!("The body {problem}. Send the file itself, without a form around it."))
    })?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let (asset, is_new) = assets::put(&mut tx, query.name.as_deref().unwrap_or("image"), &image).await?;
    if is_new {
        assets::prune(&mut tx).await?;
        audit::record(&mut tx, &caller.actor(), "asset.added", &asset.hash).await?;
    }
    tx.commit().await?;
    let url = asset.address();
    Ok(HttpResponse::Created().json(AssetLine {
        markdown: format!("![]({url})"),
        url,
        hash: asset.hash,
        name: asset.name,
        media_type: asset.media_type,
        size_bytes: bytes.len(),
    }))
}
