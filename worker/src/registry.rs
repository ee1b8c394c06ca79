//! Every job that a worker can run, on one screen.

use shared::{
    assistant::{Assistant, ExpireMemories, GenerateAnswer, ReconcileAnswers, RememberConversation},
    clock::Clock,
    config::HistoryConfig,
    db::Database,
    embedding::Embedders,
    knowledge::{
        BulkChange, CountViews, EmbedArticle, ImportDocumentation, PublishScheduled, ReconcileEmbeddings,
        ReembedArticle, Reindex,
    },
    queue::{
        Job, JobError,
        worker::{Registry, Run},
    },
    search::PruneHistory,
};

use crate::jobs::{
    bulk_change, count_views, embed_article, expire_memories, generate_answer, import_documentation, prune_history,
    publish_scheduled, reconcile_answers, reconcile_embeddings, reembed_article, reindex, remember_conversation,
};

/// What jobs work with.
#[derive(Clone)]
pub struct Context {
    /// The database.
    pub database: Database,
    /// The embedding model, and the one before.
    pub embedders: Embedders,
    /// The clock.
    pub clock: Clock,
    /// How long readers are remembered.
    pub history: HistoryConfig,
    /// What writes answers.
    pub assistant: Assistant,
}

/// Every job with what runs it.
pub fn registry(context: &Context) -> Registry {
    Registry::new()
        .job::<GenerateAnswer, _, _>(with(context, generate_answer::run))
        .job::<RememberConversation, _, _>(with(context, remember_conversation::run))
        .job::<ExpireMemories, _, _>(with(context, expire_memories::run))
        .job::<ReconcileAnswers, _, _>(with(context, reconcile_answers::run))
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
