//! The assistant over HTTP: what it answers, cites and refuses, and that whoever waits gets one whole answer whatever dies.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

mod deaths;
mod injections;
mod models;
mod own_help;

use std::time::Duration;

use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tests::{
    Settings, TestApp,
    fixture::{self, Folder, article},
};

use crate::queue::support::Running;

const ASK: &str = "/api/v2/help-center/assistant/";

pub(crate) fn library() -> Folder {
    Folder::of(&[
        (
            "account/password.md",
            &article(
                "Reset your password",
                "Did you forget your password? Open *Settings* and choose **Security**. A link to set a new password is sent to \
                 you by email. The link is good for one hour.",
            ),
        ),
        (
            "account/sign-in.md",
            &article(
                "Sign in with a code",
                "Codes replace passwords.\n\n# Getting a code\n\nTo sign in with a code:\n\n1. Open the sign-in page.\n2. Press *Send me a \
                 code*.\n3. Type the code.\n\nCodes are good for ten minutes.",
            ),
        ),
        ("account/delete.md", &article("Delete your account", "All of your data is removed after thirty days.")),
        (
            "billing/invoice.md",
            &article(
                "Download an invoice",
                "Invoices are PDF files. Open *Billing*, choose the month and click **Download**. The error code E-4711 means \
                 that none exists yet.",
            ),
        ),
        (
            "billing/vendors.md",
            "---\ntarget_roles: [vendor]\n---\n# Invoices of vendors\n\nVendors send their invoices to the purple mailbox.",
        ),
    ])
}

/// A help center with a worker that runs all the time.
pub(crate) async fn start() -> (TestApp, String, Running) {
    start_with(Settings::default()).await
}

async fn start_with(settings: Settings) -> (TestApp, String, Running) {
    let app = TestApp::start_with(settings).await;
    let tenant = app.db.tenant("library").await.id;
    fixture::import(&app.db, tenant, &library()).await;
    app.run_jobs().await;
    let token = app.token("library", &[]);
    let worker = Running::start(app.worker());
    (app, token, worker)
}

async fn ask(app: &TestApp, token: &str, body: &Value) -> Value {
    let (status, answer) = app.post(ASK, token, body).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer
}

/// Server-sent events as `(name, data)`.
async fn events(response: reqwest::Response) -> Vec<(String, Value)> {
    assert_eq!(response.status(), StatusCode::OK);
    parse_events(&response.text().await.unwrap())
}

fn parse_events(text: &str) -> Vec<(String, Value)> {
    let field = |event: &str, name: &str| {
        let line = event.lines().find_map(|line| line.strip_prefix(&format!("{name}: ")));
        line.unwrap_or_else(|| panic!("no {name} in {event}")).to_owned()
    };
    let events = text.split("\n\n").filter(|event| event.contains("data: "));
    events.map(|event| (field(event, "event"), serde_json::from_str(&field(event, "data")).unwrap())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_with_citations() {
    let (app, token, worker) = start().await;
    let answer = ask(&app, &token, &json!({ "query": "How do I reset my password?" })).await;
    assert_eq!(answer["outcome"], "answered", "{answer}");
    assert!(
        answer["answer"].as_str().unwrap().contains("A link to set a new password is sent to you by email"),
        "{answer}"
    );
    assert_eq!(answer["citations"][0]["title"], "Reset your password");
    assert_eq!(answer["citations"][0]["url"], "/articles/password/");
    assert!(answer["html"].as_str().unwrap().contains("href=\"/articles/password/\""), "{answer}");
    assert_eq!(answer["provider"], "extractive");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_stay_a_list_and_without_the_model_words_decide() {
    for with_model in [true, false] {
        let (app, token, worker) = start_with(Settings { with_model, ..Settings::default() }).await;
        let answer = ask(&app, &token, &json!({ "query": "How do I sign in with a code?" })).await;
        let steps = "1. Open the sign-in page. [1]\n2. Press Send me a code. [1]\n3. Type the code. [1]";
        assert!(answer["answer"].as_str().unwrap().contains(steps), "{answer}");
        assert!(answer["html"].as_str().unwrap().contains("<ol>"), "{answer}");
        assert_eq!(answer["degraded"], if with_model { json!([]) } else { json!(["semantic"]) });
        for query in ["how do I bake sourdough bread?", "who won the match yesterday", "Wie wird das Wetter morgen?"] {
            let refused = ask(&app, &token, &json!({ "query": query })).await;
            assert_eq!(refused["outcome"], "refused", "{query}: {refused}");
        }
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_streamed_and_told_again_from_any_event() {
    let (app, token, worker) = start().await;
    let request = app.request(Method::POST, ASK).bearer_auth(&token).header("accept", "text/event-stream");
    let response = request.json(&json!({ "query": "How do I download an invoice?" })).send().await.unwrap();
    let told = events(response).await;
    let names: Vec<&str> = told.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.first(), Some(&"status"), "{names:?}");
    assert_eq!(names[names.len() - 2..], ["citations", "done"], "{names:?}");
    let seqs: Vec<u64> = told.iter().map(|(_, data)| data["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (1..=u64::try_from(told.len()).unwrap()).collect::<Vec<_>>());

    let id = told[0].1["answer_id"].as_str().unwrap().to_owned();
    let path = format!("{ASK}answers/{id}/");
    let request = app.request(Method::GET, &path).bearer_auth(&token).header("accept", "text/event-stream");
    let rest = events(request.header("last-event-id", "2").send().await.unwrap()).await;
    assert_eq!(rest, told[2..]);
    let (status, whole) = app.get(&path, &token).await;
    assert_eq!(status, StatusCode::OK);
    let text: String = told.iter().filter_map(|(_, data)| data["text"].as_str()).collect();
    assert_eq!(whole["answer"], text);
    let (status, _) = app.get(&path, &app.token_of("person-2", "library", &[])).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "another person's answer");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_asker_may_not_see_is_neither_cited_nor_told() {
    let (app, token, worker) = start().await;
    let question = json!({ "query": "Where do vendors send their invoices?" });
    let hidden = ask(&app, &token, &question).await;
    assert!(!hidden.to_string().contains("purple"), "{hidden}");
    let shown = ask(&app, &app.token("library", &["vendor"]), &question).await;
    assert!(shown["answer"].as_str().unwrap().contains("purple mailbox"), "{shown}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_answers_is_refused_and_who_wants_a_person_gets_one() {
    let (app, token, worker) = start().await;
    let refused = ask(&app, &token, &json!({ "query": "Which planet is the largest in our solar system?" })).await;
    assert_eq!(
        (&refused["outcome"], &refused["reason"]),
        (&json!("refused"), &json!("missing_knowledge")),
        "{refused}"
    );
    assert_eq!(refused["citations"], json!([]));
    let person = ask(&app, &token, &json!({ "query": "I want to talk to a human about my password" })).await;
    assert_eq!(
        (&person["outcome"], &person["reason"]),
        (&json!("handed_over"), &json!("customer_request")),
        "{person}"
    );
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_goes_on_from_the_question_before() {
    let (app, token, worker) = start().await;
    ask(&app, &token, &json!({ "query": "How do I reset my password?", "session_id": "s-1" })).await;
    let answer = ask(&app, &token, &json!({ "query": "and how long is it good?", "session_id": "s-1" })).await;
    assert_eq!(answer["citations"][0]["title"], "Reset your password", "{answer}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_is_answered_from_the_cache_until_an_article_changes() {
    let (app, token, worker) = start().await;
    let question = json!({ "query": "How do I reset my password?" });
    let first = ask(&app, &token, &question).await;
    let again = ask(&app, &token, &json!({ "query": "how do I reset  my PASSWORD" })).await;
    assert_eq!((&first["is_cached"], &again["is_cached"]), (&json!(false), &json!(true)));
    assert_eq!(first["answer"], again["answer"]);
    let other = ask(&app, &app.token("library", &["vendor"]), &question).await;
    assert_eq!(other["is_cached"], false, "another audience");

    let folder = library();
    folder.write("account/password.md", article("Reset your password", "Ask the porter for a new password."));
    let tenant =
        shared::tenancy::by_slug(&mut app.db.database.registry().await.unwrap(), "library").await.unwrap().unwrap();
    fixture::import(&app.db, tenant.id, &folder).await;
    app.until_no_job_is_open().await;
    let changed = ask(&app, &token, &question).await;
    assert_eq!(changed["is_cached"], false);
    assert!(changed["answer"].as_str().unwrap().contains("porter"), "{changed}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_dies_is_replaced_and_redis_may_forget_everything() {
    let (app, token, worker) = start().await;
    worker.stop().await;
    let url = format!("{}{ASK}", app.url);
    let waiting = tokio::spawn({
        let request = reqwest::Client::new().post(url).bearer_auth(&token);
        request.json(&json!({ "query": "How do I reset my password?" })).timeout(Duration::from_secs(60)).send()
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    let redis = redis::Client::open(app.queue_config.redis_url.expose_secret()).unwrap();
    tests::forget_everything(&mut redis.get_connection().unwrap(), &app.queue_config.prefix);
    let worker = Running::start(app.worker());
    let answer: Value = waiting.await.unwrap().unwrap().json().await.unwrap();
    assert_eq!(answer["outcome"], "answered", "{answer}");
    worker.stop().await;
}
