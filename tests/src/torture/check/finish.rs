//! What holds only in the end.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    super::{
        fleet::Death,
        jobs::{self, Fate},
    },
    Checker, Invariant, Open, Outcomes, Told, Violations,
    recovery::{Recoveries, fail_overs, recoveries},
};

/// How late a tick may be made when there are schedulers and no faults.
const LATE: TimeDelta = TimeDelta::seconds(10);

/// Everything that was found.
#[derive(Debug)]
pub(in crate::torture) struct Verdict {
    pub(in crate::torture) violations: BTreeMap<Invariant, Violations>,
    pub(in crate::torture) by_kind: BTreeMap<String, Outcomes>,
    pub(in crate::torture) jobs: u64,
    pub(in crate::torture) lost: u64,
    pub(in crate::torture) doubled: u64,
    pub(in crate::torture) stale_commits: u64,
    pub(in crate::torture) stuck: u64,
    pub(in crate::torture) attempts: u64,
    pub(in crate::torture) runs: u64,
    pub(in crate::torture) taken_over: u64,
    pub(in crate::torture) given_up: u64,
    /// The longest time in which no job was done.
    pub(in crate::torture) longest_stall: Duration,
    pub(in crate::torture) ticks: u64,
    pub(in crate::torture) leaders: u64,
    pub(in crate::torture) fail_overs: Recoveries,
    pub(in crate::torture) recoveries: Recoveries,
    pub(in crate::torture) calm_recoveries: Recoveries,
    /// What came of the questions to the assistant.
    pub(in crate::torture) chats: String,
}

impl Checker {
    /// What holds only when everything has come to rest.
    ///
    /// `deaths` of processes and `disturbed` times are for how long recovery took; `every` is how many seconds lie between
    /// the due times of each line, `until` when there were schedulers.
    pub(in crate::torture) fn finish(
        mut self,
        deaths: &[Death],
        disturbed: &[(DateTime<Utc>, DateTime<Utc>)],
        every: &[(&str, i64)],
        until: DateTime<Utc>,
    ) -> Verdict {
        self.check_told();
        let stuck = self.check_open();
        self.check_runs();
        self.check_ticks(every, until);
        let (recoveries, calm_recoveries) = recoveries(&self.take_overs, &self.lapses, deaths, disturbed);
        let lost = self.violations.get(&Invariant::Lost).map_or(0, |violations| violations.count);
        Verdict {
            jobs: (self.open.len() + self.ended.len()) as u64,
            lost,
            doubled: self.doubled,
            stale_commits: self.stale_commits,
            stuck,
            attempts: self.attempts,
            runs: self.runs,
            taken_over: self.take_overs.len() as u64,
            given_up: self.given_up,
            longest_stall: self.longest_stall.to_std().unwrap_or_default(),
            ticks: self.lines.values().map(|line| line.seen.len() as u64).sum(),
            leaders: self.leads.len() as u64,
            fail_overs: fail_overs(&self.leads, deaths),
            recoveries,
            calm_recoveries,
            chats: self.chats.summary(),
            violations: self.violations,
            by_kind: self.by_kind,
        }
    }

    fn check_told(&mut self) {
        for told in std::mem::take(&mut self.told) {
            let exists = |id: &Uuid| self.open.contains_key(id) || self.ended.contains_key(id);
            let has_key = |key: &Uuid| self.keys.contains_key(key);
            let problem = match told {
                Told::Job(id) if !exists(&id) => format!("{id} was acknowledged, but is nowhere"),
                Told::Key(key) if !has_key(&key) => {
                    format!("enqueueing {key} was acknowledged, but its job is nowhere")
                }
                Told::NoJob(id) if exists(&id) => format!("{id} exists, but its transaction was rolled back"),
                Told::NoKey(key) if has_key(&key) => format!("the job of {key} exists, but was rolled back"),
                _ => continue,
            };
            self.violated(Invariant::Lost, problem);
        }
    }

    /// Dead letters stay open; everything else must have ended.
    fn check_open(&mut self) -> u64 {
        let mut stuck = 0;
        let mut found = Vec::new();
        for (id, open) in &self.open {
            let outcomes = self.by_kind.entry(open.name.clone()).or_default();
            if !open.is_dead {
                stuck += 1;
                outcomes.open += 1;
                let holder = open.holder.as_ref().map_or("nobody", |holder| holder.process.as_str());
                let (name, trail) = (&open.name, open.trail.join(", "));
                let example = format!("{id} ({name}) has not ended, held by {holder} ({trail})");
                found.push((Invariant::Lost, example.clone()));
                found.push((Invariant::OneEnd, example));
                continue;
            }
            outcomes.dead += 1;
            let Open { name, attempts, max_attempts, .. } = open;
            match jobs::expected(name) {
                Fate::Done if attempts >= max_attempts => self.given_up += 1,
                Fate::Done => {
                    found.push((Invariant::OneEnd, format!("{id} ({name}) is dead after {attempts} attempts")));
                }
                Fate::DeadAfterAll if attempts != max_attempts => {
                    found.push((
                        Invariant::Bounded,
                        format!("{id} ({name}) is dead after {attempts} of {max_attempts}"),
                    ));
                }
                Fate::Dead | Fate::DeadAfterAll => {}
            }
        }
        for (invariant, example) in found {
            self.violated(invariant, example);
        }
        stuck
    }

    fn check_runs(&mut self) {
        let mut found = Vec::new();
        for (id, ended) in &self.ended {
            if ended.is_done && ended.is_observed && !self.ran.contains_key(id) {
                found.push((Invariant::OneEffect, format!("{id} is done, but no worker ran it")));
            }
        }
        for (id, attempt) in &self.ran {
            let max_attempts = match (self.open.get(id), self.ended.get(id)) {
                (Some(open), _) => open.max_attempts,
                (None, Some(ended)) => ended.max_attempts,
                (None, None) => {
                    found.push((Invariant::Lost, format!("{id} ran, but was never enqueued")));
                    continue;
                }
            };
            // An attempt beyond the last is begun only to be recorded as none, and again while that fails.
            if *attempt > max_attempts {
                found.push((Invariant::Bounded, format!("{id} ran its attempt {attempt} of {max_attempts}")));
            }
        }
        for (invariant, example) in found {
            self.violated(invariant, example);
        }
    }

    fn check_ticks(&mut self, every: &[(&str, i64)], until: DateTime<Utc>) {
        for (line, step) in every {
            let seen = self.lines.get(*line).map(|line| line.seen.clone()).unwrap_or_default();
            let (Some(first), Some(last)) = (seen.first(), seen.last()) else {
                self.violated(Invariant::Ticks, format!("{line} never ticked"));
                continue;
            };
            if *last < (until - LATE).timestamp() {
                self.violated(Invariant::Ticks, format!("{line} has not ticked since {last}, until {until}"));
            }
            let due = (last - first) / step + 1;
            let missing: Vec<i64> = (0..due).map(|n| first + n * step).filter(|at| !seen.contains(at)).collect();
            if !missing.is_empty() {
                let mut text = String::new();
                for at in missing.iter().take(3) {
                    let _ = write!(text, " {}", DateTime::from_timestamp(*at, 0).unwrap_or_default());
                }
                self.violated(Invariant::Ticks, format!("{line} missed {} of {due} ticks:{text} …", missing.len()));
            }
            for extra in seen.iter().filter(|at| (*at - first) % step != 0) {
                self.violated(Invariant::Ticks, format!("{line} ticked at {extra}, when it was not due"));
            }
        }
    }
}
