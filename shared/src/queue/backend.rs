//! The queues as apalis sees them: a [`Backend`] that yields leased jobs.
//!
//! apalis drives the workers (service, concurrency, shutdown); leases, attempts, backoff and dead letters are ours, since
//! no storage that comes with apalis keeps them through the death of a worker or of Redis (docs/adr/0002-queue.md). Leasing
//! happens outside, in `worker`, so that an error of Redis is a pause there and never the end of an apalis worker.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use apalis_core::{
    backend::{Backend, BackendConfig, finalize::Ephemeral},
    task::{Task, builder::TaskBuilder},
    worker::context::WorkerContext,
};
use tokio::sync::mpsc::Receiver;
use tower::layer::util::Identity;

/// Yields what comes out of the channel; ends when the channel is closed, which lets the apalis worker drain and stop.
#[derive(Debug)]
pub(super) struct LeasedJobs<T> {
    receiver: Receiver<T>,
}

impl<T> LeasedJobs<T> {
    pub(super) fn new(receiver: Receiver<T>) -> Self {
        Self { receiver }
    }
}

impl<T: Send + 'static> Backend for LeasedJobs<T> {
    type Task = Task<T>;
    type Error = Infallible;

    fn poll_ready(&mut self, _: &mut Context<'_>, _: &WorkerContext) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, _: &WorkerContext) -> Poll<Option<Result<Task<T>, Infallible>>> {
        self.receiver.poll_recv(cx).map(|job| job.map(|job| Ok(TaskBuilder::new(job).build())))
    }

    fn poll_close(&mut self, _: &mut Context<'_>, worker: &WorkerContext) -> Poll<Result<(), Infallible>> {
        self.receiver.close();
        // That there are no more jobs is no reason for an apalis worker to end: it waits to be stopped.
        if let Err(error) = worker.stop() {
            tracing::warn!(%error, "queue.worker.not_stopped");
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: Send + 'static> BackendConfig for LeasedJobs<T> {
    type Args = T;
    type Id = uuid::Uuid;
    type Kind = Ephemeral;
    type Config = ();
    type Layer = Identity;

    fn config(&self) -> &Self::Config {
        &()
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> Identity {
        Identity::new()
    }
}
