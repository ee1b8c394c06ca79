//! Job payloads of the assistant.

use std::time::Duration;

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
