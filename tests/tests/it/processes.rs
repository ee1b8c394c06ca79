//! The real programs: killed, paused, cut off, told to stop, and started with nonsense.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test that uses them")]

use std::{
    collections::BTreeMap,
    process::Output,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use reqwest::StatusCode;
use secrecy::ExposeSecret as _;
use serde_json::Value;
use shared::{
    auth::jwt::{self, NewToken},
    clock::Clock,
    knowledge::{IndexStatus, ReconcileEmbeddings, index_status},
    queue::{Depths, Queue},
    scheduling::{self, Template, Tick},
};
use tests::{
    Settings, TestApp,
    processes::{Program, built, free_port},
    proxy::Proxy,
};
use uuid::Uuid;

use crate::{
    jobs::{Knowledge, long_article},
    queue::support::{PATIENCE, eventually},
};

const API: &str = "helpcenter-api";
const WORKER: &str = "helpcenter-worker";
const SCHEDULER: &str = "helpcenter-scheduler";
const LEASE: Duration = Duration::from_secs(2);

async fn index(test: &Knowledge) -> IndexStatus {
    let mut tx = test.app.db.database.tenant(test.tenant).await.unwrap();
    index_status(&mut tx).await.unwrap()
}

async fn until_embedded(test: &Knowledge, passages: i64) {
    eventually("more passages are embedded", async || (index(test).await.embedded_passages >= passages).then_some(()))
        .await;
}

async fn write_articles(test: &Knowledge, articles: usize, passages: usize) {
    for n in 0..articles {
        test.folder.write(&format!("{}/{n}.md", n % 7), long_article(&format!("Article {n}"), passages));
    }
    test.import().await;
}

fn signal(program: &Program, name: &str) {
    let sent = std::process::Command::new("kill").args([name, &program.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

#[tokio::test]
async fn sixty_articles_are_embedded_although_workers_are_killed_and_redis_forgets_everything() {
    let mut test = Knowledge::with_lease(LEASE).await;
    let scheduler = Program::start(&test.app, SCHEDULER).ready().await;
    let mut worker = Program::start(&test.app, WORKER);
    write_articles(&test, 60, 2).await;
    let passages = test.passages().await;
    assert!(passages >= 60 * 3, "{passages}");
    for round in 1..=3 {
        until_embedded(&test, passages * round / 5).await;
        assert!(index(&test).await.open_jobs > 0, "killed while there is work");
        worker.kill();
        if round == 2 {
            let mut redis =
                redis::Client::open(test.app.queue_config.redis_url.expose_secret()).unwrap().get_connection().unwrap();
            tests::forget_everything(&mut redis, &test.app.queue_config.prefix);
        }
        worker = Program::start(&test.app, WORKER);
    }
    let worker = worker.ready().await;
    test.app.until_no_job_is_open().await;
    assert!(scheduler.terminate().await.success());
    test.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    test.assert_complete().await;
    let status = index(&test).await;
    assert_eq!((status.articles, status.embedded_articles), (60, 60));
    assert_eq!((status.embedded_passages, status.open_jobs, status.dead_jobs), (passages, 0, 0));
    for queue in Queue::ALL {
        eventually("Redis has forgotten every job", async || {
            (test.app.store.depths(queue).await.unwrap() == Depths::default()).then_some(())
        })
        .await;
    }
}

/// An API of its own for the test's tenant; the address of its pages.
async fn api(test: &Knowledge) -> (Program, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let pepper = "a pepper of at least thirty-two bytes, for tests only";
    let variables = [("API_ADDRESS", address.as_str()), ("JWT_SECRET", tests::JWT_SECRET), ("API_KEY_PEPPER", pepper)];
    let program = Program::start_with(&test.app, API, &variables).ready().await;
    (program, format!("http://{address}"))
}

#[tokio::test]
async fn three_workers_two_apis_and_two_schedulers_share_the_work() {
    let mut test = Knowledge::with_lease(LEASE).await;
    let mut workers = Vec::new();
    for _ in 0..3 {
        workers.push(Program::start(&test.app, WORKER).ready().await);
    }
    let schedulers =
        [Program::start(&test.app, SCHEDULER).ready().await, Program::start(&test.app, SCHEDULER).ready().await];
    let apis = [api(&test).await, api(&test).await];
    write_articles(&test, 60, 2).await;
    test.app.until_no_job_is_open().await;
    test.assert_complete().await;
    // Each job ran once, and every worker had its share.
    let embedded = workers.iter().map(|worker| worker.log().matches("article.embedded").count()).collect::<Vec<_>>();
    assert_eq!(embedded.iter().sum::<usize>(), 60, "{embedded:?}");
    assert!(embedded.iter().all(|share| *share >= 5), "{embedded:?}");
    // Both APIs know what the workers made; a token is good at each.
    let token = jwt_of_now("acme");
    let mut answers = Vec::new();
    for (_, url) in &apis {
        let request = reqwest::Client::new()
            .post(format!("{url}/api/v2/help-center/search/"))
            .bearer_auth(&token)
            .json(&serde_json::json!({ "query": "Article 7" }));
        let (status, answer) = tests::json(request).await;
        assert_eq!((status, &answer["degraded"]), (StatusCode::OK, &serde_json::json!([])), "{answer}");
        answers.push(answer["results"].clone());
    }
    assert_eq!(answers[0], answers[1]);
    assert!(!answers[0].as_array().unwrap().is_empty());
    // One of the schedulers leads, and only it makes ticks.
    let leading = schedulers.iter().filter(|scheduler| scheduler.log().contains("scheduler.leading")).count();
    assert_eq!(leading, 1);
    for program in workers.into_iter().chain(schedulers).chain(apis.map(|(program, _)| program)) {
        assert!(program.terminate().await.success());
    }
}

/// A token for programs, whose clocks are the real one.
fn jwt_of_now(tenant: &str) -> String {
    let exp = Clock::system().now().timestamp() + 600;
    let token = NewToken { sub: "person-1", tenant, roles: &[], name: "A Person", exp };
    jwt::sign(&tests::JWT_SECRET.to_owned().into(), &token).unwrap()
}

#[tokio::test]
async fn a_worker_that_was_paused_for_longer_than_its_lease_does_no_harm_when_it_goes_on() {
    let mut test = Knowledge::with_lease(LEASE).await;
    test.folder.write("long.md", long_article("A long one", 50));
    test.import().await;
    let paused = Program::start(&test.app, WORKER);
    until_embedded(&test, 1).await;
    signal(&paused, "-STOP");
    let other = Program::start(&test.app, WORKER);
    test.app.until_no_job_is_open().await;
    let done = test.vectors().await;
    signal(&paused, "-CONT");
    assert!(paused.terminate().await.success());
    assert!(other.terminate().await.success());
    assert_eq!(test.vectors().await, done);
    test.assert_complete().await;
}

#[tokio::test]
async fn a_busy_worker_that_is_told_to_stop_finishes_its_jobs_and_loses_none() {
    let mut test = Knowledge::start().await;
    write_articles(&test, 24, 2).await;
    let worker = Program::start_with(&test.app, WORKER, &[("WORKER_GRACE_SECONDS", "20")]);
    until_embedded(&test, 1).await;
    let told = Instant::now();
    assert!(worker.terminate().await.success());
    assert!(told.elapsed() < Duration::from_secs(20), "{:?}", told.elapsed());
    assert!(index(&test).await.open_jobs > 0, "stopped while there was work");
    let depths = test.app.store.depths(Queue::Embeddings).await.unwrap();
    assert_eq!(depths.leased, 0, "nobody has to wait for a lease");
    test.app.run_jobs().await;
    test.assert_complete().await;
}

#[tokio::test]
async fn a_worker_with_a_job_longer_than_its_grace_period_hands_it_back_and_stops() {
    let mut test = Knowledge::start().await;
    test.folder.write("long.md", long_article("A long one", 80));
    test.import().await;
    let worker = Program::start_with(&test.app, WORKER, &[("WORKER_GRACE_SECONDS", "1")]);
    until_embedded(&test, 1).await;
    assert!(worker.terminate().await.success());
    let depths = test.app.store.depths(Queue::Embeddings).await.unwrap();
    assert_eq!((depths.waiting, depths.delayed, depths.leased), (1, 0, 0));
    assert_eq!(test.count("select count(*) from outbox where attempts = 0 and last_error is null").await, 1);
    test.app.run_jobs().await;
    test.assert_complete().await;
}

fn template() -> Template {
    Template::of(&ReconcileEmbeddings {}, None).unwrap()
}

#[tokio::test]
async fn a_tick_is_made_once_however_often_it_is_asked_for_and_skips_tenants_whose_job_is_open() {
    let app = TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
    for tenant in ["acme", "globex"] {
        app.db.tenant(tenant).await;
    }
    let due: DateTime<Utc> = "2026-06-01T12:00:00Z".parse().unwrap();
    let lead = scheduling::try_lead(&app.db.database, Uuid::new_v4(), LEASE).await.unwrap().unwrap();
    let asked = |line: &'static str, due| {
        let database = app.db.database.clone();
        tokio::spawn(async move { scheduling::tick(&database, lead, line, due, &template()).await.unwrap() })
    };
    let mut ticks = Vec::new();
    for _ in 0..12 {
        ticks.extend([asked("a", due), asked("b", due), asked("a", due + TimeDelta::minutes(1))]);
    }
    let (mut made, mut jobs) = (0, 0);
    for tick in ticks {
        match tick.await.unwrap() {
            Tick::Made(tenants) => {
                made += 1;
                jobs += tenants;
            }
            Tick::MadeBefore => {}
            Tick::NotLeading => panic!("nobody else leads"),
        }
    }
    assert_eq!((made, jobs), (3, 2), "a tenant whose job is open gets no other");
    assert_eq!(scheduling::ticked_until(&app.db.database, "a").await.unwrap(), Some(due + TimeDelta::minutes(1)));
}

#[tokio::test]
async fn a_former_leader_makes_no_tick_and_cannot_keep_the_lead() {
    let mut test = Knowledge::start().await;
    let database = test.app.db.database.clone();
    let due: DateTime<Utc> = "2026-06-01T12:00:00Z".parse().unwrap();
    let former = scheduling::try_lead(&database, Uuid::new_v4(), LEASE).await.unwrap().unwrap();
    assert_eq!(scheduling::try_lead(&database, Uuid::new_v4(), LEASE).await.unwrap(), None, "there is one leader");
    test.execute("update scheduler_leader set leads_until = '-infinity'").await;
    let leader = scheduling::try_lead(&database, Uuid::new_v4(), LEASE).await.unwrap().unwrap();
    assert!(leader.epoch() > former.epoch());

    assert_eq!(scheduling::tick(&database, former, "a", due, &template()).await.unwrap(), Tick::NotLeading);
    assert_eq!(scheduling::keep_leading(&database, former, LEASE).await.unwrap(), None);
    scheduling::resign(&database, former).await.unwrap();
    assert!(scheduling::keep_leading(&database, leader, LEASE).await.unwrap().is_some());
    assert_eq!(test.count("select (select count(*) from outbox) + (select count(*) from scheduler_ticks)").await, 0);
    assert_eq!(scheduling::tick(&database, leader, "a", due, &template()).await.unwrap(), Tick::Made(1));
    test.app.run_jobs().await;
}

/// The epoch of whoever leads; none while nobody does.
async fn leader(test: &mut Knowledge) -> Option<i64> {
    sqlx::query_scalar("select epoch from scheduler_leader where leads_until > now()")
        .fetch_optional(&mut test.owner)
        .await
        .unwrap()
}

async fn next_leader(test: &mut Knowledge, after: i64) -> i64 {
    eventually("another scheduler leads", async || leader(test).await.filter(|epoch| *epoch > after)).await
}

#[tokio::test]
async fn when_the_leading_scheduler_dies_or_falls_silent_another_leads_within_seconds() {
    let mut test = Knowledge::start().await;
    let first = Program::start(&test.app, SCHEDULER);
    let epoch = next_leader(&mut test, 0).await;
    let second = Program::start(&test.app, SCHEDULER).ready().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(leader(&mut test).await, Some(epoch), "there is one leader");

    first.kill();
    let killed = Instant::now();
    let epoch = next_leader(&mut test, epoch).await;
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());

    // One that sleeps keeps its connections, and the lead only until its lease is over.
    let third = Program::start(&test.app, SCHEDULER).ready().await;
    signal(&second, "-STOP");
    let stopped = Instant::now();
    let epoch = next_leader(&mut test, epoch).await;
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    signal(&second, "-CONT");
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(leader(&mut test).await, Some(epoch), "the one that slept waits now");

    assert!(third.terminate().await.success());
    let resigned = Instant::now();
    next_leader(&mut test, epoch).await;
    assert!(resigned.elapsed() < Duration::from_secs(3), "{:?}", resigned.elapsed());
    assert!(second.terminate().await.success());
    eventually("nobody leads", async || leader(&mut test).await.is_none().then_some(())).await;
}

#[tokio::test]
async fn the_latest_tick_that_was_missed_while_no_scheduler_led_is_made_up_for_once() {
    let mut test = Knowledge::start().await;
    let last = "insert into scheduler_ticks (line, due_at)
         values ('reconcile_embeddings', date_trunc('minute', now()) - interval '10 minutes')";
    test.execute(last).await;
    let schedulers = [Program::start(&test.app, SCHEDULER), Program::start(&test.app, SCHEDULER)];
    let ticks = "select count(*) from scheduler_ticks where due_at > now() - interval '9 minutes'";
    eventually("the line has ticked", async || (test.count(ticks).await > 0).then_some(())).await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // One more when a minute has just begun.
    assert!((1..=2).contains(&test.count(ticks).await));
    let missed = "select count(*) from scheduler_ticks where due_at < now() - interval '2 minutes'";
    assert_eq!(test.count(missed).await, 1, "older ones are not made up for");
    for scheduler in schedulers {
        assert!(scheduler.terminate().await.success());
    }
    assert_eq!(test.count("select count(*) from outbox where job = 'reconcile_embeddings'").await, 1);
    test.app.run_jobs().await;
}

async fn ask(program: &Program, path: &str) -> Option<(StatusCode, String)> {
    let response = reqwest::get(format!("{}{path}", program.metrics_url)).await.ok()?;
    let status = response.status();
    Some((status, response.text().await.ok()?))
}

/// Waits until the program answers `/health/ready` with this status; the body.
async fn until_ready_is(program: &Program, status: StatusCode) -> Value {
    let what = format!("/health/ready is {status}");
    let (_, body) =
        eventually(&what, async || ask(program, "/health/ready").await.filter(|answer| answer.0 == status)).await;
    serde_json::from_str(&body).unwrap()
}

#[tokio::test]
async fn programs_tell_that_they_live_that_they_are_ready_and_what_they_count() {
    let test = Knowledge::start().await;
    for name in [WORKER, SCHEDULER] {
        let program = Program::start(&test.app, name).ready().await;
        let ready = until_ready_is(&program, StatusCode::OK).await;
        assert_eq!(ready["status"], "ready");
        assert_eq!(ready["checks"], serde_json::json!({ "database": "ok", "redis": "ok" }));
        if name == WORKER {
            let queues = serde_json::json!({
                "answers": { "state": "running", "jobs": 0, "concurrency": 4 },
                "embeddings": { "state": "running", "jobs": 0, "concurrency": 4 },
                "maintenance": { "state": "running", "jobs": 0, "concurrency": 4 },
            });
            eventually("each queue is served", async || {
                let ready = until_ready_is(&program, StatusCode::OK).await;
                (ready["queues"] == queues).then_some(())
            })
            .await;
        }
        assert_eq!(ask(&program, "/health/live").await.unwrap().0, StatusCode::OK);
        assert_eq!(ask(&program, "/nothing").await.unwrap().0, StatusCode::NOT_FOUND);
        let (status, metrics) = ask(&program, "/metrics").await.unwrap();
        assert_eq!(status, StatusCode::OK);
        assert!(metrics.contains("process_resident_memory_bytes"), "{metrics}");
        if name == WORKER {
            let waiting = "helpcenter_queue_jobs{queue=\"embeddings\",state=\"waiting\"} 0";
            eventually("the depth of the queues is told", async || {
                ask(&program, "/metrics").await.filter(|(_, metrics)| metrics.contains(waiting))
            })
            .await;
        }
        assert!(program.terminate().await.success());
    }
}

#[tokio::test]
async fn a_program_without_redis_or_postgresql_lives_is_not_ready_and_says_which_is_down() {
    let test = Knowledge::start().await;
    for name in [WORKER, SCHEDULER] {
        for (variable, value, down) in [
            ("REDIS_URL", "redis://127.0.0.1:1", "redis"),
            ("DATABASE_URL", "postgres://nobody:nothing@127.0.0.1:1/nothing", "database"),
        ] {
            let program = Program::start_with(&test.app, name, &[(variable, value)]);
            let body = until_ready_is(&program, StatusCode::SERVICE_UNAVAILABLE).await;
            let states: BTreeMap<&str, &str> = ["database", "redis"]
                .map(|dependency| (dependency, if dependency == down { "down" } else { "ok" }))
                .into_iter()
                .collect();
            assert_eq!(body["status"], "not_ready", "{name}");
            assert_eq!(body["checks"], serde_json::json!(states), "{name}");
            if name == WORKER {
                assert_eq!(body["queues"]["embeddings"]["state"], "waiting");
            }
            assert_eq!(ask(&program, "/health/live").await.unwrap().0, StatusCode::OK);
            assert!(program.terminate().await.success(), "{name} stops although it never was ready");
        }
    }
}

#[tokio::test]
async fn a_worker_whose_redis_comes_back_is_ready_again_and_goes_on() {
    let mut test = Knowledge::with_lease(LEASE).await;
    let proxy = Proxy::before(&test.app.queue_config.redis_url).await;
    let url = proxy.url(&test.app.queue_config.redis_url);
    let variables = [("REDIS_URL", url.expose_secret()), ("QUEUE_REDIS_TIMEOUT_SECONDS", "1")];
    let worker = Program::start_with(&test.app, WORKER, &variables).ready().await;
    proxy.cut();
    until_ready_is(&worker, StatusCode::SERVICE_UNAVAILABLE).await;
    write_articles(&test, 3, 1).await;
    proxy.restore();
    until_ready_is(&worker, StatusCode::OK).await;
    test.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    test.assert_complete().await;
}

/// Runs `helpcenter` with these arguments; what it prints as JSON, and whether it succeeded.
async fn helpcenter(app: &TestApp, arguments: &[&str]) -> (Value, bool) {
    let mut command = tokio::process::Command::new(built("helpcenter"));
    command.args(arguments).arg("--json").env_clear().env("DATABASE_URL", app.db.url.expose_secret());
    let ended = command.output().await.unwrap();
    (serde_json::from_slice(&ended.stdout).unwrap_or_default(), ended.status.success())
}

#[tokio::test]
async fn the_command_line_shows_and_moves_jobs() {
    let test = Knowledge::start().await;
    write_articles(&test, 3, 1).await;
    let bury = "update outbox set dead_at = now(), last_error = 'of today' where id in (select id from outbox order by id limit 2)";
    sqlx::query(bury).execute(&mut test.app.db.owner().await).await.unwrap();
    let ask = async |arguments: &[&str]| {
        let (answer, is_success) = helpcenter(&test.app, arguments).await;
        assert!(is_success, "{arguments:?}: {answer}");
        answer
    };
    let dead = ask(&["jobs", "list", "--state", "dead", "--tenant", "acme"]).await;
    let ids: Vec<&str> = dead.as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
    assert_eq!(
        (ids.len(), &dead[0]["tenant"], &dead[0]["last_error"]),
        (2, &"acme".into(), &"of today".into()),
        "{dead}"
    );
    assert_eq!(ask(&["jobs", "show", ids[0]]).await["state"], "dead");
    assert_eq!(ask(&["jobs", "retry", ids[0]]).await["retried"][0], ids[0]);
    assert_eq!(ask(&["jobs", "discard", "--all", "--queue", "embeddings"]).await["discarded"][0], ids[1]);
    assert_eq!(ask(&["jobs", "pause", "embeddings"]).await["paused"], true);
    let stats = ask(&["jobs", "stats"]).await;
    assert_eq!(
        (&stats[1]["queue"], &stats[1]["is_paused"], &stats[1]["unrelayed"]),
        (&"embeddings".into(), &true.into(), &2.into())
    );
    assert_eq!(ask(&["jobs", "resume", "embeddings"]).await["paused"], false);
    assert_eq!(ask(&["jobs", "cancel", "--all"]).await["cancelled"].as_array().unwrap().len(), 2);
    assert_eq!(ask(&["schedule"]).await, serde_json::json!([]));
    let unknown = Uuid::now_v7().to_string();
    for wrong in
        [&["jobs", "retry", &unknown][..], &["jobs", "show", &unknown], &["jobs", "pause", "gone"], &["jobs", "retry"]]
    {
        assert!(!helpcenter(&test.app, wrong).await.1, "{wrong:?}");
    }
}

/// Runs a program to its end.
async fn run(app: &TestApp, name: &str, changed: &[(&str, Option<&str>)]) -> Output {
    let this = std::env::current_exe().unwrap();
    let mut command = tokio::process::Command::new(this.parent().unwrap().parent().unwrap().join(name));
    command
        .env_clear()
        .env("DATABASE_URL", app.db.url.expose_secret())
        .env("REDIS_URL", app.queue_config.redis_url.expose_secret())
        .env("QUEUE_PREFIX", &app.queue_config.prefix)
        .env("EMBEDDING_MODEL_DIR", model_dir())
        .env("METRICS_ADDRESS", "127.0.0.1:0")
        .kill_on_drop(true);
    for (variable, value) in changed {
        match value {
            Some(value) => command.env(variable, value),
            None => command.env_remove(variable),
        };
    }
    let ended = tokio::time::timeout(PATIENCE, command.output()).await;
    ended.unwrap_or_else(|_| panic!("{name} goes on with {changed:?}")).unwrap()
}

fn model_dir() -> String {
    tests::optional_variable("EMBEDDING_MODEL_DIR").unwrap()
}

#[tokio::test]
async fn a_program_with_an_unusable_configuration_ends_with_a_sentence_that_names_the_variable() {
    let app = TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
    let both = [
        ("DATABASE_URL", None),
        ("DATABASE_URL", Some("hidden-nonsense")),
        ("DATABASE_MAX_CONNECTIONS", Some("a few")),
        ("REDIS_URL", None),
        ("REDIS_URL", Some("hidden-nonsense")),
        ("QUEUE_LEASE_SECONDS", Some("0")),
        ("QUEUE_REDIS_TIMEOUT_SECONDS", Some("soon")),
        ("METRICS_ADDRESS", Some("here")),
        ("LOG_FORMAT", Some("xml")),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", Some("localhost:4317")),
        ("OTEL_TRACES_SAMPLER_ARG", Some("2")),
    ];
    let workers = [
        ("WORKER_CONCURRENCY", Some("many")),
        ("WORKER_GRACE_SECONDS", Some("-1")),
        ("EMBEDDING_PROVIDER", Some("crystal-ball")),
        ("EMBEDDING_MODEL_DIR", None),
        ("EMBEDDING_MODEL_DIR", Some("/nowhere")),
        ("EMBEDDING_THREADS", Some("0")),
        ("EMBEDDING_BASE_URL", Some("http://localhost:11434/v1")),
        ("EMBEDDING_PREVIOUS_PROVIDER", Some("local")),
    ];
    let openai = [
        ("EMBEDDING_API_KEY", None),
        ("EMBEDDING_API_KEY", Some("hidden key")),
        ("EMBEDDING_BASE_URL", Some("hidden.example/v1")),
        ("EMBEDDING_BASE_URL", Some("https://hidden:hidden@example.com/v1")),
        ("EMBEDDING_MODEL", None),
        ("EMBEDDING_MODEL", Some("two words")),
        ("EMBEDDING_MODEL_VERSION", Some("two words")),
        ("EMBEDDING_TIMEOUT_SECONDS", Some("0")),
        ("EMBEDDING_BATCH", Some("0")),
        ("EMBEDDING_SEND_DIMENSIONS", Some("perhaps")),
        ("EMBEDDING_PREVIOUS_PROVIDER", Some("crystal-ball")),
        ("EMBEDDING_PREVIOUS_MODEL", Some("all-minilm")),
    ];
    let with_openai = [
        ("EMBEDDING_PROVIDER", Some("openai")),
        ("EMBEDDING_API_KEY", Some("sk-1")),
        ("EMBEDDING_MODEL", Some("text-embedding-3-small")),
    ];
    assert_refused(&app, WORKER, &with_openai, &openai).await;
    let reranker = [
        ("RERANK_MODEL", None),
        ("RERANK_MODEL", Some("two words")),
        ("RERANK_BASE_URL", None),
        ("RERANK_BASE_URL", Some("https://example.com/v1/rerank")),
        ("RERANK_API_KEY", Some("hidden key")),
        ("RERANK_CANDIDATES", Some("1")),
        ("RERANK_TIMEOUT_MILLISECONDS", Some("0")),
        ("SEARCH_MEMORY_MEGABYTES", Some("much")),
    ];
    let with_reranker = [
        ("API_KEY_PEPPER", Some("a pepper of at least thirty-two bytes")),
        ("RERANK_BASE_URL", Some("https://example.com/v1")),
        ("RERANK_MODEL", Some("judge")),
    ];
    assert_refused(&app, API, &with_reranker, &reranker).await;
    let cases = both.iter().flat_map(|case| [(WORKER, case), (SCHEDULER, case)]);
    for (name, case) in cases.chain(workers.iter().map(|case| (WORKER, case))) {
        let output = run(&app, name, &[*case]).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{name} with {case:?}");
        assert!(said.contains(case.0), "{name} with {case:?} says {said}");
        assert!(!said.contains("panicked") && !said.contains("hidden"), "{name} with {case:?} says {said}");
    }
}

#[tokio::test]
async fn a_language_model_that_cannot_be_used_ends_the_program_with_a_sentence_that_names_the_variable() {
    let app = TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
    let llm = [
        ("LLM_PROVIDER", Some("crystal-ball")),
        ("LLM_API_KEY", None),
        ("LLM_API_KEY", Some("hidden key")),
        ("LLM_MODEL", None),
        ("LLM_MODEL", Some("two words")),
        ("LLM_BASE_URL", Some("https://hidden:hidden@example.com/v1")),
        ("LLM_BASE_URL", Some("https://example.com/v1/chat/completions")),
        ("LLM_PRICE_INPUT", None),
        ("LLM_PRICE_OUTPUT", Some("-1")),
        ("LLM_DAILY_BUDGET_USD", Some("five")),
        ("LLM_DAILY_BUDGET_TOKENS", Some("-1")),
        ("LLM_FIRST_TOKEN_TIMEOUT_SECONDS", Some("0")),
        ("LLM_TIMEOUT_SECONDS", Some("301")),
        ("LLM_MAX_OUTPUT_TOKENS", Some("0")),
        ("LLM_CONTEXT_TOKENS", Some("10")),
        ("LLM_ALLOWED_HOSTS", Some("models.internal, 10.0.0.5/v1")),
        ("SECRETS_KEY", Some("hidden")),
    ];
    let with_llm = [
        ("LLM_PROVIDER", Some("openai")),
        ("LLM_API_KEY", Some("sk-1")),
        ("LLM_MODEL", Some("gpt-4o-mini")),
        ("LLM_PRICE_INPUT", Some("0.15")),
        ("LLM_PRICE_OUTPUT", Some("0.6")),
    ];
    assert_refused(&app, WORKER, &with_llm, &llm).await;
    let without_provider = [("LLM_PROVIDER", Some("extractive"))];
    let only_model = [("LLM_MODEL", Some("gpt-4o-mini"))];
    assert_refused(&app, WORKER, &without_provider, &only_model).await;
}

/// What a variable is set to, if it is.
type Setting = (&'static str, Option<&'static str>);

/// A program ends with each of the cases, and names its variable.
async fn assert_refused(app: &TestApp, name: &str, common: &[Setting], cases: &[Setting]) {
    for case in cases {
        let changed: Vec<_> = common.iter().chain([case]).copied().collect();
        let output = run(app, name, &changed).await;
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{case:?}");
        assert!(said.contains(case.0), "{case:?} says {said}");
        assert!(!said.contains("panicked") && !said.contains("hidden"), "{case:?} says {said}");
    }
}
