//! What is said of an answer while it is written.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One thing that is said; its number comes from the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// What is being done.
    Status {
        /// Which step.
        status: Step,
    },
    /// What was said so far is void: another worker begins anew.
    Restart,
    /// A piece of the answer. All pieces since the beginning or the last `restart`, put together, are the answer.
    Chunk {
        /// Markdown.
        text: String,
    },
    /// What the answer rests on, and what to read instead where there is none.
    Citations {
        /// By marker.
        citations: Vec<Citation>,
        /// The nearest articles, where the question was refused.
        nearest: Vec<Nearest>,
    },
    /// It is complete. The last event.
    Done(Done),
    /// There is no answer. The last event.
    Error(Failure),
}

impl Event {
    /// Whether nothing follows.
    pub fn is_last(&self) -> bool {
        matches!(self, Self::Done(_) | Self::Error(_))
    }
}

/// A step of the work on an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Passages are looked for.
    Searching,
    /// The answer is written.
    Writing,
}

/// A passage that the answer rests on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Citation {
    /// The number in the text's `[1]`.
    pub marker: u16,
    /// The article.
    pub article_id: Uuid,
    /// Its address.
    pub slug: String,
    /// Its title.
    pub title: String,
    /// The headings that the passage stands under.
    pub heading_path: Vec<String>,
    /// The last of them, as a fragment.
    pub anchor: Option<String>,
    /// The sentences of the passage that the answer rests on, as they stand there.
    pub quotes: Vec<String>,
}

/// An article that is near the question.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nearest {
    /// The article.
    pub article_id: Uuid,
    /// Its address.
    pub slug: String,
    /// Its title.
    pub title: String,
}

/// How an answer ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// What became of the question.
    pub outcome: Outcome,
    /// Why it was not answered.
    pub reason: Option<Reason>,
    /// Who wrote it: `extractive` or `openai`.
    pub provider: String,
    /// What was not available.
    pub degraded: Vec<String>,
    /// Whether the same was answered before.
    pub is_cached: bool,
    /// How many sentences of the language model are not shown, because no passage supports them.
    pub withheld_claims: u32,
    /// What it cost; none: no model was asked.
    pub usage: Option<Usage>,
}

/// What a language model was asked and said.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Tokens of the prompt.
    pub input_tokens: i64,
    /// Tokens of the answer.
    pub output_tokens: i64,
    /// US dollars; none: the price is unknown.
    pub usd: Option<f64>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A stable word.
    pub code: FailureCode,
    /// What happened and what helps.
    pub message: String,
    /// Whether asking again may help.
    pub retryable: bool,
}

/// Why there is no answer, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The asker did not want it any more.
    Cancelled,
    /// It failed, every time that it was tried.
    Failed,
    /// It took too long.
    TimedOut,
    /// What answers are relayed by is away.
    Unavailable,
}

impl FailureCode {
    /// As clients read it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::Unavailable => "unavailable",
        }
    }

    /// The event that says so.
    pub fn event(self) -> Event {
        let (message, retryable) = match self {
            Self::Cancelled => ("The answer was cancelled.", false),
            Self::Failed => ("The answer could not be written. Please ask again.", true),
            Self::TimedOut => ("The answer took too long. Please ask again in a moment.", true),
            Self::Unavailable => ("The assistant is not available at the moment. Please try again shortly.", true),
        };
        Event::Error(Failure { code: self, message: message.to_owned(), retryable })
    }
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// By passages that are cited.
    Answered,
    /// Nothing in the help center answers it.
    Refused,
    /// A person is to go on.
    HandedOver,
}

impl Outcome {
    /// As rows and labels have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Refused => "refused",
            Self::HandedOver => "handed_over",
        }
    }

    pub(super) fn from_name(name: &str) -> Option<Self> {
        [Self::Answered, Self::Refused, Self::HandedOver].into_iter().find(|outcome| outcome.as_str() == name)
    }
}

/// Why a question was refused or handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The help center has no article about it.
    MissingKnowledge,
    /// The asker wants a person.
    CustomerRequest,
    /// It asks for something that an assistant cannot do.
    UnsupportedRequest,
    /// It asks for something that an assistant must not do.
    Policy,
    /// What may be spent is spent.
    Budget,
    /// The language model is away.
    ProviderDown,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::MissingKnowledge,
        Self::CustomerRequest,
        Self::UnsupportedRequest,
        Self::Policy,
        Self::Budget,
        Self::ProviderDown,
    ];

    /// As rows and labels have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingKnowledge => "missing_knowledge",
            Self::CustomerRequest => "customer_request",
            Self::UnsupportedRequest => "unsupported_request",
            Self::Policy => "policy",
            Self::Budget => "budget",
            Self::ProviderDown => "provider_down",
        }
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == name)
    }
}
