//! How long jobs of killed processes waited for another process.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{super::fleet::Death, EXAMPLES};

/// A job that another process began although its holder had not let go of it.
#[derive(Debug)]
pub(super) struct TakeOver {
    pub(super) job: Uuid,
    pub(super) name: String,
    pub(super) from: String,
    pub(super) by: String,
    pub(super) at: DateTime<Utc>,
    pub(super) held_since: DateTime<Utc>,
}

/// Leases in Redis that ended without their holders. A holder that died before it began the job is known only from here.
#[derive(Debug, Default)]
pub(super) struct Lapses {
    processes: HashSet<Arc<str>>,
    holders: HashMap<Uuid, Arc<str>>,
    of_jobs: HashMap<Uuid, Vec<(Uuid, DateTime<Utc>)>>,
}

impl Lapses {
    pub(super) fn asked(&mut self, token: Uuid, process: &str) {
        let process = self.processes.get(process).cloned().unwrap_or_else(|| process.into());
        self.processes.insert(Arc::clone(&process));
        self.holders.insert(token, process);
    }

    pub(super) fn lapsed(&mut self, job: Uuid, token: Uuid, at: DateTime<Utc>) {
        self.of_jobs.entry(job).or_default().push((token, at));
    }

    /// Whose leases of a job ended until then, and when.
    fn until(&self, job: Uuid, until: DateTime<Utc>) -> impl Iterator<Item = (&str, DateTime<Utc>)> {
        let lapses = self.of_jobs.get(&job).into_iter().flatten().filter(move |(_, at)| *at <= until);
        lapses.filter_map(|(token, at)| Some((&**self.holders.get(token)?, *at)))
    }
}

/// How long something of killed processes waited for another process, in order.
#[derive(Debug, Default)]
pub(in crate::torture) struct Recoveries {
    took: Vec<Duration>,
    /// Of how many a next holder had died as well, before it began the job.
    pub(in crate::torture) died_again: usize,
    /// The slowest, in words.
    pub(in crate::torture) slowest: Vec<String>,
}

impl Recoveries {
    pub(in crate::torture) fn count(&self) -> usize {
        self.took.len()
    }

    /// In seconds; 0 when nothing was recovered.
    pub(in crate::torture) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.took.len() * percent).div_ceil(100).max(1) - 1;
        self.took.get(place).map_or(0.0, Duration::as_secs_f64)
    }

    fn new(mut all: Vec<Recovery<'_>>) -> Self {
        all.sort_unstable_by_key(|recovery| recovery.took);
        let in_words = |Recovery { took, of: TakeOver { job, name, from, by, at, .. }, .. }: &Recovery| {
            format!("{:.2} s: {name} {job} from {from} to {by} at {at}", took.as_secs_f64())
        };
        Self {
            slowest: all.iter().rev().take(EXAMPLES).map(in_words).collect(),
            died_again: all.iter().filter(|recovery| recovery.died_again).count(),
            took: all.into_iter().map(|recovery| recovery.took).collect(),
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Recovery<'a> {
    took: Duration,
    of: &'a TakeOver,
    died_again: bool,
}

/// From the death of a job's last holder to when the job was begun again: all, and those between which nothing disturbed the
/// servers.
pub(super) fn recoveries(
    take_overs: &[TakeOver],
    lapses: &Lapses,
    deaths: &[Death],
    disturbed: &[(DateTime<Utc>, DateTime<Utc>)],
) -> (Recoveries, Recoveries) {
    let deaths: HashMap<&str, DateTime<Utc>> = deaths.iter().map(|death| (death.process.as_str(), death.at)).collect();
    let (mut all, mut calm) = (Vec::new(), Vec::new());
    for of in take_overs {
        let TakeOver { job, from, at, held_since, .. } = of;
        let Some(first) = deaths.get(from.as_str()).filter(|died| *died <= at && held_since <= died) else { continue };
        let later = lapses.until(*job, *at).filter_map(|(holder, lapsed)| {
            let died = deaths.get(holder)?;
            (first < died && *died <= lapsed).then_some(died)
        });
        let last = later.max();
        let died = last.unwrap_or(first);
        let recovery = Recovery { took: (*at - *died).to_std().unwrap_or_default(), of, died_again: last.is_some() };
        all.push(recovery);
        if !disturbed.iter().any(|(begin, end)| begin <= at && died <= end) {
            calm.push(recovery);
        }
    }
    (Recoveries::new(all), Recoveries::new(calm))
}

/// From a leader's death to when another led.
pub(super) fn fail_overs(leads: &[(String, DateTime<Utc>)], deaths: &[Death]) -> Recoveries {
    let took = leads.windows(2).filter_map(|pair| {
        let ((former, since), (_, at)) = (&pair[0], &pair[1]);
        let death = deaths.iter().find(|death| death.process == *former && (since..=at).contains(&&death.at))?;
        (*at - death.at).to_std().ok()
    });
    let mut took: Vec<Duration> = took.collect();
    took.sort_unstable();
    Recoveries { took, ..Recoveries::default() }
}
