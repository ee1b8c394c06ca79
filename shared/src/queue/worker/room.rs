//! How many jobs a worker may have of a queue at once.
//!
//! As many as run at once, and of short jobs a few more, so that the next are at hand when one ends. What is at hand cannot
//! start at another worker nor make way for another tenant's job, so it is never more than runs in a few milliseconds.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::sync::Notify;

/// How much work may be at hand.
const AHEAD: Duration = Duration::from_millis(20);
/// How many jobs may be at hand, however short they are.
const MOST_AHEAD: usize = 1000;

/// The room of one queue.
#[derive(Debug)]
pub(super) struct Room {
    concurrency: usize,
    used: AtomicUsize,
    /// A running mean of how long jobs run, in ns.
    mean_ns: AtomicU64,
    freed: Notify,
}

/// A place in the room; dropping it makes room for the next job.
#[derive(Debug)]
pub(super) struct Place(Arc<Room>);

impl Place {
    /// Tells how long the job ran.
    pub(super) fn observe(&self, ran: Duration) {
        self.0.observe(ran);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.used.fetch_sub(1, Ordering::AcqRel);
        self.0.freed.notify_one();
    }
}

impl Room {
    pub(super) fn new(concurrency: usize) -> Arc<Self> {
        // Jobs are expected to be long until many short ones were seen.
        let mean_ns = AtomicU64::new(nanos(Duration::from_secs(1)));
        Arc::new(Self { concurrency, used: AtomicUsize::new(0), mean_ns, freed: Notify::new() })
    }

    fn observe(&self, ran: Duration) {
        let mean = self.mean_ns.load(Ordering::Relaxed);
        self.mean_ns.store((mean * 15 + nanos(ran)) / 16, Ordering::Relaxed);
    }

    fn ahead(&self) -> usize {
        let mean = self.mean_ns.load(Ordering::Relaxed).max(1);
        let each = usize::try_from((nanos(AHEAD) - 1) / mean).unwrap_or(MOST_AHEAD);
        self.concurrency.saturating_mul(each).min(MOST_AHEAD)
    }

    /// Waits until it is worth asking for jobs; how many to ask for.
    pub(super) async fn wait(&self) -> usize {
        loop {
            let ahead = self.ahead();
            let free = (self.concurrency + ahead).saturating_sub(self.used.load(Ordering::Acquire));
            // One by one when nothing is fetched ahead, by halves when much is.
            if free > ahead / 2 {
                return free;
            }
            self.freed.notified().await;
        }
    }

    pub(super) fn take(self: &Arc<Self>) -> Place {
        self.used.fetch_add(1, Ordering::AcqRel);
        Place(Arc::clone(self))
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn long_jobs_are_not_fetched_ahead_and_short_ones_are() {
        let room = Room::new(4);
        assert_eq!(room.wait().await, 4);
        let place = room.take();
        assert_eq!(room.wait().await, 3);
        drop(place);
        for _ in 0..500 {
            room.observe(Duration::from_millis(2));
        }
        assert_eq!(room.wait().await, 4 + 4 * 9);
        for _ in 0..500 {
            room.observe(Duration::from_secs(1));
        }
        assert_eq!(room.wait().await, 4);
    }

    #[tokio::test]
    async fn a_full_room_waits_for_a_place() {
        let room = Room::new(1);
        let place = room.take();
        assert!(tokio::time::timeout(Duration::from_millis(20), room.wait()).await.is_err());
        drop(place);
        assert_eq!(room.wait().await, 1);
    }
}
