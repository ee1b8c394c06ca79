//! Job payloads of the knowledge base.

use std::time::Duration;

use uuid::Uuid;

use crate::queue::{Job, Queue};

/// Computes the missing embeddings of a published revision's passages.
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
