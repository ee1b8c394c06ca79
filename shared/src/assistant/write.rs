//! Writing an answer: from the question to the row, told to those who wait while it happens.
//!
//! 1. The question with what it leaves out ([`standalone`]), and a search with the asker's own roles.
//! 2. Below the relevance floor, or where a person is asked for, it is refused or handed over.
//! 3. What was found is packed into a context ([`pack`]). The same question of the same audience over the same passages has its
//!    answer already ([`cache`]).
//! 4. Otherwise sentences are chosen ([`extractive`]), each checked against the passage that it cites.
//!
//! Running it twice is harmless: what is written stays, and only one worker at a time has the word.

use std::time::Instant;

use uuid::Uuid;

use super::{
    Assistant, cache,
    event::{Citation, Done, Event, FailureCode, Nearest, Outcome, Reason, Step},
    extractive, metrics,
    pack::pack,
    passage::Passage,
    refusal, relevance,
    standalone::standalone,
    store::{self, Open, Took, Written},
    streams::AnswerId,
    voice::{Superseded, Voice},
};
use crate::{
    search::{Arm, Found, SearchRequest},
    tenancy::TenantId,
};

/// How many turns of a conversation are looked back at.
const TURNS: i64 = 4;
/// Passages of so many articles, …
const ARTICLES: usize = 6;
/// … of each at most so many.
const PASSAGES_EACH: usize = 4;
/// How many articles are offered instead of an answer.
const NEAREST: usize = 3;

/// Why an attempt ended early.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Superseded(#[from] Superseded),
}

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The answer is written.
    Written(Outcome),
    /// There was nothing to do: it was written, or given up, or another worker writes it.
    NothingToDo,
}

/// An answer before it is kept.
struct Draft {
    outcome: Outcome,
    reason: Option<Reason>,
    /// In pieces, as they are said.
    pieces: Vec<String>,
    citations: Vec<Citation>,
    nearest: Vec<Nearest>,
    is_cached: bool,
}

impl Assistant {
    /// Writes an answer. `is_last`: whoever waits is told when it fails.
    pub async fn write(&self, tenant: TenantId, answer: Uuid, is_last: bool) -> Result<Attempt, sqlx::Error> {
        let id = AnswerId { tenant, id: answer };
        match self.attempt(id).await {
            Ok(attempt) => Ok(attempt),
            Err(Stopped::Superseded(superseded)) => {
                tracing::info!(%answer, "assistant.answer.superseded: {superseded}");
                Ok(Attempt::NothingToDo)
            }
            Err(Stopped::Database(error)) if is_last => {
                let mut tx = self.database.tenant(tenant).await?;
                let given_up = store::give_up(&mut tx, answer, FailureCode::Failed).await?;
                tx.commit().await?;
                if given_up && let Err(error) = self.streams.end(id, &FailureCode::Failed.event()).await {
                    tracing::warn!(%error, %answer, "assistant.answer.failure_not_told: whoever waits reads it from the row");
                }
                metrics::FAILED.inc();
                Err(error)
            }
            Err(Stopped::Database(error)) => Err(error),
        }
    }

    async fn attempt(&self, id: AnswerId) -> Result<Attempt, Stopped> {
        let mut tx = self.database.tenant(id.tenant).await?;
        let Some(open) = store::begin(&mut tx, id.id).await? else { return Ok(Attempt::NothingToDo) };
        let turns = store::turns_before(&mut tx, &open, id.id, TURNS).await?;
        tx.commit().await?;
        let begun = Instant::now();
        let mut voice = Voice::begin(&self.streams, id).await;
        let searched_for = standalone(&open.question, &turns, open.page.as_deref());
        self.answer(id, &open, &searched_for, begun, &mut voice).await
    }

    async fn answer(
        &self,
        id: AnswerId,
        open: &Open,
        searched_for: &str,
        begun: Instant,
        voice: &mut Voice,
    ) -> Result<Attempt, Stopped> {
        voice.say(vec![Event::Status { status: Step::Searching }]).await?;
        let found = self.find(id.tenant, open, searched_for).await?;
        let relevance = relevance::relevance(&found);
        let degraded: Vec<String> = found.degraded.iter().map(Arm::as_str).map(str::to_owned).collect();
        let nearest = nearest(&found);
        let passages = pack(found, self.context_tokens);
        let retrieval = begun.elapsed();
        let writing_began = Instant::now();
        let key = cache::key(searched_for, open, "extractive", &passages);
        let draft = if refusal::wants_a_person(&open.question) {
            refused(Outcome::HandedOver, Reason::CustomerRequest, Vec::new())
        } else if relevance < relevance::FLOOR || passages.is_empty() {
            refused(Outcome::Refused, refusal::reason(&open.question), nearest)
        } else {
            voice.say(vec![Event::Status { status: Step::Writing }]).await?;
            let mut tx = self.database.tenant(id.tenant).await?;
            let cached = store::cached(&mut tx, &key).await?;
            drop(tx);
            match cached {
                Some((text, citations, _)) => Draft { is_cached: true, ..answered(vec![text], citations) },
                None => match self.compose(searched_for, &passages).await {
                    Some(draft) => draft,
                    None => refused(Outcome::Refused, refusal::reason(&open.question), nearest),
                },
            }
        };
        let chunks = draft.pieces.iter().map(|text| Event::Chunk { text: text.clone() }).collect();
        voice.say(chunks).await?;
        let first_chunk = open.queued_for + begun.elapsed();
        let done = Done {
            outcome: draft.outcome,
            reason: draft.reason,
            provider: "extractive".to_owned(),
            degraded,
            is_cached: draft.is_cached,
            usage: None,
        };
        let written = Written {
            searched_for: searched_for.to_owned(),
            relevance,
            prompt: None,
            took: Took { retrieval, writing: writing_began.elapsed(), first_chunk: Some(first_chunk) },
            text: draft.pieces.concat(),
            citations: draft.citations,
            nearest: draft.nearest,
            model: None,
            withheld_claims: 0,
            done: done.clone(),
        };
        let mut tx = self.database.tenant(id.tenant).await?;
        if !store::finish(&mut tx, id.id, &written, &passages).await? {
            return Ok(Attempt::NothingToDo);
        }
        if done.outcome == Outcome::Answered && !done.is_cached && done.degraded.is_empty() {
            store::cache(&mut tx, &key, id.id).await?;
        }
        tx.commit().await?;
        metrics::written(&done, open.queued_for, &written.took);
        let citations = Event::Citations { citations: written.citations, nearest: written.nearest };
        // Who waits hears it from the row, if not from here.
        let _ = voice.say(vec![citations, Event::Done(done.clone())]).await;
        Ok(Attempt::Written(done.outcome))
    }

    async fn find(&self, tenant: TenantId, open: &Open, searched_for: &str) -> Result<Found, sqlx::Error> {
        // A question always has a query's length: it was cut to it.
        let Ok(query) = searched_for.parse() else { return Ok(Found::default()) };
        let request = SearchRequest { language: open.locale.clone(), ..SearchRequest::new(query, ARTICLES) };
        self.search.passages(tenant, &open.roles, &request, ARTICLES, PASSAGES_EACH).await
    }

    async fn compose(&self, question: &str, passages: &[Passage]) -> Option<Draft> {
        let composed = extractive::compose(self.embedder.as_deref(), &self.sentences, question, passages).await;
        let (pieces, citations) = extractive::cited(&composed, passages);
        (!pieces.is_empty()).then(|| answered(pieces, citations))
    }
}

fn answered(pieces: Vec<String>, citations: Vec<Citation>) -> Draft {
    Draft { outcome: Outcome::Answered, reason: None, pieces, citations, nearest: Vec::new(), is_cached: false }
}

fn refused(outcome: Outcome, reason: Reason, nearest: Vec<Nearest>) -> Draft {
    Draft {
        outcome,
        reason: Some(reason),
        pieces: vec![refusal::words(reason, !nearest.is_empty())],
        citations: Vec::new(),
        nearest,
        is_cached: false,
    }
}

/// The articles that are nearest, each once.
fn nearest(found: &Found) -> Vec<Nearest> {
    let mut nearest: Vec<Nearest> = Vec::new();
    for passage in &found.passages {
        if nearest.len() < NEAREST && nearest.iter().all(|other| other.article_id != passage.article_id) {
            nearest.push(Nearest {
                article_id: passage.article_id,
                slug: passage.slug.clone(),
                title: passage.title.clone(),
            });
        }
    }
    nearest
}
