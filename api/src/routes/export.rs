//! Exporting everything that was written.

use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};

use actix_web::{
    HttpResponse,
    http::header,
    web::{self, Bytes, Data},
};
use futures::{Stream, stream};
use shared::{
    audit,
    knowledge::export::{self, ExportError, ZipSink},
};

use super::upload::FileBody;
use crate::{Services, caller::Admin, error::ApiError};

/// How much is read from the file at once, in bytes.
const CHUNK_BYTES: usize = 256 * 1024;

/// Exports all articles, whatever their status, with categories, tags and images, as a zip archive of Markdown files. The
/// import reads it back without a loss.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/export/", tag = "Import and export", operation_id = "exportDocumentation",
    responses(
        (status = 200, description = "The archive", body = FileBody, content_type = "application/zip"),
        Admin,
    )
)]
pub(crate) async fn download(services: Data<Services>, Admin(caller): Admin) -> Result<HttpResponse, ApiError> {
    // In a file first: what fails in the middle is an error then, and not half of an archive.
    let mut sink = ZipSink::new(tempfile::tempfile().map_err(ApiError::internal)?);
    export::export(&services.database, caller.tenant, &mut sink, &|_, _| {}).await.map_err(|error| match error {
        ExportError::Database(error) => ApiError::from(error),
        error => ApiError::internal(error),
    })?;
    let mut file = sink.finish().map_err(ApiError::internal)?;
    let length = file.seek(SeekFrom::End(0)).map_err(ApiError::internal)?;
    file.seek(SeekFrom::Start(0)).map_err(ApiError::internal)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    audit::record(&mut tx, &caller.actor(), "knowledge.exported", "everything").await?;
    tx.commit().await?;
    Ok(HttpResponse::Ok()
        .content_type("application/zip")
        .insert_header((header::CONTENT_DISPOSITION, "attachment; filename=\"help-center.zip\""))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .no_chunking(length)
        .streaming(chunks(file)))
}

fn chunks(file: File) -> impl Stream<Item = io::Result<Bytes>> {
    stream::try_unfold(file, |mut file| async {
        let read = web::block(move || {
            let mut chunk = Vec::with_capacity(CHUNK_BYTES);
            file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut chunk).map(|_| (file, chunk))
        });
        let (file, chunk) = read.await.map_err(io::Error::other)??;
        Ok((!chunk.is_empty()).then(|| (Bytes::from(chunk), file)))
    })
}
