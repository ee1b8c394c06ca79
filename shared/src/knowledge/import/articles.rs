//! From a file to an article.

use std::{collections::HashSet, path::Path};

use uuid::Uuid;

use super::{
    FileOutcome, Import, ImportedFile, SyncError,
    document::{Document, parse},
    is_about_the_data,
    reading::{self, unreadable},
    store,
};
use crate::{
    db::TenantTx,
    knowledge::{
        article::{ArticleProperties, ArticleText, Status},
        index,
        slug::{Slug, slugify},
        store::{self as knowledge, SourcedArticle},
    },
};

/// Who wrote the revisions that an import makes.
const AUTHOR: &str = "import";
/// How many numbers are tried to make a slug unique before its article's name is given up.
pub(super) const SLUG_ATTEMPTS: u32 = 1_000;

/// The file and what became of it; or why it failed.
type Imported = Result<(ImportedFile, FileOutcome), String>;

impl Import<'_> {
    /// The inner error says what is wrong with the file.
    pub(super) fn read(&self, path: &str) -> Result<Result<Document, String>, SyncError> {
        let bytes = reading::read(&self.options.root.join(path))?.map_err(|error| unreadable(&error));
        Ok(bytes.and_then(|bytes| parse(path, &bytes).map_err(|error| error.to_string())))
    }

    /// Imports a file, unless another one says that it is the same article: a copy of an exported file.
    pub(super) async fn of_its_own(&mut self, path: &str, document: Document) -> Result<Imported, SyncError> {
        if let Some(block) = &document.exported
            && let Some(other) = self.exported.insert(block.id, path.to_owned())
        {
            return Ok(Err(format!(
                "{other} is the same article; to make a new one of this file, take the block `helpcenter` out of it"
            )));
        }
        self.file(path, document).await
    }

    async fn file(&mut self, path: &str, document: Document) -> Result<Imported, SyncError> {
        let mut tx = self.database.tenant(self.tenant).await?;
        match self.article(&mut tx, path, &document).await {
            Ok((article_id, outcome)) => {
                if !self.options.dry_run {
                    tx.commit().await?;
                }
                let warnings = document.warnings.iter().map(|warning| (path.to_owned(), warning.clone()));
                self.report.warnings.extend(warnings);
                let is_published = document.front_matter.status.is_none_or(|status| status == Status::Published);
                let path = path.to_owned();
                Ok(Ok((ImportedFile { path, article_id, document, is_published, draft: None }, outcome)))
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
        let text = text_of(document);
        let category_id = self.category(tx, path, document).await?;
        let properties = properties(document, category_id);
        let existing = self.existing(tx, path, document).await?;
        let slug = available_slug(tx, &properties.slug, path, existing.as_ref()).await?;
        let fields = existing.as_ref().map(|e| differences(e, &text, &properties, &slug));
        let outcome = match fields {
            None => FileOutcome::Created,
            Some(fields) if fields.is_empty() => FileOutcome::Unchanged,
            Some(fields) => FileOutcome::Changed { fields },
        };
        let existing_id = existing.as_ref().map(|e| e.id);
        if self.options.dry_run {
            return Ok((existing_id, outcome));
        }
        let article_id = match (existing_id, &document.exported) {
            (Some(id), _) => id,
            (None, Some(block)) => store::insert_article(tx, &slug, block).await?,
            (None, None) => knowledge::insert_article(tx, &slug, &self.options.source, path).await?,
        };
        if let Some(block) = &document.exported {
            store::keep_former_slugs(tx, article_id, &block.former_slugs).await?;
        }
        if outcome == FileOutcome::Unchanged {
            return Ok((existing_id, outcome));
        }
        let revision_id = match &existing {
            Some(existing) if !text_differs(existing, &text) => existing.revision_id,
            _ => knowledge::insert_revision(tx, article_id, &text, AUTHOR, path).await?,
        };
        let has_new_text = existing.as_ref().is_none_or(|e| e.revision_id != revision_id);
        knowledge::update_properties(tx, article_id, revision_id, &slug, &properties).await?;
        knowledge::set_tags(tx, article_id, &tags(&properties.tags)).await?;
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

    /// The article that a file is about. An exported file says which one; where that is not, one that was imported from the
    /// same file of the same source is meant.
    async fn existing(
        &self,
        tx: &mut TenantTx,
        path: &str,
        document: &Document,
    ) -> Result<Option<SourcedArticle>, sqlx::Error> {
        let Some(block) = &document.exported else {
            return knowledge::sourced_article(tx, &self.options.source, path).await;
        };
        if let Some(existing) = store::article(tx, block.id).await? {
            return Ok(Some(existing));
        }
        let (Some(source), Some(source_path)) = (&block.source, &block.source_path) else { return Ok(None) };
        match knowledge::sourced_article(tx, source, source_path).await? {
            Some(existing) => store::article(tx, existing.id).await,
            None => Ok(None),
        }
    }

    /// A newer text beside what readers see.
    pub(super) async fn draft(
        &mut self,
        path: &str,
        document: Document,
        written: &mut [ImportedFile],
    ) -> Result<FileOutcome, SyncError> {
        let id = document.exported.as_ref().map(|block| block.id);
        let file = written.iter_mut().find(|file| file.document.exported.as_ref().map(|block| block.id) == id);
        let Some(file) = file else {
            let reason = "the file is a draft of an article, and the file of the article is not there".to_owned();
            return Ok(FileOutcome::Failed { reason });
        };
        let outcome = match file.article_id {
            None => FileOutcome::Changed { fields: vec!["draft"] },
            Some(article) => {
                let mut tx = self.database.tenant(self.tenant).await?;
                let text = text_of(&document);
                let latest = store::latest_text(&mut tx, article).await?;
                let is_there = latest.is_some_and(|(title, summary, content, _)| {
                    title == text.title && summary == text.summary && content == text.content
                });
                if is_there {
                    FileOutcome::Unchanged
                } else {
                    if !self.options.dry_run {
                        knowledge::insert_revision(&mut tx, article, &text, AUTHOR, path).await?;
                        store::raise_version(&mut tx, article).await?;
                        tx.commit().await?;
                    }
                    FileOutcome::Changed { fields: vec!["draft"] }
                }
            }
        };
        file.draft = Some(document);
        Ok(outcome)
    }
}

fn text_of(document: &Document) -> ArticleText {
    ArticleText { title: document.title.clone(), summary: document.summary.clone(), content: document.content.clone() }
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
        status: front_matter.status.unwrap_or(Status::Published),
        review_due_on: front_matter.review_due,
        tags,
        slug: document.slug_hint.clone(),
        front_matter: serde_json::Value::Object(front_matter.extra.clone()),
    }
}

/// Name and slug of each tag; a name without a letter or digit has no address and is left out.
pub(super) fn tags(names: &[String]) -> Vec<(String, String)> {
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
        if existing.is_some_and(|e| e.slug == candidate) || !knowledge::slug_is_taken(tx, &candidate, own).await? {
            return Ok(candidate);
        }
    }
    Ok(format!("{wanted}-{}", Uuid::now_v7().simple()))
}

pub(super) fn numbered(slug: &str, attempt: u32) -> String {
    if attempt == 1 { slug.to_owned() } else { format!("{slug}-{attempt}") }
}
