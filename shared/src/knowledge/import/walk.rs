//! The files of a documentation folder that are articles.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use crate::knowledge::export::format::{CATEGORY_FILE, TAGS_FILE};

/// What a folder holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Walk {
    /// Paths relative to the folder, with `/`, sorted.
    pub files: Vec<String>,
    /// What authors say about folders: paths of `_category_.yml` files, outer folders first.
    pub categories: Vec<String>,
    /// Files that are no articles and may be images that articles show, sorted.
    pub others: Vec<String>,
    /// The names of tags: the file of an exported tree.
    pub tags: Option<String>,
    /// How many entries were passed over, by reason. A folder that is passed over counts as one entry.
    pub skipped: BTreeMap<Skip, usize>,
}

/// Why an entry is no article.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Skip {
    /// Its name begins with a dot.
    Hidden,
    /// Its name begins with an underscore: a part of other pages.
    Partial,
    /// `node_modules`.
    Dependencies,
    /// A licence text.
    License,
    /// Not Markdown, MDX or HTML.
    Extension,
    /// A symbolic link; following it could lead out of the folder.
    Link,
    /// Its name is not UTF-8.
    Name,
}

impl fmt::Display for Skip {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Skip::Hidden => "hidden",
            Skip::Partial => "part of other pages (name begins with _)",
            Skip::Dependencies => "node_modules",
            Skip::License => "licence text",
            Skip::Extension => "other type of file",
            Skip::Link => "symbolic link",
            Skip::Name => "name is not UTF-8",
        })
    }
}

/// A folder that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// There is no folder at the path.
    #[error("{} is not a folder", .0.display())]
    NotAFolder(PathBuf),
    /// The system refused.
    #[error("a folder cannot be read: {0}")]
    Read(#[from] walkdir::Error),
}

/// Lists the articles in a folder and everything below it.
///
/// # Errors
///
/// When the folder, or one below it, cannot be read.
pub(super) fn source_files(root: &Path) -> Result<Walk, WalkError> {
    if !root.is_dir() {
        return Err(WalkError::NotAFolder(root.to_owned()));
    }
    let mut walk = Walk::default();
    let mut entries = WalkDir::new(root).min_depth(1).follow_links(false).into_iter();
    while let Some(entry) = entries.next() {
        let entry = entry?;
        match classify(&entry) {
            Ok(()) if entry.file_type().is_file() => walk.files.extend(relative_path(root, &entry)),
            Ok(()) => {}
            Err(Skip::Extension) => walk.others.extend(relative_path(root, &entry)),
            Err(Skip::Partial) if is_category_file(&entry) => walk.categories.extend(relative_path(root, &entry)),
            Err(Skip::Partial) if entry.depth() == 1 && entry.file_name() == TAGS_FILE => {
                walk.tags = relative_path(root, &entry);
            }
            Err(reason) => {
                *walk.skipped.entry(reason).or_default() += 1;
                if entry.file_type().is_dir() {
                    entries.skip_current_dir();
                }
            }
        }
    }
    walk.files.sort_unstable();
    walk.others.sort_unstable();
    walk.categories.sort_unstable_by_key(|path| (path.matches('/').count(), path.clone()));
    Ok(walk)
}

/// `_category_.yml`, also as Docusaurus writes it.
fn is_category_file(entry: &DirEntry) -> bool {
    [CATEGORY_FILE, "_category_.yaml", "_category_.json"].iter().any(|name| entry.file_name() == *name)
}

fn classify(entry: &DirEntry) -> Result<(), Skip> {
    let name = entry.file_name().to_str().ok_or(Skip::Name)?;
    if entry.file_type().is_symlink() {
        return Err(Skip::Link);
    }
    admits_name(name, entry.file_type().is_file())
}

/// Whether a file of this name becomes an article, or the files of such a folder do.
pub(in crate::knowledge) fn is_admitted(name: &str, is_file: bool) -> bool {
    admits_name(name, is_file).is_ok()
}

fn admits_name(name: &str, is_file: bool) -> Result<(), Skip> {
    if name.starts_with('.') {
        return Err(Skip::Hidden);
    }
    if !is_file {
        return if name == "node_modules" { Err(Skip::Dependencies) } else { Ok(()) };
    }
    if name.starts_with('_') {
        return Err(Skip::Partial);
    }
    let upper = name.to_ascii_uppercase();
    let stem = upper.split(['.', '-', '_']).next().unwrap_or_default();
    if matches!(stem, "LICENSE" | "LICENCE" | "LICENSES" | "LICENCES") && name.starts_with('L') {
        return Err(Skip::License);
    }
    let extension = upper.rsplit_once('.').map(|(_, extension)| extension);
    match extension {
        Some("MD" | "MARKDOWN" | "MDX" | "HTML" | "HTM") => Ok(()),
        _ => Err(Skip::Extension),
    }
}

fn relative_path(root: &Path, entry: &DirEntry) -> Option<String> {
    let relative = entry.path().strip_prefix(root).ok()?;
    let segments: Option<Vec<&str>> = relative.components().map(|segment| segment.as_os_str().to_str()).collect();
    segments.map(|segments| segments.join("/"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn articles_are_listed_and_the_rest_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let root = folder.path();
        for file in [
            "b.md",
            "a/c.MDX",
            "a/d.html",
            "a-b/e.markdown",
            "f.htm",
            ".g.md",
            ".git/h.md",
            "_i.md",
            "_parts/j.md",
            "node_modules/k/l.md",
            "LICENSE",
            "LICENSE.md",
            "LICENCE-CODE.md",
            "license-keys.md",
            "m.png",
            "n",
            "_category_.yml",
            "a/_category_.json",
            "a/_tags_.yml",
            "_tags_.yml",
        ] {
            let path = root.join(file);
            fs::create_dir_all(path.parent().expect("a parent")).expect("created");
            fs::write(path, "x").expect("written");
        }
        let walk = source_files(root).expect("readable");
        assert_eq!(
            walk.files,
            ["_parts/j.md", "a-b/e.markdown", "a/c.MDX", "a/d.html", "b.md", "f.htm", "license-keys.md"]
        );
        let skipped: Vec<_> = walk.skipped.into_iter().collect();
        assert_eq!(skipped, [(Skip::Hidden, 2), (Skip::Partial, 2), (Skip::Dependencies, 1), (Skip::License, 3)]);
        assert_eq!(walk.others, ["m.png", "n"]);
        assert_eq!(walk.categories, ["_category_.yml", "a/_category_.json"]);
        assert_eq!(walk.tags.as_deref(), Some("_tags_.yml"));
    }

    #[cfg(unix)]
    #[test]
    fn symbolic_links_are_not_followed() {
        let outside = tempfile::tempdir().expect("a folder");
        fs::write(outside.path().join("secret.md"), "x").expect("written");
        let folder = tempfile::tempdir().expect("a folder");
        std::os::unix::fs::symlink(outside.path(), folder.path().join("in")).expect("linked");
        std::os::unix::fs::symlink(outside.path().join("secret.md"), folder.path().join("a.md")).expect("linked");
        let walk = source_files(folder.path()).expect("readable");
        assert_eq!((walk.files.len(), walk.skipped.get(&Skip::Link)), (0, Some(&2)));
    }

    #[test]
    fn a_missing_folder_is_an_error() {
        assert!(
            source_files(Path::new("/nowhere/at/all"))
                .is_err_and(|error| error.to_string().contains("/nowhere/at/all"))
        );
    }
}
