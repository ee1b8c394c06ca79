//! Metrics of sockets.

use std::sync::LazyLock;

use prometheus::{IntCounter, IntCounterVec, IntGauge};
use shared::telemetry::metrics::{counter, counters, gauge};
use tokio::sync::OwnedSemaphorePermit;

use super::ending::Ending;

static OPEN: LazyLock<IntGauge> = LazyLock::new(|| gauge("helpcenter_chat_sockets", "Sockets that are open."));
static OPENED: LazyLock<IntCounter> =
    LazyLock::new(|| counter("helpcenter_chat_sockets_opened_total", "Sockets that were opened."));
static CLOSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("helpcenter_chat_sockets_closed_total", "Sockets that were closed, by who or what did it.", &["reason"])
});
static MESSAGES: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("helpcenter_chat_messages_total", "Messages of clients that were understood, by type.", &["type"])
});
static REFUSED: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters(
        "helpcenter_chat_refused_total",
        "Handshakes and messages that were refused, by why: `origin`, `full` (this process has as many sockets as it keeps), \
         `not_understood`, `too_fast`, `refused` (anything that the error says).",
        &["reason"],
    )
});

/// Why a handshake or a message was refused.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refused {
    Origin,
    Full,
    NotUnderstood,
    TooFast,
    Other,
}

impl Refused {
    const ALL: [Self; 5] = [Self::Origin, Self::Full, Self::NotUnderstood, Self::TooFast, Self::Other];

    fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Full => "full",
            Self::NotUnderstood => "not_understood",
            Self::TooFast => "too_fast",
            Self::Other => "refused",
        }
    }

    pub(crate) fn count(self) {
        REFUSED.with_label_values(&[self.as_str()]).inc();
    }
}

/// Makes the counters exist.
pub(crate) fn prepare() {
    LazyLock::force(&OPEN);
    LazyLock::force(&OPENED);
    for reason in Ending::REASONS {
        CLOSED.with_label_values(&[reason]);
    }
    for kind in ["query", "cancel", "resume", "feedback"] {
        MESSAGES.with_label_values(&[kind]);
    }
    for refused in Refused::ALL {
        REFUSED.with_label_values(&[refused.as_str()]);
    }
}

pub(super) fn closed(ending: &Ending) {
    CLOSED.with_label_values(&[ending.reason()]).inc();
}

pub(super) fn message(kind: &'static str) {
    MESSAGES.with_label_values(&[kind]).inc();
}

/// A socket's place in this process, until its connection is gone.
#[derive(Debug)]
pub(crate) struct Place(#[expect(dead_code, reason = "given back when it is dropped")] OwnedSemaphorePermit);

impl Place {
    pub(crate) fn new(permit: OwnedSemaphorePermit) -> Self {
        OPEN.inc();
        OPENED.inc();
        Self(permit)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        OPEN.dec();
    }
}
