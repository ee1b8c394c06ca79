//! The last segment of an article's, category's or tag's address.
//!
//! Letters of every script stay as they are: a Japanese title gives a Japanese address that people can read, not a
//! guess at its sound.

use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization;
use unicode_normalization::char::is_combining_mark;

const MAX_CHARS: usize = 100;

/// A slug that is known to be well formed: 1 to 100 characters, lower case, normalised (NFKC), letters, marks and
/// digits of any script in groups separated by single `-`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slug(String);

/// Why a text is no slug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SlugError {
    /// Nothing is left of the text.
    #[error("a slug needs at least one letter or digit")]
    Empty,
    /// More than 100 characters.
    #[error("a slug may have at most {MAX_CHARS} characters, this one has {0}")]
    TooLong(usize),
    /// Has what no slug has; with one that would do.
    #[error("a slug has lower-case letters and digits with single hyphens between them, for example \"{0}\"")]
    Malformed(String),
}

/// The slug of a title or file name; `None` when it has no letter or digit. Whatever is neither becomes a single `-`,
/// except apostrophes inside words, which go (`don't` → `dont`). Longer ones are cut, at a `-` if one is near.
#[must_use]
pub fn slugify(text: &str) -> Option<Slug> {
    let mut slug = String::new();
    let mut pending = false;
    let mut follows_letter = false;
    let mut chars = 0;
    for character in normalised(text).chars() {
        // A mark belongs to the character before it, and goes with that.
        if !is_slug_char(character) || (!follows_letter && is_combining_mark(character)) {
            pending |= !matches!(character, '\'' | '\u{2019}');
            follows_letter = false;
            continue;
        }
        follows_letter = true;
        let separator = pending && !slug.is_empty();
        chars += 1 + usize::from(separator);
        if chars > MAX_CHARS {
            cut_at_word(&mut slug, separator);
            break;
        }
        if separator {
            slug.push('-');
        }
        pending = false;
        slug.push(character);
    }
    // Letters that have become neighbours may compose.
    let slug: String = slug.nfkc().collect();
    (!slug.is_empty()).then_some(Slug(slug))
}

impl Slug {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For what has no name that a slug could be made of.
    #[must_use]
    pub fn fallback() -> Self {
        Slug("article".to_owned())
    }

    /// The text.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl FromStr for Slug {
    type Err = SlugError;

    /// Accepts only what is already a slug; use [`slugify`] to make one.
    fn from_str(text: &str) -> Result<Self, SlugError> {
        let length = text.chars().count();
        if length > MAX_CHARS {
            return Err(SlugError::TooLong(length));
        }
        let Some(slug) = slugify(text) else { return Err(SlugError::Empty) };
        if slug.0 == text { Ok(slug) } else { Err(SlugError::Malformed(slug.0)) }
    }
}

impl fmt::Display for Slug {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl AsRef<str> for Slug {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// Lower case can undo normalisation (`İ` becomes two characters), so it is normalised on both sides.
fn normalised(text: &str) -> String {
    text.nfkc().collect::<String>().to_lowercase().nfkc().collect()
}

fn is_slug_char(character: char) -> bool {
    character.is_alphanumeric() || is_combining_mark(character)
}

/// The text was longer than a slug may be: ends it before the word that did not fit, unless that word is very long.
fn cut_at_word(slug: &mut String, ended_between_words: bool) {
    const NEAR_BYTES: usize = 30;
    if let Some(at) = slug.rfind('-').filter(|at| !ended_between_words && slug.len() - at <= NEAR_BYTES) {
        slug.truncate(at);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn slug(text: &str) -> String {
        slugify(text).map(Slug::into_string).unwrap_or_default()
    }

    #[test]
    fn words_are_joined_by_single_hyphens() {
        assert_eq!(slug("  Getting started: Part 2 — “Orders” & more!  "), "getting-started-part-2-orders-more");
        assert_eq!(slug("Can't log in"), "cant-log-in");
        assert_eq!(slug("snake_case.file"), "snake-case-file");
    }

    #[test]
    fn every_script_keeps_its_letters() {
        for (text, expected) in [
            ("請求書の発行", "請求書の発行"),
            ("การตั้งค่า บัญชี", "การตั้งค่า-บัญชี"),
            ("إعداد الحساب", "إعداد-الحساب"),
            ("Größe ändern", "größe-ändern"),
            ("ｆｕｌｌ　ｗｉｄｔｈ", "full-width"),
            ("हिन्दी", "हिन्दी"),
        ] {
            assert_eq!(slug(text), expected);
        }
    }

    #[test]
    fn nothing_to_keep_is_no_slug() {
        for text in ["", " - ", "🎉!", "\u{301}"] {
            assert_eq!(slugify(text), None, "{text}");
        }
    }

    #[test]
    fn long_titles_are_cut_between_words() {
        let cut = slug(&"word ".repeat(40));
        assert!(cut.chars().count() <= 100 && cut.ends_with("-word"), "{cut}");
        assert_eq!(slug(&"x".repeat(300)).len(), 100);
        assert_eq!(slug(&"語".repeat(300)).chars().count(), 100);
    }

    #[test]
    fn the_constructor_takes_only_slugs() {
        assert!("a-2-ü".parse::<Slug>().is_ok());
        assert_eq!("".parse::<Slug>(), Err(SlugError::Empty));
        for text in ["A", "a--b", "-a", "a ", "a/b", "..", "e\u{301}"] {
            assert!(text.parse::<Slug>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn slugs_are_stable(text in "(\\PC|'|[a-z]){0,150}") {
            if let Some(slug) = slugify(&text) {
                prop_assert_eq!(slug.as_str().parse::<Slug>(), Ok(slug.clone()));
            }
        }
    }
}
