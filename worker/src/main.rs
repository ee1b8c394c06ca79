//! The worker's process: takes jobs off the queues and runs them.

use anyhow::Context as _;
use serde_json::json;
use shared::{
    assistant::{AnswerStreams, Assistant},
    clock::Clock,
    config::{
        DatabaseConfig, EmbeddingConfig, HistoryConfig, LlmConfig, QueueConfig, SearchConfig, SecretsConfig,
        TelemetryConfig, WorkerConfig,
    },
    db::Database,
    embedding,
    knowledge::lag,
    llm::Llm,
    queue::{QueueStore, worker::Worker},
    search::Search,
    telemetry::{self, health, shutdown},
};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    telemetry::install_tls();
    let telemetry = TelemetryConfig::from_env(9102)?;
    let traces = telemetry::start("helpcenter-worker", &telemetry)
        .map_err(|error| anyhow::anyhow!("telemetry could not be started: {error}"))?;
    let config = WorkerConfig::from_env()?;
    let database = Database::open(&DatabaseConfig::from_env()?).context("DATABASE_URL cannot be used")?;
    let queues = QueueConfig::from_env()?;
    let store = QueueStore::open(&queues).context("REDIS_URL cannot be used")?;
    let streams = AnswerStreams::open(&queues).context("REDIS_URL cannot be used")?;
    let embedders = embedding::from_config(&EmbeddingConfig::from_env()?)?;
    let probes = tokio::net::TcpListener::bind(telemetry.address)
        .await
        .with_context(|| format!("cannot listen on {}", telemetry.address))?;
    let shutdown = shutdown::on_signal()?;
    let (model, previous_model) = embedders.models();
    let (model, previous_model) = (model.to_string(), previous_model.map(ToString::to_string));
    let history = HistoryConfig::from_env()?;
    let clock = Clock::system();
    let search = Search::from_config(&SearchConfig::from_env()?, database.clone(), embedders.all())
        .context("there can be no HTTP client")?;
    let secrets = SecretsConfig::from_env()?.key;
    let llm = Llm::new(&LlmConfig::from_env()?, secrets, database.clone(), clock.clone())
        .context("there can be no HTTP client")?;
    let assistant =
        Assistant::new(database.clone(), search, Some(embedders.current().clone()), streams).written_by(llm);
    let registry =
        worker::registry(&worker::Context { database: database.clone(), embedders, clock, history, assistant });
    let models = json!({ "current": model, "previous": previous_model });
    let health = health::of_queues(&database, &store).detail("embedding_models", move || models.clone());
    let worker = Worker::new(database.clone(), store, registry, config);
    let asked = worker.clone();
    let probes_stop = CancellationToken::new();
    let probes =
        tokio::spawn(health::serve(probes, health.detail("queues", move || asked.status()), probes_stop.clone()));
    let lag = tokio::spawn(lag::watch(database.clone(), probes_stop.clone()));
    tracing::info!(model, previous_model, metrics = %telemetry.address, "worker.started");

    let ran = worker.run(shutdown.stop, shutdown.at_once).await;
    probes_stop.cancel();
    probes.await?;
    lag.await?;
    database.close().await;
    traces.finish().await;
    Ok(ran?)
}
