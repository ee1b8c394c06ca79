//! The invariants, checked from what observers wrote down. Knows nothing of processes, servers or the code under test.
//!
//! Everything comes in as it happened: [`Checker::transition`] for what the database's observer saw, in the order in which it
//! did; [`Checker::run`] and [`Checker::told`] for the journals of workers and enqueuers. What holds only in the end is
//! checked in [`Checker::finish`]. Memory grows with open jobs and, by some hundred bytes, with ended ones.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    fmt::Write as _,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{
    fleet::Death,
    jobs::{self, Fate},
};

/// How many examples of each violation are kept.
const EXAMPLES: usize = 5;
/// How many transitions of a job an example has.
const TRAIL: usize = 12;
/// How early a job may start: clocks of two programs are read one after the other.
const EARLY: TimeDelta = TimeDelta::milliseconds(50);

/// How late a tick may be made when there are schedulers and no faults.
const LATE: TimeDelta = TimeDelta::seconds(10);

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Invariant {
    Lost,
    OneEnd,
    OneEffect,
    Fence,
    OneHolder,
    Unique,
    Ticks,
    Epochs,
    Bounded,
    Baseline,
}

impl Invariant {
    pub(super) const ALL: [Self; 10] = [
        Self::Lost,
        Self::OneEnd,
        Self::OneEffect,
        Self::Fence,
        Self::OneHolder,
        Self::Unique,
        Self::Ticks,
        Self::Epochs,
        Self::Bounded,
        Self::Baseline,
    ];

    pub(super) fn text(self) -> &'static str {
        match self {
            Self::Lost => "I1 no acknowledged job is lost, and none runs whose transaction was rolled back",
            Self::OneEnd => "I2 every job ends in exactly one terminal state, the one that its kind must come to",
            Self::OneEffect => "I3 one effect for each job that is done, none or one for others",
            Self::Fence => "I4 only the latest holder ends, fails or hands back a job",
            Self::OneHolder => "I5 a lease begins an attempt of a job once, and belongs to one process",
            Self::Unique => "I6 at most one open job of a tenant, name and unique key",
            Self::Ticks => "I7 every due time of every line ticks exactly once",
            Self::Epochs => "I8 only the leader of the present epoch makes ticks",
            Self::Bounded => "I11 attempts are bounded, also of jobs that kill their workers",
            Self::Baseline => "I12 after healing nothing is left behind",
        }
    }
}

/// What the observer in the database saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "snake_case")]
pub(super) enum What {
    Enqueued,
    Started,
    HandedBack,
    Released,
    Dead,
    Revived,
    Deleted,
    Finished,
    Effect,
    Ticked,
    Led,
}

/// A row of the history.
#[derive(Debug, Clone, sqlx::FromRow)]
pub(super) struct Transition {
    pub(super) at: DateTime<Utc>,
    pub(super) process: String,
    pub(super) event: What,
    pub(super) job: Option<Uuid>,
    pub(super) tenant: Option<Uuid>,
    pub(super) name: Option<String>,
    pub(super) unique_key: Option<String>,
    pub(super) key: Option<Uuid>,
    pub(super) holder: Option<Uuid>,
    pub(super) attempts: Option<i32>,
    pub(super) max_attempts: Option<i32>,
    pub(super) due: Option<DateTime<Utc>>,
    pub(super) epoch: Option<i64>,
    pub(super) outcome: Option<String>,
}

/// What an enqueuer says of its transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// It committed, and this job exists.
    Job(Uuid),
    /// It committed, and a job of this key exists.
    Key(Uuid),
    /// It rolled back.
    NoJob(Uuid),
    NoKey(Uuid),
}

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
    effects: u32,
    max_attempts: i32,
}

/// A job that another process began although its holder had not let go of it.
#[derive(Debug)]
struct TakeOver {
    job: Uuid,
    from: String,
    by: String,
    at: DateTime<Utc>,
    held_since: DateTime<Utc>,
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

/// How long jobs of killed processes waited for another, in order.
#[derive(Debug, Default)]
pub(super) struct Recoveries {
    took: Vec<Duration>,
    /// The slowest, in words.
    pub(super) slowest: Vec<String>,
}

impl Recoveries {
    pub(super) fn count(&self) -> usize {
        self.took.len()
    }

    /// In seconds; 0 when nothing was recovered.
    pub(super) fn percentile(&self, percent: usize) -> f64 {
        let place = (self.took.len() * percent).div_ceil(100).max(1) - 1;
        self.took.get(place).map_or(0.0, Duration::as_secs_f64)
    }
}

/// Everything that was found.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) violations: BTreeMap<Invariant, Violations>,
    pub(super) by_kind: BTreeMap<String, Outcomes>,
    pub(super) jobs: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) stale_commits: u64,
    pub(super) stuck: u64,
    pub(super) attempts: u64,
    pub(super) runs: u64,
    pub(super) taken_over: u64,
    pub(super) given_up: u64,
    /// The longest time in which no job was done.
    pub(super) longest_stall: Duration,
    pub(super) ticks: u64,
    pub(super) leaders: u64,
    pub(super) recoveries: Recoveries,
    pub(super) calm_recoveries: Recoveries,
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
    by_kind: BTreeMap<String, Outcomes>,
    lines: BTreeMap<String, LineTicks>,
    leader: Option<(i64, String)>,
    leaders: u64,
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
}

impl Checker {
    pub(super) fn violated(&mut self, invariant: Invariant, example: impl Into<String>) {
        let violations = self.violations.entry(invariant).or_default();
        violations.count += 1;
        if violations.examples.len() < EXAMPLES {
            violations.examples.push(example.into());
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
            self.take_overs.push(TakeOver { job: id, by: t.process.clone(), from, at: t.at, held_since: before.since });
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
        if is_done {
            let since = self.finished_at.replace(t.at).unwrap_or(t.at);
            self.longest_stall = self.longest_stall.max(t.at - since);
            self.by_kind.entry(open.name.clone()).or_default().done += 1;
            if jobs::expected(&open.name) != Fate::Done {
                self.violated(Invariant::OneEnd, format!("{id} ({}) is done, which it can't be", open.name));
            }
            if open.effects == 0 {
                self.violated(Invariant::OneEffect, format!("{id} ({}) is done without an effect", open.name));
            }
        } else {
            self.by_kind.entry(open.name.clone()).or_default().put_away += 1;
        }
        let Open { effects, max_attempts, .. } = open;
        self.ended.insert(id, Ended { is_done, effects, max_attempts });
    }

    fn check_effects(&mut self, id: Uuid, effects: u32) {
        if effects > 1 {
            self.doubled += 1;
            self.violated(Invariant::OneEffect, format!("{id} had its effect {effects} times"));
        }
    }

    fn led(&mut self, t: Transition) {
        let epoch = t.epoch.unwrap_or_default();
        self.leaders += 1;
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

    pub(super) fn told(&mut self, told: Told) {
        self.told.push(told);
    }

    /// What holds only when everything has come to rest.
    ///
    /// `deaths` of processes and `disturbed` times are for how long recovery took; `every` is how many seconds lie between
    /// the due times of each line, `until` when there were schedulers.
    pub(super) fn finish(
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
        let (recoveries, calm_recoveries) = recoveries(&self.take_overs, deaths, disturbed);
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
            leaders: self.leaders,
            recoveries,
            calm_recoveries,
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
            if ended.is_done && !self.ran.contains_key(id) {
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

/// From a process's death to when its jobs were begun again: all, and those between which nothing disturbed the servers.
fn recoveries(
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

impl Recoveries {
    fn new(mut all: Vec<(Duration, &TakeOver)>) -> Self {
        all.sort_unstable_by_key(|(took, _)| *took);
        let in_words = |(took, t): &(Duration, &TakeOver)| {
            format!("{:.2} s: {} from {} to {} at {}", took.as_secs_f64(), t.job, t.from, t.by, t.at)
        };
        let slowest = all.iter().rev().take(EXAMPLES).map(in_words).collect();
        Self { took: all.into_iter().map(|(took, _)| took).collect(), slowest }
    }
}
