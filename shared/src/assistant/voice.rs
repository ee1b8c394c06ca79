//! What a worker says while it writes an answer. Said as well as Redis allows: the answer itself does not depend on it.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    event::Event,
    streams::{AnswerId, AnswerStreams, AppendError, Writing},
};

/// How long Redis is left alone after it did not answer.
const REST: Duration = Duration::from_secs(2);

/// Another worker writes the answer by now.
#[derive(Debug, thiserror::Error)]
#[error("another worker writes this answer")]
pub(super) struct Superseded;

/// The events of an answer, on their way to those who wait.
pub(super) struct Voice {
    streams: AnswerStreams,
    answer: AnswerId,
    attempt: u32,
    writing: Option<Writing>,
    /// Everything since the beginning, to be said again where Redis has lost it.
    said: Vec<Event>,
    /// Whether Redis has heard all of it.
    is_heard: bool,
    rests_until: Option<Instant>,
}

impl Voice {
    /// Begins, and takes the word from whoever wrote the answer before.
    pub(super) async fn begin(streams: &AnswerStreams, answer: AnswerId, attempt: u32) -> Self {
        let mut voice = Self {
            streams: streams.clone(),
            answer,
            attempt,
            writing: None,
            said: Vec::new(),
            is_heard: false,
            rests_until: None,
        };
        match streams.begin_attempt(answer, attempt).await {
            Ok(writing) => {
                voice.writing = Some(writing);
                voice.is_heard = true;
            }
            Err(error) => voice.rest(&error),
        }
        voice
    }

    /// Says something.
    pub(super) async fn say(&mut self, events: Vec<Event>) -> Result<(), Superseded> {
        let from = self.said.len();
        self.said.extend(events);
        if self.is_heard && self.append(from).await? {
            return Ok(());
        }
        if self.rests_until.is_none_or(|until| Instant::now() >= until) {
            self.begin_again().await?;
        }
        Ok(())
    }

    /// Takes back what was said of the answer: it is said in other words.
    pub(super) async fn start_over(&mut self) -> Result<(), Superseded> {
        self.said.clear();
        self.say(vec![Event::Restart]).await
    }

    /// `false`: Redis did not hear it, or has forgotten what was before.
    async fn append(&mut self, from: usize) -> Result<bool, Superseded> {
        let Some(writing) = &mut self.writing else { return Ok(false) };
        match writing.append(&self.said[from..]).await {
            Ok(()) => return Ok(true),
            Err(AppendError::Superseded) => return Err(Superseded),
            Err(AppendError::Forgotten) => {}
            Err(AppendError::Redis(error)) => self.rest(&error),
        }
        self.is_heard = false;
        Ok(false)
    }

    async fn begin_again(&mut self) -> Result<(), Superseded> {
        let begun = if let Some(writing) = &mut self.writing {
            writing.begin().await
        } else {
            let begun = self.streams.begin_attempt(self.answer, self.attempt).await;
            begun.map(|writing| self.writing = Some(writing))
        };
        match begun {
            Ok(()) => self.is_heard = self.append(0).await?,
            Err(error) => self.rest(&error),
        }
        Ok(())
    }

    fn rest(&mut self, error: &crate::queue::RedisError) {
        tracing::warn!(%error, answer = %self.answer.id, "assistant.voice.not_heard: the answer is told when it is complete");
        self.rests_until = Some(Instant::now() + REST);
    }
}
