//! A reranker has the last word on the order of results, when it answers.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::config::RerankerConfig;
use tests::{
    Settings, TestApp,
    fixture::{self, Folder, article, article_for},
};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

const SEARCH: &str = "/api/v2/help-center/search/";
const QUERY: &str = "how do I download an invoice";
/// What the server likes best, whatever is asked.
const FAVOURITE: &str = "Money back";
/// A status that stands for no answer in time.
const SILENT: u16 = 0;

/// A help center with a reranker, and what that answers with: a status, or [`SILENT`].
struct World {
    app: TestApp,
    server: MockServer,
    status: Arc<AtomicU16>,
}

impl World {
    async fn new() -> Self {
        let server = MockServer::start().await;
        let status = Arc::new(AtomicU16::new(200));
        let answered = Arc::clone(&status);
        let answer = move |request: &Request| {
            let asked: Value = request.body_json().unwrap();
            let texts = asked["documents"].as_array().unwrap();
            assert_eq!((&asked["model"], &asked["top_n"]), (&json!("judge"), &json!(texts.len())));
            let score = |text: &Value| if text.as_str().unwrap().starts_with(FAVOURITE) { 0.9 } else { 0.1 };
            let results: Vec<Value> = texts
                .iter()
                .enumerate()
                .map(|(index, text)| json!({ "index": index, "relevance_score": score(text) }))
                .collect();
            let delay =
                if answered.load(Ordering::SeqCst) == SILENT { Duration::from_secs(30) } else { Duration::ZERO };
            ResponseTemplate::new(answered.load(Ordering::SeqCst).max(200))
                .set_body_json(json!({ "results": results }))
                .set_delay(delay)
        };
        Mock::given(matchers::path("/v1/rerank")).respond_with(answer).mount(&server).await;
        let reranker = RerankerConfig {
            base_url: format!("{}/v1", server.uri()).parse().unwrap(),
            api_key: None,
            model: "judge".to_owned(),
            timeout: Duration::from_millis(500),
            candidates: 30,
        };
        let app = TestApp::start_with(Settings { reranker: Some(reranker), ..Settings::default() }).await;
        let tenant = app.db.tenant("library").await.id;
        let invoice = "Invoices are PDF files. The error code E-4711 means that none exists yet.";
        let folder = Folder::of(&[
            ("invoice.md", &article("Download an invoice", invoice)),
            ("address.md", &article("The address on an invoice", "Change it before the invoice is made.")),
            ("refund.md", &article(FAVOURITE, "We return what you paid on an invoice within two weeks.")),
            ("staff.md", &article_for("Invoices of staff", &["staff"], "How to download an invoice of anybody.")),
        ]);
        fixture::import(&app.db, tenant, &folder).await;
        app.run_jobs().await;
        Self { app, server, status }
    }

    async fn search(&self, query: &str) -> Value {
        let (status, found) = self.app.post(SEARCH, &self.app.token("library", &[]), &json!({ "query": query })).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        found
    }

    async fn sent(&self) -> Vec<Request> {
        self.server.received_requests().await.unwrap()
    }
}

fn titles(found: &Value) -> Vec<&str> {
    found["results"].as_array().unwrap().iter().map(|result| result["title"].as_str().unwrap()).collect()
}

fn scores(found: &Value) -> Vec<f64> {
    found["results"].as_array().unwrap().iter().map(|result| result["score"].as_f64().unwrap()).collect()
}

#[tokio::test]
async fn the_reranker_decides_between_what_was_found_and_sees_nothing_else() {
    let world = World::new().await;
    let found = world.search(QUERY).await;
    assert_eq!(titles(&found), [FAVOURITE, "Download an invoice", "The address on an invoice"], "{found}");
    assert_eq!(found["degraded"], json!([]));
    let scores = scores(&found);
    assert!(scores.is_sorted_by(|a, b| a >= b) && scores.iter().all(|score| (0.0..=1.0).contains(score)), "{scores:?}");
    let sent = world.sent().await;
    assert_eq!(sent.len(), 1);
    let asked: Value = sent[0].body_json().unwrap();
    assert_eq!(asked["query"], QUERY);
    assert_eq!(
        asked["documents"][0],
        "Download an invoice\nInvoices are PDF files. The error code E-4711 means that none exists yet."
    );
    assert!(!asked.to_string().contains("anybody"), "an article for others was sent: {asked}");
    // Answered from memory.
    world.search(QUERY).await;
    assert_eq!(world.sent().await.len(), 1);
}

#[tokio::test]
async fn an_error_code_and_a_pin_come_before_what_the_reranker_likes() {
    let world = World::new().await;
    assert_eq!(titles(&world.search("invoice E-4711").await)[..2], ["Download an invoice", FAVOURITE]);
    let address = world.search(QUERY).await["results"][2]["id"].clone();
    let admin = world.app.token("library", &["admin"]);
    let pins = json!({ "query": QUERY, "article_ids": [address] });
    let request = world.app.request(Method::PUT, "/api/v2/help-center/admin/search-pins/").bearer_auth(&admin);
    let (status, told) = tests::json(request.json(&pins)).await;
    assert_eq!(status, StatusCode::OK, "{told}");
    let found = world.search(QUERY).await;
    assert_eq!(titles(&found), ["The address on an invoice", FAVOURITE, "Download an invoice"], "{found}");
}

#[tokio::test]
async fn without_an_answer_in_time_results_stay_as_they_are_and_say_so() {
    let world = World::new().await;
    for status in [503, 429, 404, SILENT] {
        world.status.store(status, Ordering::SeqCst);
        let began = Instant::now();
        let found = world.search(QUERY).await;
        assert!(began.elapsed() < Duration::from_secs(3), "{status} took {:?}", began.elapsed());
        assert_eq!(titles(&found)[0], "Download an invoice", "{status}: {found}");
        assert_eq!(found["degraded"], json!(["reranker"]), "{status}");
    }
    // Nothing of that is remembered.
    world.status.store(200, Ordering::SeqCst);
    assert_eq!(titles(&world.search(QUERY).await)[0], FAVOURITE);
}
