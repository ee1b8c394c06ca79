//! One question to the assistant.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use shared::{
    assistant::{
        extractive::{self, Composed, Passage, Question, SentenceVectors},
        relevance,
    },
    auth::Roles,
    db::Database,
    embedding::Embedder,
    search::{Found, Query, Search, SearchRequest},
    tenancy::TenantId,
};

/// From how many of the best articles passages are looked at, and how many of each.
const ARTICLES: usize = 4;
const PASSAGES: usize = 4;
/// Longer than people may type: the first 500 characters are what they would get to ask.
const LONGEST: usize = 500;

/// What answers.
pub(crate) struct Assistant {
    search: Search,
    embedder: Arc<dyn Embedder>,
    vectors: SentenceVectors,
}

/// What comes of a question.
pub(crate) struct Answer {
    /// What search found.
    pub(crate) found: Found,
    /// How likely it answers, 0 to 1.
    pub(crate) relevance: f64,
    /// What could be quoted.
    pub(crate) passages: Vec<Passage>,
    /// What is quoted; nothing when the question is refused.
    pub(crate) composed: Composed,
    /// How long search took, …
    pub(crate) searching: Duration,
    /// … and all that came after it.
    pub(crate) composing: Duration,
}

impl Assistant {
    pub(crate) fn new(database: Database, embedder: Arc<dyn Embedder>) -> Self {
        let search = Search::new(database, Some(Arc::clone(&embedder)));
        Self { search, embedder, vectors: SentenceVectors::new(32) }
    }

    pub(crate) async fn ask(&self, tenant: TenantId, text: &str) -> anyhow::Result<Answer> {
        let query: Query = text.chars().take(LONGEST).collect::<String>().parse()?;
        let request = SearchRequest::new(query, 10);
        let started = Instant::now();
        let found = self.search.passages(tenant, &Roles::none(), &request, ARTICLES, PASSAGES).await?;
        let searching = started.elapsed();
        let started = Instant::now();
        let asked = request.query.as_str();
        let relevance = relevance::relevance(asked, &found);
        let passages = Passage::of(&found);
        let composed = if relevance < relevance::FLOOR {
            Composed::default()
        } else {
            let question = Question { text: asked, weights: &found.weights };
            extractive::compose(Some(&*self.embedder), &self.vectors, &question, &passages).await
        };
        Ok(Answer { found, relevance, passages, composed, searching, composing: started.elapsed() })
    }
}
