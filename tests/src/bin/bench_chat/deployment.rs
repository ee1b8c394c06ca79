//! A help center to ask, with the real programs.

use std::path::Path;

use anyhow::Context as _;
use shared::{
    auth::jwt::{self, NewToken},
    clock::Clock,
    tenancy::TenantId,
};
use tests::{
    JWT_SECRET, TestApp, embedder,
    judged::collections,
    processes::{Program, free_port},
};

/// The tenant's slug.
const TENANT: &str = "bench";

pub(crate) struct Deployment {
    pub(crate) app: TestApp,
    pub(crate) tenant: TenantId,
    /// Where the API answers: host and port.
    pub(crate) address: String,
    pub(crate) questions: Vec<String>,
    api: Option<Program>,
    worker: Program,
}

impl Deployment {
    /// Imports and embeds a collection, and starts the programs.
    pub(crate) async fn start(data: &Path, collection: &str) -> anyhow::Result<Self> {
        let app = TestApp::start().await;
        let tenant = app.db.tenant(TENANT).await.id;
        let found = collections(data)?.into_iter().find(|found| found.name == collection);
        let found = found.with_context(|| format!("{} holds no collection {collection}", data.display()))?;
        found.load(&app.db.database, &embedder(), tenant).await?;
        let questions = found.judged()?.into_iter().map(|(question, _)| question.text).collect();
        let address = format!("127.0.0.1:{}", free_port());
        let worker = Program::start(&app, "helpcenter-worker").ready().await;
        let api = start_api(&app, &address).await;
        Ok(Self { app, tenant, address, questions, api: Some(api), worker })
    }

    /// The API's process.
    pub(crate) fn api(&self) -> anyhow::Result<u32> {
        Ok(self.api.as_ref().context("it was killed")?.id())
    }

    /// Kills the API (SIGKILL).
    pub(crate) fn kill_api(&mut self) {
        if let Some(api) = self.api.take() {
            api.kill();
        }
    }

    /// Starts it again, and waits until it is ready.
    pub(crate) async fn restart_api(&mut self) {
        self.api = Some(start_api(&self.app, &self.address).await);
    }

    /// A token of one of many people, good for a day.
    pub(crate) fn token(person: usize) -> anyhow::Result<String> {
        let (person, exp) = (format!("person-{person}"), Clock::system().now().timestamp() + 86_400);
        let token = NewToken { sub: &person, tenant: TENANT, roles: &[], name: "A Person", exp };
        Ok(jwt::sign(&JWT_SECRET.into(), &token)?)
    }

    pub(crate) async fn stop(self) {
        if let Some(api) = self.api {
            api.terminate().await;
        }
        self.worker.terminate().await;
    }
}

async fn start_api(app: &TestApp, address: &str) -> Program {
    let variables = [
        ("API_ADDRESS", address),
        ("JWT_SECRET", JWT_SECRET),
        ("API_KEY_PEPPER", "a pepper of at least thirty-two bytes, for tests only"),
        // What is measured is not to be refused.
        ("ASSISTANT_QUESTIONS_PER_MINUTE", "1000000"),
        ("ASSISTANT_QUESTIONS_PER_DAY", "1000000"),
        ("ASSISTANT_TENANT_QUESTIONS_PER_MINUTE", "1000000"),
    ];
    Program::start_with(app, "helpcenter-api", &variables).ready().await
}
