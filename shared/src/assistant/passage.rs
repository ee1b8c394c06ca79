//! What an answer may rest on.

use uuid::Uuid;

use super::event::Citation;
use crate::search::{Found, FoundPassage};

/// A passage, or several that follow each other, under one marker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Passage {
    /// Names it in prompts and answers, counted from 1.
    pub(super) marker: u16,
    /// The article.
    pub(super) article_id: Uuid,
    /// Its revision that readers see.
    pub(super) revision_id: Uuid,
    /// The first of the article's passages that it holds, …
    pub(super) first_ordinal: i32,
    /// … and the last.
    pub(super) last_ordinal: i32,
    /// The article's address.
    pub(super) slug: String,
    /// Its title.
    pub(super) title: String,
    /// Its language.
    pub(super) locale: String,
    /// The headings that it stands under.
    pub(super) heading_path: Vec<String>,
    /// The last of them, as a fragment.
    pub(super) anchor: Option<String>,
    /// Plain text, with items of lists, rows and code on lines of their own.
    pub(super) text: String,
    /// Cosine of the question with the nearest passage that it holds. `None`: not measured.
    pub(super) similarity: Option<f64>,
    /// The article's, 0 to 1.
    pub(super) score: f64,
}

impl Passage {
    /// What was found, each passage by itself, with markers from 1.
    pub(super) fn of(found: &Found) -> Vec<Self> {
        (1..).zip(&found.passages).map(|(marker, passage)| Self { marker, ..Self::from((found, passage)) }).collect()
    }

    /// What its sentences are about, as it is put in front of them.
    pub(super) fn context(&self) -> String {
        match self.heading_path.last().filter(|heading| **heading != self.title) {
            Some(heading) => format!("{} > {heading}", self.title),
            None => self.title.clone(),
        }
    }

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

impl From<(&Found, &FoundPassage)> for Passage {
    /// Without a marker.
    fn from((found, passage): (&Found, &FoundPassage)) -> Self {
        let candidate = found.candidates.iter().find(|candidate| candidate.article_id == passage.article_id);
        Self {
            marker: 0,
            article_id: passage.article_id,
            revision_id: passage.revision_id,
            first_ordinal: passage.ordinal,
            last_ordinal: passage.ordinal,
            slug: passage.slug.clone(),
            title: passage.title.clone(),
            locale: passage.locale.clone(),
            heading_path: passage.heading_path.clone(),
            anchor: passage.anchor.clone(),
            text: passage.text.clone(),
            similarity: passage.similarity,
            score: candidate.map_or(0.0, |candidate| candidate.score),
        }
    }
}
