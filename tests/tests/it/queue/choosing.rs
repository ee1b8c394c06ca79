//! Which job starts next: priorities, turns between tenants, times, rates and pauses.

use std::time::{Duration, Instant};

use shared::{
    queue::{self, Priority, Queue, RateLimit, admin, worker::Worker},
    tenancy::TenantId,
};
use tests::worker_config;

use super::support::{Gate, History, Limited, QueueTest, Ranked, Running, Step, eventually, once_each};

/// A worker that runs one job at a time.
fn one_at_a_time(test: &QueueTest, registry: queue::worker::Registry) -> Running {
    let (database, store) = (test.app.db.database.clone(), test.app.store.clone());
    Running::start(Worker::new(database, store, registry, worker_config(1)))
}

async fn enqueue_steps(test: &QueueTest, tenant: TenantId, name: &str, count: usize) {
    let jobs: Vec<Step> = (0..count).map(|n| Step::new(format!("{name} {n}"))).collect();
    let mut tx = test.app.db.database.tenant(tenant).await.unwrap();
    assert_eq!(queue::enqueue_all(&mut tx, &jobs).await.unwrap(), count as u64);
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn a_tenants_job_need_not_wait_for_the_backlog_of_another() {
    let test = QueueTest::start().await;
    let history = History::default();
    let other = test.app.db.tenant("other").await.id;
    enqueue_steps(&test, test.tenant, "backlog", 2000).await;
    let registry = history.registry(|_, _| async {
        tokio::time::sleep(Duration::from_millis(30)).await;
        Ok(())
    });
    let worker = one_at_a_time(&test, registry);
    eventually("the backlog is worked on", async || (history.attempts() > 5).then_some(())).await;
    let before = history.attempts();
    enqueue_steps(&test, other, "urgent", 1).await;
    eventually("the other tenant's job runs", async || (history.started("urgent 0") == [1]).then_some(())).await;
    let between = history.attempts() - before;
    worker.stop().await;
    // The one that runs, and those that began before the job was in Redis, which takes a few ms of a slow machine.
    assert!(between <= 8, "{between} jobs of the backlog came first");
}

#[tokio::test]
async fn jobs_of_higher_priority_start_first_and_those_of_one_priority_in_their_order() {
    let test = QueueTest::start().await;
    let history = History::default();
    for (key, priority) in [
        ("low 1", Priority::Low),
        ("normal 1", Priority::Normal),
        ("high 1", Priority::High),
        ("low 2", Priority::Low),
        ("high 2", Priority::High),
        ("normal 2", Priority::Normal),
    ] {
        test.enqueue(&Ranked::new(key, priority)).await;
    }
    queue::relay::once(&test.app.db.database, &test.app.store).await.unwrap();
    let worker = one_at_a_time(&test, history.succeeding());
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(history.order(), ["high 1", "high 2", "normal 1", "normal 2", "low 1", "low 2"]);
}

#[tokio::test]
async fn a_job_for_later_starts_at_its_time() {
    let test = QueueTest::start().await;
    let history = History::default();
    let enqueued = Instant::now();
    let mut tx = test.transaction().await;
    let in_a_second = shared::clock::Clock::system().now() + chrono::Duration::milliseconds(1000);
    queue::enqueue_at(&mut tx, &Step::new("later"), in_a_second).await.unwrap();
    tx.commit().await.unwrap();
    test.enqueue(&Step::new("now")).await;
    test.finish(history.succeeding()).await;
    assert_eq!(history.order(), ["now", "later"]);
    let waited = history.started_at("later")[0] - enqueued;
    assert!(waited >= Duration::from_millis(990), "{waited:?}");
    assert!(waited < Duration::from_secs(10), "{waited:?}");
}

#[tokio::test]
async fn a_rate_limit_holds_for_all_workers_together_and_costs_no_attempts() {
    let test = QueueTest::start().await;
    let history = History::default();
    let other = test.app.db.tenant("other").await.id;
    for n in 0..6 {
        test.enqueue(&Limited::new(format!("ours {n}"))).await;
    }
    let mut tx = test.app.db.database.tenant(other).await.unwrap();
    queue::enqueue(&mut tx, &Limited::new("theirs")).await.unwrap();
    tx.commit().await.unwrap();
    test.enqueue(&Step::new("without a limit")).await;
    let workers = [test.run(history.succeeding()), test.run(history.succeeding())];
    test.app.until_no_job_is_open().await;
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(history.attempts(), 8);
    let RateLimit { per_tenant: Some(rate), .. } = <Limited as queue::Job>::RATE_LIMIT.unwrap() else { unreachable!() };
    let mut ours: Vec<Instant> = (0..6).map(|n| history.started_at(&format!("ours {n}"))[0]).collect();
    ours.sort();
    // Two at once, then one each interval.
    let interval = rate.per / rate.starts;
    let took = ours[5] - ours[0];
    assert!(took + Duration::from_millis(50) >= interval * 4, "six starts within {took:?}");
    let theirs = history.started_at("theirs")[0];
    assert!(theirs < ours[3], "another tenant's limit is its own");
    assert!(history.started_at("without a limit")[0] < ours[3], "jobs without a limit need not wait");
}

#[tokio::test]
async fn a_paused_queue_starts_nothing_until_it_is_resumed_and_other_queues_go_on() {
    let test = QueueTest::start().await;
    let history = History::default();
    let worker = test.run(history.succeeding());
    assert!(admin::pause(&test.app.db.database, Queue::Maintenance).await.unwrap());
    assert!(!admin::pause(&test.app.db.database, Queue::Maintenance).await.unwrap());
    // Workers hear of it within a second.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    test.enqueue(&Step::new("paused")).await;
    test.enqueue(&super::support::Persistent::new("of another queue")).await;
    eventually("the other queue's job is done", async || (history.finished().len() == 1).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(history.finished(), once_each(["of another queue"]));
    let stats = admin::stats(&test.app.db.database).await.unwrap();
    let paused: Vec<&str> = stats.iter().filter(|s| s.is_paused).map(|s| s.counts.queue.as_str()).collect();
    assert_eq!(paused, ["maintenance"]);

    assert!(admin::resume(&test.app.db.database, Queue::Maintenance).await.unwrap());
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(history.finished(), once_each(["of another queue", "paused"]));
}

#[tokio::test]
async fn an_idle_worker_starts_a_job_at_once() {
    let test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    gate.open();
    let worker = test.run(history.waiting_at(&gate));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut waits = Vec::new();
    for n in 0..20 {
        let key = format!("job {n}");
        test.enqueue(&Step::new(&key)).await;
        let enqueued = Instant::now();
        eventually("the job is done", async || history.finished().contains_key(&key).then_some(())).await;
        waits.push(history.started_at(&key)[0].saturating_duration_since(enqueued));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    worker.stop().await;
    waits.sort();
    println!("from commit to start: median {:?}, longest {:?}", waits[10], waits[19]);
    // Far below the half second after which an idle worker looks by itself.
    assert!(waits[10] < Duration::from_millis(150), "{waits:?}");
}
