//! Several workers and relays at once.

use shared::queue;

use super::support::{History, QueueTest, Step, once_each};

#[tokio::test]
async fn two_workers_and_two_relays_share_500_jobs_and_each_is_done_once() {
    let mut test = QueueTest::start().await;
    let (first, second) = (History::default(), History::default());
    let workers = [test.run(first.succeeding()), test.run(second.succeeding())];
    let enqueueing: Vec<_> = (0..10)
        .map(|writer| {
            let (database, tenant) = (test.app.db.database.clone(), test.tenant);
            tokio::spawn(async move {
                for batch in 0..10 {
                    let mut tx = database.tenant(tenant).await.unwrap();
                    for n in 0..5 {
                        let key = format!("job {}", writer * 50 + batch * 5 + n);
                        queue::enqueue(&mut tx, &Step::new(key)).await.unwrap();
                    }
                    tx.commit().await.unwrap();
                }
            })
        })
        .collect();
    for writer in enqueueing {
        writer.await.unwrap();
    }
    test.app.until_no_job_is_open().await;
    for worker in workers {
        worker.stop().await;
    }
    let mut finished = first.finished();
    for (key, times) in second.finished() {
        *finished.entry(key).or_default() += times;
    }
    assert_eq!(finished, once_each((0..500).map(|n| format!("job {n}"))));
    assert_eq!(first.attempts() + second.attempts(), 500);
    assert!(first.attempts() > 0 && second.attempts() > 0);
    assert_eq!((test.rows().await, test.depths().await), (0, (0, 0, 0)));
}

#[tokio::test]
async fn a_worker_runs_no_more_jobs_of_a_queue_at_once_than_it_is_told_to() {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Duration,
    };
    let test = QueueTest::start().await;
    let (history, running, most) = (History::default(), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    for n in 0..24 {
        test.enqueue(&Step::new(format!("job {n}"))).await;
    }
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let registry = history.registry(move |_, _| {
        let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(20)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    test.finish(registry).await;
    assert_eq!(most.load(Ordering::SeqCst), 4, "the harness' workers run four");
    assert_eq!(history.finished().len(), 24);
}
