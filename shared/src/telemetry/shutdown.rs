//! When to stop.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// What signals ask for.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    /// Cancelled by the first SIGTERM or SIGINT: take nothing new, finish what runs.
    pub stop: CancellationToken,
    /// Cancelled by the second one: give up what runs.
    pub at_once: CancellationToken,
}

/// Listens for SIGTERM and SIGINT.
pub fn on_signal() -> std::io::Result<Shutdown> {
    let shutdown = Shutdown::default();
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let asked = shutdown.clone();
    tokio::spawn(async move {
        for (token, what) in [(asked.stop, "process.stopping"), (asked.at_once, "process.stopping_at_once")] {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "{what}");
            token.cancel();
        }
    });
    Ok(shutdown)
}
