//! How far a run is, from its handler to the row.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Shared by a run and by who writes its progress down. Of many reports only the latest counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Mutex<Report>>);

#[derive(Debug, Default)]
struct Report {
    done: u64,
    total: u64,
    is_news: bool,
}

impl Progress {
    fn lock(&self) -> MutexGuard<'_, Report> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn report(&self, done: u64, total: u64) {
        *self.lock() = Report { done, total, is_news: true };
    }

    /// What was reported and nobody has been told yet: done, and of how many.
    pub(super) fn news(&self) -> Option<(i64, i64)> {
        let mut report = self.lock();
        let is_news = std::mem::take(&mut report.is_news);
        let count = |units: u64| i64::try_from(units).unwrap_or(i64::MAX);
        is_news.then(|| (count(report.done), count(report.total)))
    }
}
