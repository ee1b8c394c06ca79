//! The torture: the queue and the scheduler under faults, and the proof from a history that what they promise holds.
//!
//! `make torture` runs it for long, `make test` for two minutes. This process starts servers of its own ([`servers`]), then
//! workers, schedulers and enqueuers as processes of their own ([`fleet`], [`children`]) with all kinds of jobs ([`jobs`]), and
//! an [`editor`] for the [`product`]'s own, and APIs that people chat with ([`chats`]);
//! it kills, stops and cuts them off ([`faults`]) while observers that the code under test does not know write down what
//! happens ([`history`]). Then it lets everything heal, checks the invariants ([`check`]) and tells them ([`report`]).
//!
//! The seed decides which faults come when and on which process they fall. What the processes do in between is real, so the
//! same seed is the same weather, not the same run.

mod chats;
mod check;
mod children;
mod driver;
mod editor;
mod faults;
mod fleet;
mod history;
mod jobs;
mod product;
mod report;
mod servers;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::Parser;

/// How long a silent worker keeps its jobs.
const LEASE: Duration = Duration::from_secs(5);

/// The queue and the scheduler under faults, on servers of its own. Ends with one line of figures, and with status 0 only when
/// all invariants hold.
#[derive(Debug, Clone, Parser)]
#[command(name = "torture", max_term_width = 100)]
pub(crate) struct Arguments {
    /// For how many seconds there are jobs and faults. Default: 600, or 4 hours when jobs or faults are to be reached.
    #[arg(long)]
    duration: Option<u64>,
    /// End when so many jobs were finished (and so many faults done).
    #[arg(long)]
    jobs: Option<u64>,
    /// End when so many faults were done (and so many jobs finished).
    #[arg(long)]
    faults: Option<u64>,
    /// What decides which faults come when. Default: a new one each time, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// Write a report in Markdown.
    #[arg(long)]
    report: Option<PathBuf>,
    /// How many jobs are enqueued in a second.
    #[arg(long, default_value_t = 700.0)]
    rate: f64,
    /// The program of another release: every other process runs it, as during an upgrade.
    #[arg(long)]
    beside: Option<PathBuf>,
    /// PostgreSQL's programs.
    #[arg(long, env = "POSTGRES_BIN")]
    postgres_bin: PathBuf,
    /// Where `valkey-server` is.
    #[arg(long, env = "VALKEY_BIN")]
    valkey_bin: PathBuf,
    /// Where a folder for the servers' data, logs and journals is made.
    #[arg(long, env = "HELPCENTER_RUN", default_value = "/var/tmp")]
    folder: PathBuf,
    /// Leave the folder with logs and journals where it is.
    #[arg(long)]
    keep: bool,
}

/// This program as one of the processes under test.
#[derive(Debug, Parser)]
struct ChildArguments {
    #[command(subcommand)]
    child: children::Child,
}

/// The program `torture`.
pub fn main() -> ExitCode {
    let is_child = std::env::args().nth(1).is_some_and(|first| {
        ["worker", "scheduler", "enqueuer", "editor", "operator", "api", "asker"].contains(&first.as_str())
    });
    if is_child {
        children::die_with_parent();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if is_child {
        runtime.block_on(ChildArguments::parse().child.run());
        return ExitCode::SUCCESS;
    }
    runtime.block_on(driver::run(Arguments::parse()))
}
