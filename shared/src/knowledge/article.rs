//! What an article is made of.

use std::{fmt, str::FromStr};

use chrono::NaiveDate;
use uuid::Uuid;

use super::{excerpt::excerpt, slug::Slug};

/// How much a reader must know already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Difficulty {
    /// Nothing.
    #[default]
    Beginner,
    /// The basics.
    Intermediate,
    /// A lot.
    Advanced,
}

impl Difficulty {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Beginner => "BEGINNER",
            Self::Intermediate => "INTERMEDIATE",
            Self::Advanced => "ADVANCED",
        }
    }
}

impl FromStr for Difficulty {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_uppercase().as_str() {
            "BEGINNER" => Ok(Self::Beginner),
            "INTERMEDIATE" => Ok(Self::Intermediate),
            "ADVANCED" => Ok(Self::Advanced),
            _ => Err(format!("`{text}` is not a difficulty; use BEGINNER, INTERMEDIATE or ADVANCED")),
        }
    }
}

impl fmt::Display for Difficulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Where an article stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Being written.
    Draft,
    /// Waiting for an editor.
    Review,
    /// Shown to those of its target roles.
    Published,
    /// Out of use, kept.
    Archived,
}

impl Status {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Draft => "DRAFT",
            Self::Review => "REVIEW",
            Self::Published => "PUBLISHED",
            Self::Archived => "ARCHIVED",
        }
    }
}

impl FromStr for Status {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.to_uppercase().as_str() {
            "DRAFT" => Ok(Self::Draft),
            "REVIEW" => Ok(Self::Review),
            "PUBLISHED" => Ok(Self::Published),
            "ARCHIVED" => Ok(Self::Archived),
            _ => Err(format!("`{text}` is not a status; use DRAFT, REVIEW, PUBLISHED or ARCHIVED")),
        }
    }
}

/// What a revision holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArticleText {
    /// 1 to 200 characters.
    pub title: String,
    /// At most 500 characters; empty when the author wrote none.
    pub summary: String,
    /// Markdown.
    pub content: String,
}

impl ArticleText {
    /// What readers see in place of a summary when the author wrote none.
    pub(super) fn excerpt(&self) -> Option<String> {
        self.summary.trim().is_empty().then(|| excerpt(&self.content))
    }
}

/// What an article holds beside its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArticleProperties {
    /// The category it is in.
    pub category_id: Option<Uuid>,
    /// For whom it is written.
    pub difficulty: Difficulty,
    /// Who sees it: role names, or `all`.
    pub target_roles: Vec<String>,
    /// Language tag, such as `en` or `pt-BR`; decides how the text is stemmed.
    pub locale: String,
    /// Where it stands.
    pub status: Status,
    /// When somebody should read it again.
    pub review_due_on: Option<NaiveDate>,
    /// Names of its tags, sorted.
    pub tags: Vec<String>,
    /// The wanted address; another is made from it when it is taken.
    pub slug: Slug,
    /// Keys of an imported file's front matter that mean nothing to us, kept for export.
    pub front_matter: serde_json::Value,
}
