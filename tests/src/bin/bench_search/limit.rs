//! What no search can be faster than: one embedding of the query, and a bare probe of the slower index.

use std::{sync::Arc, time::Instant};

use pgvector::HalfVector;
use shared::{embedding::Embedder, search};
use sqlx::{AssertSqlSafe, PgPool, postgres::PgPoolOptions};

use crate::{
    corpus::Corpus,
    measure::{Latencies, median},
};

/// Probes the indexes of a corpus.
#[derive(Clone)]
pub(crate) struct Limit {
    pool: PgPool,
    embedder: Arc<dyn Embedder>,
    words_are_slower: bool,
}

/// Medians, in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Probes {
    pub(crate) embedding: f64,
    pub(crate) vectors: f64,
    pub(crate) words: f64,
}

impl Limit {
    /// Finds out with a few queries which index is slower.
    pub(crate) async fn new(corpus: &Corpus, embedder: Arc<dyn Embedder>, queries: &[String]) -> anyhow::Result<Self> {
        let ef_search = search::ef_search(corpus.passages);
        let pool = PgPoolOptions::new()
            .max_connections(10)
            .after_connect(move |connection, _| {
                Box::pin(async move {
                    let settings = format!("set hnsw.ef_search = {ef_search}; set hnsw.iterative_scan = relaxed_order");
                    sqlx::raw_sql(AssertSqlSafe(settings)).execute(connection).await.map(|_| ())
                })
            })
            .connect(&corpus.owner_url)
            .await?;
        let mut limit = Self { pool, embedder, words_are_slower: false };
        let probes = limit.probes(queries.iter()).await?;
        limit.words_are_slower = probes.words > probes.vectors;
        Ok(limit)
    }

    /// An embedding and a probe of the slower index.
    pub(crate) async fn once(&self, query: &str) -> anyhow::Result<()> {
        let vector = self.embed(query).await?;
        if self.words_are_slower { self.words(query).await } else { self.vectors(&vector).await }
    }

    /// Each by itself, one after the other.
    pub(crate) async fn probes(&self, queries: impl Iterator<Item = &String>) -> anyhow::Result<Probes> {
        let (mut embedding, mut vectors, mut words) = (Vec::new(), Vec::new(), Vec::new());
        let milliseconds = |start: Instant| start.elapsed().as_secs_f64() * 1_000.0;
        for query in queries {
            let start = Instant::now();
            let vector = self.embed(query).await?;
            embedding.push(milliseconds(start));
            let start = Instant::now();
            self.vectors(&vector).await?;
            vectors.push(milliseconds(start));
            // Which terms is no matter of the index.
            let terms = self.terms(query).await?;
            let start = Instant::now();
            self.documents(&terms).await?;
            words.push(milliseconds(start));
        }
        Ok(Probes { embedding: median(embedding), vectors: median(vectors), words: median(words) })
    }

    async fn embed(&self, query: &str) -> anyhow::Result<HalfVector> {
        Ok(self.embedder.embed(vec![query.to_owned()]).await?.remove(0).to_half())
    }

    /// The 200 nearest passages, by the HNSW index alone.
    async fn vectors(&self, vector: &HalfVector) -> anyhow::Result<()> {
        sqlx::query("select passage_id from passage_embeddings order by embedding <=> $1 limit 200")
            .bind(vector)
            .fetch_all(&self.pool)
            .await?;
        Ok(())
    }

    async fn words(&self, query: &str) -> anyhow::Result<()> {
        let terms = self.terms(query).await?;
        self.documents(&terms).await
    }

    async fn terms(&self, query: &str) -> anyhow::Result<Vec<i32>> {
        let terms: Vec<(i32, i32)> = sqlx::query_as(
            "select id, article_count from search_terms
             where lexeme = any (tsvector_to_array(to_tsvector('help_english', $1))) order by article_count limit 3",
        )
        .bind(query)
        .fetch_all(&self.pool)
        .await?;
        let mut matched = 0;
        Ok(terms
            .into_iter()
            .enumerate()
            .take_while(|(n, (_, count))| {
                matched += count;
                *n == 0 || matched <= 1_000
            })
            .map(|(_, (id, _))| id)
            .collect())
    }

    /// The articles with one of the terms, by the GIN index alone.
    async fn documents(&self, terms: &[i32]) -> anyhow::Result<()> {
        sqlx::query("select article_id from search_documents where term_ids && $1 limit 1000")
            .bind(terms)
            .fetch_all(&self.pool)
            .await?;
        Ok(())
    }
}

/// Rates of several runs become one: by the median of their percentiles.
pub(crate) fn percentile(runs: &[Latencies], share: f64) -> f64 {
    median(runs.iter().map(|run| run.percentile(share)).collect())
}
