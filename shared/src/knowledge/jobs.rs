//! Job payloads of the knowledge base.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::queue::{Job, Priority, Queue};

/// Attempts of jobs that need the embedding model: enough for three hours in which a remote one is away.
const EMBEDDING_ATTEMPTS: u32 = 30;

/// Computes the missing embeddings of a published revision's passages: by the model that serves, and by the one that is to.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct EmbedArticle {
    /// The article.
    pub article_id: Uuid,
    /// The revision whose passages are meant. When readers see another one by now, there is nothing to do.
    pub revision_id: Uuid,
}

impl Job for EmbedArticle {
    const NAME: &'static str = "embed_article";
    const QUEUE: Queue = Queue::Embeddings;
    const TIMEOUT: Duration = Duration::from_secs(600);
    const MAX_ATTEMPTS: u32 = EMBEDDING_ATTEMPTS;

    fn unique_key(&self) -> Option<String> {
        Some(self.revision_id.to_string())
    }
}

/// Computes the embeddings of a published revision's passages by another model than the one whose vectors serve. Nobody waits
/// for one article of them, and what is published meanwhile goes first.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReembedArticle {
    /// The article.
    pub article_id: Uuid,
    /// The revision whose passages are meant.
    pub revision_id: Uuid,
}

impl Job for ReembedArticle {
    const NAME: &'static str = "reembed_article";
    const QUEUE: Queue = Queue::Embeddings;
    const TIMEOUT: Duration = Duration::from_secs(600);
    const MAX_ATTEMPTS: u32 = EMBEDDING_ATTEMPTS;

    fn priority(&self) -> Priority {
        Priority::Low
    }

    fn unique_key(&self) -> Option<String> {
        Some(self.revision_id.to_string())
    }
}

/// Finds a tenant's published articles whose passages or embeddings are missing or stale, and has them made.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReconcileEmbeddings {}

impl Job for ReconcileEmbeddings {
    const NAME: &'static str = "reconcile_embeddings";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(300);
    const MAX_ATTEMPTS: u32 = 3;

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }
}

/// Publishes the revision of an article that an editor scheduled, at the time that they chose.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PublishScheduled {
    /// The article. When it is scheduled for another time by then, or not at all, there is nothing to do.
    pub article_id: Uuid,
    /// The time.
    pub at: DateTime<Utc>,
}

impl Job for PublishScheduled {
    const NAME: &'static str = "publish_scheduled";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(60);

    fn unique_key(&self) -> Option<String> {
        Some(format!("{} {}", self.article_id, self.at.timestamp_micros()))
    }
}

/// Does the same to many articles.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct BulkChange {
    /// What.
    pub action: BulkAction,
    /// To which.
    pub article_ids: Vec<Uuid>,
    /// Who wants it: named in revisions and in the audit log.
    pub actor: String,
}

/// What can be done to many articles at once.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum BulkAction {
    /// Publish the latest text.
    Publish,
    /// Archive.
    Archive,
    /// Put into a category, or out of any.
    Move {
        /// The category.
        category_id: Option<Uuid>,
    },
    /// Add and remove tags, by name.
    Tag {
        /// To be added.
        add: Vec<String>,
        /// To be removed.
        remove: Vec<String>,
    },
}

impl Job for BulkChange {
    const NAME: &'static str = "bulk_change";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(3600);
    const MAX_ATTEMPTS: u32 = 5;
}

/// Makes anew what search knows.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Reindex {
    /// Only of articles in this category and those below it.
    pub category_id: Option<Uuid>,
    /// Only of these articles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub article_ids: Option<Vec<Uuid>>,
    /// Which part.
    pub part: ReindexPart,
    /// What was made after this needs no more.
    pub requested_at: DateTime<Utc>,
}

/// A part of what search knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReindexPart {
    /// Words and vectors.
    #[default]
    All,
    /// The vectors alone.
    Embeddings,
    /// The words alone.
    FullText,
}

impl ReindexPart {
    /// Whether words are indexed.
    pub fn has_words(self) -> bool {
        self != Self::Embeddings
    }

    /// Whether vectors are computed.
    pub fn has_vectors(self) -> bool {
        self != Self::FullText
    }
}

impl Job for Reindex {
    const NAME: &'static str = "reindex";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(24 * 3600);
    const MAX_ATTEMPTS: u32 = 10;

    fn unique_key(&self) -> Option<String> {
        let extent = self.category_id.map_or_else(String::new, |id| id.to_string());
        // A list of articles follows from a change that no job which is open already knows of.
        self.article_ids.is_none().then(|| format!("{extent} {:?}", self.part))
    }
}

/// Counts a tenant's views that are not counted yet.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CountViews {}

impl Job for CountViews {
    const NAME: &'static str = "count_views";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(300);
    const MAX_ATTEMPTS: u32 = 3;

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }
}

/// Imports an archive that was uploaded.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ImportDocumentation {
    /// The import. When it has ended already, there is nothing to do.
    pub import_id: Uuid,
}

impl Job for ImportDocumentation {
    const NAME: &'static str = "import_documentation";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(2 * 3600);
    const MAX_ATTEMPTS: u32 = 5;

    fn unique_key(&self) -> Option<String> {
        Some(self.import_id.to_string())
    }
}
