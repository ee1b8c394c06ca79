//! The scheduler's process: one leader among replicas turns due lines into enqueued jobs.

use anyhow::Context as _;
use clap::Parser;
use scheduler::{leader, schedule::SCHEDULE};
use shared::{
    clock::Clock,
    config::{DatabaseConfig, QueueConfig, TelemetryConfig},
    db::Database,
    queue::QueueStore,
    telemetry::{self, health, shutdown},
};
use tokio_util::sync::CancellationToken;

/// Turns due lines of the cron table into jobs. Configuration comes from environment variables; docs/OPERATIONS.md lists
/// them.
#[derive(Parser)]
#[command(name = "helpcenter-scheduler", version, max_term_width = 100)]
struct Arguments {
    /// Print the next ten times of each line and exit; needs no configuration.
    #[arg(long)]
    dry_run: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if Arguments::parse().dry_run {
        return dry_run(&Clock::system());
    }
    telemetry::install_tls();
    let telemetry = TelemetryConfig::from_env(9103)?;
    let traces = telemetry::start("helpcenter-scheduler", &telemetry)
        .map_err(|error| anyhow::anyhow!("telemetry could not be started: {error}"))?;
    let database = Database::open(&DatabaseConfig::from_env()?).context("DATABASE_URL cannot be used")?;
    let store = QueueStore::open(&QueueConfig::from_env()?).context("REDIS_URL cannot be used")?;
    let probes = tokio::net::TcpListener::bind(telemetry.address)
        .await
        .with_context(|| format!("cannot listen on {}", telemetry.address))?;
    let shutdown = shutdown::on_signal()?;
    let probes_stop = CancellationToken::new();
    let probes = tokio::spawn(health::serve(probes, health::of_queues(&database, &store), probes_stop.clone()));
    tracing::info!(lines = SCHEDULE.len(), metrics = %telemetry.address, "scheduler.started");

    leader::run(&database, SCHEDULE, shutdown.stop).await?;
    probes_stop.cancel();
    probes.await?;
    database.close().await;
    traces.finish().await;
    tracing::info!("scheduler.stopped");
    Ok(())
}

#[expect(clippy::print_stdout, reason = "what is asked for is printed")]
fn dry_run(clock: &Clock) -> anyhow::Result<()> {
    for line in SCHEDULE {
        println!("{}  {}  {}", line.name, line.cron, line.time_zone);
        for due in line.upcoming(clock.now(), 10)? {
            println!("  {}", due.with_timezone(&line.time_zone).to_rfc3339());
        }
    }
    Ok(())
}
