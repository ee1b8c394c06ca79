//! Imports that are uploaded: the archive waits in PostgreSQL, in pieces, until its job has ended, since whoever takes it and
//! whoever unpacks it may be on different machines.

use std::{
    io::{Seek as _, SeekFrom, Write as _},
    sync::atomic::{AtomicU64, Ordering},
};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    SyncError, SyncOptions,
    archive::{self, ArchiveError},
    sync,
};
use crate::{
    audit,
    db::{Database, TenantTx},
    knowledge::jobs::ImportDocumentation,
    queue::{self, JobId},
    tenancy::TenantId,
};

/// How large the pieces of an archive are, in bytes.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// How long what is known of an import is kept, in days.
const KEPT_DAYS: i32 = 90;
/// Most lines of each list in a report; the others are counted.
const LISTED: usize = 1_000;

/// What is to be imported, and how.
#[derive(Debug, Clone)]
pub struct NewImport {
    /// See [`SyncOptions::source`].
    pub source: String,
    /// See [`SyncOptions::default_category`].
    pub default_category: String,
    /// See [`SyncOptions::dry_run`].
    pub dry_run: bool,
    /// See [`SyncOptions::archive_removed`].
    pub archive_removed: bool,
    /// Of the archive.
    pub size_bytes: i64,
    /// Who wants it.
    pub actor: String,
}

/// An import.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportRecord {
    /// Identity.
    pub id: Uuid,
    /// The job that does it.
    pub job_id: Option<Uuid>,
    /// Keeps its articles apart from those of other imports.
    pub source: String,
    /// The category of files that lie in no folder.
    pub default_category: String,
    /// Whether nothing is written.
    pub is_dry_run: bool,
    /// Whether articles whose file is gone are archived.
    pub archives_removed: bool,
    /// Of the archive.
    pub size_bytes: i64,
    /// Who wanted it.
    pub requested_by: String,
    /// What became of the files.
    pub report: Option<Value>,
    /// Why there is no report.
    pub error: Option<String>,
    /// When it was uploaded.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
}

/// Begins an import; its pieces and [`start`] follow in the same transaction.
pub async fn create(tx: &mut TenantTx, new: &NewImport) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into imports (tenant_id, source, default_category, is_dry_run, archives_removed, size_bytes, requested_by)
         values ($1, $2, $3, $4, $5, $6, $7) returning id",
        tenant,
        new.source,
        new.default_category,
        new.dry_run,
        new.archive_removed,
        new.size_bytes,
        new.actor
    )
    .fetch_one(tx.connection())
    .await
}

/// Keeps a piece of the archive.
pub async fn add_chunk(tx: &mut TenantTx, import: Uuid, ordinal: i32, bytes: &[u8]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "insert into import_chunks (tenant_id, import_id, ordinal, bytes) values ($1, $2, $3, $4)",
        tenant,
        import,
        ordinal,
        bytes
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Enqueues the job of an import whose pieces are all there.
pub async fn start(tx: &mut TenantTx, import: Uuid, new: &NewImport) -> Result<JobId, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let job = queue::enqueue(tx, &ImportDocumentation { import_id: import }).await?;
    sqlx::query!("update imports set job_id = $3 where tenant_id = $1 and id = $2", tenant, import, job.uuid())
        .execute(tx.connection())
        .await?;
    let details = json!({ "source": new.source, "dry_run": new.dry_run, "archive_removed": new.archive_removed });
    audit::record_with(tx, &new.actor, "knowledge.import_requested", &import.to_string(), &details).await?;
    Ok(job)
}

/// Why an import did not come to its end.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The archive cannot be imported; trying again does not help, and the archive is deleted.
    #[error("{0}")]
    Archive(ArchiveError),
    /// The archive cannot be unpacked on this machine.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The import ended in the middle. Running it again continues.
    #[error(transparent)]
    Sync(#[from] SyncError),
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Does an import, unless it has ended already; returns the counts of its report. `progress` hears how many files of how
/// many are done. A run after a crash goes through all files again, and finds those unchanged that were imported before.
pub async fn run(
    database: &Database,
    tenant: TenantId,
    import: Uuid,
    progress: impl Fn(u64, u64) + Sync,
) -> Result<Option<Value>, RunError> {
    let mut tx = database.tenant(tenant).await?;
    let record = find(&mut tx, import).await?;
    drop(tx);
    let Some(record) = record.filter(|record| record.ended_at.is_none()) else { return Ok(None) };
    let archive = fetch(database, tenant, import).await?;
    let unpacked = match tokio::task::spawn_blocking(move || archive::unpack(archive)).await {
        Ok(Ok(unpacked)) => unpacked,
        Ok(Err(ArchiveError::Io(error))) => return Err(error.into()),
        Ok(Err(error)) => {
            let mut tx = database.tenant(tenant).await?;
            end(&mut tx, import, None, Some(&error.to_string())).await?;
            tx.commit().await?;
            return Err(RunError::Archive(error));
        }
        Err(error) => return Err(std::io::Error::other(error).into()),
    };
    let options = SyncOptions {
        root: unpacked.root().to_owned(),
        source: record.source,
        default_category: record.default_category,
        dry_run: record.is_dry_run,
        archive_removed: record.archives_removed,
    };
    let done = AtomicU64::new(0);
    let step = |total: usize, _: &str, _: &super::FileOutcome| {
        progress(done.fetch_add(1, Ordering::Relaxed) + 1, total as u64);
    };
    let mut report = sync(database, tenant, &options, &step).await?;
    report.failed.extend(unpacked.problems.iter().cloned());
    let counts = json!({
        "import_id": import, "dry_run": report.dry_run, "found": report.found, "created": report.created,
        "changed": report.changed, "unchanged": report.unchanged, "archived": report.archived,
        "removed_kept": report.removed_kept, "failed": report.failed.len(), "images_created": report.images_created,
        "broken_links": report.broken_links.len(), "broken_images": report.broken_images.len(),
        "warnings": report.warnings.len(),
    });
    let mut tx = database.tenant(tenant).await?;
    end(&mut tx, import, Some(&listed(&report)), None).await?;
    tx.commit().await?;
    Ok(Some(counts))
}

/// The report with lists that people can read, and how long each list really is.
fn listed(report: &super::SyncReport) -> Value {
    let mut value = serde_json::to_value(report).unwrap_or_default();
    let mut cut = serde_json::Map::new();
    if let Value::Object(fields) = &mut value {
        for (name, field) in fields.iter_mut() {
            if let Value::Array(lines) = field
                && lines.len() > LISTED
            {
                cut.insert(name.clone(), json!(lines.len()));
                lines.truncate(LISTED);
            }
        }
        fields.insert("cut".to_owned(), Value::Object(cut));
    }
    value
}

/// The archive as a file without a name, which goes away by itself.
async fn fetch(database: &Database, tenant: TenantId, import: Uuid) -> Result<std::fs::File, RunError> {
    let mut file = tempfile::tempfile()?;
    for ordinal in 0.. {
        let mut tx = database.tenant(tenant).await?;
        let id = tx.tenant().uuid();
        let bytes = sqlx::query_scalar!(
            "select bytes from import_chunks where tenant_id = $1 and import_id = $2 and ordinal = $3",
            id,
            import,
            ordinal
        )
        .fetch_optional(tx.connection())
        .await?;
        let Some(bytes) = bytes else { break };
        file.write_all(&bytes)?;
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}

async fn end(tx: &mut TenantTx, import: Uuid, report: Option<&Value>, error: Option<&str>) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update imports set report = $3, error = $4, ended_at = now() where tenant_id = $1 and id = $2",
        tenant,
        import,
        report,
        error
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!("delete from import_chunks where tenant_id = $1 and import_id = $2", tenant, import)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Ends the imports whose job was cancelled or discarded, so that their archives go, and forgets those that ended long ago.
pub async fn tidy(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "with ended as (
             update imports i set ended_at = now(), error = 'the job was cancelled or discarded before its end'
             where i.tenant_id = $1 and i.ended_at is null and i.job_id is not null
               and not exists (select from outbox o where o.tenant_id = $1 and o.id = i.job_id)
             returning i.id)
         delete from import_chunks c using ended where c.tenant_id = $1 and c.import_id = ended.id",
        tenant
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "delete from imports where tenant_id = $1 and ended_at < now() - make_interval(days => $2)",
        tenant,
        KEPT_DAYS
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// An import.
pub async fn find(tx: &mut TenantTx, id: Uuid) -> Result<Option<ImportRecord>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        ImportRecord,
        "select id, job_id, source, default_category, is_dry_run, archives_removed, size_bytes, requested_by, report, error,
                created_at, ended_at
         from imports where tenant_id = $1 and id = $2",
        tenant,
        id
    )
    .fetch_optional(tx.connection())
    .await
}

/// Imports, the latest first, without their reports: those after a time and id, at most `limit`.
pub async fn list(
    tx: &mut TenantTx,
    after: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<ImportRecord>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (after_at, after_id) = after.unzip();
    sqlx::query_as!(
        ImportRecord,
        r#"select id, job_id, source, default_category, is_dry_run, archives_removed, size_bytes, requested_by,
                  null::jsonb as report, error, created_at, ended_at
           from imports
           where tenant_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2, $3::uuid))
           order by created_at desc, id desc limit $4"#,
        tenant,
        after_at,
        after_id,
        limit
    )
    .fetch_all(tx.connection())
    .await
}
