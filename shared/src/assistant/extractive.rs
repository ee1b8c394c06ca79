//! Answers made of the best sentences of what was found, word for word and each with its source.
//!
//! 1. **Articles.** The best one speaks, and the next one too where search finds it nearly as good.
//! 2. **A look at the words** chooses which of their sentences are worth embedding.
//! 3. **Meaning.** A sentence is compared with the question as it stands in its article, with title and heading in front: "Press it
//!    twice." answers nothing without them.
//! 4. **Lists stay lists**: a step brings all steps and what introduces them, a line that ends in a colon what it announces.
//!
//! How the numbers were chosen is in docs/adr/0009-extractive-answers.md.

mod layout;
mod markdown;
#[cfg(test)]
mod tests;
mod vectors;

use std::collections::{BTreeSet, HashMap, HashSet};

pub(super) use super::sentences::Block;
use super::{event::Citation, passage::Passage, relevance::reads, sentences::units};
use crate::{embedding::Embedder, search};
use layout::Layout;
pub(super) use vectors::SentenceVectors;

/// Most articles that an answer quotes.
const MOST_ARTICLES: usize = 3;
/// How much worse than the best article the second may be that is quoted, too, and the third; of scores between 0 and 1.
const SCORE_GAPS: [f64; MOST_ARTICLES] = [0.0, 0.3, 0.15];
/// How many quotes each article gets where one, two or three are quoted; a list is one quote.
const QUOTAS: [&[usize]; MOST_ARTICLES] = [&[4], &[3, 2], &[2, 2, 1]];
/// How many sentences of each article are compared by meaning.
const COMPARED: [&[usize]; MOST_ARTICLES] = [&[9], &[5, 4], &[4, 3, 2]];
/// Longest text that is compared, in characters: more says little more and takes longer.
const LONGEST_COMPARED: usize = 240;
/// How much worse than the best sentence of its article another may be.
const SENTENCE_GAP: f64 = 0.15;
/// What it counts that a sentence has all words of the question, beside its cosine similarity.
const WORDS: f64 = 0.1;
/// What headings, labels and other lines that are no sentences are worth less.
const NO_SENTENCE: f64 = 0.2;
/// What a line of a few words is worth less, …
const SCRAP: f64 = 0.1;
/// … with fewer than these.
const FEW_WORDS: usize = 4;
/// Sentences that share so much of the shorter one's words say the same.
const SAME: f64 = 0.8;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Question<'a> {
    /// As it was searched for.
    pub(super) text: &'a str,
    /// The stems of its words and how rare they are, as search found them ([`search::Found::weights`]).
    pub(super) weights: &'a HashMap<String, f64>,
}

/// A part of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quote {
    /// The passage that it is from.
    pub(super) marker: u16,
    /// A part of the passage, letter for letter.
    pub(super) text: String,
    /// How it is shown.
    pub(super) block: Block,
}

/// An answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Composed {
    /// Those of one article together, the best article first, in the order of its text.
    pub(super) quotes: Vec<Quote>,
}

impl Composed {
    /// The passages that are quoted, with what is quoted of each, in the order of the answer.
    pub(super) fn citations(&self, passages: &[Passage]) -> Vec<Citation> {
        let mut citations: Vec<Citation> = Vec::new();
        for quote in &self.quotes {
            if let Some(citation) = citations.iter_mut().find(|citation| citation.marker == quote.marker) {
                citation.quotes.push(quote.text.clone());
            } else {
                let passage = passages.iter().find(|passage| passage.marker == quote.marker);
                citations.extend(passage.map(|passage| passage.citation(vec![quote.text.clone()])));
            }
        }
        citations
    }
}

/// Chooses the two to five sentences that answer best; fewer, where there are no more. Passages come best article first. Without an
/// embedder, or when it does not answer within a second and a half, words decide alone.
pub(super) async fn compose(
    embedder: Option<&dyn Embedder>,
    cache: &SentenceVectors,
    question: &Question<'_>,
    passages: &[Passage],
) -> Composed {
    let articles = articles(passages);
    let mut lines: Vec<Vec<Line<'_>>> = articles.iter().map(|article| lines(article, question)).collect();
    let Some(place) = articles.len().checked_sub(1) else { return Composed::default() };
    let considered: Vec<Vec<usize>> = (lines.iter().zip(COMPARED[place]).enumerate())
        .map(|(rank, (lines, limit))| worth_comparing(lines, *limit, rank == 0))
        .collect();
    let texts: Vec<String> = lines
        .iter()
        .zip(&considered)
        .flat_map(|(lines, chosen)| chosen.iter().map(|at| lines[*at].in_context()))
        .collect();
    let embedder = embedder.filter(|embedder| reads(embedder.model().as_ref(), question.text));
    let similarities = match embedder {
        Some(embedder) => cache.similarities(embedder, question.text, texts).await,
        None => None,
    };
    let mut similarities = similarities.into_iter().flatten();
    for (lines, chosen) in lines.iter_mut().zip(&considered) {
        for at in chosen {
            lines[*at].judge(similarities.next());
        }
    }
    let mut composed = Composed::default();
    let mut said = Vec::new();
    for ((lines, chosen), quota) in lines.iter().zip(considered).zip(QUOTAS[place]) {
        let shown = pick(lines, chosen, *quota, &mut said);
        composed.quotes.extend(shown.into_iter().map(|at| lines[at].quote()));
    }
    composed
}

/// A unit of an article with what is known of it.
struct Line<'a> {
    passage: &'a Passage,
    unit: super::sentences::Unit<'a>,
    stems: HashSet<String>,
    /// The share of the question's words that it has, by how rare they are.
    overlap: f64,
    /// How well it seems to answer before it is compared by meaning, and then how well it does.
    score: f64,
}

impl Line<'_> {
    fn in_context(&self) -> String {
        let text = self.unit.text;
        let end = text.char_indices().nth(LONGEST_COMPARED).map_or(text.len(), |(at, _)| at);
        format!("{}\n{}", self.passage.context(), &text[..end])
    }

    fn judge(&mut self, similarity: Option<f64>) {
        if let Some(similarity) = similarity {
            self.score = similarity + WORDS * self.overlap;
        }
        if self.unit.is_fragment() {
            self.score -= NO_SENTENCE;
        }
        if self.stems.len() < FEW_WORDS {
            self.score -= SCRAP;
        }
    }

    fn quote(&self) -> Quote {
        Quote { marker: self.passage.marker, text: self.unit.text.to_owned(), block: self.unit.block }
    }
}

/// The passages of the articles that are quoted, the best article first, each in the order of its text.
fn articles(passages: &[Passage]) -> Vec<Vec<&Passage>> {
    let mut articles: Vec<Vec<&Passage>> = Vec::new();
    for passage in passages {
        match articles.iter_mut().find(|article| article[0].article_id == passage.article_id) {
            Some(article) => article.push(passage),
            None => articles.push(vec![passage]),
        }
    }
    let best = articles.first().map_or(0.0, |article| article[0].score);
    let close = articles.iter().zip(SCORE_GAPS).take_while(|(article, gap)| article[0].score >= best - gap).count();
    articles.truncate(close);
    for article in &mut articles {
        article.sort_by_key(|passage| passage.first_ordinal);
    }
    articles
}

fn lines<'a>(article: &[&'a Passage], question: &Question<'_>) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for passage in article {
        let stems_of = |text: &str| search::stems(text, &passage.locale).into_iter().collect::<HashSet<_>>();
        let context = stems_of(&passage.context());
        let nearness = passage.similarity.unwrap_or_else(|| {
            let stems = stems_of(&passage.text);
            overlap(question, |stem| stems.contains(stem))
        });
        for unit in units(&passage.text) {
            let stems = stems_of(unit.text);
            let in_context = overlap(question, |stem| stems.contains(stem) || context.contains(stem));
            let overlap = overlap(question, |stem| stems.contains(stem));
            lines.push(Line { passage, unit, stems, overlap, score: in_context + nearness });
        }
    }
    lines
}

/// The share of the question's words that something has, by how rare they are.
fn overlap(question: &Question<'_>, has: impl Fn(&str) -> bool) -> f64 {
    let all: f64 = question.weights.values().sum();
    let common: f64 = question.weights.iter().filter(|(stem, _)| has(stem)).map(|(_, weight)| weight).sum();
    if all > 0.0 { common / all } else { 0.0 }
}

/// Which lines seem to answer, at most so many. Questions answer none, code does not by itself, nor do scraps of an article that is
/// not the best.
fn worth_comparing(lines: &[Line<'_>], limit: usize, is_best: bool) -> Vec<usize> {
    let asks = |at: &usize| lines[*at].unit.text.trim_end().ends_with(['?', '？', '؟']);
    let speaks = |at: &usize| {
        lines[*at].unit.block != Block::Code && !asks(at) && (is_best || lines[*at].stems.len() >= FEW_WORDS)
    };
    let mut order: Vec<usize> = (0..lines.len()).filter(speaks).collect();
    order.sort_by(|a, b| lines[*b].score.total_cmp(&lines[*a].score));
    order.truncate(limit);
    order
}

/// The best lines that are about as good as the best and say something new, with what belongs to them. `said` is what was said
/// before.
fn pick(
    lines: &[Line<'_>],
    mut considered: Vec<usize>,
    quota: usize,
    said: &mut Vec<HashSet<String>>,
) -> BTreeSet<usize> {
    considered.sort_by(|a, b| lines[*b].score.total_cmp(&lines[*a].score));
    let best = considered.first().map_or(0.0, |at| lines[*at].score);
    let layout = Layout::new(lines);
    let mut shown = BTreeSet::new();
    let mut picked = 0;
    for at in considered.into_iter().take_while(|at| lines[*at].score >= best - SENTENCE_GAP) {
        if picked == quota {
            break;
        }
        if shown.contains(&at) || said.iter().any(|other| says_the_same(other, &lines[at].stems)) {
            continue;
        }
        said.push(lines[at].stems.clone());
        shown.extend(layout.with_company(at));
        picked += 1;
    }
    shown
}

#[expect(clippy::cast_precision_loss, reason = "a sentence has few words")]
fn says_the_same(a: &HashSet<String>, b: &HashSet<String>) -> bool {
    let common = a.intersection(b).count();
    common as f64 >= SAME * a.len().min(b.len()).max(1) as f64
}
