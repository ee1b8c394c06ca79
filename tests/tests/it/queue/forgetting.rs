//! Redis loses its memory, all of it or a part. PostgreSQL knows what it knew.

use std::time::{Duration, Instant};

use shared::queue::{JobError, Queue, relay, worker::Worker};

use super::support::{Gate, History, QueueTest, Running, Slow, Step, eventually, once_each};

#[tokio::test]
async fn when_redis_forgets_everything_while_jobs_wait_and_run_every_open_job_is_done() {
    let mut test = QueueTest::with_lease(Duration::from_secs(3)).await;
    let (history, gate) = (History::default(), Gate::closed());
    let at_gate = gate.clone();
    let registry = history.registry(move |key, run| {
        let gate = at_gate.clone();
        async move {
            if key == "delayed" && run.attempt == 1 {
                return Err(JobError::retry(std::io::Error::other("not yet")));
            }
            gate.passed().await;
            Ok(())
        }
    });
    let delayed = test.enqueue(&Slow::new("delayed")).await.uuid();
    let two_at_once = |registry| {
        let (database, store) = (test.app.db.database.clone(), test.app.store.clone());
        Running::start(Worker::new(database, store, registry, tests::worker_config(2)))
    };
    let worker = two_at_once(registry);
    eventually("a job waits for its next attempt", async || (test.depths().await.1 == 1).then_some(())).await;
    for key in ["running 1", "running 2"] {
        test.enqueue(&Step::new(key)).await;
        eventually("the job runs", async || (history.running(key) == 1).then_some(())).await;
    }
    let waiting: Vec<String> = (0..20).map(|n| format!("waiting {n}")).collect();
    for key in &waiting {
        test.enqueue(&Step::new(key)).await;
    }
    eventually("the jobs wait in Redis", async || (test.depths().await == (20, 1, 2)).then_some(())).await;

    test.forget_everything();
    eventually("all open jobs are in Redis again", async || {
        let (waiting, delayed, leased) = test.depths().await;
        (waiting + delayed + leased == 23).then_some(())
    })
    .await;
    eventually("attempts whose lease was forgotten are ended", async || {
        let running = ["running 1", "running 2"];
        running.iter().all(|key| history.started(key).len() == history.running(key) + 1).then_some(())
    })
    .await;
    gate.open();
    assert!(test.delayed_until(delayed).is_some(), "the wait before the next attempt is remembered");
    test.backdate("delayed", delayed);
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    let mut keys = waiting.clone();
    keys.extend(["running 1", "running 2", "delayed"].map(str::to_owned));
    assert_eq!(history.finished(), once_each(keys));
    for key in waiting {
        assert_eq!(history.started(&key), [1]);
    }
    assert_eq!(history.started("delayed"), [1, 2], "failed attempts are remembered");
    assert_eq!(test.depths().await, (0, 0, 0));
}

#[tokio::test]
async fn jobs_that_redis_forgot_one_by_one_are_sent_again_by_the_audit() {
    let test = QueueTest::start().await;
    let (database, store) = (test.app.db.database.clone(), test.app.store.clone());
    let keys = ["a", "b", "c", "d", "e"];
    let mut ids = Vec::new();
    for key in keys {
        ids.push(test.enqueue(&Step::new(key)).await.uuid());
    }
    assert_eq!(relay::once(&database, &store).await.unwrap(), 5);
    assert_eq!(relay::audit(&database, &store, Duration::ZERO).await.unwrap(), 0);
    for id in &ids[1..3] {
        test.app.store.forget(Queue::Maintenance, &[*id]).await.unwrap();
    }
    assert_eq!(test.depths().await, (3, 0, 0));
    assert_eq!(relay::audit(&database, &store, Duration::from_secs(3600)).await.unwrap(), 0, "too young");
    assert_eq!(relay::audit(&database, &store, Duration::ZERO).await.unwrap(), 2);
    assert_eq!(test.depths().await, (5, 0, 0));
    let history = History::default();
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(keys));
}

#[tokio::test]
async fn what_redis_had_forgotten_when_it_was_started_anew_is_sent_again_at_once() {
    let mut test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    let worker = test.run(history.waiting_at(&gate));
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(test.enqueue(&Step::new(format!("job {n}"))).await.uuid());
    }
    eventually("four jobs run, three wait", async || (test.depths().await == (3, 0, 4)).then_some(())).await;
    // As after a crash: the last that was written down is lost, and the server has another name.
    let (lane, counts) = (test.hash(ids[6])["lane"].clone(), test.key(Queue::Maintenance, "counts"));
    let job = test.key(Queue::Maintenance, &format!("job:{}", ids[6]));
    let lane = test.key(Queue::Maintenance, &format!("lane:{lane}"));
    let mark = format!("{}:incarnation", test.app.queue_config.prefix);
    let mut crash = redis::pipe();
    crash.del(job).rpop(lane, None).hincr(counts, "waiting", -1).set(mark, "the run before").ignore();
    crash.query::<()>(&mut test.redis).unwrap();
    assert_eq!(test.depths().await, (2, 0, 4));
    eventually("it is known again", async || (test.depths().await == (3, 0, 4)).then_some(())).await;
    gate.open();
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    assert_eq!(history.finished(), once_each((0..7).map(|n| format!("job {n}"))));
}

#[tokio::test]
async fn what_a_relay_had_sent_to_a_server_that_forgot_it_is_sent_again_as_soon_as_the_relay_has_written_it_down() {
    let mut test = QueueTest::start().await;
    relay::once(&test.app.db.database, &test.app.store).await.unwrap();
    test.enqueue(&Step::new("job")).await;
    // The job is taken and sent; then the server crashes, and a slow relay commits.
    sqlx::raw_sql("begin; select from outbox_relay('maintenance', 100)").execute(&mut test.owner).await.unwrap();
    let mark = format!("{}:incarnation", test.app.queue_config.prefix);
    redis::cmd("SET").arg(mark).arg("the run before").exec(&mut test.redis).unwrap();
    let history = History::default();
    let worker = test.run(history.succeeding());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(history.finished().is_empty());
    sqlx::raw_sql("commit").execute(&mut test.owner).await.unwrap();
    let committed = Instant::now();
    test.app.until_no_job_is_open().await;
    // The audit by the clock would find it after a minute or more.
    assert!(committed.elapsed() < Duration::from_secs(10), "{:?}", committed.elapsed());
    worker.stop().await;
    assert_eq!(history.finished(), once_each(["job"]));
}

#[tokio::test]
async fn sending_a_job_again_changes_nothing_wherever_it_is() {
    let mut test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    let at_gate = gate.clone();
    let registry = history.registry(move |key, run| {
        let gate = at_gate.clone();
        async move {
            if key == "delayed" && run.attempt == 1 {
                return Err(JobError::retry(std::io::Error::other("not yet")));
            }
            gate.passed().await;
            Ok(())
        }
    });
    let delayed = test.enqueue(&Slow::new("delayed")).await.uuid();
    let worker = test.run(registry);
    eventually("a job waits for its next attempt", async || (test.depths().await.1 == 1).then_some(())).await;
    for n in 0..6 {
        test.enqueue(&Step::new(format!("job {n}"))).await;
    }
    eventually("four jobs run, two wait", async || (test.depths().await == (2, 1, 4)).then_some(())).await;
    for _ in 0..2 {
        // As after a relay that died between sending and writing it down.
        sqlx::query("insert into unrelayed_jobs select tenant_id, queue, id from outbox")
            .execute(&mut test.owner)
            .await
            .unwrap();
        eventually("the relay sends them again", async || {
            let unrelayed: i64 =
                sqlx::query_scalar("select count(*) from unrelayed_jobs").fetch_one(&mut test.owner).await.unwrap();
            (unrelayed == 0).then_some(())
        })
        .await;
        assert_eq!(test.depths().await, (2, 1, 4));
    }
    gate.open();
    test.backdate("delayed", delayed);
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    let keys = (0..6).map(|n| format!("job {n}")).chain(["delayed".to_owned()]);
    assert_eq!(history.finished(), once_each(keys));
    assert_eq!(history.attempts(), 8);
}

#[tokio::test]
async fn a_job_that_redis_remembers_although_it_is_done_is_forgotten_without_a_run() {
    let mut test = QueueTest::start().await;
    let done = test.enqueue(&Step::new("done")).await.uuid();
    relay::once(&test.app.db.database, &test.app.store).await.unwrap();
    // As when Redis comes back with the memory of an hour ago.
    sqlx::query("delete from outbox where id = $1").bind(done).execute(&mut test.owner).await.unwrap();
    let history = History::default();
    let worker = test.run(history.succeeding());
    eventually("Redis has forgotten it", async || {
        (test.depths().await == (0, 0, 0) && test.hash(done).is_empty()).then_some(())
    })
    .await;
    worker.stop().await;
    assert_eq!(history.attempts(), 0);
}
