//! Notifications that follow a commit.
//!
//! NOTIFY as part of a transaction makes all commits that notify wait for each other: PostgreSQL holds one lock for the whole
//! server until such a commit is on disk, so that they reach it one by one. So a transaction says who is to be notified, and
//! right after its commit a task does it, for all transactions that committed while it notified others. A process that dies
//! in between notifies nobody, which is why listeners look by the clock as well.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::task::JoinHandle;

use super::Database;

/// A channel, and what is said there.
pub(super) type Notice = (&'static str, &'static str);

#[derive(Debug, Clone, Default)]
pub(super) struct Notices(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    waiting: BTreeSet<Notice>,
    /// Set while there is a task that sends what waits.
    sender: Option<JoinHandle<()>>,
}

impl Notices {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has them sent, without waiting for it.
    pub(super) fn send(&self, database: &Database, notices: impl IntoIterator<Item = Notice>) {
        let mut state = self.state();
        state.waiting.extend(notices);
        if state.waiting.is_empty() || state.sender.as_ref().is_some_and(|sender| !sender.is_finished()) {
            return;
        }
        state.sender = Some(tokio::spawn(self.clone().send_waiting(database.clone())));
    }

    async fn send_waiting(self, database: Database) {
        loop {
            let (channels, payloads): (Vec<&str>, Vec<&str>) = {
                let mut state = self.state();
                if state.waiting.is_empty() {
                    state.sender = None;
                    return;
                }
                std::mem::take(&mut state.waiting).into_iter().unzip()
            };
            let notifying = sqlx::query!(
                "select pg_notify(channel, payload) from unnest($1::text[], $2::text[]) as n (channel, payload)",
                &channels as &[&str],
                &payloads as &[&str]
            );
            if let Err(error) = database.ask(async |connection| notifying.execute(connection).await).await {
                tracing::warn!(%error, "database.not_notified: listeners find out by the clock");
            }
        }
    }

    /// Waits until everything was sent.
    pub(super) async fn sent(&self) {
        let sender = self.state().sender.take();
        if let Some(sender) = sender
            && let Err(error) = sender.await
        {
            tracing::warn!(%error, "database.not_notified");
        }
    }
}
