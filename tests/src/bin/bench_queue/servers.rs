//! The servers that all queues share, what is made on them for each, and how durable they are.

use std::fmt::Write as _;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool, Row as _};
use tests::TestDatabase;

use crate::{Options, ours, process::Program};

/// The settings of PostgreSQL that a reader of the figures wants to know.
const POSTGRES_SETTINGS: [&str; 6] =
    ["fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers", "max_wal_size"];
const REDIS_SETTINGS: [&str; 3] = ["appendonly", "appendfsync", "maxmemory-policy"];
/// The product's side, as it is named in the tables.
pub(crate) const OURS: &str = "ours";

pub(crate) struct Servers {
    /// The server's owner, in the product's database.
    pub(crate) owner: PgPool,
    pub(crate) redis: redis::aio::MultiplexedConnection,
    /// A database for each peer that wants one.
    others: Vec<String>,
    pub(crate) sides: Vec<(String, Program)>,
}

#[expect(clippy::disallowed_methods, reason = "how `make bench-queue` tells where its servers are")]
fn variable(name: &str) -> anyhow::Result<String> {
    std::env::var(name).with_context(|| format!("{name} is not set: run this with `make bench-queue`"))
}

impl Servers {
    /// Makes a database and a numbered Redis database for each side.
    pub(crate) async fn prepare(options: &Options) -> anyhow::Result<Self> {
        let database = TestDatabase::create().await;
        let tenant = database.tenant("bench").await.id;
        let owner = PgPool::connect(database.owner_url.expose_secret()).await?;
        let redis_url = variable("TEST_REDIS_URL")?;
        let redis = redis::Client::open(redis_url.as_str())?.get_multiplexed_async_connection().await?;
        let (mut sides, mut others) = (Vec::new(), Vec::new());
        let itself = std::env::current_exe()?.to_string_lossy().into_owned();
        sides.push((
            OURS.to_owned(),
            Program {
                command: vec![itself, "side".to_owned()],
                variables: variables(&[
                    ("DATABASE_URL", database.url.expose_secret()),
                    ("REDIS_URL", &redis_url),
                    ("QUEUE_PREFIX", "bench"),
                    ("WORKER_CONCURRENCY", &options.concurrency.to_string()),
                    ("WORKER_QUEUES", "maintenance"),
                    (ours::TENANT, &tenant.to_string()),
                    (ours::OWNER_URL, database.owner_url.expose_secret()),
                ]),
            },
        ));
        for (place, (name, command)) in options.peers.iter().enumerate() {
            let mut redis_url = url::Url::parse(&redis_url)?;
            redis_url.set_path(&(place + 1).to_string());
            let other = format!("bench_{}_{place}", std::process::id());
            sqlx::query(AssertSqlSafe(format!("create database {other}"))).execute(&owner).await?;
            let mut database_url = url::Url::parse(database.owner_url.expose_secret())?;
            database_url.set_path(&other);
            others.push(other);
            sides.push((
                name.clone(),
                Program {
                    command: command.split_whitespace().map(str::to_owned).collect(),
                    variables: variables(&[
                        ("BENCH_DATABASE_URL", database_url.as_str()),
                        ("BENCH_REDIS_URL", redis_url.as_str()),
                        ("BENCH_CONCURRENCY", &options.concurrency.to_string()),
                    ]),
                },
            ));
        }
        Ok(Self { owner, redis, others, sides })
    }

    /// When Redis writes to disk: every second, or before each answer.
    pub(crate) async fn write_to_disk(&self, fsync: &str) -> anyhow::Result<()> {
        let mut redis = self.redis.clone();
        redis::cmd("CONFIG").arg("SET").arg("appendfsync").arg(fsync).exec_async(&mut redis).await?;
        Ok(())
    }

    /// Versions and durability of the servers, a line each.
    pub(crate) async fn about(&self) -> anyhow::Result<String> {
        let settings: Vec<String> = sqlx::query(
            "select name, current_setting(name) as setting from unnest($1::text[]) with ordinality as s (name, place) order by place",
        )
        .bind(POSTGRES_SETTINGS.as_slice())
        .fetch_all(&self.owner)
        .await?
        .iter()
        .map(|row| format!("{} {}", row.get::<&str, _>("name"), row.get::<&str, _>("setting")))
        .collect();
        let version: String = sqlx::query_scalar("show server_version").fetch_one(&self.owner).await?;
        let mut about = format!("PostgreSQL {version}: {}\n", settings.join(", "));
        let mut redis = self.redis.clone();
        let info: redis::InfoDict = redis::cmd("INFO").arg("server").query_async(&mut redis).await?;
        let name: String = info.get("server_name").unwrap_or_else(|| "redis".to_owned());
        let version: Option<String> = info.get("valkey_version").or_else(|| info.get("redis_version"));
        let mut settings = Vec::new();
        for setting in REDIS_SETTINGS {
            let (name, value): (String, String) =
                redis::cmd("CONFIG").arg("GET").arg(setting).query_async(&mut redis).await?;
            settings.push(format!("{name} {value}"));
        }
        let _ = write!(about, "{name} {}: {}", version.unwrap_or_default(), settings.join(", "));
        Ok(about)
    }

    /// Deletes everything that was made. The programs of all sides have ended by now. `make bench-queue` has a Redis server
    /// of its own.
    pub(crate) async fn clean_up(mut self) -> anyhow::Result<()> {
        let _: () = redis::cmd("FLUSHALL").query_async(&mut self.redis).await?;
        let product = sqlx::query_scalar("select current_database()").fetch_one(&self.owner).await?;
        self.owner.close().await;
        let mut connection = PgConnection::connect(&variable("TEST_DATABASE_OWNER_URL")?).await?;
        for database in self.others.into_iter().chain([product]) {
            sqlx::query(AssertSqlSafe(format!("drop database {database} with (force)")))
                .execute(&mut connection)
                .await?;
        }
        Ok(())
    }
}

/// What it is measured on, and how busy that was.
pub(crate) fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!("{cores} cores, load average before: {}", load.split_whitespace().next().unwrap_or("unknown"))
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
