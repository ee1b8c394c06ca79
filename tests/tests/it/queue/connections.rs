//! Connections that break, fall silent or lose replies. A worker waits them out.

use std::time::{Duration, Instant};

use shared::{
    config::{DatabaseConfig, QueueConfig, WorkerConfig},
    db::Database,
    queue::{
        JobError, QueueStore,
        worker::{Registry, Worker},
    },
};

use tests::{proxy::Proxy, worker_config};

use super::support::{Gate, History, Persistent, QueueTest, Running, Step, database_config, eventually, once_each};

const LEASE: Duration = Duration::from_secs(2);

/// A worker whose way to Redis leads through the proxy.
fn through(proxy: &Proxy, test: &QueueTest, registry: Registry) -> Running {
    let config = QueueConfig {
        redis_url: proxy.url(&test.app.queue_config.redis_url),
        redis_timeout: Duration::from_millis(500),
        ..test.app.queue_config.clone()
    };
    let store = QueueStore::open(&config).unwrap();
    Running::start(Worker::new(test.app.db.database.clone(), store, registry, worker_config(4)))
}

/// A worker whose way to PostgreSQL leads through the proxy.
fn behind(proxy: &Proxy, test: &QueueTest, registry: Registry) -> Worker {
    let config = DatabaseConfig {
        url: proxy.url(&test.app.db.url),
        acquire_timeout: Duration::from_secs(1),
        ..database_config(&test.app)
    };
    let database = Database::open(&config).unwrap();
    Worker::new(database, test.app.store.clone(), registry, worker_config(4))
}

#[tokio::test]
async fn a_broken_connection_to_redis_is_waited_out() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let proxy = Proxy::before(&test.app.queue_config.redis_url).await;
    let (history, gate) = (History::default(), Gate::closed());
    let running = test.enqueue(&Step::new("running")).await.uuid();
    let worker = through(&proxy, &test, history.waiting_at(&gate));
    eventually("the job runs", async || (history.running("running") == 1).then_some(())).await;

    proxy.cut();
    gate.open();
    // PostgreSQL decides that it is done; Redis learns of it later.
    eventually("the running job is done without Redis", async || test.row(running).await.is_none().then_some(())).await;
    for n in 0..10 {
        test.enqueue(&Step::new(format!("job {n}"))).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!worker.has_ended());
    assert_eq!(test.rows().await, 10);

    proxy.restore();
    test.app.until_no_job_is_open().await;
    eventually("Redis has forgotten all of them", async || (test.depths().await == (0, 0, 0)).then_some(())).await;
    worker.stop().await;
    let keys = (0..10).map(|n| format!("job {n}")).chain(["running".to_owned()]);
    assert_eq!(history.finished(), once_each(keys));
    assert_eq!(history.attempts(), 11);
}

#[tokio::test]
async fn a_connection_to_redis_that_fell_silent_is_replaced() {
    let test = QueueTest::with_lease(LEASE).await;
    let proxy = Proxy::before(&test.app.queue_config.redis_url).await;
    let history = History::default();
    let worker = through(&proxy, &test, history.succeeding());
    for round in 0..3 {
        test.enqueue(&Step::new(format!("job {round}"))).await;
        test.app.until_no_job_is_open().await;
        proxy.silence_connections();
    }
    test.enqueue(&Step::new("last")).await;
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(history.finished(), once_each(["job 0", "job 1", "job 2", "last"]));
}

#[tokio::test]
async fn replies_of_redis_that_are_lost_after_the_command_was_carried_out_lose_no_job() {
    let test = QueueTest::with_lease(LEASE).await;
    let proxy = Proxy::before(&test.app.queue_config.redis_url).await;
    let history = History::default();
    let worker = through(&proxy, &test, history.succeeding());
    proxy.lose_one_reply_of(7);
    for n in 0..60 {
        test.enqueue(&Persistent::new(format!("job {n}"))).await;
    }
    eventually("most jobs are done", async || (history.finished().len() >= 50).then_some(())).await;
    proxy.lose_one_reply_of(0);
    test.app.until_no_job_is_open().await;
    eventually("Redis has forgotten all of them", async || (test.depths().await == (0, 0, 0)).then_some(())).await;
    worker.stop().await;
    // Jobs that take no time are settled within their lease, so none is even begun twice.
    assert_eq!(history.finished(), once_each((0..60).map(|n| format!("job {n}"))));
}

#[tokio::test]
async fn a_redis_that_restarts_without_its_memory_is_filled_again() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let proxy = Proxy::before(&test.app.queue_config.redis_url).await;
    let (history, gate) = (History::default(), Gate::closed());
    let worker = through(&proxy, &test, history.waiting_at(&gate));
    let keys: Vec<String> = (0..10).map(|n| format!("job {n}")).collect();
    for key in &keys {
        test.enqueue(&Step::new(key)).await;
    }
    eventually("four jobs run, six wait", async || (test.depths().await == (6, 0, 4)).then_some(())).await;
    proxy.cut();
    test.forget_everything();
    proxy.restore();
    eventually("all jobs are in Redis again", async || {
        let (waiting, _, leased) = test.depths().await;
        (waiting + leased == 10).then_some(())
    })
    .await;
    eventually("the four runs whose lease was forgotten are ended and four others run", async || {
        let running = keys.iter().map(|key| history.running(key)).sum::<usize>();
        (running == 4 && history.attempts() == 8).then_some(())
    })
    .await;
    gate.open();
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(history.finished(), once_each(keys));
}

#[tokio::test]
async fn replies_of_postgresql_that_are_lost_after_the_command_was_carried_out_lose_no_job() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let proxy = Proxy::before(&test.app.db.url).await;
    let history = History::default();
    let worker = Running::start(behind(&proxy, &test, history.succeeding()));
    proxy.lose_one_reply_of(40);
    for n in 0..60 {
        test.enqueue(&Persistent::new(format!("job {n}"))).await;
    }
    eventually("most jobs are done", async || (history.finished().len() >= 50).then_some(())).await;
    proxy.lose_one_reply_of(0);
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(test.rows().await, 0);
    assert_eq!(history.finished().len(), 60);
    println!("60 jobs, one of 40 replies of PostgreSQL lost: {} attempts", history.attempts());
}

#[tokio::test]
async fn a_connection_to_postgresql_that_fell_silent_is_given_up() {
    let test = QueueTest::with_lease(LEASE).await;
    let proxy = Proxy::before(&test.app.db.url).await;
    let (history, gate) = (History::default(), Gate::closed());
    let worker = Running::start(behind(&proxy, &test, history.waiting_at(&gate)));
    test.enqueue(&Step::new("job")).await;
    eventually("the job runs", async || (history.running("job") == 1).then_some(())).await;
    proxy.silence_connections();
    gate.open();
    for n in 0..10 {
        test.enqueue(&Step::new(format!("job {n}"))).await;
    }
    test.app.until_no_job_is_open().await;
    worker.stop().await;
}

#[tokio::test]
async fn a_reply_of_postgresql_that_never_comes_holds_up_no_other_job() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let proxy = Proxy::before(&test.app.db.url).await;
    let (history, gate) = (History::default(), Gate::closed());
    let worker = Running::start(behind(&proxy, &test, history.waiting_at(&gate)));
    test.enqueue(&Step::new("job")).await;
    eventually("the job runs", async || (history.running("job") == 1).then_some(())).await;
    // The statement that records its end waits for the table, and then its reply is swallowed.
    sqlx::raw_sql("begin; lock table outbox in access exclusive mode").execute(&mut test.owner).await.unwrap();
    gate.open();
    tokio::time::sleep(Duration::from_millis(500)).await;
    proxy.silence_connections();
    sqlx::raw_sql("commit").execute(&mut test.owner).await.unwrap();
    for n in 0..10 {
        test.enqueue(&Step::new(format!("job {n}"))).await;
    }
    test.app.until_no_job_is_open().await;
    worker.stop().await;
}

#[tokio::test]
async fn a_relay_that_falls_silent_keeps_its_queue_for_ten_seconds_at_most() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let redis = Proxy::before(&test.app.queue_config.redis_url).await;
    let postgres = Proxy::before(&test.app.db.url).await;
    let history = History::default();
    let database = DatabaseConfig { url: postgres.url(&test.app.db.url), ..database_config(&test.app) };
    let queue = QueueConfig { redis_url: redis.url(&test.app.queue_config.redis_url), ..test.app.queue_config.clone() };
    let (database, store) = (Database::open(&database).unwrap(), QueueStore::open(&queue).unwrap());
    let silent = Running::start(Worker::new(database, store, history.succeeding(), worker_config(4)));
    test.enqueue(&Step::new("first")).await;
    eventually("the worker is at work", async || (history.finished().len() == 1).then_some(())).await;

    // Its relay has taken a job from PostgreSQL, waits for Redis, and nobody hears of it any more.
    redis.silence_everything();
    test.enqueue(&Step::new("second")).await;
    let is_taken = "select exists (select from pg_stat_activity where datname = current_database()
                    and application_name = 'helpcenter' and state = 'idle in transaction'
                    and clock_timestamp() - state_change > interval '300 milliseconds')"; // not between two statements
    eventually("the job is taken", async || {
        let is_taken: bool = sqlx::query_scalar(is_taken).fetch_one(&mut test.owner).await.unwrap();
        is_taken.then_some(())
    })
    .await;
    postgres.silence_everything();
    let since = Instant::now();

    let worker = Running::start(test.app.worker_with(history.succeeding()));
    test.app.until_no_job_is_open().await;
    let took = since.elapsed();
    println!("taken from a silent relay after {took:?}");
    assert!((Duration::from_secs(4)..Duration::from_secs(14)).contains(&took), "{took:?}");
    assert_eq!(history.finished(), once_each(["first", "second"]));
    worker.stop().await;
    silent.stop().await;
}

#[tokio::test]
async fn a_job_that_failed_for_good_while_postgresql_was_away_becomes_a_dead_letter_when_it_is_back() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let proxy = Proxy::before(&test.app.db.url).await;
    let (history, gate) = (History::default(), Gate::closed());
    let at_gate = gate.clone();
    let registry = history.registry(move |_, _| {
        let gate = at_gate.clone();
        async move {
            gate.passed().await;
            Err(JobError::fail(std::io::Error::other("this will never work")))
        }
    });
    let id = test.enqueue(&Step::new("job")).await.uuid();
    let worker = Running::start(behind(&proxy, &test, registry));
    eventually("the job runs", async || (history.running("job") == 1).then_some(())).await;
    proxy.cut();
    gate.open();
    eventually("the job has failed", async || (history.running("job") == 0).then_some(())).await;
    // As long as it takes to see that PostgreSQL is away.
    tokio::time::sleep(Duration::from_secs(2)).await;
    proxy.restore();
    let (_, error) = test.dead_letter(id).await;
    assert_eq!(error, "this will never work");
    worker.stop().await;
}

#[tokio::test]
async fn connections_to_postgresql_that_are_killed_are_made_again() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let history = History::default();
    let database = Database::open(&database_config(&test.app)).unwrap();
    let registry = history.registry(|_, _| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    });
    for n in 0..60 {
        test.enqueue(&Persistent::new(format!("job {n}"))).await;
    }
    let worker = Running::start(Worker::new(database, test.app.store.clone(), registry, worker_config(4)));
    for round in 1..=3 {
        eventually("some more jobs are done", async || (history.finished().len() >= round * 10).then_some(())).await;
        sqlx::query(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and application_name = 'helpcenter'",
        )
        .execute(&mut test.owner)
        .await
        .unwrap();
    }
    eventually("no job is open", async || (test.rows().await == 0).then_some(())).await;
    assert!(!worker.has_ended());
    worker.stop().await;
    // A job whose end could not be written down is done again, and nothing else is.
    assert_eq!(history.finished().len(), 60);
    let attempts = history.attempts();
    println!("60 jobs, all connections killed 3 times: {attempts} attempts");
    assert!(attempts <= 60 + 3 * 4, "{attempts} attempts");
}

#[tokio::test]
async fn a_worker_stops_although_neither_redis_nor_postgresql_answers() {
    let mut test = QueueTest::with_lease(LEASE).await;
    let redis = Proxy::before(&test.app.queue_config.redis_url).await;
    let postgres = Proxy::before(&test.app.db.url).await;
    let (history, gate) = (History::default(), Gate::closed());
    let database = DatabaseConfig {
        url: postgres.url(&test.app.db.url),
        acquire_timeout: Duration::from_secs(1),
        ..database_config(&test.app)
    };
    let queue = QueueConfig {
        redis_url: redis.url(&test.app.queue_config.redis_url),
        redis_timeout: Duration::from_millis(500),
        ..test.app.queue_config.clone()
    };
    let (database, store) = (Database::open(&database).unwrap(), QueueStore::open(&queue).unwrap());
    test.enqueue(&Step::new("job")).await;
    let config = WorkerConfig { grace: Duration::from_secs(1), ..worker_config(4) };
    let worker = Running::start(Worker::new(database, store, history.waiting_at(&gate), config));
    eventually("the job runs", async || (history.running("job") == 1).then_some(())).await;
    // Every statement waits now, and after a while the worker waits for one of each kind.
    sqlx::raw_sql("begin; lock table outbox in access exclusive mode").execute(&mut test.owner).await.unwrap();
    tokio::time::sleep(Duration::from_secs(6)).await;
    redis.silence_everything();
    postgres.silence_everything();
    worker.stop().await;
    sqlx::raw_sql("rollback").execute(&mut test.owner).await.unwrap();

    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["job"]));
}
