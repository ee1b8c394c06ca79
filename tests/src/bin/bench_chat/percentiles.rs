//! Percentiles of durations.

use std::time::Duration;

/// Durations, sorted.
pub(crate) struct Sorted(Vec<Duration>);

impl Sorted {
    pub(crate) fn new(mut durations: Vec<Duration>) -> Self {
        durations.sort_unstable();
        Self(durations)
    }

    /// The smallest that so many percent do not exceed; `None`: there are none.
    pub(crate) fn percentile(&self, percent: usize) -> Option<Duration> {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0.get(rank - 1).copied()
    }

    /// p50, p95 and p99 in milliseconds, and the longest.
    pub(crate) fn row(&self) -> String {
        let ms =
            |duration: Option<Duration>| duration.map_or("-".to_owned(), |d| format!("{:.0}", d.as_secs_f64() * 1e3));
        let [p50, p95, p99] = [50, 95, 99].map(|percent| ms(self.percentile(percent)));
        format!("{p50:>7} {p95:>7} {p99:>7} {:>7}", ms(self.0.last().copied()))
    }
}
