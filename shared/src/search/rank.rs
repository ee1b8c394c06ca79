//! From two arms to one order.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    pin::pin,
    time::Duration,
};

use futures::future::{Either, select};
use pgvector::HalfVector;
use uuid::Uuid;

use super::{
    Asked, Facets, Search, SearchRequest,
    fusion::{self, Evidence, Similarity},
    keyword::{COMPARED, Keyword},
    query::Query,
    store::{self, CandidateRow, Facts, Nearby, State},
};
use crate::{auth::Roles, db::TenantTx};

/// All visible passages are compared where they are fewer than the square root of this and of the number of all passages: the
/// HNSW index has to go through `200 * all / visible` of them, at some ten times the cost of comparing one.
const EXACT_FACTOR: i64 = 2_000;
/// What an article in another language than the asker's scores, beside one in theirs.
const OTHER_LANGUAGE: f64 = 0.7;
/// How far quality can lift an article: only among those that fit about equally well.
const PRIOR: f64 = 0.01;

/// How long a search keeps its connection to PostgreSQL while it waits for its vector alone: longer than the local model takes.
/// Then others may have it, so that a remote model that takes long does not take all connections.
const CONNECTION_KEPT_FOR: Duration = Duration::from_millis(30);

/// A candidate with what each arm measured and the fused score.
#[derive(Debug, Clone)]
pub struct Candidate {
    /// The article.
    pub article_id: Uuid,
    /// What the arms measured.
    pub evidence: Evidence,
    /// 0 to 1.
    pub score: f64,
}

/// Candidates in their order, and what is needed to show them.
pub(super) struct Ranked {
    pub(super) tx: TenantTx,
    /// Best first.
    pub(super) candidates: Vec<Candidate>,
    pub(super) facets: Facets,
    pub(super) lexemes: HashSet<String>,
    /// The query's vector with the name of its model.
    pub(super) embedding: Option<(String, HalfVector)>,
}

impl Search {
    pub(super) async fn rank(
        &self,
        mut tx: TenantTx,
        roles: &Roles,
        request: &SearchRequest,
        state: &State,
    ) -> Result<Ranked, sqlx::Error> {
        let parsed = request.query.parse();
        let mut embedding = pin!(self.embed(request.query.as_str(), state.model.as_deref()));
        let (early, keyword) = {
            let keyword = pin!(Keyword::search(&mut tx, roles, request, &parsed, state.has_synonyms));
            match select(embedding.as_mut(), keyword).await {
                Either::Left((embedding, keyword)) => (Some(embedding), keyword.await?),
                Either::Right((keyword, _)) => (None, keyword?),
            }
        };
        let in_time = match early {
            Some(embedding) => Some(embedding),
            None => tokio::time::timeout(CONNECTION_KEPT_FOR, embedding.as_mut()).await.ok(),
        };
        let embedding = if let Some(embedding) = in_time {
            embedding
        } else {
            let tenant = tx.tenant();
            drop(tx);
            let embedding = embedding.await;
            tx = self.database.tenant(tenant).await?;
            embedding
        };
        let nearby = match &embedding {
            Some((model, vector)) => Some(Nearby {
                model,
                vector,
                // What is quoted must be there: the words decide alone which articles are candidates.
                is_wanted: keyword.phrase.is_none(),
                is_exact: self.sees_few(&mut tx, roles, request).await?,
            }),
            None => None,
        };
        let found: Vec<Uuid> = keyword.found.iter().map(|(id, _)| *id).collect();
        let rows = store::candidates(&mut tx, roles, request, nearby.as_ref(), &found, COMPARED).await?;
        let mut facts = HashMap::new();
        let mut evidence: HashMap<Uuid, Evidence> = HashMap::new();
        for row in rows {
            evidence.insert(row.article_id, evidence_of(&row, &keyword));
            facts.insert(row.article_id, row.facts);
        }
        for (id, found) in &keyword.found {
            if let Some(evidence) = evidence.get_mut(id) {
                evidence.by_keyword = true;
                evidence.set_match(found.score, found.has_identifier);
            }
        }
        let fused = fusion::fuse(evidence.into_iter().collect(), &fusion::Weights::default());
        let mut candidates: Vec<Candidate> =
            fused.into_iter().map(|(article_id, evidence, score)| Candidate { article_id, evidence, score }).collect();
        let pinned =
            if state.has_pins { store::pins(&mut tx, roles, &request.query.normalised()).await? } else { Vec::new() };
        if !pinned.is_empty() && !request.has_filters() {
            let found: HashSet<Uuid> = candidates.iter().map(|candidate| candidate.article_id).collect();
            let missing: Vec<Uuid> = pinned.iter().copied().filter(|id| !found.contains(id)).collect();
            for row in store::candidates(&mut tx, roles, request, None, &missing, 0).await? {
                let (article_id, evidence) = (row.article_id, Evidence::default());
                candidates.push(Candidate { article_id, evidence, score: 0.0 });
                facts.insert(article_id, row.facts);
            }
        }
        settle(&mut candidates, &facts, request.language.as_deref());
        // A stable sort: the others keep their order.
        candidates.sort_by_key(|c| pinned.iter().position(|id| *id == c.article_id).unwrap_or(usize::MAX));
        let facets = facets(&candidates, &facts);
        Ok(Ranked { tx, candidates, facets, lexemes: keyword.lexemes, embedding })
    }

    /// The articles of the 200 passages nearest to a vector of this model, of those that the caller may see and that pass the
    /// filters of the request; in no order.
    pub async fn nearest(
        &self,
        tx: &mut TenantTx,
        roles: &Roles,
        request: &SearchRequest,
        model: &str,
        vector: &HalfVector,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let is_exact = self.sees_few(tx, roles, request).await?;
        let nearby = Nearby { model, vector, is_wanted: true, is_exact };
        let near = store::candidates(tx, roles, request, Some(&nearby), &[], 0).await?;
        Ok(near.into_iter().map(|row| row.article_id).collect())
    }

    /// Whether the caller sees so few passages that all of them are compared, as far as it is known: it changes how they are
    /// searched and never which.
    async fn sees_few(&self, tx: &mut TenantTx, roles: &Roles, request: &SearchRequest) -> Result<bool, sqlx::Error> {
        let filters = SearchRequest { query: Query::nothing(), limit: 0, language: None, ..request.clone() };
        let audience = Asked::new(tx.tenant(), roles, filters);
        if let Some(known) = self.exact.get(&audience).await {
            return Ok(known);
        }
        let (visible, all) = store::passage_counts(tx, roles, request).await?;
        let sees_few = visible.saturating_mul(visible) < EXACT_FACTOR * all.max(visible);
        self.exact.insert(audience, sees_few).await;
        Ok(sees_few)
    }
}

/// What the arms know of an article that words may have found as well.
fn evidence_of(row: &CandidateRow, keyword: &Keyword) -> Evidence {
    // While an article is half embedded, one stands in for the other.
    let similarity = row.body.or(row.title).map(|body| Similarity { body, title: row.title.unwrap_or(body) });
    let mut evidence = Evidence { similarity, by_meaning: row.is_nearest, ..Evidence::default() };
    if let Some(document) = &row.document {
        let found = keyword.judge(document);
        evidence.set_match(found.score, found.has_identifier);
    }
    evidence
}

/// Puts candidates in their final order: quality among near-ties, the asker's language before others, and of several
/// translations of one article only the best.
fn settle(candidates: &mut Vec<Candidate>, facts: &HashMap<Uuid, Facts>, language: Option<&str>) {
    candidates.retain(|candidate| facts.contains_key(&candidate.article_id));
    let mut keyed: Vec<(f64, Candidate)> = candidates
        .drain(..)
        .filter_map(|mut candidate| {
            let facts = facts.get(&candidate.article_id)?;
            if language.is_some_and(|language| primary(language) != primary(&facts.locale)) {
                candidate.score *= OTHER_LANGUAGE;
            }
            Some((candidate.score + PRIOR * prior(facts), candidate))
        })
        .collect();
    keyed.sort_by(|(x, a), (y, b)| y.total_cmp(x).then_with(|| a.article_id.cmp(&b.article_id)));
    let mut groups = HashSet::new();
    candidates.extend(keyed.into_iter().map(|(_, candidate)| candidate).filter(|candidate| {
        facts.get(&candidate.article_id).is_some_and(|facts| groups.insert(facts.translation_group))
    }));
}

/// How good an article is by what readers say and do, 0 to 1: half of it helpfulness, three tenths how often it is read (ten
/// thousand times is as good as it gets), and two tenths how fresh it is (halved each year).
#[expect(clippy::cast_precision_loss, reason = "views stay far below 2^52")]
fn prior(facts: &Facts) -> f64 {
    let views = (facts.view_count.max(0) as f64).ln_1p() / 10_000_f64.ln_1p();
    let freshness = 0.5_f64.powf(facts.age_days.max(0.0) / 365.0);
    0.5 * facts.helpfulness + 0.3 * views.min(1.0) + 0.2 * freshness
}

/// `pt` of `pt-BR`.
fn primary(locale: &str) -> String {
    locale.split(['-', '_']).next().unwrap_or_default().to_lowercase()
}

fn facets(candidates: &[Candidate], facts: &HashMap<Uuid, Facts>) -> Facets {
    let found = || candidates.iter().filter_map(|candidate| facts.get(&candidate.article_id));
    Facets {
        categories: counted(found().filter_map(|facts| facts.category_id)),
        tags: counted(found().flat_map(|facts| facts.tags.clone())),
        difficulties: counted(found().map(|facts| facts.difficulty.clone())),
        locales: counted(found().map(|facts| facts.locale.clone())),
    }
}

fn counted<T: Eq + Hash + Ord + Clone>(values: impl Iterator<Item = T>) -> Vec<(T, i64)> {
    let mut counts: HashMap<T, i64> = HashMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<(T, i64)> = counts.into_iter().collect();
    counts.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(locale: &str, group: Uuid, view_count: i64) -> Facts {
        Facts {
            category_id: None,
            tags: Vec::new(),
            difficulty: "BEGINNER".to_owned(),
            locale: locale.to_owned(),
            translation_group: group,
            view_count,
            helpfulness: 0.0,
            age_days: 0.0,
        }
    }

    /// The numbers of the articles, in their order, given score, locale, translation group and views of each.
    fn order(articles: &[(f64, &str, u128, i64)], language: Option<&str>) -> Vec<u128> {
        let known = articles.iter().zip(1..).map(|((_, locale, group, views), n)| {
            let id = Uuid::from_u128(n);
            (id, facts(locale, Uuid::from_u128(*group), *views))
        });
        let mut candidates: Vec<Candidate> = articles
            .iter()
            .zip(1..)
            .map(|((score, ..), n)| Candidate {
                article_id: Uuid::from_u128(n),
                evidence: Evidence::default(),
                score: *score,
            })
            .collect();
        settle(&mut candidates, &known.collect(), language);
        candidates.into_iter().map(|candidate| candidate.article_id.as_u128()).collect()
    }

    #[test]
    fn quality_decides_between_articles_that_fit_alike_and_no_others() {
        assert_eq!(order(&[(0.800, "en", 1, 0), (0.799, "en", 2, 9_000)], None), [2, 1]);
        assert_eq!(order(&[(0.82, "en", 1, 0), (0.80, "en", 2, 9_000)], None), [1, 2]);
    }

    #[test]
    fn the_askers_language_comes_first_and_one_translation_is_enough() {
        let articles = [(0.9, "en", 1, 0), (0.8, "de-AT", 1, 0), (0.7, "de", 3, 0)];
        assert_eq!(order(&articles, None), [1, 3]);
        assert_eq!(order(&articles, Some("de")), [2, 3]);
    }

    #[test]
    fn facets_count_most_first() {
        assert_eq!(counted(["b", "a", "c", "a"].into_iter()), [("a", 2), ("b", 1), ("c", 1)]);
    }
}
