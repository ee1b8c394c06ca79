//! What is said, in which order.

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::assistant::{AnswerId, AnswerStreams, Event, Step};
use tests::Settings;
use uuid::Uuid;

use super::client::{ANSWERS, Client, check_order, start_with, text, without_worker};
use crate::queue::support::Running;

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_as_over_http() {
    let (app, worker) = start_with(Settings::default()).await;
    let token = app.token("library", &[]);
    let mut client = Client::open(&app, "s-1", &token).await;
    let id = client.ask("How do I reset my password?").await;
    let told = client.rest().await;
    check_order(&told, 0);
    assert!(told.iter().all(|message| message["answer_id"] == id.to_string()), "{told:?}");
    let (_, whole) = app.get(&format!("{ANSWERS}{id}/"), &token).await;
    let done = told.last().unwrap();
    assert_eq!((&done["type"], &done["outcome"]), (&json!("done"), &json!("answered")), "{done}");
    assert_eq!(whole["answer"], text(&told));
    assert_eq!(whole["html"], done["html"]);
    assert_eq!(whole["citations"], told[told.len() - 2]["citations"]);
    assert_eq!(whole["session_id"], "s-1");
    // The next question goes on from it, with the type spelled out.
    client.say(json!({ "type": "query", "query": "and how long is it good?" })).await;
    let told = client.rest().await;
    assert_eq!(told[told.len() - 2]["citations"][0]["title"], "Reset your password", "{told:?}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_question_at_a_time_is_answered_and_many_answers_are_heard_of() {
    let app = without_worker(Settings::default()).await;
    let token = app.token("library", &[]);
    let mut client = Client::open(&app, "s-1", &token).await;
    let first = client.ask("How do I reset my password?").await;
    client.say(json!({ "query": "How do I download an invoice?" })).await;
    assert_eq!(client.refusal().await, "answer_in_progress");
    // Another socket of the same person hears of both.
    let mut other = Client::open(&app, "s-2", &token).await;
    let second = other.ask("How do I download an invoice?").await;
    other.say(json!({ "type": "resume", "answer_id": first, "after": 0 })).await;
    other.say(json!({ "type": "resume", "answer_id": first, "after": 0 })).await;
    assert_eq!(other.refusal().await, "not_possible", "it hears of it already");
    let worker = Running::start(app.worker());
    let told = [other.rest().await, other.rest().await].concat();
    for id in [first, second] {
        let of_one: Vec<_> = told.iter().filter(|message| message["answer_id"] == id.to_string()).cloned().collect();
        check_order(&of_one, 0);
        assert_eq!(of_one.last().unwrap()["outcome"], "answered", "{of_one:?}");
    }
    client.rest().await;
    client.ask("How do I download an invoice?").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_waits_is_cancelled_and_never_written() {
    let app = without_worker(Settings::default()).await;
    let token = app.token("library", &[]);
    let mut client = Client::open(&app, "s-1", &token).await;
    client.say(json!({ "type": "cancel" })).await;
    assert_eq!(client.refusal().await, "not_possible", "there is nothing to cancel");
    let id = client.ask("How do I reset my password?").await;
    client.say(json!({ "type": "cancel" })).await;
    let told = client.rest().await;
    assert_eq!((&told[0]["type"], &told[0]["code"]), (&json!("error"), &json!("cancelled")), "{told:?}");
    assert_eq!(told[0]["retryable"], false);
    app.run_jobs().await; // no dead letter
    let (status, problem) = app.get(&format!("{ANSWERS}{id}/"), &token).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::CONFLICT, Some("not_possible")), "{problem}");
    let status: String =
        sqlx::query_scalar("select status from answers").fetch_one(&mut app.db.owner().await).await.unwrap();
    assert_eq!(status, "cancelled");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_cancelled_in_its_middle_and_whoever_writes_it_may_say_no_more() {
    let app = without_worker(Settings::default()).await;
    let token = app.token("library", &[]);
    let tenant = app.db.tenant("library").await.id;
    let mut client = Client::open(&app, "s-1", &token).await;
    let id = client.ask("How do I reset my password?").await;
    let streams = AnswerStreams::open(&app.queue_config).unwrap();
    let mut writing = streams.begin(AnswerId { tenant, id }).await.unwrap();
    let chunk = Event::Chunk { text: "A link ".to_owned() };
    writing.append(&[Event::Status { status: Step::Writing }, chunk.clone()]).await.unwrap();
    assert_eq!(client.next().await["type"], "status");
    assert_eq!(client.next().await["type"], "chunk");
    let path = format!("{ANSWERS}{id}/cancel/");
    let cancel = || app.request(Method::POST, &path).bearer_auth(&token).send();
    assert_eq!(cancel().await.unwrap().status(), StatusCode::NO_CONTENT);
    assert_eq!(client.rest().await.last().unwrap()["code"], "cancelled");
    assert!(writing.append(&[chunk]).await.is_err());
    assert_eq!(cancel().await.unwrap().status(), StatusCode::NO_CONTENT, "twice is no error");
    // The socket is free for the next question.
    client.ask("How do I download an invoice?").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_rated_over_both_protocols() {
    let (app, worker) = start_with(Settings::default()).await;
    let token = app.token("library", &[]);
    let mut client = Client::open(&app, "s-1", &token).await;
    let id = client.ask("How do I reset my password?").await;
    client.rest().await;
    client.say(json!({ "type": "feedback", "answer_id": id, "helpful": true, "comment": " Thanks. " })).await;
    let kept = client.next().await;
    assert_eq!(kept, json!({ "type": "feedback", "seq": 0, "answer_id": id, "helpful": true }));
    let rated = async || -> (Option<bool>, Option<String>) {
        let sql = "select is_helpful, comment from answers";
        sqlx::query_as(sql).fetch_one(&mut app.db.owner().await).await.unwrap()
    };
    assert_eq!(rated().await, (Some(true), Some("Thanks.".to_owned())));
    let path = format!("{ANSWERS}{id}/feedback/");
    let put = |body: Value| tests::json(app.request(Method::PUT, &path).bearer_auth(&token).json(&body));
    assert_eq!(put(json!({ "helpful": false })).await.0, StatusCode::NO_CONTENT);
    assert_eq!(rated().await, (Some(false), None));
    assert_eq!(put(json!({ "helpful": false, "comment": "x".repeat(1_001) })).await.0, StatusCode::BAD_REQUEST);
    client.say(json!({ "type": "feedback", "answer_id": id, "helpful": true, "comment": "x".repeat(1_001) })).await;
    assert_eq!(client.refusal().await, "invalid_request");
    let (status, _) =
        tests::json(app.request(Method::POST, &format!("{ANSWERS}{id}/cancel/")).bearer_auth(&token)).await;
    assert_eq!(status, StatusCode::CONFLICT, "it has ended");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_persons_answer_is_like_none() {
    let (app, worker) = start_with(Settings::default()).await;
    let mut client = Client::open(&app, "s-1", &app.token("library", &[])).await;
    let id = client.ask("How do I reset my password?").await;
    client.rest().await;
    let stranger = app.token_of("person-2", "library", &["admin"]);
    app.db.tenant("globex").await;
    let foreigner = app.token_of("person-1", "globex", &["admin"]);
    for token in [&stranger, &foreigner] {
        // With the same name for the session.
        let mut client = Client::open(&app, "s-1", token).await;
        let mut answers = Vec::new();
        for id in [id, Uuid::nil()] {
            for message in [
                json!({ "type": "resume", "answer_id": id, "after": 0 }),
                json!({ "type": "cancel", "answer_id": id }),
                json!({ "type": "feedback", "answer_id": id, "helpful": false }),
            ] {
                client.say(message).await;
                let answer = client.next().await;
                assert_eq!((&answer["type"], &answer["code"]), (&json!("error"), &json!("not_found")), "{answer}");
                answers.push(answer["message"].clone());
            }
            for (method, end, body) in [
                (Method::GET, "", json!({})),
                (Method::POST, "cancel/", json!({})),
                (Method::PUT, "feedback/", json!({ "helpful": false })),
            ] {
                let request = app.request(method, &format!("{ANSWERS}{id}/{end}")).bearer_auth(token).json(&body);
                let (status, problem) = tests::json(request).await;
                assert_eq!(status, StatusCode::NOT_FOUND, "{end}");
                answers.push(problem["detail"].clone());
            }
        }
        let (of_another, of_none) = answers.split_at(answers.len() / 2);
        assert_eq!(of_another, of_none, "nobody can tell whether there is one");
    }
    let is_untouched: bool =
        sqlx::query_scalar("select status = 'done' and is_helpful is null from answers where id = $1")
            .bind(id)
            .fetch_one(&mut app.db.owner().await)
            .await
            .unwrap();
    assert!(is_untouched);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_asked_with_the_roles_of_its_time() {
    let (app, worker) = start_with(Settings::default()).await;
    let (cookie, person) = super::doors::signed_in(&app).await;
    let mut client = super::doors::open_with_chat_token(&app, &cookie).await;
    client.ask("Where do vendors send their invoices?").await;
    let before = text(&client.rest().await);
    assert!(!before.contains("purple"), "{before}");
    sqlx::query("update people set roles = '{vendor}' where id = $1")
        .bind(person)
        .execute(&mut app.db.owner().await)
        .await
        .unwrap();
    client.ask("Where do vendors send their invoices?").await;
    let after = text(&client.rest().await);
    assert!(after.contains("purple mailbox"), "{after}");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_understood_is_told_and_the_socket_stays_open() {
    use futures::SinkExt as _;
    use tokio_tungstenite::tungstenite::Message;

    let (app, worker) = start_with(Settings::default()).await;
    let mut client = Client::open(&app, "s-1", &app.token("library", &[])).await;
    for wrong in [
        "",
        "how?",
        "[]",
        "{}",
        r#"{"type":"shout","query":"how?"}"#,
        r#"{"query":"how do I?","roles":["admin"]}"#,
        r#"{"query":"how do I?","tenant_id":"x"}"#,
        r#"{"query":"x"}"#,
        r#"{"type":"resume","answer_id":"x","after":0}"#,
        r#"{"type":"resume","answer_id":"00000000-0000-0000-0000-000000000000"}"#,
    ] {
        client.socket.send(Message::text(wrong)).await.unwrap();
        assert_eq!(client.refusal().await, "invalid_request", "{wrong}");
    }
    client.socket.send(Message::binary(br#"{"query":"how do I?"}"#.to_vec())).await.unwrap();
    assert_eq!(client.refusal().await, "invalid_request");
    client.say(json!({ "query": "y".repeat(2_001) })).await;
    assert_eq!(client.refusal().await, "invalid_request");
    let kept: i64 =
        sqlx::query_scalar("select count(*) from answers").fetch_one(&mut app.db.owner().await).await.unwrap();
    assert_eq!(kept, 0);
    client.ask("How do I reset my password?").await;
    assert_eq!(client.rest().await.last().unwrap()["outcome"], "answered");
    worker.stop().await;
}
