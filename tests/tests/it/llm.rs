//! Language models behind OpenAI-compatible servers: every call ends in an answer or in an honest error, within its time and within
//! the tenant's budget.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

mod budget;
mod calls;
mod real;
mod settings;

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use shared::{
    clock::Clock,
    config::LlmConfig,
    llm::{Answer, Delta, Finish, Llm, LlmError, Message, Model, Prompt, Purpose, Usage},
    tenancy::TenantId,
};
use tests::{
    TestDatabase, no_language_model,
    scripted_llm::{Reply, ScriptedLlm},
    start_of_time,
};
use uuid::Uuid;

/// A deployment whose model answers by a script.
struct World {
    db: TestDatabase,
    server: ScriptedLlm,
    clock: Clock,
    config: LlmConfig,
    llm: Llm,
    tenant: TenantId,
}

impl World {
    async fn new(replies: impl IntoIterator<Item = Reply>) -> Self {
        Self::with(replies, |_| ()).await
    }

    /// The same with other settings.
    async fn with(replies: impl IntoIterator<Item = Reply>, change: impl FnOnce(&mut LlmConfig)) -> Self {
        shared::telemetry::install_tls();
        let db = TestDatabase::create().await;
        let server = ScriptedLlm::start(replies).await;
        let mut config = LlmConfig { model: Some(server.config()), ..no_language_model() };
        change(&mut config);
        let clock = Clock::fixed(start_of_time());
        let llm = Llm::new(&config, None, db.database.clone(), clock.clone()).unwrap();
        let tenant = db.tenant("acme").await.id;
        Self { db, server, clock, config, llm, tenant }
    }

    async fn model(&self) -> Model {
        self.llm.for_tenant(self.tenant).await.unwrap().unwrap()
    }

    async fn ask(&self) -> Result<Answer, LlmError> {
        self.model().await.ask(Purpose::Answer, Some(Uuid::nil()), prompt()).await
    }

    async fn rows(&self) -> Vec<Row> {
        rows(&self.db, self.tenant).await
    }
}

/// A line of the ledger.
#[derive(Debug, Clone, PartialEq, sqlx::FromRow)]
struct Row {
    outcome: Option<String>,
    input_tokens: i32,
    output_tokens: i32,
    is_estimated: bool,
    usd: Option<f64>,
    first_token_ms: Option<i32>,
}

async fn rows(db: &TestDatabase, tenant: TenantId) -> Vec<Row> {
    let sql = "select outcome, input_tokens, output_tokens, is_estimated, usd::float8 as usd, first_token_ms
               from llm_usage where tenant_id = $1 order by id";
    sqlx::query_as(sql).bind(tenant.uuid()).fetch_all(&mut db.owner().await).await.unwrap()
}

/// Estimated as 4 + 4 + 7 + 4 tokens.
fn prompt() -> Prompt {
    Prompt {
        messages: vec![Message::system("Answer briefly."), Message::user("Who keeps the hidden keys?")],
        max_output_tokens: 200,
        temperature: Some(0.0),
    }
}

const PROMPT_TOKENS: i32 = 19;

/// What was said of an answer, and how it ended.
async fn listen(mut answer: Answer) -> (String, Result<(Finish, Usage), LlmError>) {
    let mut text = String::new();
    loop {
        match answer.next().await {
            Some(Ok(Delta::Text(piece))) => {
                assert!(!piece.is_empty());
                text.push_str(&piece);
            }
            Some(Ok(Delta::End { finish, usage })) => {
                assert!(answer.next().await.is_none(), "that was the last piece");
                return (text, Ok((finish, usage)));
            }
            Some(Err(error)) => {
                assert!(answer.next().await.is_none(), "that was the last piece");
                return (text, Err(error));
            }
            None => panic!("no word about the end, after {text:?}"),
        }
    }
}

/// Fails when something is not over in time.
async fn within<T>(limit: Duration, what: &str, doing: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let done = tokio::time::timeout(limit, doing).await;
    done.unwrap_or_else(|_| panic!("{what} is not over after {:?}", began.elapsed()))
}
