//! The events of an answer on their way from the worker that writes it to those who wait for it: a stream in Redis.
//!
//! | key | type | what |
//! |---|---|---|
//! | `prefix:{answer:TENANT:ID}:events` | stream | the events; the id of an entry is the event's number, counted from 1 |
//! | `prefix:{answer:TENANT:ID}:state` | hash | `writer`: who may add events; `said`: the number of the last one |
//! | `prefix:answers:said` | channel | published to with `TENANT:ID` whenever an answer has new events |
//!
//! Both keys expire after [`KEPT_FOR`]. Redis may lose them at any time: the answer itself is in PostgreSQL.

use std::{sync::LazyLock, time::Duration};

use redis::{AsyncCommands as _, Script, streams::StreamRangeReply};
use secrecy::ExposeSecret as _;
use uuid::Uuid;

use super::event::Event;
use crate::{
    config::QueueConfig,
    queue::RedisError,
    redis_connection::{Connection, within},
    tenancy::TenantId,
};

/// How long the events of an answer can be asked for again. Afterwards they are told from the row.
const KEPT_FOR: Duration = Duration::from_secs(600);
/// Most events of an answer.
const MOST_EVENTS: usize = 2_000;
/// How many numbers each attempt has: more than events and restarts.
const NUMBERS_EACH: u64 = 1 << 16;
/// Most events that are fetched at once: somebody who reads slowly holds no more than these in memory.
const MOST_FETCHED: usize = 50;
/// How long a call may take: somebody waits.
const PATIENCE: Duration = Duration::from_millis(800);
/// Where it is said that an answer has new events.
const CHANNEL: &str = "answers:said";

static BEGIN: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/begin.lua")));
static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("scripts/append.lua")));

/// An answer of a tenant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AnswerId {
    /// Whose.
    pub tenant: TenantId,
    /// Which.
    pub id: Uuid,
}

impl AnswerId {
    fn name(self) -> String {
        format!("{}:{}", self.tenant, self.id)
    }

    fn from_name(name: &str) -> Option<Self> {
        let (tenant, id) = name.split_once(':')?;
        Some(Self { tenant: TenantId::new(tenant.parse().ok()?), id: id.parse().ok()? })
    }
}

/// An event with its number.
#[derive(Debug, Clone, PartialEq)]
pub struct Said {
    /// Counted from 1, without gaps but where an answer began anew.
    pub seq: u64,
    /// What.
    pub event: Event,
}

/// The streams. Cheap to clone; reconnects by itself.
#[derive(Clone)]
pub struct AnswerStreams {
    client: redis::Client,
    connection: Connection,
    prefix: String,
}

impl std::fmt::Debug for AnswerStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AnswerStreams").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl AnswerStreams {
    /// Prepares the connection; it is made, and made again, when it is needed.
    pub fn open(config: &QueueConfig) -> Result<Self, RedisError> {
        let client = redis::Client::open(config.redis_url.expose_secret())?;
        let connection = Connection::impatient(client.clone(), PATIENCE)?;
        Ok(Self { client, connection, prefix: config.prefix.clone() })
    }

    /// Begins to write an answer: nobody else may add to it any more, and those who heard the beginning of an earlier attempt
    /// are told that it is void.
    pub async fn begin(&self, answer: AnswerId) -> Result<Writing, RedisError> {
        self.begin_attempt(answer, 1).await
    }

    /// The same, for the so many-th time. What Redis knows of earlier attempts may be lost, but not how many there were: each has
    /// numbers of its own.
    pub(super) async fn begin_attempt(&self, answer: AnswerId, attempt: u32) -> Result<Writing, RedisError> {
        let said = u64::from(attempt.saturating_sub(1)) * NUMBERS_EACH;
        let mut writing = Writing { streams: self.clone(), answer, writer: Uuid::new_v4(), said };
        writing.begin().await?;
        Ok(writing)
    }

    /// Ends an answer from outside: whoever writes it may add nothing more, and this is its last event.
    pub async fn end(&self, answer: AnswerId, event: &Event) -> Result<(), RedisError> {
        let mut writing = self.begin(answer).await?;
        writing.append(std::slice::from_ref(event)).await.or_else(|error| match error {
            AppendError::Redis(error) => Err(error),
            // Somebody else was as quick: theirs is the last word.
            AppendError::Superseded | AppendError::Forgotten => Ok(()),
        })
    }

    /// The next events after a number, some of them where there are many; none, when nothing was said or it is forgotten.
    pub async fn after(&self, answer: AnswerId, seq: u64) -> Result<Vec<Said>, RedisError> {
        let mut connection = self.connection.clone();
        let (key, start) = (self.events(answer), format!("({seq}-0"));
        let found: StreamRangeReply = patiently(connection.xrange_count(key, start, "+", MOST_FETCHED)).await?;
        Ok(found.ids.into_iter().filter_map(|entry| said(&entry)).collect())
    }

    /// A connection of its own that hears which answers have new events.
    pub(super) async fn subscribe(&self) -> Result<redis::aio::PubSub, RedisError> {
        patiently(async {
            let mut subscription = self.client.get_async_pubsub().await?;
            subscription.subscribe(self.channel()).await?;
            Ok(subscription)
        })
        .await
    }

    /// Which answer a message is about.
    pub(super) fn about(message: &redis::Msg) -> Option<AnswerId> {
        AnswerId::from_name(&message.get_payload::<String>().ok()?)
    }

    fn events(&self, answer: AnswerId) -> String {
        format!("{}:{{answer:{}}}:events", self.prefix, answer.name())
    }

    fn state(&self, answer: AnswerId) -> String {
        format!("{}:{{answer:{}}}:state", self.prefix, answer.name())
    }

    fn channel(&self) -> String {
        format!("{}:{CHANNEL}", self.prefix)
    }
}

/// Leave to add events to an answer, until somebody else begins it.
#[derive(Debug)]
pub struct Writing {
    streams: AnswerStreams,
    answer: AnswerId,
    writer: Uuid,
    /// The highest number that may have been given: without a reply nobody knows.
    said: u64,
}

/// Why events were not added.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Another one writes this answer by now.
    #[error("another worker writes this answer")]
    Superseded,
    /// The server has forgotten some of it, or has heard more than its reply said.
    #[error("Redis knows another beginning of this answer")]
    Forgotten,
    /// There was no reply.
    #[error(transparent)]
    Redis(#[from] RedisError),
}

impl Writing {
    /// Begins anew what Redis has forgotten.
    pub async fn begin(&mut self) -> Result<(), RedisError> {
        let Self { streams, answer, writer, said } = self;
        let mut call = BEGIN.key(streams.events(*answer));
        call.key(streams.state(*answer))
            .arg(writer.to_string())
            .arg(*said)
            .arg(KEPT_FOR.as_secs())
            .arg(streams.channel())
            .arg(answer.name());
        *said += 1;
        *said = patiently(call.invoke_async(&mut streams.connection.clone())).await?;
        Ok(())
    }

    /// Adds events.
    pub async fn append(&mut self, events: &[Event]) -> Result<(), AppendError> {
        if events.is_empty() {
            return Ok(());
        }
        let Self { streams, answer, writer, said } = self;
        let mut call = APPEND.key(streams.events(*answer));
        call.key(streams.state(*answer))
            .arg(writer.to_string())
            .arg(KEPT_FOR.as_secs())
            .arg(MOST_EVENTS)
            .arg(streams.channel())
            .arg(answer.name())
            .arg(*said);
        *said += events.len() as u64;
        for event in events {
            call.arg(serde_json::to_string(event).map_err(|_| AppendError::Forgotten)?);
        }
        match patiently(call.invoke_async::<i64>(&mut streams.connection.clone())).await? {
            -1 => Err(AppendError::Superseded),
            last => {
                *said = u64::try_from(last).map_err(|_| AppendError::Forgotten)?;
                Ok(())
            }
        }
    }
}

/// What cannot be read was written by a newer release: it is left out.
fn said(entry: &redis::streams::StreamId) -> Option<Said> {
    let seq = entry.id.split('-').next()?.parse().ok()?;
    let event = serde_json::from_str(&entry.get::<String>("event")?).ok()?;
    Some(Said { seq, event })
}

async fn patiently<T>(call: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    within(PATIENCE, call).await
}
