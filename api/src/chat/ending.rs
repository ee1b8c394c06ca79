//! How a socket ends.

use std::io::ErrorKind;

use actix_ws::{CloseCode, CloseReason, ProtocolError};

use super::message::Refusal;
use crate::error::ApiError;

/// Why a socket ends.
#[derive(Debug)]
pub(super) enum Ending {
    /// The client said that it goes, or went without a word.
    Client,
    /// The credential is not good, or not any more.
    NotAuthenticated(ApiError),
    /// A message is too large.
    TooLarge,
    /// A text is not UTF-8.
    NotText,
    /// It is no WebSocket.
    Protocol,
    /// Much too many messages.
    Abuse,
    /// There was no sign of life.
    Silent,
    /// What was said could not be handed over: it reads nothing.
    Slow,
    /// So many sockets of one person are open already.
    TooMany,
    /// This process stops.
    Stopping,
}

impl Ending {
    /// All words of [`Self::reason`].
    pub(super) const REASONS: [&str; 10] = [
        "client",
        "not_authenticated",
        "too_large",
        "not_text",
        "protocol",
        "abuse",
        "silent",
        "slow",
        "too_many",
        "stopping",
    ];

    /// In a word, for metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::NotAuthenticated(_) => "not_authenticated",
            Self::TooLarge => "too_large",
            Self::NotText => "not_text",
            Self::Protocol => "protocol",
            Self::Abuse => "abuse",
            Self::Silent => "silent",
            Self::Slow => "slow",
            Self::TooMany => "too_many",
            Self::Stopping => "stopping",
        }
    }

    /// What the client is told before the end, where it can still do something about it.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        Some(match self {
            Self::NotAuthenticated(error) => error.into(),
            Self::TooMany => Refusal::for_now(
                "too_many_sockets",
                "You have as many chats open as you may. Close one of them, and try again in a minute.",
            ),
            _ => return None,
        })
    }

    /// What the close frame says. `None`: whatever the client said.
    pub(super) fn close(&self) -> Option<CloseReason> {
        let (code, why) = match self {
            Self::Client => return None,
            Self::NotAuthenticated(_) => (CloseCode::Other(4001), "not authenticated, or not any more"),
            Self::TooLarge => (CloseCode::Size, "a message may have at most 65536 bytes"),
            Self::NotText => (CloseCode::Invalid, "a text must be UTF-8"),
            Self::Protocol => (CloseCode::Protocol, "not as RFC 6455 has it"),
            Self::Abuse => (CloseCode::Policy, "too many messages"),
            Self::Silent => (CloseCode::Other(4008), "no sign of life"),
            Self::Slow => (CloseCode::Other(4008), "nothing was read"),
            Self::TooMany => (CloseCode::Again, "too many sockets"),
            Self::Stopping => (CloseCode::Restart, "this server stops; come back to another one"),
        };
        Some(CloseReason { code, description: Some(why.to_owned()) })
    }
}

impl From<&ProtocolError> for Ending {
    fn from(error: &ProtocolError) -> Self {
        match error {
            ProtocolError::Overflow => Self::TooLarge,
            ProtocolError::Io(error) => match error.kind() {
                ErrorKind::InvalidData if error.to_string().contains("reserved bits") => Self::Protocol,
                ErrorKind::InvalidData => Self::NotText,
                // A message in pieces that together are too large. A connection that broke is told so in vain.
                _ => Self::TooLarge,
            },
            _ => Self::Protocol,
        }
    }
}
