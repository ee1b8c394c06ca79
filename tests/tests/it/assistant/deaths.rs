//! Programs die while an answer is written, and whoever waits gets one whole answer.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tests::{
    JWT_SECRET, Settings, TestApp, fixture,
    processes::{Program, free_port},
    scripted_llm::{KEY, MODEL, Reply, ScriptedLlm},
};

use super::{ASK, events, library, parse_events};

const API: &str = "helpcenter-api";
const WORKER: &str = "helpcenter-worker";
/// Long enough for a worker that lives.
const LEASE: Duration = Duration::from_secs(5);
const FIRST: &str = "Open Settings and choose Security. [1] A link to set";
const WHOLE: &str = "Open Settings and choose Security. [1] The link is good for one hour. [1]";

struct World {
    app: TestApp,
    llm: ScriptedLlm,
    token: String,
}

impl World {
    /// The first call says something and then nothing for long; the others say everything.
    async fn start() -> Self {
        let llm = ScriptedLlm::start([Reply::stalls_after(FIRST), Reply::text(WHOLE)]).await;
        let app = TestApp::start_with(Settings { lease: LEASE, ..Settings::default() }).await;
        let tenant = app.db.tenant("library").await.id;
        fixture::import(&app.db, tenant, &library()).await;
        app.run_jobs().await;
        let token = app.token("library", &[]);
        Self { app, llm, token }
    }

    async fn worker(&self) -> Program {
        let url = self.llm.base_url();
        let variables = [
            ("LLM_PROVIDER", "openai"),
            ("LLM_BASE_URL", url.as_str()),
            ("LLM_MODEL", MODEL),
            ("LLM_API_KEY", KEY),
            ("LLM_IDLE_TIMEOUT_SECONDS", "60"),
            ("WORKER_QUEUES", "answers"),
        ];
        Program::start_with(&self.app, WORKER, &variables).ready().await
    }

    /// Waits until a chunk was said to whoever listens to this.
    async fn first_chunk(&self, response: &mut reqwest::Response) -> String {
        let mut heard = String::new();
        while !heard.contains("event: chunk\n") {
            heard.push_str(&String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap()));
        }
        heard
    }
}

/// The text that a client puts together of server-sent events.
fn put_together(told: &[(String, Value)]) -> String {
    let mut text = String::new();
    for (name, data) in told {
        match name.as_str() {
            "restart" => text.clear(),
            "chunk" => text.push_str(data["text"].as_str().unwrap()),
            _ => {}
        }
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_killed_in_the_middle_of_an_answer() {
    let world = World::start().await;
    let doomed = world.worker().await;
    let request = world.app.request(Method::POST, ASK).bearer_auth(&world.token).header("accept", "text/event-stream");
    let question = json!({ "query": "How do I reset my password?" });
    let mut response = request.json(&question).send().await.unwrap();
    let heard = world.first_chunk(&mut response).await;
    doomed.kill();
    let other = world.worker().await;
    let rest = response.text().await.unwrap();
    let told = parse_events(&format!("{heard}{rest}"));
    assert!(told.iter().any(|(name, _)| name == "restart"), "{told:?}");
    assert_eq!(told.last().unwrap().0, "done");
    assert_eq!(put_together(&told), WHOLE);
    let mut before = 0;
    for (name, data) in &told {
        let seq = data["seq"].as_u64().unwrap();
        assert!(seq == before + 1 || (name == "restart" && seq > before), "{seq} after {before}: nothing is left out");
        before = seq;
    }
    other.terminate().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_killed_in_the_middle_of_an_answer() {
    let world = World::start().await;
    world.llm.reply_with([Reply::slow(Duration::from_secs(3), WHOLE)]);
    let worker = world.worker().await;
    let address = format!("127.0.0.1:{}", free_port());
    let pepper = "a pepper of at least thirty-two bytes, for tests only";
    // The clock of the program is the real one.
    let exp = shared::clock::Clock::system().now().timestamp() + 3600;
    let token = shared::auth::jwt::NewToken { sub: "person-1", tenant: "library", roles: &[], name: "A Person", exp };
    let token = shared::auth::jwt::sign(&JWT_SECRET.into(), &token).unwrap();
    let variables = [("API_ADDRESS", address.as_str()), ("JWT_SECRET", JWT_SECRET), ("API_KEY_PEPPER", pepper)];
    let doomed = Program::start_with(&world.app, API, &variables).ready().await;
    let client = reqwest::Client::new();
    let asking =
        client.post(format!("http://{address}{ASK}")).bearer_auth(&token).header("accept", "text/event-stream");
    let mut response = asking.json(&json!({ "query": "How do I reset my password?" })).send().await.unwrap();
    let mut heard = String::new();
    while !heard.contains("event: status\n") {
        heard.push_str(&String::from_utf8_lossy(&response.chunk().await.unwrap().unwrap()));
    }
    doomed.kill();
    let before = parse_events(&heard);
    let (_, last) = before.last().unwrap();
    // The client comes back to another process, with the number of the last event.
    let path = format!("{ASK}answers/{}/", last["answer_id"].as_str().unwrap());
    let request = world.app.request(Method::GET, &path).bearer_auth(&world.token).header("accept", "text/event-stream");
    let rest = events(request.header("last-event-id", last["seq"].to_string()).send().await.unwrap()).await;
    let told: Vec<(String, Value)> = before.into_iter().chain(rest).collect();
    assert_eq!(put_together(&told), WHOLE, "{told:?}");
    worker.terminate().await;
}
