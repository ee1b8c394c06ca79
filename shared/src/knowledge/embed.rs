//! Embedding passages, and finding those that are not.

use pgvector::HalfVector;
use uuid::Uuid;

use super::{
    embed_store,
    excerpt::excerpt,
    index,
    jobs::{EmbedArticle, ReembedArticle},
    store,
};
use crate::{
    db::{Database, TenantTx},
    embedding::{EmbedError, Embedder, Embedders, Embedding},
    queue,
    tenancy::TenantId,
};

/// How many passages are embedded between two commits: what a crash can cost at most.
const BATCH: i64 = 32;

/// How many revisions get an excerpt between two commits.
const EXCERPTS_AT_ONCE: i64 = 100;

/// Why embedding stopped.
#[derive(Debug, thiserror::Error)]
pub enum EmbedArticleError {
    /// The model.
    #[error(transparent)]
    Embed(#[from] EmbedError),
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Embeds the passages of a published revision that have no vector yet, by the current model, and by the one before while its
/// vectors serve; returns how many vectors were made. So what is published while a deployment changes its model is found by
/// meaning at once, and the new model need not come back to it. Neither model waits for the other, nor fails with it.
/// `progress` hears how many passages the current one has embedded so far, and of how many.
pub async fn embed_article(
    database: &Database,
    embedders: &Embedders,
    tenant: TenantId,
    job: &EmbedArticle,
    progress: impl Fn(u64, u64),
) -> Result<usize, EmbedArticleError> {
    let mut tx = database.tenant(tenant).await?;
    let serving = embed_store::serving_model(&mut tx).await?;
    drop(tx);
    let previous = async {
        match serving.and_then(|model| embedders.previous(&model)) {
            Some(previous) => embed_revision(database, &**previous, tenant, job.revision_id, |_, _| ()).await,
            None => Ok(0),
        }
    };
    let current = embed_revision(database, &**embedders.current(), tenant, job.revision_id, progress);
    let (by_previous, by_current) = tokio::join!(previous, current);
    Ok(by_previous? + by_current?)
}

/// Embeds the passages of a published revision that have no vector of this model yet; returns how many. Passages that
/// disappear meanwhile are no error, and no connection is held while the model works. `progress` hears how many this call
/// has embedded so far, and of how many.
pub async fn embed_revision(
    database: &Database,
    embedder: &dyn Embedder,
    tenant: TenantId,
    revision_id: Uuid,
    progress: impl Fn(u64, u64),
) -> Result<usize, EmbedArticleError> {
    let model = embedder.model().to_string();
    let mut embedded = 0;
    loop {
        let mut tx = database.tenant(tenant).await?;
        let (missing, left) = embed_store::passages_without_embedding(&mut tx, revision_id, &model, BATCH).await?;
        drop(tx);
        progress(embedded as u64, embedded as u64 + left);
        if missing.is_empty() {
            return Ok(embedded);
        }
        let (ids, texts): (Vec<Uuid>, Vec<String>) = missing.into_iter().unzip();
        let vectors = embedder.embed(texts).await?;
        let vectors: Vec<HalfVector> = vectors.iter().map(Embedding::to_half).collect();
        let mut tx = database.tenant(tenant).await?;
        embed_store::insert_embeddings(&mut tx, &ids, &model, &vectors).await?;
        if embed_store::serving_model(&mut tx).await?.is_none() {
            embed_store::serve_model(&mut tx, &model).await?;
        }
        tx.commit().await?;
        embedded += ids.len();
    }
}

/// How many vectors are deleted between two commits.
const DELETED_AT_ONCE: i64 = 5_000;

/// Lets searches use the vectors of a model once every passage has one; until then the others go on serving. Those of other
/// models are deleted by a later call, so that searches that are under way at the switch still find them. Whether searches use
/// another model now than before.
pub async fn switch_model(database: &Database, tenant: TenantId, model: &str) -> Result<bool, sqlx::Error> {
    let mut tx = database.tenant(tenant).await?;
    let serving = embed_store::serving_model(&mut tx).await?;
    if serving.as_deref() == Some(model) {
        drop(tx);
        delete_others(database, tenant, model).await?;
        return Ok(false);
    }
    let is_serving = embed_store::serve_model(&mut tx, model).await?;
    tx.commit().await?;
    Ok(is_serving && serving.is_some())
}

async fn delete_others(database: &Database, tenant: TenantId, model: &str) -> Result<(), sqlx::Error> {
    loop {
        let mut tx = database.tenant(tenant).await?;
        let deleted = embed_store::delete_other_embeddings(&mut tx, model, DELETED_AT_ONCE).await?;
        tx.commit().await?;
        if deleted == 0 {
            return Ok(());
        }
    }
}

/// What reconciliation found and had repaired.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Articles whose passages were missing or of another revision.
    pub reindexed: usize,
    /// Articles for which an embedding job was missing.
    pub enqueued: u64,
    /// Revisions of which it was missing what readers see in place of a summary.
    pub excerpts: usize,
    /// Articles that are to be embedded by a new model and had no job for it.
    pub reembedding: u64,
    /// Searches use another model's vectors from now on.
    pub switched: bool,
    /// The model whose vectors serve, where it is none of those that are configured: searches by meaning can then be answered
    /// by whoever else has it, or by nobody.
    pub unknown_model: Option<String>,
}

/// Switches to a new model once it has caught up, and repairs drift: articles whose passages are not of the revision that
/// readers see, passages for which a vector is missing and no job is open, and revisions that lack an excerpt. Where another
/// model serves, the vectors of the current one are made in the background. A job that became a dead letter within a day is left
/// to a human.
pub async fn reconcile(
    database: &Database,
    tenant: TenantId,
    embedders: &Embedders,
) -> Result<Reconciled, sqlx::Error> {
    let mut found = Reconciled::default();
    let mut tx = database.tenant(tenant).await?;
    let stale = embed_store::articles_with_stale_passages(&mut tx).await?;
    drop(tx);
    for article_id in stale {
        let mut tx = database.tenant(tenant).await?;
        index::refresh(&mut tx, article_id).await?;
        tx.commit().await?;
        found.reindexed += 1;
    }
    let current = embedders.current().model().as_ref();
    let mut tx = database.tenant(tenant).await?;
    let serving = embed_store::serving_model(&mut tx).await?;
    match serving.as_deref().filter(|serving| *serving != current) {
        None => found.enqueued = enqueue_missing(&mut tx, current, &[EMBED_JOB], embed).await?,
        Some(other) => {
            if embedders.previous(other).is_some() {
                found.enqueued = enqueue_missing(&mut tx, other, &[EMBED_JOB], embed).await?;
            } else {
                found.unknown_model = Some(other.to_owned());
            }
            found.reembedding = enqueue_missing(&mut tx, current, &[EMBED_JOB, REEMBED_JOB], reembed).await?;
        }
    }
    tx.commit().await?;
    found.excerpts = make_excerpts(database, tenant).await?;
    found.switched = switch_model(database, tenant, current).await?;
    if found.switched {
        found.unknown_model = None;
    }
    Ok(found)
}

/// Makes what readers see of revisions without a summary, where an earlier release wrote them; returns of how many.
async fn make_excerpts(database: &Database, tenant: TenantId) -> Result<usize, sqlx::Error> {
    let mut made = 0;
    loop {
        let mut tx = database.tenant(tenant).await?;
        let page = store::revisions_without_excerpt(&mut tx, EXCERPTS_AT_ONCE).await?;
        if page.is_empty() {
            return Ok(made);
        }
        made += page.len();
        for (revision, content) in page {
            store::set_excerpt(&mut tx, revision, &excerpt(&content)).await?;
        }
        tx.commit().await?;
    }
}

const EMBED_JOB: &str = <EmbedArticle as queue::Job>::NAME;
const REEMBED_JOB: &str = <ReembedArticle as queue::Job>::NAME;

fn embed((article_id, revision_id): (Uuid, Uuid)) -> EmbedArticle {
    EmbedArticle { article_id, revision_id }
}

fn reembed((article_id, revision_id): (Uuid, Uuid)) -> ReembedArticle {
    ReembedArticle { article_id, revision_id }
}

/// Enqueues a job for each article that has passages without a vector of the model, and none of these jobs.
async fn enqueue_missing<J: queue::Job>(
    tx: &mut TenantTx,
    model: &str,
    jobs: &[&str],
    job: fn((Uuid, Uuid)) -> J,
) -> Result<u64, sqlx::Error> {
    let missing = embed_store::revisions_to_embed(tx, model, jobs).await?;
    let missing: Vec<J> = missing.into_iter().map(job).collect();
    queue::enqueue_all(tx, &missing).await
}

/// How far a tenant's published articles are indexed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct IndexStatus {
    /// Published articles.
    pub articles: i64,
    /// Published articles of which every passage has an embedding that searches use.
    pub embedded_articles: i64,
    /// Their passages, titles included.
    pub passages: i64,
    /// Passages with an embedding that searches use.
    pub embedded_passages: i64,
    /// Embedding jobs that are not finished.
    pub open_jobs: i64,
    /// Embedding jobs that were given up.
    pub dead_jobs: i64,
    /// The model whose embeddings searches use; none before the first.
    pub model: Option<String>,
    /// Other models with embeddings: one that is to take over, or what is left of one that has served.
    pub other_models: Vec<BuiltModel>,
}

/// How far passages are embedded by a model that does not serve.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct BuiltModel {
    /// Its name and version.
    pub model: String,
    /// Passages with an embedding of it.
    pub embedded_passages: i64,
}

impl IndexStatus {
    /// Whether search by meaning knows every published article.
    pub fn is_complete(&self) -> bool {
        self.embedded_articles == self.articles
    }
}

/// Counts what is indexed.
pub async fn index_status(tx: &mut TenantTx) -> Result<IndexStatus, sqlx::Error> {
    let model = embed_store::serving_model(tx).await?;
    let counts = embed_store::index_counts(tx, model.as_deref(), &[EMBED_JOB, REEMBED_JOB]).await?;
    let other_models = embed_store::other_models(tx, model.as_deref()).await?;
    Ok(IndexStatus {
        articles: counts.articles,
        embedded_articles: counts.embedded_articles,
        passages: counts.passages,
        embedded_passages: counts.embedded_passages,
        open_jobs: counts.open_jobs,
        dead_jobs: counts.dead_jobs,
        model,
        other_models,
    })
}
