//! Search: two arms over the passages of published articles, fused by score.
//!
//! 1. **Keyword.** The query's words are stemmed like the articles of each language; the rarest of them choose candidates
//!    through a GIN index, and BM25 scores the candidates, body and title apart ([`bm25`]). Synonyms, completions of a last
//!    word that is unknown, phrases and identifiers are part of it.
//! 2. **Semantic.** The query is embedded; the nearest passages choose candidates through the HNSW index or, where the caller
//!    sees few, an exact scan.
//! 3. **Fusion.** Every candidate gets its real score from *both* arms, whichever found it, and the scores are combined
//!    ([`fusion`]; the weights and how they were chosen are in docs/adr/0004-search.md).
//! 4. **Reranking**, where a reranker is configured: it puts the best in their final order.
//!
//! Tenant, visibility and filters apply inside both arms, before any limit. Without the embedding model the keyword arm
//! answers alone, and the outcome says so.

pub mod bm25;
mod catalogue;
pub mod contextual;
pub mod fusion;
pub mod history;
mod jobs;
mod keyword;
mod passages;
pub mod prune;
mod query;
mod query_vector;
mod rank;
mod related;
mod rerank;
mod scan;
mod snippet;
mod store;
mod suggest;
pub mod teach;
mod vectors;

use std::{collections::HashMap, sync::Arc, time::Duration};

use catalogue::Catalogue;
use moka::future::Cache;
use uuid::Uuid;

pub use jobs::PruneHistory;
pub use passages::{Found, FoundPassage};
pub use query::{Query, QueryError};
use query_vector::PendingVector;
pub use rank::Candidate;
use rank::Ranked;
use scan::Scan;
pub use scan::ef_search;
use store::State;
pub use suggest::{Suggestions, TitleSuggestion, complete};

use crate::{
    auth::Roles,
    config::SearchConfig,
    db::{Database, TenantTx},
    embedding::Embedder,
    knowledge::{self, Difficulty},
    reranker::Reranker,
    tenancy::TenantId,
};

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
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
    /// The asker's own language: articles in it come before others, and of translations theirs is shown.
    pub language: Option<String>,
}

impl SearchRequest {
    /// A search without filters.
    pub fn new(query: Query, limit: usize) -> Self {
        Self { query, limit, categories: None, tags: None, difficulty: None, locale: None, language: None }
    }

    fn has_filters(&self) -> bool {
        self.categories.is_some() || self.tags.is_some() || self.difficulty.is_some() || self.locale.is_some()
    }
}

/// A part of search that is not available.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Arm {
    /// By words.
    Keyword,
    /// By meaning.
    Semantic,
    /// The model that puts the best in their final order; it finds nothing by itself.
    Reranker,
}

impl Arm {
    /// As clients read it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Keyword => "keyword",
            Self::Semantic => "semantic",
            Self::Reranker => "reranker",
        }
    }
}

/// What was found.
#[derive(Debug, Clone)]
pub struct SearchOutcome {
    /// Best first, at most the limit.
    pub hits: Vec<Hit>,
    /// How many articles were found in all: at most what the arms contribute.
    pub total: usize,
    /// How many of them are of what.
    pub facets: Facets,
    /// What people searched for next who asked the same.
    pub suggestions: Vec<String>,
    /// The query with its mistakes put right, when no article has its words.
    pub did_you_mean: Option<String>,
    /// What was not available.
    pub degraded: Vec<Arm>,
}

/// How many of the articles that were found are of which kind, most first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facets {
    /// By category.
    pub categories: Vec<(Uuid, i64)>,
    /// By slug of the tag.
    pub tags: Vec<(String, i64)>,
    /// By difficulty.
    pub difficulties: Vec<(String, i64)>,
    /// By language.
    pub locales: Vec<(String, i64)>,
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
    /// The author's, or the beginning of the text where the author wrote none.
    pub summary: String,
    /// The part that fits best, as HTML in which only `<mark>` occurs.
    pub snippet: String,
    /// The heading that it stands under.
    pub anchor: Option<String>,
    /// Its category.
    pub category_id: Option<Uuid>,
    /// `BEGINNER`, `INTERMEDIATE` or `ADVANCED`.
    pub difficulty: String,
    /// Its language.
    pub locale: String,
    /// How often it was read.
    pub view_count: i64,
    /// helpful / votes; 0.5 without votes.
    pub helpful_ratio: f64,
    /// 0 to 1; comparable within one outcome only.
    pub score: f64,
    /// The arms that found it.
    pub matched: Vec<Arm>,
}

/// Searches. Cheap to clone.
#[derive(Clone)]
pub struct Search {
    database: Database,
    embedders: Vec<Arc<dyn Embedder>>,
    reranker: Option<Arc<Reranker>>,
    catalogue: Catalogue,
    scans: Cache<Asked, Scan>,
    /// Answers, each with the version of the index that it was made of.
    answers: Cache<Asked, (i64, Arc<SearchOutcome>)>,
    /// What is about the same as an article, with the version of the index that it was made of.
    related: Cache<related::Shown, (i64, Arc<[Uuid]>)>,
    /// The rules of tenants for pages, with the same version.
    rules: Cache<Uuid, (i64, Arc<contextual::ReadyRules>)>,
}

/// What an answer depends on, beside the index.
#[derive(PartialEq, Eq, Hash)]
struct Asked {
    tenant: Uuid,
    roles: Vec<String>,
    request: SearchRequest,
}

impl Asked {
    fn new(tenant: TenantId, roles: &Roles, request: SearchRequest) -> Self {
        let mut roles = roles.as_slice().to_vec();
        roles.sort_unstable();
        Self { tenant: tenant.uuid(), roles, request }
    }
}

/// How much memory search takes for what it remembers of articles, in MiB, unless told otherwise.
pub const DEFAULT_MEMORY_MEGABYTES: u32 = 192;
/// Of how many passages of a result, those nearest to the query, the one is chosen that is shown.
const NEAREST_SHOWN: usize = 3;
/// How long an answer holds when nothing has changed but views, votes and the time.
const KEPT_FOR: Duration = Duration::from_secs(60);
/// How long it holds that somebody sees few passages or many.
const SCAN_KEPT_FOR: Duration = Duration::from_secs(600);
/// Most answers that are kept; each takes some 20 kB.
const KEPT_ANSWERS: u64 = 2_000;
/// For how many callers and filters that is kept.
const KEPT_SCANS: u64 = 10_000;
/// Most articles whose neighbours are remembered; each takes some 300 bytes.
const KEPT_RELATED: u64 = 20_000;
/// Most rules that are kept; each takes some 3 kB.
const KEPT_RULES: u64 = 20_000;

impl Search {
    /// The first embedder is the one that articles are embedded by; others are there as long as their vectors serve. Without
    /// any, words alone decide.
    pub fn new(database: Database, embedders: impl IntoIterator<Item = Arc<dyn Embedder>>) -> Self {
        let scans = Cache::builder().max_capacity(KEPT_SCANS).time_to_live(SCAN_KEPT_FOR).build();
        let answers = Cache::builder().max_capacity(KEPT_ANSWERS).time_to_live(KEPT_FOR).build();
        let related = Cache::builder().max_capacity(KEPT_RELATED).build();
        let weight = |_: &Uuid, (_, rules): &(i64, Arc<contextual::ReadyRules>)| {
            u32::try_from(rules.len() + 1).unwrap_or(u32::MAX)
        };
        let rules = Cache::builder().max_capacity(KEPT_RULES).weigher(weight).build();
        let embedders = embedders.into_iter().collect();
        let catalogue = Catalogue::new(DEFAULT_MEMORY_MEGABYTES);
        Self { database, embedders, reranker: None, catalogue, scans, answers, related, rules }
    }

    /// As the configuration says. Fails when there can be no HTTP client for the reranker.
    pub fn from_config(
        config: &SearchConfig,
        database: Database,
        embedders: impl IntoIterator<Item = Arc<dyn Embedder>>,
    ) -> Result<Self, reqwest::Error> {
        let reranker = config.reranker.as_ref().map(Reranker::new).transpose()?;
        let search = Self::new(database, embedders).remembering(config.memory_megabytes);
        Ok(match reranker {
            Some(reranker) => search.reranked_by(reranker),
            None => search,
        })
    }

    /// Remembers as much of articles as fits in so many MiB, and nothing of before.
    #[must_use]
    pub fn remembering(self, megabytes: u32) -> Self {
        Self { catalogue: Catalogue::new(megabytes), ..self }
    }

    /// Lets a reranker have the last word.
    #[must_use]
    pub fn reranked_by(self, reranker: Reranker) -> Self {
        Self { reranker: Some(Arc::new(reranker)), ..self }
    }

    /// Searches a tenant's articles with the caller's roles. Equal searches are answered from memory as long as nothing has
    /// changed that could change the answer; views and votes may be a minute old then.
    pub async fn run(
        &self,
        tenant: TenantId,
        roles: &Roles,
        request: &SearchRequest,
    ) -> Result<Arc<SearchOutcome>, sqlx::Error> {
        let asked = Asked::new(tenant, roles, request.clone());
        let kept = self.answers.get(&asked).await;
        let early = if kept.is_none() { self.foreseen_vector(request) } else { None };
        let mut tx = self.database.tenant_with_generic_plans(tenant).await?;
        let state = store::state(&mut tx, &request.query.normalised()).await?;
        if let Some((_, outcome)) = kept.filter(|(known, _)| *known == state.version) {
            return Ok(outcome);
        }
        let outcome = Arc::new(self.answer(tx, roles, request, &state, early).await?);
        // What half of search answered is not worth keeping.
        if outcome.degraded.is_empty() {
            self.answers.insert(asked, (state.version, Arc::clone(&outcome))).await;
        }
        Ok(outcome)
    }

    async fn answer(
        &self,
        tx: TenantTx,
        roles: &Roles,
        request: &SearchRequest,
        state: &State,
        early: Option<PendingVector>,
    ) -> Result<SearchOutcome, sqlx::Error> {
        let vector = self.vector(early, request, state);
        let (mut tx, mut ranked) = self.rank(tx, roles, request, state, vector).await?;
        let looked_at = self.reranker.as_ref().map_or(0, |reranker| reranker.candidates()).max(request.limit);
        let ids: Vec<Uuid> = ranked.candidates.iter().take(looked_at).map(|candidate| candidate.article_id).collect();
        let lexemes: Vec<String> = ranked.lexemes.iter().cloned().collect();
        // A passage with an error code or a phrase may be far from what the question means.
        let passages = if ranked.must_have.is_nothing() { NEAREST_SHOWN } else { usize::MAX };
        let near: Vec<store::Near> = match &ranked.meaning {
            Some(meaning) => ids.iter().flat_map(|id| meaning.nearest_passages(*id, passages)).collect(),
            None => Vec::new(),
        };
        let rows = store::hits(&mut tx, roles, &ids, &near, &lexemes, &ranked.must_have).await?;
        let mut rows: HashMap<Uuid, store::HitRow> = rows.into_iter().map(|row| (row.id, row)).collect();
        let suggestions =
            if state.has_refinements { suggest::related(&mut tx, roles, &request.query).await? } else { Vec::new() };
        let no_word_matches = !ranked.candidates.iter().any(|candidate| candidate.evidence.by_keyword);
        let did_you_mean = if no_word_matches { suggest::did_you_mean(&mut tx, roles, request).await? } else { None };
        drop(tx); // others may have the connection while a server is asked
        let mut degraded = Vec::new();
        if ranked.meaning.is_none() {
            degraded.push(Arm::Semantic);
        }
        if let Some(reranker) = &self.reranker
            && !rerank::rerank(reranker, request, &mut ranked, &rows).await
        {
            degraded.push(Arm::Reranker);
        }
        let page = ranked.candidates.iter().take(request.limit);
        let hits = page.filter_map(|c| Some(hit(c, rows.remove(&c.article_id)?, &ranked))).collect();
        Ok(SearchOutcome {
            hits,
            total: ranked.candidates.len(),
            facets: ranked.facets,
            suggestions,
            did_you_mean,
            degraded,
        })
    }

    /// All candidates of a query, best first, with the evidence that their order follows from: what relevance is judged by.
    pub async fn ranking(
        &self,
        tenant: TenantId,
        roles: &Roles,
        request: &SearchRequest,
    ) -> Result<Vec<Candidate>, sqlx::Error> {
        let mut tx = self.database.tenant_with_generic_plans(tenant).await?;
        let state = store::state(&mut tx, &request.query.normalised()).await?;
        let vector = self.vector(None, request, &state);
        Ok(self.rank(tx, roles, request, &state, vector).await?.1.candidates)
    }

    /// Begins to embed a query before anything is known of the tenant, where there is only one model that may serve: a
    /// connection and the first answer of PostgreSQL take as long as a tenth of it.
    fn foreseen_vector(&self, request: &SearchRequest) -> Option<PendingVector> {
        match self.embedders.as_slice() {
            [embedder] => Some(PendingVector::start(embedder, request.query.as_str())),
            _ => None,
        }
    }

    /// Embeds a query by the model that serves, or by the first where none does yet, if it was not begun early.
    fn vector(&self, early: Option<PendingVector>, request: &SearchRequest, state: &State) -> Option<PendingVector> {
        let model = state.model.as_deref();
        if let Some(early) = early.filter(|vector| vector.serves(model)) {
            return Some(early);
        }
        let serves = |embedder: &&Arc<dyn Embedder>| model.is_none_or(|model| embedder.model().as_ref() == model);
        let embedder = self.embedders.iter().find(serves);
        if embedder.is_none() {
            tracing::warn!(
                model,
                "search.semantic_arm_down: articles are embedded by this model, which is not configured here: name it in \
                 EMBEDDING_PREVIOUS_PROVIDER and what belongs to it until `helpcenter index-status` says that another one serves"
            );
        }
        embedder.map(|embedder| PendingVector::start(embedder, request.query.as_str()))
    }
}

/// The stems of a text's words in their order, as the index of a language has them; `locale`: the language of the text.
pub(crate) fn stems(text: &str, locale: &str) -> Vec<String> {
    snippet::stems(text, locale)
}

fn hit(candidate: &Candidate, row: store::HitRow, ranked: &Ranked) -> Hit {
    let matched = [(candidate.evidence.by_keyword, Arm::Keyword), (candidate.evidence.by_meaning, Arm::Semantic)];
    let text = row.passage.as_deref().unwrap_or(&row.summary);
    Hit {
        snippet: snippet::snippet(text, &ranked.lexemes, &ranked.must_have.identifiers, &row.locale),
        id: row.id,
        slug: row.slug,
        title: row.title,
        summary: row.summary,
        anchor: row.anchor,
        category_id: row.category_id,
        difficulty: row.difficulty,
        locale: row.locale,
        view_count: row.view_count,
        helpful_ratio: knowledge::helpful_ratio(row.helpful_count, row.not_helpful_count),
        score: candidate.score,
        matched: matched.into_iter().filter_map(|(found, arm)| found.then_some(arm)).collect(),
    }
}
