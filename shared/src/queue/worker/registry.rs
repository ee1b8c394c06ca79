//! Which jobs a worker can run, and what runs them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::{FutureExt as _, future::BoxFuture};
use serde_json::Value;

use super::{
    super::{Backoff, Job, JobError, JobId, Queue, store::Limit},
    progress::Progress,
};
use crate::tenancy::TenantId;

/// What a running job knows about itself.
#[derive(Debug, Clone)]
pub struct Run {
    /// The job's id.
    pub id: JobId,
    /// Whose job it is; what the outbox row says, never taken from Redis.
    pub tenant: TenantId,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    pub(super) result: Arc<Mutex<Option<Value>>>,
    pub(super) progress: Progress,
}

impl Run {
    /// Says how far it is, in units of its own. Cheap: people see the latest report of each second. A job that goes on where
    /// an earlier attempt ended starts with what is done already, so that its rate is that of its own work.
    pub fn report_progress(&self, done: u64, total: u64) {
        self.progress.report(done, total);
    }

    /// Keeps a result with the finished job, for people who look at it; of several the last one counts.
    pub fn set_result(&self, result: Value) {
        *self.result.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
    }
}

type Handler = Box<dyn Fn(Value, Run) -> BoxFuture<'static, Result<(), JobError>> + Send + Sync>;

pub(super) struct Registered {
    pub(super) queue: Queue,
    pub(super) timeout: Duration,
    pub(super) backoff: Backoff,
    pub(super) handler: Handler,
    limit: Option<Limit>,
}

/// The jobs that a worker can run, by name.
#[derive(Default)]
pub struct Registry {
    pub(super) jobs: HashMap<&'static str, Registered>,
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.jobs.keys()).finish()
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a type of job and what runs it.
    #[must_use]
    pub fn job<J, F, R>(mut self, handler: F) -> Self
    where
        J: Job,
        F: Fn(J, Run) -> R + Clone + Send + Sync + 'static,
        R: Future<Output = Result<(), JobError>> + Send + 'static,
    {
        let erased: Handler = Box::new(move |payload, run| {
            let handler = handler.clone();
            async move {
                // A payload that does not decode will never decode: set aside, never looped.
                let job = serde_json::from_value(payload).map_err(JobError::fail)?;
                handler(job, run).await
            }
            .boxed()
        });
        let limit = J::RATE_LIMIT.map(|limit| Limit { job: J::NAME, limit });
        let registered =
            Registered { queue: J::QUEUE, timeout: J::TIMEOUT, backoff: J::BACKOFF, handler: erased, limit };
        self.jobs.insert(J::NAME, registered);
        self
    }

    /// The queues that have a job here.
    pub fn queues(&self) -> Vec<Queue> {
        Queue::ALL.into_iter().filter(|queue| self.jobs.values().any(|job| job.queue == *queue)).collect()
    }

    /// Every type of job: its queue and its name.
    pub(super) fn names(&self) -> impl Iterator<Item = (Queue, &'static str)> {
        self.jobs.iter().map(|(name, job)| (job.queue, *name))
    }

    /// The rate limits of a queue's jobs.
    pub(super) fn limits(&self, queue: Queue) -> Vec<Limit> {
        self.jobs.values().filter(|job| job.queue == queue).filter_map(|job| job.limit.clone()).collect()
    }
}
