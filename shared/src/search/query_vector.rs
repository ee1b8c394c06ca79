//! The vector of a query, which is computed while its words are looked for.

use std::{sync::Arc, time::Duration};

use pgvector::HalfVector;
use tokio_util::task::AbortOnDropHandle;

use crate::embedding::{Embedder, Embedding};

/// How long the model may take for a query before the keyword arm answers alone.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What a query means.
#[derive(Debug, Clone)]
pub(super) struct QueryVector {
    /// Whose vectors it can be compared with.
    pub(super) model: String,
    /// As passages are kept, so that it does not matter where they are compared.
    pub(super) vector: HalfVector,
}

/// A vector that is on its way; dropping it gives it up.
pub(super) struct PendingVector {
    model: String,
    task: AbortOnDropHandle<Option<Embedding>>,
}

impl PendingVector {
    /// Begins to embed a query.
    pub(super) fn start(embedder: &Arc<dyn Embedder>, query: &str) -> Self {
        let (model, query) = (embedder.model().to_string(), query.to_owned());
        let embedder = Arc::clone(embedder);
        Self { model, task: AbortOnDropHandle::new(tokio::spawn(async move { embed(&*embedder, query).await })) }
    }

    /// Whether it can be compared with the vectors of this model; with any, where none serves yet.
    pub(super) fn serves(&self, model: Option<&str>) -> bool {
        model.is_none_or(|model| model == self.model)
    }

    /// The vector, once; `None`, when the model is not available in time. Whoever stops waiting may wait again.
    pub(super) async fn wait(&mut self) -> Option<QueryVector> {
        let vector = (&mut self.task).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "search.semantic_arm_down");
            None
        });
        vector.map(|vector| QueryVector { model: self.model.clone(), vector: vector.to_half() })
    }
}

async fn embed(embedder: &dyn Embedder, query: String) -> Option<Embedding> {
    match tokio::time::timeout(TIMEOUT, embedder.embed_query(query)).await {
        Ok(Ok(vector)) => Some(vector),
        Ok(Err(error)) => {
            tracing::warn!(%error, "search.semantic_arm_down");
            None
        }
        Err(_) => {
            let timeout_ms = TIMEOUT.as_millis();
            tracing::warn!(timeout_ms, "search.semantic_arm_down: the model took too long");
            None
        }
    }
}
