//! Which faults were done, and when servers and connections were not as they should be.

use std::{
    collections::BTreeMap,
    fmt,
    fs::File,
    io::Write as _,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use shared::clock::Clock;

/// How long what a fault of a server or connection caused may go on.
const SETTLE: TimeDelta = TimeDelta::seconds(2);

/// What has been done so far.
#[derive(Debug)]
pub(in crate::torture) struct Log {
    file: File,
    counts: Mutex<BTreeMap<String, u64>>,
    total: AtomicU64,
    disturbed: Mutex<Vec<(DateTime<Utc>, DateTime<Utc>)>>,
}

impl Log {
    /// Written to a file as well, for people who want to know what caused what.
    pub(in crate::torture) fn new(file: &Path) -> Self {
        let (counts, total, disturbed) = <_>::default();
        Self { file: File::create(file).unwrap(), counts, total, disturbed }
    }

    pub(super) fn add(&self, kind: impl fmt::Display) {
        self.add_many(kind, 1);
    }

    pub(super) fn add_many(&self, kind: impl fmt::Display, count: u64) {
        writeln!(&self.file, "{} {kind} ({count})", Clock::system().now()).unwrap();
        *self.counts.lock().unwrap().entry(kind.to_string()).or_default() += count;
        self.total.fetch_add(count, Ordering::SeqCst);
    }

    pub(in crate::torture) fn total(&self) -> u64 {
        self.total.load(Ordering::SeqCst)
    }

    pub(in crate::torture) fn counts(&self) -> BTreeMap<String, u64> {
        self.counts.lock().unwrap().clone()
    }

    pub(in crate::torture) fn disturbed(&self) -> Vec<(DateTime<Utc>, DateTime<Utc>)> {
        self.disturbed.lock().unwrap().clone()
    }

    /// Servers or connections were not as they should be from then until now.
    pub(super) fn disturbed_since(&self, since: DateTime<Utc>) {
        self.disturbed.lock().unwrap().push((since, Clock::system().now() + SETTLE));
    }
}
