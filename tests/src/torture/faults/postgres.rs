//! PostgreSQL restarted, crashed, full of connections, without room on its disk or held up.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use shared::clock::Clock;
use sqlx::{Connection as _, PgConnection};

use super::{super::servers::POSTGRES_CONNECTIONS, Faults, deck::Deck};

#[derive(Debug, Clone, Copy)]
enum OfPostgres {
    RestartedFast,
    RestartedImmediately,
    BackendsTerminated,
    LongTransaction,
    ConnectionsExhausted,
    DiskFull,
}

impl Faults {
    pub(super) async fn of_postgres(self, seed: u64) {
        use OfPostgres::{
            BackendsTerminated, ConnectionsExhausted, DiskFull, LongTransaction, RestartedFast, RestartedImmediately,
        };
        let all =
            [RestartedFast, RestartedImmediately, BackendsTerminated, LongTransaction, ConnectionsExhausted, DiskFull];
        let mut deck = Deck::new(seed, 5, &all);
        loop {
            let wait = deck.about(Duration::from_secs(6));
            let what = deck.draw();
            if !self.next(wait, true).await {
                return;
            }
            let since = Clock::system().now();
            match what {
                RestartedFast | RestartedImmediately => {
                    let immediately = matches!(what, RestartedImmediately);
                    let mut postgres = self.postgres.lock().await;
                    postgres.stop(immediately).await;
                    postgres.start().await;
                    self.log.add(if immediately { "postgresql crashed" } else { "postgresql restarted" });
                }
                // Errors: the server is away in this moment, because of another fault.
                BackendsTerminated => drop(self.terminate_backends().await),
                LongTransaction => drop(self.long_transaction().await),
                ConnectionsExhausted => self.exhaust_connections().await,
                DiskFull => {
                    let mut postgres = self.postgres.lock().await;
                    postgres.let_write(false).await;
                    self.sleep_in_storm(Duration::from_secs(2)).await;
                    if !self.can_write_to_postgres().await {
                        self.log.add("postgresql's disk full");
                    }
                    postgres.let_write(true).await;
                    postgres.recover().await;
                }
            }
            self.log.disturbed_since(since);
        }
    }

    async fn terminate_backends(&self) -> Result<(), sqlx::Error> {
        let mut owner = PgConnection::connect(self.owner_url.expose_secret()).await?;
        let killed: i64 = sqlx::query_scalar(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'helpcenter'",
        )
        .fetch_one(&mut owner)
        .await?;
        self.log.add_many("postgresql backend terminated", killed.unsigned_abs());
        Ok(())
    }

    async fn long_transaction(&self) -> Result<(), sqlx::Error> {
        let mut owner = PgConnection::connect(self.owner_url.expose_secret()).await?;
        let mut transaction = owner.begin().await?;
        sqlx::query("insert into torture.idle default values").execute(&mut *transaction).await?;
        sqlx::query("select count(*) from outbox").execute(&mut *transaction).await?;
        self.log.add("postgresql transaction left open");
        self.sleep_in_storm(Duration::from_secs(10)).await;
        transaction.rollback().await
    }

    async fn can_write_to_postgres(&self) -> bool {
        let writing = async {
            let mut owner = PgConnection::connect(self.owner_url.expose_secret()).await?;
            sqlx::query("insert into torture.idle default values").execute(&mut owner).await
        };
        tokio::time::timeout(Duration::from_secs(2), writing).await.is_ok_and(|written| written.is_ok())
    }

    async fn exhaust_connections(&self) {
        let mut taken = Vec::new();
        while taken.len() < POSTGRES_CONNECTIONS as usize {
            match PgConnection::connect(self.service_url.expose_secret()).await {
                Ok(connection) => taken.push(connection),
                Err(_) => break,
            }
        }
        self.log.add("postgresql out of connections");
        self.sleep_in_storm(Duration::from_secs(3)).await;
    }
}
