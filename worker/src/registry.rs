//! Every job that a worker can run, on one screen.

use shared::{
    clock::Clock,
    config::HistoryConfig,
    db::Database,
    embedding::Embedders,
    knowledge::{
        BulkChange, CountViews, EmbedArticle, ImportDocumentation, PublishScheduled, ReconcileEmbeddings,
        ReembedArticle, Reindex,
    },
    llm::Llm,
    queue::{
        Job, JobError,
        worker::{Registry, Run},
    },
    search::PruneHistory,
};

use crate::jobs::{
    bulk_change, count_views, embed_article, import_documentation, prune_history, publish_scheduled,
    reconcile_embeddings, reembed_article, reindex,
};

/// What jobs work with.
#[derive(Clone)]
pub struct Context {
    /// The database.
    pub database: Database,
    /// The embedding model, and the one before.
    pub embedders: Embedders,
    /// The language models.
    pub llm: Llm,
    /// The clock.
    pub clock: Clock,
    /// How long readers are remembered.
    pub history: HistoryConfig,
}

/// Every job with what runs it.
pub fn registry(context: &Context) -> Registry {
    Registry::new()
        .job::<EmbedArticle, _, _>(with(context, embed_article::run))
        .job::<ReembedArticle, _, _>(with(context, reembed_article::run))
        .job::<ReconcileEmbeddings, _, _>(with(context, reconcile_embeddings::run))
        .job::<PublishScheduled, _, _>(with(context, publish_scheduled::run))
        .job::<BulkChange, _, _>(with(context, bulk_change::run))
        .job::<Reindex, _, _>(with(context, reindex::run))
        .job::<CountViews, _, _>(with(context, count_views::run))
        .job::<PruneHistory, _, _>(with(context, prune_history::run))
        .job::<ImportDocumentation, _, _>(with(context, import_documentation::run))
}

/// Gives a job's function the context.
fn with<J: Job, R: Future<Output = Result<(), JobError>> + Send + 'static>(
    context: &Context,
    run: fn(Context, J, Run) -> R,
) -> impl Fn(J, Run) -> R + Clone + Send + Sync + 'static {
    let context = context.clone();
    move |job, about| run(context.clone(), job, about)
}
