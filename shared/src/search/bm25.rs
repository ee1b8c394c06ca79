//! BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009), title and body apart.
//!
//! score = Σ idf(t) · tf·(k1 + 1) / (tf + k1·(1 − b + b·length / average length)), with
//! idf(t) = ln(1 + (N − n + 0.5) / (n + 0.5)) as in Lucene, which never is negative.

/// Saturation of a term's frequency.
const K1: f64 = 1.2;
/// How much a long body is held against an article.
const B_BODY: f64 = 0.75;
/// How much a long title is; titles differ little for good reasons.
const B_TITLE: f64 = 0.4;

/// Sums over a tenant's searchable articles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of articles, N.
    pub articles: i64,
    /// Words in all titles.
    pub title_length: i64,
    /// Words in all bodies.
    pub body_length: i64,
}

/// How often the query's terms occur in one article, in the order of the terms.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Frequencies {
    /// In the title.
    pub title: Vec<i32>,
    /// In headings and body.
    pub body: Vec<i32>,
    /// Words in the title.
    pub title_length: i32,
    /// Words in the body.
    pub body_length: i32,
}

/// What a query scores in an article.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// By title.
    pub title: f64,
    /// By body.
    pub body: f64,
}

impl Score {
    /// What the keyword arm chooses its best by.
    pub fn total(&self) -> f64 {
        self.body + self.title
    }
}

/// Scores one article; `document_frequencies` holds the number of articles with each term.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub fn score(frequencies: &Frequencies, document_frequencies: &[i64], totals: &Totals) -> Score {
    let articles = totals.articles.max(1) as f64;
    let relative = |length: i32, all: i64| f64::from(length) / (all as f64 / articles).max(1.0);
    let title_length = relative(frequencies.title_length, totals.title_length);
    let body_length = relative(frequencies.body_length, totals.body_length);
    let mut score = Score::default();
    for (i, document_frequency) in document_frequencies.iter().enumerate() {
        let n = (*document_frequency as f64).min(articles);
        let idf = (1.0 + (articles - n + 0.5) / (n + 0.5)).ln();
        let occurrences = |counts: &[i32]| f64::from(counts.get(i).copied().unwrap_or(0));
        score.title += idf * saturated(occurrences(&frequencies.title), title_length, B_TITLE);
        score.body += idf * saturated(occurrences(&frequencies.body), body_length, B_BODY);
    }
    score
}

fn saturated(occurrences: f64, relative_length: f64, b: f64) -> f64 {
    occurrences * (K1 + 1.0) / (occurrences + K1 * (1.0 - b + b * relative_length))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTALS: Totals = Totals { articles: 100, title_length: 500, body_length: 20_000 };

    fn body(counts: &[i32], length: i32) -> Frequencies {
        Frequencies { body: counts.to_vec(), body_length: length, ..Frequencies::default() }
    }

    #[test]
    fn equals_a_value_computed_by_hand() {
        // One term in 10 of 100 articles, 3 times in a body of average length.
        let idf = (1.0_f64 + 90.5 / 10.5).ln();
        let expected = idf * 3.0 * 2.2 / (3.0 + 1.2);
        assert!((score(&body(&[3], 200), &[10], &TOTALS).body - expected).abs() < 1e-12);
    }

    #[test]
    fn rarer_terms_more_occurrences_and_shorter_bodies_score_higher() {
        let base = score(&body(&[2], 200), &[10], &TOTALS).body;
        assert!(score(&body(&[2], 200), &[2], &TOTALS).body > base);
        assert!(score(&body(&[5], 200), &[10], &TOTALS).body > base);
        assert!(score(&body(&[2], 50), &[10], &TOTALS).body > base);
        assert!(score(&body(&[0], 200), &[10], &TOTALS).body.abs() < f64::EPSILON);
    }

    #[test]
    fn never_negative_nor_infinite() {
        for df in [0, 1, 50, 100, 1_000] {
            let score = score(&body(&[i32::MAX], 0), &[df], &Totals::default());
            assert!(score.body.is_finite() && score.body >= 0.0, "{df}: {score:?}");
        }
    }
}
