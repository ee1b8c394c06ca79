//! Importing a folder of Markdown, MDX and HTML: files become articles, folders categories, links between files links
//! between articles.
//!
//! An article belongs to its file by source (a name for the imported folder) and path in it, so an import can be run again:
//! unchanged files are left alone, changed ones become new revisions, and files that are gone are archived when asked for.
//! Every file has its own transaction. A file that cannot be read is reported, and the others go on.

mod decode;
mod document;
mod front_matter;
mod hidden;
mod html;
mod links;
mod mdx;
mod walk;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use document::{Document, parse};
use front_matter::FrontMatter;
use links::{KnownPaths, Resolution};
pub use walk::WalkError;
use walk::source_files;

use super::{
    article::{ArticleProperties, ArticleText},
    index,
    slug::{Slug, slugify},
    store::{self, Link, NewCategory, SourcedArticle},
};
use crate::{
    db::{Database, TenantTx},
    tenancy::TenantId,
};

/// Who wrote the revisions that an import makes.
const AUTHOR: &str = "import";
/// How many numbers are tried to make a slug unique before its article's name is given up.
const SLUG_ATTEMPTS: u32 = 1_000;

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
    /// Links that lead nowhere: file and destination as written.
    pub broken_links: Vec<(String, String)>,
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
        planned_categories: HashSet::new(),
    };
    let mut imported = HashMap::new();
    let mut written = Vec::new();
    for path in &walk.files {
        let outcome = match import.file(path).await? {
            Ok((file, outcome)) => {
                imported.insert(path.clone(), file.article_id);
                written.push(file);
                outcome
            }
            Err(reason) => FileOutcome::Failed { reason },
        };
        progress(walk.files.len(), path, &outcome);
        import.count(path, outcome);
    }
    import.links(written, &imported).await?;
    import.removed(&walk.files).await?;
    Ok(import.report)
}

struct Import<'a> {
    database: &'a Database,
    tenant: TenantId,
    options: &'a SyncOptions,
    report: SyncReport,
    /// In a dry run: categories that would exist by now.
    planned_categories: HashSet<String>,
}

/// A file that became an article.
struct ImportedFile {
    path: String,
    /// None yet in a dry run that would create it.
    article_id: Option<Uuid>,
    document: Document,
}

/// The file and what became of it; or why it failed.
type Imported = Result<(ImportedFile, FileOutcome), String>;

impl Import<'_> {
    async fn file(&mut self, path: &str) -> Result<Imported, SyncError> {
        let bytes = match std::fs::read(self.options.root.join(path)) {
            Ok(bytes) => bytes,
            Err(error) => return Ok(Err(format!("The file cannot be read: {error}."))),
        };
        let document = match parse(path, &bytes) {
            Ok(document) => document,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let mut tx = self.database.tenant(self.tenant).await?;
        match self.article(&mut tx, path, &document).await {
            Ok((article_id, outcome)) => {
                if !self.options.dry_run {
                    tx.commit().await?;
                }
                let warnings = document.warnings.iter().map(|warning| (path.to_owned(), warning.clone()));
                self.report.warnings.extend(warnings);
                Ok(Ok((ImportedFile { path: path.to_owned(), article_id, document }, outcome)))
            }
            // What the text itself makes PostgreSQL refuse is this file's trouble; anything else is everybody's.
            Err(sqlx::Error::Database(error)) if is_about_the_data(&*error) => {
                Ok(Err(format!("The database does not accept it: {}.", error.message())))
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn article(
        &mut self,
        tx: &mut TenantTx,
        path: &str,
        document: &Document,
    ) -> Result<(Option<Uuid>, FileOutcome), sqlx::Error> {
        let text = ArticleText {
            title: document.title.clone(),
            summary: document.summary.clone(),
            content: document.content.clone(),
        };
        let category_id = self.category(tx, path, &document.front_matter).await?;
        let properties = properties(document, category_id);
        let existing = store::sourced_article(tx, &self.options.source, path).await?;
        let slug = available_slug(tx, &properties.slug, path, existing.as_ref()).await?;
        let fields = existing.as_ref().map(|e| differences(e, &text, &properties, &slug));
        let outcome = match fields {
            None => FileOutcome::Created,
            Some(fields) if fields.is_empty() => FileOutcome::Unchanged,
            Some(fields) => FileOutcome::Changed { fields },
        };
        let existing_id = existing.as_ref().map(|e| e.id);
        if self.options.dry_run || outcome == FileOutcome::Unchanged {
            return Ok((existing_id, outcome));
        }
        let article_id = match existing_id {
            Some(id) => id,
            None => store::insert_article(tx, &slug, &self.options.source, path).await?,
        };
        let has_new_text = existing.as_ref().is_none_or(|e| text_differs(e, &text));
        if has_new_text {
            store::insert_revision(tx, article_id, &text, AUTHOR, path).await?;
        }
        store::update_properties(tx, article_id, &slug, &properties).await?;
        store::set_tags(tx, article_id, &tags(&properties.tags)).await?;
        let indexed = ["locale", "status", "tags"];
        let is_indexed_anew = match &outcome {
            FileOutcome::Changed { fields } => has_new_text || fields.iter().any(|field| indexed.contains(field)),
            _ => true,
        };
        if is_indexed_anew {
            index::refresh(tx, article_id).await?;
        }
        Ok((Some(article_id), outcome))
    }

    /// The category that the front matter names, else the one of the file's folder.
    async fn category(
        &mut self,
        tx: &mut TenantTx,
        path: &str,
        front_matter: &FrontMatter,
    ) -> Result<Option<Uuid>, sqlx::Error> {
        if !front_matter.category.is_empty() {
            return self.named_category(tx, &front_matter.category).await;
        }
        let Some(folder) = Path::new(path).parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()) else {
            return self.named_category(tx, std::slice::from_ref(&self.options.default_category)).await;
        };
        let mut parent = None;
        let mut here = String::new();
        for part in folder.split('/') {
            if !here.is_empty() {
                here.push('/');
            }
            here.push_str(part);
            let name = category_name(part);
            parent = self.create_category(tx, parent, &name, Some(&here)).await?;
        }
        Ok(parent)
    }

    async fn named_category(&mut self, tx: &mut TenantTx, names: &[String]) -> Result<Option<Uuid>, sqlx::Error> {
        let mut parent = None;
        for name in names {
            parent = self.create_category(tx, parent, name, None).await?;
        }
        Ok(parent)
    }

    /// The category of a folder, or of a name; created when it does not exist. `None` in a dry run that would create it.
    async fn create_category(
        &mut self,
        tx: &mut TenantTx,
        parent_id: Option<Uuid>,
        name: &str,
        folder: Option<&str>,
    ) -> Result<Option<Uuid>, sqlx::Error> {
        let source = self.options.source.as_str();
        if let Some(folder) = folder
            && let Some(id) = store::sourced_category(tx, source, folder).await?
        {
            return Ok(Some(id));
        }
        let name: String = name.chars().take(200).collect();
        let wanted = slugify(&name).map_or_else(|| "category".to_owned(), |slug| slug.to_string());
        if folder.is_none()
            && let Some(id) = store::category_id(tx, &wanted).await?
        {
            return Ok(Some(id));
        }
        if self.options.dry_run {
            let key = folder.map_or_else(|| format!("name:{wanted}"), |folder| format!("folder:{folder}"));
            if self.planned_categories.insert(key) {
                self.report.categories_created += 1;
            }
            return Ok(None);
        }
        for attempt in 1..=SLUG_ATTEMPTS {
            let slug = numbered(&wanted, attempt);
            let new =
                NewCategory { parent_id, name: &name, slug: &slug, source: folder.map(|folder| (source, folder)) };
            if let Some(id) = store::insert_category(tx, &new).await? {
                self.report.categories_created += 1;
                return Ok(Some(id));
            }
            // Another import may have been faster.
            let created_meanwhile = match folder {
                Some(folder) => store::sourced_category(tx, source, folder).await?,
                None => store::category_id(tx, &wanted).await?,
            };
            if created_meanwhile.is_some() {
                return Ok(created_meanwhile);
            }
        }
        Ok(parent_id)
    }

    /// Links need every article, so they come last.
    async fn links(
        &mut self,
        files: Vec<ImportedFile>,
        imported: &HashMap<String, Option<Uuid>>,
    ) -> Result<(), SyncError> {
        let mut known = KnownPaths::default();
        for file in &files {
            known.insert(&file.path, Some(file.document.slug_hint.as_str()));
        }
        for file in files {
            let mut found = Vec::new();
            for destination in file.document.links {
                match links::resolve(&file.path, &destination, &known) {
                    Resolution::External | Resolution::Anchor(_) => {}
                    Resolution::File { path, fragment } => {
                        let target = imported.get(&path).copied().flatten();
                        found.push(Link { destination, fragment: fragment.unwrap_or_default(), target });
                    }
                    Resolution::Broken => {
                        self.report.broken_links.push((file.path.clone(), destination.clone()));
                        found.push(Link { destination, fragment: String::new(), target: None });
                    }
                }
            }
            // Images beside the files are not stored; their descriptions are shown instead.
            for destination in file.document.images {
                if !matches!(links::resolve(&file.path, &destination, &known), Resolution::External) {
                    self.report.warnings.push((file.path.clone(), format!("the image {destination} is not imported")));
                    found.push(Link { destination, fragment: String::new(), target: None });
                }
            }
            let (Some(article_id), false) = (file.article_id, self.options.dry_run) else { continue };
            found.sort();
            found.dedup_by(|a, b| a.destination == b.destination);
            let mut tx = self.database.tenant(self.tenant).await?;
            store::set_links(&mut tx, article_id, &found).await?;
            tx.commit().await?;
        }
        Ok(())
    }

    async fn removed(&mut self, files: &[String]) -> Result<(), SyncError> {
        let present: HashSet<&str> = files.iter().map(String::as_str).collect();
        let mut tx = self.database.tenant(self.tenant).await?;
        let kept = store::sourced_articles(&mut tx, &self.options.source).await?;
        for (article_id, path) in kept.into_iter().filter(|(_, path)| !present.contains(path.as_str())) {
            if !self.options.archive_removed {
                self.report.removed_kept += 1;
                continue;
            }
            self.report.archived += 1;
            self.report.changes.push((path, FileOutcome::Changed { fields: vec!["status"] }));
            if !self.options.dry_run {
                store::archive(&mut tx, article_id).await?;
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

fn properties(document: &Document, category_id: Option<Uuid>) -> ArticleProperties {
    let front_matter = &document.front_matter;
    let mut tags = front_matter.tags.clone();
    tags.sort();
    tags.dedup();
    ArticleProperties {
        category_id,
        difficulty: front_matter.difficulty.unwrap_or_default(),
        target_roles: front_matter.target_roles.clone().unwrap_or_else(|| vec!["all".to_owned()]),
        locale: front_matter.locale.clone().unwrap_or_else(|| "en".to_owned()),
        status: front_matter.status.unwrap_or(super::Status::Published),
        review_due_on: front_matter.review_due,
        tags,
        slug: document.slug_hint.clone(),
        front_matter: serde_json::Value::Object(front_matter.extra.clone()),
    }
}

/// Name and slug of each tag; a name without a letter or digit has no address and is left out.
fn tags(names: &[String]) -> Vec<(String, String)> {
    names.iter().filter_map(|name| Some((name.clone(), slugify(name)?.to_string()))).collect()
}

fn text_differs(existing: &SourcedArticle, text: &ArticleText) -> bool {
    existing.title != text.title || existing.summary != text.summary || existing.content != text.content
}

/// Which fields of the article are not as its file says.
fn differences(
    existing: &SourcedArticle,
    text: &ArticleText,
    properties: &ArticleProperties,
    slug: &str,
) -> Vec<&'static str> {
    // Tags are one by their slug, whatever the spelling of the name that came first.
    let slugs = |names: &[String]| tags(names).into_iter().map(|(_, slug)| slug).collect::<HashSet<_>>();
    let compared = [
        ("title", existing.title != text.title),
        ("summary", existing.summary != text.summary),
        ("content", existing.content != text.content),
        ("slug", existing.slug != slug),
        ("category", existing.category_id != properties.category_id),
        ("difficulty", existing.difficulty != properties.difficulty.as_str()),
        ("target_roles", existing.target_roles != properties.target_roles),
        ("locale", existing.locale != properties.locale),
        ("status", existing.status != properties.status.as_str()),
        ("review_due", existing.review_due_on != properties.review_due_on),
        ("tags", slugs(&existing.tags) != slugs(&properties.tags)),
        ("front_matter", existing.front_matter != properties.front_matter),
    ];
    compared.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
}

/// The wanted slug, unless another article has it: then with the folder in front, then with a number. An article keeps the
/// slug that it got that way, so that a second import changes nothing.
async fn available_slug(
    tx: &mut TenantTx,
    wanted: &Slug,
    path: &str,
    existing: Option<&SourcedArticle>,
) -> Result<String, sqlx::Error> {
    let own = existing.map(|e| e.id);
    let folder = Path::new(path).parent().and_then(Path::file_name).and_then(|f| f.to_str()).and_then(slugify);
    let in_folder = folder.and_then(|folder| slugify(&format!("{folder} {wanted}"))).map(|s| s.to_string());
    let mut candidates = vec![wanted.to_string()];
    candidates.extend(in_folder);
    let last = candidates[candidates.len() - 1].clone();
    candidates.extend((2..=SLUG_ATTEMPTS).map(|n| numbered(&last, n)));
    for candidate in candidates {
        if existing.is_some_and(|e| e.slug == candidate) || !store::slug_is_taken(tx, &candidate, own).await? {
            return Ok(candidate);
        }
    }
    Ok(format!("{wanted}-{}", Uuid::now_v7().simple()))
}

fn numbered(slug: &str, attempt: u32) -> String {
    if attempt == 1 { slug.to_owned() } else { format!("{slug}-{attempt}") }
}

/// Class 22 (data exception), 23 (constraint) and 54 (program limit) are about what was to be stored.
fn is_about_the_data(error: &dyn sqlx::error::DatabaseError) -> bool {
    error.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class)))
}

/// A folder's name as people would write it: `getting-started` is "Getting started".
fn category_name(folder: &str) -> String {
    let words = folder.split(['-', '_', ' ']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let mut characters = words.chars();
    characters.next().map_or_else(|| folder.to_owned(), |first| first.to_uppercase().chain(characters).collect())
}
