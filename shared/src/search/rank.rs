//! From two arms to one order.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use pgvector::Vector;
use uuid::Uuid;

use super::{
    Asked, Facets, Search, SearchRequest,
    fusion::{self, Evidence},
    keyword::Keyword,
    query::Query,
    store,
};
use crate::{auth::Roles, db::TenantTx};

/// Where the caller sees fewer passages than this, all of them are compared: faster than the HNSW index under filters, and
/// complete.
const EXACT_BELOW: i64 = 5_000;
/// What an article in another language than the asker's scores, beside one in theirs.
const OTHER_LANGUAGE: f64 = 0.7;
/// How far quality can lift an article: only among those that fit about equally well.
const PRIOR: f64 = 0.01;

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
    pub(super) embedding: Option<(String, Vector)>,
}

impl Search {
    pub(super) async fn rank(
        &self,
        mut tx: TenantTx,
        roles: &Roles,
        request: &SearchRequest,
    ) -> Result<Ranked, sqlx::Error> {
        let parsed = request.query.parse();
        let (embedding, keyword) =
            tokio::join!(self.embed(request.query.as_str()), Keyword::search(&mut tx, roles, request, &parsed));
        let keyword = keyword?;
        let semantic = match &embedding {
            // What is quoted must be there: the words decide alone which articles are candidates.
            Some((model, vector)) if keyword.phrase.is_none() => {
                let exact = self.visible_passages(&mut tx, roles, request).await? < EXACT_BELOW;
                store::semantic_candidates(&mut tx, roles, request, model, vector, exact).await?
            }
            _ => Vec::new(),
        };
        let mut evidence: HashMap<Uuid, Evidence> = HashMap::new();
        for (id, found) in &keyword.found {
            let entry = evidence.entry(*id).or_default();
            entry.by_keyword = true;
            entry.set_match(found.score, found.has_identifier);
        }
        let others: Vec<Uuid> = semantic.iter().copied().filter(|id| !keyword.found.contains_key(id)).collect();
        let judged = keyword.judge_others(&mut tx, &others).await?;
        for id in &semantic {
            let entry = evidence.entry(*id).or_default();
            entry.by_meaning = true;
            if let Some(found) = judged.get(id) {
                entry.set_match(found.score, found.has_identifier);
            }
        }
        if let Some((model, vector)) = &embedding {
            let ids: Vec<Uuid> = evidence.keys().copied().collect();
            for (id, similarity) in store::similarities(&mut tx, &ids, model, vector).await? {
                evidence.entry(id).or_default().similarity = Some(similarity);
            }
        }
        let fused = fusion::fuse(evidence.into_iter().collect(), &fusion::Weights::default());
        let mut candidates: Vec<Candidate> =
            fused.into_iter().map(|(article_id, evidence, score)| Candidate { article_id, evidence, score }).collect();
        let pinned = store::pins(&mut tx, roles, &request.query.normalised()).await?;
        if !request.has_filters() {
            let found: HashSet<Uuid> = candidates.iter().map(|candidate| candidate.article_id).collect();
            candidates.extend(pinned.iter().filter(|id| !found.contains(id)).map(|id| Candidate {
                article_id: *id,
                evidence: Evidence::default(),
                score: 0.0,
            }));
        }
        let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.article_id).collect();
        let facts: HashMap<Uuid, store::Facts> =
            store::facts(&mut tx, &ids).await?.into_iter().map(|facts| (facts.id, facts)).collect();
        settle(&mut candidates, &facts, request.language.as_deref());
        // A stable sort: the others keep their order.
        candidates.sort_by_key(|c| pinned.iter().position(|id| *id == c.article_id).unwrap_or(usize::MAX));
        let facets = facets(&candidates, &facts);
        Ok(Ranked { tx, candidates, facets, lexemes: keyword.lexemes, embedding })
    }

    /// How many passages the caller may see, as far as it is known: it changes how they are searched and never which.
    async fn visible_passages(
        &self,
        tx: &mut TenantTx,
        roles: &Roles,
        request: &SearchRequest,
    ) -> Result<i64, sqlx::Error> {
        let filters = SearchRequest { query: Query::nothing(), limit: 0, language: None, ..request.clone() };
        let audience = Asked::new(tx.tenant(), roles, filters);
        if let Some(known) = self.visible.get(&audience).await {
            return Ok(known);
        }
        let passages = store::visible_passages(tx, roles, request).await?;
        self.visible.insert(audience, passages).await;
        Ok(passages)
    }
}

/// Puts candidates in their final order: quality among near-ties, the asker's language before others, and of several
/// translations of one article only the best.
fn settle(candidates: &mut Vec<Candidate>, facts: &HashMap<Uuid, store::Facts>, language: Option<&str>) {
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
fn prior(facts: &store::Facts) -> f64 {
    let views = (facts.view_count.max(0) as f64).ln_1p() / 10_000_f64.ln_1p();
    let freshness = 0.5_f64.powf(facts.age_days.max(0.0) / 365.0);
    0.5 * facts.helpfulness + 0.3 * views.min(1.0) + 0.2 * freshness
}

/// `pt` of `pt-BR`.
fn primary(locale: &str) -> String {
    locale.split(['-', '_']).next().unwrap_or_default().to_lowercase()
}

fn facets(candidates: &[Candidate], facts: &HashMap<Uuid, store::Facts>) -> Facets {
    let found = || candidates.iter().filter_map(|candidate| facts.get(&candidate.article_id));
    Facets {
        categories: counted(found().filter_map(|facts| facts.category_id)),
        tags: counted(found().flat_map(|facts| facts.tags.iter().cloned())),
        difficulties: counted(found().map(|facts| facts.difficulty.clone())),
        locales: counted(found().map(|facts| facts.locale.clone())),
    }
}

fn counted<T: Eq + Hash + Ord + Clone>(values: impl Iterator<Item = T>) -> Vec<(T, usize)> {
    let mut counts: HashMap<T, usize> = HashMap::new();
    for value in values {
        *counts.entry(value).or_default() += 1;
    }
    let mut counts: Vec<(T, usize)> = counts.into_iter().collect();
    counts.sort_by(|(a, x), (b, y)| y.cmp(x).then_with(|| a.cmp(b)));
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(id: Uuid, locale: &str, group: Uuid, view_count: i64) -> store::Facts {
        store::Facts {
            id,
            category_id: None,
            difficulty: "BEGINNER".to_owned(),
            locale: locale.to_owned(),
            translation_group: group,
            view_count,
            helpfulness: 0.0,
            age_days: 0.0,
            tags: Vec::new(),
        }
    }

    /// The numbers of the articles, in their order, given score, locale, translation group and views of each.
    fn order(articles: &[(f64, &str, u128, i64)], language: Option<&str>) -> Vec<u128> {
        let known = articles.iter().zip(1..).map(|((_, locale, group, views), n)| {
            let id = Uuid::from_u128(n);
            (id, facts(id, locale, Uuid::from_u128(*group), *views))
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
