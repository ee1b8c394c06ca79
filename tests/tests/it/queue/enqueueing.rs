//! Jobs follow from transactions.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use shared::queue;
use sqlx::postgres::PgListener;
use tokio::time::timeout;

use super::support::{History, PATIENCE, QueueTest, Single, Step, once_each};

#[tokio::test]
async fn a_job_of_a_rolled_back_transaction_never_runs_and_one_of_a_committed_transaction_does() {
    let mut test = QueueTest::start().await;
    let history = History::default();
    let mut rolled_back = test.transaction().await;
    queue::enqueue(&mut rolled_back, &Step::new("rolled back")).await.unwrap();
    drop(rolled_back);
    test.enqueue(&Step::new("committed")).await;
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["committed"]));
    assert_eq!(test.rows().await, 0);
}

#[tokio::test]
async fn a_job_runs_only_after_its_transaction_committed() {
    let test = QueueTest::start().await;
    let history = History::default();
    let mut open = test.transaction().await;
    queue::enqueue(&mut open, &Step::new("first")).await.unwrap();
    test.enqueue(&Step::new("second")).await;
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["second"]));
    open.commit().await.unwrap();
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["first", "second"]));
}

#[tokio::test]
async fn relays_are_told_of_a_queue_right_after_a_commit_and_of_nothing_else() {
    let test = QueueTest::start().await;
    let mut relay = test.app.db.database.listener().await.unwrap();
    relay.listen("outbox").await.unwrap();
    let mut rolled_back = test.transaction().await;
    queue::enqueue(&mut rolled_back, &Step::new("rolled back")).await.unwrap();
    drop(rolled_back);
    test.transaction().await.commit().await.unwrap();
    let mut committed = test.transaction().await;
    queue::enqueue_all(&mut committed, &[Step::new("one"), Step::new("two")]).await.unwrap();
    assert!(timeout(Duration::from_millis(300), relay.recv()).await.is_err(), "told before there is anything to find");
    committed.commit().await.unwrap();
    let told = timeout(PATIENCE, relay.recv()).await.unwrap().unwrap();
    assert_eq!(told.payload(), "maintenance");
    assert!(timeout(Duration::from_millis(300), relay.recv()).await.is_err(), "told twice");
}

#[tokio::test]
async fn a_pool_that_is_closed_has_told_the_relays() {
    let mut test = QueueTest::start().await;
    let mut relay = PgListener::connect(test.app.db.owner_url.expose_secret()).await.unwrap();
    relay.listen("outbox").await.unwrap();
    test.enqueue(&Step::new("the last")).await;
    test.app.db.database.close().await;
    let told: bool = timeout(PATIENCE, relay.recv()).await.is_ok_and(|told| told.is_ok());
    assert!(told);
    assert_eq!(test.rows().await, 1);
}

#[tokio::test]
async fn a_unique_job_is_enqueued_once_until_it_is_done() {
    let test = QueueTest::start().await;
    let history = History::default();
    let first = test.enqueue(&Single::new("key")).await;
    assert_eq!(test.enqueue(&Single::new("key")).await, first);
    assert_ne!(test.enqueue(&Single::new("another key")).await, first);
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["key", "another key"]));
    let second = test.enqueue(&Single::new("key")).await;
    assert_ne!(second, first);
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished()["key"], 2);
}

#[tokio::test]
async fn a_unique_key_is_each_tenants_own() {
    let test = QueueTest::start().await;
    let other = test.app.db.tenant("other").await.id;
    let ours = test.enqueue(&Single::new("key")).await;
    let mut tx = test.app.db.database.tenant(other).await.unwrap();
    let theirs = queue::enqueue(&mut tx, &Single::new("key")).await.unwrap();
    tx.commit().await.unwrap();
    assert_ne!(ours, theirs);
    let history = History::default();
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished()["key"], 2);
}

#[tokio::test]
async fn a_dead_letter_does_not_keep_its_unique_key() {
    let mut test = QueueTest::start().await;
    let first = test.enqueue(&Single::new("key")).await;
    let history = History::default();
    let failing = history.registry(|_, _| async { Err(queue::JobError::fail(std::fmt::Error)) });
    test.finish(failing).await;
    assert!(test.row(first.uuid()).await.unwrap().is_dead);
    assert_ne!(test.enqueue(&Single::new("key")).await, first);
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["key"]));
}

#[tokio::test]
async fn many_enqueues_at_once_of_a_unique_job_make_one_job() {
    let mut test = QueueTest::start().await;
    let enqueue = || {
        let (database, tenant) = (test.app.db.database.clone(), test.tenant);
        tokio::spawn(async move {
            let mut tx = database.tenant(tenant).await.unwrap();
            let id = queue::enqueue(&mut tx, &Single::new("key")).await.unwrap();
            tx.commit().await.unwrap();
            id
        })
    };
    let tasks: Vec<_> = (0..40).map(|_| enqueue()).collect();
    let mut ids = Vec::new();
    for task in tasks {
        ids.push(task.await.unwrap());
    }
    assert!(ids.iter().all(|id| *id == ids[0]));
    assert_eq!(test.rows().await, 1);
    let history = History::default();
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["key"]));
}
