//! The passages that answer a question: what the assistant writes from.

use uuid::Uuid;

use super::{Arm, Candidate, Search, SearchRequest, store};
use crate::{auth::Roles, tenancy::TenantId};

/// What was found for a question.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// The best articles, best first, with what the arms measured.
    pub candidates: Vec<Candidate>,
    /// Passages of them.
    pub passages: Vec<FoundPassage>,
    /// What was not available.
    pub degraded: Vec<Arm>,
}

/// A passage with what it takes to cite it.
#[derive(Debug, Clone)]
pub struct FoundPassage {
    /// The article.
    pub article_id: Uuid,
    /// Its revision that readers see.
    pub revision_id: Uuid,
    /// Where in it, counted from 1.
    pub ordinal: i32,
    /// The article's address.
    pub slug: String,
    /// Its title.
    pub title: String,
    /// Its language.
    pub locale: String,
    /// The headings that the passage stands under.
    pub heading_path: Vec<String>,
    /// The last of them, as a fragment.
    pub anchor: Option<String>,
    /// Plain text, with items of lists, rows and code on lines of their own.
    pub body: String,
    /// Cosine with the question. `None`: not measured.
    pub similarity: Option<f64>,
}

impl Search {
    /// The best passages, at most so many of each of the best articles that somebody with these roles may see.
    pub async fn passages(
        &self,
        tenant: TenantId,
        roles: &Roles,
        request: &SearchRequest,
        articles: usize,
        per_article: usize,
    ) -> Result<Found, sqlx::Error> {
        let mut tx = self.database.tenant_with_generic_plans(tenant).await?;
        let state = store::state(&mut tx, &request.query.normalised()).await?;
        let vector = self.vector(None, request, &state);
        let (mut tx, ranked) = self.rank(tx, roles, request, &state, vector).await?;
        let candidates: Vec<Candidate> = ranked.candidates.into_iter().take(articles).collect();
        let near: Vec<store::Near> = match &ranked.meaning {
            Some(meaning) => {
                candidates.iter().flat_map(|c| meaning.nearest_passages(c.article_id, per_article)).collect()
            }
            None => Vec::new(),
        };
        let passages = store::passages(&mut tx, roles, &near).await?;
        let degraded = if ranked.meaning.is_none() { vec![Arm::Semantic] } else { Vec::new() };
        Ok(Found { candidates, passages, degraded })
    }
}
