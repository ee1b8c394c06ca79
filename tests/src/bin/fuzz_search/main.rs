//! `make fuzz-search [DATA=folder] [SECONDS=60] [SEED=n]`: any text is a query, and the real API answers it.
//!
//! A help center in many languages ([`help_center`]) is searched, over HTTP and with the real model, with queries of many kinds
//! ([`queries`]), hostile and ordinary, until the time is over. Each goes to the search and to the completions, and each answer is
//! checked ([`answer`]): its status, its shape, and that it came in time. The seed decides which queries are sent; the number of
//! callers only how many at once.
//!
//! Ends with figures ([`report`]), and with status 0 only when nothing failed.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a report and its progress")]

mod answer;
mod help_center;
mod languages;
mod queries;
mod report;
mod scripts;

use std::{
    path::PathBuf,
    process::ExitCode,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use clap::Parser;

use help_center::HelpCenter;
use queries::{Material, Sent};
use report::Report;

/// After so many failures there is no need for more.
const ENOUGH_FAILURES: usize = 100;

/// What to send, and for how long.
#[derive(Debug, Parser)]
struct Options {
    /// A folder with `helpcenters` and `ir`: articles beside those of `docs/help`, and questions that people asked.
    data: Option<PathBuf>,
    /// How many seconds queries are sent.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// What decides which queries are sent. Default: a new one each time, which is printed.
    #[arg(long)]
    seed: Option<u64>,
    /// How many queries are under way at once.
    #[arg(long, default_value_t = 2)]
    callers: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let options = Options::parse();
    let seed = options.seed.unwrap_or_else(|| rand::random_range(0..1_000_000_000));
    println!("seed {seed}");
    let help_center = HelpCenter::start(options.data.as_deref()).await?;
    let material = Material::load(options.data.as_deref(), help_center.titles().await?)?;
    eprintln!("{} ordinary queries to start from", material.len());

    let end = Instant::now() + Duration::from_secs(options.seconds);
    let (number, report) = (AtomicU64::new(0), Mutex::new(Report::default()));
    let caller = || async {
        let record = |sent: &Sent, outcome: answer::Outcome| {
            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
            report.record(sent, outcome);
            report.failures() < ENOUGH_FAILURES
        };
        while Instant::now() < end {
            let sent = Sent::of(seed, number.fetch_add(1, Ordering::Relaxed), &material);
            let goes_on = record(&sent, help_center.search(&sent).await);
            if !(goes_on && record(&sent, help_center.complete(&sent).await)) {
                break;
            }
        }
    };
    futures::future::join_all((0..options.callers).map(|_| caller())).await;

    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.complaints.extend(help_center.complaints());
    report.print(seed);
    Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
