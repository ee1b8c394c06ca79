//! What else one could search for: completions while somebody types, related queries, and "did you mean".
//!
//! Everything that is suggested comes from articles that the caller may see, or from queries that several people asked and
//! that found such an article.

use std::collections::BTreeSet;

use uuid::Uuid;

use super::{Query, SearchRequest, store};
use crate::{
    auth::Roles,
    db::TenantTx,
    knowledge::{folded, words},
};

/// A query is shown to others when so many people asked it.
const ASKED_BY: i64 = 3;
/// Most queries that are suggested.
const MAX_QUERIES: i64 = 5;
/// Most articles that are suggested.
const MAX_ARTICLES: i64 = 6;
/// Words are corrected to words that are at least so alike, 0 to 1 (Damerau-Levenshtein, normalised by length).
const ALIKE: f64 = 0.65;
/// Shorter words are too easily like another.
const MIN_CORRECTED: usize = 4;

/// Completions of what somebody types.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestions {
    /// Queries, those that most people asked first.
    pub queries: Vec<String>,
    /// Articles by their titles.
    pub articles: Vec<TitleSuggestion>,
}

/// An article whose title has what was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TitleSuggestion {
    /// Identity.
    pub id: Uuid,
    /// Present address.
    pub slug: String,
    /// Title.
    pub title: String,
}

/// Completes what somebody types: queries that begin with it, and titles that have its words and one that begins like the
/// last.
pub async fn complete(tx: &mut TenantTx, roles: &Roles, typed: &str) -> Result<Suggestions, sqlx::Error> {
    let typed: String = typed.chars().filter(|c| !c.is_control()).take(super::query::MAX_LENGTH).collect();
    let beginning = typed.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ");
    let all = folded(&words(&typed));
    if all.is_empty() {
        return Ok(Suggestions::default());
    }
    let queries = askable(store::asked_queries(tx, roles, &beginning, ASKED_BY, MAX_QUERIES).await?);
    let (complete, last) = all.rsplit_once(' ').unwrap_or(("", &all));
    let mut last_terms = store::completions(tx, last).await?;
    last_terms.extend(store::terms(tx, last).await?);
    let complete_terms = store::terms(tx, complete).await?;
    // Terms of two languages meet in no title.
    let languages: BTreeSet<&str> = last_terms.iter().map(|term| term.language.as_str()).collect();
    let mut articles: Vec<TitleSuggestion> = Vec::new();
    for language in languages {
        let of_language = |terms: &[store::TermRow]| -> Vec<i32> {
            terms.iter().filter(|term| term.language == language).map(|term| term.id).collect()
        };
        let (every, any) = (of_language(&complete_terms), of_language(&last_terms));
        articles.extend(store::titles(tx, roles, &every, &any, MAX_ARTICLES).await?);
    }
    articles.truncate(usize::try_from(MAX_ARTICLES).unwrap_or(usize::MAX));
    Ok(Suggestions { queries, articles })
}

/// What people searched for next, most first.
pub(super) async fn related(tx: &mut TenantTx, roles: &Roles, query: &Query) -> Result<Vec<String>, sqlx::Error> {
    Ok(askable(store::related_queries(tx, roles, &query.normalised(), ASKED_BY, MAX_QUERIES).await?))
}

/// Those that can be asked as they are: some letters are two in lower case, and a long query too long with them.
fn askable(mut queries: Vec<String>) -> Vec<String> {
    queries.retain(|query| query.parse::<Query>().is_ok());
    queries
}

/// The query with words that no article has put right, if any can be: each by the word most like it that an article has
/// which the caller may see.
pub(super) async fn did_you_mean(
    tx: &mut TenantTx,
    roles: &Roles,
    request: &SearchRequest,
) -> Result<Option<String>, sqlx::Error> {
    let unquoted = request.query.unquoted();
    let mut corrected = Vec::new();
    let mut is_changed = !unquoted.split_whitespace().eq(request.query.as_str().split_whitespace());
    for written in unquoted.split_whitespace() {
        let inner = written.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase();
        let is_word = inner.chars().all(char::is_alphabetic) && inner.chars().count() >= MIN_CORRECTED;
        let better = if is_word { correction(tx, roles, request, &inner).await? } else { None };
        is_changed |= better.is_some();
        corrected.push(better.unwrap_or_else(|| written.to_owned()));
    }
    // Without its quotation marks it may be no query any more.
    let corrected = corrected.join(" ");
    Ok((is_changed && corrected.parse::<Query>().is_ok()).then_some(corrected))
}

/// `None`: the word is known, or nothing is like it.
async fn correction(
    tx: &mut TenantTx,
    roles: &Roles,
    request: &SearchRequest,
    word: &str,
) -> Result<Option<String>, sqlx::Error> {
    if !store::terms(tx, word).await?.is_empty() || store::is_stop_word(tx, word).await? {
        return Ok(None);
    }
    let mut alike: Vec<(f64, store::Spelling)> = store::words_like(tx, word)
        .await?
        .into_iter()
        .map(|candidate| (strsim::normalized_damerau_levenshtein(word, &candidate.word), candidate))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .collect();
    alike.sort_by(|(x, a), (y, b)| {
        y.total_cmp(x).then_with(|| b.article_count.cmp(&a.article_count)).then_with(|| a.word.cmp(&b.word))
    });
    for (_, candidate) in alike {
        if store::is_visible_term(tx, roles, request, candidate.id).await? {
            return Ok(Some(candidate.word));
        }
    }
    Ok(None)
}
