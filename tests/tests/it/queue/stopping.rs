//! A worker that is told to stop.

use std::time::Duration;

use shared::{config::WorkerConfig, queue::worker::Worker};
use tests::worker_config;

use super::support::{Gate, History, QueueTest, Running, Step, eventually, once_each};

fn with_grace(grace: Duration) -> WorkerConfig {
    WorkerConfig { grace, ..worker_config(4) }
}

#[tokio::test]
async fn a_stopping_worker_lets_its_jobs_finish_and_takes_no_more() {
    let mut test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    test.enqueue(&Step::new("running")).await;
    let worker = test.run(history.waiting_at(&gate));
    eventually("the job runs", async || (history.running("running") == 1).then_some(())).await;
    worker.tell_to_stop();
    test.enqueue(&Step::new("late")).await;
    eventually("the late job waits in Redis", async || (test.depths().await.0 == 1).then_some(())).await;
    assert!(!worker.has_ended());
    gate.open();
    worker.stop().await;
    assert_eq!(history.finished(), once_each(["running"]));
    assert_eq!(test.rows().await, 1);
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["late", "running"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_job_is_handed_back_only_when_nothing_of_its_run_goes_on() {
    let test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    test.enqueue(&Step::new("stubborn")).await;
    let never = gate.clone();
    let registry = history.registry(move |_, _| {
        let gate = never.clone();
        async move {
            // Computes, and so cannot be ended, for much longer than the grace period.
            std::thread::sleep(Duration::from_millis(1500));
            gate.passed().await;
            Ok(())
        }
    });
    let (database, store) = (test.app.db.database.clone(), test.app.store.clone());
    let first = Running::start(Worker::new(database, store, registry, with_grace(Duration::from_millis(50))));
    eventually("the job runs", async || (history.running("stubborn") == 1).then_some(())).await;
    let second = test.run(history.succeeding());
    first.stop().await;
    test.app.until_no_job_is_open().await;
    second.stop().await;
    assert_eq!(history.started("stubborn").len(), 2);
    assert_eq!(history.most_at_once("stubborn"), 1);
}

#[tokio::test]
async fn a_job_longer_than_the_grace_period_is_handed_back_and_its_attempt_is_not_counted() {
    let mut test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    let id = test.enqueue(&Step::new("long")).await.uuid();
    let (database, store) = (test.app.db.database.clone(), test.app.store.clone());
    let config = with_grace(Duration::from_millis(300));
    let worker = Running::start(Worker::new(database, store, history.waiting_at(&gate), config));
    eventually("the job runs", async || (history.running("long") == 1).then_some(())).await;
    worker.stop().await;
    assert_eq!(history.running("long"), 0, "nothing of it goes on after it was handed back");
    assert_eq!(test.depths().await, (1, 0, 0), "another worker need not wait for the lease");
    let row = test.row(id).await.unwrap();
    assert_eq!((row.attempts, row.last_error, row.is_dead), (0, None, false));
    test.finish(history.succeeding()).await;
    assert_eq!(history.started("long"), [1, 1]);
    assert_eq!(history.finished(), once_each(["long"]));
}
