//! Making anew what search knows, while it is searched; and the switch to another embedding model.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::{
    auth::Roles,
    embedding::{EmbedError, Embedder, Embedding, ModelId},
    knowledge::{
        Reindex, ReindexPart,
        embed::{embed_revision, switch_model},
        reindex::{self, Reindexed},
    },
    search::{Arm, Search, SearchRequest},
    tenancy::TenantId,
};
use sqlx::AssertSqlSafe;
use tests::{
    Settings, TestApp,
    fixture::{self, Folder, article},
    processes::Program,
};
use uuid::Uuid;

use crate::queue::support::eventually;

const REINDEX: &str = "/api/v2/help-center/admin/reindex/";

struct World {
    app: TestApp,
    tenant: TenantId,
    token: String,
}

impl World {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    /// Six articles in two categories, indexed and embedded.
    async fn with(settings: Settings) -> Self {
        let app = TestApp::start_with(settings).await;
        let tenant = app.db.tenant("library").await.id;
        let files: Vec<(String, String)> = (0..6)
            .map(|n| {
                let folder = if n < 4 { "plants" } else { "tools" };
                (
                    format!("{folder}/{n}.md"),
                    article(&format!("Article {n}"), &format!("All about wheelbarrows, part {n}.")),
                )
            })
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        fixture::import(&app.db, tenant, &Folder::of(&files)).await;
        app.run_jobs().await;
        let token = app.token("library", &["admin"]);
        Self { app, tenant, token }
    }

    async fn execute(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    async fn count(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    /// Makes everything that search knows a day old.
    async fn age(&self) {
        self.execute("alter table search_documents disable trigger search_documents_not_updated").await;
        self.execute("update search_documents set indexed_at = now() - interval '1 day'").await;
        self.execute("alter table search_documents enable trigger search_documents_not_updated").await;
        self.execute("update passage_embeddings set created_at = now() - interval '1 day'").await;
    }

    /// How many articles have fresh words, and how many passages fresh vectors.
    async fn fresh(&self) -> (i64, i64) {
        (
            self.count("select count(*) from search_documents where indexed_at > now() - interval '1 hour'").await,
            self.count("select count(*) from passage_embeddings where created_at > now() - interval '1 hour'").await,
        )
    }

    async fn start(&self, body: Value) -> String {
        let (status, started) = self.app.post(REINDEX, &self.token, &body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{started}");
        started["url"].as_str().unwrap().to_owned()
    }

    async fn job(&self, url: &str) -> Value {
        let (status, job) = self.app.get(url, &self.token).await;
        assert_eq!(status, StatusCode::OK, "{job}");
        job
    }

    async fn request(&self, part: ReindexPart) -> Reindex {
        let requested_at =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut self.app.db.owner().await).await;
        Reindex { category_id: None, article_ids: None, part, requested_at: requested_at.unwrap() }
    }

    async fn run(&self, job: &Reindex) -> Reindexed {
        reindex::reindex(&self.app.db.database, &*tests::embedder(), self.tenant, job, |_, _| ()).await.unwrap()
    }

    /// Every word takes a while to index.
    async fn slow_down(&self) {
        self.execute(
            "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.4); return null; end $$",
        )
        .await;
        self.execute("create trigger slow after insert on search_documents for each statement execute function slow()")
            .await;
    }
}

#[tokio::test]
async fn each_part_and_extent_is_made_anew_and_no_other() {
    let world = World::new().await;
    let passages = world.count("select count(*) from passages").await;
    let category = world.count("select count(*) from categories").await;
    assert_eq!((passages, category), (12, 2));
    let tools: Uuid = sqlx::query_scalar("select id from categories where slug = 'tools'")
        .fetch_one(&mut world.app.db.owner().await)
        .await
        .unwrap();
    for (body, fresh, result) in [
        (json!({}), (6, 12), json!({ "articles": 6, "passages": 12 })),
        (json!({ "part": "all" }), (6, 12), json!({ "articles": 6, "passages": 12 })),
        (json!({ "part": "full_text" }), (6, 0), json!({ "articles": 6, "passages": 0 })),
        (json!({ "part": "embeddings" }), (0, 12), json!({ "articles": 0, "passages": 12 })),
        (json!({ "category_id": tools }), (2, 4), json!({ "articles": 2, "passages": 4 })),
    ] {
        world.age().await;
        let url = world.start(body.clone()).await;
        world.app.run_jobs().await;
        assert_eq!(world.fresh().await, fresh, "{body}");
        let job = world.job(&url).await;
        assert_eq!((&job["state"], &job["result"]), (&json!("done"), &result), "{body}: {job}");
        assert_eq!(job["progress"]["done"], job["progress"]["total"], "{body}: {job}");
    }
    for bad in [json!({ "part": "half" }), json!({ "category": "tools" }), json!({ "category_id": Uuid::nil() })] {
        assert_eq!(world.app.post(REINDEX, &world.token, &bad).await.0, StatusCode::BAD_REQUEST, "{bad}");
    }
}

#[tokio::test]
async fn what_was_damaged_is_whole_again() {
    let world = World::new().await;
    world.execute("update passages set tsv = ''").await;
    world.execute("delete from search_documents").await;
    world.execute("delete from passage_embeddings").await;
    assert_eq!(world.app.search_titles(&world.token, "\"all about wheelbarrows\"").await, Vec::<String>::new());
    world.start(json!({})).await;
    world.app.run_jobs().await;
    assert_eq!(world.app.search_titles(&world.token, "\"all about wheelbarrows\"").await.len(), 6);
    assert_eq!(world.fresh().await, (6, 12));
}

#[tokio::test]
async fn a_second_run_of_the_same_job_does_nothing_and_a_second_request_joins_the_first() {
    let world = World::new().await;
    let job = world.request(ReindexPart::All).await;
    assert_eq!(world.run(&job).await, Reindexed { articles: 6, passages: 12 });
    assert_eq!(world.run(&job).await, Reindexed::default());
    let first = world.start(json!({})).await;
    assert_eq!(world.start(json!({})).await, first, "one of the same extent is open");
    assert_ne!(world.start(json!({ "part": "full_text" })).await, first);
    world.app.run_jobs().await;
}

#[tokio::test]
async fn search_answers_all_the_while() {
    let world = World::new().await;
    world.slow_down().await;
    world.age().await;
    let url = world.start(json!({})).await;
    let running = tokio::spawn({
        let worker = world.app.worker();
        let stop = tokio_util::sync::CancellationToken::new();
        let stopped = stop.clone();
        async move {
            let run = worker.run(stopped, tokio_util::sync::CancellationToken::new());
            (run.await, stop)
        }
    });
    let mut asked = 0;
    loop {
        let body = json!({ "query": "wheelbarrows", "limit": 10 + asked % 40 });
        let (status, found) = world.app.post("/api/v2/help-center/search/", &world.token, &body).await;
        assert_eq!((status, &found["total"]), (StatusCode::OK, &json!(6)), "{found}");
        assert_eq!(found["results"][0]["matched"], json!(["keyword", "semantic"]), "{found}");
        asked += 1;
        if world.job(&url).await["state"] == "done" {
            break;
        }
    }
    assert!(asked > 5, "{asked}");
    running.abort();
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_is_replaced_by_one_that_goes_on_where_it_was() {
    let world = World::with(Settings { lease: Duration::from_secs(2), ..Settings::default() }).await;
    world.age().await;
    world.slow_down().await;
    let url = world.start(json!({ "part": "full_text" })).await;
    let worker = Program::start(&world.app, "helpcenter-worker");
    eventually("two are done", async || (world.fresh().await.0 >= 2).then_some(())).await;
    worker.kill();
    let done = world.fresh().await.0;
    assert!(done < 6, "killed in the middle");
    let worker = Program::start(&world.app, "helpcenter-worker").ready().await;
    world.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    assert_eq!(world.fresh().await.0, 6);
    let job = world.job(&url).await;
    assert_eq!(job["result"]["articles"], 6 - done, "it went on where the other was: {job}");
    assert_eq!((&job["progress"]["done"], &job["progress"]["total"]), (&json!(6), &json!(6)), "{job}");
}

#[tokio::test]
async fn it_can_be_cancelled_and_leaves_whole_articles_behind() {
    let world = World::with(Settings { lease: Duration::from_secs(2), ..Settings::default() }).await;
    world.age().await;
    world.slow_down().await;
    let url = world.start(json!({ "part": "full_text" })).await;
    let worker = Program::start(&world.app, "helpcenter-worker");
    eventually("one is done", async || (world.fresh().await.0 >= 1).then_some(())).await;
    let id = url.rsplit('/').nth(1).unwrap();
    let (_, cancelled) =
        world.app.post("/api/v2/help-center/admin/jobs/cancel/", &world.token, &json!({ "ids": [id] })).await;
    eventually("it has ended", async || (world.job(&url).await["state"] == "cancelled").then_some(())).await;
    assert!(worker.terminate().await.success());
    assert!(world.fresh().await.0 < 6, "{cancelled}");
    assert_eq!(world.count("select count(*) from search_documents").await, 6);
}

/// Another model: its vectors are not comparable with the real one's.
pub(crate) struct Other {
    pub(crate) id: ModelId,
    pub(crate) real: Arc<dyn Embedder>,
}

impl Embedder for Other {
    fn model(&self) -> &ModelId {
        &self.id
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        Box::pin(async move {
            let vectors = self.real.embed(texts).await?;
            let backwards = |vector: Embedding| {
                let mut numbers = vector.into_vec();
                numbers.reverse();
                Embedding::new(numbers)
            };
            vectors.into_iter().map(backwards).collect()
        })
    }
}

#[tokio::test]
async fn another_model_takes_over_once_it_has_caught_up_and_the_old_one_serves_until_then() {
    let world = World::new().await;
    let (real, database) = (tests::embedder(), world.app.db.database.clone());
    let other: Arc<dyn Embedder> = Arc::new(Other { id: ModelId::new("other", "1"), real: Arc::clone(&real) });
    let both = || Search::new(database.clone(), [Arc::clone(&other), Arc::clone(&real)]);
    // Shares no word with the articles: only meaning finds them.
    let found = async |search: Search| {
        let request = SearchRequest::new("pushcart for gardening".parse().unwrap(), 20);
        let outcome = search.run(world.tenant, &Roles::none(), &request).await.unwrap();
        (outcome.total, outcome.degraded.clone())
    };
    let before = found(both()).await;
    assert!(before.0 > 0 && before.1.is_empty(), "{before:?}");
    let revisions: Vec<Uuid> = sqlx::query_scalar("select published_revision_id from articles order by id")
        .fetch_all(&mut world.app.db.owner().await)
        .await
        .unwrap();
    for (done, revision_id) in revisions.into_iter().enumerate() {
        assert!(!switch_model(&database, world.tenant, "other@1").await.unwrap(), "{done} of 6 are embedded");
        assert_eq!(found(both()).await, before, "the old one serves");
        embed_revision(&database, &*other, world.tenant, revision_id, |_, _| ()).await.unwrap();
    }
    assert!(switch_model(&database, world.tenant, "other@1").await.unwrap());
    assert!(!switch_model(&database, world.tenant, "other@1").await.unwrap(), "once");
    assert_eq!(world.count("select count(*) from passage_embeddings where model <> 'other@1'").await, 0);
    assert_eq!(found(both()).await, before);
    assert_eq!(found(Search::new(database.clone(), [Arc::clone(&other)])).await, before);
    // Who has only the old model says so, and does not compare what cannot be compared.
    assert_eq!(found(Search::new(database.clone(), [Arc::clone(&real)])).await, (0, vec![Arm::Semantic]));
}
