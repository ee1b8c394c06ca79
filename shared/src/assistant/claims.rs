//! What a language model says, sentence by sentence, and whether the passages that it names say it too.
//!
//! Nothing is shown before it was checked. A sentence is kept when
//!
//! - it names passages of the prompt, or says something that one of them says,
//! - its numbers, versions and addresses stand in them,
//! - most of its words do, or it means the same as one of their sentences (cosine), and
//! - it does not deny what they state, or state what they deny.
//!
//! Markers of other passages, links, images and markup are taken out before.

use std::{collections::HashSet, sync::LazyLock};

use regex::Regex;

use super::passage::Passage;
use crate::{
    embedding::{Embedder, Embedding},
    knowledge::{folded, words},
};

/// With so large a share of its words in a passage a sentence may be said whatever it means.
const ENOUGH_WORDS: f64 = 0.75;
/// With so large a share it may, if its meaning is near.
const SOME_WORDS: f64 = 0.4;
/// How near is near: cosine with the nearest sentence of the passage.
const NEAR: f32 = 0.55;
/// A sentence that has fewer words in common with the passage is not checked by its meaning.
const FEW_WORDS: f64 = 0.15;
/// How near it must be then.
const VERY_NEAR: f32 = 0.75;
/// Most sentences of a passage that are compared by meaning, those with most words in common.
const COMPARED: usize = 6;

static MARKER: LazyLock<Option<Regex>> = LazyLock::new(|| regex(r"[\[【]\s*(\d{1,2}(?:\s*[,;]\s*\d{1,2})*)\s*[\]】]"));
static IMAGE_OR_LINK: LazyLock<Option<Regex>> = LazyLock::new(|| regex(r"!?\[([^\]]*)\](?:\([^)]*\)?|\[[^\]]*\])"));
static DEFINITION: LazyLock<Option<Regex>> = LazyLock::new(|| regex(r"(?m)^\s*\[[^\]]+\]:.*$"));
static MARKUP: LazyLock<Option<Regex>> = LazyLock::new(|| regex(r"<[^>\n]*>?"));
static ADDRESS: LazyLock<Option<Regex>> =
    LazyLock::new(|| regex(r"(?i)\b(?:[a-z][a-z0-9+.-]*://|www\.|mailto:)\S+|\b[\w.+-]+@[\w-]+\.[\w.-]+\b"));
static NUMBER: LazyLock<Option<Regex>> = LazyLock::new(|| regex(r"\d+(?:[.,:]\d+)*"));

fn regex(pattern: &str) -> Option<Regex> {
    Regex::new(pattern).inspect_err(|error| tracing::error!(%error, "assistant.claims.pattern")).ok()
}

/// Words that turn a statement into its opposite.
const DENIALS: &[&str] = &[
    "not", "no", "never", "cannot", "without", "neither", "nor", "nicht", "kein", "keine", "nie", "ohne", "pas",
    "jamais", "sans", "aucun", "nunca", "sin", "ningún", "non", "mai", "senza", "geen", "niet", "nooit",
];
/// Words that say nothing about a thing.
const STOP_WORDS: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "been", "but", "by", "can", "could", "did", "do", "does", "for", "from",
    "had", "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "may", "might", "more", "must", "of",
    "on", "or", "our", "shall", "should", "so", "than", "that", "the", "their", "them", "then", "there", "these",
    "they", "this", "those", "to", "was", "we", "were", "what", "when", "where", "which", "who", "will", "with",
    "would", "you", "your", "also", "need", "want", "use", "using", "please", "der", "die", "das", "und", "oder",
    "ein", "eine", "zu", "im", "in", "ist", "sie", "ihr", "le", "la", "les", "de", "des", "du", "et", "ou", "un",
    "une", "est", "vous", "el", "los", "las", "y", "o", "en", "es", "su",
];

/// Text that comes in pieces, cut into sentences and lines that are complete.
#[derive(Debug, Default)]
pub(super) struct Sentences {
    open: String,
}

impl Sentences {
    /// The sentences that are complete with this piece, each with the white space and the markers after it.
    pub(super) fn push(&mut self, piece: &str) -> Vec<String> {
        self.open.push_str(piece);
        let mut complete = Vec::new();
        while let Some(end) = end_of_sentence(&self.open) {
            let rest = self.open.split_off(end);
            complete.push(std::mem::replace(&mut self.open, rest));
        }
        complete
    }

    /// What is left when nothing follows.
    pub(super) fn rest(self) -> Option<String> {
        Some(self.open).filter(|open| !open.trim().is_empty())
    }
}

/// Where the first sentence ends, once it is known that nothing of it follows: markers may stand after the full stop.
fn end_of_sentence(text: &str) -> Option<usize> {
    for (at, c) in text.char_indices() {
        let wide = matches!(c, '。' | '！' | '？');
        if c == '\n' && !text[..at].trim().is_empty() {
            return before_next_word(text, &text[at..]);
        }
        if !wide && !matches!(c, '.' | '!' | '?') {
            continue;
        }
        let after = &text[at + c.len_utf8()..];
        let trimmed = after.trim_start_matches(['"', '\'', ')', '”', '’', '»', '*', '_', '.', '!', '?']);
        if !wide && !trimmed.starts_with(char::is_whitespace) {
            continue; // `3.5`, or more of it is to come
        }
        // A list's number is no sentence.
        if text[..at].trim().bytes().all(|b| b.is_ascii_digit()) {
            continue;
        }
        let mut rest = trimmed;
        loop {
            let inner = rest.trim_start_matches([' ', '\t']);
            if inner.starts_with(['[', '【']) {
                rest = &inner[inner
                    .find([']', '】'])
                    .map(|end| end + inner[end..].chars().next().map_or(1, char::len_utf8))?..];
            } else {
                return before_next_word(text, inner);
            }
        }
    }
    None
}

/// Where the white space ends that the rest of a text begins with, once something follows it.
fn before_next_word(text: &str, rest: &str) -> Option<usize> {
    let next = rest.trim_start();
    (!next.is_empty()).then(|| text.len() - next.len())
}

/// A sentence that may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Claim {
    /// With the markers of the passages that support it.
    pub(super) text: String,
    /// Which they are, and the sentence of each that says it.
    pub(super) support: Vec<(u16, String)>,
}

/// Checks sentences against the passages of a prompt.
pub(super) struct Checker<'a> {
    passages: Vec<Checked<'a>>,
    embedder: Option<&'a dyn Embedder>,
}

struct Checked<'a> {
    marker: u16,
    text: &'a str,
    words: HashSet<String>,
    numbers: HashSet<String>,
    sentences: Vec<(&'a str, HashSet<String>)>,
}

impl<'a> Checker<'a> {
    /// Without an embedder, words alone decide.
    pub(super) fn new(passages: &'a [Passage], embedder: Option<&'a dyn Embedder>) -> Self {
        let checked = |passage: &'a Passage| {
            let in_front = format!("{} {} {}", passage.title, passage.heading_path.join(" "), passage.text);
            Checked {
                marker: passage.marker,
                text: &passage.text,
                words: content_words(&in_front),
                numbers: numbers(&in_front),
                sentences: sentences_of(&passage.text).map(|sentence| (sentence, content_words(sentence))).collect(),
            }
        };
        Self { passages: passages.iter().map(checked).collect(), embedder }
    }

    /// The sentence as it may be shown; `None`: no passage says it.
    pub(super) async fn check(&self, sentence: &str) -> Option<Claim> {
        let named = named_markers(sentence);
        let bare = clean(sentence);
        let said = bare.trim();
        if !said.chars().any(char::is_alphanumeric) {
            return None;
        }
        let known: Vec<&Checked<'_>> = self.passages.iter().filter(|passage| named.contains(&passage.marker)).collect();
        // Named wrongly or not at all: whichever says it is named instead.
        let candidates = if known.is_empty() { self.passages.iter().collect() } else { known };
        let mut support = Vec::new();
        for passage in candidates {
            if let Some(quote) = self.supports(passage, said).await {
                support.push((passage.marker, quote));
                if named.is_empty() {
                    break;
                }
            }
        }
        if support.is_empty() {
            return None;
        }
        let markers = support.iter().fold(String::new(), |markers, (marker, _)| format!("{markers}[{marker}]"));
        let space = &sentence[sentence.trim_end().len()..];
        Some(Claim { text: format!("{} {markers}{space}", bare.trim_end()), support })
    }

    /// The sentence of the passage that says it.
    async fn supports(&self, passage: &Checked<'_>, said: &str) -> Option<String> {
        if !numbers(said).is_subset(&passage.numbers) || !addresses(said).all(|address| passage.text.contains(address))
        {
            return None;
        }
        let words = content_words(said);
        let common = share(&words, &passage.words);
        let mut nearest: Vec<(f64, &str)> =
            passage.sentences.iter().map(|(sentence, of)| (share(&words, of), *sentence)).collect();
        nearest.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        nearest.truncate(COMPARED);
        let by_words = nearest.first().map(|(_, sentence)| *sentence)?;
        let (similarity, by_meaning) =
            if common >= FEW_WORDS { self.meaning(said, &nearest).await } else { (None, None) };
        let quote = by_meaning.unwrap_or(by_words);
        let is_near = |least: f32| similarity.is_some_and(|similarity| similarity >= least);
        let agrees = common >= ENOUGH_WORDS || common >= SOME_WORDS && is_near(NEAR) || is_near(VERY_NEAR);
        (agrees && denies(said) == denies(quote)).then(|| quote.to_owned())
    }

    /// The cosine with the nearest of some sentences. None: there is no model, or it did not answer.
    async fn meaning<'s>(&self, said: &str, sentences: &[(f64, &'s str)]) -> (Option<f32>, Option<&'s str>) {
        let Some(embedder) = self.embedder else { return (None, None) };
        let texts = std::iter::once(said).chain(sentences.iter().map(|(_, sentence)| *sentence));
        let Ok(vectors) = embedder.embed(texts.map(str::to_owned).collect()).await else { return (None, None) };
        let Some((own, others)) = vectors.split_first() else { return (None, None) };
        let cosine = |(vector, (_, sentence)): (&Embedding, &(f64, &'s str))| (own.cosine(vector), *sentence);
        let best = others.iter().zip(sentences).map(cosine).max_by(|(a, _), (b, _)| a.total_cmp(b));
        best.map_or((None, None), |(similarity, sentence)| (Some(similarity), Some(sentence)))
    }
}

/// Sentences and lines of a passage.
fn sentences_of(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| line.split_inclusive(". ")).map(str::trim).filter(|sentence| !sentence.is_empty())
}

fn named_markers(sentence: &str) -> HashSet<u16> {
    let Some(marker) = MARKER.as_ref() else { return HashSet::new() };
    let lists = marker.captures_iter(sentence).filter_map(|found| Some(found.get(1)?.as_str().to_owned()));
    lists.flat_map(|list| list.split([',', ';']).filter_map(|n| n.trim().parse().ok()).collect::<Vec<_>>()).collect()
}

/// The sentence without markers, links, images and markup. What begins a line of a list stays.
fn clean(sentence: &str) -> String {
    let mut text = sentence.to_owned();
    for (pattern, replacement) in [(&MARKER, ""), (&DEFINITION, ""), (&IMAGE_OR_LINK, "$1"), (&MARKUP, "")] {
        if let Some(pattern) = pattern.as_ref() {
            text = pattern.replace_all(&text, replacement).into_owned();
        }
    }
    let text: String = text.chars().filter(|c| !matches!(c, '`' | '[' | ']')).collect();
    text.trim_end().trim_start_matches(['#', '>']).to_owned()
}

fn addresses(text: &str) -> impl Iterator<Item = &str> {
    ADDRESS.as_ref().into_iter().flat_map(move |address| address.find_iter(text).map(|found| found.as_str()))
}

fn numbers(text: &str) -> HashSet<String> {
    // A number that begins a line is a step's.
    let text: Vec<&str> = text
        .lines()
        .map(|line| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ' || c == '.'))
        .collect();
    let text = text.join("\n");
    let found = NUMBER.as_ref().map(|number| number.find_iter(&text).map(|n| n.as_str().to_owned()).collect());
    found.unwrap_or_default()
}

fn content_words(text: &str) -> HashSet<String> {
    words(text)
        .split(' ')
        .map(|word| stem(&folded(word)))
        .filter(|w| !w.is_empty() && !STOP_WORDS.contains(&w.as_str()))
        .collect()
}

/// Rough, and alike for all languages: endings say little about whether two sentences speak of the same.
fn stem(word: &str) -> String {
    let length = word.chars().count();
    let kept = if length > 8 {
        length - 3
    } else if length > 5 {
        length - 2
    } else if length > 3 {
        length - 1
    } else {
        length
    };
    word.chars().take(kept).collect()
}

#[expect(clippy::cast_precision_loss, reason = "sentences have tens of words")]
fn share(words: &HashSet<String>, of: &HashSet<String>) -> f64 {
    if words.is_empty() { 0.0 } else { words.intersection(of).count() as f64 / words.len() as f64 }
}

/// Whether a sentence denies something: twice denied is stated.
fn denies(sentence: &str) -> bool {
    let denials = sentence
        .split(|c: char| !c.is_alphanumeric() && c != '\'' && c != '’')
        .map(str::to_lowercase)
        .filter(|word| DENIALS.contains(&word.as_str()) || word.ends_with("n't") || word.ends_with("n’t"))
        .count();
    denials % 2 == 1
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn passage(marker: u16, text: &str) -> Passage {
        Passage {
            marker,
            article_id: Uuid::nil(),
            revision_id: Uuid::nil(),
            first_ordinal: 1,
            last_ordinal: 1,
            slug: "a".to_owned(),
            title: "Passwords".to_owned(),
            locale: "en".to_owned(),
            heading_path: Vec::new(),
            anchor: None,
            text: text.to_owned(),
            similarity: None,
            score: 1.0,
        }
    }

    fn library() -> Vec<Passage> {
        vec![
            passage(
                1,
                "Open the settings and choose Security. A link to set a new password is sent by email. It is good for 24 hours.",
            ),
            passage(2, "Guests cannot change the password of an account."),
        ]
    }

    async fn checked(sentence: &str) -> Option<Claim> {
        let passages = library();
        Checker::new(&passages, None).check(sentence).await
    }

    #[test]
    fn sentences_are_complete_with_their_markers() {
        let mut sentences = Sentences::default();
        assert_eq!(sentences.push("Open the sett"), Vec::<String>::new());
        assert_eq!(sentences.push("ings. [1"), Vec::<String>::new());
        assert_eq!(sentences.push("] Then version 3.5 is"), ["Open the settings. [1] "]);
        assert_eq!(sentences.push(" used.\n1. Click"), ["Then version 3.5 is used.\n"]);
        assert_eq!(sentences.push(" it.\n"), Vec::<String>::new());
        assert_eq!(sentences.rest().as_deref(), Some("1. Click it.\n"));
    }

    #[tokio::test]
    async fn what_a_passage_says_is_kept_and_named() {
        let claim = checked("A link to set a new password is sent by email. [1]\n").await.unwrap();
        assert_eq!(claim.text, "A link to set a new password is sent by email. [1]\n");
        assert_eq!(claim.support, [(1, "A link to set a new password is sent by email.".to_owned())]);
        let wrongly_named = checked("The link to a new password is sent by email [9].").await.unwrap();
        assert_eq!(wrongly_named.support[0].0, 1, "the passage that says it");
    }

    #[tokio::test]
    async fn what_no_passage_says_is_withheld() {
        for invented in [
            "The link is good for 48 hours. [1]",
            "Call the support desk on weekdays for a refund. [1]",
            "Guests can change the password of an account. [2]",
            "Open the settings at https://evil.example and choose Security. [1]",
            "[1]",
            "",
        ] {
            assert_eq!(checked(invented).await, None, "{invented}");
        }
    }

    #[tokio::test]
    async fn links_images_and_markup_do_not_come_through() {
        let written = "Open the [settings](https://evil.example/?q=secret) and ![choose](//evil.example/x.png) <b>Security</b>. [1]";
        let claim = checked(written).await.unwrap();
        assert_eq!(claim.text, "Open the settings and choose Security. [1]");
    }

    #[test]
    fn any_text_can_be_cut_and_cleaned() {
        use proptest::prelude::*;
        proptest!(|(pieces in prop::collection::vec("\\PC{0,12}|[.!?\\[\\]\n 1]{0,4}", 0..20))| {
            let mut sentences = Sentences::default();
            let mut put_together = String::new();
            for piece in &pieces {
                put_together.extend(sentences.push(piece));
            }
            put_together.push_str(&sentences.open);
            prop_assert_eq!(put_together, pieces.concat());
            let _ = clean(&pieces.concat());
        });
    }
}
