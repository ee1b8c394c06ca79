//! What the tests of conversations share: a help center with a worker, people who ask, and conversations of long ago.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};
use shared::{assistant::Asker, db::TenantTx, tenancy::Tenant};
use sqlx::AssertSqlSafe;
use tests::{
    Settings, TestApp,
    fixture::{self, Folder, article, article_for},
};
use uuid::Uuid;

use crate::queue::support::Running;

pub(crate) const ASK: &str = "/api/v2/help-center/assistant/";
pub(crate) const ADMIN: &str = "/api/v2/help-center/admin/";

pub(crate) struct World {
    pub(crate) app: TestApp,
    pub(crate) acme: Tenant,
    /// Somebody who asks.
    pub(crate) ada: String,
    /// Staff.
    pub(crate) agent: String,
    pub(crate) admin: String,
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    pub(crate) async fn with(settings: Settings) -> Self {
        let app = TestApp::start_with(settings).await;
        let acme = app.db.tenant("acme").await;
        let folder = Folder::of(&[
            (
                "account/password.md",
                &article(
                    "Reset your password",
                    "Did you forget your password? A link to set a new password is sent to you.",
                ),
            ),
            (
                "billing/invoice.md",
                &article("Download an invoice", "Invoices are PDF files. Open *Billing* and choose the month."),
            ),
            (
                "billing/vendors.md",
                &article_for("Invoices of vendors", &["vendor"], "Vendors send their invoices to the purple mailbox."),
            ),
        ]);
        fixture::import(&app.db, acme.id, &folder).await;
        app.run_jobs().await;
        let ada = app.token_of("ada", "acme", &[]);
        let agent = app.token_of("agnes", "acme", &["agent"]);
        let admin = app.token_of("adam", "acme", &["admin"]);
        Self { app, acme, ada, agent, admin }
    }

    /// Asks, with a worker that answers.
    pub(crate) async fn ask(&self, token: &str, session: &str, question: &str) -> Value {
        let worker = Running::start(self.app.worker());
        let body =
            json!({ "query": question, "session_id": session, "current_url": "https://app.example.com/billing" });
        let (status, answer) = self.app.post(ASK, token, &body).await;
        worker.stop().await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    pub(crate) fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        self.app.request(method, path).bearer_auth(token)
    }

    /// GET of something that is there.
    pub(crate) async fn get(&self, path: &str, token: &str) -> Value {
        let (status, answer) = self.app.get(path, token).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
        answer
    }

    pub(crate) async fn status(&self, method: Method, path: &str, token: &str) -> u16 {
        self.request(method, path, token).send().await.unwrap().status().as_u16()
    }

    pub(crate) async fn tx(&self) -> TenantTx {
        self.app.db.database.tenant(self.acme.id).await.unwrap()
    }

    /// Runs SQL as the owner.
    pub(crate) async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    pub(crate) async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    /// Keeps questions as if they had been asked in one conversation so many days ago and were answered, with the articles (by slug)
    /// that are cited; none of them: it was refused. The conversation's id.
    pub(crate) async fn asked(&self, person: &str, days_ago: i32, questions: &[(&str, Option<&str>)]) -> Uuid {
        let mut owner = self.app.db.owner().await;
        let conversation: Uuid = sqlx::query_scalar(
            "insert into conversations (tenant_id, asker, session_id, started_at, last_asked_at)
             values ($1, $2, $3, now() - make_interval(days => $4, hours => 1), now() - make_interval(days => $4, hours => 1))
             returning id",
        )
        .bind(self.acme.id.uuid())
        .bind(Asker::person(person).as_str())
        .bind(Uuid::new_v4().to_string())
        .bind(days_ago)
        .fetch_one(&mut owner)
        .await
        .unwrap();
        for (question, article) in questions {
            sqlx::query(
                "with article as (select * from articles where tenant_id = $1 and slug = $5),
                 answer as (
                     insert into answers (tenant_id, conversation_id, question, roles, asked_at, status, finished_at, outcome, reason,
                                          answer, provider)
                     values ($1, $2, $3, '{}', now() - make_interval(days => $4, hours => 1), 'done', now() - make_interval(days => $4),
                             case when $5 is null then 'refused' else 'answered' end,
                             case when $5 is null then 'missing_knowledge' end, 'Text.', 'extractive')
                     returning tenant_id, id)
                 insert into answer_passages (tenant_id, answer_id, marker, article_id, revision_id, first_ordinal, last_ordinal, slug,
                                              title, heading_path, body, score, is_cited)
                 select answer.tenant_id, answer.id, 1, article.id, article.published_revision_id, 0, 0, article.slug, 'T', '{}', 'B', 0.5, true
                 from answer, article",
            )
            .bind(self.acme.id.uuid())
            .bind(conversation)
            .bind(question)
            .bind(days_ago)
            .bind(article)
            .execute(&mut owner)
            .await
            .unwrap();
        }
        conversation
    }
}
