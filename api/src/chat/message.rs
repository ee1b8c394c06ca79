//! What is said over a socket, beside the messages of answers.

use serde::{Deserialize, Serialize, de::Error as _};
use serde_json::{Map, Value};
use shared::assistant::MAX_QUESTION_CHARS;
use uuid::Uuid;

use super::MAX_MESSAGE_BYTES;
use crate::error::{ApiError, Code};

/// What a client says. Without `type`, it is a question.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Request {
    /// Asks.
    Query {
        query: String,
        #[serde(default)]
        current_url: Option<String>,
    },
    /// Gives an answer up: this one, or the one that is being written to this socket.
    Cancel {
        #[serde(default)]
        answer_id: Option<Uuid>,
    },
    /// Goes on hearing an answer after the last message that arrived.
    Resume { answer_id: Uuid, after: u64 },
    /// Says whether an answer helped.
    Feedback {
        answer_id: Uuid,
        helpful: bool,
        #[serde(default)]
        comment: Option<String>,
    },
}

impl Request {
    pub(super) fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let mut object: Map<String, Value> = serde_json::from_str(text)?;
        if !object.contains_key("type") {
            if !object.contains_key("query") {
                return Err(serde_json::Error::custom("there is neither `type` nor `query`"));
            }
            object.insert("type".to_owned(), Value::from("query"));
        }
        Self::deserialize(Value::Object(object))
    }

    /// For metrics.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Query { .. } => "query",
            Self::Cancel { .. } => "cancel",
            Self::Resume { .. } => "resume",
            Self::Feedback { .. } => "feedback",
        }
    }
}

/// What the server says that is no message of an answer. These have no place in an order: `seq` is 0.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Reply<'a> {
    /// The first message.
    Connection { seq: u8, session_id: &'a str, heartbeat_seconds: u64, limits: Limits },
    /// A question is kept, and will be answered.
    Status { seq: u8, answer_id: Uuid, status: &'static str },
    /// What an answer was rated with is kept.
    Feedback { seq: u8, answer_id: Uuid, helpful: bool },
    /// A message was not obeyed, or the socket is about to be closed.
    Error {
        seq: u8,
        #[serde(skip_serializing_if = "Option::is_none")]
        answer_id: Option<Uuid>,
        code: &'static str,
        message: &'a str,
        retryable: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_seconds: Option<u64>,
    },
}

/// What a client should know before it asks.
#[derive(Debug, Serialize)]
pub(super) struct Limits {
    pub(super) message_bytes: usize,
    pub(super) question_chars: usize,
    pub(super) questions_per_minute: u32,
    pub(super) questions_per_day: u32,
    pub(super) sockets: u32,
}

impl Limits {
    pub(super) fn of(config: &shared::config::ChatConfig) -> Self {
        Self {
            message_bytes: MAX_MESSAGE_BYTES,
            question_chars: MAX_QUESTION_CHARS,
            questions_per_minute: config.questions_per_minute,
            questions_per_day: config.questions_per_day,
            sockets: config.sockets_per_person,
        }
    }
}

/// A message that was not obeyed.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) is_retryable: bool,
    pub(super) answer: Option<Uuid>,
    pub(super) retry_after_seconds: Option<u64>,
}

impl Refusal {
    /// One that the same message would meet again.
    pub(super) fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), is_retryable: false, answer: None, retry_after_seconds: None }
    }

    /// One that later is another matter.
    pub(super) fn for_now(code: &'static str, message: impl Into<String>) -> Self {
        Self { is_retryable: true, ..Self::new(code, message) }
    }

    pub(super) fn reply(&self) -> Reply<'_> {
        Reply::Error {
            seq: 0,
            answer_id: self.answer,
            code: self.code,
            message: &self.message,
            retryable: self.is_retryable,
            retry_after_seconds: self.retry_after_seconds,
        }
    }
}

impl From<&ApiError> for Refusal {
    fn from(error: &ApiError) -> Self {
        let refusal = match error.code {
            // As answers say it.
            Code::ServiceUnavailable => Self::for_now("unavailable", error.detail.as_str()),
            // With an expired credential it goes on once there is a new token.
            Code::RateLimited | Code::InternalError | Code::CredentialExpired => {
                Self::for_now(error.code.as_str(), error.detail.as_str())
            }
            code => Self::new(code.as_str(), error.detail.as_str()),
        };
        Self { retry_after_seconds: error.retry_after_seconds(), ..refusal }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_needs_no_type_and_nothing_unknown_is_passed_over() {
        let query = |query: &str, url: Option<&str>| Request::Query {
            query: query.to_owned(),
            current_url: url.map(str::to_owned),
        };
        assert_eq!(Request::parse(r#"{"query":"how?"}"#).unwrap(), query("how?", None));
        assert_eq!(
            Request::parse(r#"{"type":"query","query":"how?","current_url":"/a"}"#).unwrap(),
            query("how?", Some("/a"))
        );
        assert_eq!(Request::parse(r#"{"type":"cancel"}"#).unwrap(), Request::Cancel { answer_id: None });
        let id = Uuid::nil();
        assert_eq!(
            Request::parse(&format!(r#"{{"type":"resume","answer_id":"{id}","after":3}}"#)).unwrap(),
            Request::Resume { answer_id: id, after: 3 }
        );
        for wrong in [
            "",
            "how?",
            "[]",
            "{}",
            "null",
            r#"{"type":"query"}"#,
            r#"{"type":"Query","query":"how?"}"#,
            r#"{"type":"shout","query":"how?"}"#,
            r#"{"type":7,"query":"how?"}"#,
            r#"{"query":"how?","roles":["admin"]}"#,
            r#"{"query":["how?"]}"#,
            r#"{"type":"resume","answer_id":"x","after":1}"#,
            r#"{"type":"resume","answer_id":"00000000-0000-0000-0000-000000000000","after":-1}"#,
            r#"{"type":"feedback","answer_id":"00000000-0000-0000-0000-000000000000"}"#,
        ] {
            assert!(Request::parse(wrong).is_err(), "{wrong}");
        }
    }
}
