//! Making anew what search knows, for a whole help center or a category, while it is searched.

use pgvector::HalfVector;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    embed::EmbedArticleError,
    embed_store, index,
    jobs::{Reindex, ReindexPart},
};
use crate::{
    audit,
    db::{Database, TenantTx},
    embedding::{Embedder, Embedding},
    queue::{self, JobId},
    tenancy::TenantId,
};

/// How many articles are looked up between two reports.
const PAGE: i64 = 50;
/// How many passages are embedded between two commits.
const BATCH: usize = 32;

/// How many articles the payload of one job names at most.
const LISTED: usize = 1_000;

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reindexed {
    /// Articles whose words were indexed.
    pub articles: u64,
    /// Passages that were embedded.
    pub passages: u64,
}

impl Reindexed {
    /// As the result of the job.
    pub fn to_json(&self) -> Value {
        json!({ "articles": self.articles, "passages": self.passages })
    }
}

/// Enqueues a reindexing. One of the same extent that is open already goes on, and its id is returned.
pub async fn request(
    tx: &mut TenantTx,
    actor: &str,
    category_id: Option<Uuid>,
    part: ReindexPart,
) -> Result<JobId, sqlx::Error> {
    let requested_at = embed_store::now(tx).await?;
    let id = queue::enqueue(tx, &Reindex { category_id, article_ids: None, part, requested_at }).await?;
    let details = json!({ "category_id": category_id, "part": part });
    audit::record_with(tx, actor, "index.rebuild_requested", &id.uuid().to_string(), &details).await?;
    Ok(id)
}

/// Enqueues jobs that index the words of these articles anew. Call it behind the change that the words are to follow, with
/// the index kept from others by [`index::lock`]: an article that was indexed before, without that change, is indexed again.
pub(super) async fn words_of(tx: &mut TenantTx, articles: &[Uuid]) -> Result<(), sqlx::Error> {
    let requested_at = embed_store::now(tx).await?;
    let jobs: Vec<Reindex> = articles
        .chunks(LISTED)
        .map(|ids| Reindex {
            category_id: None,
            article_ids: Some(ids.to_vec()),
            part: ReindexPart::FullText,
            requested_at,
        })
        .collect();
    queue::enqueue_all(tx, &jobs).await?;
    Ok(())
}

/// Indexes every published article of the job's extent that was not indexed since the job was requested: a run after a crash
/// goes on where the one before ended. Each article is replaced in one transaction, and each batch of vectors: searches find
/// what was there until then. `progress` hears how many articles of how many are done.
pub async fn reindex(
    database: &Database,
    embedder: &dyn Embedder,
    tenant: TenantId,
    job: &Reindex,
    progress: impl Fn(u64, u64),
) -> Result<Reindexed, EmbedArticleError> {
    let mut run = Run { database, embedder, tenant, job, done: Reindexed::default() };
    let mut tx = database.tenant(tenant).await?;
    let words = if job.part.has_words() { embed_store::count_to_index(&mut tx, job).await? } else { (0, 0) };
    let model = embedder.model().to_string();
    let vectors =
        if job.part.has_vectors() { embed_store::count_to_embed(&mut tx, job, &model).await? } else { (0, 0) };
    drop(tx);
    let total = words.1 + vectors.1;
    let mut done = total - words.0 - vectors.0;
    progress(done, total);
    let mut step = || {
        done += 1;
        progress(done.min(total), total);
    };
    if job.part.has_words() {
        run.words(&mut step).await?;
    }
    if job.part.has_vectors() {
        run.vectors(&model, &mut step).await?;
    }
    Ok(run.done)
}

struct Run<'a> {
    database: &'a Database,
    embedder: &'a dyn Embedder,
    tenant: TenantId,
    job: &'a Reindex,
    done: Reindexed,
}

impl Run<'_> {
    async fn words(&mut self, step: &mut impl FnMut()) -> Result<(), sqlx::Error> {
        let mut after = Uuid::nil();
        loop {
            let mut tx = self.database.tenant(self.tenant).await?;
            let page = embed_store::articles_to_index(&mut tx, self.job, after, PAGE).await?;
            drop(tx);
            let Some(last) = page.last() else { return Ok(()) };
            after = *last;
            for article in page {
                let mut tx = self.database.tenant(self.tenant).await?;
                index::refresh(&mut tx, article).await?;
                tx.commit().await?;
                self.done.articles += 1;
                step();
            }
        }
    }

    async fn vectors(&mut self, model: &str, step: &mut impl FnMut()) -> Result<(), EmbedArticleError> {
        let mut after = Uuid::nil();
        loop {
            let mut tx = self.database.tenant(self.tenant).await?;
            let page = embed_store::articles_to_embed(&mut tx, self.job, model, after, PAGE).await?;
            drop(tx);
            let Some(last) = page.last() else { return Ok(()) };
            after = *last;
            for article in page {
                self.embed(article, model).await?;
                step();
            }
        }
    }

    async fn embed(&mut self, article: Uuid, model: &str) -> Result<(), EmbedArticleError> {
        let mut tx = self.database.tenant(self.tenant).await?;
        let passages = embed_store::passages_to_embed(&mut tx, article, model, self.job.requested_at).await?;
        drop(tx);
        for batch in passages.chunks(BATCH) {
            let (ids, texts): (Vec<Uuid>, Vec<String>) = batch.iter().cloned().unzip();
            let vectors = self.embedder.embed(texts).await?;
            let vectors: Vec<HalfVector> = vectors.iter().map(Embedding::to_half).collect();
            let mut tx = self.database.tenant(self.tenant).await?;
            embed_store::replace_embeddings(&mut tx, &ids, model, &vectors).await?;
            tx.commit().await?;
            self.done.passages += ids.len() as u64;
        }
        Ok(())
    }
}
