//! Workers that die, sleep or lose a lease.

use std::time::{Duration, Instant};

use shared::queue::JobError;

use super::support::{Doomed, Gate, History, Persistent, QueueTest, Step, eventually, once_each};

/// Short, so that tests need not wait; long enough for live workers of a busy machine to renew it.
const LEASE: Duration = Duration::from_secs(2);

#[tokio::test]
async fn the_jobs_of_a_worker_that_vanishes_are_taken_over_and_the_crash_counts_as_an_attempt() {
    let test = QueueTest::with_lease(LEASE).await;
    let (history, gate) = (History::default(), Gate::closed());
    let keys = ["one", "two", "three"];
    for key in keys {
        test.enqueue(&Step::new(key)).await;
    }
    let doomed = Doomed::start(&test.app, history.waiting_at(&gate));
    eventually("all jobs run", async || (history.attempts() == 3).then_some(())).await;
    doomed.vanish();
    let vanished = Instant::now();
    test.finish(history.succeeding()).await;
    let taken = vanished.elapsed();
    assert!(taken < LEASE + Duration::from_secs(5), "took {taken:?}");
    assert_eq!(history.finished(), once_each(keys));
    for key in keys {
        assert_eq!(history.started(key), [1, 2]);
    }
    assert_eq!(test.depths().await, (0, 0, 0));
}

#[tokio::test]
async fn a_job_that_always_loses_its_worker_ends_as_a_dead_letter() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let (history, gate) = (History::default(), Gate::closed());
    let id = test.enqueue(&Step::new("deadly")).await.uuid();
    for attempt in 1..=3 {
        let doomed = Doomed::start(&test.app, history.waiting_at(&gate));
        eventually("the next attempt runs", async || (history.started("deadly").len() == attempt).then_some(())).await;
        doomed.vanish();
    }
    test.enqueue(&Step::new("harmless")).await;
    let worker = test.run(history.succeeding());
    let (attempts, error) = test.dead_letter(id).await;
    assert_eq!(attempts, 3);
    assert!(error.contains("death of its worker"), "{error}");
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(history.started("deadly"), [1, 2, 3]);
    assert_eq!(history.finished(), once_each(["harmless"]));
    assert_eq!(test.depths().await, (0, 0, 0));
}

#[tokio::test]
async fn a_worker_that_slept_through_its_lease_can_neither_finish_nor_fail_nor_bury_the_job() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let (sleeper, second) = (History::default(), History::default());
    let (wake, gate) = (Gate::closed(), Gate::closed());
    let mut ids = Vec::new();
    let keys = ["succeeds", "fails", "gives up"];
    for key in keys {
        ids.push(test.enqueue(&Step::new(key)).await.uuid());
    }
    let awoken = wake.clone();
    let sleeping = test.run(sleeper.registry(move |key, _| {
        let wake = awoken.clone();
        async move {
            wake.passed().await;
            match key.as_str() {
                "succeeds" => Ok(()),
                "fails" => Err(JobError::retry(std::io::Error::other("of the sleeper"))),
                _ => Err(JobError::fail(std::io::Error::other("of the sleeper"))),
            }
        }
    }));
    eventually("the first worker runs all jobs", async || (sleeper.attempts() == 3).then_some(())).await;
    sleeping.freeze().await;
    let worker = test.run(second.waiting_at(&gate));
    eventually("the second worker runs all jobs", async || (second.attempts() == 3).then_some(())).await;

    wake.open();
    let over = async || keys.iter().all(|key| sleeper.running(key) == 0).then_some(());
    eventually("the first worker's attempts are over", over).await;
    // What a stale attempt does wrong, it does at once; this much longer than that.
    tokio::time::sleep(Duration::from_millis(300)).await;
    for id in ids {
        let row = test.row(id).await.expect("the job is open until its holder has finished it");
        assert_eq!((row.attempts, row.last_error, row.is_dead), (2, None, false));
        assert!(test.hash(id).contains_key("token"), "the second worker's lease is as it was");
    }
    assert_eq!(test.depths().await, (0, 0, 3));

    gate.open();
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(second.finished(), once_each(keys));
    assert_eq!(test.depths().await, (0, 0, 0));
}

#[tokio::test]
async fn a_worker_that_loses_a_job_and_takes_it_again_ends_the_first_run_and_keeps_the_lease_of_the_second() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let (history, gate) = (History::default(), Gate::closed());
    let id = test.enqueue(&Step::new("job")).await.uuid();
    let worker = test.run(history.waiting_at(&gate));
    eventually("the job runs", async || (history.started("job") == [1]).then_some(())).await;
    test.take_over(id);
    eventually("the worker has the job again", async || (history.started("job").len() == 2).then_some(())).await;
    eventually("the first run is ended", async || (history.running("job") == 1).then_some(())).await;
    tokio::time::sleep(LEASE * 5 / 2).await;
    assert_eq!(history.started("job"), [1, 2], "the lease of the second run was kept");
    gate.open();
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(history.finished(), once_each(["job"]));
}

#[tokio::test]
async fn workers_that_keep_vanishing_lose_nothing() {
    let test = QueueTest::with_lease(LEASE).await;
    let history = History::default();
    let keys: Vec<String> = (0..40).map(|n| format!("job {n}")).collect();
    for key in &keys {
        test.enqueue(&Persistent::new(key)).await;
    }
    // Long enough that each worker dies in the middle of some.
    let registry = || {
        history.registry(|_, _| async {
            tokio::time::sleep(Duration::from_millis(60)).await;
            Ok(())
        })
    };
    for round in 1..=4 {
        let doomed = Doomed::start(&test.app, registry());
        eventually("jobs of this round run", async || (history.finished().len() >= round * 6).then_some(())).await;
        doomed.vanish();
    }
    test.finish(registry()).await;
    // A job that was done when its worker vanished, but not yet settled, is done once more.
    let finished = history.finished();
    assert_eq!(finished.keys().cloned().collect::<std::collections::BTreeSet<_>>(), keys.into_iter().collect());
    let doubled = finished.values().filter(|times| **times > 1).count();
    println!("40 jobs, 4 vanished workers: {} attempts, {doubled} effects repeated", history.attempts());
    assert!(doubled <= 4 * 4, "only jobs that ran in the moment of a crash may be repeated");
}
