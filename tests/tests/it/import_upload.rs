//! Importing documentation that is uploaded as a zip archive, by a job.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::{
    io::{Cursor, Write as _},
    time::Duration,
};

use reqwest::{Method, StatusCode};
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{knowledge::import::upload, tenancy::TenantId};
use tests::{
    Settings, TestApp,
    fixture::{article, png},
    processes::Program,
    proxy::Proxy,
};
use uuid::Uuid;

use crate::queue::support::eventually;

const IMPORT: &str = "/api/v2/help-center/admin/import/";
const IMPORTS: &str = "/api/v2/help-center/admin/imports/";

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in files {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(content).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn garden() -> Vec<u8> {
    zip(&[
        (
            "garden/index.md",
            article("Gardening", "See [tools](tools.md) and [none](none.md). ![x](img/fern.png)").as_bytes(),
        ),
        ("garden/tools.md", article("Tools", "A spade.").as_bytes()),
        ("garden/plants/ferns.md", article("Ferns", "They like shade.").as_bytes()),
        ("garden/bad.md", b"---\nstatus: MAYBE\n---\n"),
        ("garden/img/fern.png", &png("fern")),
        ("__MACOSX/garden/index.md", b"junk"),
    ])
}

struct World {
    app: TestApp,
    tenant: TenantId,
    admin: String,
}

impl World {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        let app = TestApp::start_with(settings).await;
        let tenant = app.db.tenant("garden").await.id;
        let admin = app.token("garden", &["admin"]);
        Self { app, tenant, admin }
    }

    async fn send(&self, query: &str, body: Vec<u8>) -> (StatusCode, Value) {
        let request = self.app.request(Method::POST, &format!("{IMPORT}?{query}")).bearer_auth(&self.admin);
        tests::json(request.header("content-type", "application/zip").body(body)).await
    }

    /// Uploads, and returns the address of the job.
    async fn start(&self, query: &str, body: Vec<u8>) -> String {
        let (status, started) = self.send(query, body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{started}");
        started["url"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        let (status, answer) = self.app.get(path, &self.admin).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// The latest import, with its report.
    async fn latest(&self) -> Value {
        let listed = self.get(IMPORTS).await;
        self.get(&format!("{IMPORTS}{}/", listed["results"][0]["id"].as_str().unwrap())).await
    }

    async fn import(&self, query: &str, body: Vec<u8>) -> Value {
        self.start(query, body).await;
        self.app.run_jobs().await;
        self.latest().await["report"].clone()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    async fn slow_down(&self) {
        let slow = "create function slow() returns trigger language plpgsql as
                        $$ begin perform pg_sleep(0.4); return null; end $$;
                    create trigger slow after insert on search_documents for each statement execute function slow()";
        sqlx::raw_sql(slow).execute(&mut self.app.db.owner().await).await.unwrap();
    }
}

#[tokio::test]
async fn an_archive_is_imported_and_what_became_of_it_can_be_read() {
    let world = World::new().await;
    let job = world.start("source=garden&default_category=Start", garden()).await;
    assert_eq!(world.count("select count(*) from import_chunks").await, 1);
    let waiting = world.latest().await;
    assert_eq!(
        (&waiting["ended_at"], &waiting["report"], &waiting["job_url"]),
        (&Value::Null, &Value::Null, &json!(job))
    );
    world.app.run_jobs().await;

    let done = world.get(&job).await;
    assert_eq!(done["state"], "done", "{done}");
    assert_eq!((&done["progress"]["done"], &done["progress"]["total"]), (&json!(4), &json!(4)), "{done}");
    assert_eq!((&done["result"]["created"], &done["result"]["failed"]), (&json!(3), &json!(1)), "{done}");
    let import = world.latest().await;
    let report = &import["report"];
    assert_eq!((&report["created"], &report["images_created"]), (&json!(3), &json!(1)), "{report}");
    assert_eq!(report["broken_links"], json!([["index.md", "none.md"]]));
    assert_eq!(report["failed"][0][0], "bad.md");
    assert_eq!((&import["source"], &import["requested_by"]), (&json!("garden"), &json!("person:person-1")));
    assert_eq!(world.count("select count(*) from import_chunks").await, 0, "the archive is gone");
    let (_, tree) = world.app.get("/api/v2/help-center/categories/", &world.admin).await;
    let names: Vec<&str> = tree["results"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["Plants", "Start"]);

    // Twice is harmless: by a second archive, and by the same job.
    let again = world.import("source=garden&default_category=Start", garden()).await;
    assert_eq!(
        (&again["created"], &again["changed"], &again["unchanged"]),
        (&json!(0), &json!(0), &json!(3)),
        "{again}"
    );
    let id: Uuid = import["id"].as_str().unwrap().parse().unwrap();
    let run = upload::run(&world.app.db.database, world.tenant, id, |_, _| ()).await.unwrap();
    assert_eq!(run, None, "it has ended");
    assert_eq!(world.count("select count(*) from revisions").await, 3);
    let requested = world.count("select count(*) from audit_log where action = 'knowledge.import_requested'").await;
    assert_eq!(requested, 2);
}

#[tokio::test]
async fn a_dry_run_writes_nothing() {
    let world = World::new().await;
    let report = world.import("dry_run=true", garden()).await;
    assert_eq!((&report["dry_run"], &report["created"]), (&json!(true), &json!(3)), "{report}");
    let written =
        "select (select count(*) from articles) + (select count(*) from categories) + (select count(*) from assets)";
    assert_eq!(world.count(written).await, 0);
}

#[tokio::test]
async fn articles_whose_files_are_gone_are_archived_on_request_and_come_back_with_them() {
    let world = World::new().await;
    world.import("source=garden", garden()).await;
    let without = || {
        zip(&[
            ("garden/index.md", article("Gardening", "Nothing.").as_bytes()),
            ("garden/x.md", article("X", "X").as_bytes()),
        ])
    };
    let kept = world.import("source=garden", without()).await;
    assert_eq!(
        (&kept["archived"], &kept["removed_kept"], &kept["changed"]),
        (&json!(0), &json!(2), &json!(1)),
        "{kept}"
    );
    let other = world.import("source=other&archive_removed=true", without()).await;
    assert_eq!(other["archived"], 0, "those of another source are left alone: {other}");
    let gone = world.import("source=garden&archive_removed=true", without()).await;
    assert_eq!((&gone["archived"], &gone["removed_kept"]), (&json!(2), &json!(0)), "{gone}");
    let token = world.app.token("garden", &[]);
    let status = async |slug: &str| world.app.get(&format!("/api/v2/help-center/articles/{slug}/"), &token).await.0;
    assert_eq!((status("tools").await, status("ferns").await), (StatusCode::NOT_FOUND, StatusCode::NOT_FOUND));
    assert!(!world.app.search_titles(&token, "spade").await.contains(&"Tools".to_owned()));
    let back = world.import("source=garden&archive_removed=true", garden()).await;
    assert_eq!((&back["archived"], &back["changed"]), (&json!(1), &json!(3)), "{back}");
    assert_eq!((status("tools").await, status("ferns").await), (StatusCode::OK, StatusCode::OK));
    assert_eq!(world.app.search_titles(&token, "spade").await[0], "Tools");
}

#[tokio::test]
async fn bad_archives_fail_with_a_sentence_and_bad_entries_are_left_out() {
    let world = World::new().await;
    let report = world
        .import(
            "",
            zip(&[("a.md", article("A", "A").as_bytes()), ("b/../../evil.md", b"evil"), ("/etc/evil.md", b"evil")]),
        )
        .await;
    assert_eq!((&report["created"], report["failed"].as_array().unwrap().len()), (&json!(1), 2), "{report}");
    let job = world.start("", b"PK\x03\x04 and then nothing that makes sense".to_vec()).await;
    world.app.run_jobs_with(world.app.worker()).await;
    let dead = world.get(&job).await;
    assert_eq!(dead["state"], "dead", "{dead}");
    assert!(dead["last_error"].as_str().unwrap().contains("no zip archive that can be read"), "{dead}");
    let import = world.latest().await;
    assert!(import["error"].as_str().unwrap().contains("no zip archive") && import["ended_at"].is_string(), "{import}");
    assert_eq!(world.count("select count(*) from import_chunks").await, 0);

    for (content_type, body, status) in [
        ("application/zip", b"text".to_vec(), StatusCode::BAD_REQUEST),
        ("application/zip", Vec::new(), StatusCode::BAD_REQUEST),
        ("application/json", garden(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        ("application/zip", [&b"PK"[..], &vec![0; 9 * 1024 * 1024]].concat(), StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        let request = world.app.request(Method::POST, IMPORT).bearer_auth(&world.admin);
        let (answered, answer) = tests::json(request.header("content-type", content_type).body(body)).await;
        assert_eq!(answered, status, "{content_type}: {answer}");
    }
    for query in ["source=", "source=%0a", "dry_run=perhaps", "unknown=1"] {
        assert_eq!(world.send(query, garden()).await.0, StatusCode::BAD_REQUEST, "{query}");
    }
    let stranger = world.app.token("garden", &["editor"]);
    assert_eq!(world.app.get(IMPORTS, &stranger).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_is_replaced_by_one_that_ends_the_import() {
    let world = World::with(Settings { lease: Duration::from_secs(2), ..Settings::default() }).await;
    world.slow_down().await;
    let job = world.start("source=garden", garden()).await;
    let worker = Program::start(&world.app, "helpcenter-worker");
    eventually("one is imported", async || (world.count("select count(*) from articles").await >= 1).then_some(()))
        .await;
    worker.kill();
    assert!(world.count("select count(*) from articles").await < 3, "killed in the middle");
    let worker = Program::start(&world.app, "helpcenter-worker").ready().await;
    world.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    assert_eq!(world.get(&job).await["state"], "done");
    let written = "select (select count(*) from articles) * 100 + (select count(*) from revisions) * 10
                       + (select count(*) from assets)";
    assert_eq!(world.count(written).await, 331, "each article once, with one revision");
    assert_eq!(world.count("select count(*) from import_chunks").await, 0);
    assert_eq!(world.latest().await["report"]["failed"][0][0], "bad.md");
}

#[tokio::test]
async fn it_can_be_cancelled_and_its_archive_goes() {
    let world = World::with(Settings { lease: Duration::from_secs(2), ..Settings::default() }).await;
    world.slow_down().await;
    let job = world.start("source=garden", garden()).await;
    let worker = Program::start(&world.app, "helpcenter-worker");
    eventually("one is imported", async || (world.count("select count(*) from articles").await >= 1).then_some(()))
        .await;
    let id = job.rsplit('/').nth(1).unwrap();
    world.app.post("/api/v2/help-center/admin/jobs/cancel/", &world.admin, &json!({ "ids": [id] })).await;
    eventually("it has ended", async || (world.get(&job).await["state"] == "cancelled").then_some(())).await;
    assert!(worker.terminate().await.success());
    assert!(world.count("select count(*) from articles").await < 3);
    let mut tx = world.app.db.database.tenant(world.tenant).await.unwrap();
    upload::tidy(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.count("select count(*) from import_chunks").await, 0);
    assert!(world.latest().await["error"].as_str().unwrap().contains("cancelled"));
}

#[tokio::test]
async fn a_waiting_or_running_import_keeps_its_archive() {
    let world = World::new().await;
    world.start("source=garden", garden()).await;
    let mut tx = world.app.db.database.tenant(world.tenant).await.unwrap();
    upload::tidy(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(world.count("select count(*) from import_chunks").await, 1);
    world.app.run_jobs().await;
    assert_eq!(world.latest().await["report"]["created"], 3);
}

#[tokio::test]
async fn an_import_waits_for_redis_and_goes_on_without_it() {
    let world = World::with(Settings { lease: Duration::from_secs(2), ..Settings::default() }).await;
    let proxy = Proxy::before(&world.app.queue_config.redis_url).await;
    let url = proxy.url(&world.app.queue_config.redis_url);
    let variables = [("REDIS_URL", url.expose_secret()), ("QUEUE_REDIS_TIMEOUT_SECONDS", "1")];
    let worker = Program::start_with(&world.app, "helpcenter-worker", &variables).ready().await;
    let written = "select (select count(*) from articles) * 10000 + (select count(*) from revisions) * 100
                       + (select count(distinct source_path) from articles)";

    // It is uploaded while Redis is down.
    proxy.cut();
    let waiting = world.start("source=garden", garden()).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!((world.get(&waiting).await["state"].clone(), world.count(written).await), (json!("waiting"), 0));
    proxy.restore();
    eventually("it is done", async || (world.get(&waiting).await["state"] == "done").then_some(())).await;
    assert_eq!(world.count(written).await, 3_03_03);

    // Redis goes for longer than a lease while it runs.
    world.slow_down().await;
    let files: Vec<(String, String)> =
        (0..12).map(|n| (format!("beds/{n}.md"), article(&format!("Bed {n}"), "Peas."))).collect();
    let files: Vec<(&str, &[u8])> = files.iter().map(|(path, text)| (path.as_str(), text.as_bytes())).collect();
    let running = world.start("source=beds", zip(&files)).await;
    let imported = "select count(*) from articles where source = 'beds'";
    eventually("two are imported", async || (world.count(imported).await >= 2).then_some(())).await;
    proxy.cut();
    assert!(world.count(imported).await < 6, "in the middle");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(world.count(imported).await > 6, "what runs goes on");
    proxy.restore();
    eventually("it is done", async || (world.get(&running).await["state"] == "done").then_some(())).await;
    world.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    assert_eq!(world.count(written).await, 15_15_15, "each article once, with one revision");
    // The lease of the first attempt ran out, and the next one found what it had done.
    let result = &world.get(&running).await["result"];
    assert_eq!(result["created"].as_u64().unwrap() + result["unchanged"].as_u64().unwrap(), 12, "{result}");
    assert_eq!(world.count("select count(*) from import_chunks").await, 0);
    assert_eq!(world.count("select count(*) from imports where ended_at is null or error is not null").await, 0);
}

#[tokio::test]
async fn a_machine_that_can_open_no_more_files_is_no_fault_of_the_files() {
    let world = World::new().await;
    let worker = Program::start(&world.app, "helpcenter-worker").ready().await;
    world.slow_down().await;
    let job = world.start("source=garden", garden()).await;
    eventually("one is imported", async || (world.count("select count(*) from articles").await >= 1).then_some(()))
        .await;
    let process = Pid::from_raw(worker.id().cast_signed());
    let may_open = |files| {
        let limit = Rlimit { current: Some(files), maximum: Some(4096) };
        prlimit(process, Resource::Nofile, limit).unwrap();
    };
    may_open(3);
    let failure = async || world.get(&job).await["last_error"].as_str().map(str::to_owned);
    let failure = eventually("it has failed", failure).await;
    assert!(failure.contains("files cannot be read now"), "{failure}");
    may_open(1024);
    world.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    let report = &world.latest().await["report"];
    assert_eq!(
        (report["failed"].as_array().unwrap().len(), &report["failed"][0][0]),
        (1, &json!("bad.md")),
        "{report}"
    );
    assert_eq!(world.count("select count(*) from revisions").await, 3);
}
