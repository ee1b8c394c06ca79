//! Answers by language models: whatever a server does, whoever asks gets an answer that cites, in time.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{
    Settings, TestApp,
    fixture::{self, Folder, article},
    no_language_model,
    scripted_llm::{Reply, ScriptedLlm},
};

use super::{ASK, ask, events, library};
use crate::queue::support::Running;

const QUESTION: &str = "How do I reset my password?";

/// A help center whose model answers by a script.
pub(super) struct World {
    pub(super) app: TestApp,
    pub(super) token: String,
    pub(super) server: ScriptedLlm,
    worker: Running,
}

impl World {
    pub(super) async fn start(replies: impl IntoIterator<Item = Reply>, folder: &Folder) -> Self {
        let server = ScriptedLlm::start(replies).await;
        let mut llm = no_language_model();
        llm.model = Some(server.config());
        let app = TestApp::start_with(Settings { llm, ..Settings::default() }).await;
        let tenant = app.db.tenant("library").await.id;
        fixture::import(&app.db, tenant, folder).await;
        app.run_jobs().await;
        let token = app.token("library", &[]);
        let worker = Running::start(app.worker());
        Self { app, token, server, worker }
    }

    pub(super) async fn ask(&self, question: &str) -> Value {
        ask(&self.app, &self.token, &json!({ "query": question })).await
    }

    pub(super) async fn stop(self) {
        self.worker.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_answers_from_passages_and_is_cited() {
    let said = "Open Settings and choose Security. [1] A link to set a new password is sent to you by email. [1]";
    let world = World::start([Reply::text(said)], &library()).await;
    let answer = world.ask(QUESTION).await;
    assert_eq!((&answer["provider"], &answer["outcome"]), (&json!("openai"), &json!("answered")), "{answer}");
    assert_eq!(answer["answer"], said);
    assert_eq!(answer["citations"][0]["title"], "Reset your password");
    assert_eq!(answer["citations"][0]["quotes"].as_array().unwrap().len(), 2, "{answer}");
    assert_eq!(answer["usage"]["input_tokens"], 100);
    assert!(answer["usage"]["usd"].as_f64().unwrap() > 0.0);
    let asked = &world.server.asked()[0].body["messages"];
    assert!(asked.to_string().contains("A link to set a new password"), "{asked}");
    let again = world.ask(QUESTION).await;
    assert_eq!((&again["is_cached"], &again["answer"]), (&json!(true), &json!(said)));
    assert_eq!(world.server.asked().len(), 1, "an answer that is given again costs nothing");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_passage_says_is_not_shown() {
    let said = "The link is good for one hour. [1] It costs 12 dollars a month. [1] Open Settings and choose Security. [7]\n\
                See ![x](https://evil.example/x.png).";
    let world = World::start([Reply::text(said)], &library()).await;
    let answer = world.ask(QUESTION).await;
    assert_eq!(
        answer["answer"], "The link is good for one hour. [1] Open Settings and choose Security. [1]\n",
        "{answer}"
    );
    assert_eq!(answer["withheld_claims"], 2);
    assert!(!answer.to_string().contains("evil"), "{answer}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_makes_most_of_it_up_is_not_believed_at_all() {
    let said =
        "Open Settings and choose Security. [1] Then dance around the fire. [1] Wait for the full moon. [1] Howl. [2]";
    let world = World::start([Reply::text(said)], &library()).await;
    let request =
        world.app.request(reqwest::Method::POST, ASK).bearer_auth(&world.token).header("accept", "text/event-stream");
    let told = events(request.json(&json!({ "query": QUESTION })).send().await.unwrap()).await;
    let restart = told.iter().position(|(name, _)| name == "restart").expect("what was said is taken back");
    let text: String = told[restart..].iter().filter_map(|(_, data)| data["text"].as_str()).collect();
    assert!(text.contains("A link to set a new password"), "{text}");
    let (_, done) = told.last().unwrap();
    assert_eq!((&done["provider"], &done["degraded"]), (&json!("extractive"), &json!(["unsupported"])), "{done}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_finds_no_answer_refuses() {
    let world = World::start([Reply::text("NO_ANSWER")], &library()).await;
    let answer = world.ask(QUESTION).await;
    assert_eq!((&answer["outcome"], &answer["provider"]), (&json!("refused"), &json!("openai")), "{answer}");
    assert_eq!(answer["nearest"][0]["title"], "Reset your password");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_a_server_does_there_is_an_answer_in_time() {
    let beginning = "Open Settings and choose Security. [1] A link to set a";
    for (what, replies) in [
        ("no first token", vec![Reply::Silence]),
        ("a stall", vec![Reply::stalls_after(beginning)]),
        ("a malformed chunk", vec![Reply::malformed_after(beginning)]),
        ("a disconnect", vec![Reply::breaks_after(beginning)]),
        ("no end", vec![Reply::ends_after(beginning)]),
        ("500", vec![Reply::failing()]),
        ("busy for long", vec![Reply::busy(3_600)]),
        ("no such model", vec![Reply::wrong_model()]),
        ("an empty answer", vec![Reply::empty()]),
    ] {
        let world = World::start(replies, &library()).await;
        let began = Instant::now();
        let answer = world.ask(QUESTION).await;
        assert!(began.elapsed() < Duration::from_secs(12), "{what} took {:?}", began.elapsed());
        assert_eq!(
            (&answer["outcome"], &answer["provider"]),
            (&json!("answered"), &json!("extractive")),
            "{what}: {answer}"
        );
        assert_eq!(answer["degraded"], json!(["provider_down"]), "{what}");
        let text = answer["answer"].as_str().unwrap();
        assert!(text.contains("A link to set a new password is sent to you by email"), "{what}: {text}");
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_cut() {
    let world = World::start([Reply::endless()], &library()).await;
    let began = Instant::now();
    let answer = world.ask(QUESTION).await;
    assert!(began.elapsed() < Duration::from_secs(12));
    assert_eq!(answer["outcome"], "answered", "{answer}");
    assert!(!answer["answer"].as_str().unwrap().contains("and so on"), "{answer}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_server_is_asked_again() {
    let world = World::start([Reply::busy(1), Reply::text("Open Settings and choose Security. [1]")], &library()).await;
    let answer = world.ask(QUESTION).await;
    assert_eq!((&answer["provider"], &answer["degraded"]), (&json!("openai"), &json!([])), "{answer}");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_leaves_the_extractive_answer() {
    let server = ScriptedLlm::start([Reply::text("Open Settings and choose Security. [1]")]).await;
    let mut llm = no_language_model();
    llm.model = Some(server.config());
    llm.budget.tokens = 10;
    let app = TestApp::start_with(Settings { llm, ..Settings::default() }).await;
    let tenant = app.db.tenant("library").await.id;
    fixture::import(&app.db, tenant, &library()).await;
    app.run_jobs().await;
    let worker = Running::start(app.worker());
    let answer = ask(&app, &app.token("library", &[]), &json!({ "query": QUESTION })).await;
    assert_eq!((&answer["provider"], &answer["degraded"]), (&json!("extractive"), &json!(["budget"])), "{answer}");
    assert!(server.asked().is_empty());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follow_up_is_rewritten_by_the_model() {
    let replies = [
        Reply::text("Open Settings and choose Security. [1]"),
        Reply::text("How do I download an invoice of last month?"),
        Reply::text("Open Billing, choose the month and click Download. [1]"),
    ];
    let world = World::start(replies, &library()).await;
    let turn = |query: &str| json!({ "query": query, "session_id": "s-1" });
    ask(&world.app, &world.token, &turn(QUESTION)).await;
    let answer = ask(&world.app, &world.token, &turn("and for invoices?")).await;
    assert_eq!(answer["citations"][0]["title"], "Download an invoice", "{answer}");
    let asked = world.server.asked();
    assert!(asked[2].body.to_string().contains("and for invoices?"), "the model is told what was asked, too");
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_repeats_what_it_was_told_gives_nothing_away() {
    let parrot = Reply::Computed(std::sync::Arc::new(|body: &Value| {
        let said: Vec<&str> =
            body["messages"].as_array().unwrap().iter().filter_map(|m| m["content"].as_str()).collect();
        Reply::text(&said.join("\n"))
    }));
    let folder = Folder::of(&[("a.md", &article("Reset your password", "Open Settings to reset your password."))]);
    let world = World::start([parrot], &folder).await;
    let answer = world.ask(QUESTION).await.to_string();
    for secret in ["NO_ANSWER", "Never follow instructions", "==", "The mark is"] {
        assert!(!answer.contains(secret), "{secret}: {answer}");
    }
    world.stop().await;
}
