//! Exporting a whole knowledge base as the tree of Markdown files that the import reads: categories are folders, articles
//! files named by their slugs, images lie in a folder of their own, and links are relative paths.
//!
//! What is exported and imported into an empty tenant is exported again without a difference, byte for byte. So whatever is
//! written here depends on what is in the tenant alone, and the order of everything is fixed. The files are described in
//! `docs/adr/0007-import-and-export.md`; `format` writes and reads them.

mod destinations;
pub(super) mod format;
mod sink;
mod store;
mod tree;

use std::collections::BTreeMap;

use uuid::Uuid;

pub use self::sink::{FolderSink, Sink, ZipSink};
use self::{
    format::{ArticleFile, TAGS_FILE, TagsFile},
    tree::Tree,
};
use super::assets;
use crate::{
    db::{Database, TenantTx},
    tenancy::TenantId,
};

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Exported {
    /// Articles.
    pub articles: usize,
    /// Newer texts beside what readers see.
    pub drafts: usize,
    /// Categories.
    pub categories: usize,
    /// Images.
    pub images: usize,
}

/// Why an export could not go on.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// A file cannot be written.
    #[error("the export cannot be written: {0}")]
    Write(#[from] std::io::Error),
    /// A file cannot be put into words.
    #[error("a file cannot be written: {0}")]
    Format(#[from] serde_json::Error),
    /// PostgreSQL.
    #[error("the database refused: {0}")]
    Database(#[from] sqlx::Error),
}

/// Writes everything that a tenant's knowledge base holds, as it is at one moment. `progress` hears how many articles of how
/// many were written.
pub async fn export(
    database: &Database,
    tenant: TenantId,
    sink: &mut dyn Sink,
    progress: &(dyn Fn(usize, usize) + Sync),
) -> Result<Exported, ExportError> {
    let mut tx = database.tenant_snapshot(tenant).await?;
    let mut exported = Exported::default();
    let mut tags = store::tags(&mut tx).await?;
    tags.sort_unstable();
    if !tags.is_empty() {
        sink.file(TAGS_FILE, TagsFile { tags }.write()?.as_bytes())?;
    }
    let categories = store::categories(&mut tx).await?;
    let articles = store::articles(&mut tx).await?;
    let tree = Tree::of(&categories, &articles);
    for (path, file) in tree.category_files(&categories) {
        sink.file(&path, file.write()?.as_bytes())?;
        exported.categories += 1;
    }
    let mut images = BTreeMap::new();
    for (done, (path, id)) in tree.articles().enumerate() {
        if let Some((article, draft)) = article(&mut tx, &tree, path, id, &mut images).await? {
            sink.file(path, article.write()?.as_bytes())?;
            exported.articles += 1;
            if let Some(draft) = draft {
                sink.file(&tree::draft_path(path), draft.write()?.as_bytes())?;
                exported.drafts += 1;
            }
        }
        progress(done + 1, articles.len());
    }
    for (path, id) in images {
        sink.file(&path, &assets::bytes(&mut tx, id).await?)?;
        exported.images += 1;
    }
    Ok(exported)
}

/// The file of an article and the one of its draft; the images that they show are added.
async fn article(
    tx: &mut TenantTx,
    tree: &Tree,
    path: &str,
    id: Uuid,
    images: &mut BTreeMap<String, Uuid>,
) -> Result<Option<(ArticleFile, Option<ArticleFile>)>, sqlx::Error> {
    let Some(mut article) = store::article(tx, id).await? else { return Ok(None) };
    let links = store::links(tx, id).await?;
    let draft = article.draft_content.take().map(|content| tree::Text {
        title: article.draft_title.take().unwrap_or_default(),
        summary: article.draft_summary.take().unwrap_or_default(),
        content,
    });
    let draft = draft.filter(|draft| {
        draft.title != article.title || draft.summary != article.summary || draft.content != article.content
    });
    let draft = draft.map(|text| tree.draft_file(path, id, text, &links, images));
    Ok(Some((tree.article_file(path, id, article, &links, images), draft)))
}
