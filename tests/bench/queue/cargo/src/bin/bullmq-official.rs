//! The side of bullmq-official (BullMQ's Rust library) of `make bench-queue`.

#[path = "../../../../../src/bin/bench_queue/side.rs"]
mod side;

use std::sync::Arc;

use bullmq::{
    Job, Queue, Worker,
    options::{QueueOptions, RedisConnectionOptions, WorkerOptions},
    queue::BulkJob,
    types::RemoveOnFinish,
};
use serde_json::json;
use side::{Recorder, Side, now_us};
use tokio_util::sync::CancellationToken;

const NAME: &str = "measured";
/// As many finished jobs as the product keeps.
const KEPT: usize = 10_000;
const TIME_TO_STOP_MS: u64 = 30_000;

struct BullMq {
    queue: Queue,
    redis: redis::Client,
    connection: RedisConnectionOptions,
    concurrency: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let url = std::env::var("BENCH_REDIS_URL")?;
    let connection = RedisConnectionOptions { url: url.clone(), ..RedisConnectionOptions::default() };
    let queue = Queue::with_options(NAME, QueueOptions::new().connection(connection.clone())).await?;
    let concurrency = std::env::var("BENCH_CONCURRENCY")?.parse()?;
    side::serve(BullMq { queue, redis: redis::Client::open(url)?, connection, concurrency }).await
}

impl Side for BullMq {
    const ABOUT: &'static str = "bullmq-official 1.4.4"; // as Cargo.toml has it

    async fn add(&self) -> anyhow::Result<()> {
        self.queue.add(NAME, json!({ "added_us": now_us() })).await?;
        Ok(())
    }

    async fn add_many(&self, jobs: usize) -> anyhow::Result<()> {
        let jobs = (0..jobs).map(|_| BulkJob::new(NAME, json!({ "added_us": now_us() }))).collect();
        self.queue.add_bulk(jobs).await?;
        Ok(())
    }

    async fn arrive(&self) -> anyhow::Result<()> {
        Ok(())
    }

    async fn is_empty(&self) -> anyhow::Result<bool> {
        let counts = self.queue.get_job_counts_by_types(&["waiting", "active", "delayed", "prioritized"]).await?;
        Ok(counts.values().all(|count| *count == 0))
    }

    async fn clear(&self) -> anyhow::Result<()> {
        let mut connection = self.redis.get_multiplexed_async_connection().await?;
        Ok(redis::cmd("FLUSHDB").query_async(&mut connection).await?)
    }

    async fn work(&self, recorder: Arc<Recorder>, stop: CancellationToken) -> anyhow::Result<()> {
        let run = move |job: Job, _: bullmq::worker::CancellationToken| {
            let recorder = Arc::clone(&recorder);
            async move {
                recorder.run(job.data()["added_us"].as_u64().unwrap_or_default()).await;
                Ok(json!(null))
            }
        };
        let options = WorkerOptions {
            connection: self.connection.clone(),
            concurrency: self.concurrency,
            remove_on_complete: Some(RemoveOnFinish::Count(KEPT)),
            ..WorkerOptions::default()
        };
        let worker = Worker::with_options(NAME, run, options).await?;
        stop.cancelled().await;
        worker.close(TIME_TO_STOP_MS).await?;
        Ok(())
    }
}
