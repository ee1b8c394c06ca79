//! Embedding passages, and finding those that are not.

use pgvector::HalfVector;
use uuid::Uuid;

use super::{excerpt::excerpt, index, jobs::EmbedArticle, store};
use crate::{
    db::{Database, TenantTx},
    embedding::{EmbedError, Embedder, Embedding},
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

/// Embeds the passages of a published revision that have no vector of this model yet; returns how many. Passages that
/// disappear meanwhile are no error, and no connection is held while the model works. `progress` hears how many this call
/// has embedded so far, and of how many.
pub async fn embed_article(
    database: &Database,
    embedder: &dyn Embedder,
    tenant: TenantId,
    job: &EmbedArticle,
    progress: impl Fn(u64, u64),
) -> Result<usize, EmbedArticleError> {
    let model = embedder.model().to_string();
    let mut embedded = 0;
    loop {
        let mut tx = database.tenant(tenant).await?;
        let (missing, left) = store::passages_without_embedding(&mut tx, job.revision_id, &model, BATCH).await?;
        drop(tx);
        progress(embedded as u64, embedded as u64 + left);
        if missing.is_empty() {
            return Ok(embedded);
        }
        let (ids, texts): (Vec<Uuid>, Vec<String>) = missing.into_iter().unzip();
        let vectors = embedder.embed(texts).await?;
        let vectors: Vec<HalfVector> = vectors.iter().map(Embedding::to_half).collect();
        let mut tx = database.tenant(tenant).await?;
        store::insert_embeddings(&mut tx, &ids, &model, &vectors).await?;
        if store::serving_model(&mut tx).await?.is_none() {
            store::serve_model(&mut tx, &model).await?;
        }
        tx.commit().await?;
        embedded += ids.len();
    }
}

/// How many vectors are deleted between two commits.
const DELETED_AT_ONCE: i64 = 5_000;

/// Lets searches use the vectors of a model once every passage has one, and deletes those of others then. Until then the
/// others go on serving. Whether searches use another model now than before.
pub async fn switch_model(database: &Database, tenant: TenantId, model: &str) -> Result<bool, sqlx::Error> {
    let mut tx = database.tenant(tenant).await?;
    let serving = store::serving_model(&mut tx).await?;
    let is_serving = serving.as_deref() == Some(model) || store::serve_model(&mut tx, model).await?;
    tx.commit().await?;
    if is_serving {
        loop {
            let mut tx = database.tenant(tenant).await?;
            let deleted = store::delete_other_embeddings(&mut tx, model, DELETED_AT_ONCE).await?;
            tx.commit().await?;
            if deleted == 0 {
                break;
            }
        }
    }
    Ok(is_serving && serving.is_some_and(|serving| serving != model))
}

/// What reconciliation found and had repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reconciled {
    /// Articles whose passages were missing or of another revision.
    pub reindexed: usize,
    /// Articles for which an embedding job was missing.
    pub enqueued: usize,
    /// Revisions of which it was missing what readers see in place of a summary.
    pub excerpts: usize,
    /// Searches use another model's vectors from now on.
    pub switched: bool,
}

/// Switches to a new model once it has caught up, and repairs drift: articles whose passages are not of the revision that
/// readers see, passages without an embedding for which no job is open, and revisions that lack an excerpt. A job that became
/// a dead letter within a day is left to a human.
pub async fn reconcile(database: &Database, tenant: TenantId, model: &str) -> Result<Reconciled, sqlx::Error> {
    let mut found = Reconciled::default();
    let mut tx = database.tenant(tenant).await?;
    let stale = store::articles_with_stale_passages(&mut tx).await?;
    drop(tx);
    for article_id in stale {
        let mut tx = database.tenant(tenant).await?;
        index::refresh(&mut tx, article_id).await?;
        tx.commit().await?;
        found.reindexed += 1;
    }
    let mut tx = database.tenant(tenant).await?;
    for (article_id, revision_id) in store::revisions_to_embed(&mut tx, model, EMBED_JOB).await? {
        queue::enqueue(&mut tx, &EmbedArticle { article_id, revision_id }).await?;
        found.enqueued += 1;
    }
    tx.commit().await?;
    found.excerpts = make_excerpts(database, tenant).await?;
    found.switched = switch_model(database, tenant, model).await?;
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

/// How far a tenant's published articles are indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct IndexStatus {
    /// Published articles.
    pub articles: i64,
    /// Published articles of which every passage has an embedding.
    pub embedded_articles: i64,
    /// Their passages, titles included.
    pub passages: i64,
    /// Passages with an embedding.
    pub embedded_passages: i64,
    /// Embedding jobs that are not finished.
    pub open_jobs: i64,
    /// Embedding jobs that were given up.
    pub dead_jobs: i64,
}

impl IndexStatus {
    /// Whether search by meaning knows every published article.
    pub fn is_complete(&self) -> bool {
        self.embedded_articles == self.articles
    }
}

/// Counts what is indexed.
pub async fn index_status(tx: &mut TenantTx) -> Result<IndexStatus, sqlx::Error> {
    store::index_status(tx, EMBED_JOB).await
}
