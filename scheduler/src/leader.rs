//! Leading: one scheduler holds a lock in PostgreSQL and enqueues what is due; the others wait for the lock.
//!
//! Each tick is written to `scheduler_ticks` before its jobs are enqueued, so it happens once even if two schedulers
//! believed to lead.

use std::{str::FromStr as _, time::Duration};

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use cron::Schedule;
use shared::{
    clock::Clock,
    db::Database,
    scheduling::{self, Candidate},
};
use tokio_util::sync::CancellationToken;

use crate::schedule::{Line, SCHEDULE};

/// How often a waiting scheduler asks for the lock, and a leading one whether it still has it.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Leads or waits until cancelled. Errors are waited out.
pub(crate) async fn run(database: &Database, clock: &Clock, stop: CancellationToken) -> anyhow::Result<()> {
    let lines: Vec<(&Line, Schedule)> = SCHEDULE
        .iter()
        .map(|line| Ok((line, Schedule::from_str(line.cron).with_context(|| format!("line {}", line.name))?)))
        .collect::<anyhow::Result<_>>()?;
    let started = clock.now();
    while !stop.is_cancelled() {
        if let Err(error) = stand(database, clock, &lines, started, &stop).await {
            tracing::warn!(%error, "scheduler.cannot_lead: tried again");
        }
        let _ = stop.run_until_cancelled(tokio::time::sleep(HEARTBEAT)).await;
    }
    Ok(())
}

/// Waits for the lead on one connection, then leads until the connection or the process ends.
async fn stand(
    database: &Database,
    clock: &Clock,
    lines: &[(&Line, Schedule)],
    started: DateTime<Utc>,
    stop: &CancellationToken,
) -> Result<(), sqlx::Error> {
    let mut candidate = Candidate::connect(database).await?;
    while !candidate.try_lead().await? {
        if stop.run_until_cancelled(tokio::time::sleep(HEARTBEAT)).await.is_none() {
            return Ok(());
        }
    }
    tracing::info!("scheduler.leading");
    lead(database, clock, lines, started, candidate, stop).await
}

async fn lead(
    database: &Database,
    clock: &Clock,
    lines: &[(&Line, Schedule)],
    started: DateTime<Utc>,
    mut leadership: Candidate,
    stop: &CancellationToken,
) -> Result<(), sqlx::Error> {
    // From where the leader before this one stopped, so that no tick falls between the two.
    let mut ticked = Vec::with_capacity(lines.len());
    for (line, _) in lines {
        ticked.push(scheduling::last_tick(database, line.name).await?.unwrap_or(started));
    }
    while stop.run_until_cancelled(tokio::time::sleep(HEARTBEAT)).await.is_some() {
        leadership.confirm().await?;
        let now = clock.now();
        for ((line, schedule), since) in lines.iter().zip(&mut ticked) {
            // After a pause only the latest missed tick is made up for: every line of today converges.
            if let Some(due) = latest_due(schedule, *since, now) {
                tick(database, line, due).await?;
                *since = due;
            }
        }
    }
    Ok(())
}

async fn tick(database: &Database, line: &Line, due: DateTime<Utc>) -> Result<(), sqlx::Error> {
    if scheduling::claim_tick(database, line.name, due).await? {
        let tenants = line.work.enqueue(database).await?;
        tracing::info!(line = line.name, %due, tenants, "scheduler.ticked");
    }
    Ok(())
}

/// The latest time that the line was due after `since` and not after `now`.
fn latest_due(schedule: &Schedule, since: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    schedule.after(&since).take_while(|due| *due <= now).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_latest_of_several_missed_ticks_is_due() {
        let schedule = Schedule::from_str("0 * * * * *").expect("a readable expression");
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("a time");
        let due = latest_due(&schedule, at("2026-01-01T10:00:30Z"), at("2026-01-01T10:05:10Z"));
        assert_eq!(due, Some(at("2026-01-01T10:05:00Z")));
        assert_eq!(latest_due(&schedule, at("2026-01-01T10:00:00Z"), at("2026-01-01T10:00:59Z")), None);
    }
}
