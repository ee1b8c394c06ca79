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
    db::Database,
    knowledge::export::{self, ExportError, ZipSink},
    tenancy::TenantId,
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, Span};

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
    let (file, length) = archive(&services.database, caller.tenant).await?;
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

/// Writes the archive, on a thread where that holds up no request: links are written anew and everything is compressed there. If
/// the request is given up, the export is too.
async fn archive(database: &Database, tenant: TenantId) -> Result<(File, u64), ApiError> {
    let stop = CancellationToken::new();
    let _given_up = stop.clone().drop_guard();
    let (database, span) = (database.clone(), Span::current());
    let writing = move || {
        let written = stop.run_until_cancelled(write(&database, tenant)).instrument(span);
        Handle::current().block_on(written)
    };
    match web::block(writing).await.map_err(ApiError::internal)? {
        Some(Ok(archive)) => Ok(archive),
        Some(Err(ExportError::Database(error))) => Err(ApiError::from(error)),
        Some(Err(error)) => Err(ApiError::internal(error)),
        None => Err(ApiError::internal(anyhow::anyhow!("the export was given up"))),
    }
}

/// The archive as a file without a name, at its beginning, and its length in bytes. In a file first: what fails in the middle is
/// an error then, and not half of an archive.
async fn write(database: &Database, tenant: TenantId) -> Result<(File, u64), ExportError> {
    let mut sink = ZipSink::new(tempfile::tempfile()?);
    export::export(database, tenant, &mut sink, &|_, _| {}).await?;
    let mut file = sink.finish()?;
    let length = file.seek(SeekFrom::End(0))?;
    file.rewind()?;
    Ok((file, length))
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
