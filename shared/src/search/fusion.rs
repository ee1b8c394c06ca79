//! Fusing the two arms: a convex combination of normalised scores (after Bruch, Gai and Ingber, "An Analysis of Fusion
//! Functions for Hybrid Retrieval", arXiv 2210.11934), with the real score of both arms for every candidate.

/// What the arms measured of one article.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize)]
pub struct Evidence {
    /// BM25 of headings and body.
    pub body_bm25: f64,
    /// BM25 of the title.
    pub title_bm25: f64,
    /// Cosine similarities; none while the article is not embedded or the model is not available.
    pub similarity: Option<Similarity>,
    /// Among the best of the keyword arm.
    pub by_keyword: bool,
    /// Among the nearest of the semantic arm.
    pub by_meaning: bool,
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
    /// Share of the semantic arm, 0 to 1; the rest is the keyword arm's.
    pub semantic: f64,
    /// Share of the title within the semantic arm, 0 to 1.
    pub semantic_title: f64,
    /// What a title's BM25 counts beside the body's 1, each over its maximum among the candidates.
    pub keyword_title: f64,
    /// Below this similarity an article without a matching word is not a result.
    pub floor: f64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { semantic: 0.65, semantic_title: 0.15, keyword_title: 0.4, floor: 0.2 }
    }
}

/// Scores candidates, 0 to 1, in no particular order, and drops those below the floor.
pub fn fuse<K>(candidates: Vec<(K, Evidence)>, weights: &Weights) -> Vec<(K, Evidence, f64)> {
    let similarity =
        |e: &Evidence| e.similarity.map(|s| (1.0 - weights.semantic_title) * s.body + weights.semantic_title * s.title);
    let best_body = maximum(candidates.iter().map(|(_, e)| e.body_bm25));
    let best_title = maximum(candidates.iter().map(|(_, e)| e.title_bm25));
    let keyword =
        |e: &Evidence| share(e.body_bm25, best_body) + weights.keyword_title * share(e.title_bm25, best_title);
    let best_keyword = maximum(candidates.iter().map(|(_, e)| keyword(e)));
    let similarities: Vec<f64> = candidates.iter().filter_map(|(_, e)| similarity(e)).collect();
    let nearest = similarities.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let farthest = similarities.iter().copied().fold(f64::INFINITY, f64::min);
    // Without any vector the keyword arm's scores are all there is.
    let semantic_weight = if similarities.is_empty() { 0.0 } else { weights.semantic };
    candidates
        .into_iter()
        .filter(|(_, e)| e.body_bm25 > 0.0 || e.title_bm25 > 0.0 || similarity(e).is_some_and(|s| s >= weights.floor))
        .map(|(key, e)| {
            let semantic = similarity(&e)
                .map_or(0.0, |s| if nearest > farthest { (s - farthest) / (nearest - farthest) } else { 1.0 });
            let score = semantic_weight * semantic + (1.0 - semantic_weight) * share(keyword(&e), best_keyword);
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
        Evidence {
            body_bm25: body,
            similarity: similarity.map(|s| Similarity { body: s, title: s }),
            ..Evidence::default()
        }
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
