//! Languages of articles.

use std::{fmt, str::FromStr};

/// A language tag that is known to be well formed (BCP 47): a language of two or three letters, then subtags, at most 35
/// characters; such as `en` or `pt-BR`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Locale(String);

impl Locale {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Locale {
    fn default() -> Self {
        Self("en".to_owned())
    }
}

impl FromStr for Locale {
    type Err = String;

    fn from_str(tag: &str) -> Result<Self, Self::Err> {
        let mut parts = tag.split('-');
        let is_language =
            |part: &str| (2..=3).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphabetic());
        let is_subtag =
            |part: &str| (1..=8).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if tag.len() <= 35 && parts.next().is_some_and(is_language) && parts.all(is_subtag) {
            return Ok(Self(tag.to_owned()));
        }
        Err(format!("{tag:?} is not a language tag; use one like `en` or `pt-BR`"))
    }
}

impl fmt::Display for Locale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
