//! Recording that attempts ended, many at once: what ends while one record is written goes into the next.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use tokio::sync::mpsc;
use uuid::Uuid;

use super::{
    super::{
        Queue, QueueStore, metrics,
        outbox::{self, Ending, Finished},
        store::Settlement,
    },
    held::Lease,
};
use crate::db::Database;

/// How many endings one record holds.
const BATCH: usize = 500;

/// An attempt that ended and is not tried again; its lease is held until that is recorded.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) lease: Lease,
    pub(super) job: Arc<str>,
    pub(super) ending: Ending,
    pub(super) result: Option<serde_json::Value>,
}

/// Where ended attempts go, and who records them.
pub(super) fn channel() -> (mpsc::Sender<Ended>, mpsc::Receiver<Ended>) {
    mpsc::channel(2 * BATCH)
}

/// Records endings until nobody can send any more.
pub(super) async fn record(database: Database, store: QueueStore, mut ended: mpsc::Receiver<Ended>) {
    let mut batch = Vec::with_capacity(BATCH);
    while ended.recv_many(&mut batch, BATCH).await > 0 {
        record_batch(&database, &store, std::mem::take(&mut batch)).await;
    }
}

/// The row goes first, since it is the truth, and it refuses leases that are not its own any more. If Redis does not hear of
/// it, the lease runs out and the next holder finds the job finished.
async fn record_batch(database: &Database, store: &QueueStore, batch: Vec<Ended>) {
    let finished: Vec<Finished> = batch
        .iter()
        .map(|e| Finished { id: e.lease.id, lease: e.lease.token, ending: e.ending, result: e.result.clone() })
        .collect();
    let recorded = match outbox::finish(database, &finished).await {
        Ok(recorded) => recorded,
        Err(error) => {
            // The leases run out and the jobs are done once more, which is harmless.
            tracing::warn!(%error, jobs = batch.len(), "queue.jobs.not_recorded: their leases will run out");
            count(&batch, |_| "lease_lost");
            return;
        }
    };
    let recorded: HashSet<Uuid> = recorded.into_iter().collect();
    count(&batch, |ended| if recorded.contains(&ended.lease.id) { ended.ending.name() } else { "lease_lost" });
    let mut by_queue: HashMap<Queue, Vec<(Uuid, Uuid, Settlement)>> = HashMap::new();
    for Ended { lease, .. } in batch.iter().filter(|ended| recorded.contains(&ended.lease.id)) {
        by_queue.entry(lease.queue).or_default().push((lease.id, lease.token, Settlement::Forget));
    }
    for (queue, leases) in by_queue {
        if let Err(error) = store.settle(queue, &leases).await {
            tracing::warn!(%queue, %error, jobs = leases.len(), "queue.jobs.not_settled: their leases will run out");
        }
    }
}

fn count(batch: &[Ended], outcome: impl Fn(&Ended) -> &'static str) {
    for ended in batch {
        let outcome = outcome(ended);
        metrics::FINISHED.with_label_values(&[ended.lease.queue.name(), &ended.job, outcome]).inc();
        if outcome == "lease_lost" {
            tracing::warn!(queue = %ended.lease.queue, job.id = %ended.lease.id, "queue.job.lease_was_lost");
        }
    }
}
