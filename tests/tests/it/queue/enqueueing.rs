//! Jobs follow from transactions.

use shared::queue;

use super::support::{History, QueueTest, Single, Step, once_each};

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
