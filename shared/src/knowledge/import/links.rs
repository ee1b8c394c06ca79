//! Where a link in one file of a documentation folder leads.
//!
//! Authors write links the way their tool resolves them: relative with or without extension, absolute under whatever
//! prefix the site had (`/docs/…`, `/help/…`), to a folder or to its index file. All these find the file they mean.

use std::collections::HashMap;

use percent_encoding::percent_decode_str;

/// What a destination turned out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::knowledge) enum Resolution {
    /// A web address, mail address or phone number.
    External,
    /// A place in the same article: the fragment without `#`, as written.
    Anchor(String),
    /// Another file of the folder, with the fragment if there is one.
    File { path: String, fragment: Option<String> },
    /// Nothing that is there.
    Broken,
}

/// What a destination means in a folder of articles and other files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::knowledge) enum Meaning {
    /// What it says: another site, or a place in the same article.
    Itself,
    /// An article: its file, and the part after `#` or nothing.
    Article { path: String, fragment: String },
    /// A file that is no article.
    Other(String),
    /// Nothing that is there.
    Nothing,
}

/// The files a link can lead to.
#[derive(Debug, Clone, Default)]
pub(in crate::knowledge) struct KnownPaths {
    /// Lower-case path → path as it is.
    by_path: HashMap<String, String>,
    /// File name without extension, or slug, in lower case → path; None when several files share it.
    by_name: HashMap<String, Option<String>>,
}

const EXTENSIONS: [&str; 5] = [".md", ".mdx", ".markdown", ".html", ".htm"];
const INDEX_NAMES: [&str; 2] = ["index", "readme"];

impl KnownPaths {
    /// Adds a file by its path relative to the folder, with the slug it has if that differs from its name.
    pub(in crate::knowledge) fn insert(&mut self, relative_path: &str, slug: Option<&str>) {
        let key = relative_path.to_lowercase();
        let name = key.rsplit('/').next().unwrap_or_default();
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let names = [Some(stem.to_owned()), slug.map(str::to_lowercase).filter(|slug| slug != stem)];
        for name in names.into_iter().flatten() {
            self.by_name
                .entry(name)
                .and_modify(|path| *path = path.take().filter(|path| path == relative_path))
                .or_insert_with(|| Some(relative_path.to_owned()));
        }
        self.by_path.insert(key, relative_path.to_owned());
    }

    /// Whether there is a file with exactly this path.
    pub(super) fn has(&self, path: &str) -> bool {
        self.by_path.get(&path.to_lowercase()).is_some_and(|known| known == path)
    }

    fn find(&self, segments: &[&str]) -> Option<&str> {
        let path = segments.join("/").to_lowercase();
        if let Some(found) = self.by_path.get(&path).filter(|_| !path.is_empty()) {
            return Some(found);
        }
        let stem = EXTENSIONS.iter().find_map(|extension| path.strip_suffix(extension)).unwrap_or(&path);
        let as_file = EXTENSIONS.iter().filter(|_| !stem.is_empty()).map(|extension| format!("{stem}{extension}"));
        let folder = if stem.is_empty() { String::new() } else { format!("{stem}/") };
        let as_folder = INDEX_NAMES
            .iter()
            .flat_map(|name| EXTENSIONS.iter().map(move |extension| (name, extension)))
            .map(|(name, extension)| format!("{folder}{name}{extension}"));
        as_file.chain(as_folder).find_map(|candidate| self.by_path.get(&candidate)).map(String::as_str)
    }
}

impl<T> From<&HashMap<String, T>> for KnownPaths {
    fn from(files: &HashMap<String, T>) -> Self {
        let mut known = KnownPaths::default();
        for path in files.keys() {
            known.insert(path, None);
        }
        known
    }
}

/// What a destination means that is written in a file. In an exported tree other files are named by their exact paths.
pub(in crate::knowledge) fn meaning(
    from_relative_path: &str,
    destination: &str,
    articles: &KnownPaths,
    others: &KnownPaths,
    is_exported: bool,
) -> Meaning {
    let other = || other_file(from_relative_path, destination.trim(), others, is_exported).map(Meaning::Other);
    if is_named_like_an_image(destination)
        && let Some(found) = other()
    {
        return found;
    }
    match resolve(from_relative_path, destination, articles) {
        Resolution::External | Resolution::Anchor(_) => Meaning::Itself,
        Resolution::File { path, fragment } => Meaning::Article { path, fragment: fragment.unwrap_or_default() },
        Resolution::Broken => other().unwrap_or(Meaning::Nothing),
    }
}

fn is_named_like_an_image(destination: &str) -> bool {
    let path = destination.split(['?', '#']).next().unwrap_or_default().trim_end().to_ascii_lowercase();
    [".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg"].iter().any(|ending| path.ends_with(ending))
}

/// Sites serve such files under prefixes of their own (`/img/…` from `static/img/…`), so an absolute path, or one that is
/// not there, is looked for by ever shorter ends of it and then by the only file that it is the end of.
fn other_file(from: &str, destination: &str, others: &KnownPaths, is_exported: bool) -> Option<String> {
    if destination.starts_with("//") || scheme_of(destination).is_some() {
        return None;
    }
    let path = destination.split(['?', '#']).next().filter(|path| !path.is_empty())?;
    let path = percent_decode_str(path).decode_utf8().ok()?.replace('\\', "/");
    let folder: Vec<&str> = from.split('/').collect();
    let folder = &folder[..folder.len().saturating_sub(1)];
    let exact = |segments: &[&str]| others.by_path.get(&segments.join("/").to_lowercase()).cloned();
    let relative = if path.starts_with('/') { None } else { normalised(folder, &path) };
    if let Some(found) = relative.and_then(|segments| exact(&segments)) {
        return Some(found);
    }
    if is_exported {
        return None;
    }
    let segments = normalised(&[], path.trim_start_matches(['.', '/']))?;
    let ends = (0..segments.len()).map(|start| &segments[start..]);
    let near = ends.flat_map(|end| (0..=folder.len()).map(move |depth| [&folder[..depth], end].concat()));
    near.into_iter().find_map(|candidate| exact(&candidate)).or_else(|| {
        let end = format!("/{}", segments.join("/").to_lowercase());
        let mut found = others.by_path.iter().filter(|(path, _)| path.ends_with(&end)).map(|(_, path)| path);
        found.next().filter(|_| found.next().is_none()).cloned()
    })
}

/// Resolves a destination as written in the file `from_relative_path`. Never leads out of the folder.
#[must_use]
pub(super) fn resolve(from_relative_path: &str, destination: &str, known: &KnownPaths) -> Resolution {
    let destination = destination.trim();
    if let Some(fragment) = destination.strip_prefix('#') {
        return if fragment.is_empty() { Resolution::Broken } else { Resolution::Anchor(fragment.to_owned()) };
    }
    if destination.starts_with("//") {
        return Resolution::External;
    }
    if let Some(scheme) = scheme_of(destination) {
        let is_known = ["http", "https", "mailto", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
        return if is_known { Resolution::External } else { Resolution::Broken };
    }
    let (address, fragment) = destination.split_once('#').unwrap_or((destination, ""));
    let (path, _query) = address.split_once('?').unwrap_or((address, ""));
    let Ok(path) = percent_decode_str(path).decode_utf8() else { return Resolution::Broken };
    let path = path.replace('\\', "/");
    if path.is_empty() {
        return Resolution::Broken;
    }
    let folder: Vec<&str> = from_relative_path.split('/').collect();
    let folder = &folder[..folder.len().saturating_sub(1)];
    match find(folder, &path, known) {
        Some(found) => {
            let fragment = (!fragment.is_empty()).then(|| fragment.to_owned());
            Resolution::File { path: found.to_owned(), fragment }
        }
        None => Resolution::Broken,
    }
}

fn find<'k>(folder: &[&str], path: &str, known: &'k KnownPaths) -> Option<&'k str> {
    if let Some(absolute) = path.strip_prefix('/') {
        let segments = normalised(&[], absolute)?;
        return search(folder, &segments, known).or_else(|| by_name(&segments, known));
    }
    if let Some(found) = normalised(folder, path).and_then(|segments| known.find(&segments)) {
        return Some(found);
    }
    // Some tools resolve against the site's root, or against the address of the page, which ends one level deeper.
    let segments = normalised(&[], path.trim_start_matches("./").trim_start_matches("../"))?;
    search(folder, &segments, known)
}

/// Tries the path and ever shorter ends of it (the site's prefix is unknown) in every folder from the root down.
fn search<'k>(folder: &[&str], segments: &[&str], known: &'k KnownPaths) -> Option<&'k str> {
    let ends = (0..segments.len().max(1)).map(|start| &segments[start.min(segments.len())..]);
    ends.flat_map(|end| (0..=folder.len()).map(move |depth| [&folder[..depth], end].concat()))
        .find_map(|candidate| known.find(&candidate))
}

fn by_name<'k>(segments: &[&str], known: &'k KnownPaths) -> Option<&'k str> {
    let name = segments.last()?.to_lowercase();
    let stem = EXTENSIONS.iter().find_map(|extension| name.strip_suffix(extension)).unwrap_or(&name);
    known.by_name.get(stem)?.as_deref()
}

/// The path's segments behind those of the folder, without `.` and `..`; none when it leads out of the root.
fn normalised<'p>(folder: &[&'p str], path: &'p str) -> Option<Vec<&'p str>> {
    let mut segments = folder.to_vec();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(segments.pop()?),
            name => segments.push(name),
        }
    }
    Some(segments)
}

fn scheme_of(destination: &str) -> Option<&str> {
    let (scheme, _) = destination.split_once(':')?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    is_scheme.then_some(scheme)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn known() -> KnownPaths {
        let mut known = KnownPaths::default();
        for path in [
            "docs/intro.md",
            "docs/guides/index.md",
            "docs/guides/set up.md",
            "docs/guides/Deploy.mdx",
            "docs/api/README.md",
            "docs/api/errors.html",
            "docs/billing/invoices.md",
            "readme.md",
            "docs/api/intro.md",
        ] {
            known.insert(path, None);
        }
        known.insert("docs/old/file-17.md", Some("two-factor-login"));
        known
    }

    fn file(from: &str, destination: &str) -> String {
        match resolve(from, destination, &known()) {
            Resolution::File { path, fragment: None } => path,
            Resolution::File { path, fragment: Some(fragment) } => format!("{path} # {fragment}"),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn relative_links_are_found() {
        for (from, destination, expected) in [
            ("docs/guides/index.md", "../intro.md", "docs/intro.md"),
            ("docs/guides/index.md", "./deploy", "docs/guides/Deploy.mdx"),
            ("docs/guides/index.md", "Deploy.md#step-2", "docs/guides/Deploy.mdx # step-2"),
            ("docs/guides/index.md", "set%20up.md?x=1#a%20b", "docs/guides/set up.md # a%20b"),
            ("docs/guides/index.md", "..\\intro.md", "docs/intro.md"),
            ("docs/intro.md", "guides", "docs/guides/index.md"),
            ("docs/intro.md", "guides/", "docs/guides/index.md"),
            ("docs/intro.md", "api/#codes", "docs/api/README.md # codes"),
            ("docs/intro.md", "api/errors.md", "docs/api/errors.html"),
            ("docs/intro.md", "../", "readme.md"),
        ] {
            assert_eq!(file(from, destination), expected, "{destination}");
        }
    }

    #[test]
    fn absolute_links_are_found_whatever_the_prefix() {
        for (destination, expected) in [
            ("/docs/intro", "docs/intro.md"),
            ("/help/intro", "docs/intro.md"),
            ("/en/help/billing/invoices#pay", "docs/billing/invoices.md # pay"),
            ("/invoices/", "docs/billing/invoices.md"),
            ("/help/two-factor-login", "docs/old/file-17.md"),
            ("/docs/guides/index.html", "docs/guides/index.md"),
        ] {
            assert_eq!(file("docs/guides/index.md", destination), expected, "{destination}");
        }
    }

    #[test]
    fn links_written_from_the_root_or_one_level_off_are_found() {
        assert_eq!(file("docs/guides/index.md", "docs/intro.md"), "docs/intro.md");
        assert_eq!(file("docs/intro.md", "../billing/invoices"), "docs/billing/invoices.md");
        assert_eq!(file("docs/guides/index.md", "billing/invoices.md"), "docs/billing/invoices.md");
        assert_eq!(file("docs/api/deep/x.md", "errors.md"), "docs/api/errors.html");
    }

    #[test]
    fn a_name_that_several_files_share_leads_nowhere() {
        let mut known = KnownPaths::default();
        known.insert("a/b/same.md", None);
        known.insert("c/d/same.md", None);
        assert_eq!(resolve("e/f.md", "/help/same", &known), Resolution::Broken);
    }

    #[test]
    fn other_destinations_are_told_apart() {
        for (destination, expected) in [
            ("https://a.example/b.md", Resolution::External),
            ("//a.example", Resolution::External),
            ("mailto:a@b.example", Resolution::External),
            ("#part", Resolution::Anchor("part".to_owned())),
            ("#", Resolution::Broken),
            ("", Resolution::Broken),
            ("?q=1", Resolution::Broken),
            ("javascript:alert(1)", Resolution::Broken),
            ("data:text/html,x", Resolution::Broken),
            ("missing.md", Resolution::Broken),
            ("/static/logo.png", Resolution::Broken),
            ("%ff.md", Resolution::Broken),
        ] {
            assert_eq!(resolve("docs/intro.md", destination, &known()), expected, "{destination}");
        }
    }

    #[test]
    fn nothing_outside_the_folder_is_found() {
        for destination in
            ["../../../etc/passwd", "../../readme.md/../../x", "/../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd"]
        {
            assert_eq!(resolve("docs/intro.md", destination, &known()), Resolution::Broken, "{destination}");
        }
    }

    #[test]
    fn other_files_are_found_where_sites_serve_them_from() {
        let (mut articles, mut others) = (KnownPaths::default(), KnownPaths::default());
        articles.insert("docs/guides/logo.md", None);
        for path in [
            "docs/guides/shot.png",
            "docs/img/logo.png",
            "static/pics/a b.svg",
            "docs/one/x.gif",
            "docs/two/x.gif",
            "docs/LICENSE",
        ] {
            others.insert(path, None);
        }
        let found = |destination, is_exported| match meaning(
            "docs/guides/a.md",
            destination,
            &articles,
            &others,
            is_exported,
        ) {
            Meaning::Other(path) | Meaning::Article { path, .. } => path,
            other => format!("{other:?}"),
        };
        for (destination, expected, in_exported) in [
            ("shot.png", "docs/guides/shot.png", "docs/guides/shot.png"),
            ("./Shot.PNG?raw=true#x", "docs/guides/shot.png", "docs/guides/shot.png"),
            ("../img/logo.png", "docs/img/logo.png", "docs/img/logo.png"),
            ("/img/logo.png", "docs/img/logo.png", "Nothing"),
            ("/pics/a%20b.svg", "static/pics/a b.svg", "Nothing"),
            ("/x.gif", "Nothing", "Nothing"),
            ("logo", "docs/guides/logo.md", "docs/guides/logo.md"),
            ("../LICENSE", "docs/LICENSE", "docs/LICENSE"),
            ("../../../docs/img/logo.png", "docs/img/logo.png", "Nothing"),
            ("https://a.example/shot.png", "Itself", "Itself"),
            ("//a.example/shot.png", "Itself", "Itself"),
            ("data:image/png;base64,xx.png", "Nothing", "Nothing"),
        ] {
            assert_eq!(found(destination, false), expected, "{destination}");
            assert_eq!(found(destination, true), in_exported, "{destination}");
        }
    }

    proptest! {
        #[test]
        fn what_is_found_is_known(from in "[a-z/.]{0,20}", destination in "([a-z./#%?\\\\:]|docs/|intro|guides|\\PC){0,12}") {
            if let Resolution::File { path, .. } = resolve(&from, &destination, &known()) {
                prop_assert!(known().by_path.values().any(|known| *known == path));
            }
        }
    }
}
