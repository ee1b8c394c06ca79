//! The images of articles.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    web::{Data, Path},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use shared::{
    auth::Permission,
    knowledge::assets::{self, MediaType},
};

use super::Visit;
use crate::{Services, error::ApiError};

/// An image is shown within a page and does nothing by itself, not even when it is opened alone.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; sandbox; frame-ancestors 'none'";

/// An image that an article shows which the caller may see. Its address changes with its bytes, so that browsers keep it;
/// nobody else may, since who may see it differs.
pub(crate) async fn image(
    request: HttpRequest,
    services: Data<Services>,
    path: Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (_, caller) = match Visit::reader(&request).await? {
        Ok(visiting) => visiting,
        Err(sign_in) => return Ok(sign_in),
    };
    let (hash, _) = path.into_inner();
    let none = || ApiError::not_found("There is no such image, or no article that you may see shows it.");
    if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(none());
    }
    let mut tx = services.database.tenant(caller.tenant).await?;
    let may_write = caller.may(Permission::Write);
    let asset = assets::visible(&mut tx, &caller.roles, may_write, &hash).await?.ok_or_else(none)?;
    let tag = format!("\"{}\"", asset.hash);
    let known = request.headers().get_all(header::IF_NONE_MATCH).filter_map(|value| value.to_str().ok());
    let is_known = known.flat_map(|value| value.split(',')).any(|value| {
        let value = value.trim();
        value == "*" || value.strip_prefix("W/").unwrap_or(value) == tag
    });
    let mut response = if is_known { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response
        .insert_header((header::ETAG, tag))
        .insert_header((header::CACHE_CONTROL, "private, max-age=31536000, immutable"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY));
    if is_known {
        return Ok(response.finish());
    }
    // A drawing is a document: opened by itself it is kept as a file.
    let shown = if asset.media_type == MediaType::Svg.as_str() { "attachment" } else { "inline" };
    let name = utf8_percent_encode(&asset.name, NON_ALPHANUMERIC);
    let bytes = assets::bytes(&mut tx, asset.id).await?;
    Ok(response
        .content_type(asset.media_type)
        .insert_header((header::CONTENT_DISPOSITION, format!("{shown}; filename*=UTF-8''{name}")))
        .body(bytes))
}
