//! A deployment changes its embedding model: from the one in process to one behind an OpenAI-compatible server.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::BoxFuture;
use reqwest::StatusCode;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    auth::{
        Roles,
        jwt::{self, NewToken},
    },
    clock::Clock,
    embedding::{EmbedError, Embedder, Embedders, Embedding, ModelId},
    knowledge::{
        BuiltModel, EmbedArticle, ReconcileEmbeddings,
        embed::{self, Reconciled},
        index_status,
    },
    queue::{self, worker::Worker},
    search::{Arm, Search, SearchRequest},
    tenancy::TenantId,
};
use sqlx::AssertSqlSafe;
use tests::{
    JWT_SECRET, Settings, TestApp,
    fixture::{self, Folder, article},
    processes::{Program, free_port},
};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers};

use crate::{
    queue::support::{Gate, eventually},
    reindex::Other,
};

const LOCAL: &str = "all-MiniLM-L6-v2@53aa5117";
const REMOTE: &str = "hashed-words@2";
const ARTICLES: usize = 40;
/// Shares no word with the articles: only meaning finds them.
const QUERY: &str = "pushcart for gardening";

/// How the server of the new model is.
#[derive(Default)]
struct Condition {
    delay_ms: AtomicU64,
    /// It answers with a page that repeats what it was asked.
    is_broken: AtomicBool,
}

/// A server that gives texts vectors of their words. It knows what a pushcart is.
async fn embeddings_server(condition: &Arc<Condition>) -> MockServer {
    let server = MockServer::start().await;
    let condition = Arc::clone(condition);
    let answer = move |request: &Request| {
        if condition.is_broken.load(Ordering::SeqCst) {
            let page = format!("<html>sk-canary asked {}</html>", String::from_utf8_lossy(&request.body));
            return ResponseTemplate::new(200).set_body_string(page);
        }
        let asked: Value = request.body_json().unwrap();
        assert_eq!((&asked["model"], &asked["dimensions"]), (&json!("hashed-words"), &json!(384)));
        let texts = asked["input"].as_array().unwrap().iter().enumerate();
        let data: Vec<Value> = texts
            .map(|(index, text)| json!({ "object": "embedding", "index": index, "embedding": hashed(text.as_str().unwrap()) }))
            .collect();
        let body = json!({ "object": "list", "data": data, "model": "hashed-words", "usage": { "prompt_tokens": 1, "total_tokens": 1 } });
        ResponseTemplate::new(200)
            .set_body_json(body)
            .set_delay(Duration::from_millis(condition.delay_ms.load(Ordering::SeqCst)))
    };
    Mock::given(matchers::path("/v1/embeddings"))
        .and(matchers::header("authorization", "Bearer sk-canary"))
        .respond_with(answer)
        .mount(&server)
        .await;
    server
}

fn hashed(text: &str) -> Vec<f32> {
    let mut vector = vec![0.0; 384];
    for word in text.to_lowercase().split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let word = if word == "pushcart" { "wheelbarrow" } else { word.trim_end_matches('s') };
        let mut hasher = DefaultHasher::new();
        word.hash(&mut hasher);
        vector[usize::try_from(hasher.finish() % 384).unwrap()] += 1.0;
    }
    vector
}

/// A help center whose programs are processes.
struct World {
    app: TestApp,
    tenant: TenantId,
    folder: Folder,
}

impl World {
    async fn new() -> Self {
        let settings = Settings { with_model: false, lease: Duration::from_secs(2), ..Settings::default() };
        let app = TestApp::start_with(settings).await;
        let tenant = app.db.tenant("library").await.id;
        let world = Self { app, tenant, folder: Folder::of(&[]) };
        for n in 0..ARTICLES {
            world.folder.write(
                &format!("{n}.md"),
                article(&format!("Article {n}"), &format!("Wheelbarrows and more wheelbarrows, part {n}.")),
            );
        }
        world.import().await;
        world
    }

    async fn import(&self) {
        fixture::import(&self.app.db, self.tenant, &self.folder).await;
    }

    async fn count(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    async fn vectors_of(&self, model: &str) -> i64 {
        self.count(&format!("select count(*) from passage_embeddings where model = '{model}'")).await
    }

    async fn serving(&self) -> Option<String> {
        let mut owner = self.app.db.owner().await;
        sqlx::query_scalar("select model from search_versions").fetch_one(&mut owner).await.unwrap()
    }

    async fn reconcile(&self) {
        let mut tx = self.app.db.database.tenant(self.tenant).await.unwrap();
        queue::enqueue(&mut tx, &ReconcileEmbeddings {}).await.unwrap();
        tx.commit().await.unwrap();
    }
}

/// The API as a process, with these settings beside the usual ones.
struct Api {
    program: Program,
    url: String,
    asked: AtomicU64,
}

impl Api {
    async fn start(app: &TestApp, models: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let mut variables = vec![
            ("API_ADDRESS", address.as_str()),
            ("API_KEY_PEPPER", "a pepper of at least thirty-two bytes, for tests only"),
            ("JWT_SECRET", JWT_SECRET),
        ];
        variables.extend(models);
        let program = Program::start_with(app, "helpcenter-api", &variables).ready().await;
        Self { program, url: format!("http://{address}"), asked: AtomicU64::new(0) }
    }

    /// Searches, each time a little differently, so that no kept answer is given.
    async fn search(&self, query: &str) -> Value {
        let exp = Clock::system().now().timestamp() + 3600;
        let token = NewToken { sub: "person-1", tenant: "library", roles: &[], name: "A Person", exp };
        let token = jwt::sign(&SecretString::from(JWT_SECRET), &token).unwrap();
        let limit = 1 + self.asked.fetch_add(1, Ordering::SeqCst) % 50;
        let request = reqwest::Client::new().post(format!("{}/api/v2/help-center/search/", self.url));
        let request = request.bearer_auth(token).json(&json!({ "query": query, "limit": limit }));
        let (status, found) = tests::json(request).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        found
    }

    /// Fails unless articles are found by meaning.
    async fn assert_finds_by_meaning(&self) {
        let found = self.search(QUERY).await;
        assert_eq!(found["degraded"], json!([]), "{found}");
        assert_eq!(found["results"][0]["matched"], json!(["semantic"]), "{found}");
    }
}

#[tokio::test]
async fn search_by_meaning_works_all_along_while_a_deployment_changes_its_model() {
    let world = World::new().await;
    let worker = Program::start(&world.app, "helpcenter-worker").ready().await;
    world.app.until_no_job_is_open().await;
    let api = Api::start(&world.app, &[]).await;
    api.assert_finds_by_meaning().await;
    let passages = world.vectors_of(LOCAL).await;
    assert!(worker.terminate().await.success());
    assert!(api.program.terminate().await.success());

    // Both programs start with the new model, and the one before.
    let condition = Arc::new(Condition { delay_ms: AtomicU64::new(400), ..Condition::default() });
    let server = embeddings_server(&condition).await;
    let base_url = format!("{}/v1/", server.uri());
    let models = [
        ("EMBEDDING_PROVIDER", "openai"),
        ("EMBEDDING_BASE_URL", base_url.as_str()),
        ("EMBEDDING_API_KEY", "sk-canary"),
        ("EMBEDDING_MODEL", "hashed-words"),
        ("EMBEDDING_MODEL_VERSION", "2"),
        ("EMBEDDING_PREVIOUS_PROVIDER", "local"),
    ];
    let api = Api::start(&world.app, &models).await;
    let worker = Program::start_with(&world.app, "helpcenter-worker", &models).ready().await;
    let ready: Value =
        reqwest::get(format!("{}/health/ready", worker.metrics_url)).await.unwrap().json().await.unwrap();
    assert_eq!(ready["embedding_models"], json!({ "current": REMOTE, "previous": LOCAL }));
    world.reconcile().await;
    eventually("some are embedded by the new model", async || {
        api.assert_finds_by_meaning().await;
        (world.vectors_of(REMOTE).await >= 10).then_some(())
    })
    .await;
    worker.kill();
    assert!(world.vectors_of(REMOTE).await < passages, "killed in the middle");
    assert_eq!(world.serving().await.as_deref(), Some(LOCAL));

    // What is published meanwhile is found by meaning before the new model is complete.
    world.folder.write("new.md", article("Sack truck", "Something on two wheels for boxes and crates."));
    world.import().await;
    let worker = Program::start_with(&world.app, "helpcenter-worker", &models).ready().await;
    eventually("the new article is found by meaning", async || {
        let found = api.search("hand cart to carry parcels").await;
        let sack_truck = found["results"].as_array().unwrap().iter().find(|found| found["title"] == "Sack truck")?;
        (sack_truck["matched"] == json!(["semantic"])).then_some(())
    })
    .await;
    assert_eq!(world.serving().await.as_deref(), Some(LOCAL));
    assert!(world.vectors_of(REMOTE).await < passages, "it did not wait for its turn behind all others");

    condition.delay_ms.store(0, Ordering::SeqCst);
    eventually("no job is open", async || {
        api.assert_finds_by_meaning().await;
        (world.count("select count(*) from outbox").await == 0).then_some(())
    })
    .await;
    let passages = world.count("select count(*) from passages").await;
    assert_eq!((world.vectors_of(LOCAL).await, world.vectors_of(REMOTE).await), (passages, passages));
    world.reconcile().await;
    eventually("the new model serves", async || {
        api.assert_finds_by_meaning().await;
        (world.serving().await.as_deref() == Some(REMOTE)).then_some(())
    })
    .await;
    world.app.until_no_job_is_open().await;
    assert_eq!(world.vectors_of(LOCAL).await, passages, "searches that began before may still need them");
    world.reconcile().await;
    eventually("the old vectors are gone", async || {
        api.assert_finds_by_meaning().await;
        (world.vectors_of(LOCAL).await == 0).then_some(())
    })
    .await;
    api.assert_finds_by_meaning().await;
    world.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());

    // Who still has only the model before answers by words, and says what to do.
    let outdated = Api::start(&world.app, &[]).await;
    assert_eq!(outdated.search("wheelbarrows").await["degraded"], json!(["semantic"]));
    assert!(outdated.program.log().contains("EMBEDDING_PREVIOUS_PROVIDER"), "{}", outdated.program.log());

    // While the provider is silent, searches answer by words, in time; while it talks nonsense, soon without asking it.
    let found = async || {
        let found = api.search("wheelbarrows or a pushcart").await;
        assert_eq!(found["degraded"], json!(["semantic"]), "{found}");
        assert_eq!(found["results"][0]["matched"], json!(["keyword"]), "{found}");
    };
    condition.delay_ms.store(30_000, Ordering::SeqCst);
    let asked_at = Instant::now();
    found().await;
    assert!(asked_at.elapsed() < Duration::from_secs(5), "{:?}", asked_at.elapsed());
    condition.is_broken.store(true, Ordering::SeqCst);
    for _ in 0..6 {
        found().await;
    }
    let metrics = reqwest::get(format!("{}/metrics", api.program.metrics_url)).await.unwrap().text().await.unwrap();
    let open = format!("helpcenter_embedding_circuit_open{{model=\"{REMOTE}\"}} 1");
    assert!(metrics.contains(&open), "{metrics}");
    for log in [api.program.log(), outdated.program.log()] {
        assert!(!log.contains("sk-canary") && !log.contains("pushcart"), "{log}");
    }
}

/// A help center in this process, embedded by the real model, and another model that is to take over.
struct Changing {
    app: TestApp,
    tenant: TenantId,
    folder: Folder,
    other: Arc<dyn Embedder>,
}

impl Changing {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let tenant = app.db.tenant("library").await.id;
        let folder = Folder::of(&[
            ("1.md", &article("One", "About wheelbarrows.")),
            ("2.md", &article("Two", "About vinegar.")),
        ]);
        fixture::import(&app.db, tenant, &folder).await;
        app.run_jobs().await;
        let other = Arc::new(Other { id: ModelId::new("other", "1"), real: tests::embedder() });
        Self { app, tenant, folder, other }
    }

    fn both(&self) -> Embedders {
        Embedders::changing(Arc::clone(&self.other), tests::embedder())
    }

    async fn reconcile(&self, embedders: &Embedders) -> Reconciled {
        embed::reconcile(&self.app.db.database, self.tenant, embedders).await.unwrap()
    }

    fn worker(&self, embedders: Embedders) -> Worker {
        let context = worker::Context {
            database: self.app.db.database.clone(),
            embedders,
            llm: self.app.llm.clone(),
            clock: self.app.clock.clone(),
            history: shared::config::HistoryConfig { days: 400 },
        };
        self.app.worker_with(worker::registry(&context))
    }

    /// Open jobs, by name.
    async fn jobs(&self) -> Vec<String> {
        let sql = "select job from outbox order by priority, id";
        sqlx::query_scalar(sql).fetch_all(&mut self.app.db.owner().await).await.unwrap()
    }

    /// How many vectors there are of the old model and of the new one.
    async fn vectors(&self) -> (i64, i64) {
        let sql =
            "select count(*) filter (where model = $1), count(*) filter (where model <> $1) from passage_embeddings";
        sqlx::query_as(sql).bind(LOCAL).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    async fn degraded(&self, embedders: impl IntoIterator<Item = Arc<dyn Embedder>>) -> Vec<Arm> {
        let search = Search::new(self.app.db.database.clone(), embedders);
        let request = SearchRequest::new("pushcart".parse().unwrap(), 20);
        search.run(self.tenant, &Roles::none(), &request).await.unwrap().degraded.clone()
    }
}

#[tokio::test]
async fn what_is_published_during_the_change_is_embedded_by_both_models_and_goes_first() {
    let changing = Changing::new().await;
    let both = changing.both();
    let found = changing.reconcile(&both).await;
    assert_eq!(found, Reconciled { reembedding: 2, ..Reconciled::default() });
    assert_eq!(changing.reconcile(&both).await, Reconciled::default(), "the jobs are there already");
    changing.folder.write("3.md", article("Three", "About chimneys."));
    fixture::import(&changing.app.db, changing.tenant, &changing.folder).await;
    assert_eq!(changing.jobs().await, ["embed_article", "reembed_article", "reembed_article"]);

    changing.app.run_jobs_with(changing.worker(both.clone())).await;
    assert_eq!(changing.vectors().await, (6, 6));
    let mut tx = changing.app.db.database.tenant(changing.tenant).await.unwrap();
    let status = index_status(&mut tx).await.unwrap();
    drop(tx);
    assert_eq!((status.model.as_deref(), status.embedded_passages, status.is_complete()), (Some(LOCAL), 6, true));
    assert_eq!(status.other_models, [BuiltModel { model: "other@1".to_owned(), embedded_passages: 6 }]);

    let switched = Reconciled { switched: true, ..Reconciled::default() };
    assert_eq!(changing.reconcile(&both).await, switched);
    assert_eq!(changing.reconcile(&both).await, Reconciled::default());
    assert_eq!(changing.vectors().await, (0, 6));
    // What is published from now on is embedded by the new model alone.
    changing.folder.write("4.md", article("Four", "About rafters."));
    fixture::import(&changing.app.db, changing.tenant, &changing.folder).await;
    changing.app.run_jobs_with(changing.worker(both)).await;
    assert_eq!(changing.vectors().await, (0, 8));
}

#[tokio::test]
async fn vectors_of_the_model_that_serves_are_repaired_during_the_change() {
    let changing = Changing::new().await;
    let sql = "delete from passage_embeddings where article_id = (select id from articles where source_path = '1.md')";
    sqlx::query(sql).execute(&mut changing.app.db.owner().await).await.unwrap();
    let both = changing.both();
    let found = changing.reconcile(&both).await;
    assert_eq!((found.enqueued, found.reembedding), (1, 1), "the damaged one has a job that does both");
    changing.app.run_jobs_with(changing.worker(both)).await;
    assert_eq!(changing.vectors().await, (4, 4));
}

#[tokio::test]
async fn without_the_model_before_words_alone_answer_until_the_new_one_is_complete() {
    let changing = Changing::new().await;
    let new = || [Arc::clone(&changing.other)];
    let alone = Embedders::only(Arc::clone(&changing.other));
    let found = changing.reconcile(&alone).await;
    assert_eq!((found.reembedding, found.unknown_model.as_deref()), (2, Some(LOCAL)));
    assert_eq!(changing.degraded(new()).await, [Arm::Semantic]);
    changing.app.run_jobs_with(changing.worker(alone.clone())).await;
    assert_eq!(changing.degraded(new()).await, [Arm::Semantic], "until the next look");
    let found = changing.reconcile(&alone).await;
    assert_eq!((found.switched, found.unknown_model), (true, None));
    assert_eq!(changing.degraded(new()).await, []);
    assert_eq!(changing.reconcile(&alone).await, Reconciled::default());
    assert_eq!(changing.vectors().await, (0, 4));
}

#[tokio::test]
async fn whoever_goes_back_to_the_model_before_keeps_what_it_had() {
    let changing = Changing::new().await;
    changing.reconcile(&changing.both()).await;
    let revision: uuid::Uuid =
        sqlx::query_scalar("select published_revision_id from articles where source_path = '1.md'")
            .fetch_one(&mut changing.app.db.owner().await)
            .await
            .unwrap();
    embed::embed_revision(&changing.app.db.database, &*changing.other, changing.tenant, revision, |_, _| ())
        .await
        .unwrap();
    assert_eq!(changing.vectors().await, (4, 2));
    let back = Embedders::changing(tests::embedder(), Arc::clone(&changing.other));
    assert_eq!(changing.reconcile(&back).await, Reconciled::default());
    assert_eq!(changing.vectors().await, (4, 0), "what was begun is put away");
    changing.app.run_jobs_with(changing.worker(back)).await;
    assert_eq!(changing.vectors().await, (4, 0), "jobs that were open find nothing to do");
}

/// A model that is away.
struct Away(ModelId);

impl Embedder for Away {
    fn model(&self) -> &ModelId {
        &self.0
    }

    fn embed(&self, _: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        Box::pin(async { Err(EmbedError::Unavailable("it is away".to_owned())) })
    }
}

#[tokio::test]
async fn the_new_model_embeds_what_is_published_although_the_one_before_is_away() {
    let changing = Changing::new().await;
    let gone: Arc<dyn Embedder> = Arc::new(Away(ModelId::new("all-MiniLM-L6-v2", "53aa5117")));
    let embedders = Embedders::changing(Arc::clone(&changing.other), gone);
    changing.folder.write("3.md", article("Three", "About chimneys."));
    fixture::import(&changing.app.db, changing.tenant, &changing.folder).await;
    let (article_id, revision_id) =
        sqlx::query_as("select id, published_revision_id from articles where source_path = '3.md'")
            .fetch_one(&mut changing.app.db.owner().await)
            .await
            .unwrap();
    let job = EmbedArticle { article_id, revision_id };
    let database = &changing.app.db.database;
    for _ in 0..2 {
        let embedded = embed::embed_article(database, &embedders, changing.tenant, &job, |_, _| ()).await;
        assert!(embedded.is_err(), "the job is tried again");
        assert_eq!(changing.vectors().await, (4, 2));
    }
    // Once it is back, or has done its duty, nothing is left.
    embed::embed_article(database, &changing.both(), changing.tenant, &job, |_, _| ()).await.unwrap();
    assert_eq!(changing.vectors().await, (6, 2));
    changing.app.run_jobs().await;
}

/// The real model, which waits at a gate before it answers.
struct Slow {
    real: Arc<dyn Embedder>,
    gate: Gate,
}

impl Embedder for Slow {
    fn model(&self) -> &ModelId {
        self.real.model()
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        Box::pin(async move {
            self.gate.passed().await;
            self.real.embed(texts).await
        })
    }
}

#[tokio::test]
async fn searches_that_wait_for_a_slow_model_keep_no_connection_from_others() {
    let changing = Changing::new().await;
    let gate = Gate::closed();
    let slow: Arc<dyn Embedder> = Arc::new(Slow { real: tests::embedder(), gate: gate.clone() });
    let search = Search::new(changing.app.db.database.clone(), [slow]);
    // More than there are connections.
    let searches: Vec<_> = (1..=20)
        .map(|limit| {
            let (search, tenant) = (search.clone(), changing.tenant);
            let request = SearchRequest::new("pushcart".parse().unwrap(), limit);
            tokio::spawn(async move { search.run(tenant, &Roles::none(), &request).await.unwrap() })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let connection = tokio::time::timeout(Duration::from_millis(500), changing.app.db.database.tenant(changing.tenant));
    assert!(connection.await.is_ok(), "the searches wait for the model, and nobody for them");
    gate.open();
    for search in searches {
        let outcome = search.await.unwrap();
        assert_eq!((outcome.total, outcome.degraded.as_slice()), (1, [].as_slice()));
    }
}
