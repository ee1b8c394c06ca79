//! awa's side of `make bench-queue`: a queue in PostgreSQL alone.

#[path = "../../../../../src/bin/bench_queue/side.rs"]
mod side;

use std::{sync::Arc, time::Duration};

use awa::{Client, InsertOpts, InsertParams, JobArgs, JobResult, QueueConfig, QueueStorage, QueueStorageConfig};
use serde::{Deserialize, Serialize};
use side::{Recorder, Side, now_us};
use sqlx::{PgPool, postgres::PgPoolOptions};
use tokio::sync::RwLock;
use tokio_util::sync::CancellationToken;

const QUEUE: &str = "measured";
/// As many connections as the product's programs have.
const CONNECTIONS: u32 = 10;
const TIME_TO_STOP: Duration = Duration::from_secs(30);

struct Awa {
    url: String,
    /// Made again with the tables, since statements are prepared for tables that are there.
    pool: RwLock<PgPool>,
    storage: QueueStorage,
    concurrency: u32,
}

#[derive(Debug, Serialize, Deserialize, JobArgs)]
struct Measured {
    added_us: u64,
}

fn options() -> InsertOpts {
    InsertOpts { queue: QUEUE.to_owned(), ..InsertOpts::default() }
}

async fn connect(url: &str) -> anyhow::Result<PgPool> {
    Ok(PgPoolOptions::new().max_connections(CONNECTIONS).connect(url).await?)
}

async fn make_tables(pool: &PgPool) -> anyhow::Result<()> {
    sqlx::query("drop schema if exists awa cascade").execute(pool).await?;
    awa::migrations::run(pool).await?;
    sqlx::query("select awa.storage_auto_finalize_if_fresh('awa')").execute(pool).await?;
    Ok(())
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("BENCH_DATABASE_URL")?;
    let pool = RwLock::new(connect(&url).await?);
    let storage = QueueStorage::new(QueueStorageConfig::default())?;
    let concurrency = std::env::var("BENCH_CONCURRENCY")?.parse()?;
    side::serve(Awa { url, pool, storage, concurrency }).await
}

impl Side for Awa {
    const ABOUT: &'static str = "awa 0.6.9"; // as Cargo.toml has it

    async fn add(&self) -> anyhow::Result<()> {
        let pool = self.pool.read().await.clone();
        awa::insert_with(&pool, &Measured { added_us: now_us() }, options()).await?;
        Ok(())
    }

    async fn add_many(&self, jobs: usize) -> anyhow::Result<()> {
        let params = || {
            let args = serde_json::to_value(Measured { added_us: now_us() })?;
            anyhow::Ok(InsertParams { kind: Measured::kind().to_owned(), args, opts: options() })
        };
        let jobs = (0..jobs).map(|_| params()).collect::<anyhow::Result<Vec<_>>>()?;
        let pool = self.pool.read().await.clone();
        self.storage.enqueue_params_copy(&pool, &jobs).await?;
        Ok(())
    }

    async fn arrive(&self) -> anyhow::Result<()> {
        Ok(())
    }

    async fn is_empty(&self) -> anyhow::Result<bool> {
        let pool = self.pool.read().await.clone();
        let counts = self.storage.queue_counts(&pool, QUEUE).await?;
        Ok(counts.available == 0 && counts.running == 0)
    }

    /// Makes all tables anew, and chooses the storage that is the default of new installations.
    async fn clear(&self) -> anyhow::Result<()> {
        let mut pool = self.pool.write().await;
        pool.close().await;
        *pool = connect(&self.url).await?;
        let made = pool.clone();
        // On a thread that blocks: the future of the migrations is not Send for every lifetime.
        let runtime = tokio::runtime::Handle::current();
        tokio::task::spawn_blocking(move || runtime.block_on(make_tables(&made))).await?
    }

    async fn work(&self, recorder: Arc<Recorder>, stop: CancellationToken) -> anyhow::Result<()> {
        let pool = connect(&self.url).await?;
        let config = QueueConfig { max_workers: self.concurrency, ..QueueConfig::default() };
        let client = Client::builder(pool.clone())
            .queue(QUEUE, config)
            .register::<Measured, _, _>(move |job: Measured, _| {
                let recorder = Arc::clone(&recorder);
                async move {
                    recorder.run(job.added_us).await;
                    Ok(JobResult::Completed)
                }
            })
            .build()?;
        client.start().await?;
        stop.cancelled().await;
        client.shutdown(TIME_TO_STOP).await;
        pool.close().await;
        Ok(())
    }
}
