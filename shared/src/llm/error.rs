//! Why there is no answer, or not the whole of it.

use std::time::Duration;

use async_openai::error::OpenAIError;

use crate::remote::CallError;

/// Why there is no answer, or not the whole of it. The messages repeat nothing of what was sent or answered, and can stand in a log.
#[derive(Debug, thiserror::Error)]
pub enum LlmError {
    /// The call could cost more than is left of the day's budget. Nothing was sent.
    #[error("the daily budget of {} is spent", .0.as_str())]
    Budget(BudgetKind),
    /// The server failed again and again; for a while, nothing is sent.
    #[error("it has failed again and again, and is left alone for a while")]
    CircuitOpen,
    /// What the tenant has set cannot be used. Nothing was sent.
    #[error("{0}")]
    Misconfigured(String),
    /// The server did not take the question, or its answer cannot be read.
    #[error(transparent)]
    Call(#[from] CallFailure),
    /// There was no text in time.
    #[error("it sent no text within {0:?}")]
    NoText(Duration),
    /// There was no further text in time.
    #[error("it fell silent for {0:?} in the middle of its answer")]
    Silent(Duration),
    /// The whole call took too long.
    #[error("its answer was not complete within {0:?}")]
    TooSlow(Duration),
    /// The answer ended without a word that it is complete.
    #[error("its answer broke off")]
    Cut,
    /// The answer is complete and has no text.
    #[error("its answer is empty")]
    Empty,
    /// The ledger cannot be reached. Nothing was sent.
    #[error("the database does not answer: {0}")]
    Database(#[from] sqlx::Error),
}

/// Why a server did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(transparent)]
pub struct CallFailure(CallError);

/// What people are told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// Today's budget is spent.
    Budget,
    /// The model does not answer.
    ProviderDown,
}

impl Reason {
    /// As the assistant's contract calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::ProviderDown => "provider_down",
        }
    }
}

/// One of the two budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum BudgetKind {
    /// Of money.
    Usd,
    /// Of tokens.
    Tokens,
}

impl BudgetKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Usd, Self::Tokens];

    /// As it stands in the database, in metrics and in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usd => "usd",
            Self::Tokens => "tokens",
        }
    }
}

impl LlmError {
    /// What people are told of it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Budget(_) => Reason::Budget,
            _ => Reason::ProviderDown,
        }
    }

    /// How the call ended, in the ledger and in metrics: one of [`super::metrics::OUTCOMES`].
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Budget(_) => "over_budget",
            Self::CircuitOpen | Self::Misconfigured(_) | Self::Database(_) => "not_sent",
            Self::Call(CallFailure(error)) => error.outcome(),
            Self::NoText(_) | Self::Silent(_) | Self::TooSlow(_) => "timed_out",
            Self::Cut => "cut",
            Self::Empty => "empty",
        }
    }

    /// Whether another attempt may mend it, at once and without being paid for twice. A server that has let somebody wait for its
    /// first text is not waited for again.
    pub(super) fn is_transient(&self) -> bool {
        matches!(self, Self::Call(CallFailure(error)) if error.is_transient())
    }

    /// When the server wants to be asked again.
    pub(super) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Call(CallFailure(error)) => error.retry_after(),
            _ => None,
        }
    }

    /// Whether the server is to be trusted with other questions: it refused this one, had nothing to say to it or was at it for as
    /// long as it may be.
    pub(super) fn is_about_the_question(&self) -> bool {
        match self {
            Self::Call(CallFailure(error)) => error.is_about_what_was_sent(),
            Self::Empty | Self::TooSlow(_) => true,
            _ => false,
        }
    }

    /// Whether the server does not know, or not so, something that the question says beside what is asked.
    pub(super) fn refuses_a_parameter(&self) -> bool {
        matches!(self, Self::Call(CallFailure(error)) if error.refuses_a_parameter())
    }

    /// Whether the server may have read the question before it failed, which costs.
    pub(super) fn may_have_cost(&self) -> bool {
        match self {
            Self::NoText(_) | Self::Silent(_) | Self::TooSlow(_) | Self::Cut | Self::Empty => true,
            Self::Call(CallFailure(error)) => matches!(error, CallError::Unreadable(_)),
            Self::Budget(_) | Self::CircuitOpen | Self::Misconfigured(_) | Self::Database(_) => false,
        }
    }
}

impl From<CallError> for LlmError {
    fn from(error: CallError) -> Self {
        Self::Call(CallFailure(error))
    }
}

impl From<OpenAIError> for LlmError {
    fn from(error: OpenAIError) -> Self {
        CallError::from(error).into()
    }
}
