//! From two arms to one order.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
};

use pgvector::Vector;
use uuid::Uuid;

use super::{
    Asked, Facets, Search, SearchRequest,
    fusion::{self, Evidence, Similarity},
    keyword::Keyword,
    query::Query,
    store::{self, Near, Nearest, State},
};
use crate::{auth::Roles, db::TenantTx};

/// Where the caller sees fewer passages than this, all of them are compared: faster than the HNSW index under filters, and
/// complete.
const EXACT_BELOW: i64 = 2_500;
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
        state: &State,
    ) -> Result<Ranked, sqlx::Error> {
        let parsed = request.query.parse();
        let (embedding, keyword) = tokio::join!(
            self.embed(request.query.as_str(), state.model.as_deref()),
            Keyword::search(&mut tx, roles, request, &parsed, state.has_synonyms)
        );
        let keyword = keyword?;
        let semantic = match &embedding {
            // What is quoted must be there: the words decide alone which articles are candidates.
            Some((model, vector)) if keyword.phrase.is_none() => {
                self.near(&mut tx, roles, request, model, vector).await?
            }
            _ => Vec::new(),
        };
        let mut evidence: HashMap<Uuid, Evidence> = HashMap::new();
        for (id, found) in &keyword.found {
            let entry = evidence.entry(*id).or_default();
            entry.by_keyword = true;
            entry.set_match(found.score, found.has_identifier);
        }
        for Nearest { near, document } in &semantic {
            let entry = evidence.entry(near.article_id).or_default();
            entry.by_meaning = true;
            if let Some(document) = document.as_ref().filter(|_| !entry.by_keyword) {
                let found = keyword.judge(document);
                entry.set_match(found.score, found.has_identifier);
            }
        }
        if let Some((model, vector)) = &embedding {
            for (id, similarity) in similarities(&mut tx, semantic, &keyword.compared, model, vector).await? {
                evidence.entry(id).or_default().similarity = Some(similarity);
            }
        }
        let fused = fusion::fuse(evidence.into_iter().collect(), &fusion::Weights::default());
        let mut candidates: Vec<Candidate> =
            fused.into_iter().map(|(article_id, evidence, score)| Candidate { article_id, evidence, score }).collect();
        let pinned =
            if state.has_pins { store::pins(&mut tx, roles, &request.query.normalised()).await? } else { Vec::new() };
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
        let ids: Vec<Uuid> = candidates.iter().map(|candidate| candidate.article_id).collect();
        let facets = Facets { tags: store::tag_counts(&mut tx, &ids).await?, ..facets(&candidates, &facts) };
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
        vector: &Vector,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let near = self.near(tx, roles, request, model, vector).await?;
        Ok(near.into_iter().map(|found| found.near.article_id).collect())
    }

    async fn near(
        &self,
        tx: &mut TenantTx,
        roles: &Roles,
        request: &SearchRequest,
        model: &str,
        vector: &Vector,
    ) -> Result<Vec<Nearest>, sqlx::Error> {
        let exact = self.visible_passages(tx, roles, request).await? < EXACT_BELOW;
        store::semantic_candidates(tx, roles, request, model, vector, exact).await
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

/// The similarities of what the semantic arm has found and of others: what is known already, and the rest.
async fn similarities(
    tx: &mut TenantTx,
    semantic: Vec<Nearest>,
    others: &HashSet<Uuid>,
    model: &str,
    vector: &Vector,
) -> Result<HashMap<Uuid, Similarity>, sqlx::Error> {
    let mut known: HashMap<Uuid, Near> =
        semantic.into_iter().map(|found| (found.near.article_id, found.near)).collect();
    let (mut articles, mut titles) = (Vec::new(), Vec::new());
    articles.extend(others.iter().filter(|id| !known.contains_key(id)));
    for near in known.values() {
        match near {
            // The nearest passage of an article is among the nearest of all when any of its passages is.
            Near { body: Some(_), title: Some(_), .. } => {}
            Near { body: Some(_), title: None, .. } => titles.push(near.article_id),
            Near { body: None, .. } => articles.push(near.article_id),
        }
    }
    for found in store::similarities(tx, &articles, &titles, model, vector).await? {
        let entry = known.entry(found.article_id).or_insert(Near { body: None, title: None, ..found });
        entry.body = entry.body.or(found.body);
        entry.title = entry.title.or(found.title);
    }
    let similarity = |(id, near): (Uuid, Near)| {
        // While an article is half embedded, one stands in for the other.
        let body = near.body.or(near.title)?;
        Some((id, Similarity { body, title: near.title.unwrap_or(body) }))
    };
    Ok(known.into_iter().filter_map(similarity).collect())
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
        tags: Vec::new(),
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
