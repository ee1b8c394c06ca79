//! Computes the embeddings of an article by a model that is to take over.

use shared::{
    knowledge::{ReembedArticle, embed},
    queue::{JobError, worker::Run},
};

use super::embed_article::embedding_error;
use crate::registry::Context;

pub(crate) async fn run(context: Context, job: ReembedArticle, about: Run) -> Result<(), JobError> {
    let progress = |done, total| about.report_progress(done, total);
    let embedder = &**context.embedders.current();
    let embedded = embed::embed_revision(&context.database, embedder, about.tenant, job.revision_id, progress).await;
    let passages = embedded.map_err(embedding_error)?;
    tracing::info!(tenant = %about.tenant, article = %job.article_id, revision = %job.revision_id, model = %embedder.model(), passages, "article.reembedded");
    Ok(())
}
