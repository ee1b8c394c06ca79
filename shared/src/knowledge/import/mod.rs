//! Importing a folder of Markdown, MDX and HTML: files become articles, folders categories, links between files links
//! between articles, and images beside them images of the help center.
//!
//! An article belongs to its file by source (a name for the imported folder) and path in it, so an import can be run again:
//! unchanged files are left alone, changed ones become new revisions, and files that are gone are archived when asked for.
//! Every file has its own transaction. A file that cannot be read is reported, and the others go on.
//!
//! A tree that was exported is imported the same way, except that its files say which articles they are and that their texts
//! are taken as they are (`export::format`).

pub mod archive;
mod articles;
mod categories;
mod connect;
mod decode;
mod document;
mod front_matter;
mod hidden;
mod html;
mod links;
mod mdx;
mod reading;
mod store;
pub mod upload;
mod walk;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
};

use uuid::Uuid;

use document::Document;
pub(super) use front_matter::yaml;
pub(super) use links::{KnownPaths, Meaning, meaning};
pub use walk::WalkError;
pub(super) use walk::is_admitted;
use walk::source_files;

use super::{assets, index, store as knowledge};
use crate::{db::Database, tenancy::TenantId};

/// Most bytes of images in one import.
pub const MAX_IMAGE_BYTES: u64 = 500 * 1024 * 1024;

/// What to import, and how.
#[derive(Debug, Clone)]
pub struct SyncOptions {
    /// The folder.
    pub root: PathBuf,
    /// Keeps this folder's articles apart from those of other imports. Two folders under one name would archive each other.
    pub source: String,
    /// The category of files that lie in no folder and name none.
    pub default_category: String,
    /// Only find out what would happen.
    pub dry_run: bool,
    /// Archive the articles whose file is gone.
    pub archive_removed: bool,
}

/// What became of a file.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "outcome")]
pub enum FileOutcome {
    /// A new article.
    Created,
    /// The article was changed: which fields.
    Changed {
        /// Names of the fields that differed.
        fields: Vec<&'static str>,
    },
    /// The article is as the file says already.
    Unchanged,
    /// The file cannot be imported: why.
    Failed {
        /// A sentence for its author.
        reason: String,
    },
}

/// Counts of everything that was met, and what needs a human.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct SyncReport {
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Files that were to be imported.
    pub found: usize,
    /// New articles.
    pub created: usize,
    /// Articles with a new revision or new properties.
    pub changed: usize,
    /// Articles that were left alone.
    pub unchanged: usize,
    /// Articles whose file is gone and that were archived.
    pub archived: usize,
    /// Articles whose file is gone and that were left as they are.
    pub removed_kept: usize,
    /// Files that could not be imported, with the reason.
    pub failed: Vec<(String, String)>,
    /// Files and folders that were passed over, counted by reason.
    pub skipped: BTreeMap<String, usize>,
    /// New categories.
    pub categories_created: usize,
    /// Categories that are not as their file said.
    pub categories_changed: usize,
    /// Images of articles that were not there yet.
    pub images_created: usize,
    /// Links that lead nowhere: file and destination as written.
    pub broken_links: Vec<(String, String)>,
    /// Images that are not there: file and address as written.
    pub broken_images: Vec<(String, String)>,
    /// What was mended or dropped on the way: file and sentence.
    pub warnings: Vec<(String, String)>,
    /// What would be done or was done to each file that is not as before.
    pub changes: Vec<(String, FileOutcome)>,
}

/// Why an import could not go on. What was imported before is kept; running it again continues.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The folder cannot be read.
    #[error("the folder cannot be imported: {0}")]
    Folder(#[from] WalkError),
    /// The machine ran out of something in this moment, such as files that a process may have open.
    #[error("files cannot be read now: {0}")]
    Machine(std::io::Error),
    /// PostgreSQL.
    #[error("the database refused: {0}")]
    Database(#[from] sqlx::Error),
}

/// Imports a folder into a tenant. `progress` is told of each file when it is done, with the number of files.
pub async fn sync(
    database: &Database,
    tenant: TenantId,
    options: &SyncOptions,
    progress: &(dyn Fn(usize, &str, &FileOutcome) + Sync),
) -> Result<SyncReport, SyncError> {
    let walk = source_files(&options.root)?;
    let mut import = Import {
        database,
        tenant,
        options,
        report: SyncReport {
            dry_run: options.dry_run,
            found: walk.files.len(),
            skipped: walk.skipped.into_iter().map(|(reason, count)| (reason.to_string(), count)).collect(),
            ..SyncReport::default()
        },
        folders: HashMap::new(),
        exported: HashMap::new(),
        planned_categories: HashSet::new(),
        image_bytes: 0,
    };
    if let Some(path) = &walk.tags {
        import.tags(path).await?;
    }
    for path in &walk.categories {
        import.category_file(path).await?;
    }
    let mut written: Vec<ImportedFile> = Vec::new();
    let mut drafts = Vec::new();
    for path in &walk.files {
        let outcome = match import.read(path)? {
            Ok(document) if document.exported.as_ref().is_some_and(|block| block.is_draft) => {
                drafts.push((path, document));
                continue;
            }
            Ok(document) => match import.of_its_own(path, document).await? {
                Ok((file, outcome)) => {
                    written.push(file);
                    outcome
                }
                Err(reason) => FileOutcome::Failed { reason },
            },
            Err(reason) => FileOutcome::Failed { reason },
        };
        progress(walk.files.len(), path, &outcome);
        import.count(path, outcome);
    }
    for (path, document) in drafts {
        let outcome = import.draft(path, document, &mut written).await?;
        progress(walk.files.len(), path, &outcome);
        import.count(path, outcome);
    }
    import.connect(&written, &walk.others).await?;
    import.removed(&walk.files, &written).await?;
    if !options.dry_run {
        let mut tx = database.tenant(tenant).await?;
        assets::prune(&mut tx).await?;
        tx.commit().await?;
    }
    Ok(import.report)
}

struct Import<'a> {
    database: &'a Database,
    tenant: TenantId,
    options: &'a SyncOptions,
    report: SyncReport,
    /// The categories of folders that have a file about theirs; none in a dry run that would create it.
    folders: HashMap<String, Option<Uuid>>,
    /// The files of exported articles.
    exported: HashMap<Uuid, String>,
    /// In a dry run: categories that would exist by now.
    planned_categories: HashSet<String>,
    /// Of the images that were read.
    image_bytes: u64,
}

/// A file that became an article.
struct ImportedFile {
    path: String,
    /// None yet in a dry run that would create it.
    article_id: Option<Uuid>,
    document: Document,
    /// Readers see what is in the file.
    is_published: bool,
    /// The newer text that lies beside the file.
    draft: Option<Document>,
}

impl Import<'_> {
    async fn removed(&mut self, files: &[String], written: &[ImportedFile]) -> Result<(), SyncError> {
        let is_exported = written.iter().any(|file| file.document.exported.is_some());
        if is_exported {
            // Its files name the articles that they are, of whatever source; which are missing cannot be told.
            if self.options.archive_removed {
                let warning = "an exported tree archives nothing: set the status in a file for that".to_owned();
                self.report.warnings.push((".".to_owned(), warning));
            }
            return Ok(());
        }
        let present: HashSet<&str> = files.iter().map(String::as_str).collect();
        let mut tx = self.database.tenant(self.tenant).await?;
        let kept = knowledge::sourced_articles(&mut tx, &self.options.source).await?;
        for (article_id, path) in kept.into_iter().filter(|(_, path)| !present.contains(path.as_str())) {
            if !self.options.archive_removed {
                self.report.removed_kept += 1;
                continue;
            }
            self.report.archived += 1;
            self.report.changes.push((path, FileOutcome::Changed { fields: vec!["status"] }));
            if !self.options.dry_run {
                knowledge::archive(&mut tx, article_id).await?;
                index::refresh(&mut tx, article_id).await?;
            }
        }
        tx.commit().await?;
        Ok(())
    }

    fn count(&mut self, path: &str, outcome: FileOutcome) {
        match &outcome {
            FileOutcome::Created => self.report.created += 1,
            FileOutcome::Changed { .. } => self.report.changed += 1,
            FileOutcome::Unchanged => {
                self.report.unchanged += 1;
                return;
            }
            FileOutcome::Failed { reason } => {
                self.report.failed.push((path.to_owned(), reason.clone()));
                return;
            }
        }
        self.report.changes.push((path.to_owned(), outcome));
    }
}

/// Class 22 (data exception), 23 (constraint) and 54 (program limit) are about what was to be stored.
fn is_about_the_data(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}
