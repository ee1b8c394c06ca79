//! Counting jobs where they are kept: for people, and for the metrics.

use std::{collections::HashMap, time::Duration};

use serde::Serialize;

use super::Queue;
use crate::db::Database;

/// How many jobs of a queue are where, of all tenants.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct OutboxCounts {
    /// The queue's name.
    pub queue: String,
    /// Written, not yet sent to Redis.
    pub unrelayed: i64,
    /// May start now.
    pub waiting: i64,
    /// May start later.
    pub scheduled: i64,
    /// At a worker, or at one that has died and not been missed yet.
    pub running: i64,
    /// Given up.
    pub dead: i64,
    /// For how long the oldest job that may start has waited, in seconds. `None`: there is none.
    pub oldest_seconds: Option<f64>,
    /// For how long the oldest unrelayed job has waited for the relay, in seconds. `None`: there is none.
    pub relay_lag_seconds: Option<f64>,
}

impl OutboxCounts {
    fn none(queue: Queue) -> Self {
        Self {
            queue: queue.name().to_owned(),
            unrelayed: 0,
            waiting: 0,
            scheduled: 0,
            running: 0,
            dead: 0,
            oldest_seconds: None,
            relay_lag_seconds: None,
        }
    }

    /// Jobs that have not ended and were not given up.
    pub fn open(&self) -> i64 {
        self.unrelayed + self.waiting + self.scheduled + self.running
    }
}

/// Counts the open and dead jobs of every queue. Reads the whole table: for people, not for every second.
pub async fn counts(database: &Database) -> Result<Vec<OutboxCounts>, sqlx::Error> {
    let mut connection = database.registry().await?;
    let rows = sqlx::query_as!(
        OutboxCounts,
        r#"select queue as "queue!", unrelayed as "unrelayed!", waiting as "waiting!", scheduled as "scheduled!",
                  running as "running!", dead as "dead!", oldest_seconds, relay_lag_seconds from outbox_counts()"#
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut found: HashMap<String, OutboxCounts> = rows.into_iter().map(|row| (row.queue.clone(), row)).collect();
    let mut counts: Vec<_> = Queue::ALL
        .into_iter()
        .map(|queue| found.remove(queue.name()).unwrap_or_else(|| OutboxCounts::none(queue)))
        .collect();
    // Of queues that only another release has.
    counts.extend(found.into_values());
    Ok(counts)
}

/// How many jobs of a type have not ended well yet, those that were given up among them, and how old the oldest is.
pub(crate) async fn oldest<J: super::Job>(database: &Database) -> Result<(i64, Duration), sqlx::Error> {
    let asking =
        sqlx::query!(r#"select jobs as "jobs!", oldest_seconds as "seconds!" from outbox_oldest($1)"#, J::NAME);
    let row = database.ask(async |connection| asking.fetch_one(connection).await).await?;
    Ok((row.jobs, Duration::from_secs_f64(row.seconds.max(0.0))))
}

/// What is wrong with a queue.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Troubles {
    pub(super) queue: String,
    pub(super) unrelayed: i64,
    pub(super) relay_lag_seconds: f64,
    pub(super) dead: i64,
}

/// What is wrong with each queue; those with which nothing is are not listed. Cheap, whatever the backlog.
pub(super) async fn troubles(database: &Database) -> Result<Vec<Troubles>, sqlx::Error> {
    let asking = sqlx::query_as!(
        Troubles,
        r#"select queue as "queue!", unrelayed as "unrelayed!", relay_lag_seconds as "relay_lag_seconds!", dead as "dead!"
           from outbox_troubles()"#
    );
    database.ask(async |connection| asking.fetch_all(connection).await).await
}
