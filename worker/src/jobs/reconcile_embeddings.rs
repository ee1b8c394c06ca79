//! Finds articles whose passages, embeddings or excerpts are missing or stale, and archives that no import needs any more.

use shared::{
    knowledge::{ReconcileEmbeddings, embed, import::upload},
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, _: ReconcileEmbeddings, about: Run) -> Result<(), JobError> {
    let model = context.embedder.model().to_string();
    let found = embed::reconcile(&context.database, about.tenant, &model).await?;
    if found != embed::Reconciled::default() {
        tracing::warn!(
            tenant = %about.tenant,
            reindexed = found.reindexed,
            enqueued = found.enqueued,
            excerpts = found.excerpts,
            switched = found.switched,
            "articles.reconciled"
        );
    }
    let mut tx = context.database.tenant(about.tenant).await?;
    upload::tidy(&mut tx).await?;
    tx.commit().await?;
    Ok(())
}
