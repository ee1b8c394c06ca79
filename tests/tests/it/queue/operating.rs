//! What operators do: look, retry, discard, cancel; and what is left of jobs that ended.

use shared::queue::{
    JobError, Queue,
    admin::{self, Selection, State},
    worker::Registry,
};

use super::support::{Gate, History, QueueTest, Single, Slow, Step, eventually, once_each};

fn failing(history: &History) -> Registry {
    history.registry(|_, _| async { Err(JobError::fail(std::io::Error::other("of today"))) })
}

#[tokio::test]
async fn a_finished_job_can_be_looked_at_with_its_result() {
    let test = QueueTest::start().await;
    let history = History::default();
    let id = test.enqueue(&Step::new("job")).await.uuid();
    let registry = history.registry(|_, run| async move {
        run.set_result(serde_json::json!({ "pages": 3 }));
        Ok(())
    });
    test.finish(registry).await;
    let mut tx = test.transaction().await;
    let record = admin::find(&mut tx, id).await.unwrap().unwrap();
    assert_eq!((record.state, record.attempts, record.job.as_str()), (State::Done, 1, "step"));
    assert_eq!(record.result, Some(serde_json::json!({ "pages": 3 })));
    assert!(record.created_at <= record.started_at.unwrap() && record.started_at <= record.ended_at);
    drop(tx);

    let other = test.app.db.tenant("other").await.id;
    let mut theirs = test.app.db.database.tenant(other).await.unwrap();
    assert!(admin::find(&mut theirs, id).await.unwrap().is_none(), "another tenant's job");
}

#[tokio::test]
async fn a_running_job_tells_how_far_it_is_how_fast_and_when_it_will_be_done() {
    let test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    let id = test.enqueue(&Step::new("job")).await.uuid();
    let at_gate = gate.clone();
    let worker = test.run(history.registry(move |_, run| {
        let gate = at_gate.clone();
        async move {
            run.report_progress(100, 400); // an earlier attempt did these
            tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
            run.report_progress(200, 400);
            gate.passed().await;
            run.report_progress(400, 400);
            Ok(())
        }
    }));
    let progress = async || {
        let record = admin::find(&mut test.transaction().await, id).await.unwrap().unwrap();
        record.progress
    };
    let half = eventually("half of it is told", async || progress().await.filter(|p| p.done == 200)).await;
    let (rate, eta) = (half.rate_per_second.unwrap(), half.eta_seconds.unwrap());
    assert!((20.0..70.0).contains(&rate), "100 in this attempt, in 1.5 to 5 s: {half:?}");
    assert!((eta - 200.0 / rate).abs() < 0.001, "{half:?}");
    gate.open();
    test.app.until_no_job_is_open().await;
    worker.stop().await;
    let end = progress().await.unwrap();
    assert_eq!((end.done, end.total, end.rate_per_second, end.eta_seconds), (400, 400, None, None));
}

#[tokio::test]
async fn jobs_are_listed_by_state_queue_and_type_the_latest_first() {
    let test = QueueTest::start().await;
    let history = History::default();
    let dead = test.enqueue(&Step::new("dead")).await.uuid();
    test.finish(failing(&history)).await;
    let done = test.enqueue(&Step::new("done")).await.uuid();
    test.finish(history.succeeding()).await;
    let waiting = test.enqueue(&Single::new("waiting")).await.uuid();
    let mut tx = test.transaction().await;
    let mut found = async |selection: Selection, states: &[State]| -> Vec<_> {
        let records = admin::list(&mut tx, &selection, states, None, 10).await.unwrap();
        records.iter().map(|record| (record.id, record.state)).collect()
    };
    let all = [(waiting, State::Waiting), (done, State::Done), (dead, State::Dead)];
    assert_eq!(found(Selection::default(), &[]).await, all);
    assert_eq!(found(Selection::default(), &[State::Dead, State::Done]).await, all[1..]);
    assert_eq!(found(Selection { job: Some("single".into()), ..Selection::default() }, &[]).await, all[..1]);
    assert_eq!(found(Selection { queue: Some(Queue::Embeddings), ..Selection::default() }, &[]).await, []);
    assert_eq!(admin::list(&mut tx, &Selection::default(), &[], Some(done), 10).await.unwrap()[0].id, dead);
}

#[tokio::test]
async fn dead_letters_are_retried_with_all_their_attempts_or_discarded() {
    let test = QueueTest::start().await;
    let history = History::default();
    let mut ids = Vec::new();
    for key in ["again", "away", "kept"] {
        ids.push(test.enqueue(&Step::new(key)).await.uuid());
    }
    test.finish(failing(&history)).await;
    let mut tx = test.transaction().await;
    assert_eq!(admin::retry(&mut tx, &Selection::one(ids[0]), "test").await.unwrap(), [ids[0]]);
    assert_eq!(admin::discard(&mut tx, &Selection::one(ids[1]), "test").await.unwrap(), [ids[1]]);
    tx.commit().await.unwrap();
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["again"]));
    assert_eq!(history.started("again"), [1, 1], "counted anew");
    let mut tx = test.transaction().await;
    let state = async |tx: &mut _, id| admin::find(tx, id).await.unwrap().unwrap();
    let discarded = state(&mut tx, ids[1]).await;
    assert_eq!((discarded.state, discarded.last_error.as_deref()), (State::Discarded, Some("of today")));
    assert_eq!(state(&mut tx, ids[2]).await.state, State::Dead);
    // What is done or discarded is not a dead letter any more.
    assert_eq!(admin::retry(&mut tx, &Selection::default(), "test").await.unwrap(), [ids[2]]);
}

#[tokio::test]
async fn a_job_that_somebody_else_retried_meanwhile_is_left_alone() {
    let mut test = QueueTest::start().await;
    let id = test.enqueue(&Step::new("job")).await.uuid();
    test.finish(failing(&History::default())).await;
    // Somebody's retry has not committed yet when ours finds a dead letter, and waits for it.
    sqlx::query("begin").execute(&mut test.owner).await.unwrap();
    let theirs = "update outbox set dead_at = null, attempts = 0, run_at = now() + interval '1 hour' where id = $1";
    sqlx::query(theirs).bind(id).execute(&mut test.owner).await.unwrap();
    let mut tx = test.transaction().await;
    let ours = tokio::spawn(async move {
        let retried = admin::retry(&mut tx, &Selection::default(), "test").await.unwrap();
        tx.commit().await.unwrap();
        retried
    });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    assert!(!ours.is_finished());
    sqlx::query("commit").execute(&mut test.owner).await.unwrap();
    assert!(ours.await.unwrap().is_empty());
    let record = admin::find(&mut test.transaction().await, id).await.unwrap().unwrap();
    assert_eq!(record.state, State::Scheduled, "as they left it");
}

#[tokio::test]
async fn a_dead_letter_whose_unique_key_is_taken_is_not_retried() {
    let test = QueueTest::start().await;
    let history = History::default();
    let mut dead = Vec::new();
    for _ in 0..2 {
        dead.push(test.enqueue(&Single::new("key")).await.uuid());
        test.finish(failing(&history)).await;
    }
    let open = test.enqueue(&Single::new("key")).await.uuid();
    let mut tx = test.transaction().await;
    assert!(admin::retry(&mut tx, &Selection::default(), "test").await.unwrap().is_empty());
    assert_eq!(admin::cancel(&mut tx, &Selection::one(open), "test").await.unwrap().ended, [open]);
    assert_eq!(admin::retry(&mut tx, &Selection::default(), "test").await.unwrap(), dead[1..], "the latest of the two");
    tx.commit().await.unwrap();
    test.finish(history.succeeding()).await;
    assert_eq!(history.finished(), once_each(["key"]));
}

#[tokio::test]
async fn waiting_scheduled_and_running_jobs_can_be_cancelled_and_never_run_again() {
    let mut test = QueueTest::start().await;
    let (history, gate) = (History::default(), Gate::closed());
    let at_gate = gate.clone();
    let registry = history.registry(move |key, _| {
        let gate = at_gate.clone();
        async move {
            if key == "scheduled" {
                return Err(JobError::retry(std::io::Error::other("not yet")));
            }
            gate.passed().await;
            Ok(())
        }
    });
    let scheduled = test.enqueue(&Slow::new("scheduled")).await.uuid();
    let worker = test.run(registry);
    eventually("a job waits for its next attempt", async || (test.depths().await.1 == 1).then_some(())).await;
    let mut ids = vec![scheduled];
    for n in 0..6 {
        ids.push(test.enqueue(&Step::new(format!("job {n}"))).await.uuid());
    }
    eventually("four jobs run, two wait", async || (test.depths().await == (2, 1, 4)).then_some(())).await;
    let mut tx = test.transaction().await;
    let cancelled = admin::cancel(&mut tx, &Selection::default(), "test").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!((cancelled.ended.len(), cancelled.told.len()), (3, 4));
    test.app.until_no_job_is_open().await;
    assert_eq!((0..6).map(|n| history.running(&format!("job {n}"))).sum::<usize>(), 0);
    // Redis still has those that waited, and hands them out in vain.
    gate.open();
    test.backdate("delayed", scheduled);
    eventually("Redis has forgotten them", async || (test.depths().await == (0, 0, 0)).then_some(())).await;
    worker.stop().await;
    assert!(history.finished().is_empty());
    let mut tx = test.transaction().await;
    for id in ids {
        assert_eq!(admin::find(&mut tx, id).await.unwrap().unwrap().state, State::Cancelled);
    }
}

#[tokio::test]
async fn finished_jobs_are_trimmed_by_age_and_count() {
    let mut test = QueueTest::start().await;
    sqlx::query(
        "insert into finished_jobs (tenant_id, id, queue, job, payload, outcome, attempts, created_at, finished_at)
         select $1, uuidv7(), case when n % 2 = 0 then 'maintenance' else 'embeddings' end, 'step', '{}', 'done', 1, now(),
                now() - n * interval '1 minute'
         from generate_series(1, 200) n",
    )
    .bind(test.tenant.uuid())
    .execute(&mut test.owner)
    .await
    .unwrap();
    let mut trim = async |keep_for: &str, keep: i32, batch: i32| -> (i64, i64) {
        let trimmed = sqlx::query_scalar("select finished_jobs_trim('maintenance', $1::text::interval, $2, $3)")
            .bind(keep_for)
            .bind(keep)
            .bind(batch)
            .fetch_one(&mut test.owner)
            .await
            .unwrap();
        let left = sqlx::query_scalar("select count(*) from finished_jobs where queue = 'maintenance'")
            .fetch_one(&mut test.owner)
            .await
            .unwrap();
        (trimmed, left)
    };
    assert_eq!(trim("1 day", 1000, 50).await, (0, 100));
    assert_eq!(trim("150 minutes 30 seconds", 1000, 20).await, (20, 80), "no more than a batch");
    assert_eq!(trim("150 minutes 30 seconds", 1000, 20).await, (5, 75));
    assert_eq!(trim("1 day", 30, 1000).await, (44, 31));
    let others: i64 = sqlx::query_scalar("select count(*) from finished_jobs where queue = 'embeddings'")
        .fetch_one(&mut test.owner)
        .await
        .unwrap();
    assert_eq!(others, 100);
}
