//! The API's process: configuration, telemetry, services, run.

use std::{net::TcpListener, sync::Arc};

use anyhow::Context as _;
use api::Services;
use shared::{
    clock::Clock,
    config::{
        ApiConfig, AuthConfig, DatabaseConfig, EmbeddingConfig, LlmConfig, ModelConfig, QueueConfig, SearchConfig,
        SecretsConfig, TelemetryConfig,
    },
    db::Database,
    embedding::{self, Embedder, Role},
    llm::Llm,
    search::Search,
    telemetry::{self, health, shutdown},
};
use tokio_util::sync::CancellationToken;

#[actix_web::main]
async fn main() -> anyhow::Result<()> {
    telemetry::install_tls();
    let telemetry = TelemetryConfig::from_env(9101)?;
    let traces = telemetry::start("helpcenter-api", &telemetry)
        .map_err(|error| anyhow::anyhow!("telemetry could not be started: {error}"))?;
    let config = ApiConfig::from_env()?;
    let auth = AuthConfig::from_env()?;
    let database = Database::open(&DatabaseConfig::from_env()?).context("DATABASE_URL cannot be used")?;
    let queues = QueueConfig::from_env()?;
    let models = EmbeddingConfig::from_env()?;
    let current = available(&models.current, Role::Current);
    let previous = models.previous.as_ref().and_then(|model| available(model, Role::Previous));
    let embedders = current.into_iter().chain(previous);
    let search = Search::from_config(&SearchConfig::from_env()?, database.clone(), embedders)
        .context("there can be no HTTP client")?;
    let secrets = SecretsConfig::from_env()?.key;
    let llm = Llm::new(&LlmConfig::from_env()?, secrets, database.clone(), Clock::system())
        .context("there can be no HTTP client")?;
    let listener = TcpListener::bind(config.address).with_context(|| format!("cannot listen on {}", config.address))?;
    let metrics = tokio::net::TcpListener::bind(telemetry.address)
        .await
        .with_context(|| format!("cannot listen on {}", telemetry.address))?;
    tracing::info!(address = %config.address, public_url = %config.public_url, metrics = %telemetry.address, "api.started");

    let shutdown = shutdown::on_signal()?;
    let services = Services {
        stopping: shutdown.stop,
        ..Services::new(config, &auth, database.clone(), search, &queues, llm, Clock::system())?
    };
    let stop = CancellationToken::new();
    let probes = tokio::spawn(health::serve(metrics, services.health.clone(), stop.clone()));
    api::serve(listener, services)?.await?;
    stop.cancel();
    probes.await?;
    database.close().await;
    traces.finish().await;
    tracing::info!("api.stopped");
    Ok(())
}

/// A model, if it can be used: without any, search works by words alone.
fn available(model: &ModelConfig, role: Role) -> Option<Arc<dyn Embedder>> {
    embedding::load(model, role)
        .inspect_err(|error| tracing::error!(%error, ?role, "api.embedding_model_missing: search works by words alone"))
        .ok()
}
