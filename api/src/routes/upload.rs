//! Bodies that are files.

use std::io::{Seek as _, SeekFrom, Write as _};

use actix_web::{HttpRequest, http::header, web::Payload};
use futures::StreamExt as _;
use utoipa::ToSchema;

use crate::error::{ApiError, Code};

/// A file as it is.
#[derive(Debug, ToSchema)]
#[schema(value_type = String, format = Binary)]
pub(crate) struct FileBody(#[expect(dead_code, reason = "it only describes bodies")] Vec<u8>);

/// The body as bytes in memory, at most so many.
pub(super) async fn bytes(request: &HttpRequest, body: Payload, most: usize) -> Result<Vec<u8>, ApiError> {
    let mut bytes = Vec::new();
    read(request, body, most as u64, |chunk| {
        bytes.extend_from_slice(chunk);
        Ok(())
    })
    .await?;
    Ok(bytes)
}

/// The body as a file without a name, read from its beginning; and its length.
pub(super) async fn file(request: &HttpRequest, body: Payload, most: u64) -> Result<(std::fs::File, u64), ApiError> {
    let mut file = tempfile::tempfile().map_err(ApiError::internal)?;
    let length = read(request, body, most, |chunk| file.write_all(chunk)).await?;
    file.seek(SeekFrom::Start(0)).map_err(ApiError::internal)?;
    Ok((file, length))
}

async fn read(
    request: &HttpRequest,
    mut body: Payload,
    most: u64,
    mut keep: impl FnMut(&[u8]) -> std::io::Result<()>,
) -> Result<u64, ApiError> {
    check_length(request, most)?;
    let mut length = 0;
    while let Some(chunk) = body.next().await {
        let chunk =
            chunk.map_err(|_| ApiError::invalid("The body ended before its end. Send the whole file again."))?;
        length += chunk.len() as u64;
        if length > most {
            return Err(too_large(most));
        }
        keep(&chunk).map_err(ApiError::internal)?;
    }
    Ok(length)
}

/// Refuses a body that is said to be too large before it is read.
pub(super) fn check_length(request: &HttpRequest, most: u64) -> Result<(), ApiError> {
    let said =
        request.headers().get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|length| length > most) { Err(too_large(most)) } else { Ok(()) }
}

fn too_large(most: u64) -> ApiError {
    let most = most / (1024 * 1024);
    ApiError::new(Code::PayloadTooLarge, format!("The body is too large: at most {most} MiB are taken here."))
}

/// The type that the body is said to be of, in lower case, without parameters.
pub(super) fn media_type(request: &HttpRequest) -> String {
    let named = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    named.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
