//! What is measured, and how.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::Context as _;

use crate::{
    Options,
    process::{Process, Program, Stopped},
    report::{Better, Table},
    servers::{self, Servers},
};

/// Up to this backlog, the moment in which it is done is watched for from the start; watching more would cost something.
const SMALL: u64 = 10_000;
const CALLERS: usize = 64;
const IDLE_RATE: f64 = 50.0;
/// How long after the start of a worker its latencies are looked at.
const SETTLE: Duration = Duration::from_secs(1);
/// A backlog that takes longer to enqueue is not measured.
const FILL_AT_MOST_SECONDS: f64 = 120.0;

/// A queue with its programs.
pub(crate) struct Side {
    pub(crate) name: String,
    pub(crate) adder: Process,
    pub(crate) workers: Vec<Process>,
    /// How many jobs are in the queue.
    waiting: u64,
    /// How many are enqueued in a second, a thousand a call.
    bulk_rate: f64,
}

/// How fast a backlog was worked off.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Drained {
    pub(crate) jobs: u64,
    /// Jobs a second, from the first start to the last record of an end.
    pub(crate) rate: f64,
    /// Jobs a second, of the middle half.
    pub(crate) steady: f64,
    /// How long a job waited in the mean, in ms.
    pub(crate) pause: f64,
}

/// Measures everything, prints a table for each part.
pub(crate) async fn run(options: &Options, servers: &Servers) -> anyhow::Result<()> {
    println!("{}\n{}", servers::machine(), servers.about().await?);
    let most = options.workers.iter().copied().max().unwrap_or(1);
    let mut sides = Vec::new();
    for (name, program) in &servers.sides {
        match Side::start(name, program, most).await {
            Ok(side) => {
                println!("{name}: {}", side.adder.about);
                sides.push(side);
            }
            Err(error) => println!("{name} cannot be measured: {error:#}"),
        }
    }
    println!("{} jobs run at once in each worker process.\n", options.concurrency);
    let has = |measure: &str| options.measures.iter().any(|m| m == measure);
    if has("enqueue") {
        enqueue(options, servers, &mut sides).await?;
    }
    if has("process") {
        process(options, &mut sides).await;
    }
    if has("latency") {
        latency(options, &mut sides).await;
    }
    Ok(())
}

async fn enqueue(options: &Options, servers: &Servers, sides: &mut Vec<Side>) -> anyhow::Result<()> {
    let mut table = Table::new("Enqueued, jobs a second", Better::More, sides);
    // As Redis is set up by most, and as PostgreSQL is: what was answered is on disk.
    for (fsync, when) in [("everysec", ""), ("always", ", Redis writing to disk before it answers")] {
        servers.write_to_disk(fsync).await?;
        for (how, command) in [
            ("one at a time", format!("add {} 1", options.window / 50)),
            ("from 64 callers", format!("add {} {CALLERS}", options.window / 5)),
            ("1000 a call", format!("add_many {}", options.window)),
        ] {
            let label = format!("{how}{when}");
            for _ in 0..options.runs {
                for_each(sides, async |side| {
                    let added = side.adder.add(&command).await?;
                    eprintln!("{label}: {} {:.0}", side.name, added.rate());
                    side.clear().await?;
                    table.add(&label, &side.name, added.rate());
                    Ok(())
                })
                .await;
            }
        }
    }
    servers.write_to_disk("everysec").await?;
    table.print();
    Ok(())
}

async fn process(options: &Options, sides: &mut Vec<Side>) {
    let mut rates = Table::new("Processed, jobs a second from the first start to the last end", Better::More, sides);
    let mut steady = Table::new("Processed, jobs a second in the middle half", Better::More, sides);
    let mut pauses = Table::new("How long a job of 1 ms really waited, ms", Better::Less, sides);
    for backlog in &options.backlogs {
        let is_deep = *backlog > options.window;
        let runs = if *backlog > SMALL { 1 } else { options.runs };
        let mut drain = async |sides: &mut Vec<Side>| {
            for kind in &options.jobs {
                for workers in &options.workers {
                    let label =
                        format!("{kind}, {backlog} waiting, {workers} worker{}", if *workers == 1 { "" } else { "s" });
                    for _ in 0..runs {
                        for_each(sides, async |side| {
                            if side.fill_seconds(*backlog) > FILL_AT_MOST_SECONDS {
                                eprintln!("{label}: {} takes too long to enqueue so many", side.name);
                                return Ok(());
                            }
                            let drained = side.drain(options, kind, *workers, *backlog).await?;
                            eprintln!("{label}: {} {:.0}, steady {:.0}", side.name, drained.rate, drained.steady);
                            rates.add(&label, &side.name, drained.rate);
                            steady.add(&label, &side.name, drained.steady);
                            if kind != "noop" {
                                pauses.add(&label, &side.name, drained.pause);
                            }
                            Ok(())
                        })
                        .await;
                    }
                }
            }
            for_each(sides, Side::clear).await;
        };
        if is_deep {
            // One after the other, so that no server holds the backlogs of all.
            for side in std::mem::take(sides) {
                let mut alone = vec![side];
                drain(&mut alone).await;
                sides.append(&mut alone);
            }
        } else {
            drain(sides).await;
        }
    }
    rates.print();
    steady.print();
    pauses.print();
}

async fn latency(options: &Options, sides: &mut Vec<Side>) {
    let mut table = Table::new("From enqueue to start, ms, 1 worker", Better::Less, sides);
    let mut loads = Table::new("That load, jobs a second", Better::More, sides);
    for_each(sides, async |side| {
        let idle = side.latencies(IDLE_RATE, options.seconds).await?;
        table.add("idle (50 a second), p50", &side.name, percentile(&idle, 0.50));
        table.add("idle (50 a second), p99", &side.name, percentile(&idle, 0.99));
        let load = side.saturation(options).await? / 2.0;
        loads.add("half of what is enqueued one by one and processed in a second", &side.name, load);
        eprintln!("latency: {} under {load:.0} a second", side.name);
        let loaded = side.latencies(load, options.seconds).await?;
        table.add("under load, p50", &side.name, percentile(&loaded, 0.50));
        table.add("under load, p99", &side.name, percentile(&loaded, 0.99));
        Ok(())
    })
    .await;
    table.print();
    loads.print();
}

/// A side that fails is reported and left out from then on.
async fn for_each(sides: &mut Vec<Side>, mut measure: impl AsyncFnMut(&mut Side) -> anyhow::Result<()>) {
    let mut place = 0;
    while let Some(side) = sides.get_mut(place) {
        match measure(side).await {
            Ok(()) => place += 1,
            Err(error) => {
                println!("{} failed and is left out from here on: {error:#}\n", side.name);
                drop(sides.remove(place));
            }
        }
    }
}

impl Side {
    /// Starts the programs and lets each run some jobs, so that none is measured cold.
    pub(crate) async fn start(name: &str, program: &Program, workers: usize) -> anyhow::Result<Self> {
        let adder = Process::start(program).await?;
        let mut side = Self { name: name.to_owned(), adder, workers: Vec::new(), waiting: 0, bulk_rate: f64::INFINITY };
        for _ in 0..workers {
            side.workers.push(Process::start(program).await?);
        }
        side.clear().await?;
        for worker in &mut side.workers {
            side.bulk_rate = side.adder.add("fill 2000").await?.rate();
            worker.tell("go noop").await?;
            side.adder.ask("empty").await?;
            worker.stop().await?;
        }
        Ok(side)
    }

    pub(crate) async fn clear(&mut self) -> anyhow::Result<()> {
        self.adder.ask("clear").await?;
        self.waiting = 0;
        Ok(())
    }

    fn fill_seconds(&self, backlog: u64) -> f64 {
        float(backlog.saturating_sub(self.waiting)) / self.bulk_rate
    }

    /// Lets workers loose on a backlog. Of one above the window as much as the window is worked off, and as much is new.
    pub(crate) async fn drain(
        &mut self,
        options: &Options,
        kind: &str,
        workers: usize,
        backlog: u64,
    ) -> anyhow::Result<Drained> {
        let window = backlog.min(options.window);
        let old = (backlog - window).saturating_sub(self.waiting);
        if old > 0 {
            self.waiting += self.adder.add(&format!("fill {old}")).await?.jobs;
        }
        let new = backlog.saturating_sub(self.waiting);
        if new > 0 {
            self.waiting += self.adder.add(&format!("add_many {new}")).await?.jobs;
        }
        let working = self.workers.get_mut(..workers).context("too few workers")?;
        for worker in working.iter_mut() {
            worker.tell(&format!("go {kind}")).await?;
        }
        let deadline = Instant::now() + Duration::from_secs(options.seconds);
        let mut ended_us = None;
        if backlog <= SMALL {
            ended_us = Some(self.adder.at("empty").await?);
        } else {
            let is_done = |working: &[Process]| working.iter().map(Process::handled).sum::<u64>() >= window;
            while !is_done(working) && Instant::now() < deadline {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            if is_done(working) && backlog == window {
                ended_us = Some(self.adder.at("empty").await?);
            }
        }
        let mut stopped = Vec::new();
        for worker in working.iter_mut() {
            stopped.push(worker.stop().await?);
        }
        let drained = Drained::of(&stopped, ended_us)?;
        self.waiting = self.waiting.saturating_sub(drained.jobs);
        Ok(drained)
    }

    /// Enqueue to start, in ms, ascending, of jobs that are added at a rate while one worker works.
    async fn latencies(&mut self, rate: f64, seconds: u64) -> anyhow::Result<Vec<f64>> {
        let worker = self.workers.first_mut().context("no worker")?;
        worker.tell("go noop latencies").await?;
        tokio::time::sleep(SETTLE).await;
        self.adder.ask(&format!("load {rate} {seconds}")).await?;
        self.adder.ask("empty").await?;
        let stopped = worker.stop().await?;
        let mut latencies: Vec<f64> = stopped.latencies_us.iter().map(|us| float(*us) / 1000.0).collect();
        latencies.sort_by(f64::total_cmp);
        Ok(latencies)
    }

    /// How many jobs a second are enqueued one by one and processed by one worker, when both take turns.
    async fn saturation(&mut self, options: &Options) -> anyhow::Result<f64> {
        let added = self.adder.add(&format!("add {} {CALLERS}", options.window / 5)).await?;
        self.waiting += added.jobs;
        let drained = self.drain(options, "noop", 1, added.jobs).await?;
        self.clear().await?;
        Ok(1.0 / (1.0 / added.rate() + 1.0 / drained.rate))
    }
}

impl Drained {
    fn of(stopped: &[Stopped], ended_us: Option<u64>) -> anyhow::Result<Self> {
        let jobs = stopped.iter().map(|s| s.handled).sum();
        let pause = float(stopped.iter().map(|s| s.paused_us).sum()) / float(jobs) / 1000.0;
        let first_us = stopped.iter().filter_map(|s| s.first_us).min().context("no job was started")?;
        let last_us = stopped.iter().map(|s| s.last_us).max().unwrap_or(first_us);
        let seconds = |us: u64| float(us.max(1)) / 1e6;
        let rate = float(jobs) / seconds(ended_us.unwrap_or(last_us).saturating_sub(first_us));
        let mut bins: BTreeMap<u64, u64> = BTreeMap::new();
        for side in stopped {
            for (bin, count) in &side.bins {
                *bins.entry(bin * side.bin_us).or_default() += count;
            }
        }
        // From the end of the bin in which a quarter was done to the end of that in which three quarters were.
        let mut done = 0;
        let (mut from, mut to) = (None, None);
        for (at, count) in bins {
            done += count;
            if from.is_none() && done * 4 >= jobs {
                from = Some((at, done));
            }
            if to.is_none() && done * 4 >= jobs * 3 {
                to = Some((at, done));
            }
        }
        let steady = match (from, to) {
            (Some((from_us, from)), Some((to_us, to))) if to_us > from_us => {
                float(to - from) / seconds(to_us - from_us)
            }
            _ => rate,
        };
        Ok(Self { jobs, rate, steady, pause })
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index of a list"
)]
fn percentile(sorted: &[f64], part: f64) -> f64 {
    let place = (sorted.len() as f64 * part).ceil() as usize;
    sorted.get(place.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}

#[expect(clippy::cast_precision_loss, reason = "counts and durations are below 2^53")]
fn float(count: u64) -> f64 {
    count as f64
}
