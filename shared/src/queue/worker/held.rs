//! The leases that a process holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{super::Queue, progress::Progress};

/// The leases of this process, and how to end their runs. By token too: a job that the process lost and took again is held
/// twice until its first run has ended.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<Leases>>);

/// By queue, job and token.
type Leases = HashMap<(Queue, Uuid, Uuid), (Interrupt, Progress)>;

/// How a run is told to end, and why.
#[derive(Debug, Clone, Default)]
pub(super) struct Interrupt {
    now: CancellationToken,
    why: Arc<OnceLock<Why>>,
}

/// Why a run is ended from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    /// Its lease is not this process's any more.
    Lost,
    /// Somebody does not want the job any more.
    Cancelled,
    /// The process stops.
    Stopping,
}

impl Interrupt {
    fn end(&self, why: Why) {
        // The first reason counts.
        let _ = self.why.set(why);
        self.now.cancel();
    }

    /// Waits until the run must end.
    pub(super) async fn asked(&self) -> Why {
        self.now.cancelled().await;
        self.why.get().copied().unwrap_or(Why::Lost)
    }
}

/// Held while a job is this process's.
#[derive(Debug)]
pub(super) struct Lease {
    held: Held,
    pub(super) queue: Queue,
    pub(super) id: Uuid,
    pub(super) token: Uuid,
    pub(super) interrupt: Interrupt,
    pub(super) progress: Progress,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.held.lock().remove(&(self.queue, self.id, self.token));
    }
}

impl Held {
    fn lock(&self) -> std::sync::MutexGuard<'_, Leases> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, queue: Queue, id: Uuid, token: Uuid) -> Lease {
        let (interrupt, progress) = (Interrupt::default(), Progress::default());
        self.lock().insert((queue, id, token), (interrupt.clone(), progress.clone()));
        Lease { held: self.clone(), queue, id, token, interrupt, progress }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    /// How many jobs of a queue are held, those at hand included.
    pub(super) fn count(&self, queue: Queue) -> usize {
        self.lock().keys().filter(|(of, _, _)| *of == queue).count()
    }

    /// Job and token of each lease.
    pub(super) fn by_queue(&self) -> HashMap<Queue, Vec<(Uuid, Uuid)>> {
        let mut by_queue: HashMap<Queue, Vec<(Uuid, Uuid)>> = HashMap::new();
        for (queue, id, token) in self.lock().keys() {
            by_queue.entry(*queue).or_default().push((*id, *token));
        }
        by_queue
    }

    /// What runs reported since this was asked last: job, token, done, and of how many.
    pub(super) fn progress(&self) -> Vec<(Uuid, Uuid, i64, i64)> {
        let leases = self.lock();
        let reports = leases.iter().filter_map(|((_, id, token), (_, progress))| {
            progress.news().map(|(done, total)| (*id, *token, done, total))
        });
        reports.collect()
    }

    /// Ends the run of a lease.
    pub(super) fn end(&self, queue: Queue, id: Uuid, token: Uuid, why: Why) {
        if let Some((interrupt, _)) = self.lock().get(&(queue, id, token)) {
            interrupt.end(why);
        }
    }

    /// Ends the runs of a job.
    pub(super) fn end_job(&self, id: Uuid, why: Why) {
        for ((_, held, _), (interrupt, _)) in self.lock().iter() {
            if *held == id {
                interrupt.end(why);
            }
        }
    }

    /// Ends every run.
    pub(super) fn end_all(&self, why: Why) {
        for (interrupt, _) in self.lock().values() {
            interrupt.end(why);
        }
    }
}
