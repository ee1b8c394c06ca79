//! The scheduler's process: one leader among replicas turns due lines into enqueued jobs.

mod leader;
mod schedule;

use anyhow::Context as _;
use shared::{
    clock::Clock,
    config::{DatabaseConfig, QueueConfig, TelemetryConfig},
    db::Database,
    queue::QueueStore,
    telemetry::{self, health, shutdown},
};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let telemetry = TelemetryConfig::from_env(9103)?;
    telemetry::start(&telemetry).map_err(|error| anyhow::anyhow!("logging could not be started: {error}"))?;
    telemetry::install_tls();
    let database = Database::open(&DatabaseConfig::from_env()?).context("DATABASE_URL cannot be used")?;
    let store = QueueStore::open(&QueueConfig::from_env()?).context("REDIS_URL cannot be used")?;
    let probes = tokio::net::TcpListener::bind(telemetry.address)
        .await
        .with_context(|| format!("cannot listen on {}", telemetry.address))?;
    let stop = shutdown::on_signal()?;
    let probes_stop = CancellationToken::new();
    let probes = tokio::spawn(health::serve(probes, health::of_queues(&database, &store), probes_stop.clone()));
    tracing::info!(lines = schedule::SCHEDULE.len(), metrics = %telemetry.address, "scheduler.started");

    leader::run(&database, &Clock::system(), stop).await?;
    probes_stop.cancel();
    probes.await?;
    database.close().await;
    tracing::info!("scheduler.stopped");
    Ok(())
}
