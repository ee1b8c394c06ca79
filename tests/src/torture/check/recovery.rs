//! How long jobs of killed processes waited for another process.

use std::{collections::HashMap, time::Duration};

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{super::fleet::Death, EXAMPLES};

/// A job that another process began although its holder had not let go of it.
#[derive(Debug)]
pub(super) struct TakeOver {
    pub(super) job: Uuid,
    pub(super) from: String,
    pub(super) by: String,
    pub(super) at: DateTime<Utc>,
    pub(super) held_since: DateTime<Utc>,
}

/// How long something of killed processes waited for another process, in order.
#[derive(Debug, Default)]
pub(in crate::torture) struct Recoveries {
    took: Vec<Duration>,
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

    fn new(mut all: Vec<(Duration, &TakeOver)>) -> Self {
        all.sort_unstable_by_key(|(took, _)| *took);
        let in_words = |(took, t): &(Duration, &TakeOver)| {
            format!("{:.2} s: {} from {} to {} at {}", took.as_secs_f64(), t.job, t.from, t.by, t.at)
        };
        let slowest = all.iter().rev().take(EXAMPLES).map(in_words).collect();
        Self { took: all.into_iter().map(|(took, _)| took).collect(), slowest }
    }
}

/// From a process's death to when its jobs were begun again: all, and those between which nothing disturbed the servers.
pub(super) fn recoveries(
    take_overs: &[TakeOver],
    deaths: &[Death],
    disturbed: &[(DateTime<Utc>, DateTime<Utc>)],
) -> (Recoveries, Recoveries) {
    let deaths: HashMap<&str, DateTime<Utc>> = deaths.iter().map(|death| (death.process.as_str(), death.at)).collect();
    let (mut all, mut calm) = (Vec::new(), Vec::new());
    for take_over in take_overs {
        let TakeOver { from, at, held_since, .. } = take_over;
        let Some(died) = deaths.get(from.as_str()).filter(|died| *died <= at && held_since <= died) else { continue };
        let took = (*at - *died).to_std().unwrap_or_default();
        all.push((took, take_over));
        if !disturbed.iter().any(|(begin, end)| begin <= at && died <= end) {
            calm.push((took, take_over));
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
    Recoveries { took, slowest: Vec::new() }
}
