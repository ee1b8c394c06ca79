//! Makes anew what search knows.

use shared::{
    knowledge::{Reindex, embed, reindex},
    queue::{JobError, worker::Run},
};

use super::embed_article::embedding_error;
use crate::registry::Context;

pub(crate) async fn run(context: Context, job: Reindex, about: Run) -> Result<(), JobError> {
    let progress = |done, total| about.report_progress(done, total);
    let embedder = &**context.embedders.current();
    let done =
        reindex::reindex(&context.database, embedder, about.tenant, &job, progress).await.map_err(embedding_error)?;
    if job.part.has_vectors() {
        embed::switch_model(&context.database, about.tenant, embedder.model().as_ref()).await?;
    }
    about.set_result(done.to_json());
    tracing::info!(tenant = %about.tenant, articles = done.articles, passages = done.passages, "index.rebuilt");
    Ok(())
}
