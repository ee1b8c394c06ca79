//! The database: the pool, the tenant-bound transaction and the schema's migrations.
//!
//! [`TenantTx`] is the only way to a tenant's rows. Row-level security refuses them to any other transaction, and the
//! functions of the domain slices take a `&mut TenantTx`, so that forgetting the tenant does not compile.

mod notices;

use std::{collections::BTreeSet, str::FromStr as _, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres, Transaction,
    migrate::Migrator,
    pool::{PoolConnection, PoolConnectionMetadata},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use self::notices::{Notice, Notices};
use crate::{
    config::{DatabaseConfig, OwnerDatabaseConfig},
    tenancy::TenantId,
};

static MIGRATOR: Migrator = sqlx::migrate!("../migrations");

/// What can go wrong while the schema is set up.
#[derive(Debug, thiserror::Error)]
pub enum MigrateError {
    /// The server refused something.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// A migration failed or was changed after it ran.
    #[error(transparent)]
    Migrate(#[from] sqlx::migrate::MigrateError),
    /// The services' URL names no user, or the owner's.
    #[error("DATABASE_URL must name a login of its own for the services, different from that of DATABASE_OWNER_URL")]
    ServiceLogin,
}

/// How long a connection that says nothing is waited for, by whoever asks with [`Database::ask`].
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a connection may take to say that it lives, before it is used and when it comes back to the pool; it is closed
/// when it does not.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// A connection that came back so recently is used without asking.
const FRESH: Duration = Duration::from_millis(100);

/// A pool of connections with the services' login.
#[derive(Debug, Clone)]
pub struct Database {
    pool: PgPool,
    patience: Duration,
    notices: Notices,
}

impl Database {
    /// Opens the pool; connections are made when they are needed, so that a database that is down is not an error yet.
    pub fn open(config: &DatabaseConfig) -> Result<Self, sqlx::Error> {
        let timeout = config.statement_timeout.as_millis().to_string();
        let options = PgConnectOptions::from_str(config.url.expose_secret())?.application_name("helpcenter").options([
            ("statement_timeout", timeout.as_str()),
            ("idle_in_transaction_session_timeout", "60000"),
            ("client_min_messages", "warning"),
            // Queries here take milliseconds, which compiling them takes many of, and indexes lie in memory or on an SSD.
            ("jit", "off"),
            ("random_page_cost", "1.1"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(config.max_connections)
            .acquire_timeout(config.acquire_timeout)
            // Instead of the pool's own test, which a connection that fell silent never fails.
            .test_before_acquire(false)
            .before_acquire(|connection, PoolConnectionMetadata { idle_for, .. }| {
                Box::pin(
                    async move { if idle_for < FRESH { Ok(true) } else { lives(connection).await.map(|()| true) } },
                )
            })
            // Whoever used it may have been dropped while waiting for an answer. The pool tests it as well, without a limit.
            .after_release(|connection, _| Box::pin(async { leaves_transaction(connection).await.map(|()| true) }))
            .connect_lazy_with(options);
        Ok(Self { pool, patience: PATIENCE, notices: Notices::default() })
    }

    /// The same pool, for somebody who waits for an answer for another time.
    #[must_use]
    pub fn with_patience(&self, patience: Duration) -> Self {
        Self { patience, ..self.clone() }
    }

    /// Asks something that belongs to no tenant, and gives the connection up when there is no answer in time: one that fell
    /// silent, as after a fail-over or behind a firewall that forgot it, is kept by the operating system for a quarter of an
    /// hour. What was asked may have been done all the same.
    pub async fn ask<T, E: From<sqlx::Error>>(
        &self,
        asking: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut asked = Asked { connection: self.pool.acquire().await?, is_answered: false };
        let answer = tokio::time::timeout(self.patience, asking(&mut asked.connection)).await;
        asked.is_answered = answer.is_ok();
        answer.unwrap_or(Err(sqlx::Error::PoolTimedOut.into()))
    }

    /// Begins a transaction that sees and writes the rows of one tenant, in one round trip.
    pub async fn tenant(&self, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
        self.begin(tenant, "BEGIN", "").await
    }

    /// Like [`Self::tenant`], for statements that are as fast by a plan that does not depend on what is asked for: where they take
    /// a millisecond each, planning them anew would take as long.
    pub async fn tenant_with_generic_plans(&self, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
        self.begin(tenant, "BEGIN", ", set_config('plan_cache_mode', 'force_generic_plan', true)").await
    }

    /// Begins a transaction that sees the rows of one tenant as they were at its first query, however long it lasts, and
    /// writes none.
    pub async fn tenant_snapshot(&self, tenant: TenantId) -> Result<TenantTx, sqlx::Error> {
        self.begin(tenant, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", "").await
    }

    async fn begin(&self, tenant: TenantId, begin: &str, settings: &str) -> Result<TenantTx, sqlx::Error> {
        // A UUID has no character that could end the literal.
        let begin = format!("{begin}; SELECT set_config('app.tenant_id', '{tenant}', true){settings}");
        let transaction = self.pool.begin_with(AssertSqlSafe(begin)).await?;
        Ok(TenantTx { transaction, tenant, database: self.clone(), notices: BTreeSet::new() })
    }

    /// A connection for single statements that belong to no tenant, such as looking a tenant up. See [`Self::untenanted`].
    pub async fn registry(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        self.pool.acquire().await
    }

    /// Begins a transaction that belongs to no tenant. It reaches the registry of tenants, the scheduler's ticks and the
    /// functions that move jobs along; touching a tenant's table in it is an error.
    pub async fn untenanted(&self) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
        self.pool.begin().await
    }

    /// Notifies the listeners of a channel, soon and without waiting for it. See [`TenantTx::notify`].
    pub fn notify(&self, channel: &'static str, payload: &'static str) {
        self.notices.send(self, [(channel, payload)]);
    }

    /// Opens a connection of its own that waits for notifications.
    pub async fn listener(&self) -> Result<sqlx::postgres::PgListener, sqlx::Error> {
        sqlx::postgres::PgListener::connect_with(&self.pool).await
    }

    /// Asks the server for a sign of life.
    pub async fn ping(&self) -> Result<(), sqlx::Error> {
        lives(&mut *self.pool.acquire().await?).await
    }

    /// Closes all connections, once those who wait for it were notified.
    pub async fn close(&self) {
        self.notices.sent().await;
        self.pool.close().await;
    }
}

/// Asks a connection for a sign of life.
async fn lives(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    tokio::time::timeout(SIGN_OF_LIFE, connection.ping()).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Ends a transaction that its pool knows nothing of: sqlx 0.9.0 rolls none back whose `BEGIN` was sent, but not answered, when
/// whoever wanted it was dropped (its issue 4393). The next user of the connection would be in it, with its tenant, and what they
/// write would be kept or lost with it. `ROLLBACK` alone would have the server warn of every connection that is as it should be.
async fn leaves_transaction(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let end = sqlx::raw_sql("BEGIN; ROLLBACK").execute(connection);
    tokio::time::timeout(SIGN_OF_LIFE, end).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
    Ok(())
}

/// A connection in use. Closed unless it answered: it would be tested before it goes back to the pool, and wait for ever.
struct Asked {
    connection: PoolConnection<Postgres>,
    is_answered: bool,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !self.is_answered {
            self.connection.close_on_drop();
        }
    }
}

/// A transaction bound to one tenant. Dropped without [`TenantTx::commit`], it is rolled back.
#[derive(Debug)]
pub struct TenantTx {
    transaction: Transaction<'static, Postgres>,
    tenant: TenantId,
    database: Database,
    notices: BTreeSet<Notice>,
}

impl TenantTx {
    /// Whose rows this transaction sees.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// The connection, for the SQL of a `store` module.
    pub fn connection(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// Notifies the listeners of a channel once the transaction has committed; nobody, if it does not. A process that dies in
    /// this moment notifies nobody, so listeners look by the clock as well.
    pub fn notify(&mut self, channel: &'static str, payload: &'static str) {
        self.notices.insert((channel, payload));
    }

    /// Makes the changes permanent.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await?;
        self.database.notices.send(&self.database, self.notices);
        Ok(())
    }
}

/// Brings the schema up to date and makes sure that the services' login exists, is a member of `helpcenter_app` and has
/// the password that `service` names.
///
/// Safe to run by several processes at once and any number of times.
pub async fn migrate(owner: &OwnerDatabaseConfig, service: &SecretString) -> Result<(), MigrateError> {
    let owner = PgConnectOptions::from_str(owner.url.expose_secret())?;
    let password = password(service);
    let service = PgConnectOptions::from_str(service.expose_secret())?;
    if service.get_username() == owner.get_username() {
        return Err(MigrateError::ServiceLogin);
    }
    let mut connection = owner.log_statements(tracing::log::LevelFilter::Off).connect().await?;
    MIGRATOR.run(&mut connection).await?;
    create_service_login(&mut connection, &service, &password).await?;
    connection.close().await?;
    Ok(())
}

/// The password in a connection URL; empty when it has none, for servers that trust or know their clients otherwise.
fn password(url: &SecretString) -> String {
    let url = url::Url::parse(url.expose_secret()).ok();
    let encoded = url.as_ref().and_then(url::Url::password).unwrap_or_default();
    percent_encoding::percent_decode_str(encoded).decode_utf8_lossy().into_owned()
}

async fn create_service_login(
    connection: &mut PgConnection,
    service: &PgConnectOptions,
    password: &str,
) -> Result<(), sqlx::Error> {
    let login = service.get_username();
    let mut transaction = connection.begin().await?;
    // Roles belong to the whole server, so databases migrated side by side must take turns.
    sqlx::query("select pg_advisory_xact_lock(hashtext('helpcenter roles'))").execute(&mut *transaction).await?;
    let exists: bool = sqlx::query_scalar("select exists (select from pg_roles where rolname = $1)")
        .bind(login)
        .fetch_one(&mut *transaction)
        .await?;
    let quoted: String = sqlx::query_scalar("select quote_ident($1)").bind(login).fetch_one(&mut *transaction).await?;
    // Utility statements take no parameters: the server itself quotes what goes into them.
    let password: String =
        sqlx::query_scalar("select quote_literal($1)").bind(password).fetch_one(&mut *transaction).await?;
    let verb = if exists { "alter" } else { "create" };
    sqlx::raw_sql(AssertSqlSafe(format!("{verb} role {quoted} login inherit password {password}")))
        .execute(&mut *transaction)
        .await?;
    sqlx::raw_sql(AssertSqlSafe(format!("grant helpcenter_app to {quoted}"))).execute(&mut *transaction).await?;
    transaction.commit().await
}
