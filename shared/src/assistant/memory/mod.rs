//! What is remembered of people beyond a conversation: what they said of themselves, how they want things, and what they needed
//! again.
//!
//! | kind | comes from | kept |
//! |---|---|---|
//! | `fact` | "remember that …", "I use …", "my … is …" | until it is deleted |
//! | `preference` | "I prefer …", "call me …" | 90 days after it was said last |
//! | `recurring_issue` | an article that was cited, or a question that was refused, in two conversations on different days | 90 days after the last |
//!
//! Only what people asked is read, never articles or answers, and only of people who are signed in. A memory is a quotation of
//! them: data, in which nothing is followed. What looks like a secret, a way to reach somebody or an instruction is never kept
//! ([`unfit`]).

mod recall;
mod recurring;
mod statements;
mod store;
mod unfit;

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{jobs::RememberConversation, question::Asker};
use crate::{
    db::{Database, TenantTx},
    queue,
    tenancy::TenantId,
};

pub use store::{expire, forget, forget_all, memories};

/// How long a conversation is quiet before it is gone through.
pub const QUIET: TimeDelta = TimeDelta::minutes(10);
/// Most memories of a person: the one that was said longest ago goes first.
pub const MAX_MEMORIES: i64 = 50;
/// Most characters of a memory.
pub const MAX_MEMORY_CHARS: usize = 500;
/// How many of them an answer hears of.
const MOST_RELEVANT: usize = 5;
/// How much of what a person asked is looked at for what came again.
const LOOKED_AT: i64 = 500;
/// For how long things count as coming again, and how long memories are kept that are not facts.
const KEPT_DAYS: i32 = 90;

/// What a memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryKind {
    /// How somebody wants things.
    Preference,
    /// What somebody needed again.
    RecurringIssue,
    /// What somebody said of themselves, or asked to be remembered.
    Fact,
}

impl MemoryKind {
    /// As rows and clients have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Preference => "preference",
            Self::RecurringIssue => "recurring_issue",
            Self::Fact => "fact",
        }
    }

    fn of_row(name: &str) -> Self {
        match name {
            "preference" => Self::Preference,
            "recurring_issue" => Self::RecurringIssue,
            _ => Self::Fact,
        }
    }
}

/// Something that is remembered of a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Memory {
    /// Identity.
    pub id: Uuid,
    /// What it is.
    pub kind: MemoryKind,
    /// The person's own words; of a recurring issue, what they asked last.
    pub body: String,
    /// How sure it is, 0 to 1.
    pub confidence: f32,
    /// When it was said first.
    pub created_at: DateTime<Utc>,
    /// When it was said last.
    pub confirmed_at: DateTime<Utc>,
    /// When it is forgotten. `None`: when it is deleted.
    pub expires_at: Option<DateTime<Utc>>,
}

/// Something to be remembered.
#[derive(Debug, Clone, PartialEq)]
struct NewMemory {
    kind: MemoryKind,
    /// What it is about: a later memory of a person about the same takes its place.
    about: String,
    body: String,
    confidence: f32,
    said_at: DateTime<Utc>,
}

impl NewMemory {
    fn key(&self) -> Vec<u8> {
        Sha256::digest(self.about.as_bytes()).to_vec()
    }
}

/// Has the conversation of a question gone through once it is quiet, if it is a person's and no job is to do so yet. In the
/// transaction that keeps the question.
pub(super) async fn schedule(tx: &mut TenantTx, asker: &Asker, session: &str) -> Result<(), sqlx::Error> {
    if !asker.is_person() {
        return Ok(());
    }
    if let Some(job) = store::mark(tx, asker, session).await? {
        queue::enqueue_at(tx, &job, job.due_at).await?;
    }
    Ok(())
}

/// Goes through what a person asked in a conversation since the last time; how many memories came of it or were confirmed. While
/// the conversation goes on nothing is done but to look again later.
///
/// Each question is gone through once: the place up to which it was done is kept in the same transaction.
pub async fn remember(database: &Database, tenant: TenantId, job: &RememberConversation) -> Result<usize, sqlx::Error> {
    let mut tx = database.tenant(tenant).await?;
    let Some(conversation) = store::begin(&mut tx, job).await? else { return Ok(0) };
    if let Some(due_at) = conversation.goes_on_until {
        let job = store::postpone(&mut tx, job.conversation_id, due_at).await?;
        queue::enqueue_at(&mut tx, &job, job.due_at).await?;
        tx.commit().await?;
        return Ok(0);
    }
    let mut found: Vec<NewMemory> = Vec::new();
    let questions = store::new_questions(&mut tx, &conversation).await?;
    for (question, asked_at) in &questions {
        found.extend(statements::statements(question, *asked_at));
    }
    let asked = store::asked(&mut tx, &conversation.asker).await?;
    found.extend(recurring::issues(&asked, |asked| {
        asked.conversation_id == conversation.id
            && conversation.remembered_until.is_none_or(|until| asked.asked_at > until)
    }));
    for memory in &found {
        store::keep(&mut tx, &conversation, memory).await?;
    }
    store::drop_surplus(&mut tx, &conversation.asker).await?;
    store::end(&mut tx, &conversation, questions.last().map(|(_, asked_at)| *asked_at)).await?;
    tx.commit().await?;
    Ok(found.len())
}

/// What is remembered of an asker and has to do with a question, the most relevant first, at most five. Empty for everybody but
/// people who are signed in.
pub async fn relevant(tx: &mut TenantTx, asker: &Asker, question: &str) -> Result<Vec<Memory>, sqlx::Error> {
    if !asker.is_person() {
        return Ok(Vec::new());
    }
    Ok(recall::relevant(memories(tx, asker).await?, question, MOST_RELEVANT))
}
