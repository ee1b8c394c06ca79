//! The assistant: questions are kept and queued, a worker writes their answers from passages that the asker may see, and those
//! who wait hear it as it is written.
//!
//! [`ask`] keeps a question and enqueues [`GenerateAnswer`] in one transaction. [`Assistant::write`] is what the job calls. Events
//! go through [`AnswerStreams`] to [`Relay`], which every process that serves clients has; the answer itself is a row. So
//!
//! - any process can serve any client, and a client that comes back misses nothing;
//! - a worker that dies is replaced: the next attempt takes the word from it, and clients are told to start over;
//! - Redis may lose everything: what is not heard is read from the row.
//!
//! What was said is kept: [`conversations`], how each answer came to be ([`replay`]), what people are to go on with
//! ([`handovers`]), and what is remembered of people beyond a conversation ([`memory`]). [`person`] hands it out and erases it,
//! [`retention`] forgets it in time.
//!
//! Text of articles, questions, pages and names is data here: nothing in it is followed.

mod cache;
mod claims;
pub mod conversations;
mod event;
mod extractive;
mod follow;
pub mod handovers;
mod html;
mod jobs;
pub mod memory;
mod metrics;
mod model;
mod pack;
mod passage;
pub mod person;
mod prompt;
mod question;
mod refusal;
mod relevance;
pub mod replay;
pub mod retention;
mod sentences;
mod standalone;
mod store;
mod streams;
mod transcript;
mod voice;
mod write;

use std::sync::Arc;

use uuid::Uuid;

pub use event::{Citation, Done, Event, Failure, FailureCode, Nearest, Outcome, Reason, Step, Usage};
use extractive::SentenceVectors;
pub use follow::{Following, Relay};
pub use html::html;
pub use jobs::{ExpireMemories, GenerateAnswer, ReconcileAnswers, RememberConversation};
pub use question::{Asked, Asker, MAX_QUESTION_CHARS, MAX_SESSION_CHARS, MIN_QUESTION_CHARS, Question, QuestionError};
pub use store::Answer;
pub use streams::{AnswerId, AnswerStreams, Said};
pub use transcript::to_markdown;
pub use write::Attempt;

use crate::{
    db::{Database, TenantTx},
    embedding::Embedder,
    llm::Llm,
    queue,
    search::Search,
};

/// Most characters of what somebody says about an answer.
pub const MAX_COMMENT_CHARS: usize = 1_000;

/// How much memory the vectors of sentences take that were compared before, in MiB.
const SENTENCES_MEGABYTES: u32 = 32;

/// Writes answers. Cheap to clone.
#[derive(Clone)]
pub struct Assistant {
    database: Database,
    search: Search,
    embedder: Option<Arc<dyn Embedder>>,
    streams: AnswerStreams,
    llm: Option<Llm>,
    sentences: Arc<SentenceVectors>,
}

impl Assistant {
    /// Sentences are compared by the embedder; by words alone without one.
    pub fn new(
        database: Database,
        search: Search,
        embedder: Option<Arc<dyn Embedder>>,
        streams: AnswerStreams,
    ) -> Self {
        metrics::prepare();
        Self {
            database,
            search,
            embedder,
            streams,
            llm: None,
            sentences: Arc::new(SentenceVectors::new(SENTENCES_MEGABYTES)),
        }
    }

    /// Lets language models write, for tenants that have one.
    #[must_use]
    pub fn written_by(self, llm: Llm) -> Self {
        Self { llm: Some(llm), ..self }
    }
}

/// Keeps a question and has it answered, once the transaction commits.
pub async fn ask(tx: &mut TenantTx, asked: &Asked) -> Result<AnswerId, sqlx::Error> {
    let id = store::add(tx, asked).await?;
    queue::enqueue(tx, &GenerateAnswer { answer_id: id }).await?;
    memory::schedule(tx, &asked.asker, &asked.session).await?;
    Ok(AnswerId { tenant: tx.tenant(), id })
}

/// An asker's own answer. `None`: there is none of theirs.
pub async fn answer(tx: &mut TenantTx, asker: &Asker, id: Uuid) -> Result<Option<Answer>, sqlx::Error> {
    store::answer(tx, asker, id).await
}

/// Keeps whether an answer helped; the latest word counts. `false`: there is no such answer of the asker's, or it has not ended.
pub async fn rate(
    tx: &mut TenantTx,
    asker: &Asker,
    id: Uuid,
    is_helpful: bool,
    comment: Option<&str>,
) -> Result<bool, sqlx::Error> {
    store::rate(tx, asker, id, is_helpful, comment).await
}

/// Gives an answer up that its asker does not want any more. `false`: there is none of theirs that is being written. Once this is
/// committed, [`AnswerStreams::end`] tells those who wait and stops the worker.
pub async fn cancel(tx: &mut TenantTx, asker: &Asker, id: Uuid) -> Result<bool, sqlx::Error> {
    if store::answer(tx, asker, id).await?.is_none() {
        return Ok(false);
    }
    store::give_up(tx, id, FailureCode::Cancelled).await
}
