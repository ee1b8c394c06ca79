//! Whether the help center answers a question at all, judged by what search measured.
//!
//! A logistic regression of five measures, chosen and fitted as docs/adr/0009-extractive-answers.md tells. It is monotonous: more
//! similar articles, and articles with more of the question's words, never make it less relevant.

use crate::search::{Found, fusion::Evidence};

/// Below this a question is not answered.
pub(super) const FLOOR: f64 = 0.5;

/// How many candidates, the first, are looked at. The best article need not be the first.
const LOOKED_AT: usize = 10;
/// More words than this say nothing more of a question.
const MOST_WORDS: u32 = 30;
/// With so many articles and more, one is near to anything; …
const MANY_ARTICLES: u32 = 130;
/// … and with fewer than these, nothing was measured.
const FEWEST_ARTICLES: u32 = 50;

/// What the measures count; logits.
struct Weights {
    /// Cosine similarity of the nearest passage.
    body: f64,
    /// Cosine similarity of the nearest title.
    title: f64,
    /// Share of the question's words, by rarity, that the first article has.
    coverage: f64,
    /// Logarithm of one more than the number of words: the longer a question is, the farther it is from everything, and the
    /// smaller is the share of its words that any article has.
    words: f64,
    /// Fewer words count as so many: that a question is short says nothing of whether it is answered.
    fewest_words: u32,
    /// Logarithm of how many times fewer than [`MANY_ARTICLES`] there are: among few, none is near to anything by chance.
    few_articles: f64,
    /// The floor is where the sum of all is zero.
    bias: f64,
}

const BY_MEANING: Weights =
    Weights { body: 14.7, title: 10.9, coverage: 3.2, words: 3.0, fewest_words: 4, few_articles: 4.0, bias: -20.25 };
/// Without vectors.
const BY_WORDS: Weights =
    Weights { body: 0.0, title: 0.0, coverage: 8.0, words: 3.0, fewest_words: 0, few_articles: 0.0, bias: -9.5 };
/// What it adds that an article has an error code or the like of the question.
const IDENTIFIER: f64 = 1.5;

/// How likely it is that what was found answers the question, 0 to 1; [`FLOOR`] and more is enough.
#[must_use]
pub(super) fn relevance(question: &str, found: &Found) -> f64 {
    let evidence: Vec<&Evidence> =
        found.candidates.iter().take(LOOKED_AT).map(|candidate| &candidate.evidence).collect();
    // What is pinned comes first, whether it has a word of the question or not.
    let asked_words = evidence.iter().map(|evidence| evidence.asked_words).max().unwrap_or_default();
    let first = evidence.iter().find(|evidence| evidence.asked_words > 0).or(evidence.first());
    let Some(first) = first else { return 0.0 };
    let similarities = || evidence.iter().filter_map(|evidence| evidence.similarity);
    let meaning = found.model.as_ref().is_some_and(|model| reads(model, question));
    let nearest_body = similarities().map(|similarity| similarity.body).max_by(f64::total_cmp).filter(|_| meaning);
    let nearest_title = similarities().map(|similarity| similarity.title).max_by(f64::total_cmp).filter(|_| meaning);
    let articles = found.articles.clamp(FEWEST_ARTICLES, MANY_ARTICLES);
    let weights = if nearest_body.is_some() { BY_MEANING } else { BY_WORDS };
    let logit = weights.body * nearest_body.unwrap_or_default()
        + weights.title * nearest_title.unwrap_or_default()
        + weights.coverage * first.coverage
        + weights.words * f64::from(asked_words.clamp(weights.fewest_words, MOST_WORDS)).ln_1p()
        + weights.few_articles * (f64::from(MANY_ARTICLES) / f64::from(articles)).ln()
        + if evidence.iter().any(|evidence| evidence.has_identifier) { IDENTIFIER } else { 0.0 }
        + weights.bias;
    1.0 / (1.0 + (-logit).exp())
}

/// Whether the vectors of a model say anything of a text. The local one was trained on English; languages in Latin letters come
/// out usable, while in other scripts sentences are near to each other whatever they say (docs/adr/0009-extractive-answers.md).
pub(super) fn reads(model: &str, text: &str) -> bool {
    let letters = || text.chars().filter(|c| c.is_alphabetic());
    let is_latin = |c: &char| matches!(c, '\u{0}'..='\u{24F}' | '\u{1E00}'..='\u{1EFF}');
    !model.starts_with("all-MiniLM") || 2 * letters().filter(is_latin).count() >= letters().count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::search::{Candidate, fusion::Similarity};

    const MODEL: Option<&str> = Some("all-MiniLM-L6-v2@53aa5117");

    fn found(model: Option<&str>, similarity: f64, coverage: f64, asked_words: u32) -> Found {
        let similarity = model.map(|_| Similarity { body: similarity, title: similarity });
        let evidence = Evidence { similarity, coverage, asked_words, ..Evidence::default() };
        let candidates = vec![Candidate { article_id: Uuid::nil(), evidence, score: 1.0 }];
        Found { candidates, articles: 100, model: model.map(str::to_owned), ..Found::default() }
    }

    fn is_answered(question: &str, found: &Found) -> bool {
        relevance(question, found) >= FLOOR
    }

    #[test]
    fn near_articles_with_the_words_answer_and_far_ones_do_not() {
        assert!(is_answered("how do I reset it", &found(MODEL, 0.6, 0.8, 4)));
        assert!(!is_answered("how do I bake bread", &found(MODEL, 0.3, 0.4, 4)));
        assert!(!is_answered("nothing", &Found::default()));
    }

    #[test]
    fn words_decide_without_vectors_and_in_scripts_that_the_model_cannot_read() {
        for (question, model) in [("reset a password", None), ("パスワードの再設定", MODEL)] {
            assert!(is_answered(question, &found(model, 0.9, 1.0, 5)));
            assert!(!is_answered(question, &found(model, 0.9, 0.1, 5)));
        }
        assert!(!is_answered("パスワード", &found(Some("multilingual@1"), 0.1, 0.5, 5)));
    }

    proptest! {
        #[test]
        fn more_evidence_is_never_less_relevant(
            near in 0.0..1.0_f64, coverage in 0.0..1.0_f64, words in 0..60_u32, more in 0.0..0.5_f64
        ) {
            let of = |near, coverage| relevance("text", &found(MODEL, near, coverage, words));
            let least = of(near, coverage);
            prop_assert!((0.0..=1.0).contains(&least));
            prop_assert!(of(near + more, coverage) >= least && of(near, coverage + more) >= least);
        }
    }
}
