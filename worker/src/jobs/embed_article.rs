//! Computes the missing embeddings of an article.

use shared::{
    embedding::EmbedError,
    knowledge::{
        EmbedArticle,
        embed::{self, EmbedArticleError},
    },
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, job: EmbedArticle, about: Run) -> Result<(), JobError> {
    let progress = |done, total| about.report_progress(done, total);
    let embedded = embed::embed_article(&context.database, &context.embedders, about.tenant, &job, progress).await;
    let passages = embedded.map_err(embedding_error)?;
    tracing::info!(tenant = %about.tenant, article = %job.article_id, revision = %job.revision_id, passages, "article.embedded");
    Ok(())
}

/// Whether trying again can help: what an operator can mend may be mended by then.
pub(super) fn embedding_error(error: EmbedArticleError) -> JobError {
    match error {
        EmbedArticleError::Embed(error @ EmbedError::Rejected(_)) => JobError::fail(error),
        other => JobError::retry(other),
    }
}
