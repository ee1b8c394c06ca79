//! Finds articles whose passages, embeddings or excerpts are missing or stale, and archives that no import needs any more.

use shared::{
    knowledge::{ReconcileEmbeddings, embed, import::upload},
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, _: ReconcileEmbeddings, about: Run) -> Result<(), JobError> {
    let found = embed::reconcile(&context.database, about.tenant, &context.embedders).await?;
    let tenant = about.tenant;
    if found.reindexed > 0 || found.enqueued > 0 || found.excerpts > 0 {
        let (reindexed, enqueued, excerpts) = (found.reindexed, found.enqueued, found.excerpts);
        tracing::warn!(%tenant, reindexed, enqueued, excerpts, "articles.reconciled");
    }
    let model = context.embedders.current().model();
    if found.reembedding > 0 {
        tracing::info!(%tenant, %model, articles = found.reembedding, "index.model_building: articles are embedded by a new model");
    }
    if found.switched {
        tracing::info!(%tenant, %model, "index.model_switched: searches use the vectors of the new model");
    }
    if let Some(unknown) = found.unknown_model {
        tracing::warn!(
            %tenant, serving = unknown, %model,
            "index.model_unknown: searches use the vectors of a model that is not configured here, until those of the new one are \
             complete; to be found by meaning meanwhile, name it in EMBEDDING_PREVIOUS_PROVIDER and what belongs to it"
        );
    }
    let mut tx = context.database.tenant(tenant).await?;
    upload::tidy(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}
