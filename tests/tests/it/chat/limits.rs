//! How much, how often, how many, how long in silence.

use std::time::{Duration, Instant};

use futures::SinkExt as _;
use reqwest::{Method, StatusCode, header::RETRY_AFTER};
use serde_json::json;
use shared::{
    rate_limit::{Limit, Pace, Places, RateLimiter},
    tenancy::TenantId,
};
use tests::Settings;
use tokio::io::AsyncReadExt as _;
use tokio_tungstenite::tungstenite::{
    Message,
    http::{HeaderName, header},
    protocol::frame::{
        Frame,
        coding::{Data, OpCode},
    },
};
use uuid::Uuid;

use super::client::{Client, handshake, open_to_everybody, start_with, with, without_worker};
use crate::queue::support::eventually;

const ASK: &str = "/api/v2/help-center/assistant/";

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_is_too_large_ends_the_socket() {
    let app = without_worker(Settings::default()).await;
    let token = app.token("library", &[]);
    let mut client = Client::open(&app, "s-1", &token).await;
    client.say(json!({ "query": "y".repeat(60_000) })).await;
    assert_eq!(client.refusal().await, "invalid_request", "large, but not too large to be told why not");
    for bytes in [65_537, 1_000_000] {
        let mut client = Client::open(&app, "s-1", &token).await;
        let _ = client.socket.send(Message::text("y".repeat(bytes))).await;
        assert_eq!(client.closed().await, 1009, "{bytes}");
    }
    // In pieces, each of them small enough.
    let mut client = Client::open(&app, "s-1", &token).await;
    for number in 0..3 {
        let kind = if number == 0 { Data::Text } else { Data::Continue };
        let frame = Frame::message(vec![b'y'; 30_000], OpCode::Data(kind), number == 2);
        let _ = client.socket.send(Message::Frame(frame)).await;
    }
    assert_eq!(client.closed().await, 1009);
    // No text, and no frame that there could be.
    let mut client = Client::open(&app, "s-1", &token).await;
    client.socket.send(Message::Frame(Frame::message(vec![0xff], OpCode::Data(Data::Text), true))).await.unwrap();
    assert_eq!(client.closed().await, 1007);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_messages_is_refused_and_then_not_heard_any_more() {
    let app = without_worker(Settings::default()).await;
    let mut client = Client::open(&app, "s-1", &app.token("library", &[])).await;
    for _ in 0..150 {
        let _ = client.socket.feed(Message::text(r#"{"type":"cancel"}"#)).await;
    }
    let _ = client.socket.flush().await;
    let mut codes = Vec::new();
    while codes.last().is_none_or(|code| code != "rate_limited") {
        codes.push(client.refusal().await);
    }
    assert!(codes.len() > 50, "{}", codes.len());
    assert_eq!(client.closed().await, 1008);
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_of_an_address_share_a_limit_and_only_a_trusted_proxy_says_which_address_it_is() {
    for is_trusted in [true, false] {
        let mut settings = Settings::default();
        (settings.chat.questions_per_minute, settings.chat.questions_burst) = (1, 2);
        settings.trusted_proxies = if is_trusted { vec!["127.0.0.0/8".to_owned()] } else { Vec::new() };
        let (app, worker) = start_with(settings).await;
        open_to_everybody(&app).await;
        // Each time another visitor.
        let ask = async |forwarded: &str| {
            let body = json!({ "query": "How do I reset my password?", "session_id": Uuid::new_v4() });
            let request = app.request(Method::POST, ASK).header(header::HOST.as_str(), "open.localhost");
            tests::json(request.header("x-forwarded-for", forwarded).json(&body)).await.0
        };
        assert_eq!(ask("198.51.100.1").await, StatusCode::OK);
        assert_eq!(ask("198.51.100.1").await, StatusCode::OK);
        assert_eq!(ask("198.51.100.1").await, StatusCode::TOO_MANY_REQUESTS);
        // What stands before the address that the proxy saw was written by the visitor.
        assert_eq!(ask("203.0.113.9, 198.51.100.1").await, StatusCode::TOO_MANY_REQUESTS);
        let of_another = ask("198.51.100.2").await;
        assert_eq!(of_another == StatusCode::OK, is_trusted, "{of_another}");
        // A socket counts like a request.
        let request = with(handshake(&app, &Uuid::new_v4().to_string()), header::HOST, "open.localhost");
        let request = with(request, HeaderName::from_static("x-forwarded-for"), "198.51.100.1");
        let (mut visitor, _) = Client::shake(request).await.unwrap();
        assert_eq!(visitor.next().await["type"], "connection");
        visitor.say(json!({ "query": "How do I reset my password?" })).await;
        assert_eq!(visitor.refusal().await, "rate_limited");
        worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_too_often_is_told_when_to_ask_again_over_both_protocols() {
    let mut settings = Settings::default();
    settings.chat.questions_per_minute = 6;
    settings.chat.questions_burst = 2;
    let (app, worker) = start_with(settings).await;
    let token = app.token("library", &[]);
    let mut client = Client::open(&app, "s-1", &token).await;
    client.ask("How do I reset my password?").await;
    client.rest().await;
    let question = json!({ "query": "How do I download an invoice?" });
    assert_eq!(app.post(ASK, &token, &question).await.0, StatusCode::OK);
    client.say(question.clone()).await;
    let error = client.next().await;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("rate_limited"), &json!(true)), "{error}");
    let seconds = error["retry_after_seconds"].as_u64().unwrap();
    assert!((1..=10).contains(&seconds), "{error}");
    let refused = app.request(reqwest::Method::POST, ASK).bearer_auth(&token).json(&question).send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let header: u64 = refused.headers()[RETRY_AFTER].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&header));
    let problem: serde_json::Value = refused.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["retry_after_seconds"]), (&json!("rate_limited"), &json!(header)));
    // Somebody else may ask, and what is no question counts as none.
    assert_eq!(app.post(ASK, &app.token_of("person-2", "library", &[]), &question).await.0, StatusCode::OK);
    let third = app.token_of("person-3", "library", &[]);
    for _ in 0..4 {
        assert_eq!(app.post(ASK, &third, &json!({ "query": "x" })).await.0, StatusCode::BAD_REQUEST);
    }
    assert_eq!(app.post(ASK, &third, &question).await.0, StatusCode::OK);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_and_a_help_center_have_limits_too() {
    let question = json!({ "query": "How do I download an invoice?" });
    let mut settings = Settings::default();
    settings.chat.questions_per_day = 2;
    let (app, worker) = start_with(settings).await;
    let token = app.token("library", &[]);
    for expected in [StatusCode::OK, StatusCode::OK, StatusCode::TOO_MANY_REQUESTS] {
        let (status, answer) = app.post(ASK, &token, &question).await;
        assert_eq!(status, expected, "{answer}");
        if expected != StatusCode::OK {
            assert!(answer["detail"].as_str().unwrap().contains("today"), "{answer}");
        }
    }
    worker.stop().await;

    let mut settings = Settings::default();
    settings.chat.tenant_questions_per_minute = 6;
    let (app, worker) = start_with(settings).await;
    let statuses = [
        app.post(ASK, &app.token_of("person-1", "library", &[]), &question).await.0,
        app.post(ASK, &app.token_of("person-2", "library", &[]), &question).await.0,
    ];
    assert_eq!(statuses, [StatusCode::OK, StatusCode::TOO_MANY_REQUESTS], "one at once of six a minute");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_has_so_many_sockets_and_no_more() {
    let mut settings = Settings::default();
    settings.chat.sockets_per_person = 2;
    let app = without_worker(settings).await;
    let token = app.token("library", &[]);
    let first = Client::open(&app, "s-1", &token).await;
    let mut second = Client::open(&app, "s-2", &token).await;
    let third = || with(handshake(&app, "s-3"), header::AUTHORIZATION, &format!("Bearer {token}"));
    let (mut client, _) = Client::shake(third()).await.unwrap();
    let error = client.next().await;
    assert_eq!((&error["code"], &error["retryable"]), (&json!("too_many_sockets"), &json!(true)), "{error}");
    assert_eq!(client.closed().await, 1013);
    drop(Client::open(&app, "s-1", &app.token_of("person-2", "library", &[])).await);
    // One that goes, with a word or without, makes room.
    second.socket.close(None).await.unwrap();
    drop(first);
    let mut held = Vec::new();
    for _ in 0..2 {
        let client = eventually("there is room", async || {
            let (mut client, _) = Client::shake(third()).await.unwrap();
            (client.next().await["type"] == "connection").then_some(client)
        });
        held.push(client.await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_keeps_so_many_sockets_and_no_more() {
    let mut settings = Settings::default();
    settings.chat.sockets = 1;
    let app = without_worker(settings).await;
    let token = app.token("library", &[]);
    let first = Client::open(&app, "s-1", &token).await;
    let again = || with(handshake(&app, "s-2"), header::AUTHORIZATION, &format!("Bearer {token}"));
    let refused = Client::shake(again()).await.err().unwrap().to_string();
    assert!(refused.contains("503"), "{refused}");
    drop(first);
    eventually("there is room", async || Client::shake(again()).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_gives_no_sign_of_life_is_let_go_and_who_answers_pings_stays() {
    let mut settings = Settings::default();
    settings.chat.heartbeat = Duration::from_secs(1);
    settings.chat.sockets_per_person = 2;
    let app = without_worker(settings).await;
    let token = app.token("library", &[]);
    let mut alive = Client::open(&app, "s-1", &token).await;
    let silent = Client::open(&app, "s-2", &token).await;
    let began = Instant::now();
    // Reading is what answers pings here.
    while began.elapsed() < Duration::from_secs(5) {
        let _ = tokio::time::timeout(Duration::from_millis(200), alive.next()).await;
    }
    // The bytes themselves: a client that begins to read now would answer the pings first, and nobody takes that any more.
    let mut said = Vec::new();
    let _ = silent.socket.into_inner().read_to_end(&mut said).await;
    let code = 4008_u16.to_be_bytes();
    assert!(said.windows(4).any(|bytes| bytes[0] == 0x88 && bytes[2..] == code), "no close frame: {said:?}");
    alive.say(json!({ "type": "cancel" })).await;
    assert_eq!(alive.refusal().await, "not_possible");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_is_kept_evenly_and_one_that_has_none_left_takes_none_of_the_others() {
    let app = tests::TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
    let tenant = app.db.tenant("acme").await.id;
    let other = app.db.tenant("globex").await.id;
    let limiter = RateLimiter::open(&app.queue_config).unwrap();
    let limit = |name, subject: &str, pace| Limit { name, subject: subject.to_owned(), pace };
    let minute = |most, burst| Pace::Minute { most, burst };
    let take = async |tenant: TenantId, limits: &[Limit]| limiter.take(tenant, limits).await.unwrap();
    let fast = limit("fast", "a", minute(120, 2)); // one each half second
    assert!(take(tenant, std::slice::from_ref(&fast)).await.is_ok());
    assert!(take(tenant, std::slice::from_ref(&fast)).await.is_ok());
    let exceeded = take(tenant, std::slice::from_ref(&fast)).await.unwrap_err();
    assert_eq!(exceeded.name, "fast");
    assert!(exceeded.retry_after <= Duration::from_millis(500), "{exceeded:?}");
    assert!(take(other, std::slice::from_ref(&fast)).await.is_ok(), "another tenant's");
    assert!(take(tenant, &[limit("fast", "b", minute(120, 2))]).await.is_ok(), "another one's");
    // Refused for the sake of one limit, the other is as it was.
    let day = limit("day", "a", Pace::Day(1));
    let both = [day.clone(), fast.clone()];
    assert!(take(tenant, &both).await.is_err());
    tokio::time::sleep(exceeded.retry_after + Duration::from_millis(20)).await;
    assert!(take(tenant, &both).await.is_ok(), "it has one again, and today's was not taken");
    let of_today = take(tenant, &[day]).await.unwrap_err();
    assert!(of_today.retry_after <= Duration::from_secs(86_400) && of_today.retry_after > Duration::ZERO);

    let places = Places { name: "places", subject: "a".to_owned(), most: 1, lasts: Duration::from_millis(600) };
    let (one, two) = (Uuid::new_v4(), Uuid::new_v4());
    assert!(limiter.hold(tenant, &places, one).await.unwrap());
    assert!(!limiter.hold(tenant, &places, two).await.unwrap());
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(limiter.hold(tenant, &places, one).await.unwrap(), "kept");
    }
    assert!(!limiter.hold(tenant, &places, two).await.unwrap());
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(limiter.hold(tenant, &places, two).await.unwrap(), "not kept: free again");
    limiter.leave(tenant, &places, two).await.unwrap();
    assert!(limiter.hold(tenant, &places, one).await.unwrap(), "given back");
}
