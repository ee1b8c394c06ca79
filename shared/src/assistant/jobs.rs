//! Job payloads of the assistant.

use std::time::Duration;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::queue::{Backoff, Job, Priority, Queue};

/// Writes the answer to a question.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct GenerateAnswer {
    /// The answer. When it is written by now, or was cancelled, there is nothing to do.
    pub answer_id: Uuid,
}

impl Job for GenerateAnswer {
    const NAME: &'static str = "generate_answer";
    const QUEUE: Queue = Queue::Answers;
    const TIMEOUT: Duration = Duration::from_secs(100);
    const MAX_ATTEMPTS: u32 = 3;
    const BACKOFF: Backoff = Backoff { base: Duration::from_millis(500), max: Duration::from_secs(5) };

    fn priority(&self) -> Priority {
        Priority::High
    }

    fn unique_key(&self) -> Option<String> {
        Some(self.answer_id.to_string())
    }
}

/// Goes through what a person asked in a conversation, for what is to be remembered of them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct RememberConversation {
    /// The conversation. When it is gone, there is nothing to do.
    pub conversation_id: Uuid,
    /// When the job is due. The conversation names the time of the one job that is to go through it: another one has nothing to do.
    pub due_at: DateTime<Utc>,
}

impl Job for RememberConversation {
    const NAME: &'static str = "remember_conversation";
    // Not that of answers, for each of which somebody waits.
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(60);
    const MAX_ATTEMPTS: u32 = 5;

    fn priority(&self) -> Priority {
        Priority::Low
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{} {}", self.conversation_id, self.due_at.timestamp_micros()))
    }
}

/// Forgets what a tenant's people said or needed too long ago to be remembered.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ExpireMemories {}

impl Job for ExpireMemories {
    const NAME: &'static str = "expire_memories";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(3600);
    const MAX_ATTEMPTS: u32 = 3;

    fn priority(&self) -> Priority {
        Priority::Low
    }

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }
}

/// Ends a tenant's answers that nobody writes any more, so that nobody waits for them.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ReconcileAnswers {}

impl Job for ReconcileAnswers {
    const NAME: &'static str = "reconcile_answers";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(60);
    const MAX_ATTEMPTS: u32 = 3;

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }
}
