//! `make bench-chat DATA=folder`: how soon the assistant answers, and how many it can talk to.
//!
//! The help center is a judged collection, its questions are asked; the API and a worker are the real programs, one process each.
//! Latencies are those of a client that asks at a constant rate, whether earlier answers are there or not.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints tables and its progress")]

mod asking;
mod deployment;
mod percentiles;
mod reconnecting;
mod sockets;

use std::path::PathBuf;

use clap::Parser;

use deployment::Deployment;

/// What to measure.
#[derive(Debug, Parser)]
struct Options {
    /// A folder with judged collections.
    data: PathBuf,
    /// The collection that is the help center.
    #[arg(long, default_value = "stackfaq")]
    collection: String,
    /// Questions a second.
    #[arg(long, default_value_t = 5)]
    rate: u32,
    /// How long they are asked, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    /// How many are asked at once.
    #[arg(long, default_value_t = 20)]
    at_once: usize,
    /// How many sockets are open at once.
    #[arg(long, default_value_t = 10_000)]
    sockets: usize,
    /// On how many of them a question is asked.
    #[arg(long, default_value_t = 1_000)]
    answers: usize,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let mut deployment = Deployment::start(&options.data, &options.collection).await?;
    eprintln!("{} questions", deployment.questions.len());
    asking::at_rate(&deployment, options.rate, options.seconds).await?;
    asking::at_once(&deployment, options.at_once).await?;
    sockets::measure(&deployment, options.sockets, options.answers).await?;
    reconnecting::measure(&mut deployment, options.sockets, options.answers).await?;
    deployment.stop().await;
    Ok(())
}
