//! Highlighted snippets that are safe to put into a page.

use std::{collections::HashSet, ops::Range};

use rust_stemmers::{Algorithm, Stemmer};

use crate::knowledge::{folded, words};

/// How many words a snippet shows.
const LENGTH: usize = 36;
/// How many words before the first hit, when a sentence does not begin nearer.
const LEAD: usize = 8;
/// Texts in scripts without spaces have long words; they are cut after so many characters.
const MAX_CHARACTERS: usize = 320;
/// Characters in a piece of what is too long to be a word.
const PIECE: usize = 40;

/// The part of a text with most of the lexemes, as HTML in which only `<mark>` is markup: one line, every mark closed.
/// `lexemes`: stems as the index has them, of which each of `identifiers` counts more than all others; `locale`: the language of
/// the text, which says how its words are stemmed.
pub(super) fn snippet(text: &str, lexemes: &HashSet<String>, identifiers: &[String], locale: &str) -> String {
    let stemmer = stemmer(locale);
    let chunks: Vec<Chunk<'_>> =
        text.split_whitespace().flat_map(pieces).map(|piece| Chunk::of(piece, lexemes, stemmer.as_ref())).collect();
    let window = best_window(&chunks, identifiers);
    let mut html = String::with_capacity(512);
    if window.start > 0 {
        html.push_str("… ");
    }
    let mut characters = 0;
    for (index, chunk) in chunks[window.clone()].iter().enumerate() {
        characters += chunk.text.chars().count() + 1;
        if characters > MAX_CHARACTERS && index > 0 {
            html.push_str(" …");
            return html;
        }
        if chunk.begins_word && index > 0 {
            html.push(' ');
        }
        chunk.push(&mut html);
    }
    if window.end < chunks.len() {
        html.push_str(" …");
    }
    html
}

/// The stems of a text's words in their order, as the index has them; `locale`: the language of the text.
pub(super) fn stems(text: &str, locale: &str) -> Vec<String> {
    let stemmer = stemmer(locale);
    words(text).split(' ').filter(|word| !word.is_empty()).map(|word| stem(word, stemmer.as_ref())).collect()
}

/// Cuts what stands between two spaces where it is too long to be a word; says of each piece whether it begins one.
fn pieces(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.char_indices().nth(PIECE).map_or(rest.len(), |(at, _)| at);
        let (piece, after) = rest.split_at(end);
        let begins_word = std::ptr::eq(rest, text);
        rest = after;
        (!piece.is_empty()).then_some((piece, begins_word))
    })
}

/// What stands between two spaces, or a part of it.
struct Chunk<'a> {
    text: &'a str,
    begins_word: bool,
    /// The first lexeme that it matches.
    lexeme: Option<String>,
    /// Where its matches are, in order and apart.
    marked: Vec<Range<usize>>,
}

impl<'a> Chunk<'a> {
    fn of((text, begins_word): (&'a str, bool), lexemes: &HashSet<String>, stemmer: Option<&Stemmer>) -> Self {
        let mut chunk = Self { text, begins_word, lexeme: None, marked: Vec::new() };
        let plain = letters(text);
        if text[plain.clone()].bytes().all(|b| b.is_ascii_alphabetic()) {
            // Nearly every word of most languages: nothing to be cut or folded.
            let lower = text[plain.clone()].to_ascii_lowercase();
            // A stem begins like its word, and stemming takes ten times as long as this look.
            if !lexemes.iter().any(|lexeme| lexeme.bytes().next() == lower.bytes().next()) {
                return chunk;
            }
            let lexeme = stemmer.map_or_else(|| lower.clone(), |stemmer| stemmer.stem(&lower).into_owned());
            if lexemes.contains(&lexeme) {
                chunk.marked.push(plain);
                chunk.lexeme = Some(lexeme);
            }
            return chunk;
        }
        let mut from = 0;
        for word in words(text).split(' ').filter(|word| !word.is_empty()) {
            let place = text[from..].find(word).map(|at| from + at..from + at + word.len());
            // Pairs of characters overlap: the next one begins within this one.
            from = place.as_ref().map_or(from, |place| place.start);
            let lexeme = stem(word, stemmer);
            if !lexemes.contains(&lexeme) {
                continue;
            }
            // A compound is its parts and what joins them.
            chunk.mark(place.unwrap_or_else(|| letters(text)));
            chunk.lexeme.get_or_insert(lexeme);
        }
        chunk
    }

    fn mark(&mut self, place: Range<usize>) {
        let mut merged = place;
        self.marked.retain(|other| {
            let is_apart = other.end < merged.start || other.start > merged.end;
            if !is_apart {
                merged = merged.start.min(other.start)..merged.end.max(other.end);
            }
            is_apart
        });
        self.marked.push(merged);
        self.marked.sort_unstable_by_key(|range| range.start);
    }

    fn push(&self, html: &mut String) {
        let mut from = 0;
        for place in &self.marked {
            escape(html, &self.text[from..place.start]);
            html.push_str("<mark>");
            escape(html, &self.text[place.clone()]);
            html.push_str("</mark>");
            from = place.end;
        }
        escape(html, &self.text[from..]);
    }
}

/// From the first letter or digit to the last.
fn letters(text: &str) -> Range<usize> {
    let inner = text.trim_matches(|c: char| !c.is_alphanumeric());
    let start = text.find(inner).unwrap_or(0);
    start..start + inner.len()
}

fn stem(word: &str, stemmer: Option<&Stemmer>) -> String {
    let plain = folded(word);
    stemmer.map_or_else(|| plain.clone(), |stemmer| stemmer.stem(&plain).into_owned())
}

fn stemmer(locale: &str) -> Option<Stemmer> {
    let algorithm = match locale.split('-').next().unwrap_or_default().to_lowercase().as_str() {
        "ar" => Algorithm::Arabic,
        "da" => Algorithm::Danish,
        "de" => Algorithm::German,
        "el" => Algorithm::Greek,
        "en" => Algorithm::English,
        "es" => Algorithm::Spanish,
        "fi" => Algorithm::Finnish,
        "fr" => Algorithm::French,
        "hu" => Algorithm::Hungarian,
        "it" => Algorithm::Italian,
        "nb" | "nn" | "no" => Algorithm::Norwegian,
        "nl" => Algorithm::Dutch,
        "pt" => Algorithm::Portuguese,
        "ro" => Algorithm::Romanian,
        "ru" => Algorithm::Russian,
        "sv" => Algorithm::Swedish,
        "ta" => Algorithm::Tamil,
        "tr" => Algorithm::Turkish,
        _ => return None,
    };
    Some(Stemmer::create(algorithm))
}

/// The stretch of [`LENGTH`] chunks with most identifiers, then with most different lexemes, the first of those that have as
/// many, beginning a little before its first hit.
fn best_window(chunks: &[Chunk<'_>], identifiers: &[String]) -> Range<usize> {
    let mut best = (0, 0);
    for (start, _) in chunks.iter().enumerate().filter(|(_, chunk)| chunk.lexeme.is_some()) {
        let end = chunks.len().min(start + LENGTH - LEAD);
        let different: HashSet<&String> = chunks[start..end].iter().filter_map(|chunk| chunk.lexeme.as_ref()).collect();
        let worth = different.iter().map(|lexeme| if identifiers.contains(lexeme) { LENGTH } else { 1 }).sum();
        if worth > best.0 {
            best = (worth, start);
        }
    }
    let earliest = best.1.saturating_sub(LEAD);
    let sentence = (earliest..=best.1).find(|at| {
        *at == 0 || chunks.get(at - 1).is_some_and(|before| before.text.ends_with(['.', '!', '?', ':', '。']))
    });
    let mut start = sentence.unwrap_or(earliest);
    let end = chunks.len().min(start + LENGTH);
    if end - start < LENGTH {
        start = end.saturating_sub(LENGTH);
    }
    start..end
}

fn escape(html: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str, lexemes: &[&str], locale: &str) -> String {
        snippet(text, &lexemes.iter().map(|l| (*l).to_owned()).collect(), &[], locale)
    }

    #[test]
    fn text_is_escaped_and_hits_are_marked_whatever_their_ending() {
        let html = of("<b>Resetting</b> & \"go\"", &["reset"], "en");
        assert_eq!(html, "&lt;b&gt;<mark>Resetting</mark>&lt;/b&gt; &amp; &quot;go&quot;");
        assert_eq!(of("Die Rechnungen, bitte", &["rechnung"], "de"), "Die <mark>Rechnungen</mark>, bitte");
        assert_eq!(of("Un café.", &["caf"], "fr"), "Un <mark>café</mark>.");
        assert_eq!(of("error (E-4711)", &["e4711"], "ja"), "error (<mark>E-4711</mark>)");
        assert_eq!(of("水の設定を変更する", &["設定", "定を"], "ja"), "水の<mark>設定を</mark>変更する");
    }

    #[test]
    fn the_window_with_most_words_is_shown() {
        let filler = "word ".repeat(60);
        let text = format!("password {filler}End. Reset the password here {filler}");
        let found = of(&text, &["reset", "password"], "en");
        assert!(found.starts_with("… <mark>Reset</mark> the <mark>password</mark> here"), "{found}");
        assert!(found.ends_with(" …"), "{found}");
    }

    #[test]
    fn an_identifier_is_shown_rather_than_many_words() {
        let text = format!("Reset the password here {}End. The code is E-4711.", "word ".repeat(60));
        let lexemes = ["reset", "password", "e4711"].map(str::to_owned);
        let found = snippet(&text, &lexemes.iter().cloned().collect(), &lexemes[2..], "en");
        assert!(found.ends_with("<mark>E-4711</mark>."), "{found}");
    }

    #[test]
    fn without_a_hit_the_beginning_is_shown() {
        assert_eq!(of("Some text", &[], "en"), "Some text");
        assert_eq!(of("", &["x"], "en"), "");
    }

    proptest! {
        #[test]
        fn only_balanced_marks_are_markup(text in "[<>a&é東 .\"-]{0,80}") {
            let html = of(&text, &["a", "東"], "en");
            let rest = html.replace("<mark>", "").replace("</mark>", "");
            prop_assert!(!rest.contains(['<', '>']));
            prop_assert_eq!(html.matches("<mark>").count(), html.matches("</mark>").count());
        }
    }
}
