//! BM25F and BM25 (Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond", 2009).
//!
//! score = Σ idf(t) · tf·(k1 + 1) / (tf + k1), where tf = Σ w·occurrences / (1 − b + b·length / average length) over title
//! and body, and idf(t) = ln(1 + (N − n + 0.5) / (n + 0.5)) as in Lucene, which never is negative. A word of the title so
//! counts much in a short article, and little in a long one that says it again and again.

/// Saturation of a term's frequency.
const K1: f64 = 1.2;
/// How much a long body is held against an article, and a long title.
const B: f64 = 0.75;
/// What a word in the title counts beside one in the body.
const TITLE_WEIGHT: f64 = 5.0;

/// Sums over a tenant's searchable articles of one language.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of articles.
    pub articles: i64,
    /// Words in all titles.
    pub title_length: i64,
    /// Words in all bodies.
    pub body_length: i64,
}

/// A term of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// The number that documents know it by.
    pub id: i32,
    /// In how many articles of all languages it occurs, n.
    pub article_count: i64,
    /// Terms of one concept stand for each other: an article scores by the best of them.
    pub concept: usize,
    /// What it counts: 1 for a word of the query, less for what was added to it.
    pub weight: f64,
}

/// Which terms an article has, and how often.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Document<'a> {
    /// Six bytes for each term, by ascending number: the number, big-endian, and how often in the title and in the body.
    pub terms: &'a [u8],
    /// Words in the title.
    pub title_length: i32,
    /// Words in the body.
    pub body_length: i32,
}

/// What a query scores in an article.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Score {
    /// BM25F of title and body together.
    pub article: f64,
    /// BM25 of the title alone.
    pub title: f64,
    /// Sum of weight times idf over the concepts that occur in it at all, however often.
    pub covered: f64,
}

impl Document<'_> {
    /// How often a term occurs in the title and in the body.
    pub fn occurrences(&self, term: i32) -> (u8, u8) {
        let (records, _) = self.terms.as_chunks::<6>();
        let number = |record: &[u8; 6]| i32::from_be_bytes([record[0], record[1], record[2], record[3]]);
        records.binary_search_by_key(&term, number).map_or((0, 0), |at| (records[at][4], records[at][5]))
    }
}

/// The terms of a query, ready to score any number of articles.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scorer {
    /// Number, concept, and weight times idf, by concept.
    terms: Vec<(i32, usize, f64)>,
}

impl Scorer {
    /// `all_articles`: how many articles there are in all languages, N; what is rare must not depend on how few a language has.
    pub fn new(terms: &[Term], all_articles: i64) -> Self {
        let ready = |term: &Term| (term.id, term.concept, term.weight * idf(term.article_count, all_articles));
        let mut terms: Vec<(i32, usize, f64)> = terms.iter().map(ready).collect();
        terms.sort_by_key(|(_, concept, _)| *concept);
        Self { terms }
    }

    /// What the query scores in an article of the language that the totals are of; terms of other languages do not occur in it.
    #[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
    pub fn score(&self, document: &Document<'_>, totals: &Totals) -> Score {
        let articles = totals.articles.max(1) as f64;
        let relative = |length: i32, all: i64| f64::from(length) / (all as f64 / articles).max(1.0);
        let title_length = relative(document.title_length, totals.title_length);
        let body_length = relative(document.body_length, totals.body_length);
        let mut sum = Score::default();
        for concept in self.terms.chunk_by(|a, b| a.1 == b.1) {
            let mut best = Score::default();
            for (id, _, idf) in concept {
                let (title, body) = document.occurrences(*id);
                if (title, body) != (0, 0) {
                    best.covered = best.covered.max(*idf);
                }
                let title = normalised(title, title_length);
                let body = normalised(body, body_length);
                best.article = best.article.max(idf * saturated(body + TITLE_WEIGHT * title));
                best.title = best.title.max(idf * saturated(title));
            }
            sum.article += best.article;
            sum.title += best.title;
            sum.covered += best.covered;
        }
        sum
    }
}

/// How rare a term of so many of all articles is, as Lucene computes it: never negative.
#[expect(clippy::cast_precision_loss, reason = "counts stay far below 2^52")]
pub fn idf(article_count: i64, all_articles: i64) -> f64 {
    let all = all_articles.max(1) as f64;
    let n = (article_count.max(0) as f64).min(all);
    (1.0 + (all - n + 0.5) / (n + 0.5)).ln()
}

/// Occurrences as they would be in a text of average length.
fn normalised(occurrences: u8, relative_length: f64) -> f64 {
    f64::from(occurrences) / (1.0 - B + B * relative_length)
}

fn saturated(occurrences: f64) -> f64 {
    occurrences * (K1 + 1.0) / (occurrences + K1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTALS: Totals = Totals { articles: 100, title_length: 500, body_length: 20_000 };

    /// The terms 0, 1, … so often in the body.
    fn records(counts: &[u8]) -> Vec<u8> {
        let record = |(id, n): (u8, &u8)| [0, 0, 0, id, 0, *n];
        (0..).zip(counts).flat_map(record).collect()
    }

    fn body_score(counts: &[u8], length: i32, terms: &[Term]) -> f64 {
        let document = Document { terms: &records(counts), title_length: 0, body_length: length };
        Scorer::new(terms, 100).score(&document, &TOTALS).article
    }

    fn term(id: i32, article_count: i64) -> Term {
        Term { id, article_count, concept: usize::try_from(id).unwrap(), weight: 1.0 }
    }

    #[test]
    fn equals_a_value_computed_by_hand() {
        // One term in 10 of 100 articles, 3 times in a body of average length.
        let idf = (1.0_f64 + 90.5 / 10.5).ln();
        let expected = idf * 3.0 * 2.2 / (3.0 + 1.2);
        assert!((body_score(&[3], 200, &[term(0, 10)]) - expected).abs() < 1e-12);
    }

    #[test]
    fn a_title_counts_more_in_a_short_article() {
        let terms = [term(0, 10)];
        let both = |body_count, body_length| {
            let records = [0, 0, 0, 0, 1, body_count];
            let document = Document { terms: &records, title_length: 5, body_length };
            Scorer::new(&terms, 100).score(&document, &TOTALS).article
        };
        let gain = |body_count, length| both(body_count, length) - body_score(&[body_count], length, &terms);
        assert!(gain(1, 100) > 2.0 * gain(20, 400));
    }

    #[test]
    fn rarer_terms_more_occurrences_and_shorter_bodies_score_higher() {
        let base = body_score(&[2], 200, &[term(0, 10)]);
        assert!(body_score(&[2], 200, &[term(0, 2)]) > base);
        assert!(body_score(&[5], 200, &[term(0, 10)]) > base);
        assert!(body_score(&[2], 50, &[term(0, 10)]) > base);
        assert!(body_score(&[0], 200, &[term(0, 10)]).abs() < f64::EPSILON);
        assert!(body_score(&[2], 200, &[term(7, 10)]).abs() < f64::EPSILON);
    }

    #[test]
    fn terms_of_one_concept_count_once() {
        let one = body_score(&[2, 2], 200, &[term(0, 10)]);
        let same = Term { concept: 0, weight: 0.8, ..term(1, 10) };
        assert!((body_score(&[2, 2], 200, &[term(0, 10), same]) - one).abs() < f64::EPSILON);
        assert!(body_score(&[2, 2], 200, &[term(0, 10), term(1, 10)]) > one);
    }

    #[test]
    fn never_negative_nor_infinite() {
        for df in [0, 1, 50, 100, 1_000] {
            let document = Document { terms: &records(&[u8::MAX]), title_length: 0, body_length: 0 };
            let score = Scorer::new(&[term(0, df)], 0).score(&document, &Totals::default());
            assert!(score.article.is_finite() && score.article >= 0.0, "{df}: {score:?}");
        }
    }
}
