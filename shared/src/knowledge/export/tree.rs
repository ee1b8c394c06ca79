//! Which file everything gets, and what is in it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{
    destinations::replaced,
    format::{
        ArticleBlock, ArticleFile, CATEGORY_FILE, CategoryBlock, CategoryFile, Destination, FORMAT, IMAGES_FOLDER,
    },
    store::{Article, Category, Link},
};
use crate::{
    knowledge::{
        assets::hexadecimal,
        import::{KnownPaths, Meaning, is_admitted, meaning},
        slug::Slug,
    },
    markdown,
};

/// Names that are longer would be too long for some file systems.
const MAX_NAME_BYTES: usize = 120;

/// A text of an article.
pub(super) struct Text {
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) content: String,
}

/// The paths of everything.
pub(super) struct Tree {
    folders: HashMap<Uuid, String>,
    articles: BTreeMap<String, Uuid>,
    paths: HashMap<Uuid, String>,
    /// As the import will know them.
    known: KnownPaths,
}

impl Tree {
    pub(super) fn of(categories: &[Category], articles: &[(Uuid, String, Option<Uuid>)]) -> Self {
        let by_id: HashMap<Uuid, &Category> = categories.iter().map(|category| (category.id, category)).collect();
        let folders: HashMap<Uuid, String> = by_id.keys().map(|id| (*id, folder(*id, &by_id))).collect();
        let mut tree = Self { folders, articles: BTreeMap::new(), paths: HashMap::new(), known: KnownPaths::default() };
        for (id, slug, category) in articles {
            let name = format!("{}.md", file_name(slug, true));
            let path = match category.and_then(|category| tree.folders.get(&category)) {
                Some(folder) => format!("{folder}/{name}"),
                None => name,
            };
            tree.paths.insert(*id, path.clone());
            tree.articles.insert(path, *id);
        }
        let slugs: HashMap<Uuid, &str> = articles.iter().map(|(id, slug, _)| (*id, slug.as_str())).collect();
        for (path, id) in &tree.articles {
            tree.known.insert(path, slugs.get(id).copied());
        }
        tree
    }

    /// The articles by their paths, in order.
    pub(super) fn articles(&self) -> impl Iterator<Item = (&str, Uuid)> {
        self.articles.iter().map(|(path, id)| (path.as_str(), *id))
    }

    /// The files about folders by their paths, in order.
    pub(super) fn category_files(&self, categories: &[Category]) -> BTreeMap<String, CategoryFile> {
        let file = |category: &Category| CategoryFile {
            name: Some(category.name.clone()),
            slug: Some(category.slug.clone()),
            description: Some(category.description.clone()),
            icon: Some(category.icon.clone()),
            color: Some(category.color.clone()),
            order: Some(category.display_order),
            active: Some(category.is_active),
            helpcenter: Some(CategoryBlock {
                format: FORMAT,
                id: category.id,
                source: category.source.clone(),
                source_path: category.source_path.clone(),
            }),
        };
        categories
            .iter()
            .filter_map(|category| {
                Some((format!("{}/{CATEGORY_FILE}", self.folders.get(&category.id)?), file(category)))
            })
            .collect()
    }

    /// The file of an article, and the images that it shows: their paths and what they are.
    pub(super) fn article_file(
        &self,
        path: &str,
        id: Uuid,
        article: Article,
        links: &[Link],
        images: &mut BTreeMap<String, Uuid>,
    ) -> ArticleFile {
        let (content, links) = self.connected(path, &article.content, links, images);
        let (mut tags, mut former_slugs) = (article.tags, article.former_slugs);
        tags.sort_unstable();
        former_slugs.sort_unstable();
        let other_keys = match article.front_matter {
            serde_json::Value::Object(keys) => keys,
            _ => serde_json::Map::new(),
        };
        ArticleFile {
            title: article.title,
            slug: article.slug,
            summary: article.summary,
            tags,
            difficulty: Some(article.difficulty),
            target_roles: Some(article.target_roles),
            locale: Some(article.locale),
            status: Some(article.status),
            review_due: article.review_due_on,
            helpcenter: Some(ArticleBlock {
                translation_group: article.translation_group,
                related: article.related,
                former_slugs,
                source: article.source,
                source_path: article.source_path,
                published_at: article.published_at,
                last_reviewed_at: article.last_reviewed_at,
                links,
                ..block(id)
            }),
            other_keys,
            content,
        }
    }

    /// The file of a newer text, which lies beside that of its article.
    pub(super) fn draft_file(
        &self,
        path: &str,
        id: Uuid,
        text: Text,
        links: &[Link],
        images: &mut BTreeMap<String, Uuid>,
    ) -> ArticleFile {
        let (content, links) = self.connected(path, &text.content, links, images);
        ArticleFile {
            title: text.title,
            slug: String::new(),
            summary: text.summary,
            tags: Vec::new(),
            difficulty: None,
            target_roles: None,
            locale: None,
            status: None,
            review_due: None,
            helpcenter: Some(ArticleBlock { is_draft: true, links, ..block(id) }),
            other_keys: serde_json::Map::new(),
            content,
        }
    }

    /// The text with links and images as relative paths, and where those destinations lead that do not tell it themselves.
    fn connected(
        &self,
        path: &str,
        content: &str,
        links: &[Link],
        images: &mut BTreeMap<String, Uuid>,
    ) -> (String, BTreeMap<String, Destination>) {
        let written = destinations(content);
        let mut wanted: BTreeMap<String, String> = BTreeMap::new(); // as written → path and fragment in the tree
        let mut broken: BTreeSet<&str> = BTreeSet::new();
        for link in links.iter().filter(|link| written.contains(&link.destination)) {
            let target = link.article_id.and_then(|id| self.paths.get(&id));
            match (target, link.asset_id, &link.hash, &link.name) {
                (Some(target), ..) if link.fragment.is_empty() => {
                    wanted.insert(link.destination.clone(), target.clone());
                }
                (Some(target), ..) => {
                    wanted.insert(link.destination.clone(), format!("{target}#{}", link.fragment));
                }
                (None, Some(asset), Some(hash), Some(name)) => {
                    let image = format!("{IMAGES_FOLDER}/{}/{name}", &hash[..16]);
                    wanted.insert(link.destination.clone(), image.clone());
                    images.insert(image, asset);
                }
                _ => drop(broken.insert(&link.destination)),
            }
        }
        let new = wanted.iter().map(|(old, to)| (old.clone(), relative(path, to))).collect();
        let (content, left) = replaced(content, &new);
        let others = images_known(images);
        let mut said = BTreeMap::new();
        for destination in destinations(&content) {
            let seems = meaning(path, &destination, &self.known, &others, true);
            let to = match (left.contains(&destination), wanted.get(&destination)) {
                (true, Some(to)) => Destination::File(to.clone()),
                // A new destination tells where it leads, unless an old one that means something else is spelt like it.
                _ if new.values().any(|new| *new == destination) => continue,
                _ if broken.contains(destination.as_str()) => Destination::Broken,
                _ => Destination::Foreign,
            };
            let is_clear = match &to {
                Destination::File(_) => false,
                Destination::Broken => seems == Meaning::Nothing,
                Destination::Foreign => seems == Meaning::Itself,
            };
            if !is_clear {
                said.insert(destination, to);
            }
        }
        (content, said)
    }
}

fn images_known(images: &BTreeMap<String, Uuid>) -> KnownPaths {
    let mut known = KnownPaths::default();
    for path in images.keys() {
        known.insert(path, None);
    }
    known
}

fn destinations(content: &str) -> BTreeSet<String> {
    let found = markdown::destinations(content);
    found.links.into_iter().chain(found.images).collect()
}

fn block(id: Uuid) -> ArticleBlock {
    ArticleBlock {
        format: FORMAT,
        id,
        is_draft: false,
        translation_group: None,
        related: Vec::new(),
        former_slugs: Vec::new(),
        source: None,
        source_path: None,
        published_at: None,
        last_reviewed_at: None,
        links: BTreeMap::new(),
        other_keys: serde_json::Map::new(),
    }
}

/// Beside the file of its article.
pub(super) fn draft_path(path: &str) -> String {
    format!("{}.draft.md", path.strip_suffix(".md").unwrap_or(path))
}

fn folder(id: Uuid, categories: &HashMap<Uuid, &Category>) -> String {
    let mut parts = Vec::new();
    let mut at = categories.get(&id);
    while let Some(category) = at {
        parts.push(file_name(&category.slug, false));
        at = category.parent_id.and_then(|parent| categories.get(&parent));
    }
    parts.reverse();
    parts.join("/")
}

/// A slug as the name of a file without its ending, or of a folder. One that is too long, or that the import would pass over,
/// gets a name that is not.
fn file_name(slug: &str, is_file: bool) -> String {
    let is_safe = slug.parse::<Slug>().is_ok() && slug.len() <= MAX_NAME_BYTES;
    let name = if is_file { format!("{slug}.md") } else { slug.to_owned() };
    if is_safe && is_admitted(&name, is_file) {
        return slug.to_owned();
    }
    let hash = hexadecimal(&Sha256::digest(slug)[..4]);
    let start: String = slug
        .chars()
        .filter(|character| character.is_alphanumeric() || *character == '-')
        .scan(0, |bytes, character| {
            *bytes += character.len_utf8();
            (*bytes <= MAX_NAME_BYTES - 30).then_some(character)
        })
        .collect();
    format!("page-{}-{hash}", start.trim_matches('-'))
}

/// The way from a file to another one: a path and perhaps a fragment.
fn relative(from: &str, to: &str) -> String {
    let from: Vec<&str> = from.split('/').collect();
    let from = &from[..from.len() - 1];
    let to_parts: Vec<&str> = to.split('#').next().unwrap_or(to).split('/').collect();
    let shared = from.iter().zip(&to_parts[..to_parts.len() - 1]).take_while(|(a, b)| a == b).count();
    let up = "../".repeat(from.len() - shared);
    let skipped: usize = to_parts[..shared].iter().map(|part| part.len() + 1).sum();
    format!("{up}{}", &to[skipped..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_from_file_to_file() {
        for (from, to, expected) in [
            ("a.md", "b.md", "b.md"),
            ("a.md", "x/b.md#c", "x/b.md#c"),
            ("x/a.md", "b.md", "../b.md"),
            ("x/y/a.md", "x/z/b.md#c/d", "../z/b.md#c/d"),
            ("x/a.md", "x/y/b.md", "y/b.md"),
            ("x/a.md", "x/a.md", "a.md"),
        ] {
            assert_eq!(relative(from, to), expected);
        }
    }

    #[test]
    fn every_slug_gets_a_name_that_is_read_again() {
        assert_eq!((file_name("refund", true), file_name("日本", false)), ("refund".to_owned(), "日本".to_owned()));
        let long = "日本語".repeat(30);
        for slug in ["license", "license-2", long.as_str(), "../x", "_x", ".git", "a/b", "node_modules"] {
            for is_file in [true, false] {
                let name = file_name(slug, is_file);
                assert!(name.len() <= MAX_NAME_BYTES && !name.contains(['/', '\\']), "{name}");
                let with_ending = if is_file { format!("{name}.md") } else { name };
                assert!(is_admitted(&with_ending, is_file), "{with_ending}");
            }
        }
        assert_ne!(file_name(&format!("{long}x"), true), file_name(&format!("{long}y"), true));
    }
}
