//! `make bench-queue`: what the queue does in a second, and how soon a job starts, beside other queues on the same servers.
//!
//! Every queue is driven the same way: by programs ([`side`]) of its own language and library, one that adds jobs and some
//! that work on them, each a process. This program starts them, tells them what to do, and prints tables. The product's own
//! side is this program again, with the argument `side`; those of the others are in `tests/bench/queue`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints tables and its progress")]

mod measure;
mod ours;
mod process;
mod profile;
mod report;
mod servers;
mod side;

use clap::Parser;

/// What to measure.
#[derive(Debug, Clone, Parser)]
pub(crate) struct Options {
    /// How many jobs wait when the workers start.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000")]
    backlogs: Vec<u64>,
    /// How many worker processes there are.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    workers: Vec<usize>,
    /// What jobs do: nothing, or wait for a millisecond.
    #[arg(long, value_delimiter = ',', default_value = "noop,1ms")]
    jobs: Vec<String>,
    /// What is measured: enqueue, process, latency.
    #[arg(long, value_delimiter = ',', default_value = "enqueue,process,latency")]
    measures: Vec<String>,
    /// How often; the median counts. Backlogs above 10,000 are measured once.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// How many jobs are worked off in one run at most, …
    #[arg(long, default_value_t = 100_000)]
    window: u64,
    /// … and for how long at most, in seconds. Also how long latencies are measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many jobs run at once in a worker process.
    #[arg(long, default_value_t = 50)]
    concurrency: usize,
    /// Another queue: its name, `=` and the command that starts its side.
    #[arg(long = "peer", value_parser = peer)]
    peers: Vec<(String, String)>,
    /// Instead of comparing, show where the time of the product's queue goes.
    #[arg(long)]
    profile: bool,
}

fn peer(text: &str) -> Result<(String, String), String> {
    let (name, command) = text.split_once('=').ok_or("a peer is NAME=COMMAND")?;
    Ok((name.to_owned(), command.to_owned()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    if std::env::args().nth(1).as_deref() == Some("side") {
        return side::serve(ours::Ours::open()?).await;
    }
    let options = Options::parse();
    let servers = servers::Servers::prepare(&options).await?;
    let measured =
        if options.profile { profile::run(&options, &servers).await } else { measure::run(&options, &servers).await };
    servers.clean_up().await?;
    measured
}
