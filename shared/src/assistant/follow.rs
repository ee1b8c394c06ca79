//! Following an answer: its events from Redis as they come, and from its row where Redis has lost or never heard them.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt as _;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    event::{Event, FailureCode},
    question::Asker,
    store,
    streams::{AnswerId, AnswerStreams, Said},
};
use crate::{db::Database, queue::RedisError};

/// How long nothing is asked while nothing is heard: a message that was lost costs so much.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// How often the row is looked at meanwhile.
const LOOK_AT_ROW_EVERY: Duration = Duration::from_secs(2);
/// How long Redis may be away before the asker is told. Longer than a new connection takes.
const AWAY_FOR: Duration = Duration::from_millis(700);
/// How long an answer may take in all.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long to wait before listening again.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// No answer has as many events: whoever says that they heard more is told everything anew.
const MOST_SEQ: u64 = 1 << 32;
/// From here on events are numbered that are told from the row: above all numbers of streams.
const NUMBERS_OF_ROW: u64 = 1 << 31;

/// Passes events on to those who wait in this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Relay {
    streams: AnswerStreams,
    database: Database,
    waiting: Arc<Mutex<HashMap<AnswerId, Waiting>>>,
}

#[derive(Debug, Default)]
struct Waiting {
    followers: usize,
    news: Arc<Notify>,
}

impl Relay {
    /// Nothing is heard until [`Self::listen`] runs; followers look by the clock then.
    pub fn new(streams: AnswerStreams, database: Database) -> Self {
        Self { streams, database, waiting: Arc::default() }
    }

    /// The streams.
    pub fn streams(&self) -> &AnswerStreams {
        &self.streams
    }

    /// Wakes followers when there is something new, until cancelled.
    pub async fn listen(self, stop: CancellationToken) {
        while let Some(ended) = stop.run_until_cancelled(self.pass_on()).await {
            if let Err(error) = ended {
                tracing::debug!(%error, "assistant.relay.paused");
            }
            let _ = stop.run_until_cancelled(tokio::time::sleep(LISTEN_AGAIN_AFTER)).await;
        }
    }

    async fn pass_on(&self) -> Result<(), RedisError> {
        let mut subscription = self.streams.subscribe().await?;
        // What was said before the subscription was not heard.
        for waiting in self.lock().values() {
            waiting.news.notify_waiters();
        }
        let mut messages = subscription.on_message();
        while let Some(message) = messages.next().await {
            if let Some(answer) = AnswerStreams::about(&message)
                && let Some(waiting) = self.lock().get(&answer)
            {
                waiting.news.notify_waiters();
            }
        }
        Ok(())
    }

    /// Follows an answer of this asker from the event after `seq` on. `is_new`: it was asked just now.
    pub fn follow(&self, asker: Asker, answer: AnswerId, seq: u64, is_new: bool) -> Following {
        let news = {
            let mut waiting = self.lock();
            let waiting = waiting.entry(answer).or_default();
            waiting.followers += 1;
            Arc::clone(&waiting.news)
        };
        let now = Instant::now();
        Following {
            relay: self.clone(),
            asker,
            answer,
            news,
            seq: seq.min(MOST_SEQ),
            pending: VecDeque::new(),
            has_ended: false,
            looked_at_row: is_new.then_some(now),
            row_has_ended: false,
            away_since: None,
            ends: now + PATIENCE,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<AnswerId, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events of one answer, in their order, none left out and none twice.
#[derive(Debug)]
pub struct Following {
    relay: Relay,
    asker: Asker,
    answer: AnswerId,
    news: Arc<Notify>,
    seq: u64,
    pending: VecDeque<Said>,
    has_ended: bool,
    looked_at_row: Option<Instant>,
    /// Whether the row had ended when it was looked at, while the stream had nothing new.
    row_has_ended: bool,
    away_since: Option<Instant>,
    ends: Instant,
}

impl Following {
    /// Which answer.
    pub fn answer(&self) -> AnswerId {
        self.answer
    }

    /// The next event; none after the last. Waits for it. Whoever stops waiting may wait again.
    pub async fn next(&mut self) -> Option<Said> {
        loop {
            if let Some(said) = self.pending.pop_front() {
                self.seq = said.seq;
                self.has_ended = said.event.is_last();
                return Some(said);
            }
            if self.has_ended {
                return None;
            }
            let news = Arc::clone(&self.news);
            let news = news.notified();
            tokio::pin!(news);
            news.as_mut().enable(); // what is said from here on is not missed
            if Instant::now() >= self.ends {
                self.give_up(FailureCode::TimedOut);
            } else if self.look().await {
                let _ = tokio::time::timeout(LOOK_EVERY, news).await;
            }
        }
    }

    /// The whole answer, whatever was heard of it before: for those who resumed in its middle. `None`: it has not ended, or cannot be
    /// read just now.
    pub async fn whole(&self) -> Option<Vec<Event>> {
        let mut tx = self.relay.database.tenant(self.answer.tenant).await.ok()?;
        let answer = store::answer(&mut tx, &self.asker, self.answer.id).await.ok()??;
        (!answer.events.is_empty()).then_some(answer.events)
    }

    /// Looks for events. `true`: there are none yet.
    async fn look(&mut self) -> bool {
        match self.relay.streams.after(self.answer, self.seq).await {
            Ok(events) => {
                self.away_since = None;
                self.pending.extend(events);
            }
            Err(error) => {
                tracing::debug!(%error, answer = %self.answer.id, "assistant.relay.redis_away");
                self.away_since.get_or_insert_with(Instant::now);
                self.looked_at_row = None;
            }
        }
        if !self.pending.is_empty() {
            return false;
        }
        if self.looked_at_row.is_none_or(|at| at.elapsed() >= LOOK_AT_ROW_EVERY) {
            self.looked_at_row = Some(Instant::now());
            if let Some(events) = self.events_of_row().await {
                // Its last events may be on their way: nothing is taken back for them.
                if self.seq > 0 && self.away_since.is_none() && !self.row_has_ended {
                    self.row_has_ended = true;
                    self.looked_at_row = None;
                    return true;
                }
                self.tell_row(events);
                return false;
            }
        }
        if self.away_since.is_some_and(|since| since.elapsed() >= AWAY_FOR) {
            self.give_up(FailureCode::Unavailable);
            return false;
        }
        true
    }

    /// All events of an answer that has ended.
    async fn events_of_row(&self) -> Option<Vec<Event>> {
        let found = async {
            let mut tx = self.relay.database.tenant(self.answer.tenant).await?;
            store::answer(&mut tx, &self.asker, self.answer.id).await
        };
        let answer = match found.await {
            Ok(Some(answer)) => answer,
            // It was erased, or never was.
            Ok(None) => return Some(vec![FailureCode::Failed.event()]),
            Err(error) => {
                tracing::debug!(%error, answer = %self.answer.id, "assistant.relay.row_not_read");
                return None;
            }
        };
        (!answer.events.is_empty()).then_some(answer.events)
    }

    /// What the row has, after the word that what was heard so far is void. Its numbers are not those of the stream, which may have
    /// more events than were heard: whoever comes back with a number of the row is told the row again.
    fn tell_row(&mut self, events: Vec<Event>) {
        let is_answer = events.len() > 1;
        let told = if is_answer { self.seq.max(NUMBERS_OF_ROW) } else { self.seq };
        let restart = (is_answer || told > 0).then_some(Event::Restart);
        for (seq, event) in (told + 1..).zip(restart.into_iter().chain(events)) {
            self.pending.push_back(Said { seq, event });
        }
    }

    /// Ends the following, not the answer: without a number of its own, so that whoever comes back misses nothing.
    fn give_up(&mut self, why: FailureCode) {
        self.pending.push_back(Said { seq: self.seq, event: why.event() });
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        let mut waiting = self.relay.lock();
        if let Some(found) = waiting.get_mut(&self.answer) {
            found.followers -= 1;
            if found.followers == 0 {
                waiting.remove(&self.answer);
            }
        }
    }
}
