//! Search: two arms over the passages of published articles, fused by score.
//!
//! 1. **Keyword.** The query's words are stemmed like the articles; the rarest of them choose candidates through the GIN
//!    index, and BM25 scores the candidates, body and title apart ([`bm25`]).
//! 2. **Semantic.** The query is embedded; the nearest passages choose candidates through the HNSW index or, in small help
//!    centers, an exact scan.
//! 3. **Fusion.** Every candidate gets its real score from *both* arms, whichever found it, and the scores are combined
//!    ([`fusion`]; the weights and how they were chosen are in docs/adr/0004-search.md).
//!
//! Tenant, visibility and filters apply inside both arms, before any limit. Without the embedding model the keyword arm
//! answers alone, and the outcome says so.

pub mod bm25;
pub mod fusion;
mod query;
mod snippet;
mod store;

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use pgvector::Vector;
use uuid::Uuid;

pub use query::{Query, QueryError};

use crate::{
    auth::Roles,
    db::{Database, TenantTx},
    embedding::{Embedder, Embedding},
    knowledge::Difficulty,
    tenancy::TenantId,
};

/// Most articles that each arm contributes.
const ARM_LIMIT: usize = 100;
/// How long the model may take for a query before the keyword arm answers alone.
const EMBED_TIMEOUT: Duration = Duration::from_secs(2);

/// What is asked for.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// The words.
    pub query: Query,
    /// At most so many results, 1 to 50.
    pub limit: usize,
    /// Only from these categories.
    pub categories: Option<Vec<Uuid>>,
    /// Only with one of these tags, by slug.
    pub tags: Option<Vec<String>>,
    /// Only of this difficulty.
    pub difficulty: Option<Difficulty>,
    /// Only in this language.
    pub locale: Option<String>,
}

/// A part of search that is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// By words.
    Keyword,
    /// By meaning.
    Semantic,
}

/// What was found.
#[derive(Debug, Clone)]
pub struct SearchOutcome {
    /// Best first, at most the limit.
    pub hits: Vec<Hit>,
    /// How many articles were found in all: at most what the arms contribute.
    pub total: usize,
    /// What was not available.
    pub degraded: Vec<Arm>,
}

/// A found article.
#[derive(Debug, Clone)]
pub struct Hit {
    /// Identity.
    pub id: Uuid,
    /// Present address.
    pub slug: String,
    /// Title.
    pub title: String,
    /// Summary.
    pub summary: String,
    /// The passage that fits best, as HTML in which only `<mark>` occurs.
    pub snippet: String,
    /// The heading that the passage stands under.
    pub anchor: Option<String>,
    /// Its category.
    pub category_id: Option<Uuid>,
    /// `BEGINNER`, `INTERMEDIATE` or `ADVANCED`.
    pub difficulty: String,
    /// How often it was read.
    pub view_count: i64,
    /// helpful / votes; 0.5 without votes.
    pub helpful_ratio: f64,
    /// 0 to 1; comparable within one outcome only.
    pub score: f64,
    /// The arms that found it.
    pub matched: Vec<Arm>,
}

/// Searches a tenant's articles with the caller's roles.
pub async fn search(
    database: &Database,
    embedder: Option<&dyn Embedder>,
    tenant: TenantId,
    roles: &Roles,
    request: &SearchRequest,
) -> Result<SearchOutcome, sqlx::Error> {
    let (embedding, keyword) = tokio::join!(embed(embedder, request.query.as_str()), async {
        let mut tx = database.tenant(tenant).await?;
        let keyword = keyword_candidates(&mut tx, roles, request).await?;
        Ok::<_, sqlx::Error>((tx, keyword))
    });
    let (mut tx, keyword) = keyword?;
    let degraded = if embedding.is_none() { vec![Arm::Semantic] } else { Vec::new() };
    let ranked = rank(&mut tx, roles, request, keyword, embedding.as_ref()).await?;
    let total = ranked.candidates.len();
    let page = &ranked.candidates[..total.min(request.limit)];
    let hits = store::hits(&mut tx, page, &ranked.lexemes, embedding.map(|(_, v)| v).as_ref()).await?;
    Ok(SearchOutcome { hits, total, degraded })
}

/// A candidate with what each arm measured and the fused score.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The article.
    pub article_id: Uuid,
    /// What the arms measured.
    pub evidence: fusion::Evidence,
    /// 0 to 1.
    pub score: f64,
}

/// All candidates of a query, best first, with the evidence that their order follows from: what relevance is judged by.
pub async fn ranking(
    database: &Database,
    embedder: Option<&dyn Embedder>,
    tenant: TenantId,
    roles: &Roles,
    request: &SearchRequest,
) -> Result<Vec<Candidate>, sqlx::Error> {
    let embedding = embed(embedder, request.query.as_str()).await;
    let mut tx = database.tenant(tenant).await?;
    let keyword = keyword_candidates(&mut tx, roles, request).await?;
    Ok(rank(&mut tx, roles, request, keyword, embedding.as_ref()).await?.candidates)
}

/// The query's vector with the name of its model; `None`, when the model is not available in time.
async fn embed(embedder: Option<&dyn Embedder>, query: &str) -> Option<(String, Vector)> {
    let embedder = embedder?;
    let embedded = match tokio::time::timeout(EMBED_TIMEOUT, embedder.embed(vec![query.to_owned()])).await {
        Ok(Ok(vectors)) => vectors.into_iter().next().map(Embedding::into_vec),
        Ok(Err(error)) => {
            tracing::warn!(%error, "search.semantic_arm_down");
            None
        }
        Err(_) => {
            tracing::warn!(timeout_ms = EMBED_TIMEOUT.as_millis(), "search.semantic_arm_down: the model took too long");
            None
        }
    };
    embedded.map(|vector| (embedder.model().to_string(), Vector::from(vector)))
}

struct Keyword {
    /// The query's lexemes that occur in the tenant's articles, rarest first, with their document frequency.
    terms: Vec<store::Term>,
    totals: bm25::Totals,
    candidates: Vec<Uuid>,
}

async fn keyword_candidates(tx: &mut TenantTx, roles: &Roles, request: &SearchRequest) -> Result<Keyword, sqlx::Error> {
    let terms = store::terms(tx, request.query.as_str()).await?;
    let totals = store::totals(tx).await?;
    let driving: Vec<String> = query::driving_terms(&terms).map(|term| term.lexeme.clone()).collect();
    let candidates =
        if driving.is_empty() { Vec::new() } else { store::keyword_candidates(tx, roles, request, &driving).await? };
    Ok(Keyword { terms, totals, candidates })
}

struct Ranked {
    candidates: Vec<Candidate>,
    lexemes: Vec<String>,
}

async fn rank(
    tx: &mut TenantTx,
    roles: &Roles,
    request: &SearchRequest,
    keyword: Keyword,
    embedding: Option<&(String, Vector)>,
) -> Result<Ranked, sqlx::Error> {
    let lexemes: Vec<String> = keyword.terms.iter().map(|term| term.lexeme.clone()).collect();
    let semantic = match embedding {
        Some((model, vector)) => store::semantic_candidates(tx, roles, request, model, vector).await?,
        None => Vec::new(),
    };
    let semantic: HashSet<Uuid> = semantic.into_iter().collect();
    let all: Vec<Uuid> = keyword
        .candidates
        .iter()
        .copied()
        .chain(semantic.iter().copied())
        .collect::<HashSet<_>>()
        .into_iter()
        .collect();
    let frequencies = store::frequencies(tx, &all, &lexemes).await?;
    let document_frequencies: Vec<i64> = keyword.terms.iter().map(|term| term.article_count).collect();
    let lexical: HashMap<Uuid, bm25::Score> = frequencies
        .into_iter()
        .map(|document| {
            (document.article_id, bm25::score(&document.frequencies, &document_frequencies, &keyword.totals))
        })
        .collect();

    let mut by_keyword: Vec<Uuid> = keyword.candidates;
    by_keyword.sort_by(|a, b| {
        let total = |id| lexical.get(id).map_or(0.0, bm25::Score::total);
        total(b).total_cmp(&total(a)).then_with(|| a.cmp(b))
    });
    by_keyword.truncate(ARM_LIMIT);
    let by_keyword: HashSet<Uuid> = by_keyword.into_iter().collect();

    let chosen: Vec<Uuid> = by_keyword.union(&semantic).copied().collect();
    let similarities = match embedding {
        Some((model, vector)) => store::similarities(tx, &chosen, model, vector).await?,
        None => HashMap::new(),
    };
    let evidence: Vec<(Uuid, fusion::Evidence)> = chosen
        .into_iter()
        .map(|id| {
            let lexical = lexical.get(&id).copied().unwrap_or_default();
            let evidence = fusion::Evidence {
                body_bm25: lexical.body,
                title_bm25: lexical.title,
                similarity: similarities.get(&id).copied(),
                by_keyword: by_keyword.contains(&id),
                by_meaning: semantic.contains(&id),
            };
            (id, evidence)
        })
        .collect();
    let mut candidates: Vec<Candidate> = fusion::fuse(evidence, &fusion::Weights::default())
        .into_iter()
        .map(|(article_id, evidence, score)| Candidate { article_id, evidence, score })
        .collect();
    candidates.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.article_id.cmp(&b.article_id)));
    Ok(Ranked { candidates, lexemes })
}
