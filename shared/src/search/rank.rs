//! From two arms to one order.

use std::{
    collections::{HashMap, HashSet},
    hash::Hash,
    mem,
    time::Duration,
};

use rustc_hash::FxHashSet;
use uuid::Uuid;

use super::{
    Facets, Search, SearchRequest,
    catalogue::{ByArticle, Entries, Facts},
    fusion::{self, Evidence, Similarity},
    keyword::{COMPARED, Keyword},
    query_vector::{PendingVector, QueryVector},
    store::{self, MustHave, Near, State},
    vectors::Similarities,
};
use crate::{auth::Roles, db::TenantTx};

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
    /// Best first.
    pub(super) candidates: Vec<Candidate>,
    /// How many of them, the first, are pinned.
    pub(super) pinned: usize,
    pub(super) facets: Facets,
    pub(super) lexemes: HashSet<String>,
    /// How rare each of them is.
    pub(super) weights: HashMap<String, f64>,
    /// How many articles the tenant has; 0 where none has a word of the query.
    pub(super) all_articles: i64,
    pub(super) must_have: MustHave,
    /// `None`: the model was not available.
    pub(super) meaning: Option<Meaning>,
}

/// What the words found, and by what meaning is looked for.
struct Arms {
    tx: TenantTx,
    query: Option<QueryVector>,
    keyword: Keyword,
}

/// What the semantic arm measured of each candidate.
pub(super) struct Meaning {
    /// Whose vectors were compared.
    pub(super) model: String,
    similarities: ByArticle<Similarities>,
    nearest: FxHashSet<Uuid>,
}

impl Search {
    /// Ranks what a query finds. While it waits for a model that takes long it gives its transaction up, and returns another.
    pub(super) async fn rank(
        &self,
        tx: TenantTx,
        roles: &Roles,
        request: &SearchRequest,
        state: &State,
        vector: Option<PendingVector>,
    ) -> Result<(TenantTx, Ranked), sqlx::Error> {
        let Arms { mut tx, query, mut keyword } = self.arms(tx, roles, request, state, vector).await?;
        let meaning = match &query {
            Some(query) => Some(self.meaning(&mut tx, roles, request, state, query, &keyword).await?),
            None => None,
        };
        let mut evidence = meaning.as_ref().map(Meaning::evidence).unwrap_or_default();
        for id in &keyword.found {
            evidence.entry(*id).or_default().by_keyword = true;
        }
        let mut entries = mem::take(&mut keyword.entries);
        let unknown: Vec<Uuid> = evidence.keys().copied().filter(|id| !entries.contains_key(id)).collect();
        entries.extend(self.catalogue.entries(&mut tx, state.version, unknown).await?);
        for (id, evidence) in &mut evidence {
            if let Some(words) = entries.get(id).and_then(|entry| entry.words.as_ref()) {
                evidence.set_match(keyword.judge(words));
            }
        }
        let fused = fusion::fuse(evidence.into_iter().collect(), &fusion::Weights::default());
        let candidate = |(article_id, evidence, score)| Candidate { article_id, evidence, score };
        let mut candidates: Vec<Candidate> = fused.into_iter().map(candidate).collect();
        let pinned =
            if state.has_pins { store::pins(&mut tx, roles, &request.query.normalised()).await? } else { Vec::new() };
        if !pinned.is_empty() && !request.has_filters() {
            let found: HashSet<Uuid> = candidates.iter().map(|candidate| candidate.article_id).collect();
            let missing: Vec<Uuid> = pinned.iter().copied().filter(|id| !found.contains(id)).collect();
            candidates.extend(missing.iter().map(|id| candidate((*id, Evidence::default(), 0.0))));
            entries.extend(self.catalogue.entries(&mut tx, state.version, missing).await?);
        }
        settle(&mut candidates, &entries, request.language.as_deref());
        // A stable sort: the others keep their order.
        candidates.sort_by_key(|c| pinned.iter().position(|id| *id == c.article_id).unwrap_or(usize::MAX));
        let pinned = candidates.iter().take_while(|c| pinned.contains(&c.article_id)).count();
        let facets = facets(&candidates, &entries);
        Ok((
            tx,
            Ranked {
                candidates,
                pinned,
                facets,
                must_have: keyword.must_have(),
                lexemes: keyword.lexemes,
                weights: keyword.weights,
                all_articles: keyword.all_articles,
                meaning,
            },
        ))
    }

    /// Looks for the words while the query is embedded.
    async fn arms(
        &self,
        mut tx: TenantTx,
        roles: &Roles,
        request: &SearchRequest,
        state: &State,
        vector: Option<PendingVector>,
    ) -> Result<Arms, sqlx::Error> {
        let parsed = request.query.parse();
        let keyword = Keyword::search(&mut tx, roles, request, &parsed, state, &self.catalogue).await?;
        let Some(mut vector) = vector else { return Ok(Arms { tx, query: None, keyword }) };
        let query = if let Ok(query) = tokio::time::timeout(CONNECTION_KEPT_FOR, vector.wait()).await {
            query
        } else {
            let tenant = tx.tenant();
            drop(tx);
            let query = vector.wait().await;
            tx = self.database.tenant_with_generic_plans(tenant).await?;
            query
        };
        Ok(Arms { tx, query, keyword })
    }

    /// Compares what is near with the query, and the best that the words found.
    async fn meaning(
        &self,
        tx: &mut TenantTx,
        roles: &Roles,
        request: &SearchRequest,
        state: &State,
        query: &QueryVector,
        keyword: &Keyword,
    ) -> Result<Meaning, sqlx::Error> {
        // What is quoted must be there: the words decide alone which articles are candidates.
        let nearest: FxHashSet<Uuid> = if keyword.phrase.is_some() {
            FxHashSet::default()
        } else {
            self.nearest(tx, roles, request, &query.model, &query.vector).await?.into_iter().collect()
        };
        let best = keyword.found.iter().take(COMPARED).filter(|id| !nearest.contains(id));
        let compared = best.chain(&nearest).copied();
        let similarities = self.catalogue.similarities(tx, state.version, query, compared).await?;
        Ok(Meaning { model: query.model.clone(), similarities, nearest })
    }
}

impl Meaning {
    fn evidence(&self) -> ByArticle<Evidence> {
        let measured = self.similarities.iter().filter(|(_, similarities)| !similarities.is_empty());
        let evidence = measured.map(|(id, similarities)| {
            let title = similarities.iter().find(|(ordinal, _)| *ordinal == 0).map(|(_, similarity)| *similarity);
            let passages = similarities.iter().filter(|(ordinal, _)| *ordinal > 0).map(|(_, similarity)| *similarity);
            // While an article is half embedded, one stands in for the other.
            let body = passages.max_by(f64::total_cmp).or(title);
            let similarity = body.map(|body| Similarity { body, title: title.unwrap_or(body) });
            (*id, Evidence { similarity, by_meaning: self.nearest.contains(id), ..Evidence::default() })
        });
        evidence.collect()
    }

    /// The passages of an article that are nearest to the query, at most so many, the nearest first.
    pub(super) fn nearest_passages(&self, article: Uuid, limit: usize) -> impl Iterator<Item = Near> {
        let mut near: Vec<(i32, f64)> = self
            .similarities
            .get(&article)
            .into_iter()
            .flatten()
            .copied()
            .filter(|(ordinal, _)| *ordinal > 0)
            .collect();
        near.sort_by(|(a, x), (b, y)| y.total_cmp(x).then(a.cmp(b)));
        near.into_iter().take(limit).map(move |(ordinal, similarity)| Near { article_id: article, ordinal, similarity })
    }
}

/// Puts candidates in their final order: quality among near-ties, the asker's language before others, and of several
/// translations of one article only the best.
fn settle(candidates: &mut Vec<Candidate>, entries: &Entries, language: Option<&str>) {
    let facts = |candidate: &Candidate| entries.get(&candidate.article_id).map(|entry| &entry.facts);
    let mut keyed: Vec<(f64, Candidate)> = candidates
        .drain(..)
        .filter_map(|mut candidate| {
            let facts = facts(&candidate)?;
            candidate.score *= of_language(&facts.locale, language);
            Some((candidate.score + PRIOR * prior(facts), candidate))
        })
        .collect();
    keyed.sort_by(|(x, a), (y, b)| y.total_cmp(x).then_with(|| a.article_id.cmp(&b.article_id)));
    let mut groups = HashSet::new();
    let is_first = |candidate: &Candidate| facts(candidate).is_some_and(|facts| groups.insert(facts.translation_group));
    candidates.extend(keyed.into_iter().map(|(_, candidate)| candidate).filter(is_first));
}

/// How good an article is by what readers say and do, 0 to 1: half of it helpfulness, three tenths how often it is read (ten
/// thousand times is as good as it gets), and two tenths how fresh it is (halved each year).
#[expect(clippy::cast_precision_loss, reason = "views stay far below 2^52")]
fn prior(facts: &Facts) -> f64 {
    let views = (facts.view_count.max(0) as f64).ln_1p() / 10_000_f64.ln_1p();
    let freshness = 0.5_f64.powf(facts.age_days.max(0.0) / 365.0);
    0.5 * facts.helpfulness + 0.3 * views.min(1.0) + 0.2 * freshness
}

/// What an article in a language counts for somebody who reads another.
pub(super) fn of_language(locale: &str, asked_in: Option<&str>) -> f64 {
    if asked_in.is_some_and(|language| primary(language) != primary(locale)) { OTHER_LANGUAGE } else { 1.0 }
}

/// `pt` of `pt-BR`.
fn primary(locale: &str) -> String {
    locale.split(['-', '_']).next().unwrap_or_default().to_lowercase()
}

fn facets(candidates: &[Candidate], entries: &Entries) -> Facets {
    let found = || candidates.iter().filter_map(|candidate| Some(&entries.get(&candidate.article_id)?.facts));
    Facets {
        categories: counted(found().filter_map(|facts| facts.category_id)),
        tags: named(found().flat_map(|facts| facts.tags.iter().map(String::as_str))),
        difficulties: named(found().map(|facts| facts.difficulty.as_str())),
        locales: named(found().map(|facts| facts.locale.as_str())),
    }
}

fn named<'a>(values: impl Iterator<Item = &'a str>) -> Vec<(String, i64)> {
    counted(values).into_iter().map(|(value, count)| (value.to_owned(), count)).collect()
}

fn counted<T: Eq + Hash + Ord>(values: impl Iterator<Item = T>) -> Vec<(T, i64)> {
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
    use std::sync::Arc;

    use super::{super::catalogue::Entry, *};

    fn entry(locale: &str, group: Uuid, view_count: i64) -> Arc<Entry> {
        let facts = Facts {
            category_id: None,
            tags: Vec::new(),
            difficulty: "BEGINNER".to_owned(),
            locale: locale.to_owned(),
            translation_group: group,
            view_count,
            helpfulness: 0.0,
            age_days: 0.0,
        };
        Arc::new(Entry { facts, words: None })
    }

    /// The numbers of the articles, in their order, given score, locale, translation group and views of each.
    fn order(articles: &[(f64, &str, u128, i64)], language: Option<&str>) -> Vec<u128> {
        let known = articles.iter().zip(1..).map(|((_, locale, group, views), n)| {
            let id = Uuid::from_u128(n);
            (id, entry(locale, Uuid::from_u128(*group), *views))
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
