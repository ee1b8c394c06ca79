//! Logs, metrics, health and traces: how a running process tells what it does.

pub mod health;
pub mod metrics;
pub mod shutdown;
pub mod traces;

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use self::traces::Traces;
use crate::config::{TelemetryConfig, TracesConfig};

/// Starts logging to standard error, tells the metrics which release runs, and starts the export of traces under the
/// service's name. Line breaks and control characters in values are escaped, so no value can forge a line. Needs a tokio
/// runtime and [`install_tls`].
pub fn start(
    service: &'static str,
    config: &TelemetryConfig,
) -> Result<Traces, Box<dyn std::error::Error + Send + Sync>> {
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = if config.json_logs {
        lines.json().flatten_event(true).boxed()
    } else {
        lines.with_ansi(std::io::stderr().is_terminal()).boxed()
    };
    // Whatever RUST_LOG says: this crate logs answers that it cannot read, and texts may be in them.
    let filter = EnvFilter::try_new(&config.filter)?.add_directive("async_openai=off".parse()?);
    // Each with its own filter: which spans are exported is not for RUST_LOG to say.
    let registry = tracing_subscriber::registry().with(lines.with_filter(filter));
    let (layer, traces) = traces::layer(service, &config.traces)?;
    registry.with(layer).try_init()?;
    metrics::tell_version();
    Ok(traces)
}

/// Starts the export of traces alone, for programs that log nothing. Needs what [`start`] needs.
pub fn start_traces(
    service: &'static str,
    config: &TracesConfig,
) -> Result<Traces, Box<dyn std::error::Error + Send + Sync>> {
    let (layer, traces) = traces::layer(service, config)?;
    if let Some(layer) = layer {
        tracing_subscriber::registry().with(layer).try_init()?;
    }
    Ok(traces)
}

/// Chooses the cryptography of TLS connections, once per process and before the first of them.
pub fn install_tls() {
    // An error means that it is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
