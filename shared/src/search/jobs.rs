//! Job payloads of search.

use std::time::Duration;

use crate::queue::{Job, Queue};

/// Forgets what a tenant's readers read and searched for long ago.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PruneHistory {}

impl Job for PruneHistory {
    const NAME: &'static str = "prune_history";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(3600);
    const MAX_ATTEMPTS: u32 = 3;

    fn unique_key(&self) -> Option<String> {
        Some(String::new())
    }
}
