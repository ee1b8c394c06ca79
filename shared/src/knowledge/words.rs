//! Text as words, before PostgreSQL stems them: the same for what is indexed and for what is asked.
//!
//! PostgreSQL's parser knows words between spaces. This puts spaces where they are missing:
//!
//! - Chinese, Japanese and Korean become overlapping pairs of characters (as Lucene's `CJKBigramFilter` does), so that any
//!   part of a word can be asked for.
//! - Thai, Lao, Khmer and Burmese are cut into words by a model (ICU's).
//! - Identifiers and compounds are cut at their punctuation, with the whole beside the parts: `E-4711` is found as `e4711`
//!   and `wi-fi` as `wifi`. What the parser takes for an address, a path or markup becomes plain words.
//! - `C++` and `C#` keep what tells them from `C`.

use std::sync::LazyLock;

use icu_segmenter::{WordSegmenter, WordSegmenterBorrowed, options::WordBreakInvariantOptions};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Longest compound that is kept whole beside its parts, in characters.
const MAX_COMPOUND: usize = 64;
/// Most parts of one.
const MAX_PARTS: usize = 8;

/// The words of a text, with a space between them.
#[must_use]
pub(crate) fn words(text: &str) -> String {
    let mut words = String::with_capacity(text.len() + 16);
    for chunk in text.split(char::is_whitespace) {
        push_chunk(&mut words, chunk);
    }
    words
}

/// A word in lower case and without the accents of Latin, Greek and Cyrillic letters, as it is indexed before it is stemmed.
pub(crate) fn folded(word: &str) -> String {
    word.to_lowercase().nfd().filter(|c| !('\u{0300}'..='\u{036F}').contains(c)).nfc().collect()
}

/// The compounds of a text that look like identifiers (error codes, settings, versions of products), each as [`words`]
/// writes the whole: with a digit beside a letter, or with an underscore, or a number of at least four digits.
pub(crate) fn identifiers(text: &str) -> impl Iterator<Item = String> {
    text.split(char::is_whitespace).filter_map(|chunk| {
        let chunk = chunk.trim_matches(|c: char| !c.is_alphanumeric());
        let whole = compound(chunk).unwrap_or_else(|| chunk.to_owned());
        let digits = whole.chars().filter(char::is_ascii_digit).count();
        let letters = whole.chars().filter(|c| c.is_alphabetic()).count();
        let is_plain = whole.chars().all(|c| c.is_alphanumeric() && !is_unspaced(c));
        let is_identifier = (letters > 0 && (digits > 0 || chunk.contains('_'))) || digits >= 4;
        (is_plain && is_identifier && digits + letters >= 3).then(|| folded(&whole))
    })
}

fn push_chunk(words: &mut String, chunk: &str) {
    let number = chunk.trim_matches(|c: char| !is_word(c));
    if number.contains('.') && number.chars().all(|c| c.is_ascii_digit() || c == '.') {
        return push(words, number);
    }
    for part in chunk.split(|c: char| !is_word(c)).filter(|part| !part.is_empty()) {
        push_runs(words, part);
    }
    if let Some(whole) = compound(chunk.trim_matches(|c: char| !is_word(c))) {
        push(words, &whole);
    }
    // A name that its punctuation belongs to.
    let name = chunk
        .trim_start_matches(|c: char| !is_word(c))
        .trim_end_matches([',', '.', ';', ':', '?', '!', ')', '"', '\'']);
    for (suffix, word) in [("++", "plusplus"), ("#", "sharp")] {
        if let Some(name) = name.strip_suffix(suffix).filter(|n| !n.is_empty() && n.chars().all(char::is_alphabetic)) {
            push(words, &format!("{name}{word}"));
        }
    }
}

/// Parts joined by hyphens, dots and underscores, without them. Numbers such as 1.5 and versions stay what they are, and
/// an address or path is no compound.
fn compound(chunk: &str) -> Option<String> {
    if chunk.chars().any(|c| !is_word(c) && !is_joint(c)) || chunk.chars().any(is_unspaced) {
        return None;
    }
    let parts: Vec<&str> = chunk.split(is_joint).collect();
    let has_letters = chunk.chars().any(char::is_alphabetic);
    let fits = (2..=MAX_PARTS).contains(&parts.len()) && parts.iter().all(|part| !part.is_empty());
    (has_letters && fits && chunk.chars().count() <= MAX_COMPOUND).then(|| parts.concat())
}

/// Writes a part without punctuation, cut where its script changes to or from one without spaces.
fn push_runs(words: &mut String, part: &str) {
    let mut rest = part;
    while let Some(first) = rest.chars().next() {
        let script = Script::of(first);
        let end = rest.find(|c| Script::of(c) != script).unwrap_or(rest.len());
        let (run, after) = rest.split_at(end);
        match script {
            Script::Spaced => push(words, run),
            Script::Pairs => push_pairs(words, run),
            Script::Segmented => push_segments(words, run),
        }
        rest = after;
    }
}

fn push_pairs(words: &mut String, run: &str) {
    let starts: Vec<usize> = run.char_indices().map(|(at, _)| at).chain([run.len()]).collect();
    if starts.len() == 2 {
        return push(words, run);
    }
    for pair in starts.windows(3) {
        push(words, &run[pair[0]..pair[2]]);
    }
}

fn push_segments(words: &mut String, run: &str) {
    static SEGMENTER: LazyLock<WordSegmenterBorrowed<'static>> =
        LazyLock::new(|| WordSegmenter::new_lstm(WordBreakInvariantOptions::default()));
    let mut start = 0;
    for end in SEGMENTER.segment_str(run) {
        push(words, &run[start..end]);
        start = end;
    }
}

fn push(words: &mut String, word: &str) {
    if word.is_empty() {
        return;
    }
    if !words.is_empty() {
        words.push(' ');
    }
    words.push_str(word);
}

/// How a script's words are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Script {
    Spaced,
    Pairs,
    Segmented,
}

impl Script {
    /// By Unicode block. Marks that combine stay with what they stand on.
    fn of(character: char) -> Self {
        match character {
            '\u{0E00}'..='\u{0EFF}'
            | '\u{1000}'..='\u{109F}'
            | '\u{1780}'..='\u{17FF}'
            | '\u{A9E0}'..='\u{A9FF}'
            | '\u{AA60}'..='\u{AA7F}' => Self::Segmented,
            '\u{1100}'..='\u{11FF}'
            | '\u{2E80}'..='\u{2FDF}'
            | '\u{3005}'..='\u{3007}'
            | '\u{3040}'..='\u{30FF}'
            | '\u{3130}'..='\u{318F}'
            | '\u{31F0}'..='\u{31FF}'
            | '\u{3400}'..='\u{4DBF}'
            | '\u{4E00}'..='\u{9FFF}'
            | '\u{AC00}'..='\u{D7FF}'
            | '\u{F900}'..='\u{FAFF}'
            | '\u{FF66}'..='\u{FF9F}'
            | '\u{20000}'..='\u{3FFFF}' => Self::Pairs,
            _ => Self::Spaced,
        }
    }
}

fn is_unspaced(character: char) -> bool {
    Script::of(character) != Script::Spaced
}

/// Letters, digits and the marks on them. Marks are not alphanumeric everywhere, yet part of the word.
fn is_word(character: char) -> bool {
    character.is_alphanumeric() || is_combining_mark(character) || matches!(character, '\u{200C}' | '\u{200D}')
}

fn is_joint(character: char) -> bool {
    matches!(character, '-' | '.' | '_' | '\u{2010}' | '\u{2011}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn compounds_are_found_whole_and_by_their_parts() {
        assert_eq!(words("Error E-4711 (see wi-fi)."), "Error E 4711 E4711 see wi fi wifi");
        assert_eq!(words("ERR_CONNECTION_REFUSED"), "ERR CONNECTION REFUSED ERRCONNECTIONREFUSED");
        assert_eq!(words("edit settings.json, then save."), "edit settings json settingsjson then save");
        assert_eq!(words("https://example.com/a/b?c=d"), "https example com a b c d");
        assert_eq!(words("C++, C# and c"), "C Cplusplus C Csharp and c");
        assert_eq!(words("don't"), "don t");
        assert_eq!(words("version 3.14.1."), "version 3.14.1");
        assert_eq!(words("<VirtualHost *:80>"), "VirtualHost 80");
    }

    #[test]
    fn scripts_without_spaces_become_words() {
        assert_eq!(words("東京都に"), "東京 京都 都に");
        assert_eq!(words("水"), "水");
        assert_eq!(words("iPhoneの設定"), "iPhone の設 設定");
        assert_eq!(words("비밀번호 변경"), "비밀 밀번 번호 변경");
        assert_eq!(words("รหัสผ่าน"), "รหัส ผ่าน");
    }

    #[test]
    fn identifiers_are_told_from_words() {
        let found = |text| identifiers(text).collect::<Vec<_>>();
        assert_eq!(found("why does E-4711 happen"), ["e4711"]);
        assert_eq!(found("0x80070005, (ERR_NO_ROUTE)!"), ["0x80070005", "errnoroute"]);
        assert_eq!(found("within 30 days of wi-fi"), Vec::<String>::new());
        assert_eq!(found("code 80070005"), ["80070005"]);
        assert_eq!(found("東京2020"), Vec::<String>::new());
    }

    proptest! {
        #[test]
        fn no_letter_is_lost(text in "\\PC{0,60}") {
            let written = words(&text);
            for character in text.chars().filter(|c| is_word(*c)) {
                prop_assert!(written.contains(character));
            }
        }
    }
}
