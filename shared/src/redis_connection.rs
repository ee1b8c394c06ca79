//! The connection to Redis, made again whenever it breaks or goes silent.
//!
//! [`ConnectionManager`] replaces a connection that broke. One that only stopped answering, as after a fail-over or behind a
//! firewall that forgot it, is kept until the operating system gives it up, which takes a quarter of an hour. Here a reply
//! that does not come in time is reason enough for a new connection.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::FutureExt as _;
use redis::{
    Client, Cmd, Pipeline, RedisError, RedisFuture, Value,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};

/// Cheap to clone; all clones share one connection.
#[derive(Clone)]
pub(crate) struct Connection {
    client: Client,
    settings: ConnectionManagerConfig,
    current: Arc<Mutex<Current>>,
}

#[derive(Clone)]
struct Current {
    manager: ConnectionManager,
    generation: u64,
}

impl Connection {
    /// Prepares it; it is made when it is needed first.
    pub(crate) fn prepare(client: Client, settings: ConnectionManagerConfig) -> Result<Self, RedisError> {
        let manager = client.get_connection_manager_lazy(settings.clone())?;
        Ok(Self { client, settings, current: Arc::new(Mutex::new(Current { manager, generation: 0 })) })
    }

    /// For calls that somebody waits for: tried once more, and soon, when `patience` is over.
    pub(crate) fn impatient(client: Client, patience: Duration) -> Result<Self, RedisError> {
        let settings = ConnectionManagerConfig::new()
            .set_connection_timeout(Some(patience))
            .set_response_timeout(Some(patience))
            .set_number_of_retries(1)
            .set_max_delay(Duration::from_millis(200));
        Self::prepare(client, settings)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the connection up when it did not answer in time, unless another call already did.
    fn check<T>(&self, generation: u64, reply: Result<T, RedisError>) -> Result<T, RedisError> {
        if reply.as_ref().is_err_and(RedisError::is_timeout) {
            let mut current = self.lock();
            if current.generation == generation {
                let manager = self.client.get_connection_manager_lazy(self.settings.clone())?;
                *current = Current { manager, generation: generation + 1 };
            }
        }
        reply
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        async move {
            let Current { mut manager, generation } = self.lock().clone();
            let reply = manager.req_packed_command(cmd).await;
            self.check(generation, reply)
        }
        .boxed()
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        async move {
            let Current { mut manager, generation } = self.lock().clone();
            let reply = manager.req_packed_commands(pipeline, offset, count).await;
            self.check(generation, reply)
        }
        .boxed()
    }

    fn get_db(&self) -> i64 {
        self.lock().manager.get_db()
    }
}

/// Gives a call up that takes too long: connecting anew takes several steps, each with a limit of its own.
pub(crate) async fn within<T>(
    patience: Duration,
    call: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, RedisError> {
    let silent = |_| Err(RedisError::from((redis::ErrorKind::Io, "no answer in time")));
    tokio::time::timeout(patience, call).await.unwrap_or_else(silent)
}
