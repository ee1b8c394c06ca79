//! From MDX to Markdown: the text of a page without the program around it.
//!
//! `import` and `export` statements, expressions and components without content go; components with content leave
//! their content, with their label or as an admonition where they were one. Documentation written for Docusaurus has
//! all this in `.md` files too, so plain Markdown is treated the same way wherever it clearly is MDX. Code, inline or in
//! blocks, is never touched.

mod edits;
mod scan;
mod tag;
#[cfg(test)]
mod tests;
mod tidy;
mod tree;

use std::ops::Range;

use tag::Tag;

/// How a file is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// Every brace and every tag means something.
    Mdx,
    /// Only what cannot be anything else is MDX.
    Markdown,
}

/// The document as Markdown with plain HTML.
#[must_use]
pub(super) fn to_markdown(text: &str, dialect: Dialect) -> String {
    let findings = match dialect {
        Dialect::Mdx => tree::find(text).unwrap_or_else(|| scan::find(text, dialect)),
        Dialect::Markdown => scan::find(text, dialect),
    };
    let markdown = edits::apply(text, &findings, dialect);
    tidy::headings(&tidy::empty_wrappers(&markdown))
}

/// What of a document is program, by byte ranges of its text.
#[derive(Debug, Default)]
struct Findings {
    /// Statements, comments and expressions, with the text that stands for them.
    expressions: Vec<(Range<usize>, String)>,
    elements: Vec<Element>,
}

#[derive(Debug)]
struct Element {
    tag: Tag,
    open: Range<usize>,
    /// None for `<Element />`.
    close: Option<Range<usize>>,
}

/// The text an expression evaluates to when it is a plain string, as in `{' '}`.
fn literal(expression: &str) -> Option<&str> {
    let inner = expression.trim();
    let quote = inner.chars().next().filter(|quote| matches!(quote, '"' | '\'' | '`'))?;
    let body = inner.strip_prefix(quote)?.strip_suffix(quote)?;
    (!body.contains([quote, '\\', '$'])).then_some(body)
}
