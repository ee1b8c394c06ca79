//! The relay: from the outbox table to Redis, at least once.
//!
//! Woken by NOTIFY after a transaction with jobs has committed, and by the clock in case nobody was there to notify. Several
//! relays share the work, one queue each at a time, so that the jobs of a queue arrive in the order in which they were
//! written. Pushing is idempotent by id, so a relay that dies between push and commit does no harm.

use std::time::Duration;

use futures::FutureExt as _;
use sqlx::{Connection as _, PgConnection, postgres::PgNotification};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Queue, QueueStore, RETRY, RedisError, metrics, outbox, store::Memory};
use crate::db::Database;

const BATCH: u16 = 500;
/// Lost in a crash, a batch is relayed again, with the same effect: so it need not wait for the disk. A relay that fell silent
/// keeps the queue from the others until its transaction is ended for it.
const BEGIN: &str = "BEGIN; SET LOCAL synchronous_commit = off; SET LOCAL idle_in_transaction_session_timeout = '10s'";
/// How often all queues are looked at, whatever was notified.
const POLL: Duration = Duration::from_secs(1);
/// How often a page of long-relayed jobs is checked against Redis, and how old they must be.
const AUDIT_EVERY: Duration = Duration::from_secs(15);
const AUDIT_AGE: Duration = Duration::from_secs(60);
const AUDIT_PAGE: i32 = 1000;
/// How long, and how many of each queue, finished jobs are kept to look back at; how many are forgotten at once.
const KEEP_FINISHED_FOR: Duration = Duration::from_secs(3 * 24 * 3600);
const KEEP_FINISHED: i32 = 10_000;
const TRIM_BATCH: i32 = 50_000;

/// Why a round of the relay ended early; the next one tries again.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// PostgreSQL.
    #[error("database: {0}")]
    Database(#[from] sqlx::Error),
    /// Redis.
    #[error("redis: {0}")]
    Redis(#[from] RedisError),
}

/// Relays until cancelled. Errors are logged and waited out with backoff; nothing is lost meanwhile.
pub async fn run(database: Database, store: QueueStore, stop: CancellationToken) {
    let mut relay = Relay::new(database, store);
    let mut failures = 0;
    while !stop.is_cancelled() {
        match stop.run_until_cancelled(relay.serve(&mut failures)).await {
            None => break,
            Some(Ok(never)) => match never {},
            Some(Err(error)) => {
                failures += 1;
                metrics::RELAY_FAILURES.inc();
                let wait = RETRY.delay(failures, rand::random());
                tracing::warn!(%error, failures, retry_in_ms = wait.as_millis(), "queue.relay.paused");
                let _ = stop.run_until_cancelled(tokio::time::sleep(wait)).await;
            }
        }
    }
}

/// Relays everything that is waiting now; for tests and for commands that want to see the effect.
pub async fn once(database: &Database, store: &QueueStore) -> Result<usize, RelayError> {
    let mut relay = Relay::new(database.clone(), store.clone());
    relay.mend_memory().await?;
    relay.drain(&Queue::ALL).await
}

/// Makes sure that Redis knows every job that was relayed at least `older_than` ago, and sends those again that it forgot;
/// returns how many. The relay does this by itself, a page at a time; for tests and for commands that want it done now.
pub async fn audit(database: &Database, store: &QueueStore, older_than: Duration) -> Result<usize, RelayError> {
    Relay::new(database.clone(), store.clone()).audit_all(older_than).await
}

struct Relay {
    database: Database,
    store: QueueStore,
    /// Where the audit goes on: a place in `Queue::ALL`, and the last job seen of that queue.
    audit_queue: usize,
    audit_after: Uuid,
    audited_at: Instant,
}

impl Relay {
    fn new(database: Database, store: QueueStore) -> Self {
        Self { database, store, audit_queue: 0, audit_after: Uuid::nil(), audited_at: Instant::now() }
    }

    async fn serve(&mut self, failures: &mut u32) -> Result<std::convert::Infallible, RelayError> {
        let mut listener = self.database.listener().await?;
        listener.listen(outbox::CHANNEL).await?;
        loop {
            let looked_at = Instant::now();
            self.mend_memory().await?;
            self.drain(&Queue::ALL).await?;
            if self.audited_at.elapsed() >= AUDIT_EVERY {
                self.audit_page(AUDIT_AGE).await?;
                for queue in Queue::ALL {
                    outbox::trim(&self.database, queue, KEEP_FINISHED_FOR, KEEP_FINISHED, TRIM_BATCH).await?;
                }
                self.audited_at = Instant::now();
            }
            if std::mem::take(failures) > 0 {
                tracing::info!("queue.relay.resumed");
            }
            while looked_at.elapsed() < POLL
                && let Ok(received) = tokio::time::timeout_at(looked_at + POLL, listener.recv()).await
            {
                let mut queues = named(&received?);
                // A notification says where there is work, not what: one is as good as many.
                while let Some(Ok(more)) = listener.recv().now_or_never() {
                    queues.extend(named(&more));
                }
                self.drain(&Queue::ALL.into_iter().filter(|queue| queues.contains(queue)).collect::<Vec<_>>()).await?;
            }
        }
    }

    /// A server without our mark has forgotten every job: all open ones are sent again. One that was started anew may have
    /// forgotten some: those that it does not know are sent again. The mark is set last, so a relay that dies in between
    /// leaves the finding to the next.
    async fn mend_memory(&mut self) -> Result<(), RelayError> {
        let run = match self.store.memory().await? {
            Memory::Whole => return Ok(()),
            Memory::None { run } => {
                let forgotten = self.database.ask(async |connection| outbox::forget_relayed(connection).await).await?;
                metrics::RESENT.inc_by(u64::try_from(forgotten).unwrap_or_default());
                if forgotten > 0 {
                    tracing::warn!(jobs = forgotten, "queue.relay.redis_was_empty: every open job is sent again");
                }
                run
            }
            Memory::OfAnEarlierRun { run } => {
                // What is being relayed at this moment may have been sent to the run before, and is in no page yet.
                for queue in Queue::ALL {
                    self.database.ask(async |connection| outbox::wait_for_relay(connection, queue).await).await?;
                }
                (self.audit_queue, self.audit_after) = (0, Uuid::nil());
                let missing = self.audit_all(Duration::ZERO).await?;
                tracing::info!(
                    jobs = missing,
                    "queue.relay.redis_was_started_anew: what it had forgotten was sent again"
                );
                run
            }
        };
        self.store.mark_memory(&run).await?;
        Ok(())
    }

    /// Audits from where the audit is to its end; how many jobs were missing.
    async fn audit_all(&mut self, older_than: Duration) -> Result<usize, RelayError> {
        let mut missing = 0;
        loop {
            missing += self.audit_page(older_than).await?;
            if self.audit_queue == 0 && self.audit_after.is_nil() {
                return Ok(missing);
            }
        }
    }

    async fn drain(&self, queues: &[Queue]) -> Result<usize, RelayError> {
        let mut relayed = 0;
        let mut queues = queues.to_vec();
        // In turn, so that no queue waits for the backlog of another.
        while !queues.is_empty() {
            let mut unfinished = Vec::with_capacity(queues.len());
            for queue in queues {
                let count = self.relay_batch(queue).await?;
                relayed += count;
                if count == usize::from(BATCH) {
                    unfinished.push(queue);
                }
            }
            queues = unfinished;
        }
        Ok(relayed)
    }

    async fn relay_batch(&self, queue: Queue) -> Result<usize, RelayError> {
        let relaying = async |connection: &mut PgConnection| {
            let mut transaction = connection.begin_with(BEGIN).await?;
            let (jobs, taken) = outbox::relay(&mut transaction, queue, BATCH.into()).await?;
            if taken > 0 {
                self.store.push(queue, &jobs).await?;
                transaction.commit().await?;
            }
            Ok::<_, RelayError>((jobs, taken))
        };
        let (jobs, taken) = self.database.ask(relaying).await?;
        for job in &jobs {
            metrics::ENQUEUED.with_label_values(&[queue.name(), &job.job]).inc();
        }
        Ok(taken)
    }

    /// Makes sure that Redis knows the next page of jobs that were relayed a while ago: a part of its memory may be lost as
    /// well, such as the last second before a crash. Returns how many it did not know.
    async fn audit_page(&mut self, older_than: Duration) -> Result<usize, RelayError> {
        let queue = Queue::ALL[self.audit_queue];
        let after = self.audit_after;
        let page = async |connection: &mut PgConnection| {
            outbox::relayed_page(connection, queue, after, older_than, AUDIT_PAGE).await
        };
        let jobs = self.database.ask(page).await?;
        let missing = self.store.push(queue, &jobs).await?;
        metrics::RESENT.inc_by(missing as u64);
        if let Some(last) = jobs.last() {
            self.audit_after = last.id;
        } else {
            self.audit_after = Uuid::nil();
            self.audit_queue = (self.audit_queue + 1) % Queue::ALL.len();
        }
        if missing > 0 {
            tracing::warn!(%queue, jobs = missing, "queue.relay.jobs_were_missing_in_redis: they were sent again");
        }
        Ok(missing)
    }
}

/// The queues that a notification is about.
fn named(notification: &PgNotification) -> Vec<Queue> {
    Queue::from_name(notification.payload()).map_or_else(|| Queue::ALL.to_vec(), |queue| vec![queue])
}
