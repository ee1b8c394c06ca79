//! The last word on the order of the best, by a model that reads each beside the query, where one is configured.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    SearchRequest,
    rank::{Ranked, of_language},
    store::HitRow,
};
use crate::reranker::Reranker;

/// Orders the candidates that have a row by what the reranker says. Pinned articles stay before them, and those that have an
/// identifier of the query before those that have none; candidates without a row come after. Whether it was so: without an answer
/// of the reranker nothing is changed.
pub(super) async fn rerank(
    reranker: &Reranker,
    request: &SearchRequest,
    ranked: &mut Ranked,
    rows: &HashMap<Uuid, HitRow>,
) -> bool {
    let judged: Vec<usize> = (ranked.pinned..ranked.candidates.len())
        .filter(|at| rows.contains_key(&ranked.candidates[*at].article_id))
        .collect();
    if judged.len() < 2 {
        return true;
    }
    let text = |at: &usize| {
        let row = &rows[&ranked.candidates[*at].article_id];
        format!("{}\n{}", row.title, row.passage.as_deref().unwrap_or(&row.summary))
    };
    let texts = judged.iter().map(text).collect();
    let scores = match reranker.scores(request.query.as_str(), texts).await {
        Ok(scores) => scores,
        Err(error) => {
            tracing::warn!(%error, "search.reranker_down: results are in the order of words and meaning");
            return false;
        }
    };
    let any_identifier = ranked.candidates.iter().any(|candidate| candidate.evidence.has_identifier);
    for candidate in &mut ranked.candidates {
        candidate.score *= 0.5;
    }
    for (at, score) in judged.into_iter().zip(scores) {
        let candidate = &mut ranked.candidates[at];
        let score = score * of_language(&rows[&candidate.article_id].locale, request.language.as_deref());
        let has_identifier = f64::from(u8::from(candidate.evidence.has_identifier));
        let score = if any_identifier { 0.5 * score + 0.5 * has_identifier } else { score };
        candidate.score = 0.5 + 0.5 * score;
    }
    // A stable sort: of those that are alike to the reranker, the better by words and meaning comes first.
    ranked.candidates[ranked.pinned..].sort_by(|a, b| b.score.total_cmp(&a.score));
    true
}
