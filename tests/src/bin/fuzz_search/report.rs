//! What happened, in figures.

use std::{collections::BTreeMap, time::Duration};

use crate::{answer::Outcome, queries::Sent};

/// How many of the slowest are shown.
const SLOWEST: usize = 10;

/// All that happened.
#[derive(Default)]
pub(crate) struct Report {
    kinds: BTreeMap<&'static str, Kind>,
    /// Microseconds of all requests, by what was asked for.
    times: BTreeMap<&'static str, Vec<u32>>,
    slowest: Vec<Slow>,
    failures: Vec<String>,
    /// What was wrong that belongs to no query.
    pub(crate) complaints: Vec<String>,
}

#[derive(Default)]
struct Kind {
    requests: usize,
    failures: usize,
}

struct Slow {
    took: Duration,
    line: String,
}

impl Report {
    /// Counts a request.
    pub(crate) fn record(&mut self, sent: &Sent, outcome: Outcome) {
        let Outcome { what, took, verdict } = outcome;
        let kind = self.kinds.entry(sent.kind).or_default();
        kind.requests += 1;
        self.times.entry(what).or_default().push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        let line = || format!("{what} {} ({}): {}", sent.number, sent.kind, sent.body());
        if let Err(reason) = verdict {
            kind.failures += 1;
            let failure = format!("{reason}\n  {}", line());
            println!("FAILED {failure}");
            self.failures.push(failure);
        }
        if self.slowest.len() < SLOWEST || self.slowest.last().is_some_and(|slow| took > slow.took) {
            self.slowest.push(Slow { took, line: line() });
            self.slowest.sort_by_key(|slow| std::cmp::Reverse(slow.took));
            self.slowest.truncate(SLOWEST);
        }
    }

    /// How many requests failed so far.
    pub(crate) fn failures(&self) -> usize {
        self.failures.len()
    }

    /// Whether nothing was wrong, and something was asked at all.
    pub(crate) fn is_clean(&self) -> bool {
        self.failures.is_empty() && self.complaints.is_empty() && !self.kinds.is_empty()
    }

    /// Prints figures, the slowest requests and all failures.
    pub(crate) fn print(&mut self, seed: u64) {
        println!("\n{:<24} {:>9} {:>9}", "kind", "requests", "failed");
        for (name, kind) in &self.kinds {
            println!("{name:<24} {:>9} {:>9}", kind.requests, kind.failures);
        }
        println!("\n{:<24} {:>9} {:>9} {:>9} {:>9}", "", "requests", "p50 ms", "p99 ms", "max ms");
        for (what, times) in &mut self.times {
            times.sort_unstable();
            let [p50, p99, max] = [50, 99, 100].map(|percent| milliseconds(times, percent));
            println!("{what:<24} {:>9} {p50:>9.1} {p99:>9.1} {max:>9.1}", times.len());
        }
        println!("\nThe slowest:");
        for Slow { took, line } in &self.slowest {
            println!("{:>6} ms {line}", took.as_millis());
        }
        for failure in self.failures.iter().chain(&self.complaints) {
            println!("\nFAILED {failure}");
        }
        let failed = self.failures.len() + self.complaints.len();
        println!("\nseed {seed}: {failed} failures");
    }
}

/// The time that so many percent of the requests did not exceed.
fn milliseconds(sorted: &[u32], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).max(1) - 1;
    sorted.get(at).map_or(f64::NAN, |micros| f64::from(*micros) / 1_000.0)
}
