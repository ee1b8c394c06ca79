//! Markdown as this product understands it: CommonMark with GitHub's tables, strikethrough, task lists, autolinks and
//! footnotes, admonitions in the spellings of GitHub, Docusaurus and Python-Markdown, and raw HTML as far as the
//! sanitiser allows it.
//!
//! [`render`] is the only way from an author's text to HTML; its last step is an allow-list, so that nothing an author
//! writes can run in a reader's browser. [`text_blocks`] and [`plain_text`] read the same document without its markup.

mod admonition;
mod anchors;
mod destination;
mod dialect;
mod format;
mod invisible;
mod line_repairs;
pub(crate) mod lines;
pub(crate) mod outline;
pub(crate) mod raw_html;
#[cfg(test)]
mod render_tests;
mod rewrite;
mod sanitise;
#[cfg(test)]
mod sanitise_tests;
mod text;

pub use anchors::{ANCHOR_PREFIX, Heading, anchor_for_fragment};
pub use invisible::{is_suspect, strip_invisible};
pub use text::{TextBlock, text_blocks};

use std::cell::RefCell;
use std::collections::HashSet;

use comrak::nodes::{AstNode, NodeValue};
use comrak::{Arena, Options, parse_document};

use format::{Resolver, Use};

/// What to do with a destination an author wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkTarget {
    /// Leave it.
    Keep,
    /// Lead there instead. A fragment may be given bare (`/articles/x#some-heading`); it is made to fit the anchors.
    Replace(String),
    /// It leads nowhere: show the text, or an image's description, without a link.
    Broken,
}

/// An article as a reader gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// Sanitised; may be put into a page as it is.
    pub html: String,
    /// In reading order, for a table of contents.
    pub headings: Vec<Heading>,
}

/// Renders Markdown. `links` is called with every link and image destination as its author wrote it.
///
/// The page shows the article's title as its one `h1`, so a document that uses level 1 itself has all its headings
/// moved one level down.
#[must_use]
pub fn render(content: &str, links: &dyn Fn(&str) -> LinkTarget) -> Rendered {
    with_document(content, |root| {
        make_room_for_title(root);
        let mut headings = anchors::collect(root);
        let html = format::to_html(root, &headings, &Resolver { links: &|written, _| links(written) });
        headings.retain(|heading| !heading.text.is_empty());
        Rendered { html: sanitise::sanitise(&html), headings }
    })
}

/// A text as it is written in a document to be shown as it is, as part of a line.
#[must_use]
pub fn escape(text: &str) -> String {
    comrak::escape_commonmark_inline(text)
}

/// The words of a document on plain lines, for previews and descriptions.
#[must_use]
pub fn plain_text(content: &str) -> String {
    let lines: Vec<String> = text_blocks(content)
        .into_iter()
        .map(|block| match block {
            TextBlock::Heading(heading) => heading.text,
            TextBlock::Paragraph(text) | TextBlock::Item(text) | TextBlock::Row(text) | TextBlock::Code(text) => text,
        })
        .filter(|line| !line.is_empty())
        .collect();
    lines.join("\n")
}

/// Where a document leads.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destinations {
    /// Of links, each once, in order.
    pub links: Vec<String>,
    /// Of images, each once, in order.
    pub images: Vec<String>,
}

/// The destinations of a document's links and images, each once, in order, as written.
#[must_use]
pub fn destinations(content: &str) -> Destinations {
    let found: RefCell<(HashSet<(String, bool)>, Destinations)> = RefCell::default();
    with_document(content, |root| {
        let record = |written: &str, used_as: Use| {
            let (seen, in_order) = &mut *found.borrow_mut();
            if !written.is_empty() && seen.insert((written.to_owned(), used_as == Use::Link)) {
                let list = if used_as == Use::Link { &mut in_order.links } else { &mut in_order.images };
                list.push(written.to_owned());
            }
            LinkTarget::Keep
        };
        format::to_html(root, &[], &Resolver { links: &record });
    });
    found.into_inner().1
}

/// Parses a document after bringing its dialect to the one the parser knows.
pub(crate) fn with_document<R>(content: &str, read: impl for<'a> FnOnce(&'a AstNode<'a>) -> R) -> R {
    let content = lines::limit_nesting(content);
    let content = dialect::normalise(&content);
    let arena = Arena::new();
    let root = parse_document(&arena, &content, &options());
    read(root)
}

pub(crate) fn options() -> Options<'static> {
    let mut options = Options::default();
    options.extension.strikethrough = true;
    options.extension.table = true;
    options.extension.tasklist = true;
    options.extension.autolink = true;
    options.extension.footnotes = true;
    options.extension.ofm_callouts = true;
    options.extension.cjk_friendly_emphasis = true;
    options.render.tasklist_classes = true;
    // Raw HTML passes the formatter because the sanitiser judges all of it afterwards.
    options.render.r#unsafe = true;
    options
}

fn make_room_for_title<'a>(root: &'a AstNode<'a>) {
    let has_title = root
        .descendants()
        .any(|node| matches!(node.data.borrow().value, NodeValue::Heading(ref heading) if heading.level == 1));
    if !has_title {
        return;
    }
    for node in root.descendants() {
        if let NodeValue::Heading(ref mut heading) = node.data.borrow_mut().value {
            heading.level = (heading.level + 1).min(6);
        }
    }
}
