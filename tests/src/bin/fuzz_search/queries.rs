//! The queries: what is sent, and which are none.

mod kinds;
mod pieces;

use std::{fmt::Write as _, path::Path};

use ::tests::judged;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};

use crate::languages;

/// Most characters of a query.
pub(crate) const LONGEST: usize = 500;
/// What the API takes when no limit is said.
const DEFAULT_LIMIT: usize = 20;

/// Ordinary queries, to send as they are and to make others of.
pub(crate) struct Material(Vec<String>);

impl Material {
    /// Questions that people asked, titles, and sentences of many languages.
    pub(crate) fn load(data: Option<&Path>, titles: Vec<String>) -> anyhow::Result<Self> {
        let mut texts = titles;
        texts.extend(languages::sentences().map(str::to_owned));
        if let Some(data) = data {
            for collection in judged::collections(&data.join("ir"))? {
                texts.extend(collection.judged()?.into_iter().map(|(question, _)| question.text));
            }
        }
        Ok(Self(texts))
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn one(&self, random: &mut StdRng) -> String {
        self.0.choose(random).map_or(String::new(), |text| text.chars().take(LONGEST).collect())
    }
}

/// A query on its way.
pub(crate) struct Sent {
    /// Which one, of those of its seed.
    pub(crate) number: u64,
    /// Of what kind it is.
    pub(crate) kind: &'static str,
    /// The query.
    pub(crate) text: String,
    /// How many results may come.
    pub(crate) limit: usize,
    /// Who asks.
    pub(crate) person: usize,
    /// `Accept-Language`.
    pub(crate) language: &'static str,
    /// The query as it stands in the body.
    literal: String,
    has_limit: bool,
    session: u32,
    is_unicode: bool,
}

impl Sent {
    /// The query of this number. Whatever was sent before, it is the same.
    pub(crate) fn of(seed: u64, number: u64, material: &Material) -> Self {
        let random = &mut StdRng::seed_from_u64(seed.wrapping_mul(1_000_000_007).wrapping_add(number));
        let kind = kinds::any(random);
        let text = kind.text(material, random);
        let is_unicode = kind.name != kinds::LONE_SURROGATES;
        let literal = if is_unicode {
            if random.random_bool(0.5) { literal(&text) } else { escaped(&text) }
        } else {
            with_lone_surrogate(&text, random)
        };
        let limit = random.random_bool(0.7).then(|| random.random_range(1..=50));
        Self {
            number,
            kind: kind.name,
            text,
            limit: limit.unwrap_or(DEFAULT_LIMIT),
            language: ["en", "de-AT", "ar;q=0.9", "zh-Hant", "*", "x"].choose(random).copied().unwrap_or_default(),
            person: random.random_range(0..1_000),
            literal,
            has_limit: limit.is_some(),
            session: random.random(),
            is_unicode,
        }
    }

    /// The body of the search, as JSON.
    pub(crate) fn body(&self) -> String {
        let limit = if self.has_limit { format!(r#","limit":{}"#, self.limit) } else { String::new() };
        format!(r#"{{"query":{}{limit},"session_id":"fuzz-of-search-{:08x}"}}"#, self.literal, self.session)
    }

    /// Whether it is a query.
    pub(crate) fn is_query(&self) -> bool {
        self.is_unicode && is_query(&self.text)
    }
}

/// Whether a text is a query: 2 to 500 characters, where control characters count as white space, and that at both ends not at
/// all.
pub(crate) fn is_query(text: &str) -> bool {
    let settled: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    (2..=LONGEST).contains(&settled.trim().chars().count())
}

/// As JSON with as few escapes as can be.
fn literal(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// As JSON in which everything but letters is an escape.
fn escaped(text: &str) -> String {
    let mut json = String::from('"');
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            json.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                let _ = write!(json, "\\u{unit:04x}");
            }
        }
    }
    json + "\""
}

/// As JSON with half of a surrogate pair in it, which is no Unicode.
fn with_lone_surrogate(text: &str, random: &mut StdRng) -> String {
    let mut json = escaped(text);
    let half: u16 = random.random_range(0xD800..=0xDFFF);
    let at = if random.random_bool(0.5) { 1 } else { json.len() - 1 };
    json.insert_str(at, &format!("\\u{half:04x}"));
    json
}

#[cfg(test)]
mod tests {
    use super::*;

    fn material() -> Material {
        Material(
            ["How do I reset my password?", "E-1042", "日本語の記事を探す", "كيف أغير كلمة المرور"]
                .map(str::to_owned)
                .to_vec(),
        )
    }

    #[test]
    fn a_query_is_the_same_whenever_it_is_made() {
        for number in 0..2_000 {
            assert_eq!(Sent::of(7, number, &material()).body(), Sent::of(7, number, &material()).body());
        }
    }

    #[test]
    fn its_json_is_the_text() {
        for number in 0..5_000 {
            let sent = Sent::of(7, number, &material());
            let read = serde_json::from_str::<serde_json::Value>(&sent.body());
            assert_eq!(read.is_ok(), sent.is_unicode, "{}", sent.body());
            if let Ok(body) = read {
                assert_eq!(body["query"], sent.text);
            }
        }
    }

    #[test]
    fn every_kind_is_sent_and_nearly_all_are_queries() {
        let sent: Vec<Sent> = (0..20_000).map(|number| Sent::of(7, number, &material())).collect();
        let kinds: std::collections::BTreeSet<&str> = sent.iter().map(|sent| sent.kind).collect();
        assert_eq!(kinds.len(), kinds::count());
        let queries = sent.iter().filter(|sent| sent.is_query()).count();
        assert!((15_000..20_000).contains(&queries), "{queries}");
    }
}
