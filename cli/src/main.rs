//! `helpcenter`: the operator's command line.
#![expect(clippy::print_stdout, reason = "what a command prints is its result")]

mod access;
mod answers;
mod demo;
mod export;
mod index;
mod jobs;
mod output;
mod schedule;
mod sync;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use shared::{
    config::{DatabaseConfig, OwnerDatabaseConfig, TracesConfig},
    db::{self, Database},
    telemetry,
    tenancy::{self, Tenant},
};
use tracing::{Instrument as _, field::Empty};

/// Sets up, fills and looks after a help center. Configuration comes from the same environment variables as that of the
/// services; docs/OPERATIONS.md lists them.
#[derive(Parser)]
#[command(name = "helpcenter", version, max_term_width = 100)]
struct Arguments {
    /// Print results as JSON.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring the database's schema up to date (needs DATABASE_OWNER_URL beside DATABASE_URL).
    Migrate,
    /// Create the demonstration tenants, people and tokens; harmless to repeat.
    SeedDemo,
    /// Import a folder of Markdown, MDX and HTML files, or a zip archive of one; harmless to repeat.
    SyncDocumentation(sync::SyncArguments),
    /// Export all articles with categories, tags and images as a folder or zip archive of Markdown files.
    ExportDocumentation(export::ExportArguments),
    /// Show how far a tenant's articles are indexed.
    IndexStatus(index::StatusArguments),
    /// Have what search knows made anew, by jobs, while it is searched.
    RebuildIndexes(index::RebuildArguments),
    /// Look after the queues.
    #[command(subcommand)]
    Jobs(jobs::JobsCommand),
    /// See what the assistant was asked, and how it came to say what it said.
    #[command(subcommand)]
    Answers(answers::AnswersCommand),
    /// Show when each line of the cron table was due last and is due next.
    Schedule,
    /// Create a tenant.
    CreateTenant(access::TenantArguments),
    /// Create a local account; its password is read from standard input.
    CreateUser(access::UserArguments),
    /// Create an API key and print it, this once.
    CreateKey(access::KeyArguments),
    /// Make an API key useless at once.
    RevokeKey(access::RevokeArguments),
}

/// Says whose command it is.
#[derive(clap::Args)]
struct TenantArgument {
    /// The tenant's slug.
    #[arg(long, value_name = "SLUG")]
    tenant: String,
}

impl TenantArgument {
    async fn find(&self, database: &Database) -> anyhow::Result<Tenant> {
        let mut registry = database.registry().await.context("the database cannot be reached")?;
        tenancy::by_slug(&mut registry, &self.tenant).await?.with_context(|| {
            format!("there is no tenant `{}`; create it with `helpcenter create-tenant {}`", self.tenant, self.tenant)
        })
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::install_tls();
    let matches = Arguments::command().get_matches();
    let name = matches.subcommand_name().unwrap_or_default();
    let arguments = Arguments::from_arg_matches(&matches).unwrap_or_else(|error| error.exit());
    run_traced(name, arguments).await.unwrap_or_else(|error| {
        output::error(&error);
        ExitCode::FAILURE
    })
}

/// Runs the command as a trace of its own, in which the jobs that it enqueues go on.
async fn run_traced(name: &str, arguments: Arguments) -> anyhow::Result<ExitCode> {
    let traces = telemetry::start_traces("helpcenter", &TracesConfig::from_env()?)
        .map_err(|error| anyhow::anyhow!("the export of traces could not be started: {error}"))?;
    let span = tracing::info_span!("command", otel.name = format!("helpcenter {name}"), otel.status_code = Empty);
    let ended = run(arguments).instrument(span.clone()).await;
    if ended.is_err() {
        span.record("otel.status_code", "ERROR");
    }
    drop(span);
    traces.finish().await;
    ended
}

async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let json = arguments.json;
    let config = DatabaseConfig::from_env()?;
    if matches!(arguments.command, Command::Migrate) {
        db::migrate(&OwnerDatabaseConfig::from_env()?, &config.url)
            .await
            .context("the schema was not brought up to date")?;
        output::done(json, "The schema is up to date.", &serde_json::json!({ "migrated": true }));
        return Ok(ExitCode::SUCCESS);
    }
    let database = Database::open(&config).context("DATABASE_URL cannot be used")?;
    let code = match arguments.command {
        Command::Migrate => ExitCode::SUCCESS,
        Command::SeedDemo => demo::seed(&database, json).await?,
        Command::SyncDocumentation(arguments) => sync::run(&database, arguments, json).await?,
        Command::ExportDocumentation(arguments) => export::run(&database, arguments, json).await?,
        Command::IndexStatus(arguments) => index::status(&database, arguments, json).await?,
        Command::RebuildIndexes(arguments) => index::rebuild(&database, arguments, json).await?,
        Command::Jobs(command) => jobs::run(&database, command, json).await?,
        Command::Answers(command) => answers::run(&database, command, json).await?,
        Command::Schedule => schedule::show(&database, json).await?,
        Command::CreateTenant(arguments) => access::create_tenant(&database, arguments, json).await?,
        Command::CreateUser(arguments) => access::create_user(&database, arguments, json).await?,
        Command::CreateKey(arguments) => access::create_key(&database, arguments, json).await?,
        Command::RevokeKey(arguments) => access::revoke_key(&database, &arguments, json).await?,
    };
    database.close().await;
    Ok(code)
}

/// A path as a person typed it, made absolute, so that its last part is a name.
fn canonical(path: &PathBuf) -> anyhow::Result<PathBuf> {
    std::fs::canonicalize(path).with_context(|| format!("cannot find {}", path.display()))
}
