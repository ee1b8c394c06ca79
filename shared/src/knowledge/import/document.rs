//! One file of a documentation folder as an article.

use super::decode::{MAX_FILE_BYTES, decode};
use super::front_matter::{self, FrontMatter};
use super::hidden::strip_hidden;
use super::html;
use super::mdx::{self, Dialect};
use crate::knowledge::excerpt::{cut_at_sentence, cut_at_word, excerpt};
use crate::knowledge::export::format::{ArticleBlock, ArticleFile};
use crate::knowledge::slug::{Slug, slugify};
use crate::knowledge::{Difficulty, Locale, Status};
use crate::markdown::outline::first_heading;
use crate::markdown::{destinations, strip_invisible};

/// An article as its file describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Document {
    /// At most 200 characters.
    pub title: String,
    /// Two files may give the same one.
    pub slug_hint: Slug,
    /// Plain text, at most 500 characters; empty when the file has no text.
    pub summary: String,
    /// Markdown without the title.
    pub content: String,
    pub front_matter: FrontMatter,
    /// What an exported file says besides; its content is as it was stored.
    pub exported: Option<ArticleBlock>,
    /// Destinations of links as written, each once, in order.
    pub links: Vec<String>,
    /// Addresses of images as written, each once, in order.
    pub images: Vec<String>,
    /// What was changed to import the file, one sentence each.
    pub warnings: Vec<String>,
}

/// Why a file cannot be imported; the message is a sentence for its author.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum ParseError {
    #[error("the file is empty: there is nothing to import")]
    Empty,
    #[error("the file has {bytes} bytes; at most {} MB are imported", MAX_FILE_BYTES / (1024 * 1024))]
    TooLarge { bytes: usize },
    #[error("the file is not UTF-8 (or UTF-16 with a byte order mark): byte {offset} fits neither")]
    Encoding { offset: usize },
    #[error("the front matter cannot be read: {0}")]
    FrontMatter(String),
    #[error("the front matter key `{key}` is {found}; expected is {expected}")]
    Key { key: String, found: String, expected: String },
    #[error("the HTML is nested too deeply to be read")]
    Nesting,
    #[error("the HTML cannot be read: {0}")]
    Html(String),
    #[error("files of this type are not imported: {0}")]
    Format(String),
}

const MAX_TITLE_CHARS: usize = 200;
const MAX_SUMMARY_CHARS: usize = 500;

/// Exported texts may be longer: they were taken when they were written.
const MAX_EXPORTED_BYTES: usize = 4 * MAX_FILE_BYTES;

/// Reads a file. `relative_path` (with `/`) decides the format and, where the file gives none, slug and title.
///
/// # Errors
///
/// When the bytes are no text, the front matter is wrong, or there is nothing to import.
pub(super) fn parse(relative_path: &str, bytes: &[u8]) -> Result<Document, ParseError> {
    if bytes.len() <= MAX_EXPORTED_BYTES
        && let Some(file) = ArticleFile::read(bytes, front_matter::yaml)
    {
        return exported(relative_path, file.map_err(ParseError::FrontMatter)?);
    }
    let (text, mut warnings) = decode(bytes)?;
    let (mut front_matter, body) = front_matter::split(&text)?;
    let extension = relative_path.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase());
    let (content, page_title) = match extension.as_deref() {
        Some("md" | "markdown") => (mdx::to_markdown(&strip_hidden(body), Dialect::Markdown), None),
        Some("mdx") => (mdx::to_markdown(&strip_hidden(body), Dialect::Mdx), None),
        Some("html" | "htm") => {
            let page = html::read(body)?;
            front_matter.summary = front_matter.summary.or(page.description);
            front_matter.locale = front_matter.locale.or(page.language.filter(|tag| tag.parse::<Locale>().is_ok()));
            (strip_hidden(&page.markdown), page.title)
        }
        _ => return Err(ParseError::Format(relative_path.to_owned())),
    };
    let given_title = front_matter.title.as_deref().map(one_line).filter(|title| !title.is_empty());
    if content.trim().is_empty() && given_title.is_none() {
        return Err(ParseError::Empty);
    }
    let (title, content) = take_title(given_title.or(page_title), &content, relative_path);
    let title = cut_title(&title, &mut warnings);
    let slug_hint = slug_hint(front_matter.slug.as_deref(), relative_path, &title, &mut warnings);
    let summary = summary(front_matter.summary.as_deref(), &content, &mut warnings);
    if content.is_empty() {
        warnings.push("the file has a title but no text".to_owned());
    }
    if front_matter.target_roles.as_ref().is_some_and(Vec::is_empty) {
        warnings.push("`target_roles` is empty, so nobody can read the article".to_owned());
    }
    let found = destinations(&content);
    Ok(Document {
        title,
        slug_hint,
        summary,
        content,
        front_matter,
        exported: None,
        links: found.links,
        images: found.images,
        warnings,
    })
}

/// An article of an exported tree: nothing is made up, and nothing of the text is changed.
fn exported(relative_path: &str, file: ArticleFile) -> Result<Document, ParseError> {
    let wrong = |problem: String| ParseError::FrontMatter(problem);
    let front_matter = FrontMatter {
        tags: file.tags,
        difficulty: file.difficulty.map(|text| text.parse::<Difficulty>()).transpose().map_err(wrong)?,
        target_roles: file.target_roles,
        status: file.status.map(|text| text.parse::<Status>()).transpose().map_err(wrong)?,
        locale: file.locale.map(|tag| tag.parse::<Locale>().map(|_| tag)).transpose().map_err(wrong)?,
        review_due: file.review_due,
        extra: file.other_keys,
        ..FrontMatter::default()
    };
    let mut warnings = Vec::new();
    let slug = Some(file.slug.as_str()).filter(|slug| !slug.is_empty());
    let slug_hint = slug_hint(slug, relative_path, &file.title, &mut warnings);
    let found = destinations(&file.content);
    Ok(Document {
        title: file.title,
        slug_hint,
        summary: file.summary,
        content: file.content,
        front_matter,
        exported: file.helpcenter,
        links: found.links,
        images: found.images,
        warnings,
    })
}

/// The title, and the content without the heading that repeats it.
fn take_title(given: Option<String>, content: &str, relative_path: &str) -> (String, String) {
    let heading = first_heading(content).filter(|heading| !heading.text.is_empty());
    let title = given.or_else(|| heading.as_ref().map(|heading| heading.text.clone()));
    let Some(title) = title else { return (title_of_file(relative_path), tidy(content)) };
    let repeated = heading
        .filter(|heading| one_line(&heading.text).eq_ignore_ascii_case(&title))
        .and_then(|heading| heading.leading);
    match repeated {
        Some(lines) => (title, tidy(&format!("{}{}", &content[..lines.start], &content[lines.end..]))),
        None => (title, tidy(content)),
    }
}

/// No blank lines at either end, none with only spaces, never more than two in a row.
fn tidy(content: &str) -> String {
    let mut fences = crate::markdown::lines::Fences::default();
    let mut out = String::with_capacity(content.len());
    let mut blank_lines = 0;
    for line in content.lines() {
        let is_code = fences.is_code(line);
        if line.trim().is_empty() && !is_code {
            blank_lines += 1;
            continue;
        }
        if !out.is_empty() {
            out.extend(std::iter::repeat_n('\n', blank_lines.min(1)));
        }
        blank_lines = 0;
        out.push_str(line);
        out.push('\n');
    }
    out
}

fn cut_title(title: &str, warnings: &mut Vec<String>) -> String {
    let title = one_line(title);
    if title.chars().count() <= MAX_TITLE_CHARS {
        return title;
    }
    warnings.push(format!("the title was cut to {MAX_TITLE_CHARS} characters"));
    cut_at_word(&title, MAX_TITLE_CHARS)
}

fn slug_hint(given: Option<&str>, relative_path: &str, title: &str, warnings: &mut Vec<String>) -> Slug {
    let last_segment = |path: &str| path.trim_matches('/').rsplit('/').next().map(str::to_owned).unwrap_or_default();
    if let Some(given) = given {
        match slugify(&last_segment(given)) {
            Some(slug) => return slug,
            None if given.trim_matches('/').is_empty() => {}
            None => warnings.push(format!("the slug \"{given}\" has no letter or digit and was not used")),
        }
    }
    slugify(&name_of_file(relative_path)).or_else(|| slugify(title)).unwrap_or_else(Slug::fallback)
}

fn summary(given: Option<&str>, content: &str, warnings: &mut Vec<String>) -> String {
    let given = given.map(one_line).filter(|given| !given.is_empty());
    let Some(given) = given else { return excerpt(content) };
    if given.chars().count() <= MAX_SUMMARY_CHARS {
        return given;
    }
    warnings.push(format!("the summary was cut to {MAX_SUMMARY_CHARS} characters"));
    cut_at_sentence(&given, MAX_SUMMARY_CHARS)
}

/// The file's name without extension; for `index` and `README` the name of their folder.
fn name_of_file(relative_path: &str) -> String {
    let mut segments = relative_path.rsplit('/').filter(|segment| !segment.is_empty());
    let file = segments.next().unwrap_or_default();
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    match segments.next() {
        Some(folder) if ["index", "readme"].iter().any(|name| stem.eq_ignore_ascii_case(name)) => folder.to_owned(),
        _ => stem.to_owned(),
    }
}

fn title_of_file(relative_path: &str) -> String {
    let words: Vec<String> = name_of_file(relative_path)
        .split(|c: char| c.is_whitespace() || matches!(c, '-' | '_' | '.'))
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect();
    let mut title = words.join(" ");
    if let Some(first) = title.chars().next() {
        title.replace_range(..first.len_utf8(), &first.to_uppercase().collect::<String>());
    }
    if title.is_empty() { "Untitled".to_owned() } else { title }
}

fn one_line(text: &str) -> String {
    strip_invisible(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
