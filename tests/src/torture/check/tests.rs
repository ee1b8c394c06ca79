//! The checker must find each violation in a history that has it, and none in one that has none.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{super::fleet::Death, Checker, Invariant, Told, Transition, Verdict, What};

fn second(number: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_780_000_000 + number, 0).unwrap()
}

const EVERY: &[(&str, i64)] = &[("line", 1)];

/// A history, written as it would be.
struct History {
    checker: Checker,
    now: DateTime<Utc>,
}

const JOB: Uuid = Uuid::from_u128(1);
const OTHER: Uuid = Uuid::from_u128(2);
const LEASE: Uuid = Uuid::from_u128(10);
const NEXT_LEASE: Uuid = Uuid::from_u128(11);

impl History {
    fn new() -> Self {
        let mut history = Self { checker: Checker::default(), now: "2026-06-01T12:00:00Z".parse().unwrap() };
        history.led("scheduler-0", 1).ticked("scheduler-0", 0);
        history
    }

    fn add(&mut self, process: &str, event: What, change: impl FnOnce(&mut Transition)) -> &mut Self {
        self.now += TimeDelta::milliseconds(10);
        let mut transition = Transition {
            at: self.now,
            process: process.to_owned(),
            event,
            job: None,
            tenant: None,
            name: None,
            unique_key: None,
            key: None,
            holder: None,
            attempts: None,
            max_attempts: None,
            due: None,
            epoch: None,
            outcome: None,
        };
        change(&mut transition);
        self.checker.transition(transition);
        self
    }

    fn enqueued_as(&mut self, job: Uuid, name: &str, unique_key: Option<&str>) -> &mut Self {
        let due = self.now;
        self.add("enqueuer", What::Enqueued, |t| {
            t.job = Some(job);
            t.tenant = Some(Uuid::nil());
            t.name = Some(name.to_owned());
            t.unique_key = unique_key.map(str::to_owned);
            t.key = Some(Uuid::from_u128(job.as_u128() + 100));
            t.max_attempts = Some(3);
            t.due = Some(due);
        })
    }

    fn enqueued(&mut self, job: Uuid) -> &mut Self {
        self.enqueued_as(job, "fast", None)
    }

    fn started(&mut self, process: &str, job: Uuid, lease: Uuid, attempts: i32) -> &mut Self {
        self.checker.run(job, attempts);
        self.add(process, What::Started, |t| {
            t.job = Some(job);
            t.holder = Some(lease);
            t.attempts = Some(attempts);
        })
    }

    fn effect(&mut self, process: &str, job: Uuid) -> &mut Self {
        self.add(process, What::Effect, |t| t.job = Some(job))
    }

    fn let_go(&mut self, process: &str, event: What, job: Uuid, lease: Uuid, attempts: i32) -> &mut Self {
        self.add(process, event, |t| {
            t.job = Some(job);
            t.holder = Some(lease);
            t.attempts = Some(attempts);
        })
    }

    fn finished(&mut self, process: &str, job: Uuid, lease: Uuid) -> &mut Self {
        self.let_go(process, What::Deleted, job, lease, 1).add(process, What::Finished, |t| {
            t.job = Some(job);
            t.outcome = Some("done".to_owned());
        })
    }

    /// From its start to its end, as it should be.
    fn done(&mut self, process: &str, job: Uuid, lease: Uuid) -> &mut Self {
        self.started(process, job, lease, 1).effect(process, job).finished(process, job, lease)
    }

    fn dead(&mut self, process: &str, job: Uuid, lease: Uuid, attempts: i32) -> &mut Self {
        self.started(process, job, lease, attempts).let_go(process, What::Dead, job, lease, attempts)
    }

    fn led(&mut self, process: &str, epoch: i64) -> &mut Self {
        self.add(process, What::Led, |t| t.epoch = Some(epoch))
    }

    fn ticked(&mut self, process: &str, second: i64) -> &mut Self {
        self.add(process, What::Ticked, |t| {
            t.name = Some("line".to_owned());
            t.due = Some(self::second(second));
        })
    }

    fn told(&mut self, told: Told) -> &mut Self {
        self.checker.told(told);
        self
    }

    fn finish(self) -> Verdict {
        self.checker.finish(&[], &[], EVERY, second(0))
    }
}

/// What is found in a history.
fn found(write: impl FnOnce(&mut History)) -> Vec<Invariant> {
    let mut history = History::new();
    write(&mut history);
    history.finish().violations.into_keys().collect()
}

#[test]
fn a_history_as_it_should_be_holds() {
    let found = found(|history| {
        history
            .enqueued(JOB)
            .started("worker-0", JOB, LEASE, 1)
            .let_go("worker-0", What::HandedBack, JOB, LEASE, 0)
            .done("worker-1", JOB, NEXT_LEASE)
            .told(Told::Job(JOB))
            .told(Told::Key(Uuid::from_u128(101)))
            .told(Told::NoJob(Uuid::from_u128(7)))
            .enqueued_as(OTHER, "killer", Some("key"))
            .dead("worker-1", OTHER, LEASE, 3)
            .enqueued_as(Uuid::from_u128(3), "single", Some("key"))
            .done("worker-1", Uuid::from_u128(3), LEASE)
            .ticked("scheduler-0", 1)
            .led("scheduler-1", 2)
            .ticked("scheduler-1", 2);
    });
    assert_eq!(found, []);
}

#[test]
fn an_acknowledged_job_that_is_nowhere_is_lost() {
    assert_eq!(
        found(|history| {
            history.told(Told::Job(JOB));
        }),
        [Invariant::Lost]
    );
    assert_eq!(
        found(|history| {
            history.told(Told::Key(JOB));
        }),
        [Invariant::Lost]
    );
}

#[test]
fn a_job_that_never_ends_is_lost_and_stuck() {
    let mut history = History::new();
    history.enqueued(JOB).started("worker-0", JOB, LEASE, 1).told(Told::Job(JOB));
    let verdict = history.finish();
    assert!(verdict.violations.contains_key(&Invariant::Lost) && verdict.violations.contains_key(&Invariant::OneEnd));
    assert_eq!((verdict.stuck, verdict.lost), (1, 1));
}

#[test]
fn a_job_of_a_transaction_that_was_rolled_back_must_not_exist_or_run() {
    let rolled_back = |history: &mut History| {
        history.enqueued(JOB).done("worker-0", JOB, LEASE).told(Told::NoJob(JOB));
    };
    assert_eq!(found(rolled_back), [Invariant::Lost]);
    assert_eq!(found(|history| history.checker.run(OTHER, 1)), [Invariant::Lost]);
}

#[test]
fn a_second_end_is_found() {
    let twice = |history: &mut History| {
        history.enqueued(JOB).done("worker-0", JOB, LEASE).finished("worker-0", JOB, LEASE);
    };
    assert_eq!(found(twice), [Invariant::OneEnd]);
    let again = |history: &mut History| {
        history.enqueued(JOB).done("worker-0", JOB, LEASE).started("worker-1", JOB, NEXT_LEASE, 2);
    };
    assert_eq!(found(again), [Invariant::OneEnd]);
}

#[test]
fn an_end_that_the_kind_of_job_can_not_have_is_found() {
    let done = |history: &mut History| {
        history.enqueued_as(JOB, "hopeless", None).done("worker-0", JOB, LEASE);
    };
    assert_eq!(found(done), [Invariant::OneEnd]);
    let dead = |history: &mut History| {
        history.enqueued(JOB).dead("worker-0", JOB, LEASE, 1);
    };
    assert_eq!(found(dead), [Invariant::OneEnd]);
}

#[test]
fn a_second_effect_and_a_missing_one_are_found() {
    let mut history = History::new();
    history.enqueued(JOB).started("worker-0", JOB, LEASE, 1).effect("worker-0", JOB).effect("worker-0", JOB);
    history.finished("worker-0", JOB, LEASE);
    let verdict = history.finish();
    assert_eq!(verdict.doubled, 1);
    assert_eq!(verdict.violations.into_keys().collect::<Vec<_>>(), [Invariant::OneEffect]);
    let late = |history: &mut History| {
        history.enqueued(JOB).done("worker-0", JOB, LEASE).effect("worker-1", JOB);
    };
    assert_eq!(found(late), [Invariant::OneEffect]);
    let without = |history: &mut History| {
        history.enqueued(JOB).started("worker-0", JOB, LEASE, 1).finished("worker-0", JOB, LEASE);
    };
    assert_eq!(found(without), [Invariant::OneEffect]);
}

#[test]
fn an_end_by_a_former_holder_is_a_stale_commit() {
    let mut history = History::new();
    history.enqueued(JOB).started("worker-0", JOB, LEASE, 1).started("worker-1", JOB, NEXT_LEASE, 2);
    history.effect("worker-0", JOB).finished("worker-0", JOB, LEASE);
    let verdict = history.finish();
    assert_eq!(verdict.stale_commits, 1);
    assert_eq!(verdict.violations.into_keys().collect::<Vec<_>>(), [Invariant::Fence]);
    // Also when the process is the same and only the lease is old, and for failing and handing back.
    for event in [What::Released, What::HandedBack] {
        let stale = |history: &mut History| {
            history.enqueued(JOB).started("worker-0", JOB, LEASE, 1).started("worker-0", JOB, NEXT_LEASE, 2);
            history.let_go("worker-0", event, JOB, LEASE, 1).done("worker-1", JOB, Uuid::from_u128(12));
        };
        assert_eq!(found(stale), [Invariant::Fence]);
    }
    let by_an_operator = |history: &mut History| {
        history.enqueued(JOB).started("worker-0", JOB, LEASE, 1).effect("worker-0", JOB).finished(
            "operator-0",
            JOB,
            LEASE,
        );
    };
    assert_eq!(found(by_an_operator), [Invariant::Fence]);
}

#[test]
fn a_lease_that_begins_twice_is_found() {
    let twice = |history: &mut History| {
        history.enqueued(JOB).started("worker-0", JOB, LEASE, 1).started("worker-1", JOB, LEASE, 2);
        history.effect("worker-1", JOB).finished("worker-1", JOB, LEASE);
    };
    assert_eq!(found(twice), [Invariant::OneHolder]);
}

#[test]
fn two_open_jobs_of_a_unique_key_are_found() {
    let both = |history: &mut History| {
        history.enqueued_as(JOB, "single", Some("key")).enqueued_as(OTHER, "single", Some("key"));
        history.done("worker-0", JOB, LEASE).done("worker-0", OTHER, LEASE);
    };
    assert_eq!(found(both), [Invariant::Unique]);
    let revived = |history: &mut History| {
        history.enqueued_as(JOB, "contested", Some("key")).dead("worker-0", JOB, LEASE, 3);
        history.enqueued_as(OTHER, "contested", Some("key")).add("operator-0", What::Revived, |t| t.job = Some(JOB));
        history.dead("worker-0", JOB, NEXT_LEASE, 3).dead("worker-0", OTHER, LEASE, 3);
    };
    assert_eq!(found(revived), [Invariant::Unique]);
}

#[test]
fn ticks_that_are_missing_or_made_twice_are_found() {
    let missing = |history: &mut History| {
        history.ticked("scheduler-0", 2);
    };
    assert_eq!(found(missing), [Invariant::Ticks]);
    let twice = |history: &mut History| {
        history.ticked("scheduler-0", 0);
    };
    assert_eq!(found(twice), [Invariant::Ticks]);
    let mut late = History::new();
    late.ticked("scheduler-0", 1);
    assert!(late.checker.finish(&[], &[], EVERY, second(60)).violations.contains_key(&Invariant::Ticks), "no more");
    assert!(
        Checker::default().finish(&[], &[], EVERY, second(0)).violations.contains_key(&Invariant::Ticks),
        "none at all"
    );
}

#[test]
fn ticks_of_a_former_leader_and_epochs_that_go_back_are_found() {
    let former = |history: &mut History| {
        history.led("scheduler-1", 2).ticked("scheduler-0", 1);
    };
    assert_eq!(found(former), [Invariant::Epochs]);
    let back = |history: &mut History| {
        history.led("scheduler-1", 3).led("scheduler-2", 2);
    };
    assert_eq!(found(back), [Invariant::Epochs]);
}

#[test]
fn attempts_beyond_all_bounds_are_found() {
    let many = |history: &mut History| {
        history.enqueued(JOB);
        for (attempt, lease) in (1..=5).zip(21..) {
            history.started("worker-0", JOB, Uuid::from_u128(lease), attempt);
        }
        history.effect("worker-0", JOB).finished("worker-0", JOB, Uuid::from_u128(25));
    };
    assert_eq!(found(many), [Invariant::Bounded]);
    let few = |history: &mut History| {
        history.enqueued_as(JOB, "killer", None).dead("worker-0", JOB, LEASE, 2);
    };
    assert_eq!(found(few), [Invariant::Bounded]);
}

#[test]
fn a_job_that_starts_before_it_is_due_is_found() {
    let early = |history: &mut History| {
        history.now += TimeDelta::seconds(1);
        history.enqueued(JOB);
        history.now -= TimeDelta::seconds(1);
        history.done("worker-0", JOB, LEASE);
    };
    assert_eq!(found(early), [Invariant::Bounded]);
}

#[test]
fn recovery_is_from_the_death_of_the_holder_to_the_next_start() {
    let mut history = History::new();
    history.enqueued(JOB).started("worker-0", JOB, LEASE, 1).enqueued(OTHER).started("worker-0", OTHER, LEASE, 1);
    let died = history.now;
    let death = Death { process: "worker-0".to_owned(), at: died, was_killed: true };
    history.now = died + TimeDelta::milliseconds(2990);
    history.started("worker-1", JOB, NEXT_LEASE, 2).effect("worker-1", JOB).finished("worker-1", JOB, NEXT_LEASE);
    history.now = died + TimeDelta::milliseconds(6990);
    history.started("worker-1", OTHER, NEXT_LEASE, 2).effect("worker-1", OTHER).finished("worker-1", OTHER, NEXT_LEASE);
    let disturbed = [(died + TimeDelta::seconds(5), died + TimeDelta::seconds(6))];
    let verdict = history.checker.finish(&[death], &disturbed, EVERY, second(0));
    assert!(verdict.violations.is_empty());
    assert_eq!((verdict.recoveries.count(), verdict.calm_recoveries.count()), (2, 1));
    let seconds = |seconds: u64| Duration::from_secs(seconds).as_secs_f64();
    assert!((verdict.recoveries.percentile(100) - seconds(7)).abs() < 0.001);
    assert!((verdict.recoveries.percentile(50) - seconds(3)).abs() < 0.001);
    assert!((verdict.calm_recoveries.percentile(99) - seconds(3)).abs() < 0.001);
}

#[test]
fn recovery_is_from_the_death_of_the_last_holder_even_if_it_died_before_it_began_the_job() {
    let mut history = History::new();
    history.enqueued(JOB).started("worker-0", JOB, LEASE, 1);
    let first = history.now;
    let unrecorded = Uuid::from_u128(12);
    let second = first + TimeDelta::seconds(4);
    history.checker.asked(LEASE, "worker-0");
    history.checker.lapsed(JOB, LEASE, first + TimeDelta::seconds(3));
    history.checker.asked(unrecorded, "worker-2");
    history.checker.lapsed(JOB, unrecorded, first + TimeDelta::seconds(7));
    history.now = second + TimeDelta::milliseconds(3490);
    history.done("worker-1", JOB, NEXT_LEASE);
    let death = |process: &str, at| Death { process: process.to_owned(), at, was_killed: true };
    let deaths = [death("worker-0", first), death("worker-2", second)];
    let verdict = history.checker.finish(&deaths, &[], EVERY, self::second(0));
    assert_eq!((verdict.recoveries.count(), verdict.recoveries.died_again), (1, 1));
    assert!((verdict.recoveries.percentile(100) - 3.5).abs() < 0.001);
}
