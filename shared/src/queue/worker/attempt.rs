//! One attempt: run it, and settle how it ended.

use std::{
    panic::AssertUnwindSafe,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use futures::FutureExt as _;
use tokio::sync::mpsc;
use tracing::Instrument as _;

use super::{
    Run, Worker,
    finish::Ended,
    held::{Lease, Why},
    registry::Registered,
    room::Place,
};
use crate::queue::{
    JobError, JobId, metrics,
    outbox::{self, Ending, Started},
    spans,
    store::Settlement,
};

/// When a job that this worker does not know is offered again.
const UNKNOWN_JOB_DELAY: Duration = Duration::from_secs(60);

/// A job on its way from Redis to its handler.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) worker: Worker,
    pub(super) job: Started,
    pub(super) lease: Lease,
    pub(super) place: Place,
    pub(super) ended: mpsc::Sender<Ended>,
}

/// What apalis calls for each job. Never an error: how an attempt ended is settled by then.
pub(super) async fn run_leased(leased: Leased) {
    // A task of its own, so that the jobs of a queue share all cores.
    let span = spans::attempt(leased.lease.queue, &leased.job);
    if let Err(error) = tokio::spawn(leased.run().instrument(span)).await {
        tracing::error!(%error, "queue.worker.attempt_failed");
    }
}

impl Leased {
    /// Itself, unless there is nothing to run any more: the job was cancelled, or has used up its attempts by killing its
    /// workers.
    pub(super) async fn unless_ended(self) -> Option<Self> {
        if self.job.is_cancelled {
            self.finish(Ending::Cancelled, None).await;
            return None;
        }
        if self.job.attempts > self.job.max_attempts {
            self.fail("every attempt ended with the death of its worker", None).await;
            return None;
        }
        Some(self)
    }

    async fn run(self) {
        let worker = self.worker.clone();
        let Some(registered) = worker.registry.jobs.get(self.job.job.as_str()) else {
            // A newer release's job: a newer worker will know it.
            tracing::error!(queue = %self.lease.queue, job.id = %self.job.id, job.name = %self.job.job, "queue.job.unknown_name");
            self.put_back(Settlement::Delay(UNKNOWN_JOB_DELAY)).await;
            return;
        };
        let labels = [self.lease.queue.name(), self.job.job.as_str()];
        metrics::STARTED.with_label_values(&labels).inc();
        metrics::WAIT.with_label_values(&labels).observe(self.job.waited.as_secs_f64());
        let run = Run {
            id: JobId(self.job.id),
            tenant: self.job.tenant,
            attempt: self.job.attempts.max(1).cast_unsigned(),
            result: Arc::default(),
            progress: self.lease.progress.clone(),
        };
        let started = Instant::now();
        let outcome = self.attempt(registered, run.clone()).await;
        let ran = started.elapsed();
        self.place.observe(ran);
        metrics::DURATION.with_label_values(&labels).observe(ran.as_secs_f64());
        match outcome {
            Outcome::Done => {
                let result = run.result.lock().unwrap_or_else(PoisonError::into_inner).take();
                self.finish(Ending::Done, result).await;
            }
            Outcome::Failed(error) => {
                let is_last = matches!(error, JobError::Fail(_)) || self.job.attempts >= self.job.max_attempts;
                let again_in = (!is_last).then(|| registered.backoff.delay(run.attempt, rand::random()));
                self.fail(&error.to_string(), again_in).await;
            }
            Outcome::Interrupted(Why::Cancelled) => self.finish(Ending::Cancelled, None).await,
            Outcome::Interrupted(Why::Stopping) => self.hand_back().await,
            Outcome::Interrupted(Why::Lost) => self.count("lease_lost"),
        }
    }

    /// Runs the handler. When it is told to end, nothing of it goes on: another worker may have the job next.
    async fn attempt(&self, registered: &Registered, run: Run) -> Outcome {
        let handled = AssertUnwindSafe((registered.handler)(self.job.payload.clone(), run)).catch_unwind();
        let ended = tokio::select! {
            biased; // What is done is done, also when it is asked to end in the same moment.
            ended = tokio::time::timeout(registered.timeout, handled) => ended,
            why = self.lease.interrupt.asked() => return Outcome::Interrupted(why),
        };
        match ended {
            Ok(Ok(Ok(()))) => Outcome::Done,
            Ok(Ok(Err(error))) => Outcome::Failed(error),
            Ok(Err(panic)) => {
                Outcome::Failed(JobError::retry(anyhow::anyhow!("panicked: {}", panic_text(panic.as_ref()))))
            }
            Err(_elapsed) => {
                Outcome::Failed(JobError::retry(anyhow::anyhow!("took longer than {:?}", registered.timeout)))
            }
        }
    }

    /// Has the end of the job recorded.
    async fn finish(self, ending: Ending, result: Option<serde_json::Value>) {
        if let Some((done, total)) = self.lease.progress.news() {
            self.worker.tell_progress(&[(self.lease.id, self.lease.token, done, total)]).await;
        }
        spans::ended(ending.name());
        let job = Arc::from(self.job.job.as_str());
        let ended = Ended { lease: self.lease, job, ending, result };
        // The recorder ends last. If it could not: the lease runs out.
        if self.ended.send(ended).await.is_err() {
            tracing::warn!(job.id = %self.job.id, "queue.job.not_recorded: its lease will run out");
        }
    }

    /// Records a failure, which the row refuses when the lease is not its own any more.
    async fn fail(self, error: &str, again_in: Option<Duration>) {
        let Self { worker, job, lease, .. } = &self;
        let attempts = job.attempts.min(job.max_attempts);
        let failed = outbox::fail(&worker.database, job.id, lease.token, error, again_in).await;
        let (how, outcome) = match (failed, again_in) {
            (Ok(false), _) => {
                tracing::warn!(queue = %lease.queue, job.id = %job.id, "queue.job.lease_was_lost");
                self.count("lease_lost");
                return;
            }
            (Ok(true), None) => {
                tracing::error!(queue = %lease.queue, job.id = %job.id, job.name = job.job, attempts, error, "queue.job.dead");
                (Settlement::Forget, "dead")
            }
            (Ok(true), Some(again_in)) => {
                tracing::warn!(queue = %lease.queue, job.id = %job.id, job.name = job.job, attempts, error, "queue.job.failed");
                (Settlement::Delay(again_in), "retry")
            }
            (Err(cause), _) => {
                // The attempt counts all the same, since it was begun.
                tracing::warn!(job.id = %job.id, error = %cause, "queue.job.failure_not_recorded");
                (Settlement::Delay(again_in.unwrap_or(Duration::from_secs(1))), "retry")
            }
        };
        self.settle(how).await;
        self.count(outcome);
    }

    /// Gives the job to whoever comes next; this attempt does not count.
    pub(super) async fn hand_back(self) {
        self.put_back(Settlement::HandBack).await;
        self.count("handed_back");
    }

    async fn put_back(&self, how: Settlement) {
        if let Err(error) = outbox::hand_back(&self.worker.database, &[self.job.id], self.lease.token).await {
            tracing::warn!(job.id = %self.job.id, %error, "queue.job.attempt_not_taken_back");
        }
        self.settle(how).await;
    }

    async fn settle(&self, how: Settlement) {
        let Lease { queue, id, token, .. } = &self.lease;
        match self.worker.store.settle(*queue, &[(*id, *token, how)]).await {
            Ok(settled) if settled == [true] => {}
            Ok(_) => tracing::warn!(%queue, job.id = %id, "queue.job.lease_was_lost"),
            Err(error) => tracing::warn!(%queue, job.id = %id, %error, "queue.job.not_settled: its lease will run out"),
        }
    }

    fn count(&self, outcome: &str) {
        spans::ended(outcome);
        metrics::FINISHED.with_label_values(&[self.lease.queue.name(), self.job.job.as_str(), outcome]).inc();
    }
}

enum Outcome {
    Done,
    Failed(JobError),
    Interrupted(Why),
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("without a message")
}
