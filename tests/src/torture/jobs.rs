//! The jobs that are tortured, and what runs them. What each kind must come to is in [`expected`].

use std::{
    fs::{File, OpenOptions},
    io::Write as _,
    path::Path,
    sync::Arc,
    time::Duration,
};

use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use shared::{
    clock::Clock,
    config::QueueConfig,
    db::Database,
    queue::{
        Backoff, Job, JobError, Priority, Queue, Rate, RateLimit,
        worker::{Registry, Run},
    },
};
use uuid::Uuid;

use super::product;

/// Tries of jobs that succeed in the end: more than faults take from them.
const PLENTY: u32 = 100;
const SOON: Backoff = Backoff { base: Duration::from_millis(200), max: Duration::from_secs(2) };
/// Of jobs that can never succeed.
const FEW: u32 = 3;

macro_rules! jobs {
    ($($(#[$doc:meta])* $job:ident $name:literal in $queue:ident, $attempts:expr, $timeout:expr; { $($member:item)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Serialize, Deserialize)]
            pub(super) struct $job {
                /// Tells one enqueueing from all others.
                pub(super) key: Uuid,
                /// What its kind makes of it.
                pub(super) number: u32,
            }

            impl Job for $job {
                const NAME: &'static str = $name;
                const QUEUE: Queue = Queue::$queue;
                const TIMEOUT: Duration = $timeout;
                const MAX_ATTEMPTS: u32 = $attempts;
                const BACKOFF: Backoff = SOON;
                $($member)*
            }
        )*
    };
}

const MINUTE: Duration = Duration::from_secs(60);

jobs! {
    /// Has nothing to do but its effect.
    Fast "fast" in Maintenance, PLENTY, MINUTE; {}
    /// The same, in another queue.
    Quick "quick" in Embeddings, PLENTY, MINUTE; {}
    /// Takes `number` ms.
    Slow "slow" in Maintenance, PLENTY, MINUTE; {}
    /// Fails `number` times, then succeeds.
    Flaky "flaky" in Embeddings, PLENTY, MINUTE; {}
    /// Starts later; `number` is only for the eye.
    Later "later" in Maintenance, PLENTY, MINUTE; {}
    /// At most one of a number is open.
    Single "single" in Maintenance, PLENTY, MINUTE; {
        fn unique_key(&self) -> Option<String> {
            Some(self.number.to_string())
        }
    }
    /// Of the priority `number`.
    Ranked "ranked" in Embeddings, PLENTY, MINUTE; {
        fn priority(&self) -> Priority {
            [Priority::High, Priority::Normal, Priority::Low][self.number as usize % 3]
        }
    }
    /// May start so often, not more.
    Limited "limited" in Maintenance, PLENTY, MINUTE; {
        const RATE_LIMIT: Option<RateLimit> = Some(RateLimit {
            overall: Some(Rate { starts: 100, per: Duration::from_secs(1) }),
            per_tenant: Some(Rate { starts: 20, per: Duration::from_secs(1) }),
        });
    }
    /// Fails whenever it is tried.
    Hopeless "hopeless" in Maintenance, FEW, MINUTE; {}
    /// The same, and at most one of a number is open.
    Contested "contested" in Embeddings, FEW, MINUTE; {
        fn unique_key(&self) -> Option<String> {
            Some(self.number.to_string())
        }
    }
    /// Knows that it will never work.
    Refused "refused" in Embeddings, PLENTY, MINUTE; {}
    /// Panics.
    Panicking "panicking" in Maintenance, FEW, MINUTE; {}
    /// Never ends in its time.
    Overdue "overdue" in Maintenance, FEW, Duration::from_millis(300); {}
    /// Is enqueued with payloads that no job can be made of.
    Garbled "garbled" in Maintenance, PLENTY, MINUTE; {}
    /// Kills its process.
    Killer "killer" in Embeddings, FEW, MINUTE; {}
}

/// What the lines of the torture's schedulers enqueue; see [`super::children`].
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tick {}

impl Job for Tick {
    const NAME: &'static str = "tick";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = MINUTE;
    const MAX_ATTEMPTS: u32 = PLENTY;
    const BACKOFF: Backoff = SOON;
}

/// What a kind of job must come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Done with one effect. A dead letter only when faults took all of its attempts.
    Done,
    /// A dead letter without an effect, after its attempts, or at once.
    Dead,
    /// A dead letter after exactly as many attempts as it has.
    DeadAfterAll,
}

/// What jobs of the name must come to.
pub(super) fn expected(name: &str) -> Fate {
    match name {
        "hopeless" | "contested" | "refused" | "panicking" | "overdue" | "garbled" => Fate::Dead,
        "killer" => Fate::DeadAfterAll,
        _ => Fate::Done,
    }
}

/// Whether jobs of the name tell when they run and when they have their effect. Of the product's own it is seen in the end.
pub(super) fn is_observed(name: &str) -> bool {
    !product::JOBS.contains(&name)
}

/// What a worker process writes down as it goes: one line each, whole or not at all, in an append-only file of its own.
#[derive(Debug, Clone)]
pub(super) struct Journal(Arc<File>);

impl Journal {
    pub(super) fn open(path: &Path) -> Self {
        Self(Arc::new(OpenOptions::new().create(true).append(true).open(path).unwrap()))
    }

    pub(super) fn write(&self, line: &str) {
        (&*self.0).write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn run(&self, what: &str, run: &Run) {
        let at = Clock::system().now().timestamp_micros();
        self.write(&format!("{what} {} {} {at}", run.id, run.attempt));
    }
}

/// What a job needs.
#[derive(Debug, Clone)]
struct Context {
    database: Database,
    journal: Journal,
}

impl Context {
    /// The effect of a job: once for each, however often it is tried.
    async fn effect(&self, run: &Run) -> Result<(), JobError> {
        let mut connection = self.database.registry().await?;
        sqlx::query("select torture.effect($1)").bind(run.id.uuid()).execute(&mut *connection).await?;
        self.journal.run("effect", run);
        Ok(())
    }
}

/// Every job of the torture, and the product's own.
pub(super) fn registry(database: Database, queues: &QueueConfig, journal: Journal) -> Registry {
    let own = product::registry(database.clone(), queues);
    let context = Context { database, journal };
    macro_rules! with {
        ($registry:expr, $($job:ident: |$given:ident, $run:ident, $context:ident| $act:expr;)*) => {
            $registry$(.job::<$job, _, _>({
                let context = context.clone();
                move |$given, $run| {
                    let $context = context.clone();
                    async move {
                        $context.journal.run("started", &$run);
                        let outcome: Result<(), JobError> = $act.await;
                        $context.journal.run(if outcome.is_ok() { "ended" } else { "failed" }, &$run);
                        outcome
                    }
                    .boxed()
                }
            }))*
        };
    }
    let not_now = || JobError::retry(std::io::Error::other("not now"));
    with! { own,
        Fast: |_job, run, context| context.effect(&run);
        Quick: |_job, run, context| context.effect(&run);
        Slow: |job, run, context| async {
            tokio::time::sleep(Duration::from_millis(job.number.into())).await;
            context.effect(&run).await
        };
        Flaky: |job, run, context| async {
            if run.attempt <= job.number { Err(not_now()) } else { context.effect(&run).await }
        };
        Later: |_job, run, context| context.effect(&run);
        Single: |_job, run, context| async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            context.effect(&run).await
        };
        Ranked: |_job, run, context| context.effect(&run);
        Limited: |_job, run, context| context.effect(&run);
        Hopeless: |_job, run, context| async { Err(not_now()) };
        Contested: |_job, run, context| async { Err(not_now()) };
        Refused: |_job, run, context| async { Err(JobError::fail(std::io::Error::other("never"))) };
        Panicking: |_job, run, context| async { panic!("as it is meant to") };
        Overdue: |_job, run, context| std::future::pending();
        Garbled: |_job, run, context| context.effect(&run);
        Killer: |_job, run, context| async { std::process::abort() };
        Tick: |_job, run, context| context.effect(&run);
    }
}
