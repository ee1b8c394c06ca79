//! The HTTP edge: extract, call one domain function, map to a response.
//!
//! [`routes`] holds the whole URL table; [`pages`] the server-rendered pages; `chat` what is said over sockets; [`error`] the one
//! error type and its codes.

mod address;
mod answering;
pub mod boundary;
pub mod caller;
mod chat;
pub mod error;
mod limits;
pub mod openapi;
pub mod pages;
pub mod routes;

use std::{any::Any, net::TcpListener, sync::Arc, time::Duration};

use actix_web::{App, HttpServer, dev::Server, middleware::from_fn, rt::net::TcpStream, web};
use anyhow::Context as _;
use shared::{
    assistant::{AnswerStreams, Relay},
    auth::Authenticator,
    clock::Clock,
    config::{ApiConfig, AuthConfig, QueueConfig},
    db::Database,
    llm::Llm,
    rate_limit::RateLimiter,
    search::Search,
    telemetry::health::Health,
};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing_actix_web::TracingLogger;

/// Largest JSON or form body, in bytes.
pub const MAX_BODY_BYTES: usize = 64 * 1024;
/// Largest JSON body with an article or the ids of many, in bytes.
pub const MAX_ARTICLE_BODY_BYTES: usize = 2 * 1024 * 1024;

/// How many jobs may be watched at once: each costs two small queries a second.
const MAX_WATCHERS: usize = 200;

/// How long the other end of a connection may take nothing of what it is sent, in ms.
const TAKES_NOTHING_FOR: u32 = 120_000;

/// What handlers work with.
#[derive(Clone)]
pub struct Services {
    /// The database.
    pub database: Database,
    /// Search; by words alone where no embedding model could be loaded.
    pub search: Search,
    /// The language models, and what they cost.
    pub llm: Llm,
    /// Checks credentials.
    pub authenticator: Authenticator,
    /// The clock.
    pub clock: Clock,
    /// The dependencies.
    pub health: Health,
    /// Addresses and limits.
    pub config: Arc<ApiConfig>,
    /// How long a sign-in lasts.
    pub session_lifetime: Duration,
    /// A place for each stream of events.
    pub watchers: Arc<Semaphore>,
    /// What passes answers on to those who wait for them.
    pub relay: Relay,
    /// Counts what people may do only so often.
    pub limiter: RateLimiter,
    /// A place for each socket of this process.
    pub sockets: Arc<Semaphore>,
    /// Cancelled when the process stops: streams end then.
    pub stopping: CancellationToken,
}

impl Services {
    /// Puts the parts together.
    pub fn new(
        config: ApiConfig,
        auth: &AuthConfig,
        database: Database,
        search: Search,
        queues: &QueueConfig,
        llm: Llm,
        clock: Clock,
    ) -> anyhow::Result<Self> {
        let authenticator = Authenticator::new(auth, database.clone(), clock.clone())?;
        let pinged = database.clone();
        let health = Health::new().check("database", move || {
            let database = pinged.clone();
            async move { database.ping().await }
        });
        Ok(Self {
            search,
            limiter: RateLimiter::open(queues).context("REDIS_URL cannot be used")?,
            sockets: Arc::new(Semaphore::new(usize::try_from(config.chat.sockets)?)),
            relay: Relay::new(AnswerStreams::open(queues).context("REDIS_URL cannot be used")?, database.clone()),
            llm,
            database,
            authenticator,
            clock,
            health,
            config: Arc::new(config),
            session_lifetime: auth.session_lifetime,
            watchers: Arc::new(Semaphore::new(MAX_WATCHERS)),
            stopping: CancellationToken::new(),
        })
    }
}

/// Starts the server on a listener. It stops on SIGTERM and SIGINT, after open requests had time to finish.
pub fn serve(listener: TcpListener, services: Services) -> std::io::Result<Server> {
    boundary::prepare_metrics();
    let shutdown_seconds = services.config.shutdown_timeout.as_secs();
    actix_web::rt::spawn(services.relay.clone().listen(services.stopping.clone()));
    let services = web::Data::new(services);
    let server = HttpServer::new(move || {
        App::new()
            .app_data(services.clone())
            .configure(error::extractor_errors)
            .configure(routes::configure)
            .default_service(web::to(routes::not_found))
            .wrap(from_fn(boundary::boundary))
            .wrap(TracingLogger::<boundary::RequestSpan>::new())
    })
    .client_request_timeout(Duration::from_secs(10))
    .on_connect(|connection, _| limit_patience(connection))
    .shutdown_timeout(shutdown_seconds)
    .listen(listener)?
    .run();
    Ok(server)
}

/// Has the system close a connection whose other end takes nothing any more. Otherwise who opens many, asks for much and reads nothing
/// would hold them for as long as they like.
fn limit_patience(connection: &dyn Any) {
    let Some(connection) = connection.downcast_ref::<TcpStream>() else { return };
    if let Err(error) = rustix::net::sockopt::set_tcp_user_timeout(connection, TAKES_NOTHING_FOR) {
        tracing::debug!(%error, "api.no_user_timeout");
    }
}
