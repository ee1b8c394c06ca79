//! The test harness: the real API on a free port, a database of its own made from a template, a Redis key prefix of its own
//! and the real worker, run until nothing is left to do.
//!
//! The servers are named by `TEST_DATABASE_OWNER_URL`, `TEST_REDIS_URL` and `EMBEDDING_MODEL_DIR`; `make test` starts them.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a harness fails the test that uses it")]
#![expect(clippy::missing_panics_doc, reason = "a harness fails the test that uses it")]

pub mod fixture;
pub mod judged;
pub mod processes;
pub mod proxy;
pub mod scripted_llm;
pub mod torture;

use std::{
    net::TcpListener,
    sync::{Arc, OnceLock},
    time::Duration,
};

use api::Services;
use chrono::{DateTime, Utc};
use reqwest::{Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use shared::{
    assistant::{AnswerStreams, Assistant},
    auth::{
        Pepper,
        jwt::{self, NewToken},
    },
    clock::Clock,
    config::{
        ApiConfig, AuthConfig, ChatConfig, DatabaseConfig, HistoryConfig, LlmConfig, LlmLimits, OwnerDatabaseConfig,
        QueueConfig, RerankerConfig, WorkerConfig,
    },
    db::{self, Database},
    embedding::{self, Embedder, Embedders, Role},
    llm::{Budget, Llm, Usd},
    queue::{self, QueueStore, worker::Worker},
    reranker::Reranker,
    search::Search,
    secrets::SecretsKey,
    tenancy::{self, NewTenant, Tenant},
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::proxy::Proxy;

/// The secret that tokens are signed with.
pub const JWT_SECRET: &str = "a secret of at least thirty-two bytes, for tests only";
const PEPPER: &str = "a pepper of at least thirty-two bytes, for tests only";

/// When the clocks of tests begin.
pub fn start_of_time() -> DateTime<Utc> {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// Deletes every key of a deployment's queues.
pub fn forget_everything(redis: &mut redis::Connection, prefix: &str) {
    let script = redis::Script::new(
        "local cursor = '0'
         repeat
           local page = redis.call('scan', cursor, 'match', ARGV[1] .. ':*', 'count', 1000)
           cursor = page[1]
           for _, key in ipairs(page[2]) do redis.call('del', key) end
         until cursor == '0'",
    );
    script.arg(prefix).invoke::<()>(redis).unwrap();
}

pub(crate) fn variable(name: &str) -> String {
    optional_variable(name).unwrap_or_else(|| panic!("{name} is not set: run the tests with `make test`"))
}

/// What the test runner says, if anything; empty counts as nothing.
#[expect(clippy::disallowed_methods, reason = "how the test runner tells where its servers are")]
pub fn optional_variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The embedding model, loaded once for all tests of a program.
pub fn embedder() -> Arc<dyn Embedder> {
    static EMBEDDER: OnceLock<Arc<dyn Embedder>> = OnceLock::new();
    let load = || {
        let config = shared::config::EmbeddingConfig::from_env().unwrap();
        embedding::load(&config.current, Role::Current)
            .expect("EMBEDDING_MODEL_DIR must hold the model: run the tests with `make test`")
    };
    Arc::clone(EMBEDDER.get_or_init(load))
}

/// A database of its own, for tests that need no more.
#[derive(Debug)]
pub struct TestDatabase {
    /// What the services use.
    pub database: Database,
    /// The services' login.
    pub url: SecretString,
    /// The owner's login.
    pub owner_url: SecretString,
}

impl TestDatabase {
    /// Makes one from a template that is migrated once.
    pub async fn create() -> Self {
        Self::named(&format!("test_{}", Uuid::now_v7().simple())).await
    }

    /// The database of this name (lower-case letters, digits and underscores), made when it does not exist.
    pub async fn named(name: &str) -> Self {
        assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{name:?}");
        let template = template().await;
        let server = url::Url::parse(&variable("TEST_DATABASE_OWNER_URL")).unwrap();
        let mut connection = PgConnection::connect(server.as_str()).await.unwrap();
        if !exists(&mut connection, name).await {
            sqlx::query(AssertSqlSafe(format!("create database {name} template {template}")))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        let (owner_url, url) = urls(name);
        let database = Database::open(&database_config(&url)).unwrap();
        Self { database, url, owner_url }
    }

    /// A connection that sees everything.
    pub async fn owner(&self) -> PgConnection {
        PgConnection::connect(self.owner_url.expose_secret()).await.unwrap()
    }

    /// Creates a private tenant.
    pub async fn tenant(&self, slug: &str) -> Tenant {
        self.create_tenant(slug, false).await
    }

    /// Creates a tenant that visitors without an account may read, at `SLUG.localhost`.
    pub async fn public_tenant(&self, slug: &str) -> Tenant {
        self.create_tenant(slug, true).await
    }

    async fn create_tenant(&self, slug: &str, is_public: bool) -> Tenant {
        let new = NewTenant {
            slug: slug.parse().unwrap(),
            name: format!("Tenant {slug}"),
            hosts: vec![format!("{slug}.localhost")],
            is_public,
        };
        let mut transaction = self.database.untenanted().await.unwrap();
        let (tenant, _) = tenancy::create(&mut transaction, &new).await.unwrap();
        transaction.commit().await.unwrap();
        tenant
    }
}

fn urls(database: &str) -> (SecretString, SecretString) {
    let mut owner = url::Url::parse(&variable("TEST_DATABASE_OWNER_URL")).unwrap();
    owner.set_path(database);
    let mut service = owner.clone();
    service.set_username("helpcenter_test").unwrap();
    service.set_password(Some("helpcenter_test")).unwrap();
    (SecretString::from(owner.to_string()), SecretString::from(service.to_string()))
}

fn database_config(url: &SecretString) -> DatabaseConfig {
    DatabaseConfig {
        url: url.clone(),
        max_connections: 8,
        acquire_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(30),
    }
}

async fn exists(connection: &mut PgConnection, database: &str) -> bool {
    sqlx::query_scalar("select exists (select from pg_database where datname = $1)")
        .bind(database)
        .fetch_one(connection)
        .await
        .unwrap()
}

/// The name of the migrated template; whichever test comes first makes it, the others wait.
async fn template() -> String {
    static TEMPLATE: OnceCell<String> = OnceCell::const_new();
    let make = || async {
        let name = "helpcenter_template".to_owned();
        let mut connection = PgConnection::connect(&variable("TEST_DATABASE_OWNER_URL")).await.unwrap();
        // Several test programs may run at once.
        sqlx::query("select pg_advisory_lock(1)").execute(&mut connection).await.unwrap();
        if !exists(&mut connection, &name).await {
            let making = format!("{name}_{}", std::process::id());
            sqlx::query(AssertSqlSafe(format!("create database {making}"))).execute(&mut connection).await.unwrap();
            let (owner, service) = urls(&making);
            db::migrate(&OwnerDatabaseConfig { url: owner }, &service).await.unwrap();
            sqlx::query(AssertSqlSafe(format!("alter database {making} rename to {name}")))
                .execute(&mut connection)
                .await
                .unwrap();
        }
        sqlx::query("select pg_advisory_unlock(1)").execute(&mut connection).await.unwrap();
        name
    };
    TEMPLATE.get_or_init(make).await.clone()
}

/// How a test's help center differs from the usual one.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whether the embedding model is available to the API and to the assistant.
    pub with_model: bool,
    /// How long a silent worker keeps its jobs.
    pub lease: Duration,
    /// Whether the API reaches PostgreSQL through a proxy, by one connection.
    pub with_proxy: bool,
    /// How long requests may wait for their answers.
    pub request_timeout: Duration,
    /// Where the host application publishes its keys.
    pub jwks_url: Option<String>,
    /// What has the last word on the order of results.
    pub reranker: Option<RerankerConfig>,
    /// The language models.
    pub llm: LlmConfig,
    /// What secrets of tenants are encrypted with.
    pub secrets: Option<SecretsKey>,
    /// The only issuer and audience accepted.
    pub issuer_and_audience: Option<(String, String)>,
    /// The assistant's limits; as good as none unless a test is about them.
    pub chat: ChatConfig,
    /// Whether the API reaches Redis through a proxy.
    pub with_redis_proxy: bool,
    /// Origins of host applications.
    pub allowed_origins: Vec<String>,
    /// Networks of proxies that are believed.
    pub trusted_proxies: Vec<String>,
}

/// No model of the deployment, little patience, and the usual budgets.
pub fn no_language_model() -> LlmConfig {
    LlmConfig {
        model: None,
        limits: LlmLimits {
            first_token: Duration::from_millis(1_500),
            idle: Duration::from_millis(1_000),
            total: Duration::from_secs(6),
            max_output_tokens: 200,
            context_tokens: 6_000,
        },
        budget: Budget { usd: Usd::from_micros(5_000_000), tokens: 1_000_000 },
        allowed_hosts: Vec::new(),
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            with_model: true,
            lease: Duration::from_secs(15),
            with_proxy: false,
            request_timeout: Duration::from_secs(30),
            jwks_url: None,
            reranker: None,
            llm: no_language_model(),
            secrets: None,
            issuer_and_audience: None,
            chat: ChatConfig {
                questions_per_minute: 100_000,
                questions_burst: 10_000,
                questions_per_day: 100_000,
                tenant_questions_per_minute: 100_000,
                ..ChatConfig::default()
            },
            with_redis_proxy: false,
            allowed_origins: Vec::new(),
            trusted_proxies: Vec::new(),
        }
    }
}

/// A running help center.
pub struct TestApp {
    /// Its database.
    pub db: TestDatabase,
    /// What stands between the API and PostgreSQL, where [`Settings::with_proxy`] says so.
    pub postgres: Option<Proxy>,
    /// What stands between the API and Redis, where [`Settings::with_redis_proxy`] says so.
    pub redis: Option<Proxy>,
    /// Cancelled, it stops the API's streams and sockets.
    pub stopping: CancellationToken,
    /// Its queues.
    pub store: QueueStore,
    /// How its queues are configured.
    pub queue_config: QueueConfig,
    /// Where it answers, without a trailing slash.
    pub url: String,
    /// Its clock; stands still until it is advanced.
    pub clock: Clock,
    /// Its language models.
    pub llm: Llm,
    with_model: bool,
    client: reqwest::Client,
    server: actix_web::dev::ServerHandle,
}

impl std::fmt::Debug for TestApp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestApp").field("url", &self.url).finish_non_exhaustive()
    }
}

impl TestApp {
    /// Starts one as usual.
    pub async fn start() -> Self {
        Self::start_with(Settings::default()).await
    }

    /// Starts one with other settings.
    pub async fn start_with(settings: Settings) -> Self {
        shared::telemetry::install_tls();
        let db = TestDatabase::create().await;
        let queue_config = QueueConfig {
            redis_url: SecretString::from(variable("TEST_REDIS_URL")),
            prefix: format!("test-{}", Uuid::now_v7().simple()),
            lease: settings.lease,
            redis_timeout: Duration::from_secs(5),
        };
        let store = QueueStore::open(&queue_config).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let config = ApiConfig {
            address,
            public_url: format!("http://{address}"),
            default_tenant: None,
            request_timeout: settings.request_timeout,
            transfer_timeout: Duration::from_secs(60),
            import_max_bytes: 8 * 1024 * 1024,
            shutdown_timeout: Duration::from_secs(1),
            allowed_origins: settings.allowed_origins,
            trusted_proxies: settings.trusted_proxies.iter().map(|network| network.parse().unwrap()).collect(),
            chat: settings.chat,
        };
        let (issuer, audience) = settings.issuer_and_audience.unzip();
        let auth = AuthConfig {
            jwt_secret: Some(SecretString::from(JWT_SECRET)),
            jwks_url: settings.jwks_url,
            issuer,
            audience,
            pepper: SecretString::from(PEPPER),
            session_lifetime: Duration::from_secs(3600),
        };
        let clock = Clock::fixed(start_of_time());
        let model = settings.with_model.then(embedder);
        let postgres = if settings.with_proxy { Some(Proxy::before(&db.url).await) } else { None };
        let database = match &postgres {
            None => db.database.clone(),
            Some(proxy) => {
                let url = proxy.url(&db.url);
                Database::open(&DatabaseConfig { max_connections: 1, ..database_config(&url) }).unwrap()
            }
        };
        let search = Search::new(database.clone(), model);
        let search = match &settings.reranker {
            Some(reranker) => search.reranked_by(Reranker::new(reranker).unwrap()),
            None => search,
        };
        let redis = if settings.with_redis_proxy { Some(Proxy::before(&queue_config.redis_url).await) } else { None };
        let queues = match &redis {
            None => queue_config.clone(),
            Some(proxy) => QueueConfig { redis_url: proxy.url(&queue_config.redis_url), ..queue_config.clone() },
        };
        let llm = Llm::new(&settings.llm, settings.secrets, database.clone(), clock.clone()).unwrap();
        let services = Services::new(config, &auth, database, search, &queues, llm.clone(), clock.clone()).unwrap();
        let stopping = services.stopping.clone();
        // A thread of its own: actix' server wants actix' runtime, tests want to be ordinary tokio tests.
        let (send, receive) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let server = api::serve(listener, services).unwrap();
                let _ = send.send(server.handle());
                server.await.unwrap();
            });
        });
        let server = receive.await.unwrap();
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(Duration::from_secs(60))
            .build()
            .unwrap();
        Self {
            db,
            postgres,
            redis,
            stopping,
            store,
            queue_config,
            url: format!("http://{address}"),
            clock,
            llm,
            with_model: settings.with_model,
            client,
            server,
        }
    }

    /// What keys the hashes of this help center.
    pub fn pepper(&self) -> Pepper {
        Pepper::new(SecretString::from(PEPPER))
    }

    /// A token of a person with these roles, good for an hour.
    pub fn token(&self, tenant: &str, roles: &[&str]) -> String {
        self.token_of("person-1", tenant, roles)
    }

    /// The same, of a certain person.
    pub fn token_of(&self, person: &str, tenant: &str, roles: &[&str]) -> String {
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        let exp = self.clock.now().timestamp() + 3600;
        let token = NewToken { sub: person, tenant, roles: &roles, name: "A Person", exp };
        jwt::sign(&SecretString::from(JWT_SECRET), &token).unwrap()
    }

    /// A request to this help center.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// GET with a token; status and JSON.
    pub async fn get(&self, path: &str, token: &str) -> (StatusCode, Value) {
        json(self.request(Method::GET, path).bearer_auth(token)).await
    }

    /// POST of JSON with a token; status and JSON.
    pub async fn post(&self, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        json(self.request(Method::POST, path).bearer_auth(token).json(body)).await
    }

    /// Searches; the titles that were found, best first.
    pub async fn search_titles(&self, token: &str, query: &str) -> Vec<String> {
        let body = serde_json::json!({ "query": query, "limit": 50 });
        let (status, found) = self.post("/api/v2/help-center/search/", token, &body).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        found["results"].as_array().unwrap().iter().map(|r| r["title"].as_str().unwrap().to_owned()).collect()
    }

    /// What writes answers.
    pub fn assistant(&self) -> Assistant {
        let database = self.db.database.clone();
        let embedder = self.with_model.then(embedder);
        let search = Search::new(database.clone(), embedder.clone());
        let streams = AnswerStreams::open(&self.queue_config).unwrap();
        Assistant::new(database, search, embedder, streams).written_by(self.llm.clone())
    }

    /// A worker with the product's own jobs.
    pub fn worker(&self) -> Worker {
        self.worker_with(worker::registry(&self.context(Embedders::only(embedder()))))
    }

    /// What the product's own jobs work with.
    pub fn context(&self, embedders: Embedders) -> worker::Context {
        worker::Context {
            database: self.db.database.clone(),
            embedders,
            clock: self.clock.clone(),
            history: HistoryConfig { days: 400 },
            assistant: self.assistant(),
        }
    }

    /// A worker with other jobs.
    pub fn worker_with(&self, registry: queue::worker::Registry) -> Worker {
        Worker::new(self.db.database.clone(), self.store.clone(), registry, worker_config(4))
    }

    /// Runs the worker until every job is finished; fails the test when one became a dead letter or none moves for a minute.
    pub async fn run_jobs(&self) {
        self.run_jobs_with(self.worker()).await;
        let dead: i64 = queue::counts(&self.db.database).await.unwrap().iter().map(|c| c.dead).sum();
        assert_eq!(dead, 0, "jobs became dead letters");
    }

    /// Runs a worker until no job is open.
    pub async fn run_jobs_with(&self, worker: Worker) {
        let stop = CancellationToken::new();
        let running = tokio::spawn(worker.run(stop.clone(), CancellationToken::new()));
        self.until_no_job_is_open().await;
        stop.cancel();
        running.await.unwrap().unwrap();
    }

    /// Waits until no job is open but those that are meant for later than in a minute.
    pub async fn until_no_job_is_open(&self) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
        let mut owner = self.db.owner().await;
        let for_later = "select count(*) from outbox
                         where dead_at is null and attempts = 0 and holder is null and run_at > clock_timestamp() + interval '1 minute'";
        loop {
            let later: i64 = sqlx::query_scalar(for_later).fetch_one(&mut owner).await.unwrap();
            let counts = queue::counts(&self.db.database).await.unwrap();
            let open = counts.iter().map(queue::OutboxCounts::open).sum::<i64>() - later;
            if open <= 0 {
                return;
            }
            assert!(tokio::time::Instant::now() < deadline, "{open} jobs are still open after a minute: {counts:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

/// A worker that serves every queue, `concurrency` jobs of each at once, with 10 s to finish.
pub fn worker_config(concurrency: usize) -> WorkerConfig {
    WorkerConfig { concurrency, queues: None, grace: Duration::from_secs(10) }
}

/// Sends a request and reads the answer as JSON; a body that is none comes as a string.
pub async fn json(request: RequestBuilder) -> (StatusCode, Value) {
    let response = request.send().await.unwrap();
    let status = response.status();
    let body = response.text().await.unwrap();
    (status, serde_json::from_str(&body).unwrap_or(Value::String(body)))
}
