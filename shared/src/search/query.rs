//! The query as people type it, and what of it is looked for.

use std::str::FromStr;

use super::bm25::Term;
use crate::knowledge::{folded, identifiers, words};

/// Fewest characters.
pub(super) const MIN_LENGTH: usize = 2;
/// Most characters.
pub(super) const MAX_LENGTH: usize = 500;
/// Most words that take part; the rarest are kept.
pub(super) const MAX_TERMS: usize = 64;
/// How many articles the choosing words may match in all before commoner words stop adding candidates. Scoring costs time
/// for each candidate, and an article that matches only the commonest words of a query is not what was looked for.
pub(super) const CANDIDATE_BUDGET: i64 = 250;

/// A query of 2 to 500 characters, any Unicode.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Query(String);

/// Why a text is not a query.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// Too short, white space at both ends not counted.
    #[error("type at least {MIN_LENGTH} characters to search")]
    TooShort,
    /// Too long.
    #[error("a query may have at most {MAX_LENGTH} characters; this one has {0}")]
    TooLong(usize),
}

impl Query {
    /// The text, without white space at both ends and without control characters.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// No words at all, where only filters matter.
    pub(super) fn nothing() -> Self {
        Self(String::new())
    }

    /// Lower case, one space between words: equal for searches that differ in nothing that matters.
    pub fn normalised(&self) -> String {
        self.0.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// The text without quotation marks.
    pub fn unquoted(&self) -> String {
        self.0.replace(is_quote, " ").split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// What is looked for.
    pub(super) fn parse(&self) -> Parsed {
        let mut parts = self.0.split(is_quote);
        let mut phrases = Vec::new();
        // Every second part stands between quotation marks; one that is never closed is none.
        while let (Some(_), Some(quoted)) = (parts.next(), parts.next()) {
            let is_closed = parts.clone().next().is_some();
            let phrase = words(quoted);
            if is_closed && !phrase.is_empty() {
                phrases.push(phrase);
            }
        }
        let words = words(&self.0);
        let count = |text: &str| text.split(' ').count();
        let quoted: usize = phrases.iter().map(|phrase| count(phrase)).sum();
        if 2 * quoted < count(&words) {
            phrases.clear();
        }
        let is_open = self.0.ends_with(|c: char| c.is_alphanumeric());
        Parsed {
            identifiers: identifiers(&self.0).collect(),
            unfinished: is_open.then(|| folded(words.rsplit(' ').next().unwrap_or_default())),
            phrases,
            words,
        }
    }
}

/// Straight and typographic double quotation marks of all languages.
fn is_quote(character: char) -> bool {
    matches!(character, '"' | '\u{201C}'..='\u{201F}' | '\u{AB}' | '\u{BB}' | '\u{300C}'..='\u{300F}' | '\u{FF02}')
}

/// A query taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parsed {
    /// All of its words, as they are indexed.
    pub(super) words: String,
    /// What stands between quotation marks: articles must have it just so. None in a query that is mostly something else: a
    /// question that quotes a button or a message is still a question.
    pub(super) phrases: Vec<String>,
    /// Error codes and the like: articles that have one come first.
    pub(super) identifiers: Vec<String>,
    /// The last word, in lower case and without accents, while it may be the beginning of another.
    pub(super) unfinished: Option<String>,
}

impl FromStr for Query {
    type Err = QueryError;

    /// Control characters (NUL among them, which PostgreSQL cannot store) count as spaces.
    fn from_str(text: &str) -> Result<Self, QueryError> {
        let cleaned: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let cleaned = cleaned.trim();
        match cleaned.chars().count() {
            0..MIN_LENGTH => Err(QueryError::TooShort),
            MIN_LENGTH..=MAX_LENGTH => Ok(Self(cleaned.to_owned())),
            length => Err(QueryError::TooLong(length)),
        }
    }
}

/// The numbers of the terms that choose candidates: from the rarest on, until together they match [`CANDIDATE_BUDGET`]
/// articles. `terms` are sorted, rarest first.
pub(super) fn driving_terms(terms: &[Term]) -> Vec<i32> {
    let mut matched = 0;
    terms
        .iter()
        .enumerate()
        .take_while(|(index, term)| {
            matched += term.article_count;
            *index == 0 || matched <= CANDIDATE_BUDGET
        })
        .map(|(_, term)| term.id)
        .collect()
}

/// All words of the query together, where the choosing ones match more articles than are looked at; only terms of one language
/// meet in an article.
pub(super) fn conjunction(terms: &[Term], driving: &[i32]) -> Option<Vec<i32>> {
    let matched: i64 = terms.iter().filter(|term| driving.contains(&term.id)).map(|term| term.article_count).sum();
    let every = terms.iter().filter(|term| term.weight >= 1.0).map(|term| term.id);
    (matched > CANDIDATE_BUDGET).then(|| every.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Query {
        text.parse().unwrap()
    }

    #[test]
    fn any_unicode_of_fitting_length_is_a_query() {
        assert_eq!("  a\u{0}b ".parse(), Ok(Query("a b".to_owned())));
        assert_eq!("日本".parse(), Ok(Query("日本".to_owned())));
        assert_eq!("a".parse::<Query>(), Err(QueryError::TooShort));
        assert_eq!(" \n\t ".parse::<Query>(), Err(QueryError::TooShort));
        assert!("ä".repeat(MAX_LENGTH).parse::<Query>().is_ok());
        assert_eq!("ä".repeat(MAX_LENGTH + 1).parse::<Query>(), Err(QueryError::TooLong(MAX_LENGTH + 1)));
    }

    #[test]
    fn what_is_quoted_is_a_phrase_and_an_open_quotation_is_none() {
        assert_eq!(query("\"two words\" and «wi-fi»").parse().phrases, ["two words", "wi fi wifi"]);
        assert_eq!(query("a \"b c").parse().phrases, Vec::<String>::new());
        assert_eq!(query("why does the button \"send now\" do nothing").parse().phrases, Vec::<String>::new());
        assert_eq!(query("\"\" \"!\"").parse().phrases, Vec::<String>::new());
        assert_eq!(query("set \"two  words\"").unquoted(), "set two words");
    }

    #[test]
    fn the_last_word_is_unfinished_until_something_follows_it() {
        assert_eq!(query("reset Passw").parse().unfinished.as_deref(), Some("passw"));
        assert_eq!(query("reset password?").parse().unfinished, None);
    }

    #[test]
    fn the_rarest_words_choose_and_one_always_does() {
        let term = |(id, article_count)| Term { id, article_count, concept: 0, weight: 1.0 };
        let terms = |counts: &[i64]| (0..).zip(counts.iter().copied()).map(term).collect::<Vec<_>>();
        assert_eq!(driving_terms(&terms(&[3, 50, 150, 5_000])), [0, 1, 2]);
        assert_eq!(driving_terms(&terms(&[5_000, 6_000])), [0]);
        assert_eq!(driving_terms(&terms(&[])), Vec::<i32>::new());
        assert_eq!(conjunction(&terms(&[5_000, 6_000]), &[0]), Some(vec![0, 1]));
        assert_eq!(conjunction(&terms(&[3, 6]), &[0, 1]), None);
    }
}
