//! From folders, and what files say about them, to categories.

use std::path::Path;

use uuid::Uuid;

use super::{
    FileOutcome, Import, SyncError,
    articles::{SLUG_ATTEMPTS, numbered, tags},
    document::Document,
    is_about_the_data,
    reading::{self, unreadable},
    store::{self, CategoryValues},
    yaml,
};
use crate::{
    db::TenantTx,
    knowledge::{
        export::format::{CategoryFile, TagsFile},
        slug::{Slug, slugify},
        store::{self as knowledge, NewCategory},
    },
};

impl Import<'_> {
    /// Makes the tags that are named, also those that no article has.
    pub(super) async fn tags(&mut self, path: &str) -> Result<(), SyncError> {
        let file = self.text(path)?.and_then(|text| TagsFile::read(&text, yaml));
        match file {
            Ok(file) if !self.options.dry_run => {
                let mut tx = self.database.tenant(self.tenant).await?;
                store::insert_tags(&mut tx, &tags(&file.tags)).await?;
                tx.commit().await?;
            }
            Ok(_) => {}
            Err(reason) => self.report.failed.push((path.to_owned(), reason)),
        }
        Ok(())
    }

    /// Makes the category of a folder what its file says.
    pub(super) async fn category_file(&mut self, path: &str) -> Result<(), SyncError> {
        let Some((folder, _)) = path.rsplit_once('/') else { return Ok(()) };
        let file = match self.text(path)?.and_then(|text| CategoryFile::read(&text, yaml)) {
            Ok(file) => file,
            Err(reason) => {
                self.count(path, FileOutcome::Failed { reason });
                return Ok(());
            }
        };
        let mut tx = self.database.tenant(self.tenant).await?;
        match self.described_category(&mut tx, folder, &file).await {
            Ok(id) => {
                if !self.options.dry_run {
                    tx.commit().await?;
                }
                self.folders.insert(folder.to_owned(), id);
                Ok(())
            }
            Err(sqlx::Error::Database(error)) if is_about_the_data(&*error) => {
                let reason = format!("The database does not accept it: {}.", error.message());
                self.count(path, FileOutcome::Failed { reason });
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The inner error says what is wrong with the file.
    fn text(&self, path: &str) -> Result<Result<String, String>, SyncError> {
        let bytes = reading::read(&self.options.root.join(path))?.map_err(|error| unreadable(&error));
        let text = |bytes: Vec<u8>| super::decode::decode(&bytes).map_err(|error| error.to_string());
        Ok(bytes.and_then(text).map(|(text, _)| text))
    }

    async fn described_category(
        &mut self,
        tx: &mut TenantTx,
        folder: &str,
        file: &CategoryFile,
    ) -> Result<Option<Uuid>, sqlx::Error> {
        let parent_id = match folder.rsplit_once('/') {
            Some((parent, _)) => self.folder_category(tx, parent).await?,
            None => None,
        };
        let own = (self.options.source.as_str(), folder);
        let block = file.helpcenter.as_ref();
        let source = match block {
            Some(block) => block.source.as_deref().zip(block.source_path.as_deref()),
            None => Some(own),
        };
        let by_id = match block {
            Some(block) => store::category(tx, block.id).await?,
            None => None,
        };
        let existing = match (by_id, source) {
            (None, Some((source, path))) => knowledge::sourced_category(tx, source, path).await?,
            (by_id, _) => by_id,
        };
        let last_part = folder.rsplit('/').next().unwrap_or(folder);
        let name = file.name.clone().unwrap_or_else(|| category_name(last_part));
        let slug = file.slug.as_deref().and_then(|slug| slug.parse::<Slug>().ok().or_else(|| slugify(slug)));
        let has_slug = slug.is_some();
        let slug = slug.or_else(|| slugify(&name)).map_or_else(|| "category".to_owned(), Slug::into_string);
        let values = CategoryValues {
            id: block.map(|block| block.id),
            parent_id,
            name: &name,
            slug: &slug,
            description: file.description.as_deref(),
            icon: file.icon.as_deref(),
            color: file.color.as_deref(),
            order: file.order,
            is_active: file.active,
            source: source.map(|(source, _)| source),
            source_path: source.map(|(_, path)| path),
        };
        if let Some(id) = existing {
            let has_name = file.name.is_some();
            if store::update_category(tx, id, &values, has_name, has_slug).await? {
                self.report.categories_changed += 1;
            }
            return Ok(Some(id));
        }
        self.report.categories_created += 1;
        if self.options.dry_run {
            return Ok(None);
        }
        for attempt in 1..=SLUG_ATTEMPTS {
            let slug = numbered(&slug, attempt);
            if let Some(id) = store::insert_category(tx, &CategoryValues { slug: &slug, ..values }).await? {
                return Ok(Some(id));
            }
        }
        Ok(parent_id)
    }

    /// The category that the front matter names, else the one of the file's folder.
    pub(super) async fn category(
        &mut self,
        tx: &mut TenantTx,
        path: &str,
        document: &Document,
    ) -> Result<Option<Uuid>, sqlx::Error> {
        let named = &document.front_matter.category;
        if !named.is_empty() {
            return self.named_category(tx, named).await;
        }
        match Path::new(path).parent().and_then(Path::to_str).filter(|folder| !folder.is_empty()) {
            Some(folder) => self.folder_category(tx, folder).await,
            None if document.exported.is_some() => Ok(None),
            None => self.named_category(tx, std::slice::from_ref(&self.options.default_category)).await,
        }
    }

    async fn folder_category(&mut self, tx: &mut TenantTx, folder: &str) -> Result<Option<Uuid>, sqlx::Error> {
        let mut parent = None;
        let mut here = String::new();
        for part in folder.split('/') {
            if !here.is_empty() {
                here.push('/');
            }
            here.push_str(part);
            parent = match self.folders.get(&here) {
                Some(described) => *described,
                None => self.create_category(tx, parent, &category_name(part), Some(&here)).await?,
            };
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
            && let Some(id) = knowledge::sourced_category(tx, source, folder).await?
        {
            return Ok(Some(id));
        }
        let name: String = name.chars().take(200).collect();
        let wanted = slugify(&name).map_or_else(|| "category".to_owned(), |slug| slug.to_string());
        if folder.is_none()
            && let Some(id) = knowledge::category_id(tx, &wanted).await?
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
            if let Some(id) = knowledge::insert_category(tx, &new).await? {
                self.report.categories_created += 1;
                return Ok(Some(id));
            }
            // Another import may have been faster.
            let created_meanwhile = match folder {
                Some(folder) => knowledge::sourced_category(tx, source, folder).await?,
                None => knowledge::category_id(tx, &wanted).await?,
            };
            if created_meanwhile.is_some() {
                return Ok(created_meanwhile);
            }
        }
        Ok(parent_id)
    }
}

/// A folder's name as people would write it: `getting-started` is "Getting started".
fn category_name(folder: &str) -> String {
    let words = folder.split(['-', '_', ' ']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ");
    let mut characters = words.chars();
    characters.next().map_or_else(|| folder.to_owned(), |first| first.to_uppercase().chain(characters).collect())
}
