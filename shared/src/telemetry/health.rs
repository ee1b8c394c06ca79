//! `/health/live`, `/health/ready` and `/metrics`, on an address of their own that is loopback unless configured.

use std::{collections::BTreeMap, convert::Infallible, sync::Arc, time::Duration};

use futures::future::{BoxFuture, FutureExt as _, join_all};
use http_body_util::Full;
use hyper::{Method, Request, Response, StatusCode, body::Bytes, header, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::metrics;
use crate::{db::Database, queue::QueueStore};

/// How long a dependency may take to answer before it counts as down.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

type Detail = Arc<dyn Fn() -> serde_json::Value + Send + Sync>;
type Check = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

/// The dependencies that a process needs to do its work.
#[derive(Clone, Default)]
pub struct Health {
    checks: Vec<(&'static str, Check)>,
    details: Vec<(&'static str, Detail)>,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.checks.iter().map(|(name, _)| name)).finish()
    }
}

/// How each dependency is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Readiness {
    /// `ready`, or `not_ready` when at least one dependency is down.
    pub status: &'static str,
    /// `ok` or `down`, by dependency. Causes are logged, not told.
    pub checks: BTreeMap<&'static str, &'static str>,
    /// What the process tells about itself beyond that; decides nothing.
    #[serde(flatten)]
    pub details: BTreeMap<&'static str, serde_json::Value>,
}

impl Readiness {
    /// Whether every dependency is there.
    pub fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}

impl Health {
    /// No dependencies yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a dependency; the error is for the log.
    #[must_use]
    pub fn check<F, R, E>(mut self, name: &'static str, check: F) -> Self
    where
        F: Fn() -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: std::fmt::Display,
    {
        let check: Check = Arc::new(move || {
            let running = check();
            async move { running.await.map_err(|error| error.to_string()) }.boxed()
        });
        self.checks.push((name, check));
        self
    }

    /// Adds something that is told with the answer.
    #[must_use]
    pub fn detail<V: serde::Serialize>(
        mut self,
        name: &'static str,
        tell: impl Fn() -> V + Send + Sync + 'static,
    ) -> Self {
        self.details.push((name, Arc::new(move || serde_json::to_value(tell()).unwrap_or_default())));
        self
    }

    /// Asks every dependency, all at once.
    pub async fn readiness(&self) -> Readiness {
        let results = join_all(self.checks.iter().map(|(name, check)| async move {
            let outcome = tokio::time::timeout(CHECK_TIMEOUT, check()).await;
            let problem = match outcome {
                Ok(Ok(())) => return (*name, "ok"),
                Ok(Err(error)) => error,
                Err(_) => format!("no answer within {CHECK_TIMEOUT:?}"),
            };
            tracing::warn!(dependency = name, problem, "health.dependency_down");
            (*name, "down")
        }))
        .await;
        let ready = results.iter().all(|(_, state)| *state == "ok");
        Readiness {
            status: if ready { "ready" } else { "not_ready" },
            checks: results.into_iter().collect(),
            details: self.details.iter().map(|(name, tell)| (*name, tell())).collect(),
        }
    }
}

/// What workers and schedulers need: the database and Redis.
pub fn of_queues(database: &Database, store: &QueueStore) -> Health {
    let (database, store) = (database.clone(), store.clone());
    Health::new()
        .check("database", move || {
            let database = database.clone();
            async move { database.ping().await }
        })
        .check("redis", move || {
            let store = store.clone();
            async move { store.ping().await }
        })
}

/// Serves health and metrics until cancelled.
pub async fn serve(listener: TcpListener, health: Health, stop: CancellationToken) {
    loop {
        let stream = match stop.run_until_cancelled(listener.accept()).await {
            None => return,
            Some(Ok((stream, _))) => stream,
            Some(Err(error)) => {
                tracing::warn!(%error, "health.accept_failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let health = health.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, health.clone()));
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(10))
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                tracing::debug!(%error, "health.connection_failed");
            }
        });
    }
}

async fn answer(request: Request<hyper::body::Incoming>, health: Health) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() != Method::GET {
        return Ok(response(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET is answered here\n".into()));
    }
    Ok(match request.uri().path() {
        "/health/live" => response(StatusCode::OK, "application/json", r#"{"status":"live"}"#.into()),
        "/health/ready" => {
            let readiness = health.readiness().await;
            let status = if readiness.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            response(status, "application/json", serde_json::to_vec(&readiness).unwrap_or_default())
        }
        "/metrics" => response(StatusCode::OK, "text/plain; version=0.0.4", metrics::render()),
        _ => response(StatusCode::NOT_FOUND, "text/plain", "try /health/live, /health/ready or /metrics\n".into()),
    })
}

fn response(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}
