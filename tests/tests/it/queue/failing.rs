//! Attempts that fail, and jobs that cannot be run.

use std::time::Duration;

use shared::queue::{
    Job, JobError, Queue, relay,
    worker::{Registry, Run},
};

use super::support::{Gate, History, Hurried, QueueTest, Step, eventually, once_each};

fn failing(error: fn() -> JobError) -> impl Fn(String, Run) -> std::future::Ready<Result<(), JobError>> + Clone {
    move |_, _| std::future::ready(Err(error()))
}

fn not_yet() -> JobError {
    JobError::retry(std::io::Error::other("not yet"))
}

fn never() -> JobError {
    JobError::fail(std::io::Error::other("this will never work"))
}

#[tokio::test]
async fn a_job_that_fails_is_tried_again_after_a_wait_and_then_succeeds() {
    let mut test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    let last_attempt = gate.clone();
    let registry = history.registry(move |_, run| {
        let gate = last_attempt.clone();
        async move {
            if run.attempt < 3 {
                return Err(not_yet());
            }
            gate.passed().await;
            Ok(())
        }
    });
    let id = test.enqueue(&Step::new("job")).await;
    let worker = test.run(registry);
    eventually("the third attempt runs", async || (history.started("job").len() == 3).then_some(())).await;
    let row = test.row(id.uuid()).await.unwrap();
    assert_eq!((row.attempts, row.last_error.as_deref(), row.is_dead), (3, Some("not yet"), false));
    gate.open();
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(history.started("job"), [1, 2, 3]);
    assert_eq!(history.finished(), once_each(["job"]));
    // At least half of 200 ms, and of twice that; less the rounding to milliseconds.
    let at = history.started_at("job");
    assert!(at[1] - at[0] >= Duration::from_millis(95), "{:?}", at[1] - at[0]);
    assert!(at[2] - at[1] >= Duration::from_millis(195), "{:?}", at[2] - at[1]);
    assert_eq!(test.rows().await, 0);
}

#[tokio::test]
async fn a_job_that_says_it_will_never_work_is_a_dead_letter_at_once_and_keeps_its_error() {
    let mut test = QueueTest::start().await;
    let history = History::default();
    let id = test.enqueue(&Step::new("job")).await.uuid();
    test.finish(history.registry(failing(never))).await;
    assert_eq!(test.dead_letter(id).await, (1, "this will never work".to_owned()));
    assert_eq!(history.started("job"), [1]);
    assert!(test.hash(id).is_empty());
    assert_eq!(test.depths().await, (0, 0, 0));
}

#[tokio::test]
async fn a_job_that_has_used_up_its_attempts_is_a_dead_letter() {
    let mut test = QueueTest::start().await;
    let history = History::default();
    let id = test.enqueue(&Step::new("job")).await.uuid();
    test.finish(history.registry(failing(not_yet))).await;
    assert_eq!(test.dead_letter(id).await, (3, "not yet".to_owned()));
    assert_eq!(history.started("job"), [1, 2, 3]);
    assert_eq!(test.depths().await, (0, 0, 0));
}

#[tokio::test]
async fn a_dead_letter_is_never_sent_again() {
    let mut test = QueueTest::start().await;
    let history = History::default();
    let id = test.enqueue(&Step::new("dead")).await.uuid();
    test.finish(history.registry(failing(never))).await;
    test.forget_everything();
    relay::once(&test.app.db.database, &test.app.store).await.unwrap();
    relay::audit(&test.app.db.database, &test.app.store, Duration::ZERO).await.unwrap();
    test.enqueue(&Step::new("alive")).await;
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["alive"]));
    assert!(test.row(id).await.unwrap().is_dead);
}

#[tokio::test]
async fn a_panic_is_a_failure() {
    let mut test = QueueTest::start().await;
    let history = History::default();
    let registry = history.registry(|key, _| async move {
        assert_ne!(key, "panicking", "a job of a test panics on purpose");
        Ok(())
    });
    let id = test.enqueue(&Step::new("panicking")).await.uuid();
    test.enqueue(&Step::new("calm")).await;
    test.finish(registry).await;
    let (attempts, error) = test.dead_letter(id).await;
    assert_eq!(attempts, 3);
    assert!(error.starts_with("panicked: ") && error.contains("on purpose"), "{error}");
    assert_eq!(history.finished(), once_each(["calm"]));
}

#[tokio::test]
async fn a_job_that_takes_too_long_is_ended_and_has_failed() {
    let mut test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    let id = test.enqueue(&Hurried::new("job")).await.uuid();
    test.finish(history.waiting_at(&gate)).await;
    let (attempts, error) = test.dead_letter(id).await;
    assert_eq!(attempts, 1);
    assert!(error.starts_with("took longer than"), "{error}");
    assert_eq!(history.running("job"), 0);
}

#[tokio::test]
async fn a_payload_that_cannot_be_read_is_set_aside_and_other_jobs_go_on() {
    let mut test = QueueTest::start().await;
    let history = History::default();
    let mut unreadable = Vec::new();
    for payload in [serde_json::json!({ "nonsense": [1] }), serde_json::json!(null), serde_json::json!("text")] {
        unreadable.push(test.enqueue_raw("maintenance", Step::NAME, payload).await);
        test.enqueue(&Step::new(format!("job {}", unreadable.len()))).await;
    }
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["job 1", "job 2", "job 3"]));
    for id in unreadable {
        let (attempts, error) = test.dead_letter(id).await;
        assert_eq!(attempts, 1);
        assert!(!error.is_empty());
    }
}

/// A job that only the next release knows.
#[derive(serde::Serialize, serde::Deserialize)]
struct OfTomorrow {}

impl Job for OfTomorrow {
    const NAME: &'static str = "of_tomorrow";
    const QUEUE: Queue = Queue::Maintenance;
    const TIMEOUT: Duration = Duration::from_secs(10);
    const MAX_ATTEMPTS: u32 = 1;
}

#[tokio::test]
async fn a_job_that_no_worker_knows_yet_waits_for_one_that_does() {
    let mut test = QueueTest::start().await;
    let history = History::default();
    let id = test.enqueue(&OfTomorrow {}).await.uuid();
    test.enqueue(&Step::new("known")).await;
    let worker = test.run(history.succeeding());
    // Offered to workers of today more often than it has attempts.
    for _ in 0..3 {
        test.backdate("delayed", id);
        eventually("the job is put back for later", async || test.delayed_until(id).filter(|due| *due > 1)).await;
    }
    worker.stop().await;
    assert_eq!(history.finished(), once_each(["known"]));
    let row = test.row(id).await.unwrap();
    assert_eq!((row.attempts, row.is_dead), (0, false));

    test.backdate("delayed", id);
    let (attempt, mut seen) = tokio::sync::mpsc::unbounded_channel();
    test.finish(Registry::new().job::<OfTomorrow, _, _>(move |_, run| {
        attempt.send(run.attempt).unwrap();
        async { Ok(()) }
    }))
    .await;
    assert_eq!(seen.recv().await, Some(1));
}

#[tokio::test]
async fn a_job_for_a_queue_that_only_the_next_release_has_is_kept_and_others_go_on() {
    let mut test = QueueTest::start().await;
    let history = History::default();
    let id = test.enqueue_raw("of_tomorrow", "of_tomorrow", serde_json::json!({})).await;
    test.enqueue(&Step::new("known")).await;
    let worker = test.run(history.succeeding());
    eventually("the known job is done", async || (test.rows().await == 1).then_some(())).await;
    worker.stop().await;
    let row = test.row(id).await.unwrap();
    assert_eq!((row.attempts, row.is_dead), (0, false));
    assert_eq!(history.finished(), once_each(["known"]));
}
