//! Configuration, read from the environment and from nowhere else.
//!
//! Each part of the product has its section: a struct whose fields say which variable they come from, in which unit and
//! with which default. A value that cannot be read is an error that names the variable; there are no silent fallbacks.

mod chat;
mod embedding;
mod llm;
pub(crate) mod remote;
mod search;
mod traces;

use std::{
    net::SocketAddr,
    num::{NonZeroU16, NonZeroUsize},
    str::FromStr,
    time::Duration,
};

use ipnet::IpNet;
use secrecy::SecretString;

pub(crate) use self::llm::{COMPLETIONS, OPENAI};
pub use self::{
    chat::ChatConfig,
    embedding::{EmbeddingConfig, LocalModelConfig, ModelConfig, OpenAiModelConfig},
    llm::{LlmConfig, LlmLimits, LlmModelConfig},
    search::{RerankerConfig, SearchConfig},
    traces::TracesConfig,
};
use crate::{queue::Queue, secrets::SecretsKey};

/// A variable that is missing or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A variable without a default is not set.
    #[error("{variable} is not set. {help}")]
    Missing {
        /// The variable's name.
        variable: &'static str,
        /// What to set it to.
        help: &'static str,
    },
    /// A variable's value does not fit.
    #[error("{variable} is wrong: {problem}")]
    Invalid {
        /// The variable's name.
        variable: &'static str,
        /// What is wrong, without the value when that is a secret.
        problem: String,
    },
}

/// How to reach PostgreSQL.
#[derive(Debug, Clone)]
pub struct DatabaseConfig {
    /// `DATABASE_URL`: the services' login, which owns no table.
    pub url: SecretString,
    /// `DATABASE_MAX_CONNECTIONS`: size of this process's pool. Default 10.
    pub max_connections: u32,
    /// `DATABASE_ACQUIRE_TIMEOUT_SECONDS`: how long to wait for a connection. Default 5.
    pub acquire_timeout: Duration,
    /// `DATABASE_STATEMENT_TIMEOUT_SECONDS`: when the server gives a statement up. Default 30.
    pub statement_timeout: Duration,
}

impl DatabaseConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            url: secret("DATABASE_URL", "Example: postgres://helpcenter_service:password@localhost:5432/helpcenter")?,
            max_connections: value_or("DATABASE_MAX_CONNECTIONS", 10)?,
            acquire_timeout: seconds_or("DATABASE_ACQUIRE_TIMEOUT_SECONDS", 5)?,
            statement_timeout: seconds_or("DATABASE_STATEMENT_TIMEOUT_SECONDS", 30)?,
        })
    }
}

/// How the schema's owner reaches PostgreSQL; only migrations need it.
#[derive(Debug, Clone)]
pub struct OwnerDatabaseConfig {
    /// `DATABASE_OWNER_URL`: a login that may create roles and extensions.
    pub url: SecretString,
}

impl OwnerDatabaseConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            url: secret(
                "DATABASE_OWNER_URL",
                "Migrations need a login that may create roles and extensions, for example the server's superuser.",
            )?,
        })
    }
}

/// The queues.
#[derive(Debug, Clone)]
pub struct QueueConfig {
    /// `REDIS_URL`: any server that speaks the Redis protocol, version 7 or newer.
    pub redis_url: SecretString,
    /// `QUEUE_PREFIX`: what every key begins with, so that deployments can share a server. Default `helpcenter`.
    pub prefix: String,
    /// `QUEUE_LEASE_SECONDS`: how long a worker that went silent keeps its jobs. Default 15.
    pub lease: Duration,
    /// `QUEUE_REDIS_TIMEOUT_SECONDS`: how long to wait for a reply. Default 5.
    pub redis_timeout: Duration,
}

impl QueueConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            redis_url: secret("REDIS_URL", "Example: redis://:password@localhost:6379")?,
            prefix: value_or("QUEUE_PREFIX", "helpcenter".to_owned())?,
            lease: seconds_or("QUEUE_LEASE_SECONDS", 15)?,
            redis_timeout: seconds_or("QUEUE_REDIS_TIMEOUT_SECONDS", 5)?,
        })
    }
}

/// Who may call.
#[derive(Debug, Clone)]
pub struct AuthConfig {
    /// `JWT_SECRET`: the secret that the host application signs HS256 tokens with, at least 32 bytes. Unset: HS256 tokens
    /// are refused.
    pub jwt_secret: Option<SecretString>,
    /// `JWT_JWKS_URL`: where the host application publishes its RS256, ES256 or EdDSA keys. Unset: such tokens are refused.
    pub jwks_url: Option<String>,
    /// `JWT_ISSUER`: the only `iss` accepted, when set.
    pub issuer: Option<String>,
    /// `JWT_AUDIENCE`: the only `aud` accepted, when set.
    pub audience: Option<String>,
    /// `API_KEY_PEPPER`: keys the hashes of API keys and sessions, at least 32 bytes; kept out of the database.
    pub pepper: SecretString,
    /// `SESSION_HOURS`: how long a sign-in lasts. Default 12.
    pub session_lifetime: Duration,
}

impl AuthConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self {
            jwt_secret: optional_secret("JWT_SECRET")?,
            jwks_url: optional("JWT_JWKS_URL")?,
            issuer: optional("JWT_ISSUER")?,
            audience: optional("JWT_AUDIENCE")?,
            pepper: long_secret(
                "API_KEY_PEPPER",
                secret(
                    "API_KEY_PEPPER",
                    "Set it to at least 32 random bytes, for example from `openssl rand -hex 32`.",
                )?,
            )?,
            session_lifetime: Duration::from_secs(3600 * value_or("SESSION_HOURS", 12_u64)?),
        })
    }
}

impl AuthConfig {
    /// The secret that demonstration tokens are signed with.
    pub fn require_jwt_secret(&self) -> Result<&SecretString, ConfigError> {
        self.jwt_secret.as_ref().ok_or(ConfigError::Missing {
            variable: "JWT_SECRET",
            help: "Set it to at least 32 random bytes, the same for the API.",
        })
    }
}

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct ApiConfig {
    /// `API_ADDRESS`: where to listen. Default `127.0.0.1:8080`.
    pub address: SocketAddr,
    /// `PUBLIC_URL`: the address that people use, without a trailing slash. Default `http://` and `API_ADDRESS`.
    pub public_url: String,
    /// `DEFAULT_TENANT`: the slug of the tenant shown on host names that belong to no tenant. Default: none.
    pub default_tenant: Option<String>,
    /// `API_REQUEST_TIMEOUT_SECONDS`: how long a request may wait for its answer before it is given up with 503. Default 30.
    pub request_timeout: Duration,
    /// `API_TRANSFER_TIMEOUT_SECONDS`: the same for uploading documentation and for exporting it. Default 600.
    pub transfer_timeout: Duration,
    /// `IMPORT_MAX_MEGABYTES`: how large an archive with documentation may be that is uploaded, in MiB. Default 100.
    pub import_max_bytes: u64,
    /// `API_SHUTDOWN_SECONDS`: how long open requests may take to finish after SIGTERM. Default 15.
    pub shutdown_timeout: Duration,
    /// `API_ALLOWED_ORIGINS`: the origins of host applications whose pages may open a chat, separated by commas, beside the help
    /// center's own. Default: none.
    pub allowed_origins: Vec<String>,
    /// `TRUSTED_PROXIES`: the addresses or networks of reverse proxies whose `X-Forwarded-For` is believed, separated by commas.
    /// Default: none.
    pub trusted_proxies: Vec<IpNet>,
    /// The assistant's limits.
    pub chat: ChatConfig,
}

impl ApiConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        let address = value_or("API_ADDRESS", SocketAddr::from(([127, 0, 0, 1], 8080)))?;
        Ok(Self {
            address,
            public_url: value_or("PUBLIC_URL", format!("http://{address}"))?.trim_end_matches('/').to_owned(),
            default_tenant: optional("DEFAULT_TENANT")?,
            request_timeout: seconds_or("API_REQUEST_TIMEOUT_SECONDS", 30)?,
            transfer_timeout: seconds_or("API_TRANSFER_TIMEOUT_SECONDS", 600)?,
            import_max_bytes: 1024 * 1024 * u64::from(value_or("IMPORT_MAX_MEGABYTES", 100_u32)?),
            shutdown_timeout: seconds_or("API_SHUTDOWN_SECONDS", 15)?,
            allowed_origins: chat::origins("API_ALLOWED_ORIGINS")?,
            trusted_proxies: chat::networks("TRUSTED_PROXIES")?,
            chat: ChatConfig::from_env()?,
        })
    }
}

/// The worker process.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// `WORKER_CONCURRENCY`: how many jobs of each queue run at once. Default 4.
    pub concurrency: usize,
    /// `WORKER_QUEUES`: the queues that this process serves, separated by commas, each with how many jobs run at once where
    /// that is not `WORKER_CONCURRENCY`: `embeddings=2,maintenance`. Default: every queue.
    pub queues: Option<Vec<(Queue, Option<usize>)>>,
    /// `WORKER_GRACE_SECONDS`: how long running jobs may take to finish after SIGTERM before they are handed back. Default 20.
    pub grace: Duration,
}

impl WorkerConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        let queues = optional("WORKER_QUEUES")?.map(|text| served_queues(&text)).transpose();
        Ok(Self {
            concurrency: value_or("WORKER_CONCURRENCY", NonZeroUsize::new(4).unwrap_or(NonZeroUsize::MIN))?.get(),
            queues: queues.map_err(|problem| ConfigError::Invalid { variable: "WORKER_QUEUES", problem })?,
            grace: seconds_or("WORKER_GRACE_SECONDS", 20)?,
        })
    }

    /// How many jobs of a queue run at once here; `None`: this process does not serve it.
    pub fn concurrency_of(&self, queue: Queue) -> Option<usize> {
        let Some(queues) = &self.queues else { return Some(self.concurrency) };
        queues.iter().find(|(served, _)| *served == queue).map(|(_, at_once)| at_once.unwrap_or(self.concurrency))
    }
}

/// What secrets that tenants give are encrypted with.
#[derive(Debug, Clone)]
pub struct SecretsConfig {
    /// `SECRETS_KEY`: 32 bytes, as 64 hexadecimal digits or in base64. Unset: tenants can give no secret, such as the key for a
    /// language model of their own.
    pub key: Option<SecretsKey>,
}

impl SecretsConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        let key = optional("SECRETS_KEY")?.map(|text| SecretsKey::parse(&text)).transpose();
        Ok(Self { key: key.map_err(|problem| ConfigError::Invalid { variable: "SECRETS_KEY", problem })? })
    }
}

/// What is remembered of readers, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct HistoryConfig {
    /// `HISTORY_DAYS`: after how many days views of articles, searches and conversations are forgotten, at least 1. Default 400.
    pub days: u16,
}

impl HistoryConfig {
    /// Reads the section.
    pub fn from_env() -> Result<Self, ConfigError> {
        Ok(Self { days: value_or("HISTORY_DAYS", NonZeroU16::new(400).unwrap_or(NonZeroU16::MAX))?.get() })
    }
}

fn served_queues(text: &str) -> Result<Vec<(Queue, Option<usize>)>, String> {
    text.split(',')
        .map(|part| {
            let (name, at_once) = part.split_once('=').map_or((part, None), |(name, at_once)| (name, Some(at_once)));
            let queue = Queue::from_name(name.trim()).ok_or_else(|| {
                let names: Vec<&str> = Queue::ALL.iter().map(|queue| queue.name()).collect();
                format!("`{}` is not a queue; the queues are {}", name.trim(), names.join(", "))
            })?;
            let at_once = at_once
                .map(|n| {
                    n.trim().parse::<NonZeroUsize>().map_err(|_| format!("`{}` is not a number above 0", n.trim()))
                })
                .transpose()?;
            Ok((queue, at_once.map(NonZeroUsize::get)))
        })
        .collect()
}

/// Logs, metrics, health and traces.
#[derive(Debug, Clone)]
pub struct TelemetryConfig {
    /// `METRICS_ADDRESS`: where `/metrics` and `/health/…` are served. Default: loopback, the port that the binary names.
    pub address: SocketAddr,
    /// `LOG_FORMAT`: `text` or `json`. Default `text`.
    pub json_logs: bool,
    /// `RUST_LOG`: which log lines to keep, in the syntax of tracing's `EnvFilter`. Default `info`.
    pub filter: String,
    /// Where traces go.
    pub traces: TracesConfig,
}

impl TelemetryConfig {
    /// Reads the section; `default_port` is the binary's own.
    pub fn from_env(default_port: u16) -> Result<Self, ConfigError> {
        let json_logs = match value_or("LOG_FORMAT", "text".to_owned())?.as_str() {
            "json" => true,
            "text" => false,
            other => {
                return Err(ConfigError::Invalid {
                    variable: "LOG_FORMAT",
                    problem: format!("`{other}` is neither `text` nor `json`"),
                });
            }
        };
        Ok(Self {
            address: value_or("METRICS_ADDRESS", SocketAddr::from(([127, 0, 0, 1], default_port)))?,
            json_logs,
            filter: value_or("RUST_LOG", "info,sqlx::query=warn".to_owned())?,
            traces: TracesConfig::from_env()?,
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place that reads the environment")]
fn optional(variable: &'static str) -> Result<Option<String>, ConfigError> {
    match std::env::var(variable) {
        Ok(value) if value.trim().is_empty() => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => {
            Err(ConfigError::Invalid { variable, problem: "it is not valid UTF-8".to_owned() })
        }
    }
}

fn parsed<T: FromStr>(variable: &'static str) -> Result<Option<T>, ConfigError>
where
    T::Err: std::fmt::Display,
{
    optional(variable)?
        .map(|text| text.parse().map_err(|e: T::Err| ConfigError::Invalid { variable, problem: e.to_string() }))
        .transpose()
}

fn value_or<T: FromStr>(variable: &'static str, default: T) -> Result<T, ConfigError>
where
    T::Err: std::fmt::Display,
{
    Ok(parsed(variable)?.unwrap_or(default))
}

fn seconds_or(variable: &'static str, default: u64) -> Result<Duration, ConfigError> {
    match value_or(variable, default)? {
        0 => Err(ConfigError::Invalid { variable, problem: "it must be at least 1 second".to_owned() }),
        seconds => Ok(Duration::from_secs(seconds)),
    }
}

fn secret(variable: &'static str, help: &'static str) -> Result<SecretString, ConfigError> {
    optional(variable)?.map(SecretString::from).ok_or(ConfigError::Missing { variable, help })
}

fn optional_secret(variable: &'static str) -> Result<Option<SecretString>, ConfigError> {
    optional(variable)?.map(|value| long_secret(variable, SecretString::from(value))).transpose()
}

fn long_secret(variable: &'static str, value: SecretString) -> Result<SecretString, ConfigError> {
    use secrecy::ExposeSecret as _;
    if value.expose_secret().len() < 32 {
        return Err(ConfigError::Invalid { variable, problem: "a secret needs at least 32 bytes".to_owned() });
    }
    Ok(value)
}
