//! Logs, metrics and health: how a running process tells what it does.

pub mod health;
pub mod metrics;
pub mod shutdown;

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::TelemetryConfig;

/// Starts logging to standard error, and tells the metrics which release runs. Line breaks and control characters in values are escaped, so no value can forge a line.
pub fn start(config: &TelemetryConfig) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(&config.filter)?;
    let registry = tracing_subscriber::registry().with(filter);
    if config.json_logs {
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr);
        registry.with(layer).try_init()?;
    } else {
        let layer =
            tracing_subscriber::fmt::layer().with_ansi(std::io::stderr().is_terminal()).with_writer(std::io::stderr);
        registry.with(layer).try_init()?;
    }
    metrics::tell_version();
    Ok(())
}

/// Chooses the cryptography of TLS connections, once per process and before the first of them.
pub fn install_tls() {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
