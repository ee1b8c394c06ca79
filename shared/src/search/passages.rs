//! What an answer can be made of: the passages of the best articles that are nearest to a question.

use std::collections::HashMap;

use uuid::Uuid;

use super::{Arm, Candidate, Search, SearchRequest, store};
use crate::{auth::Roles, tenancy::TenantId};

/// What a question finds, to be answered from.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// All articles that were found, best first, with what the arms measured: what relevance is judged by.
    pub candidates: Vec<Candidate>,
    /// Passages of the first of them, in the order of the articles, the nearest of each first. An article that is gone since, or
    /// that the caller may no longer see, has none.
    pub passages: Vec<FoundPassage>,
    /// The stems of the question's words that articles have, and of what was added to them, each with how rare it is.
    pub weights: HashMap<String, f64>,
    /// How many articles the tenant has, those that the caller may not see included; 0 where none has a word of the question.
    pub articles: u32,
    /// The model that the similarities are of. `None`: words alone were compared.
    pub model: Option<String>,
    /// What was not available.
    pub degraded: Vec<Arm>,
}

/// A stretch of an article that a question is near to.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundPassage {
    /// The article.
    pub article_id: Uuid,
    /// Which of its texts this is part of: the one that readers see.
    pub revision_id: Uuid,
    /// Its place in the article, from 1: those with neighbouring numbers can be joined.
    pub ordinal: i32,
    /// Present address of the article.
    pub slug: String,
    /// Title of the article.
    pub title: String,
    /// The headings that it stands under, outermost first, without the title.
    pub heading_path: Vec<String>,
    /// The id of the last of them on the article's page.
    pub anchor: Option<String>,
    /// The language of the article.
    pub locale: String,
    /// Plain text: list items and table rows on lines of their own, paragraphs separated by blank lines.
    pub text: String,
    /// Cosine similarity with the question, -1 to 1. `None`: it was found by words alone.
    pub similarity: Option<f64>,
}

impl Search {
    /// Ranks as [`run`](Self::run) does and returns all candidates, with at most `per_article` passages of each of the best
    /// `articles`. A reranker, where one is configured, is not asked: it orders results for people who look at them.
    pub async fn passages(
        &self,
        tenant: TenantId,
        roles: &Roles,
        request: &SearchRequest,
        articles: usize,
        per_article: usize,
    ) -> Result<Found, sqlx::Error> {
        let early = self.foreseen_vector(request);
        let mut tx = self.database.tenant_with_generic_plans(tenant).await?;
        let state = store::state(&mut tx, &request.query.normalised()).await?;
        let vector = self.vector(early, request, &state);
        let (mut tx, ranked) = self.rank(tx, roles, request, &state, vector).await?;
        let ids: Vec<Uuid> = ranked.candidates.iter().take(articles).map(|candidate| candidate.article_id).collect();
        let near: Vec<store::Near> = match &ranked.meaning {
            Some(meaning) => ids.iter().flat_map(|id| meaning.nearest_passages(*id, per_article)).collect(),
            None => Vec::new(),
        };
        let lexemes: Vec<String> = ranked.lexemes.into_iter().collect();
        let passages = store::passages(&mut tx, roles, &ids, &near, &lexemes, per_article).await?;
        let model = ranked.meaning.map(|meaning| meaning.model);
        let degraded = if model.is_none() { vec![Arm::Semantic] } else { Vec::new() };
        Ok(Found {
            candidates: ranked.candidates,
            passages,
            weights: ranked.weights,
            articles: u32::try_from(ranked.all_articles).unwrap_or(u32::MAX),
            model,
            degraded,
        })
    }
}
