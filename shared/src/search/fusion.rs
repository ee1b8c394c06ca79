//! Fusing the two arms: a convex combination of normalised scores (after Bruch, Gai and Ingber, "An Analysis of Fusion
//! Functions for Hybrid Retrieval", arXiv 2210.11934), with the real score of both arms for every candidate.

use super::keyword::Match;

/// What the arms measured of one article.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Evidence {
    /// BM25F of the article.
    pub bm25: f64,
    /// BM25 of its title alone.
    pub title_bm25: f64,
    /// Cosine similarities; none while the article is not embedded or the model is not available.
    pub similarity: Option<Similarity>,
    /// How much of what the query asks for the article has, 0 to 1: the idf of the query's words that occur in it over that of
    /// all, those that no article has included. Stop words do not count.
    pub coverage: f64,
    /// How many different words that is of.
    pub asked_words: u32,
    /// It has an error code or another identifier of the query that few articles have.
    pub has_identifier: bool,
    /// Among the best of the keyword arm.
    pub by_keyword: bool,
    /// Among the nearest of the semantic arm.
    pub by_meaning: bool,
}

impl Evidence {
    pub(super) fn set_match(&mut self, found: Match) {
        self.bm25 = found.score.article;
        self.title_bm25 = found.score.title;
        self.coverage = found.coverage;
        self.asked_words = found.asked_words;
        self.has_identifier = found.has_identifier;
    }
}

/// Cosine similarities of the query with an article, -1 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Similarity {
    /// With its nearest passage.
    pub body: f64,
    /// With its title.
    pub title: f64,
}

/// How evidence becomes a score; docs/adr/0004-search.md tells how the values were chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Share of the semantic arm, 0 to 1, when its best articles are equally near; the rest is the keyword arm's.
    pub semantic: f64,
    /// How much the share grows with the distance between the nearest article and the fifth: meaning is trusted more when
    /// one article stands out.
    pub semantic_lead: f64,
    /// The share never grows beyond this.
    pub semantic_most: f64,
    /// Share of the title within the semantic arm, 0 to 1.
    pub semantic_title: f64,
    /// What a title's BM25 counts beside the article's 1, each over its maximum among the candidates.
    pub keyword_title: f64,
    /// Below this similarity an article without a matching word is not a result.
    pub floor: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self {
            semantic: 0.6,
            semantic_lead: 1.0,
            semantic_most: 0.9,
            semantic_title: 0.15,
            keyword_title: 0.2,
            floor: 0.2,
        }
    }
}

/// Which of the nearest is compared with the nearest, from 0.
const LEAD_OVER: usize = 4;

/// Scores candidates, 0 to 1, in no particular order, and drops those below the floor.
pub fn fuse<K>(candidates: Vec<(K, Evidence)>, weights: &Weights) -> Vec<(K, Evidence, f64)> {
    let similarity =
        |e: &Evidence| e.similarity.map(|s| (1.0 - weights.semantic_title) * s.body + weights.semantic_title * s.title);
    let best_article = maximum(candidates.iter().map(|(_, e)| e.bm25));
    let best_title = maximum(candidates.iter().map(|(_, e)| e.title_bm25));
    let keyword = |e: &Evidence| share(e.bm25, best_article) + weights.keyword_title * share(e.title_bm25, best_title);
    let best_keyword = maximum(candidates.iter().map(|(_, e)| keyword(e)));
    let mut similarities: Vec<f64> = candidates.iter().filter_map(|(_, e)| similarity(e)).collect();
    similarities.sort_by(|a, b| b.total_cmp(a));
    // Without any vector the keyword arm's scores are all there is.
    let (nearest, farthest, semantic_weight) = match (similarities.first(), similarities.last()) {
        (Some(nearest), Some(farthest)) => {
            let lead = nearest - similarities.get(LEAD_OVER).unwrap_or(farthest);
            let weight = (weights.semantic + weights.semantic_lead * lead).min(weights.semantic_most);
            (*nearest, *farthest, weight)
        }
        _ => (0.0, 0.0, 0.0),
    };
    let any_identifier = candidates.iter().any(|(_, e)| e.has_identifier);
    candidates
        .into_iter()
        .filter(|(_, e)| e.bm25 > 0.0 || e.title_bm25 > 0.0 || similarity(e).is_some_and(|s| s >= weights.floor))
        .map(|(key, e)| {
            let semantic = similarity(&e)
                .map_or(0.0, |s| if nearest > farthest { (s - farthest) / (nearest - farthest) } else { 1.0 });
            let score = semantic_weight * semantic + (1.0 - semantic_weight) * share(keyword(&e), best_keyword);
            // Whoever asks for an error code wants the articles that have it before all others.
            let score = if any_identifier { 0.5 * score + if e.has_identifier { 0.5 } else { 0.0 } } else { score };
            (key, e, score)
        })
        .collect()
}

fn maximum(values: impl Iterator<Item = f64>) -> f64 {
    values.fold(0.0, f64::max)
}

fn share(value: f64, maximum: f64) -> f64 {
    if maximum > 0.0 { value / maximum } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn evidence(body: f64, similarity: Option<f64>) -> Evidence {
        Evidence { bm25: body, similarity: similarity.map(|s| Similarity { body: s, title: s }), ..Evidence::default() }
    }

    fn order(candidates: Vec<(&'static str, Evidence)>) -> Vec<&'static str> {
        let mut fused = fuse(candidates, &Weights::default());
        fused.sort_by(|a, b| b.2.total_cmp(&a.2));
        fused.into_iter().map(|(key, ..)| key).collect()
    }

    #[test]
    fn an_article_that_both_arms_like_beats_one_that_a_single_arm_likes() {
        let found = order(vec![
            ("words only", evidence(10.0, Some(0.3))),
            ("both", evidence(9.0, Some(0.8))),
            ("meaning only", evidence(0.0, Some(0.85))),
            ("neither", evidence(1.0, Some(0.25))),
        ]);
        assert_eq!(found[0], "both");
        assert_eq!(found[3], "neither");
    }

    #[test]
    fn whoever_has_the_error_code_comes_first() {
        let coded = Evidence { has_identifier: true, ..evidence(0.5, Some(0.1)) };
        assert_eq!(order(vec![("near", evidence(10.0, Some(0.9))), ("coded", coded)]), ["coded", "near"]);
    }

    #[test]
    fn meaning_counts_more_when_one_article_stands_out() {
        let fused = |nearest: f64| {
            let mut all = vec![("near", evidence(0.0, Some(nearest))), ("worded", evidence(5.0, Some(0.3)))];
            all.extend((0..4).map(|_| ("other", evidence(0.0, Some(0.3)))));
            let fused = fuse(all, &Weights::default());
            fused.iter().find(|(key, ..)| *key == "near").unwrap().2
        };
        assert!(fused(0.6) > fused(0.35));
    }

    #[test]
    fn words_decide_when_the_model_is_away() {
        assert_eq!(order(vec![("few", evidence(1.0, None)), ("many", evidence(5.0, None))]), ["many", "few"]);
    }

    #[test]
    fn what_matches_neither_a_word_nor_the_meaning_is_no_result() {
        assert_eq!(order(vec![("far", evidence(0.0, Some(0.05))), ("near", evidence(0.0, Some(0.5)))]), ["near"]);
    }

    proptest! {
        #[test]
        fn scores_are_shares(values in prop::collection::vec((0.0..50.0_f64, prop::option::of(-1.0..1.0_f64)), 0..30)) {
            let candidates = values.into_iter().map(|(body, similarity)| ((), evidence(body, similarity))).collect();
            for ((), _, score) in fuse(candidates, &Weights::default()) {
                prop_assert!((0.0..=1.0 + 1e-9).contains(&score), "{score}");
            }
        }

        #[test]
        fn more_of_one_evidence_never_scores_less(body in 0.0..10.0_f64, more in 0.0..10.0_f64) {
            let candidates = vec![(0, evidence(body, Some(0.4))), (1, evidence(body + more, Some(0.4)))];
            let mut fused = fuse(candidates, &Weights::default());
            fused.sort_by_key(|(key, ..)| *key);
            prop_assert!(fused[1].2 >= fused[0].2);
        }
    }
}
