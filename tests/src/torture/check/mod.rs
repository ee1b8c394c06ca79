//! The invariants, checked from what observers wrote down. Knows nothing of processes, servers or the code under test.
//!
//! Everything comes in as it happened: [`Checker::transition`] for what the database's observer saw, in the order in which it
//! did; [`Checker::run`] and [`Checker::told`] for the journals of workers and enqueuers, [`Checker::asked`] and
//! [`Checker::lapsed`] for what workers say of their leases. What holds only in the end is checked in [`Checker::finish`].
//! Memory grows with open jobs and, by some hundred bytes, with ended ones.

mod events;
mod finish;
mod invariants;
mod recovery;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use self::recovery::{Lapses, TakeOver};
pub(super) use self::{
    events::{Told, Transition, What},
    finish::Verdict,
    invariants::Invariant,
};
use super::{
    chats::Chats,
    jobs::{self, Fate},
    report,
};

/// How many examples of each violation are kept.
const EXAMPLES: usize = 5;
/// How many transitions of a job an example has.
const TRAIL: usize = 12;
/// How early a job may start: clocks of two programs are read one after the other.
const EARLY: TimeDelta = TimeDelta::milliseconds(50);

/// Who has a job.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    lease: Uuid,
    process: String,
    since: DateTime<Utc>,
}

#[derive(Debug)]
struct Open {
    name: String,
    unique: Option<(Uuid, String, String)>,
    due: DateTime<Utc>,
    max_attempts: i32,
    attempts: i32,
    holder: Option<Holder>,
    leases: HashSet<Uuid>,
    is_dead: bool,
    is_deleted: bool,
    effects: u32,
    /// Its latest transitions, for examples.
    trail: Vec<String>,
}

impl Open {
    fn remember(&mut self, t: &Transition) {
        if self.trail.len() == TRAIL {
            self.trail.remove(0);
        }
        let lease = t.holder.map(|lease| lease.to_string()[..8].to_owned()).unwrap_or_default();
        self.trail.push(format!("{} {:?} {lease} {}", t.at.format("%T%.3f"), t.event, t.process));
    }
}

/// What is remembered of a job that has ended.
#[derive(Debug, Clone, Copy)]
struct Ended {
    is_done: bool,
    is_observed: bool,
    effects: u32,
    max_attempts: i32,
}

#[derive(Debug, Default)]
struct LineTicks {
    seen: BTreeSet<i64>,
}

/// How a kind of job came out.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Outcomes {
    pub(super) enqueued: u64,
    pub(super) done: u64,
    pub(super) dead: u64,
    /// Cancelled, or discarded as a dead letter.
    pub(super) put_away: u64,
    pub(super) open: u64,
}

/// How often an invariant was violated, with examples.
#[derive(Debug, Clone, Default)]
pub(super) struct Violations {
    pub(super) count: u64,
    pub(super) examples: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Checker {
    violations: BTreeMap<Invariant, Violations>,
    open: HashMap<Uuid, Open>,
    ended: HashMap<Uuid, Ended>,
    keys: HashMap<Uuid, Uuid>,
    unique: HashMap<(Uuid, String, String), Uuid>,
    take_overs: Vec<TakeOver>,
    lapses: Lapses,
    by_kind: BTreeMap<String, Outcomes>,
    lines: BTreeMap<String, LineTicks>,
    leader: Option<(i64, String)>,
    /// Who led, and since when.
    leads: Vec<(String, DateTime<Utc>)>,
    attempts: u64,
    runs: u64,
    doubled: u64,
    stale_commits: u64,
    given_up: u64,
    finished_at: Option<DateTime<Utc>>,
    longest_stall: TimeDelta,
    /// Of each job that ran, the highest attempt.
    ran: HashMap<Uuid, i32>,
    told: Vec<Told>,
    pub(super) chats: Chats,
}

impl Checker {
    pub(super) fn violated(&mut self, invariant: Invariant, example: impl Into<String>) {
        let violations = self.violations.entry(invariant).or_default();
        violations.count += 1;
        if violations.examples.len() < EXAMPLES {
            let example = example.into();
            report::say(&format!("VIOLATED: {}: {example}", invariant.text()));
            violations.examples.push(example);
        }
    }

    /// How many jobs were enqueued so far, ended and are open.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.ended.len(), self.open.values().filter(|open| !open.is_dead).count())
    }

    /// How many jobs have come to an end, dead letters included.
    pub(super) fn finished(&self) -> u64 {
        (self.ended.len() + self.open.values().filter(|open| open.is_dead).count()) as u64
    }

    pub(super) fn has_violations(&self) -> bool {
        !self.violations.is_empty()
    }

    /// Something happened in the database.
    pub(super) fn transition(&mut self, t: Transition) {
        match t.event {
            What::Ticked => return self.ticked(&t),
            What::Led => return self.led(t),
            What::Enqueued => return self.enqueued(t),
            _ => {}
        }
        let id = t.job.unwrap_or_default();
        let Some(open) = self.open.get_mut(&id) else {
            if t.event == What::Effect
                && let Some(ended) = self.ended.get_mut(&id)
            {
                ended.effects += 1;
                let effects = ended.effects;
                self.check_effects(id, effects);
                return;
            }
            let ended = if self.ended.contains_key(&id) { "has ended" } else { "was never enqueued" };
            self.violated(
                Invariant::OneEnd,
                format!("{id} {:?} by {} at {}, but it {ended}", t.event, t.process, t.at),
            );
            return;
        };
        open.remember(&t);
        match t.event {
            What::Started => self.started(id, t),
            What::Effect => {
                open.effects += 1;
                let effects = open.effects;
                self.check_effects(id, effects);
            }
            What::HandedBack | What::Released | What::Dead | What::Deleted => self.let_go(id, &t),
            What::Revived => {
                open.is_dead = false;
                open.attempts = 0;
                let unique = open.unique.clone();
                self.take_unique_key(id, unique, t.at);
            }
            What::Finished => self.ended(id, &t),
            What::Enqueued | What::Ticked | What::Led => {}
        }
    }

    fn enqueued(&mut self, t: Transition) {
        let (Some(id), Some(name), Some(due)) = (t.job, t.name, t.due) else { return };
        if self.open.contains_key(&id) || self.ended.contains_key(&id) {
            self.violated(Invariant::OneEnd, format!("{id} was enqueued twice"));
        }
        if let Some(key) = t.key {
            self.keys.insert(key, id);
        }
        let unique = t.tenant.zip(t.unique_key).map(|(tenant, key)| (tenant, name.clone(), key));
        self.by_kind.entry(name.clone()).or_default().enqueued += 1;
        self.take_unique_key(id, unique.clone(), t.at);
        let open = Open {
            name,
            unique,
            due,
            max_attempts: t.max_attempts.unwrap_or_default(),
            attempts: 0,
            holder: None,
            leases: HashSet::new(),
            is_dead: false,
            is_deleted: false,
            effects: 0,
            trail: Vec::new(),
        };
        self.open.insert(id, open);
    }

    fn take_unique_key(&mut self, id: Uuid, unique: Option<(Uuid, String, String)>, at: DateTime<Utc>) {
        let Some(unique) = unique else { return };
        let text = format!("{} {}", unique.1, unique.2);
        if let Some(other) = self.unique.insert(unique, id)
            && other != id
        {
            self.violated(Invariant::Unique, format!("{id} has the key {text} of {other} at {at}"));
        }
    }

    fn started(&mut self, id: Uuid, t: Transition) {
        self.attempts += 1;
        let Some(open) = self.open.get_mut(&id) else { return };
        let mut found = Vec::new();
        let lease = t.holder.unwrap_or_default();
        if open.is_dead || open.is_deleted {
            found.push((Invariant::OneEnd, "was started after its end".to_owned()));
        }
        if !open.leases.insert(lease) {
            found.push((Invariant::OneHolder, format!("was started twice under the lease {lease}")));
        }
        if t.at < open.due - EARLY {
            found.push((Invariant::Bounded, format!("was due at {} and started at {}", open.due, t.at)));
        }
        open.attempts = t.attempts.unwrap_or_default();
        if let Some(before) = &open.holder
            && before.process != t.process
        {
            let from = before.process.clone();
            let (name, by, held_since) = (open.name.clone(), t.process.clone(), before.since);
            self.take_overs.push(TakeOver { job: id, name, from, by, at: t.at, held_since });
        }
        open.holder = Some(Holder { lease, process: t.process, since: t.at });
        let trail = open.trail.join(", ");
        for (invariant, example) in found {
            self.violated(invariant, format!("{id} {example} ({trail})"));
        }
    }

    /// Its holder says that the attempt is over.
    fn let_go(&mut self, id: Uuid, t: &Transition) {
        let Some(open) = self.open.get_mut(&id) else { return };
        let holder = open.holder.take();
        match t.event {
            What::Dead => {
                open.is_dead = true;
                open.attempts = t.attempts.unwrap_or(open.attempts);
            }
            What::Deleted => open.is_deleted = true,
            _ => {}
        }
        let has_ended = matches!(t.event, What::Dead | What::Deleted);
        if has_ended
            && let Some(unique) = open.unique.clone()
            && self.unique.get(&unique) == Some(&id)
        {
            self.unique.remove(&unique);
        }
        // Operators may put dead letters and idle jobs away, and nothing else.
        if has_ended && holder.is_none() && t.process.starts_with("operator") {
            return;
        }
        let is_holders =
            holder.as_ref().is_some_and(|holder| holder.process == t.process && Some(holder.lease) == t.holder);
        if !is_holders {
            self.stale_commits += 1;
            let latest = holder.map_or("nobody".to_owned(), |h| format!("{} under {}", h.process, h.lease));
            let trail = open.trail.join(", ");
            self.violated(Invariant::Fence, format!("{id} was held by {latest} ({trail})"));
        }
    }

    fn ended(&mut self, id: Uuid, t: &Transition) {
        let Some(open) = self.open.remove(&id) else { return };
        if !open.is_deleted {
            self.violated(Invariant::OneEnd, format!("{id} is finished, but its row is still there"));
        }
        let is_done = t.outcome.as_deref() == Some("done");
        let is_observed = jobs::is_observed(&open.name);
        if is_done {
            let since = self.finished_at.replace(t.at).unwrap_or(t.at);
            self.longest_stall = self.longest_stall.max(t.at - since);
            self.by_kind.entry(open.name.clone()).or_default().done += 1;
            if jobs::expected(&open.name) != Fate::Done {
                self.violated(Invariant::OneEnd, format!("{id} ({}) is done, which it can't be", open.name));
            }
            if open.effects == 0 && is_observed {
                self.violated(Invariant::OneEffect, format!("{id} ({}) is done without an effect", open.name));
            }
        } else {
            self.by_kind.entry(open.name.clone()).or_default().put_away += 1;
        }
        let Open { effects, max_attempts, .. } = open;
        self.ended.insert(id, Ended { is_done, is_observed, effects, max_attempts });
    }

    fn check_effects(&mut self, id: Uuid, effects: u32) {
        if effects > 1 {
            self.doubled += 1;
            self.violated(Invariant::OneEffect, format!("{id} had its effect {effects} times"));
        }
    }

    fn led(&mut self, t: Transition) {
        let epoch = t.epoch.unwrap_or_default();
        self.leads.push((t.process.clone(), t.at));
        if let Some((before, _)) = &self.leader
            && epoch <= *before
        {
            let example = format!("the epoch {epoch} of {} came after {before}", t.process);
            self.violated(Invariant::Epochs, example);
        }
        self.leader = Some((epoch, t.process));
    }

    fn ticked(&mut self, t: &Transition) {
        let (Some(line), Some(due)) = (&t.name, t.due) else { return };
        if !self.lines.entry(line.clone()).or_default().seen.insert(due.timestamp()) {
            self.violated(Invariant::Ticks, format!("{line} ticked twice for {due}"));
        }
        let leader = self.leader.as_ref().map_or("", |(_, process)| process.as_str());
        if leader != t.process {
            let example = format!("{line} {due} was made by {} while {leader} led", t.process);
            self.violated(Invariant::Epochs, example);
        }
    }

    /// A worker ran an attempt of a job.
    pub(super) fn run(&mut self, job: Uuid, attempt: i32) {
        self.runs += 1;
        let most = self.ran.entry(job).or_default();
        *most = attempt.max(*most);
    }

    /// A worker asked for jobs, to be held under a token.
    pub(super) fn asked(&mut self, token: Uuid, process: &str) {
        self.lapses.asked(token, process);
    }

    /// A job's lease ended, and it waits again.
    pub(super) fn lapsed(&mut self, job: Uuid, token: Uuid, at: DateTime<Utc>) {
        self.lapses.lapsed(job, token, at);
    }

    pub(super) fn told(&mut self, told: Told) {
        self.told.push(told);
    }
}
