//! Where the links and images of imported articles lead. This needs every article, so it comes last.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    Import, ImportedFile, KnownPaths, MAX_IMAGE_BYTES, Meaning, SyncError, document::Document, meaning, reading, store,
    walk::Skip,
};
use crate::{
    knowledge::{
        assets::{self, AssetError, Image},
        export::format::Destination,
        store::{Link, links, set_links},
    },
    markdown,
};

/// Longer destinations are no paths and no addresses that anybody wrote.
const MAX_DESTINATION_BYTES: usize = 2_000;

/// The files that destinations can mean, and what is known of them.
struct Files {
    articles: KnownPaths,
    ids: HashMap<String, Option<Uuid>>,
    others: KnownPaths,
    /// Images that were looked at: the asset, unless this is a dry run, or why the file is none.
    images: HashMap<String, Result<Option<Uuid>, String>>,
}

impl Import<'_> {
    pub(super) async fn connect(&mut self, written: &[ImportedFile], others: &[String]) -> Result<(), SyncError> {
        let mut files = Files {
            articles: KnownPaths::default(),
            ids: HashMap::new(),
            others: KnownPaths::default(),
            images: HashMap::new(),
        };
        for file in written {
            files.articles.insert(&file.path, Some(file.document.slug_hint.as_str()));
            files.ids.insert(file.path.clone(), file.article_id);
        }
        for path in others {
            files.others.insert(path, None);
        }
        for file in written {
            let mut found = self.destinations(&file.path, &file.document, file.is_published, &mut files).await?;
            if let Some(draft) = &file.draft {
                for link in self.destinations(&file.path, draft, false, &mut files).await? {
                    if !found.iter().any(|known| known.destination == link.destination) {
                        found.push(link);
                    }
                }
            }
            let (Some(article_id), false) = (file.article_id, self.options.dry_run) else { continue };
            let mut tx = self.database.tenant(self.tenant).await?;
            if file.document.exported.is_some() && file.draft.is_none() {
                // A newer text that the tree does not have keeps what is known of it.
                if let Some((_, _, content, true)) = store::latest_text(&mut tx, article_id).await? {
                    let destinations = markdown::destinations(&content);
                    let all = [destinations.links, destinations.images].concat();
                    for link in links(&mut tx, article_id).await? {
                        if all.contains(&link.destination)
                            && !found.iter().any(|known| known.destination == link.destination)
                        {
                            found.push(Link { is_shown: false, ..link });
                        }
                    }
                }
            }
            found.sort();
            found.dedup_by(|a, b| a.destination == b.destination);
            set_links(&mut tx, article_id, &found).await?;
            tx.commit().await?;
        }
        let not_shown = others.iter().filter(|path| !matches!(files.images.get(*path), Some(Ok(_)))).count();
        if not_shown > 0 {
            self.report.skipped.insert(Skip::Extension.to_string(), not_shown);
        }
        self.related(written).await
    }

    /// Where the destinations of a text lead; those that stay as they are are left out.
    async fn destinations(
        &mut self,
        path: &str,
        document: &Document,
        is_shown: bool,
        files: &mut Files,
    ) -> Result<Vec<Link>, SyncError> {
        let mut found = Vec::new();
        let links = document.links.iter().map(|destination| (destination, false));
        let images = document.images.iter().map(|destination| (destination, true));
        for (destination, is_image) in links.chain(images) {
            let mut link =
                Link { destination: destination.clone(), fragment: String::new(), target: None, asset: None, is_shown };
            if destination.len() > MAX_DESTINATION_BYTES {
                let start: String = destination.chars().take(30).collect();
                self.report.warnings.push((path.to_owned(), format!("{start}… is too long to lead anywhere")));
                continue;
            }
            match said_or_found(path, destination, document, files) {
                Meaning::Itself => continue,
                Meaning::Article { path: to, fragment } if !is_image => {
                    link.target = files.ids.get(&to).copied().flatten();
                    link.fragment = fragment;
                }
                Meaning::Other(file) => match self.image(&file, files).await? {
                    Ok(asset) => link.asset = asset,
                    Err(problem) if is_image => {
                        self.report.warnings.push((path.to_owned(), format!("the image {destination} {problem}")));
                    }
                    Err(_) => self.report.broken_links.push((path.to_owned(), destination.clone())),
                },
                Meaning::Article { .. } | Meaning::Nothing if is_image => {
                    self.report.broken_images.push((path.to_owned(), destination.clone()));
                }
                Meaning::Article { .. } | Meaning::Nothing => {
                    self.report.broken_links.push((path.to_owned(), destination.clone()));
                }
            }
            found.push(link);
        }
        Ok(found)
    }

    /// Keeps an image. The inner error says why the file is none.
    async fn image(&mut self, path: &str, files: &mut Files) -> Result<Result<Option<Uuid>, String>, SyncError> {
        if let Some(known) = files.images.get(path) {
            return Ok(known.clone());
        }
        let stored = match self.image_bytes(path)? {
            Ok(bytes) => match Image::of(&bytes) {
                Ok(_) if self.options.dry_run => Ok(None),
                Ok(image) => {
                    let name = path.rsplit('/').next().unwrap_or(path);
                    let mut tx = self.database.tenant(self.tenant).await?;
                    let (asset, is_new) = assets::put(&mut tx, name, &image).await?;
                    tx.commit().await?;
                    self.report.images_created += usize::from(is_new);
                    Ok(Some(asset.id))
                }
                Err(problem) => Err(problem.to_string()),
            },
            Err(problem) => Err(problem),
        };
        files.images.insert(path.to_owned(), stored.clone());
        Ok(stored)
    }

    /// The inner error says what is wrong with the file.
    fn image_bytes(&mut self, path: &str) -> Result<Result<Vec<u8>, String>, SyncError> {
        let file = self.options.root.join(path);
        let unreadable = |error: std::io::Error| format!("cannot be read: {error}");
        let size = match reading::blame(std::fs::metadata(&file))? {
            Ok(metadata) => metadata.len(),
            Err(error) => return Ok(Err(unreadable(error))),
        };
        if size > assets::MAX_BYTES as u64 {
            return Ok(Err(AssetError::TooLarge { bytes: size }.to_string()));
        }
        if self.image_bytes + size > MAX_IMAGE_BYTES {
            let most = MAX_IMAGE_BYTES / (1024 * 1024);
            return Ok(Err(format!("is left out: the images of one import may have {most} MiB together")));
        }
        self.image_bytes += size;
        Ok(reading::read(&file)?.map_err(unreadable))
    }

    /// What is to be read next, by the articles that exported files say that they are.
    async fn related(&mut self, written: &[ImportedFile]) -> Result<(), SyncError> {
        if self.options.dry_run {
            return Ok(());
        }
        let exported = written.iter().filter_map(|file| Some((file.document.exported.as_ref()?.id, file.article_id?)));
        let ids: HashMap<Uuid, Uuid> = exported.collect();
        for file in written {
            let (Some(block), Some(article)) = (&file.document.exported, file.article_id) else { continue };
            let related: Vec<Uuid> = block.related.iter().map(|id| ids.get(id).copied().unwrap_or(*id)).collect();
            let mut tx = self.database.tenant(self.tenant).await?;
            store::set_related(&mut tx, article, &related).await?;
            tx.commit().await?;
        }
        Ok(())
    }
}

/// What an exported file says of a destination, else what it looks like.
fn said_or_found(path: &str, destination: &str, document: &Document, files: &Files) -> Meaning {
    let said = document.exported.as_ref().and_then(|block| block.links.get(destination));
    match said {
        Some(Destination::Broken) => Meaning::Nothing,
        Some(Destination::Foreign) => Meaning::Itself,
        Some(Destination::File(file)) => {
            let (file, fragment) = file.split_once('#').unwrap_or((file, ""));
            if files.ids.contains_key(file) {
                return Meaning::Article { path: file.to_owned(), fragment: fragment.to_owned() };
            }
            // Only what was found in the folder: the path is anybody's.
            if files.others.has(file) { Meaning::Other(file.to_owned()) } else { Meaning::Nothing }
        }
        None => meaning(path, destination, &files.articles, &files.others, document.exported.is_some()),
    }
}
