//! Importing documentation that is uploaded, and what became of it.

use std::io::Read as _;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{Data, Json, Path, Payload, Query},
};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::knowledge::import::upload::{self as imports, CHUNK_BYTES, ImportRecord, NewImport};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    jobs::{self, JobStarted},
    paging,
    refusals::InvalidRequest,
    upload::{self, FileBody},
};
use crate::{
    Services,
    caller::Admin,
    error::{ApiError, Code, Problem},
};

const DEFAULT_LIMIT: i64 = 20;
const MAX_LIMIT: i64 = 100;
const MAX_NAME_CHARS: usize = 200;

/// How to import.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportQuery {
    /// Keeps the articles of this documentation apart from those of other imports, so that it can be imported again; `upload`
    /// when left out.
    source: Option<String>,
    /// The category of files that lie in no folder and name none; `General` when left out.
    default_category: Option<String>,
    /// Only find out what would happen.
    #[serde(default)]
    dry_run: bool,
    /// Archive the articles of this source whose file is gone.
    #[serde(default)]
    archive_removed: bool,
}

/// Which imports to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ImportsQuery {
    /// How many at most, 1 to 100; 20 when left out.
    #[param(minimum = 1, maximum = 100, default = 20)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of imports.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportPage {
    /// The latest first, without their reports.
    results: Vec<ImportLine>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// An import.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportLine {
    id: Uuid,
    /// Its job: progress and state are at `job_url`. Finished jobs are forgotten after days, imports after months.
    job_id: Option<Uuid>,
    job_url: Option<String>,
    source: String,
    default_category: String,
    dry_run: bool,
    archive_removed: bool,
    /// Of the archive.
    size_bytes: i64,
    /// Who wanted it.
    requested_by: String,
    /// What became of the files: counts, and lists of files with what a person should know. At most 1,000 lines of each
    /// list; `cut` says how many there are.
    #[schema(value_type = Option<Object>)]
    report: Option<serde_json::Value>,
    /// Why there is no report.
    error: Option<String>,
    created_at: DateTime<Utc>,
    /// Null while it waits or goes on.
    ended_at: Option<DateTime<Utc>>,
}

/// Imports a zip archive of Markdown, MDX and HTML files by a job. The archive is the body. The job's progress is in files;
/// its result has the counts, and the import under `imports/` the whole report.
#[utoipa::path(
    post, path = "/api/v2/help-center/admin/import/", tag = "Import and export", operation_id = "importDocumentation",
    params(ImportQuery),
    request_body(content = FileBody, content_type = "application/zip", description = "The archive"),
    responses(
        (status = 202, description = "The job that does it", body = JobStarted),
        (status = 400, description = "The request is not valid, or the body no zip archive", body = Problem, content_type = "application/problem+json"),
        (status = 413, description = "The archive is too large", body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The body is said to be no zip archive", body = Problem, content_type = "application/problem+json"),
        Admin,
    )
)]
pub(crate) async fn start(
    services: Data<Services>,
    Admin(caller): Admin,
    request: HttpRequest,
    query: Query<ImportQuery>,
    body: Payload,
) -> Result<HttpResponse, ApiError> {
    const TYPES: [&str; 3] = ["application/zip", "application/x-zip-compressed", "application/octet-stream"];
    upload::check_length(&request, services.config.import_max_bytes)?;
    if !TYPES.contains(&upload::media_type(&request).as_str()) {
        let problem = "Send the zip archive itself as the body, with the header `Content-Type: application/zip`.";
        return Err(ApiError::new(Code::UnsupportedMediaType, problem));
    }
    let query = query.into_inner();
    let source = name("source", query.source, "upload")?;
    let default_category = name("default_category", query.default_category, "General")?;
    let (mut file, size) = upload::file(&request, body, services.config.import_max_bytes).await?;
    let mut chunk = Vec::with_capacity(CHUNK_BYTES);
    let mut next = |chunk: &mut Vec<u8>| {
        chunk.clear();
        file.by_ref().take(CHUNK_BYTES as u64).read_to_end(chunk).map_err(ApiError::internal)
    };
    next(&mut chunk)?;
    if !chunk.starts_with(b"PK") {
        return Err(ApiError::invalid(
            "The body is no zip archive. Pack the folder with its files as one and send that.",
        ));
    }
    let new = NewImport {
        source,
        default_category,
        dry_run: query.dry_run,
        archive_removed: query.archive_removed,
        size_bytes: i64::try_from(size).map_err(ApiError::internal)?,
        actor: caller.actor(),
    };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let import = imports::create(&mut tx, &new).await?;
    let mut ordinal = 0;
    while !chunk.is_empty() {
        imports::add_chunk(&mut tx, import, ordinal, &chunk).await?;
        ordinal += 1;
        next(&mut chunk)?;
    }
    let job_id = imports::start(&mut tx, import, &new).await?.uuid();
    tx.commit().await?;
    Ok(jobs::started(job_id))
}

/// Lists imports, the latest first.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/imports/", tag = "Import and export", operation_id = "listImports",
    params(ImportsQuery),
    responses(
        (status = 200, description = "A page of imports", body = ImportPage),
        InvalidRequest, Admin,
    )
)]
pub(crate) async fn list(
    services: Data<Services>,
    Admin(caller): Admin,
    query: Query<ImportsQuery>,
) -> Result<Json<ImportPage>, ApiError> {
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let after = paging::after::<(DateTime<Utc>, Uuid)>(query.cursor.as_deref())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut found = imports::list(&mut tx, after, limit + 1).await?;
    let next_cursor = paging::next_cursor(&mut found, limit, |last| (last.created_at, last.id));
    Ok(Json(ImportPage { results: found.into_iter().map(line).collect(), next_cursor }))
}

/// One import with its report.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/imports/{id}/", tag = "Import and export", operation_id = "getImport",
    params(("id" = String, Path, description = "Id of the import")),
    responses(
        (status = 200, description = "The import", body = ImportLine),
        (status = 404, description = "No such import of the caller's help center", body = Problem, content_type = "application/problem+json"),
        Admin,
    )
)]
pub(crate) async fn detail(
    services: Data<Services>,
    Admin(caller): Admin,
    id: Path<String>,
) -> Result<Json<ImportLine>, ApiError> {
    let none = || ApiError::not_found("There is no import with this id.");
    let id: Uuid = id.parse().map_err(|_| none())?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let found = imports::find(&mut tx, id).await?.ok_or_else(none)?;
    Ok(Json(line(found)))
}

fn line(import: ImportRecord) -> ImportLine {
    ImportLine {
        id: import.id,
        job_id: import.job_id,
        job_url: import.job_id.map(jobs::url),
        source: import.source,
        default_category: import.default_category,
        dry_run: import.is_dry_run,
        archive_removed: import.archives_removed,
        size_bytes: import.size_bytes,
        requested_by: import.requested_by,
        report: import.report,
        error: import.error,
        created_at: import.created_at,
        ended_at: import.ended_at,
    }
}

fn name(parameter: &str, given: Option<String>, usual: &str) -> Result<String, ApiError> {
    let given = given.unwrap_or_else(|| usual.to_owned());
    let length = given.trim().chars().count();
    if !(1..=MAX_NAME_CHARS).contains(&length) || given.chars().any(char::is_control) {
        return Err(ApiError::invalid(format!(
            "`{parameter}` must have 1 to {MAX_NAME_CHARS} characters, without control characters; this one has {length}."
        )));
    }
    Ok(given.trim().to_owned())
}
