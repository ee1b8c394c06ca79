//! The keyword arm: which terms a query asks for, which articles have them, and how well.

use std::{
    collections::{HashMap, HashSet},
    mem,
};

use uuid::Uuid;

use super::{
    SearchRequest, bm25,
    catalogue::{Catalogue, Entries, Words},
    query::{self, Parsed},
    store::{self, State},
};
use crate::{auth::Roles, db::TenantTx};

/// Most articles that the arm contributes.
const LIMIT: usize = 100;
/// How many of them, the best, are compared with the query by meaning, too.
pub(super) const COMPARED: usize = 50;
/// What a completion of the last word counts, and a synonym, beside a word that was typed.
const ADDED_WEIGHT: f64 = 0.7;
/// An identifier lifts the articles that have it only while they are few: up to this share of the language's articles, or
/// [`FEW`].
const RARE_SHARE: f64 = 0.01;
/// See [`RARE_SHARE`].
const FEW: i64 = 10;

/// What the arm found, and what it takes to score other articles for the same query.
#[derive(Debug, Default)]
pub(super) struct Keyword {
    /// The best articles, the best first.
    pub(super) found: Vec<Uuid>,
    /// What is known of all that were looked at.
    pub(super) entries: Entries,
    /// The stemmed words that matched, for marking them.
    pub(super) lexemes: HashSet<String>,
    /// The idf of each, times what it counts.
    pub(super) weights: HashMap<String, f64>,
    /// How many articles there are in all languages; 0 where none has a word of the query.
    pub(super) all_articles: i64,
    /// What articles must have just so, as a `tsquery`.
    pub(super) phrase: Option<String>,
    /// Rarest first.
    terms: Vec<bm25::Term>,
    scorer: bm25::Scorer,
    totals: HashMap<String, bm25::Totals>,
    /// The words of the query by language, those that no article has included: how many, and the sum of their idf.
    asked: HashMap<String, (u32, f64)>,
    /// Error codes and the like that few articles have: numbers and stems.
    identifiers: Vec<(i32, String)>,
}

/// How an article matches the words of a query.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Match {
    pub(super) score: bm25::Score,
    /// The share of the query's weight that its words make up, 0 to 1.
    pub(super) coverage: f64,
    /// How many different words the query has, stop words not counted.
    pub(super) asked_words: u32,
    /// It has an identifier of the query.
    pub(super) has_identifier: bool,
}

impl Keyword {
    /// Asks for the words of a query.
    pub(super) async fn search(
        tx: &mut TenantTx,
        roles: &Roles,
        request: &SearchRequest,
        parsed: &Parsed,
        state: &State,
        catalogue: &Catalogue,
    ) -> Result<Self, sqlx::Error> {
        let mut rows = store::terms(tx, &parsed.words).await?;
        if let Some(beginning) = unknown_last_word(parsed, &rows) {
            rows.extend(store::completions(tx, beginning).await?);
        }
        if state.has_synonyms {
            rows.extend(store::synonyms(tx, &parsed.words).await?);
        }
        let phrase = match parsed.phrases.as_slice() {
            [] => None,
            phrases => store::phrase(tx, phrases).await?,
        };
        let mut keyword = Self { phrase, ..Self::default() };
        keyword.add_terms(&rows, parsed);
        let driving = query::driving_terms(&keyword.terms);
        if driving.is_empty() {
            return Ok(keyword);
        }
        let every = keyword.conjunction(&rows, &driving);
        let candidates =
            store::keyword_candidates(tx, roles, request, &driving, every.as_deref(), keyword.phrase.as_deref())
                .await?;
        keyword.entries = catalogue.entries(tx, state.version, candidates).await?;
        let judged = keyword.entries.iter().filter_map(|(id, entry)| Some((*id, keyword.judge(entry.words.as_ref()?))));
        let mut found: Vec<(Uuid, Match)> = judged.collect();
        found.sort_by(|(a, x), (b, y)| {
            let by_score = y.score.article.total_cmp(&x.score.article);
            y.has_identifier.cmp(&x.has_identifier).then(by_score).then_with(|| a.cmp(b))
        });
        keyword.found = found.into_iter().map(|(id, _)| id).take(LIMIT).collect();
        Ok(keyword)
    }

    /// How an article matches, whichever arm found it.
    pub(super) fn judge(&self, words: &Words) -> Match {
        let totals = self.totals.get(&words.language).copied().unwrap_or_default();
        let document = words.document();
        let score = self.scorer.score(&document, &totals);
        let (asked_words, asked) = self.asked.get(&words.language).copied().unwrap_or_default();
        Match {
            score,
            // What was added to the query can make up for more than its words.
            coverage: if asked > 0.0 { (score.covered / asked).min(1.0) } else { 0.0 },
            asked_words,
            has_identifier: self.identifiers.iter().any(|(id, _)| document.occurrences(*id) != (0, 0)),
        }
    }

    /// What a passage that is shown should have before all others.
    pub(super) fn must_have(&mut self) -> store::MustHave {
        let identifiers = mem::take(&mut self.identifiers).into_iter().map(|(_, lexeme)| lexeme).collect();
        store::MustHave { phrase: self.phrase.take(), identifiers }
    }

    fn add_terms(&mut self, rows: &[store::TermRow], parsed: &Parsed) {
        let mut seen = HashSet::new();
        let rows: Vec<&store::TermRow> = rows.iter().filter(|row| seen.insert(row.id)).collect();
        // A word is as common as its stems in all languages are together.
        let mut article_counts: HashMap<i16, i64> = HashMap::new();
        for (place, row) in rows.iter().filter_map(|row| Some((row.place?, row))) {
            *article_counts.entry(place).or_default() += i64::from(row.article_count);
        }
        for (index, row) in rows.iter().enumerate() {
            let own_count = i64::from(row.article_count);
            let term = match row.place {
                Some(place) => bm25::Term {
                    id: row.id,
                    article_count: article_counts.get(&place).copied().unwrap_or(own_count),
                    concept: index + 1,
                    weight: 1.0,
                },
                // Completions are one concept: an article is not better for having many words that begin alike.
                None => bm25::Term {
                    id: row.id,
                    article_count: own_count,
                    concept: if row.is_completion { 0 } else { index + 1 },
                    weight: ADDED_WEIGHT,
                },
            };
            let totals = self.totals.entry(row.language.clone()).or_insert_with(|| row.totals());
            if row.place.is_some() && parsed.identifiers.contains(&row.lexeme) && own_count <= rare(totals.articles) {
                self.identifiers.push((row.id, row.lexeme.clone()));
            }
            self.lexemes.insert(row.lexeme.clone());
            self.terms.push(term);
        }
        self.terms.sort_by_key(|term| (term.article_count, term.id));
        let all_articles = rows.first().map_or(0, |row| row.all_articles);
        self.all_articles = all_articles;
        self.scorer = bm25::Scorer::new(&self.terms, all_articles);
        let idf = |term: &bm25::Term| term.weight * bm25::idf(term.article_count, all_articles);
        let idfs: HashMap<i32, f64> = self.terms.iter().map(|term| (term.id, idf(term))).collect();
        self.weights = rows.iter().filter_map(|row| Some((row.lexeme.clone(), *idfs.get(&row.id)?))).collect();
        self.asked = weight_asked(&rows, &idfs, bm25::idf(0, all_articles));
    }

    /// All typed words together, of the language that has most of them.
    fn conjunction(&self, rows: &[store::TermRow], driving: &[i32]) -> Option<Vec<i32>> {
        let mut by_language: HashMap<&str, HashSet<i32>> = HashMap::new();
        for row in rows {
            by_language.entry(&row.language).or_default().insert(row.id);
        }
        let ids = by_language.into_iter().max_by_key(|(language, ids)| (ids.len(), *language)).map(|(_, ids)| ids)?;
        let terms: Vec<bm25::Term> = self.terms.iter().copied().filter(|term| ids.contains(&term.id)).collect();
        query::conjunction(&terms, driving)
    }
}

/// How many words a query has and what they weigh, by language. A word that no article has weighs `unknown_weight`.
fn weight_asked(
    rows: &[&store::TermRow],
    idfs: &HashMap<i32, f64>,
    unknown_weight: f64,
) -> HashMap<String, (u32, f64)> {
    let mut known: HashMap<&str, (u32, f64, u32)> = HashMap::new();
    for row in rows.iter().filter(|row| row.place.is_some()) {
        let (words, weight, asked) = known.entry(&row.language).or_default();
        *words += 1;
        *weight += idfs.get(&row.id).copied().unwrap_or_default();
        *asked = u32::try_from(row.asked_words).unwrap_or_default();
    }
    // Where words had to be left out, it is not known which of the others are unknown.
    let is_cut = rows.len() >= query::MAX_TERMS;
    let with_unknown = |(language, (words, weight, asked)): (&str, (u32, f64, u32))| {
        let unknown = if is_cut { 0 } else { asked.saturating_sub(words) };
        (language.to_owned(), (words + unknown, weight + f64::from(unknown) * unknown_weight))
    };
    known.into_iter().map(with_unknown).collect()
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "counts stay far below 2^52")]
fn rare(articles: i64) -> i64 {
    FEW.max((articles as f64 * RARE_SHARE) as i64)
}

/// The last word of a query that is still being typed, when no article has a word that is written like it. Nobody types so
/// many words that some had to be left out.
fn unknown_last_word<'a>(parsed: &'a Parsed, rows: &[store::TermRow]) -> Option<&'a str> {
    let word = parsed.unfinished.as_deref().filter(|word| word.chars().count() >= 2)?;
    let is_known = rows.iter().any(|row| row.is_last) || rows.len() == query::MAX_TERMS;
    (!is_known).then_some(word)
}
