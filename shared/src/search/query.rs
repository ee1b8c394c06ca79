//! The query as people type it, and which of its words choose candidates.

use std::str::FromStr;

use super::store::Term;

/// Fewest characters.
pub(super) const MIN_LENGTH: usize = 2;
/// Most characters.
pub(super) const MAX_LENGTH: usize = 500;
/// Most words that take part; the rarest are kept.
pub(super) const MAX_TERMS: usize = 64;
/// How many articles the choosing words may match in all before commoner words stop adding candidates. Scoring costs time
/// for each candidate, and an article that matches only the commonest words of a query is not what was looked for.
const CANDIDATE_BUDGET: i64 = 1_000;

/// A query of 2 to 500 characters, any Unicode.
#[derive(Debug, Clone, PartialEq, Eq)]
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

/// The words that choose candidates: from the rarest on, until together they match [`CANDIDATE_BUDGET`] articles. `terms`
/// are sorted, rarest first.
pub(super) fn driving_terms(terms: &[Term]) -> impl Iterator<Item = &Term> {
    let mut matched = 0;
    terms
        .iter()
        .enumerate()
        .take_while(move |(index, term)| {
            matched += term.article_count;
            *index == 0 || matched <= CANDIDATE_BUDGET
        })
        .map(|(_, term)| term)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn the_rarest_words_choose_and_one_always_does() {
        let term = |n| Term { lexeme: format!("t{n}"), article_count: n };
        let chosen = |counts: &[i64]| {
            let terms: Vec<Term> = counts.iter().copied().map(term).collect();
            driving_terms(&terms).map(|t| t.article_count).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&[3, 50, 900, 5_000]), [3, 50, 900]);
        assert_eq!(chosen(&[5_000, 6_000]), [5_000]);
        assert_eq!(chosen(&[]), Vec::<i64>::new());
    }
}
