use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{header, method, path},
};

use super::*;

fn reranker(url: &str) -> Reranker {
    crate::telemetry::install_tls();
    let config = RerankerConfig {
        base_url: format!("{url}/v2").parse().unwrap(),
        api_key: Some("hidden".into()),
        model: format!("test-{}", uuid::Uuid::now_v7()),
        timeout: Duration::from_millis(300),
        candidates: 30,
    };
    Reranker::new(&config).unwrap()
}

/// A server that answers each request, counted from 0, as told.
async fn server(answers: impl Fn(usize, &Request) -> ResponseTemplate + Send + Sync + 'static) -> MockServer {
    let server = MockServer::start().await;
    let count = AtomicUsize::new(0);
    Mock::given(method("POST"))
        .and(path("/v2/rerank"))
        .and(header("authorization", "Bearer hidden"))
        .respond_with(move |request: &Request| answers(count.fetch_add(1, Ordering::SeqCst), request))
        .mount(&server)
        .await;
    server
}

/// A server that gives these scores, by index.
async fn scoring(scores: &[(usize, f64)]) -> MockServer {
    let results: Vec<Value> = scores
        .iter()
        .map(|(index, score)| json!({ "index": index, "relevance_score": score, "document": {} }))
        .collect();
    server(move |_, _| ResponseTemplate::new(200).set_body_json(json!({ "id": "1", "results": results }))).await
}

fn texts() -> Vec<String> {
    ["secret a", "secret b", "secret c"].map(str::to_owned).to_vec()
}

async fn scores_of(server: &MockServer) -> Result<Vec<f64>, RerankError> {
    reranker(&server.uri()).scores("secret q", texts()).await
}

#[tokio::test]
async fn texts_are_scored_in_their_order() {
    let server = scoring(&[(2, 0.9), (0, 0.5)]).await;
    let reranker = reranker(&server.uri());
    let given = vec!["a".to_owned(), "é".repeat(WINDOW_CHARS + 1), "c".to_owned()];
    assert_eq!(reranker.scores("why?", given).await, Ok(vec![0.5, 0.0, 0.9]));
    let asked: Value = server.received_requests().await.unwrap()[0].body_json().unwrap();
    let cut = "é".repeat(WINDOW_CHARS);
    assert_eq!(asked, json!({ "model": reranker.model, "query": "why?", "documents": ["a", cut, "c"], "top_n": 3 }));
}

#[tokio::test]
async fn logits_become_probabilities() {
    let scores = scores_of(&scoring(&[(0, 0.0), (1, -8.0), (2, 4.0)]).await).await.unwrap();
    assert!((scores[0] - 0.5).abs() < 1e-9 && scores[1] < 0.001 && scores[2] > 0.98 && scores[2] < 1.0, "{scores:?}");
}

#[tokio::test]
async fn wrong_answers_are_refused_and_messages_repeat_nothing() {
    for (scores, told) in [(&[(3, 0.1)][..], "not sent"), (&[(0, 0.1), (0, 0.2)], "twice"), (&[], "nothing")] {
        let error = scores_of(&scoring(scores).await).await.unwrap_err();
        assert!(error.to_string().contains(told), "{told}: {error}");
    }
    let page = || ResponseTemplate::new(200).set_body_string("<html>secret a</html>");
    for (answer, told) in [
        (page(), "cannot be read"),
        (ResponseTemplate::new(429), "429"),
        (ResponseTemplate::new(503).set_body_string("secret a"), "503"),
        (ResponseTemplate::new(401).set_body_json(json!({ "message": "secret a" })), "401"),
        (ResponseTemplate::new(302).insert_header("location", "http://127.0.0.1:1/"), "302"),
        (ResponseTemplate::new(200).set_delay(Duration::from_secs(5)), "did not answer within 300ms"),
    ] {
        let error = scores_of(&server(move |_, _| answer.clone()).await).await.unwrap_err().to_string();
        assert!(error.contains(told) && !error.contains("secret") && !error.contains("hidden"), "{told}: {error}");
    }
}

#[tokio::test]
async fn a_server_that_refuses_what_was_sent_is_asked_other_things() {
    let server = server(|_, _| ResponseTemplate::new(422)).await;
    let reranker = reranker(&server.uri());
    for _ in 0..10 {
        assert!(matches!(reranker.scores("q", texts()).await, Err(RerankError::Call(_))));
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 10);
}

#[tokio::test]
async fn a_server_that_fails_again_and_again_is_left_alone() {
    let server = server(|_, _| ResponseTemplate::new(500)).await;
    let reranker = reranker(&server.uri());
    for _ in 0..5 {
        assert!(matches!(reranker.scores("q", texts()).await, Err(RerankError::Call(_))));
    }
    for _ in 0..20 {
        assert_eq!(reranker.scores("q", texts()).await, Err(RerankError::CircuitOpen));
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 5);
    let metrics = String::from_utf8(crate::telemetry::metrics::render()).unwrap();
    let model = &reranker.model;
    for line in [
        format!("helpcenter_rerank_requests_total{{model=\"{model}\",outcome=\"failed\"}} 5"),
        format!("helpcenter_rerank_requests_total{{model=\"{model}\",outcome=\"not_sent\"}} 20"),
        format!("helpcenter_rerank_request_duration_seconds_count{{model=\"{model}\"}} 5"),
        format!("helpcenter_rerank_circuit_open{{model=\"{model}\"}} 1"),
    ] {
        assert!(metrics.contains(&line), "{line}");
    }
}
