//! Jobs and queues over HTTP: admins look after their own, operators after the deployment, and nobody else after anything.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::time::Duration;

use api::routes::{self, Access};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    auth::{Roles, api_key},
    queue::{JobError, Queue, admin, worker::Registry},
    tenancy::TenantId,
};
use tests::TestApp;
use uuid::Uuid;

use crate::queue::support::{Gate, History, Running, Step, eventually};

const JOBS: &str = "/api/v2/help-center/admin/jobs/";
const QUEUES: &str = "/api/v2/help-center/admin/queues/";
const ARTICLE: Uuid = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001);

struct World {
    app: TestApp,
    acme: TenantId,
    /// A person of acme.
    admin: String,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let acme = app.db.tenant("acme").await.id;
        app.db.tenant("globex").await;
        sqlx::query("insert into articles (tenant_id, id, slug) values ($1, $2, 'article')")
            .bind(acme.uuid())
            .bind(ARTICLE)
            .execute(&mut app.db.owner().await)
            .await
            .unwrap();
        let admin = app.token("acme", &["admin"]);
        Self { app, acme, admin }
    }

    async fn key(&self, scopes: &[&str]) -> String {
        let new = api_key::NewApiKey {
            name: "machine".to_owned(),
            roles: Roles::new(vec!["admin".to_owned()]).unwrap(),
            scopes: scopes.iter().map(ToString::to_string).collect(),
            expires_at: None,
        };
        let mut tx = self.app.db.database.tenant(self.acme).await.unwrap();
        let created = api_key::create(&mut tx, &self.app.pepper(), &new, "test").await.unwrap();
        tx.commit().await.unwrap();
        created.text
    }

    async fn enqueue(&self, name: &str) -> Uuid {
        let mut tx = self.app.db.database.tenant(self.acme).await.unwrap();
        let id = shared::queue::enqueue(&mut tx, &Step::new(name)).await.unwrap();
        tx.commit().await.unwrap();
        id.uuid()
    }

    /// A job that is a dead letter.
    async fn dead_letter(&self, name: &str) -> Uuid {
        let id = self.enqueue(name).await;
        self.app.run_jobs_with(self.app.worker_with(failing(&History::default()))).await;
        id
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.app.get(path, &self.admin).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        let (status, answer) = self.app.post(path, &self.admin, &body).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    async fn state(&self, id: Uuid) -> String {
        self.get(&format!("{JOBS}{id}/")).await["state"].as_str().unwrap().to_owned()
    }

    async fn audit_log(&self) -> Vec<(String, String, String)> {
        sqlx::query_as("select actor, action, subject from audit_log where action like any (array['jobs.%', 'queue.%']) order by id")
            .fetch_all(&mut self.app.db.owner().await)
            .await
            .unwrap()
    }
}

fn failing(history: &History) -> Registry {
    history.registry(|_, _| async { Err(JobError::fail(std::io::Error::other("of today"))) })
}

fn filled(path: &str, id: &str) -> String {
    path.replace("{id}", id).replace("{name}", "maintenance").replace("{subject}", "ada")
}

fn body(endpoint: &routes::Endpoint) -> Value {
    match endpoint.path.rsplit("/admin/").next().unwrap_or_default() {
        "reindex/" | "language-model/" | "language-model/usage/" => json!({}),
        "search-pins/" => json!({ "query": "page", "article_ids": [] }),
        path if path.starts_with("contextual-rules/") => json!({ "pattern": "/page", "article_ids": [ARTICLE] }),
        path if path.starts_with("synonyms/") => json!({ "terms": ["a", "b"] }),
        _ => json!({ "ids": [Uuid::nil()] }),
    }
}

#[tokio::test]
async fn only_admins_reach_the_routes_of_admins_and_only_operators_those_of_operators() {
    let world = World::new().await;
    let id = world.dead_letter("job").await.to_string();
    let (reading, managing, operating) =
        (world.key(&[]).await, world.key(&["manage"]).await, world.key(&["operate"]).await);
    let of_many_roles = world.app.token("acme", &["operator", "operate", "manage", "editor", "Admin", "admins"]);
    let callers = [
        ("a person without a role", world.app.token("acme", &[]), false, false),
        ("a person with other roles", of_many_roles, false, false),
        ("a person with the role", world.admin.clone(), true, false),
        ("a machine that has the role and may read", reading, false, false),
        ("a machine that may manage", managing, true, false),
        ("a machine that may operate", operating, false, true),
    ];
    let mut asked = 0;
    for endpoint in routes::table() {
        let (Access::Admin | Access::Operator) = endpoint.access else { continue };
        let path = filled(endpoint.path, &id);
        let method: Method = endpoint.method.as_str().parse().unwrap();
        let request = || match endpoint.path {
            "/api/v2/help-center/admin/import/" => {
                // An empty archive: it imports nothing.
                let body = [&b"PK\x05\x06"[..], &[0; 18]].concat();
                world.app.request(method.clone(), &path).header("content-type", "application/zip").body(body)
            }
            _ => world.app.request(method.clone(), &path).json(&body(&endpoint)),
        };
        let (status, answer) = tests::json(request()).await;
        assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("authentication_required")), "{path}");
        for (who, credential, is_admin, is_operator) in &callers {
            let is_let_in = if endpoint.access == Access::Admin { *is_admin } else { *is_operator };
            let request = request().bearer_auth(credential);
            if is_let_in {
                let status = request.send().await.unwrap().status();
                let is_about_nothing = status == StatusCode::NOT_FOUND
                    && ["/synonyms/", "/contextual-rules/", "/imports/"].iter().any(|part| path.contains(part));
                assert!(status.is_success() || is_about_nothing, "{who}: {path}: {status}");
            } else {
                let (status, answer) = tests::json(request).await;
                assert_eq!(status, StatusCode::FORBIDDEN, "{who}: {path}");
                assert_eq!(answer["code"], "permission_required", "{who}: {path}");
            }
            asked += 1;
        }
    }
    assert_eq!(asked, 186);
}

#[tokio::test]
async fn another_tenants_admin_cannot_tell_a_job_from_one_that_does_not_exist_and_changes_none() {
    let world = World::new().await;
    let dead = world.dead_letter("dead").await;
    let waiting = world.enqueue("waiting").await;
    let stranger = world.app.token("globex", &["admin"]);
    for endpoint in routes::table() {
        let is_about_a_job = endpoint.access == Access::Admin && endpoint.path.contains("/jobs/{id}/");
        if !is_about_a_job {
            continue;
        }
        let answer = async |id: Uuid| {
            let (status, mut answer) = world.app.get(&filled(endpoint.path, &id.to_string()), &stranger).await;
            answer["request_id"].take();
            (status, answer)
        };
        let missing = answer(Uuid::now_v7()).await;
        assert_eq!(missing.0, StatusCode::NOT_FOUND);
        assert_eq!(answer(dead).await, missing, "{endpoint:?}");
    }
    let (_, listed) = world.app.get(JOBS, &stranger).await;
    assert_eq!(listed["results"], json!([]));
    for action in ["retry", "discard", "cancel"] {
        for body in [json!({ "ids": [dead, waiting] }), json!({ "all": true })] {
            let (status, answer) = world.app.post(&format!("{JOBS}{action}/"), &stranger, &body).await;
            assert_eq!((status, &answer["ids"]), (StatusCode::OK, &json!([])), "{action}: {answer}");
        }
    }
    assert_eq!((world.state(dead).await, world.state(waiting).await), ("dead".to_owned(), "waiting".to_owned()));
    assert!(world.audit_log().await.is_empty());
}

#[tokio::test]
async fn jobs_are_listed_page_by_page_and_looked_at() {
    let world = World::new().await;
    let dead = world.dead_letter("dead").await;
    let mut ids = vec![dead];
    for n in 0..4 {
        ids.push(world.enqueue(&format!("job {n}")).await);
    }
    ids.reverse();
    let (mut found, mut path) = (Vec::new(), format!("{JOBS}?limit=2"));
    loop {
        let page = world.get(&path).await;
        found.extend(page["results"].as_array().unwrap().iter().map(|job| job["id"].clone()));
        let Some(cursor) = page["next_cursor"].as_str() else { break };
        path = format!("{JOBS}?limit=2&cursor={cursor}");
    }
    assert_eq!(found, ids.iter().map(|id| json!(id)).collect::<Vec<_>>());
    let count = async |query: &str| world.get(&format!("{JOBS}?{query}")).await["results"].as_array().unwrap().len();
    assert_eq!(count("state=dead").await, 1);
    assert_eq!(count("state=dead,waiting&queue=maintenance&job=step").await, 5);
    assert_eq!(count("queue=embeddings").await, 0);
    let job = world.get(&format!("{JOBS}{dead}/")).await;
    assert_eq!((&job["attempts"], &job["last_error"]), (&json!(1), &json!("of today")), "{job}");
    for (query, says) in [("state=gone", "waiting, scheduled"), ("queue=gone", "maintenance"), ("limit=0", "1 to 500")]
    {
        let (status, answer) = world.app.get(&format!("{JOBS}?{query}"), &world.admin).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        assert!(answer["detail"].as_str().unwrap().contains(says), "{answer}");
    }
}

#[tokio::test]
async fn dead_letters_are_retried_or_discarded_and_jobs_cancelled_and_the_audit_log_says_by_whom() {
    let world = World::new().await;
    let (first, second) = (world.dead_letter("first").await, world.dead_letter("second").await);
    assert_eq!(world.post(&format!("{JOBS}retry/"), json!({ "ids": [first] })).await["ids"], json!([first]));
    assert_eq!(world.state(first).await, "waiting");
    assert_eq!(world.post(&format!("{JOBS}discard/"), json!({ "all": true })).await["ids"], json!([second]));
    assert_eq!(world.state(second).await, "discarded");
    let cancelled = world.post(&format!("{JOBS}cancel/"), json!({ "all": true, "job": "step" })).await;
    assert_eq!(cancelled, json!({ "ids": [first], "told": [] }));
    assert_eq!(world.state(first).await, "cancelled");
    let done = |action: &str, id: Uuid| ("person:person-1".to_owned(), action.to_owned(), id.to_string());
    assert_eq!(
        world.audit_log().await,
        [done("jobs.retried", first), done("jobs.discarded", second), done("jobs.cancelled", first)]
    );
    for body in [json!({}), json!({ "ids": [] }), json!({ "ids": [first], "all": true }), json!({ "all": false })] {
        let (status, answer) = world.app.post(&format!("{JOBS}cancel/"), &world.admin, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer["detail"].as_str().unwrap().starts_with("Which jobs are meant?"), "{answer}");
    }
}

/// The jobs that a stream tells of, until it ends; and the id of the last event.
async fn watched(mut stream: reqwest::Response) -> (Vec<Value>, Option<String>) {
    let mut text = String::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    let after = |prefix: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(prefix)).map(str::to_owned).collect()
    };
    let jobs = after("data: ").iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    (jobs, after("id: ").pop())
}

#[tokio::test]
async fn a_job_can_be_watched_from_waiting_to_its_end() {
    let world = World::new().await;
    let id = world.enqueue("job").await;
    let path = format!("{JOBS}{id}/events/");
    let watch = || world.app.request(Method::GET, &path).bearer_auth(&world.admin);
    let stream = watch().send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let watching = tokio::spawn(watched(stream));
    tokio::time::sleep(Duration::from_millis(300)).await;
    let (history, gate) = (History::default(), Gate::closed());
    let at_gate = gate.clone();
    let worker = Running::start(world.app.worker_with(history.registry(move |_, run| {
        let gate = at_gate.clone();
        async move {
            run.report_progress(1, 2);
            gate.passed().await;
            run.set_result(json!({ "pages": 3 }));
            Ok(())
        }
    })));
    eventually("its progress is known", async || {
        let job = world.get(&format!("{JOBS}{id}/")).await;
        (job["progress"]["done"] == 1).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    gate.open();
    let (jobs, last) = watching.await.unwrap();
    worker.stop().await;
    let mut states: Vec<&str> = jobs.iter().map(|job| job["state"].as_str().unwrap()).collect();
    states.dedup();
    assert_eq!(states, ["waiting", "running", "done"], "{jobs:#?}");
    assert!(jobs.iter().any(|job| job["progress"]["done"] == 1), "{jobs:#?}");
    assert_eq!(jobs.last().unwrap()["result"], json!({ "pages": 3 }));
    // A browser opens the stream again when it ended, and is told to stop that.
    assert_eq!(last.as_deref(), Some("end"));
    let again = watch().header("last-event-id", "end").send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NO_CONTENT);
    let late = watched(watch().send().await.unwrap()).await;
    assert_eq!(late.0.len(), 1, "who comes late sees how it ended: {late:?}");
}

#[tokio::test]
async fn operators_see_every_queue_pause_it_and_read_the_schedule() {
    let world = World::new().await;
    let operator = world.key(&["operate"]).await;
    world.enqueue("job").await;
    let pause = format!("{QUEUES}maintenance/pause/");
    for _ in 0..2 {
        let (status, answer) = world.app.post(&pause, &operator, &json!({})).await;
        assert_eq!((status, answer), (StatusCode::OK, json!({ "queue": "maintenance", "is_paused": true })));
    }
    let (_, queues) = world.app.get(QUEUES, &operator).await;
    let maintenance = queues["results"].as_array().unwrap().iter().find(|q| q["queue"] == "maintenance").unwrap();
    assert_eq!((&maintenance["is_paused"], &maintenance["unrelayed"]), (&json!(true), &json!(1)), "{queues}");
    // A worker that starts while a queue is paused starts none of its jobs.
    let history = History::default();
    let worker = Running::start(world.app.worker_with(history.succeeding()));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(history.finished().is_empty());
    let (status, _) = world.app.post(&format!("{QUEUES}maintenance/resume/"), &operator, &json!({})).await;
    assert_eq!(status, StatusCode::OK);
    world.app.until_no_job_is_open().await;
    worker.stop().await;
    assert!(!admin::resume(&world.app.db.database, Queue::Maintenance).await.unwrap());
    let log = world.audit_log().await;
    let actions: Vec<&str> = log.iter().map(|(_, action, _)| action.as_str()).collect();
    assert_eq!(actions, ["queue.paused", "queue.resumed"]);
    assert!(log.iter().all(|(actor, _, _)| actor.starts_with("key:")), "{log:?}");
    let (status, answer) = world.app.post(&format!("{QUEUES}gone/pause/"), &operator, &json!({})).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(answer["detail"].as_str().unwrap().contains("answers, embeddings, maintenance"), "{answer}");
    let (status, schedule) = world.app.get("/api/v2/help-center/admin/schedule/", &operator).await;
    assert_eq!((status, &schedule["results"]), (StatusCode::OK, &json!([])), "no scheduler has led yet");
}
