//! Whatever breaks, a client gets one whole answer.

use std::time::{Duration, Instant};

use reqwest::StatusCode;
use serde_json::json;
use shared::assistant::{AnswerId, AnswerStreams, Event, Step};
use tests::Settings;

use super::client::{ANSWERS, Client, PATIENCE, check_order, start_with, text, without_worker};
use crate::queue::support::{Running, eventually};

const ASK: &str = "/api/v2/help-center/assistant/";

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_after_a_cut_misses_nothing() {
    let (app, worker) = start_with(Settings::default()).await;
    let token = app.token("library", &[]);
    let mut client = Client::open(&app, "s-1", &token).await;
    let id = client.ask("How do I download an invoice?").await;
    let whole = client.rest().await;
    let (_, kept) = app.get(&format!("{ANSWERS}{id}/"), &token).await;
    for heard in 0..=whole.len() {
        drop(client); // without a word
        client = Client::open(&app, "s-1", &token).await;
        client.say(json!({ "type": "resume", "answer_id": id, "after": heard })).await;
        // After the last message it is told once more, from its beginning.
        let rest = client.rest().await;
        check_order(&rest, heard as u64);
        let told = [&whole[..heard], &rest[..]].concat();
        assert_eq!(kept["answer"], text(&told), "after {heard}");
        assert_eq!(kept["html"], rest.last().unwrap()["html"], "after {heard}");
    }
    // Redis may have lost it: it starts over, and the client's text is the server's again.
    let redis = redis::Client::open(secrecy::ExposeSecret::expose_secret(&app.queue_config.redis_url)).unwrap();
    tests::forget_everything(&mut redis.get_connection().unwrap(), &app.queue_config.prefix);
    client.say(json!({ "type": "resume", "answer_id": id, "after": 3 })).await;
    let rest = client.rest().await;
    assert_eq!(rest[0]["type"], "restart", "{rest:?}");
    check_order(&rest, 3);
    assert_eq!(kept["answer"], text(&[&whole[..3], &rest[..]].concat()));
    assert_eq!(kept["html"], rest.last().unwrap()["html"]);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_worker_dies_in_the_middle_the_client_starts_over_and_gets_the_whole_answer() {
    let app = without_worker(Settings::default()).await;
    let token = app.token("library", &[]);
    let tenant = app.db.tenant("library").await.id;
    let mut client = Client::open(&app, "s-1", &token).await;
    let id = client.ask("How do I reset my password?").await;
    // A worker that says the beginning of something and is not heard of again.
    let streams = AnswerStreams::open(&app.queue_config).unwrap();
    let mut writing = streams.begin(AnswerId { tenant, id }).await.unwrap();
    let beginning = [Event::Status { status: Step::Writing }, Event::Chunk { text: "Half of a sent".to_owned() }];
    writing.append(&beginning).await.unwrap();
    let mut told = vec![client.next().await, client.next().await];
    assert_eq!(told[1]["text"], "Half of a sent");
    let worker = Running::start(app.worker());
    told.extend(client.rest().await);
    assert_eq!(told[2]["type"], "restart", "{told:?}");
    check_order(&told, 0);
    let (_, whole) = app.get(&format!("{ANSWERS}{id}/"), &token).await;
    assert_eq!(
        (whole["answer"].as_str().unwrap(), &whole["html"]),
        (text(&told).as_str(), &told.last().unwrap()["html"])
    );
    assert!(!text(&told).contains("Half of a sent"));
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_gets_everything_and_one_that_reads_nothing_is_let_go() {
    const CHUNKS: usize = 600;
    let mut settings = Settings::default();
    settings.chat.heartbeat = Duration::from_secs(4);
    settings.chat.sockets_per_person = 2;
    let app = without_worker(settings).await;
    let token = app.token("library", &[]);
    let tenant = app.db.tenant("library").await.id;
    let mut slow = Client::open(&app, "s-1", &token).await;
    let mut deaf = Client::open(&app, "s-2", &token).await;
    let id = slow.ask("How do I reset my password?").await;
    deaf.say(json!({ "type": "resume", "answer_id": id, "after": 0 })).await;
    let streams = AnswerStreams::open(&app.queue_config).unwrap();
    let mut writing = streams.begin(AnswerId { tenant, id }).await.unwrap();
    for number in 0..CHUNKS {
        // More than the buffers of two systems take.
        writing.append(&[Event::Chunk { text: format!("{number:06}").repeat(6_000) }]).await.unwrap();
    }
    let mut told = Vec::new();
    for number in 0..CHUNKS {
        let message = slow.next().await;
        assert!(message["text"].as_str().unwrap().starts_with(&format!("{number:06}")), "{}", message["seq"]);
        if number < 20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        told.push(json!({ "seq": message["seq"] }));
    }
    check_order(&told, 0);
    // A third socket finds a place once the deaf one is gone; the slow one stays.
    let began = Instant::now();
    eventually("the deaf one is let go", async || {
        let request = super::client::handshake(&app, "s-3");
        let bearer = format!("Bearer {token}");
        let request =
            super::client::with(request, tokio_tungstenite::tungstenite::http::header::AUTHORIZATION, &bearer);
        let (mut third, _) = Client::shake(request).await.unwrap();
        let is_let_in = third.next().await["type"] == "connection";
        tokio::time::sleep(Duration::from_millis(200)).await;
        // The slow one answers pings meanwhile.
        let _ = tokio::time::timeout(Duration::from_millis(10), slow.next()).await;
        is_let_in.then_some(())
    })
    .await;
    assert!(began.elapsed() < PATIENCE);
    writing.append(&[Event::Restart]).await.unwrap();
    assert_eq!(slow.next().await["type"], "restart");
    drop(deaf);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_both_protocols_say_so_at_once_and_go_on_when_it_is_back() {
    let (app, worker) = start_with(Settings { with_redis_proxy: true, ..Settings::default() }).await;
    let token = app.token("library", &[]);
    let mut client = Client::open(&app, "s-1", &token).await;
    let proxy = app.redis.as_ref().unwrap();
    let question = json!({ "query": "How do I reset my password?" });
    let away = async |client: &mut Client| {
        let began = Instant::now();
        client.say(question.clone()).await;
        let error = client.next().await;
        assert_eq!((&error["code"], &error["retryable"]), (&json!("unavailable"), &json!(true)), "{error}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let began = Instant::now();
        let (status, problem) = app.post(ASK, &token, &question).await;
        assert_eq!((status, &problem["code"]), (StatusCode::SERVICE_UNAVAILABLE, &json!("service_unavailable")));
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    };
    proxy.cut();
    away(&mut client).await;
    // Sockets can be opened meanwhile: nobody needs to be told to come back.
    drop(Client::open(&app, "s-2", &token).await);
    proxy.restore();
    eventually("it works again", async || {
        client.say(question.clone()).await;
        let answer = client.rest().await;
        (answer.last().unwrap()["type"] == "done").then_some(())
    })
    .await;
    // It may also just fall silent.
    proxy.silence_everything();
    away(&mut client).await;
    proxy.cut();
    proxy.restore();
    eventually("it works again", async || {
        let (status, _) = app.post(ASK, &token, &question).await;
        (status == StatusCode::OK).then_some(())
    })
    .await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stops_sends_its_clients_to_another_one() {
    let (app, worker) = start_with(Settings::default()).await;
    let token = app.token("library", &[]);
    let mut client = Client::open(&app, "s-1", &token).await;
    app.stopping.cancel();
    assert_eq!(client.closed().await, 1012);
    let request = super::client::handshake(&app, "s-1");
    let refused = Client::shake(request).await.err().map(|error| error.to_string());
    assert!(refused.is_some_and(|error| error.contains("503")));
    worker.stop().await;
}
