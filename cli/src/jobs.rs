//! `jobs`: what waits, runs and failed, and what to do about it.

use std::process::ExitCode;

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use serde_json::json;
use shared::{
    db::Database,
    queue::{
        Queue,
        admin::{self, JobRecord, QueueStats, Selection, State},
    },
    tenancy::{self, Tenant},
};
use uuid::Uuid;

use crate::{access::ACTOR, output};

#[derive(Subcommand)]
pub(crate) enum JobsCommand {
    /// List jobs, the latest first.
    List(ListArguments),
    /// Show everything about one job.
    Show {
        /// The job's id.
        id: Uuid,
    },
    /// Try dead letters again, with all attempts before them.
    Retry(SelectionArguments),
    /// Put dead letters away.
    Discard(SelectionArguments),
    /// End jobs that wait or run.
    Cancel(SelectionArguments),
    /// Keep all workers from starting jobs of a queue; those that run go on.
    Pause {
        /// The queue's name.
        #[arg(value_parser = queue)]
        queue: Queue,
    },
    /// Let workers start jobs of a queue again.
    Resume {
        /// The queue's name.
        #[arg(value_parser = queue)]
        queue: Queue,
    },
    /// Count the jobs of each queue.
    Stats,
}

#[derive(Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    of: Conditions,
    /// Only those in this state: waiting, scheduled, running, dead, done, cancelled or discarded. May be repeated.
    #[arg(long = "state", value_name = "STATE", value_parser = state)]
    states: Vec<State>,
    /// At most so many of each tenant.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

/// Which jobs; without an id all of them only when asked to.
#[derive(Args)]
pub(crate) struct SelectionArguments {
    /// The jobs' ids.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    ids: Vec<Uuid>,
    /// All jobs that fulfil the conditions.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    of: Conditions,
}

#[derive(Args)]
struct Conditions {
    /// Only jobs of this tenant. Default: of every tenant.
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
    /// Only jobs of this queue.
    #[arg(long, value_name = "QUEUE", value_parser = queue)]
    queue: Option<Queue>,
    /// Only jobs of this type, for example embed_article.
    #[arg(long, value_name = "NAME")]
    job: Option<String>,
}

impl Conditions {
    fn selection(&self, ids: Option<Vec<Uuid>>) -> Selection {
        Selection { ids, queue: self.queue, job: self.job.clone() }
    }

    async fn tenants(&self, database: &Database) -> anyhow::Result<Vec<Tenant>> {
        let tenants = tenancy::all(database).await.context("the database cannot be reached")?;
        match &self.tenant {
            None => Ok(tenants),
            Some(slug) => {
                let found: Vec<Tenant> = tenants.into_iter().filter(|tenant| tenant.slug.as_str() == slug).collect();
                if found.is_empty() {
                    bail!("there is no tenant `{slug}`");
                }
                Ok(found)
            }
        }
    }
}

fn queue(name: &str) -> Result<Queue, String> {
    Queue::from_name(name).ok_or_else(|| format!("the queues are {}", Queue::ALL.map(Queue::name).join(", ")))
}

fn state(name: &str) -> Result<State, String> {
    State::from_name(name).ok_or_else(|| format!("the states are {}", State::ALL.map(State::name).join(", ")))
}

pub(crate) async fn run(database: &Database, command: JobsCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        JobsCommand::List(arguments) => list(database, arguments, json).await,
        JobsCommand::Show { id } => show(database, id, json).await,
        JobsCommand::Retry(arguments) => retry(database, arguments, json).await,
        JobsCommand::Discard(arguments) => discard(database, arguments, json).await,
        JobsCommand::Cancel(arguments) => cancel(database, arguments, json).await,
        JobsCommand::Pause { queue } => {
            let changed = admin::pause(database, queue).await?;
            let text = if changed { "is paused; jobs that run go on" } else { "was paused already" };
            output::done(json, &format!("{queue} {text}."), &json!({ "queue": queue.name(), "paused": true }));
            Ok(ExitCode::SUCCESS)
        }
        JobsCommand::Resume { queue } => {
            let changed = admin::resume(database, queue).await?;
            let text = if changed { "goes on" } else { "was not paused" };
            output::done(json, &format!("{queue} {text}."), &json!({ "queue": queue.name(), "paused": false }));
            Ok(ExitCode::SUCCESS)
        }
        JobsCommand::Stats => stats(database, json).await,
    }
}

/// A job and whose it is.
#[derive(serde::Serialize)]
struct Owned {
    tenant: String,
    #[serde(flatten)]
    record: JobRecord,
}

async fn list(database: &Database, arguments: ListArguments, json: bool) -> anyhow::Result<ExitCode> {
    let selection = arguments.of.selection(None);
    let mut jobs = Vec::new();
    for tenant in arguments.of.tenants(database).await? {
        let mut tx = database.tenant(tenant.id).await?;
        let records = admin::list(&mut tx, &selection, &arguments.states, None, arguments.limit).await?;
        jobs.extend(records.into_iter().map(|record| Owned { tenant: tenant.slug.clone(), record }));
    }
    output::done(json, &table(&jobs), &jobs);
    Ok(ExitCode::SUCCESS)
}

fn table(jobs: &[Owned]) -> String {
    if jobs.is_empty() {
        return "No such jobs.".to_owned();
    }
    let mut table = Table::new();
    table
        .load_style(UTF8_HORIZONTAL_ONLY)
        .set_header(["id", "tenant", "queue", "job", "state", "attempts", "enqueued", "error"]);
    for Owned { tenant, record } in jobs {
        let attempts =
            record.max_attempts.map_or(record.attempts.to_string(), |max| format!("{}/{max}", record.attempts));
        let error: String = record.last_error.iter().flat_map(|error| error.chars().take(60)).collect();
        table.add_row([
            record.id.to_string(),
            tenant.clone(),
            record.queue.clone(),
            record.job.clone(),
            record.state.name().to_owned(),
            attempts,
            record.created_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            error,
        ]);
    }
    table.to_string()
}

async fn show(database: &Database, id: Uuid, json: bool) -> anyhow::Result<ExitCode> {
    for tenant in tenancy::all(database).await.context("the database cannot be reached")? {
        let mut tx = database.tenant(tenant.id).await?;
        if let Some(record) = admin::find(&mut tx, id).await? {
            let job = Owned { tenant: tenant.slug.clone(), record };
            let text = serde_json::to_string_pretty(&job)?;
            output::done(json, &text, &job);
            return Ok(ExitCode::SUCCESS);
        }
    }
    bail!("there is no job {id}; finished jobs are kept for three days, and the latest 10,000 of each queue")
}

async fn retry(database: &Database, arguments: SelectionArguments, json: bool) -> anyhow::Result<ExitCode> {
    let selection = arguments.of.selection((!arguments.all).then(|| arguments.ids.clone()));
    let mut retried = Vec::new();
    for tenant in arguments.of.tenants(database).await? {
        let mut tx = database.tenant(tenant.id).await?;
        retried.extend(admin::retry(&mut tx, &selection, ACTOR).await?);
        tx.commit().await?;
    }
    let text = format!("{} dead letters are tried again.", retried.len());
    output::done(json, &text, &json!({ "retried": retried }));
    Ok(told_of_missing(&arguments, retried.len(), "a dead letter, or another job with its unique key is open"))
}

async fn discard(database: &Database, arguments: SelectionArguments, json: bool) -> anyhow::Result<ExitCode> {
    let selection = arguments.of.selection((!arguments.all).then(|| arguments.ids.clone()));
    let mut discarded = Vec::new();
    for tenant in arguments.of.tenants(database).await? {
        let mut tx = database.tenant(tenant.id).await?;
        discarded.extend(admin::discard(&mut tx, &selection, ACTOR).await?);
        tx.commit().await?;
    }
    let text = format!("{} dead letters are discarded.", discarded.len());
    output::done(json, &text, &json!({ "discarded": discarded }));
    Ok(told_of_missing(&arguments, discarded.len(), "a dead letter"))
}

async fn cancel(database: &Database, arguments: SelectionArguments, json: bool) -> anyhow::Result<ExitCode> {
    let selection = arguments.of.selection((!arguments.all).then(|| arguments.ids.clone()));
    let (mut ended, mut told) = (Vec::new(), Vec::new());
    for tenant in arguments.of.tenants(database).await? {
        let mut tx = database.tenant(tenant.id).await?;
        let cancelled = admin::cancel(&mut tx, &selection, ACTOR).await?;
        tx.commit().await?;
        ended.extend(cancelled.ended);
        told.extend(cancelled.told);
    }
    let text = format!("{} jobs are cancelled, {} running ones are told to end.", ended.len(), told.len());
    output::done(json, &text, &json!({ "cancelled": ended, "told": told }));
    Ok(told_of_missing(&arguments, ended.len() + told.len(), "open"))
}

/// Of jobs that were named one by one, each must have been found.
fn told_of_missing(arguments: &SelectionArguments, found: usize, what: &str) -> ExitCode {
    let missing = arguments.ids.len().saturating_sub(found);
    if missing == 0 {
        return ExitCode::SUCCESS;
    }
    output::error(&anyhow::anyhow!(
        "{missing} of {} jobs: not {what}; `helpcenter jobs show ID` says what each is",
        arguments.ids.len()
    ));
    ExitCode::FAILURE
}

async fn stats(database: &Database, json: bool) -> anyhow::Result<ExitCode> {
    let stats = admin::stats(database).await.context("the database cannot be reached")?;
    output::done(json, &stats_table(&stats), &stats);
    Ok(ExitCode::SUCCESS)
}

fn stats_table(stats: &[QueueStats]) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header([
        "queue",
        "not yet in Redis",
        "waiting",
        "scheduled",
        "running",
        "oldest (s)",
        "dead",
    ]);
    for QueueStats { is_paused, counts } in stats {
        table.add_row([
            if *is_paused { format!("{} (paused)", counts.queue) } else { counts.queue.clone() },
            counts.unrelayed.to_string(),
            counts.waiting.to_string(),
            counts.scheduled.to_string(),
            counts.running.to_string(),
            counts.oldest_seconds.map_or("-".to_owned(), |age| format!("{age:.1}")),
            counts.dead.to_string(),
        ]);
    }
    table.to_string()
}
