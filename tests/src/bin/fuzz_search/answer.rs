//! What an answer must be.

use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use crate::queries::{Sent, is_query};

/// How long an answer may take.
pub(crate) const IN_TIME: Duration = Duration::from_secs(2);

/// How a request went.
pub(crate) struct Outcome {
    /// `search` or `completion`.
    pub(crate) what: &'static str,
    pub(crate) took: Duration,
    /// Or what is wrong with the answer.
    pub(crate) verdict: Result<(), String>,
}

/// As the API describes it; a field more or less is a failure.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Answer {
    results: Vec<Found>,
    total: usize,
    suggestions: Vec<String>,
    did_you_mean: Option<String>,
    facets: Facets,
    search_id: Option<Uuid>,
    degraded: Vec<String>,
    #[serde(rename = "took_ms")]
    _took_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "that they are there and of their kind is what is checked")]
struct Found {
    id: Uuid,
    title: String,
    slug: String,
    url: String,
    summary: String,
    snippet: String,
    category: Option<String>,
    breadcrumb: Vec<Value>,
    difficulty_level: String,
    locale: String,
    view_count: u64,
    helpful_ratio: f64,
    score: f64,
    matched: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Facets {
    categories: Vec<Facet>,
    tags: Vec<Facet>,
    difficulties: Vec<Facet>,
    locales: Vec<Facet>,
}

#[derive(Deserialize)]
struct Facet {
    count: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Completions {
    queries: Vec<String>,
    articles: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    #[serde(rename = "id")]
    _id: Uuid,
    title: String,
    slug: String,
    url: String,
}

#[derive(Deserialize)]
struct Refusal {
    code: String,
    status: u16,
    detail: String,
}

/// Whether the answer to a search is what it must be.
pub(crate) fn check_search(sent: &Sent, status: u16, body: &[u8]) -> Result<(), String> {
    if !sent.is_query() {
        return check_refusal(status, body);
    }
    let Answer { results, total, suggestions, did_you_mean, facets, search_id, degraded, _took_ms } =
        answered(status, body)?;
    check(results.len() <= sent.limit, || format!("{} results, limit {}", results.len(), sent.limit))?;
    check(results.len() <= total, || format!("{} results of a total of {total}", results.len()))?;
    check(degraded.is_empty(), || format!("degraded: {degraded:?}"))?;
    check(search_id.is_some(), || "the search was not kept".to_owned())?;
    let Facets { categories, tags, difficulties, locales } = facets;
    let mut counted = [categories, tags, difficulties, locales].into_iter().flatten();
    check(counted.all(|facet| (1..=total).contains(&facet.count)), || "a facet of none, or of too many".to_owned())?;
    let mut offered = suggestions.iter().chain(&did_you_mean);
    check(offered.all(|text| is_query(text)), || format!("{suggestions:?} or {did_you_mean:?} is no query"))?;
    let is_other = did_you_mean.as_ref().is_none_or(|better| !better.split_whitespace().eq(words(&sent.text)));
    check(is_other, || "did you mean the same?".to_owned())?;
    results.iter().try_for_each(check_found)
}

/// Whether completions are what they must be.
pub(crate) fn check_completions(sent: &Sent, status: u16, body: &[u8]) -> Result<(), String> {
    if sent.text.chars().count() > 500 {
        return check_refusal(status, body);
    }
    let Completions { queries, articles } = answered(status, body)?;
    check(queries.iter().all(|query| is_query(query)), || format!("{queries:?} are no queries"))?;
    articles.iter().try_for_each(|article| {
        check(article.url == format!("/articles/{}/", article.slug), || format!("address {:?}", article.url))?;
        check(!article.title.is_empty(), || format!("{} has no title", article.slug))
    })
}

/// Whether an answer came in time.
pub(crate) fn check_time(took: Duration) -> Result<(), String> {
    check(took <= IN_TIME, || format!("answered after {:.1} s", took.as_secs_f64()))
}

fn check_found(found: &Found) -> Result<(), String> {
    let Found { slug, score, helpful_ratio, snippet, matched, .. } = found;
    check((0.0..=1.0).contains(score), || format!("{slug} scores {score}"))?;
    check((0.0..=1.0).contains(helpful_ratio), || format!("{slug} is helpful to {helpful_ratio}"))?;
    check(found.url == format!("/articles/{slug}/"), || format!("address {:?}", found.url))?;
    check(!found.title.is_empty(), || format!("{slug} has no title"))?;
    let arms = ["keyword", "semantic"];
    check(matched.iter().all(|arm| arms.contains(&arm.as_str())), || format!("{slug} matched by {matched:?}"))?;
    check(is_safe(snippet), || format!("{slug} has the snippet {snippet:?}"))
}

/// Whether `<mark>` is the only markup, and each is closed before the next.
fn is_safe(snippet: &str) -> bool {
    let mut parts = snippet.split("<mark>");
    let before = parts.next().unwrap_or_default();
    let is_text = |text: &str| !text.contains(['<', '>']);
    is_text(before)
        && parts.all(|part| match part.split_once("</mark>") {
            Some((marked, after)) => is_text(marked) && is_text(after),
            None => false,
        })
}

fn answered<'a, T: Deserialize<'a>>(status: u16, body: &'a [u8]) -> Result<T, String> {
    check(status == 200, || format!("status {status}: {}", beginning(body)))?;
    serde_json::from_slice(body).map_err(|error| format!("{error}: {}", beginning(body)))
}

fn check_refusal(status: u16, body: &[u8]) -> Result<(), String> {
    check(status == 400, || format!("status {status} instead of 400: {}", beginning(body)))?;
    let refusal: Refusal = serde_json::from_slice(body).map_err(|error| format!("{error}: {}", beginning(body)))?;
    let is_told = refusal.status == 400 && refusal.code == "invalid_request" && !refusal.detail.is_empty();
    check(is_told, || format!("a refusal that does not say why: {}", beginning(body)))
}

fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(body).chars().take(500).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty())
}

fn check(holds: bool, what: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(what()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snippet_may_hold_marks_and_nothing_else() {
        for safe in ["", "plain", "a <mark>b</mark> c <mark>d</mark>", "<mark>&lt;b&gt;</mark>"] {
            assert!(is_safe(safe), "{safe}");
        }
        for unsafe_one in [
            "<b>",
            "a <mark>b",
            "b</mark>",
            "<mark>a<mark>b</mark></mark>",
            "<mark><i></mark>",
            "<mark class=x>a</mark>",
        ] {
            assert!(!is_safe(unsafe_one), "{unsafe_one}");
        }
    }
}
