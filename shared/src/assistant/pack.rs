//! Which of the passages that were found go into the answer's context: neighbours joined, duplicates dropped, no more than
//! fits.

use std::collections::HashSet;

use super::passage::Passage;
use crate::{knowledge::chunk::estimate_tokens, search::Found};

/// Most passages in a context, joined ones counted once: markers stay short.
const MOST_PASSAGES: usize = 24;
/// What the marks around a passage take, in tokens, about.
const OVERHEAD_TOKENS: usize = 40;
/// Two passages with so large a share of words in common say the same.
const SAME: f64 = 0.9;

/// The context of a question: the best passages first, at most so many tokens, numbered from 1. The first always fits.
pub(super) fn pack(found: &Found, budget_tokens: usize) -> Vec<Passage> {
    let mut chosen: Vec<(Passage, HashSet<String>)> = Vec::new();
    let mut tokens = 0;
    for passage in &found.passages {
        let words = words(&passage.text);
        let cost = estimate_tokens(&passage.text) + estimate_tokens(&passage.title) + OVERHEAD_TOKENS;
        let fits = chosen.is_empty() || tokens + cost <= budget_tokens;
        if chosen.len() < MOST_PASSAGES && fits && !chosen.iter().any(|(_, other)| overlap(&words, other) >= SAME) {
            tokens += cost;
            chosen.push((Passage::from((found, passage)), words));
        }
    }
    let mut packed = join_neighbours(chosen.into_iter().map(|(passage, _)| passage));
    for (marker, passage) in (1..).zip(&mut packed) {
        passage.marker = marker;
    }
    packed
}

/// Passages of one article that follow each other under the same heading become one, where the better of them stood.
fn join_neighbours(chosen: impl IntoIterator<Item = Passage>) -> Vec<Passage> {
    let mut joined: Vec<Passage> = Vec::new();
    for passage in chosen {
        let next_to = |other: &Passage| {
            other.revision_id == passage.revision_id
                && other.heading_path == passage.heading_path
                && (other.last_ordinal + 1 == passage.first_ordinal || other.first_ordinal == passage.last_ordinal + 1)
        };
        let Some(other) = joined.iter_mut().find(|other| next_to(other)) else {
            joined.push(passage);
            continue;
        };
        if other.last_ordinal < passage.first_ordinal {
            other.last_ordinal = passage.last_ordinal;
            other.text = format!("{}\n\n{}", other.text, passage.text);
        } else {
            other.first_ordinal = passage.first_ordinal;
            other.text = format!("{}\n\n{}", passage.text, other.text);
        }
        other.similarity = best(other.similarity, passage.similarity);
    }
    joined
}

fn best(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        (a, b) => a.or(b),
    }
}

fn words(text: &str) -> HashSet<String> {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect()
}

/// The share of the words of either that both have (Jaccard).
#[expect(clippy::cast_precision_loss, reason = "passages have hundreds of words")]
fn overlap(a: &HashSet<String>, b: &HashSet<String>) -> f64 {
    let common = a.intersection(b).count();
    let all = a.len() + b.len() - common;
    if all == 0 { 1.0 } else { common as f64 / all as f64 }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::search::FoundPassage;

    fn found(passages: &[(u128, i32, &str)]) -> Found {
        let passage = |(article, ordinal, body): &(u128, i32, &str)| FoundPassage {
            article_id: Uuid::from_u128(*article),
            revision_id: Uuid::from_u128(*article),
            ordinal: *ordinal,
            slug: "a".to_owned(),
            title: "A".to_owned(),
            locale: "en".to_owned(),
            heading_path: Vec::new(),
            anchor: None,
            text: (*body).to_owned(),
            similarity: Some(0.5),
        };
        Found { passages: passages.iter().map(passage).collect(), ..Found::default() }
    }

    fn packed(passages: &[(u128, i32, &str)], budget: usize) -> Vec<(u16, i32, i32, String)> {
        let passages = pack(&found(passages), budget).into_iter();
        passages.map(|p| (p.marker, p.first_ordinal, p.last_ordinal, p.text)).collect()
    }

    #[test]
    fn neighbours_are_joined_in_their_order() {
        let passages = [(1, 3, "third"), (2, 1, "other"), (1, 2, "second"), (1, 4, "fourth"), (1, 9, "ninth")];
        assert_eq!(
            packed(&passages, 1_000),
            [
                (1, 2, 4, "second\n\nthird\n\nfourth".to_owned()),
                (2, 1, 1, "other".to_owned()),
                (3, 9, 9, "ninth".to_owned()),
            ]
        );
    }

    #[test]
    fn what_says_the_same_is_dropped_and_what_does_not_fit_left_out() {
        let same = [(1, 1, "Open the settings."), (2, 1, "open the SETTINGS!"), (3, 1, "Close them.")];
        assert_eq!(packed(&same, 1_000).len(), 2);
        let long = "word ".repeat(500);
        assert_eq!(packed(&[(1, 1, &long), (2, 1, "short")], 100).len(), 1, "the best always fits");
        assert_eq!(packed(&[(2, 1, "short"), (1, 1, &long), (3, 1, "brief")], 100).len(), 2);
    }
}
