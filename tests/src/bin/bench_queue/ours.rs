//! The product's queue, with its own settings read from the environment.

use std::{sync::Arc, time::Duration};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use shared::{
    config::{DatabaseConfig, QueueConfig, WorkerConfig},
    db::Database,
    queue::{
        self, Job, Queue, QueueStore, relay,
        worker::{Registry, Worker},
    },
    tenancy::TenantId,
};
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::side::{Recorder, Side, now_us};

/// The variables that say whose jobs these are, and how the owner reaches the database.
pub(crate) const TENANT: &str = "BENCH_TENANT";
pub(crate) const OWNER_URL: &str = "BENCH_OWNER_URL";

pub(crate) struct Ours {
    database: Database,
    store: QueueStore,
    config: WorkerConfig,
    tenant: TenantId,
    owner: PgPool,
}

/// Does what the worker was told that jobs do.
#[derive(Debug, Serialize, Deserialize)]
struct Measured {
    added_us: u64,
}

impl Job for Measured {
    const NAME: &'static str = "measured";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(30);
}

impl Ours {
    pub(crate) fn open() -> anyhow::Result<Self> {
        Ok(Self {
            database: Database::open(&DatabaseConfig::from_env()?)?,
            store: QueueStore::open(&QueueConfig::from_env()?)?,
            config: WorkerConfig::from_env()?,
            tenant: TenantId::new(variable(TENANT)?.parse()?),
            owner: PgPool::connect_lazy(&variable(OWNER_URL)?)?,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "how the program that measures tells")]
fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).context(name.to_owned())
}

impl Side for Ours {
    const ABOUT: &'static str = concat!("this product's queue ", env!("CARGO_PKG_VERSION"));

    async fn add(&self) -> anyhow::Result<()> {
        let job = Measured { added_us: now_us() };
        let mut tx = self.database.tenant(self.tenant).await?;
        queue::enqueue(&mut tx, &job).await?;
        Ok(tx.commit().await?)
    }

    async fn add_many(&self, jobs: usize) -> anyhow::Result<()> {
        let jobs: Vec<Measured> = (0..jobs).map(|_| Measured { added_us: now_us() }).collect();
        let mut tx = self.database.tenant(self.tenant).await?;
        queue::enqueue_all(&mut tx, &jobs).await?;
        Ok(tx.commit().await?)
    }

    async fn arrive(&self) -> anyhow::Result<()> {
        relay::once(&self.database, &self.store).await?;
        Ok(())
    }

    async fn is_empty(&self) -> anyhow::Result<bool> {
        let is_open: bool = sqlx::query_scalar("select exists (select from outbox)").fetch_one(&self.owner).await?;
        Ok(!is_open)
    }

    async fn clear(&self) -> anyhow::Result<()> {
        sqlx::query("truncate outbox, unrelayed_jobs, finished_jobs").execute(&self.owner).await?;
        // Or the next jobs would wait behind all that Redis still knows.
        let QueueConfig { redis_url, prefix, .. } = QueueConfig::from_env()?;
        let mut redis = redis::Client::open(redis_url.expose_secret())?.get_connection()?;
        tests::forget_everything(&mut redis, &prefix);
        Ok(())
    }

    async fn work(&self, recorder: Arc<Recorder>, stop: CancellationToken) -> anyhow::Result<()> {
        let registry = Registry::new().job::<Measured, _, _>(move |job, _| {
            let recorder = Arc::clone(&recorder);
            async move {
                recorder.run(job.added_us).await;
                Ok(())
            }
        });
        Worker::new(self.database.clone(), self.store.clone(), registry, self.config.clone())
            .run(stop, CancellationToken::new())
            .await?;
        Ok(())
    }
}
