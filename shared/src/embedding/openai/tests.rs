use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{header, method, path},
};

use super::*;

/// An embedder for a server, with little patience.
fn embedder(url: &str) -> OpenAiEmbedder {
    crate::telemetry::install_tls();
    let config = OpenAiModelConfig {
        base_url: format!("{url}/v1").parse().unwrap(),
        api_key: Some("sk-hidden".into()),
        model: format!("test-{}", uuid::Uuid::now_v7()),
        version: "1".to_owned(),
        timeout: Duration::from_millis(500),
        batch: 3,
        send_dimensions: true,
    };
    let mut embedder = OpenAiEmbedder::new(&config).unwrap();
    embedder.patience = Patience {
        query: Duration::from_millis(300),
        pause: Duration::from_millis(10),
        circuit: Duration::from_secs(2),
        longest_pause: Duration::from_secs(1),
        ..embedder.patience
    };
    embedder
}

/// A vector that says which text it is of.
fn vector(text: &str) -> Vec<f64> {
    let mut vector = vec![0.0; DIMENSIONS];
    vector[text.len()] = 2.0;
    vector
}

fn texts(request: &Request) -> Vec<String> {
    serde_json::from_value(request.body_json::<Value>().unwrap()["input"].clone()).unwrap()
}

/// An answer as OpenAI gives it, but with the vectors in another order.
fn answer(request: &Request) -> ResponseTemplate {
    let data: Vec<Value> = texts(request)
        .iter()
        .enumerate()
        .rev()
        .map(|(index, text)| json!({ "object": "embedding", "index": index, "embedding": vector(text) }))
        .collect();
    let usage = json!({ "prompt_tokens": 5, "total_tokens": 5 });
    ResponseTemplate::new(200).set_body_json(json!({ "object": "list", "data": data, "model": "x", "usage": usage }))
}

/// A server that answers each request, counted from 0, as told.
async fn server(answers: impl Fn(usize, &Request) -> ResponseTemplate + Send + Sync + 'static) -> MockServer {
    let server = MockServer::start().await;
    let count = AtomicUsize::new(0);
    Mock::given(method("POST"))
        .and(path("/v1/embeddings"))
        .and(header("authorization", "Bearer sk-hidden"))
        .respond_with(move |request: &Request| answers(count.fetch_add(1, Ordering::SeqCst), request))
        .mount(&server)
        .await;
    server
}

async fn requests(server: &MockServer) -> Vec<Request> {
    server.received_requests().await.unwrap()
}

/// The error for three texts, which must be told without them and without the key.
async fn error_of(embedder: &OpenAiEmbedder) -> EmbedError {
    let error = embedder.embed(["secret a", "secret b", "secret c"].map(str::to_owned).to_vec()).await.unwrap_err();
    let told = error.to_string();
    assert!(!told.contains("secret") && !told.contains("sk-hidden"), "{told}");
    assert!(told.contains(embedder.model().as_ref()), "{told}");
    error
}

#[tokio::test]
async fn texts_go_in_batches_and_vectors_come_back_in_their_order_at_unit_length() {
    let server = server(|_, request| answer(request)).await;
    let embedder = embedder(&server.uri());
    let given: Vec<String> = ["a", "bb", "ccc", "dddd", "  ", "ffffff", "ggggggg"].map(str::to_owned).to_vec();
    let vectors = embedder.embed(given).await.unwrap();
    let places: Vec<usize> =
        vectors.iter().map(|v| v.as_slice().iter().position(|x| (x - 1.0).abs() < 1e-6).unwrap()).collect();
    assert_eq!(places, [1, 2, 3, 4, NOTHING.len(), 6, 7]);
    let requests = requests(&server).await;
    assert_eq!(requests.iter().map(|request| texts(request).len()).collect::<Vec<_>>(), [3, 3, 1]);
    let body: Value = requests[0].body_json().unwrap();
    assert_eq!((&body["dimensions"], &body["model"]), (&json!(384), &json!(embedder.name)));
    assert_eq!(embedder.embed(Vec::new()).await.unwrap(), Vec::new());
    assert_eq!(embedder.embed_query("four".to_owned()).await.unwrap(), vectors[3]);
}

#[test]
fn batches_are_bounded_by_bytes_and_texts_by_the_models_window() {
    let long = "é".repeat(WINDOW_BYTES);
    let batches = batches(vec![long; 100], 2_048);
    assert!(batches.iter().flatten().all(|text| text.len() == WINDOW_BYTES));
    assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [32, 32, 32, 4]);
}

#[tokio::test]
async fn servers_that_refuse_dimensions_are_not_sent_them() {
    let server = server(|_, request| answer(request)).await;
    let embedder = OpenAiEmbedder { send_dimensions: false, ..embedder(&server.uri()) };
    embedder.embed_query("q".to_owned()).await.unwrap();
    assert_eq!(requests(&server).await[0].body_json::<Value>().unwrap().get("dimensions"), None);
}

#[tokio::test]
async fn wrong_answers_are_refused() {
    let answer = |indices: &[usize], numbers: Vec<f64>| {
        let data = indices.iter().map(|index| json!({ "index": index, "embedding": numbers }));
        json!({ "data": data.collect::<Vec<_>>() })
    };
    for (body, told, is_set_up) in [
        (answer(&[0, 1], vec![0.1; 384]), "2 vectors for 3 texts", true),
        (answer(&[0, 1, 2, 3], vec![0.1; 384]), "4 vectors for 3 texts", true),
        (answer(&[0, 1, 2], vec![0.1; 256]), "256 numbers, and 384 are needed", false),
        (answer(&[0, 0, 1], vec![0.1; 384]), "not numbered", true),
        (answer(&[0, 1, 2], vec![1e300; 384]), "not finite", true),
        (answer(&[0, 1, 2], vec![0.0; 384]), "zeros", true),
        (json!({ "data": "secret a" }), "unexpected JSON", false),
    ] {
        let server = server(move |_, _| ResponseTemplate::new(200).set_body_json(&body)).await;
        let error = error_of(&embedder(&server.uri())).await;
        assert!(error.to_string().contains(told), "{told}: {error}");
        assert_eq!(matches!(error, EmbedError::Rejected(_)), is_set_up, "{error:?}");
        assert!(!error.is_retryable());
        assert_eq!(requests(&server).await.len(), 1, "it would be wrong again");
    }
}

#[tokio::test]
async fn refusals_name_the_cure_and_are_not_repeated() {
    let body = json!({ "error": { "message": "secret a", "code": "some_code", "type": "t" } });
    for (status, told) in [
        (400, "EMBEDDING_SEND_DIMENSIONS"),
        (401, "check the API key"),
        (404, "check the base URL"),
        (302, "check the base URL"),
        (422, "some_code"),
    ] {
        let body = body.clone();
        let server = server(move |_, _| ResponseTemplate::new(status).set_body_json(&body)).await;
        let error = error_of(&embedder(&server.uri())).await;
        assert!(error.to_string().contains(told), "{told}: {error}");
        assert_eq!(requests(&server).await.len(), 1);
    }
    let body =
        json!({ "error": { "message": "secret a", "code": "insufficient_quota", "type": "insufficient_quota" } });
    let server = server(move |_, _| ResponseTemplate::new(429).set_body_json(&body)).await;
    let error = error_of(&embedder(&server.uri())).await;
    assert!(error.is_retryable() && error.to_string().contains("credit"), "{error}");
    assert_eq!(requests(&server).await.len(), 1, "money does not come back in seconds");
}

#[tokio::test]
async fn a_busy_server_is_asked_again_when_it_said_and_not_before() {
    let server = server(|n, request| match n {
        // Not worded like OpenAI's.
        0 => ResponseTemplate::new(429).insert_header("retry-after", "1").set_body_string("slow down"),
        _ => answer(request),
    })
    .await;
    let began = Instant::now();
    embedder(&server.uri()).embed(vec!["a".to_owned(), "b".to_owned()]).await.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(requests(&server).await.len(), 2);
}

#[tokio::test]
async fn a_server_that_asks_for_too_much_patience_is_left_to_a_later_attempt() {
    let server = server(|_, _| ResponseTemplate::new(429).insert_header("retry-after", "3600")).await;
    let error = error_of(&embedder(&server.uri())).await;
    assert!(error.is_retryable(), "{error}");
    assert_eq!(requests(&server).await.len(), 1);
}

#[tokio::test]
async fn failures_and_silence_are_tried_again_for_batches() {
    let server = server(|n, request| match n {
        0 => ResponseTemplate::new(500).set_body_string("<html>secret a</html>"),
        1 => answer(request).set_delay(Duration::from_secs(5)),
        _ => answer(request),
    })
    .await;
    let embedder = embedder(&server.uri());
    embedder.embed(vec!["a".to_owned(), "b".to_owned()]).await.unwrap();
    assert_eq!(requests(&server).await.len(), 3);
    assert!(!embedder.circuit.is_open());
}

#[tokio::test]
async fn a_query_is_tried_once_and_not_for_long() {
    let failing = server(|_, _| ResponseTemplate::new(503)).await;
    assert!(embedder(&failing.uri()).embed_query("q".to_owned()).await.unwrap_err().is_retryable());
    assert_eq!(requests(&failing).await.len(), 1);

    let silent = server(|_, request| answer(request).set_delay(Duration::from_secs(5))).await;
    let began = Instant::now();
    let error = embedder(&silent.uri()).embed_query("q".to_owned()).await.unwrap_err();
    assert!(error.is_retryable() && error.to_string().contains("did not answer within 300ms"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_server_that_is_away_opens_the_circuit_and_calls_fail_at_once_until_it_is_back() {
    // Nobody listens on port 1.
    let embedder = Arc::new(embedder("http://127.0.0.1:1"));
    let error = error_of(&embedder).await;
    assert!(error.is_retryable() && error.to_string().contains("cannot be reached"), "{error}");
    let error = embedder.embed_query("q".to_owned()).await.unwrap_err();
    assert!(error.to_string().contains("cannot be reached"), "the fifth failure in a row: {error}");
    assert!(embedder.circuit.is_open());
    let began = Instant::now();
    for _ in 0..100 {
        let error = embedder.embed_query("q".to_owned()).await.unwrap_err();
        assert!(error.is_retryable() && error.to_string().contains("left alone"), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

#[tokio::test]
async fn one_query_at_a_time_finds_out_that_the_server_is_back() {
    let server = server(|n, request| if n < 5 { ResponseTemplate::new(500) } else { answer(request) }).await;
    let mut embedder = embedder(&server.uri());
    embedder.circuit = Circuit::with_rest(Duration::from_millis(100));
    for _ in 0..5 {
        embedder.embed_query("q".to_owned()).await.unwrap_err();
    }
    embedder.embed_query("q".to_owned()).await.unwrap_err();
    assert_eq!(requests(&server).await.len(), 5, "the sixth was not sent");
    tokio::time::sleep(Duration::from_millis(150)).await;
    let ask = || embedder.embed_query("q".to_owned());
    let (first, second) = tokio::join!(ask(), ask());
    assert!(first.is_ok() && second.is_err(), "one tries, the other does not wait");
    assert_eq!(requests(&server).await.len(), 6);
    assert!(!embedder.circuit.is_open());
    embedder.embed_query("q".to_owned()).await.unwrap();
}

#[tokio::test]
async fn batches_wait_for_an_open_circuit_until_their_patience_is_over() {
    let server = server(|n, request| if n < 5 { ResponseTemplate::new(500) } else { answer(request) }).await;
    let mut embedder = embedder(&server.uri());
    embedder.circuit = Circuit::with_rest(Duration::from_millis(500));
    for _ in 0..5 {
        embedder.embed_query("q".to_owned()).await.unwrap_err();
    }
    let texts = || vec!["a".to_owned(), "b".to_owned()];
    let impatient = Patience { circuit: Duration::from_millis(50), ..embedder.patience };
    let patient = std::mem::replace(&mut embedder.patience, impatient);
    assert!(embedder.embed(texts()).await.unwrap_err().to_string().contains("left alone"));
    embedder.patience = patient;
    embedder.embed(texts()).await.unwrap();
    assert_eq!(requests(&server).await.len(), 6);
}

#[tokio::test]
async fn texts_that_are_refused_do_not_open_the_circuit() {
    let server = server(|_, _| ResponseTemplate::new(400)).await;
    let embedder = embedder(&server.uri());
    for _ in 0..10 {
        assert!(matches!(embedder.embed_query("q".to_owned()).await, Err(EmbedError::Rejected(_))));
    }
    assert!(!embedder.circuit.is_open());
}

#[tokio::test]
async fn each_call_is_counted_by_how_it_ended() {
    let server = server(|n, request| if n == 0 { ResponseTemplate::new(500) } else { answer(request) }).await;
    let embedder = embedder(&server.uri());
    embedder.embed(vec!["a".to_owned(), "b".to_owned()]).await.unwrap();
    let metrics = String::from_utf8(crate::telemetry::metrics::render()).unwrap();
    let id = embedder.model();
    for line in [
        format!("helpcenter_embedding_requests_total{{model=\"{id}\",outcome=\"done\"}} 1"),
        format!("helpcenter_embedding_requests_total{{model=\"{id}\",outcome=\"failed\"}} 1"),
        format!("helpcenter_embedding_requests_total{{model=\"{id}\",outcome=\"not_sent\"}} 0"),
        format!("helpcenter_embedding_request_duration_seconds_count{{model=\"{id}\"}} 2"),
        format!("helpcenter_embedding_tokens_total{{model=\"{id}\"}} 5"),
        format!("helpcenter_embedding_circuit_open{{model=\"{id}\"}} 0"),
    ] {
        assert!(metrics.contains(&line), "{line}\n{metrics}");
    }
}
