//! Cuts an article into passages: the unit that is embedded, searched and cited.
//!
//! A passage is a stretch of one section, small enough for the embedding model to read whole together with the
//! article's title and its headings, and ending where a thought ends. Cuts are chosen for the whole section at once
//! (the cheapest way to divide it), so that no passage is left with half a sentence or a few words.

mod divide;
mod sections;
mod tokens;

pub use tokens::estimate_tokens;

use divide::{Atom, divide};
use sections::{Group, groups};
use tokens::Estimator;

/// The most estimated tokens a passage's text may have.
pub const MAX_PASSAGE_TOKENS: usize = 230;

/// What passages are filled up to.
const TARGET_TOKENS: usize = 215;

/// Title, headings and text together; all-MiniLM-L6-v2 reads 256 word pieces, two of them its own.
const MODEL_TOKENS: usize = 246;

/// Passages do not shrink below this for a long title.
const MIN_TARGET_TOKENS: usize = 120;

/// A stretch of an article's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    /// Position in the article, from 0.
    pub ordinal: i32,
    /// The headings it stands under, outermost first; without the article's title.
    pub heading_path: Vec<String>,
    /// Id of its heading's element as [`render`](crate::markdown::render) writes it; none before the first heading.
    pub anchor: Option<String>,
    /// Plain text: list items and table rows on lines of their own, paragraphs separated by blank lines.
    pub text: String,
    /// [`estimate_tokens`] of `text`, judged by the whole article's language; at most [`MAX_PASSAGE_TOKENS`].
    pub token_count: i32,
}

impl Passage {
    /// The text with what it stands under in front, as it is embedded.
    #[must_use]
    pub fn contextual_text(&self, title: &str) -> String {
        let context = context(title, &self.heading_path);
        if self.text == title { context } else { format!("{context}\n{}", self.text) }
    }
}

/// Divides an article into passages. Each word of its visible text is in exactly one of them, in order; headings are
/// in the `heading_path`, or in the text where small sections were put together. An article without text gives one
/// passage that holds its title.
#[must_use]
pub fn passages(title: &str, content: &str) -> Vec<Passage> {
    let estimator = Estimator::for_language_of(content);
    let target = |path: &[String]| {
        let in_front = estimator.tokens(&context(title, path));
        MODEL_TOKENS.saturating_sub(in_front).clamp(MIN_TARGET_TOKENS, TARGET_TOKENS)
    };
    let mut passages = Vec::new();
    for Group { path, anchor, atoms, .. } in groups(content, estimator, target) {
        for part in divide(&atoms, target(&path)) {
            push_passage(&mut passages, &path, anchor.as_deref(), part, estimator);
        }
    }
    if passages.is_empty() {
        push_passage(&mut passages, &[], None, &[Atom::line(title.trim().to_owned(), estimator)], estimator);
    }
    passages
}

fn push_passage(
    passages: &mut Vec<Passage>,
    path: &[String],
    anchor: Option<&str>,
    atoms: &[Atom],
    estimator: Estimator,
) {
    let mut text = String::new();
    for (at, atom) in atoms.iter().enumerate() {
        if at > 0 {
            text.push_str(atom.glue);
        }
        text.push_str(&atom.text);
    }
    passages.push(Passage {
        ordinal: i32::try_from(passages.len()).unwrap_or(i32::MAX),
        heading_path: path.to_vec(),
        anchor: anchor.map(str::to_owned),
        token_count: i32::try_from(estimator.tokens(&text)).unwrap_or(i32::MAX),
        text,
    });
}

/// Title and headings. A paragraph that a line of hyphens turned into a heading is cut, or it would push the text out
/// of what the model reads.
fn context(title: &str, path: &[String]) -> String {
    const MAX_HEADING_CHARS: usize = 160;
    let mut context = title.trim().to_owned();
    for heading in path.iter().filter(|heading| !heading.eq_ignore_ascii_case(title.trim())) {
        context.push_str(" > ");
        context.extend(heading.chars().take(MAX_HEADING_CHARS));
    }
    context
}

#[cfg(test)]
mod tests;
