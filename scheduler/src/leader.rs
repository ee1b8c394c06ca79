//! Leading: one scheduler holds a lease in PostgreSQL and makes the ticks that are due; the others wait for the lease to end.
//!
//! Each tick is made together with its record and for the leader's epoch only, so it is made at most once even if two
//! schedulers believe to lead, and a scheduler that dies in the middle has either made it or not.

use std::time::Duration;

use chrono::{DateTime, Utc};
use shared::{
    db::Database,
    scheduling::{self, Lead, Template, Tick},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{due::Times, metrics, schedule::Line};

/// How often a waiting scheduler asks for the lead, and a leading one keeps it and looks what is due.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How long a leader that went silent keeps the lead.
const LEASE: Duration = Duration::from_secs(3);
/// How long a statement may take; a leader that waits longer has lost the lead.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often old ticks are forgotten.
const TIDY_EVERY: Duration = Duration::from_secs(3600);

/// A line, ready to be followed.
struct Followed {
    line: &'static Line,
    times: Times,
    template: Template,
    /// The latest tick that needs no more thought.
    ticked: DateTime<Utc>,
}

/// Leads or waits until cancelled. Errors are waited out. What time it is, PostgreSQL says, so that schedulers whose clocks
/// differ agree on what is due.
pub async fn run(database: &Database, lines: &'static [Line], stop: CancellationToken) -> anyhow::Result<()> {
    metrics::prepare(lines);
    let database = &database.with_patience(PATIENCE);
    let mut followed = Vec::with_capacity(lines.len());
    for line in lines {
        followed.push(Followed {
            line,
            times: Times::of(line)?,
            template: line.template()?,
            ticked: DateTime::UNIX_EPOCH,
        });
    }
    let candidate = Uuid::new_v4();
    while !stop.is_cancelled() {
        match scheduling::try_lead(database, candidate, LEASE).await {
            Ok(Some(lead)) => {
                tracing::info!(epoch = lead.epoch(), "scheduler.leading");
                metrics::LEADER.set(1);
                let led = follow(database, &mut followed, lead, &stop).await;
                metrics::LEADER.set(0);
                match led {
                    Ok(()) => tracing::info!(epoch = lead.epoch(), "scheduler.not_leading"),
                    Err(error) => tracing::warn!(%error, epoch = lead.epoch(), "scheduler.lead_lost"),
                }
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "scheduler.cannot_lead: tried again"),
        }
        let _ = stop.run_until_cancelled(tokio::time::sleep(HEARTBEAT)).await;
    }
    Ok(())
}

/// Makes ticks until told to stop or the lead is lost.
async fn follow(
    database: &Database,
    lines: &mut [Followed],
    lead: Lead,
    stop: &CancellationToken,
) -> Result<(), sqlx::Error> {
    let Some(began) = scheduling::keep_leading(database, lead, LEASE).await? else { return Ok(()) };
    publish(database, lines, began).await?;
    // From where the leader before this one stopped, so that no tick falls between the two.
    for followed in &mut *lines {
        followed.ticked = scheduling::ticked_until(database, followed.line.name).await?.unwrap_or(began);
    }
    let mut tidied = tokio::time::Instant::now();
    loop {
        let Some(now) = scheduling::keep_leading(database, lead, LEASE).await? else {
            return Ok(());
        };
        let mut has_ticked = false;
        for followed in &mut *lines {
            for due in followed.times.due(followed.ticked, now, followed.line.catch_up) {
                let Followed { line, template, .. } = &*followed;
                match scheduling::tick(database, lead, line.name, due, template).await? {
                    Tick::Made(tenants) => {
                        let late = (now - due).to_std().unwrap_or_default();
                        metrics::LATENESS.with_label_values(&[line.name]).observe(late.as_secs_f64());
                        tracing::info!(line = line.name, %due, tenants, "scheduler.ticked");
                    }
                    Tick::MadeBefore => {}
                    Tick::NotLeading => return Ok(()),
                }
                followed.ticked = due;
                has_ticked = true;
            }
        }
        if has_ticked {
            publish(database, lines, now).await?;
        }
        if tidied.elapsed() >= TIDY_EVERY {
            scheduling::forget_old_ticks(database).await?;
            tidied = tokio::time::Instant::now();
        }
        if stop.run_until_cancelled(tokio::time::sleep(HEARTBEAT)).await.is_none() {
            return scheduling::resign(database, lead).await;
        }
    }
}

async fn publish(database: &Database, lines: &[Followed], now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let zones: Vec<String> = lines.iter().map(|followed| followed.line.time_zone.to_string()).collect();
    let told: Vec<_> = lines
        .iter()
        .zip(&zones)
        .map(|(followed, zone)| {
            let Line { name, cron, .. } = followed.line;
            (*name, *cron, zone.as_str(), followed.times.after(now).next())
        })
        .collect();
    scheduling::publish_lines(database, &told).await
}
