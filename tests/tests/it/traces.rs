//! Traces, as a collector gets them: one from a request, a command or a tick to the attempts of the jobs that follow from it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers of tests fail the test that uses them")]

use std::{
    collections::BTreeMap,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{span::SpanKind, status::StatusCode},
};
use prost::Message as _;
use reqwest::Client;
use secrecy::ExposeSecret as _;
use serde_json::json;
use tests::{
    JWT_SECRET, Settings, TestApp, fixture,
    processes::{Program, built, free_port},
};
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{header, method, path},
};

use crate::jobs::Knowledge;

const API: &str = "helpcenter-api";
const WORKER: &str = "helpcenter-worker";
const SCHEDULER: &str = "helpcenter-scheduler";
const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A trace that began elsewhere, and the span there.
pub(crate) const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
pub(crate) const CALLER: &str = "00f067aa0cc902c7";

/// A `traceparent` of that span, recorded or not.
pub(crate) fn trace_parent(is_recorded: bool) -> String {
    format!("00-{TRACE}-{CALLER}-0{}", u8::from(is_recorded))
}

/// A collector of OTLP over HTTP that keeps what it gets.
pub(crate) struct Collector(MockServer);

/// A span that was collected.
#[derive(Debug, Clone)]
pub(crate) struct Collected {
    pub(crate) service: String,
    pub(crate) name: String,
    pub(crate) kind: SpanKind,
    pub(crate) trace: String,
    pub(crate) id: String,
    /// Empty: it began the trace.
    pub(crate) parent: String,
    pub(crate) is_error: bool,
    pub(crate) attributes: BTreeMap<String, Value>,
}

impl Collected {
    pub(crate) fn text(&self, attribute: &str) -> &str {
        match &self.attributes[attribute] {
            Value::StringValue(text) => text,
            other => panic!("{attribute} is {other:?}"),
        }
    }

    pub(crate) fn number(&self, attribute: &str) -> i64 {
        match &self.attributes[attribute] {
            Value::IntValue(number) => *number,
            other => panic!("{attribute} is {other:?}"),
        }
    }
}

impl Collector {
    pub(crate) async fn start() -> Self {
        let server = MockServer::start().await;
        Mock::given(method("POST"))
            .and(path("/v1/traces"))
            .and(header("content-type", "application/x-protobuf"))
            .respond_with(ResponseTemplate::new(200))
            .mount(&server)
            .await;
        Self(server)
    }

    pub(crate) fn endpoint(&self) -> String {
        self.0.uri()
    }

    async fn bodies(&self) -> Vec<Vec<u8>> {
        self.0.received_requests().await.unwrap().into_iter().map(|request| request.body).collect()
    }

    /// What it got so far, the earliest first.
    pub(crate) async fn spans(&self) -> Vec<Collected> {
        let mut collected = Vec::new();
        for body in self.bodies().await {
            for resource in ExportTraceServiceRequest::decode(body.as_slice()).unwrap().resource_spans {
                let about = attributes(resource.resource.unwrap().attributes);
                let Value::StringValue(service) = &about["service.name"] else { panic!("{about:?}") };
                assert!(about.contains_key("service.version") && about.contains_key("service.instance.id"));
                for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
                    let collected_span = Collected {
                        service: service.clone(),
                        kind: span.kind(),
                        trace: hex(&span.trace_id),
                        id: hex(&span.span_id),
                        parent: hex(&span.parent_span_id),
                        is_error: span.status.is_some_and(|status| status.code() == StatusCode::Error),
                        attributes: attributes(span.attributes),
                        name: span.name,
                    };
                    collected.push((span.start_time_unix_nano, collected_span));
                }
            }
        }
        collected.sort_by_key(|(start, _)| *start);
        collected.into_iter().map(|(_, span)| span).collect()
    }

    /// The only span of that name.
    async fn span(&self, name: &str) -> Collected {
        let spans = self.spans().await;
        let [span] = named(&spans, name)[..] else { panic!("not one `{name}` among {spans:#?}") };
        span.clone()
    }
}

/// The spans of that name.
pub(crate) fn named<'a>(spans: &'a [Collected], name: &str) -> Vec<&'a Collected> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn attributes(of: Vec<KeyValue>) -> BTreeMap<String, Value> {
    of.into_iter().map(|pair| (pair.key, pair.value.unwrap().value.unwrap())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The API as a process that exports to `endpoint`, and where it answers.
async fn api(app: &TestApp, endpoint: &str) -> (Program, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let variables = [
        ("API_ADDRESS", address.as_str()),
        ("API_KEY_PEPPER", "a pepper of at least thirty-two bytes, for tests only"),
        ("JWT_SECRET", JWT_SECRET),
        (ENDPOINT, endpoint),
    ];
    let program = Program::start_with(app, API, &variables).ready().await;
    (program, format!("http://{address}"))
}

/// `helpcenter sync-documentation`, run to its end.
async fn sync_documentation(test: &Knowledge, endpoint: &str) -> Output {
    let mut command = tokio::process::Command::new(built("helpcenter"));
    command
        .args(["sync-documentation", "--tenant", "acme"])
        .arg(test.folder.path())
        .env_clear()
        .env("DATABASE_URL", test.app.db.url.expose_secret())
        .env(ENDPOINT, endpoint)
        .stdin(Stdio::null());
    command.output().await.unwrap()
}

#[tokio::test]
async fn a_request_goes_on_with_its_callers_trace_and_tells_nobody_what_was_searched() {
    let app = TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
    app.db.tenant("acme").await;
    let collector = Collector::start().await;
    let (program, url) = api(&app, &collector.endpoint()).await;
    let client = Client::new();
    let search = || client.post(format!("{url}/api/v2/help-center/search/")).json(&json!({ "query": "canaryquery" }));
    let exp = shared::clock::Clock::system().now().timestamp() + 3600;
    let roles = ["canaryrole".to_owned()];
    let new = shared::auth::jwt::NewToken { sub: "canaryperson", tenant: "acme", roles: &roles, name: "Canary", exp };
    let token = shared::auth::jwt::sign(&JWT_SECRET.to_owned().into(), &new).unwrap();
    let found = search().bearer_auth(&token).header("traceparent", trace_parent(true)).send().await.unwrap();
    assert_eq!(found.status(), 200);
    let request_id = found.headers()["x-request-id"].to_str().unwrap().to_owned();
    let refused = search().header("traceparent", "nonsense").send().await.unwrap();
    assert_eq!(refused.status(), 401);
    let unseen = client.get(format!("{url}/canarypath/")).header("traceparent", trace_parent(false)).send().await;
    assert_eq!(unseen.unwrap().status(), 404);
    let log = program.log();
    assert!(program.terminate().await.success());

    let spans = collector.spans().await;
    let searches = named(&spans, "POST /api/v2/help-center/search/");
    let [found, refused] = searches[..] else { panic!("{spans:#?}") };
    assert_eq!((found.service.as_str(), found.kind, found.is_error), (API, SpanKind::Server, false));
    assert_eq!((found.trace.as_str(), found.parent.as_str()), (TRACE, CALLER));
    assert_eq!(found.text("http.request.method"), "POST");
    assert_eq!(found.text("request_id"), request_id);
    assert_eq!(found.number("http.response.status_code"), 200);
    assert_eq!(refused.number("http.response.status_code"), 401);
    assert_eq!(refused.parent, "", "what cannot be read begins a trace");
    assert_ne!(refused.trace, TRACE);
    let denied = log.lines().find(|line| line.contains("http.denied")).unwrap();
    assert!(denied.contains(&refused.trace), "{denied}");
    assert!(!spans.iter().any(|span| span.text("http.route") == "unmatched"), "its caller's trace is not recorded");
    for body in collector.bodies().await {
        assert!(!String::from_utf8_lossy(&body).to_lowercase().contains("canary"));
    }
}

#[tokio::test]
async fn the_attempt_of_a_job_that_a_request_opened_is_of_the_requests_trace() {
    let test = Knowledge::start().await;
    let collector = Collector::start().await;
    // A dead letter, which a request has tried again: nothing that an article needs, so that it ends at once.
    let mut tx = test.app.db.database.tenant(test.tenant).await.unwrap();
    let job = shared::knowledge::EmbedArticle { article_id: Uuid::now_v7(), revision_id: Uuid::now_v7() };
    let id = shared::queue::enqueue(&mut tx, &job).await.unwrap();
    tx.commit().await.unwrap();
    let bury = "update outbox set dead_at = now(), last_error = 'of before' where id = $1";
    sqlx::query(bury).bind(id.uuid()).execute(&mut test.app.db.owner().await).await.unwrap();
    let (program, url) = api(&test.app, &collector.endpoint()).await;
    let roles = ["admin".to_owned()];
    let exp = shared::clock::Clock::system().now().timestamp() + 3600;
    let new = shared::auth::jwt::NewToken { sub: "p", tenant: "acme", roles: &roles, name: "P", exp };
    let token = shared::auth::jwt::sign(&JWT_SECRET.to_owned().into(), &new).unwrap();
    let retried = Client::new()
        .post(format!("{url}/api/v2/help-center/admin/jobs/retry/"))
        .bearer_auth(&token)
        .header("traceparent", trace_parent(true))
        .json(&json!({ "ids": [id.uuid()] }));
    assert_eq!(tests::json(retried).await, (reqwest::StatusCode::OK, json!({ "ids": [id.uuid()] })));
    let worker = Program::start_with(&test.app, WORKER, &[(ENDPOINT, &collector.endpoint())]).ready().await;
    test.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success() && program.terminate().await.success());
    let request = collector.span("POST /api/v2/help-center/admin/jobs/retry/").await;
    let attempt = collector.span("job embed_article").await;
    assert_eq!((request.trace.as_str(), request.parent.as_str()), (TRACE, CALLER));
    assert_eq!((attempt.trace.as_str(), attempt.parent.as_str()), (TRACE, request.id.as_str()));
    assert_eq!(attempt.text("messaging.message.id"), id.uuid().to_string());
}

#[tokio::test]
async fn a_command_the_job_that_it_enqueues_and_its_attempt_are_one_trace() {
    let mut test = Knowledge::start().await;
    test.folder.write("one.md", fixture::article("One", "A word."));
    let collector = Collector::start().await;
    let output = sync_documentation(&test, &collector.endpoint()).await;
    assert!(output.status.success(), "{output:?}");
    let worker = Program::start_with(&test.app, WORKER, &[(ENDPOINT, &collector.endpoint())]);
    test.app.until_no_job_is_open().await;
    let log = worker.log();
    assert!(worker.terminate().await.success());
    test.assert_complete().await;

    let command = collector.span("helpcenter sync-documentation").await;
    let enqueued = collector.span("enqueue embed_article").await;
    let attempt = collector.span("job embed_article").await;
    assert_eq!((command.service.as_str(), command.parent.as_str()), ("helpcenter", ""));
    assert_eq!((enqueued.service.as_str(), enqueued.kind), ("helpcenter", SpanKind::Producer));
    assert_eq!((&enqueued.trace, &enqueued.parent), (&command.trace, &command.id));
    assert_eq!((attempt.service.as_str(), attempt.kind), (WORKER, SpanKind::Consumer));
    assert_eq!((&attempt.trace, &attempt.parent), (&command.trace, &enqueued.id));
    let id: uuid::Uuid = sqlx::query_scalar("select id from finished_jobs").fetch_one(&mut test.owner).await.unwrap();
    assert_eq!(attempt.text("messaging.message.id"), id.to_string());
    assert_eq!(attempt.text("messaging.destination.name"), "embeddings");
    assert_eq!(attempt.text("helpcenter.tenant_id"), test.tenant.to_string());
    assert_eq!(attempt.text("helpcenter.outcome"), "done");
    assert_eq!(attempt.number("helpcenter.attempt"), 1);
    assert!(attempt.number("helpcenter.wait_ms") >= 0 && !attempt.is_error);
    let embedded = log.lines().find(|line| line.contains("article.embedded")).unwrap();
    assert!(embedded.contains(&attempt.trace), "{embedded}");
}

#[tokio::test]
async fn a_tick_begins_a_trace_in_which_its_jobs_go_on() {
    let mut test = Knowledge::start().await;
    let collector = Collector::start().await;
    let missed = "insert into scheduler_ticks (line, due_at)
         values ('reconcile_embeddings', date_trunc('minute', now()) - interval '10 minutes')";
    test.execute(missed).await;
    let scheduler = Program::start_with(&test.app, SCHEDULER, &[(ENDPOINT, &collector.endpoint())]);
    crate::queue::support::eventually("the line has ticked", async || {
        (test.count("select count(*) from outbox").await == 1).then_some(())
    })
    .await;
    assert!(scheduler.terminate().await.success());
    let worker = Program::start_with(&test.app, WORKER, &[(ENDPOINT, &collector.endpoint())]);
    test.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());

    let spans = collector.spans().await;
    let attempt = named(&spans, "job reconcile_embeddings")[0];
    // One more when a minute has just begun, with its job still open.
    let ticks = named(&spans, "tick reconcile_embeddings");
    assert!(ticks.iter().all(|tick| tick.service == SCHEDULER && tick.parent.is_empty()));
    assert!(ticks.iter().any(|tick| tick.trace == attempt.trace && tick.id == attempt.parent), "{spans:#?}");
}

#[tokio::test]
async fn a_collector_that_never_answers_and_one_that_is_not_there_hold_nothing_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    for port in [silent.local_addr().unwrap().port(), free_port()] {
        let mut test = Knowledge::start().await;
        let endpoint = format!("http://127.0.0.1:{port}");
        test.folder.write("one.md", fixture::article("One", "A word."));
        let asked = Instant::now();
        let output = sync_documentation(&test, &endpoint).await;
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());

        let variables = [(ENDPOINT, endpoint.as_str())];
        let worker = Program::start_with(&test.app, WORKER, &variables);
        let scheduler = Program::start_with(&test.app, SCHEDULER, &variables).ready().await;
        let (api, url) = api(&test.app, &endpoint).await;
        test.app.until_no_job_is_open().await;
        test.assert_complete().await;
        for _ in 0..20 {
            let asked = Instant::now();
            assert_eq!(reqwest::get(format!("{url}/health/live")).await.unwrap().status(), 200);
            assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        }
        // Longer than an export may take, so that more than one has failed.
        tokio::time::sleep(Duration::from_secs(8)).await;
        let log = api.log();
        assert_eq!(log.matches("telemetry.traces.not_exported").count(), 1, "{log}");
        for program in [api, worker, scheduler] {
            let told = Instant::now();
            assert!(program.terminate().await.success());
            assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
        }
    }
}
