//! What an answer may rest on.

use uuid::Uuid;

use super::event::Citation;

/// A passage, or several that follow each other, under one marker.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// Names it in prompts and answers, counted from 1.
    pub marker: u16,
    /// The article.
    pub article_id: Uuid,
    /// Its revision that readers see.
    pub revision_id: Uuid,
    /// The first of the article's passages that it holds, …
    pub first_ordinal: i32,
    /// … and the last.
    pub last_ordinal: i32,
    /// The article's address.
    pub slug: String,
    /// Its title.
    pub title: String,
    /// Its language.
    pub locale: String,
    /// The headings that it stands under.
    pub heading_path: Vec<String>,
    /// The last of them, as a fragment.
    pub anchor: Option<String>,
    /// Plain text, with items of lists, rows and code on lines of their own.
    pub text: String,
    /// Cosine of the question with the nearest passage that it holds. `None`: not measured.
    pub similarity: Option<f64>,
    /// The article's, 0 to 1.
    pub score: f64,
}

impl Passage {
    /// As somebody is told who reads an answer that rests on it.
    pub(super) fn citation(&self, quotes: Vec<String>) -> Citation {
        Citation {
            marker: self.marker,
            article_id: self.article_id,
            slug: self.slug.clone(),
            title: self.title.clone(),
            heading_path: self.heading_path.clone(),
            anchor: self.anchor.clone(),
            quotes,
        }
    }
}
