//! Who wants a person gets one: the conversation is handed over once, with everything that was said, until somebody is done.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::asking::{ADMIN, ASK, World};

const UNKNOWN: &str = "Which planet is the largest in our solar system?";

fn request() -> String {
    format!("{ASK}handovers/")
}

fn staff() -> String {
    format!("{ADMIN}handovers/")
}

impl World {
    async fn hand_over(&self, body: Value) -> Value {
        let (status, kept) = self.app.post(&request(), &self.ada, &body).await;
        assert_eq!(status, StatusCode::OK, "{kept}");
        kept
    }

    async fn open(&self) -> Vec<Value> {
        self.get(&format!("{}?status=open", staff()), &self.agent).await["results"].as_array().unwrap().clone()
    }

    async fn facts(&self, answer: &Value) -> Vec<String> {
        let replay = self.get(&format!("{ADMIN}answers/{}/", answer["answer_id"].as_str().unwrap()), &self.agent).await;
        let facts = replay["facts"].as_array().unwrap().iter();
        facts.map(|fact| fact["outcome"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_is_handed_over_once_with_the_reason_of_the_refusal_and_what_was_said() {
    let world = World::new().await;
    world.ask(&world.ada, "monday", "How do I reset my password?").await;
    let refused = world.ask(&world.ada, "monday", UNKNOWN).await;
    let answered = world.ask(&world.ada, "monday", "How do I download an invoice?").await;
    assert!(world.open().await.is_empty(), "nobody asked for a person");

    let kept = world.hand_over(json!({ "session_id": "monday" })).await;
    assert_eq!(kept["reason"], "missing_knowledge");
    let again = world
        .hand_over(json!({ "session_id": "monday", "reason": "policy", "note": " <b>Help</b>\u{202e} me " }))
        .await;
    assert_eq!((&again["id"], &again["reason"]), (&kept["id"], &kept["reason"]), "one is open already");
    assert_eq!(again["note"], "<b>Help</b> me", "it had no note");
    let third = world.hand_over(json!({ "session_id": "monday", "note": "Another note" })).await;
    assert_eq!(third["note"], "<b>Help</b> me");
    assert_eq!(world.facts(&answered).await, ["answered", "cited", "handed_over"], "after the last answer");
    assert_eq!(world.facts(&refused).await, ["refused"]);

    let open = world.open().await;
    assert_eq!(open.len(), 1);
    assert_eq!(
        (&open[0]["asker"], &open[0]["last_question"]),
        (&json!("person:ada"), &json!("How do I download an invoice?"))
    );
    let path = format!("{}{}/", staff(), kept["id"].as_str().unwrap());
    let whole = world.get(&path, &world.agent).await;
    assert_eq!(whole["status"], "open");
    let questions: Vec<&str> =
        whole["exchanges"].as_array().unwrap().iter().map(|one| one["question"].as_str().unwrap()).collect();
    assert_eq!(questions, ["How do I reset my password?", UNKNOWN, "How do I download an invoice?"]);
    assert!(
        world.get(&format!("{ASK}conversations/"), &world.ada).await["results"][0]["handed_over"].as_bool().unwrap()
    );

    let close = async |body: Value| tests::json(world.request(Method::PATCH, &path, &world.agent).json(&body)).await;
    assert_eq!(close(json!({ "status": "open" })).await.0, StatusCode::BAD_REQUEST);
    let (status, closed) = close(json!({ "status": "closed" })).await;
    assert_eq!(
        (status, &closed["status"], &closed["closed_by"]),
        (StatusCode::OK, &json!("closed"), &json!("person:agnes"))
    );
    let (_, twice) = close(json!({ "status": "closed" })).await;
    assert_eq!(twice, closed, "the first word counts");
    assert_eq!(world.number("select count(*) from audit_log where action = 'handover.closed'").await, 1);
    assert!(world.open().await.is_empty());
    let anew = world.hand_over(json!({ "session_id": "monday" })).await;
    assert_ne!(anew["id"], kept["id"], "the conversation went on");
    let closed = world.get(&format!("{}?status=closed", staff()), &world.agent).await;
    assert_eq!(closed["results"].as_array().unwrap().len(), 1);
    let page = world.get(&format!("{}?limit=1", staff()), &world.agent).await;
    let next = page["next_cursor"].as_str().unwrap();
    let rest = world.get(&format!("{}?limit=1&cursor={next}", staff()), &world.agent).await;
    assert_eq!((&page["results"][0]["id"], &rest["results"][0]["id"]), (&anew["id"], &kept["id"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_may_be_named_and_the_reason_given() {
    let world = World::new().await;
    let answered = world.ask(&world.ada, "monday", "How do I reset my password?").await;
    let refused = world.ask(&world.ada, "tuesday", UNKNOWN).await;
    let id = |answer: &Value| answer["answer_id"].clone();
    for body in [
        json!({ "session_id": "monday", "answer_id": id(&refused) }),
        json!({ "session_id": "monday", "answer_id": Uuid::nil() }),
        json!({ "session_id": "wednesday" }),
        json!({ "session_id": "" }),
        json!({ "session_id": "monday", "reason": "because" }),
        json!({ "session_id": "monday", "note": "x".repeat(2_001) }),
    ] {
        let (status, answer) = world.app.post(&request(), &world.ada, &body).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}: {answer}");
    }
    assert_eq!(world.number("select count(*) from handovers").await, 0);
    let kept =
        world.hand_over(json!({ "session_id": "monday", "answer_id": id(&answered), "note": "x".repeat(2_000) })).await;
    assert_eq!(kept["reason"], "customer_request", "nothing was refused");
    let kept = world.hand_over(json!({ "session_id": "tuesday", "reason": "unsupported_request" })).await;
    assert_eq!(kept["reason"], "unsupported_request");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_assistant_hands_over_itself_the_conversation_waits_for_a_person() {
    let world = World::new().await;
    let answer = world.ask(&world.ada, "monday", "I want to talk to a human about my password").await;
    assert_eq!(answer["outcome"], "handed_over", "{answer}");
    let open = world.open().await;
    assert_eq!((open.len(), &open[0]["reason"]), (1, &json!("customer_request")));
    assert_eq!(open[0]["answer_id"], answer["answer_id"]);
    assert_eq!(world.facts(&answer).await, ["handed_over"]);
    world.ask(&world.ada, "monday", "Please let me talk to a person").await;
    assert_eq!(world.open().await.len(), 1);
    let noted = world.hand_over(json!({ "session_id": "monday", "note": "Mornings only" })).await;
    assert_eq!((&noted["id"], &noted["note"]), (&open[0]["id"], &json!("Mornings only")));
}
