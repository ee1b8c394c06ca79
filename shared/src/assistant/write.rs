//! Writing an answer: from the question to the row, told to those who wait while it happens.
//!
//! 1. The question with what it leaves out ([`super::standalone`]), and a search with the asker's own roles.
//! 2. Where a person is asked for, or below the relevance floor, it is handed over or refused ([`super::refusal`]).
//! 3. What was found is packed into a context ([`super::pack`]). The same question of the same audience over the same passages has
//!    its answer already ([`super::cache`]).
//! 4. A language model writes it, where there is one ([`super::model`]); otherwise, or when it fails, it is composed of the best
//!    sentences ([`super::extractive`]). Either way nothing is said that no passage says.
//!
//! Running it twice is harmless: what is written stays, and only one worker at a time has the word.

use std::time::Instant;

use uuid::Uuid;

use super::{
    Assistant, cache,
    event::{Citation, Done, Event, FailureCode, Nearest, Outcome, Reason, Step, Usage},
    extractive, memory, metrics,
    pack::pack,
    passage::Passage,
    prompt::Context,
    refusal, relevance,
    standalone::standalone,
    store::{self, Open, Took, Turn, Written},
    streams::AnswerId,
    voice::{Superseded, Voice},
};
use crate::{
    llm::{self, Model},
    search::{Arm, Found, SearchRequest},
    tenancy::TenantId,
};

/// How many turns of a conversation are looked back at.
const TURNS: i64 = 4;
/// Passages of so many articles, …
const ARTICLES: usize = 4;
/// … of each at most so many.
const PASSAGES_EACH: usize = 4;
/// The share of a model's context that is for passages; the rest is for what was said before and for instructions.
const SHARE_OF_PASSAGES: f64 = 0.7;
/// How many articles are offered instead of an answer.
const NEAREST: usize = 3;

const EXTRACTIVE: &str = "extractive";
const OPENAI: &str = "openai";

/// What became of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// The answer is written.
    Written(Outcome),
    /// There was nothing to do: it was written, or given up, or another worker writes it.
    NothingToDo,
}

/// Why an attempt ended early.
#[derive(Debug, thiserror::Error)]
enum Stopped {
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    #[error(transparent)]
    Superseded(#[from] Superseded),
}

/// An answer before it is kept.
#[derive(Debug)]
struct Draft {
    outcome: Outcome,
    reason: Option<Reason>,
    /// What was said already.
    said: String,
    /// What is still to be said.
    pieces: Vec<String>,
    citations: Vec<Citation>,
    nearest: Vec<Nearest>,
    provider: &'static str,
    model: Option<String>,
    prompt: Option<serde_json::Value>,
    usage: Option<Usage>,
    withheld: u32,
    is_cached: bool,
    /// What was not available.
    degraded: Vec<String>,
    /// What it was made of, if not of what it was to be made of.
    passages: Option<Vec<Passage>>,
    first_chunk_at: Option<Instant>,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            outcome: Outcome::Answered,
            reason: None,
            said: String::new(),
            pieces: Vec::new(),
            citations: Vec::new(),
            nearest: Vec::new(),
            provider: EXTRACTIVE,
            model: None,
            prompt: None,
            usage: None,
            withheld: 0,
            is_cached: false,
            degraded: Vec::new(),
            passages: None,
            first_chunk_at: None,
        }
    }
}

/// A question with what was found for it.
struct Work<'a> {
    id: AnswerId,
    open: &'a Open,
    turns: &'a [Turn],
    searched_for: &'a str,
    model: Option<&'a Model>,
    /// What the asker said of themselves before; none where nobody reads it.
    memories: &'a [String],
    found: &'a Found,
    /// As whoever writes the answer is to read them.
    passages: &'a [Passage],
    nearest: &'a [Nearest],
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
        let mut voice = Voice::begin(&self.streams, id, open.attempt).await;
        voice.say(vec![Event::Status { status: Step::Searching }]).await?;

        let (model, unavailable) = self.model(id.tenant).await;
        let memories = if model.is_some() { self.memories(id.tenant, &open).await? } else { Vec::new() };
        let searched_for = self.searched_for(id, &open, &turns, model.as_ref()).await;
        let found = self.find(id.tenant, &open, &searched_for).await?;
        let relevance = relevance::relevance(&searched_for, &found);
        let mut degraded: Vec<String> = found.degraded.iter().map(Arm::as_str).map(str::to_owned).collect();
        degraded.extend(unavailable.map(|reason| reason.as_str().to_owned()));
        let nearest = nearest(&found);
        let passages = match &model {
            Some(model) => pack(&found, context_tokens(model)),
            None => Passage::of(&found),
        };
        let retrieval = begun.elapsed();

        let writing_began = Instant::now();
        let work = Work {
            id,
            open: &open,
            turns: &turns,
            searched_for: &searched_for,
            model: model.as_ref(),
            memories: &memories,
            found: &found,
            passages: &passages,
            nearest: &nearest,
        };
        let key =
            cache::key(&searched_for, &open, model.as_ref().map_or(EXTRACTIVE, Model::name), &memories, &passages);
        let mut draft = if refusal::wants_a_person(&open.question) {
            refused(Outcome::HandedOver, Reason::CustomerRequest, Vec::new())
        } else if relevance < relevance::FLOOR || passages.is_empty() {
            refused(Outcome::Refused, refusal::reason(&open.question), nearest.clone())
        } else {
            voice.say(vec![Event::Status { status: Step::Writing }]).await?;
            self.draft(&work, &key, &mut voice).await?
        };
        voice.say(draft.pieces.iter().map(|text| Event::Chunk { text: text.clone() }).collect()).await?;
        let first_chunk_at = draft.first_chunk_at.unwrap_or_else(Instant::now);
        degraded.append(&mut draft.degraded);
        let done = Done {
            outcome: draft.outcome,
            reason: draft.reason,
            provider: draft.provider.to_owned(),
            degraded,
            is_cached: draft.is_cached,
            withheld_claims: draft.withheld,
            usage: draft.usage,
        };
        let written = Written {
            searched_for,
            relevance,
            prompt: draft.prompt,
            took: Took {
                retrieval,
                writing: writing_began.elapsed(),
                first_chunk: Some(open.queued_for + first_chunk_at.duration_since(begun)),
            },
            text: draft.said + &draft.pieces.concat(),
            citations: draft.citations,
            nearest: draft.nearest,
            model: draft.model,
            done,
        };
        let passages = draft.passages.unwrap_or(passages);
        self.keep(id, &open, &written, &passages, &key, voice).await
    }

    /// Keeps the answer, and then says that it is complete.
    async fn keep(
        &self,
        id: AnswerId,
        open: &Open,
        written: &Written,
        passages: &[Passage],
        key: &[u8],
        mut voice: Voice,
    ) -> Result<Attempt, Stopped> {
        let done = &written.done;
        let mut tx = self.database.tenant(id.tenant).await?;
        if !store::finish(&mut tx, id.id, open, written, passages).await? {
            return Ok(Attempt::NothingToDo);
        }
        if done.outcome == Outcome::Answered && !done.is_cached && done.degraded.is_empty() {
            store::cache(&mut tx, key, id.id).await?;
        }
        tx.commit().await?;
        metrics::written(done, open.queued_for, &written.took);
        let citations = Event::Citations { citations: written.citations.clone(), nearest: written.nearest.clone() };
        // Who waits hears it from the row, if not from here.
        let _ = voice.say(vec![citations, Event::Done(done.clone())]).await;
        Ok(Attempt::Written(done.outcome))
    }

    /// The model that writes the tenant's answers; or why it does not, where there should be one.
    async fn model(&self, tenant: TenantId) -> (Option<Model>, Option<Reason>) {
        let Some(llm) = &self.llm else { return (None, None) };
        match llm.for_tenant(tenant).await {
            Ok(model) => (model, None),
            Err(error) => {
                tracing::warn!(%error, %tenant, "assistant.model_unavailable: answers are composed without one");
                (None, Some(reason_of(&error)))
            }
        }
    }

    /// What is remembered of the asker that has to do with the question.
    async fn memories(&self, tenant: TenantId, open: &Open) -> Result<Vec<String>, sqlx::Error> {
        let mut tx = self.database.tenant(tenant).await?;
        let memories = memory::relevant(&mut tx, &open.asker, &open.question).await?;
        Ok(memories.into_iter().map(|memory| memory.body).collect())
    }

    /// The question with what it leaves out because it was said before: by the model, where there is one and it says so in time.
    async fn searched_for(&self, id: AnswerId, open: &Open, turns: &[Turn], model: Option<&Model>) -> String {
        let by_rules = standalone(&open.question, turns, open.page.as_deref());
        match model.filter(|_| !turns.is_empty() && goes_on(&by_rules, &open.question)) {
            Some(model) => self.rewritten(model, id.id, &open.question, turns).await.unwrap_or(by_rules),
            None => by_rules,
        }
    }

    async fn find(&self, tenant: TenantId, open: &Open, searched_for: &str) -> Result<Found, sqlx::Error> {
        // A question always has a query's length: it was cut to it.
        let Ok(query) = searched_for.parse() else { return Ok(Found::default()) };
        let request = SearchRequest { language: open.locale.clone(), ..SearchRequest::new(query, ARTICLES) };
        self.search.passages(tenant, &open.roles, &request, ARTICLES, PASSAGES_EACH).await
    }

    /// The answer of the passages: one that was given before, the model's, or the one that is composed of sentences.
    async fn draft(&self, work: &Work<'_>, key: &[u8], voice: &mut Voice) -> Result<Draft, Stopped> {
        let mut tx = self.database.tenant(work.id.tenant).await?;
        let cached = store::cached(&mut tx, key).await?;
        drop(tx);
        if let Some((text, citations, model)) = cached {
            let provider = if model.is_some() { OPENAI } else { EXTRACTIVE };
            return Ok(Draft { pieces: vec![text], citations, model, provider, is_cached: true, ..Draft::default() });
        }
        let Some(model) = work.model else { return Ok(self.compose(work, Draft::default()).await) };
        let context = Context { open: work.open, turns: work.turns, memories: work.memories, passages: work.passages };
        let generated = self.generate(model, work.id.id, &context, voice).await?;
        let prompt = Some(generated.prompt);
        let degraded = match generated.failed {
            Some(error) => {
                tracing::warn!(%error, answer = %work.id.id, "assistant.model_failed: the answer is composed without it");
                reason_of(&error).as_str()
            }
            // It says that the passages do not answer the question.
            None if generated.text.is_empty() && generated.withheld == 0 => {
                let refused = refused(Outcome::Refused, refusal::reason(&work.open.question), work.nearest.to_vec());
                return Ok(Draft {
                    provider: OPENAI,
                    model: Some(model.name().to_owned()),
                    prompt,
                    usage: generated.usage,
                    ..refused
                });
            }
            None if generated.shown >= generated.withheld => {
                return Ok(Draft {
                    said: generated.text,
                    citations: generated.citations,
                    provider: OPENAI,
                    model: Some(model.name().to_owned()),
                    prompt,
                    usage: generated.usage,
                    withheld: generated.withheld,
                    first_chunk_at: generated.first_chunk_at,
                    ..Draft::default()
                });
            }
            // Most of what it said is in no passage: what is left of it is not to be trusted either.
            None => "unsupported",
        };
        if generated.first_chunk_at.is_some() {
            voice.start_over().await?;
        }
        let draft = Draft {
            prompt,
            usage: generated.usage,
            withheld: generated.withheld,
            degraded: vec![degraded.to_owned()],
            ..Draft::default()
        };
        Ok(self.compose(work, draft).await)
    }

    /// The best sentences of the passages; refused, when there are none.
    async fn compose(&self, work: &Work<'_>, draft: Draft) -> Draft {
        let passages = Passage::of(work.found);
        let question = extractive::Question { text: work.searched_for, weights: &work.found.weights };
        let composed = extractive::compose(self.embedder.as_deref(), &self.sentences, &question, &passages).await;
        if !composed.quotes.is_empty() {
            let (pieces, citations) = (composed.pieces(), composed.citations(&passages));
            return Draft { pieces, citations, passages: Some(passages), ..draft };
        }
        let refused = refused(Outcome::Refused, refusal::reason(&work.open.question), work.nearest.to_vec());
        Draft {
            outcome: refused.outcome,
            reason: refused.reason,
            pieces: refused.pieces,
            nearest: refused.nearest,
            ..draft
        }
    }
}

fn refused(outcome: Outcome, reason: Reason, nearest: Vec<Nearest>) -> Draft {
    let pieces = vec![refusal::words(reason, !nearest.is_empty())];
    Draft { outcome, reason: Some(reason), pieces, nearest, ..Draft::default() }
}

fn reason_of(error: &llm::LlmError) -> Reason {
    match error.reason() {
        llm::Reason::Budget => Reason::Budget,
        llm::Reason::ProviderDown => Reason::ProviderDown,
    }
}

/// Whether the rules found that a question goes on from another.
fn goes_on(by_rules: &str, question: &str) -> bool {
    by_rules.split_whitespace().ne(question.split_whitespace())
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small number")]
fn context_tokens(model: &Model) -> usize {
    (f64::from(model.context_tokens()) * SHARE_OF_PASSAGES) as usize
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
