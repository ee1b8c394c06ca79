//! What every measured queue does on command, one line of text each, and how it answers, one line of JSON each.
//!
//! | command | what | answer |
//! |---|---|---|
//! | `add N CALLERS` | adds N jobs, one a call, from so many callers at once | `jobs`, `seconds` |
//! | `add_many N` | adds N jobs, a thousand a call | `jobs`, `seconds` |
//! | `fill N` | the same, and lets them arrive where workers find them | `jobs`, `seconds` |
//! | `load RATE SECONDS` | adds jobs at a rate, whether or not earlier ones were added yet | `jobs`, `seconds` |
//! | `empty` | waits until no job is open | `at_us` |
//! | `clear` | forgets all jobs | `cleared` |
//! | `go KIND [latencies]` | works on jobs of that kind, and tells again and again how many were `handled` | nothing |
//! | `stop` | ends the work once what runs is recorded | `stopped` |
//!
//! The first answer is `ready` with what the queue is, in which version; a command that cannot be done is answered with
//! `error`. A program ends when its input ends.
//! Times are microseconds since 1970, by the one clock of the machine.

use std::{
    collections::BTreeMap,
    fmt::Display,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tokio::{
    sync::mpsc,
    task::{JoinHandle, JoinSet},
};
use tokio_util::sync::CancellationToken;

/// How many jobs one call adds.
const BULK: usize = 1000;
/// Jobs that ended are counted by when: the width of a bin.
const BIN_US: u64 = 10_000;
const PROGRESS_EVERY: Duration = Duration::from_millis(20);

/// A queue, as its users use it.
pub(crate) trait Side: Send + Sync + 'static {
    /// Its name and version.
    const ABOUT: &'static str;
    /// Adds a job that carries [`now_us`].
    fn add(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Adds many in one call.
    fn add_many(&self, jobs: usize) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Lets what was added arrive where workers find it, where that is a step of its own.
    fn arrive(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Whether no job is open.
    fn is_empty(&self) -> impl Future<Output = anyhow::Result<bool>> + Send;
    /// Forgets all jobs.
    fn clear(&self) -> impl Future<Output = anyhow::Result<()>> + Send;
    /// Runs jobs, each by [`Recorder::run`], until told to stop and what ran is recorded.
    fn work(&self, recorder: Arc<Recorder>, stop: CancellationToken)
    -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_micros()).unwrap_or(u64::MAX)
}

/// What the jobs of the benchmark do: wait as their kind says, and count.
#[derive(Debug)]
pub(crate) struct Recorder {
    pause: Option<Duration>,
    keeps_latencies: bool,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    handled: u64,
    first_us: Option<u64>,
    last_us: u64,
    paused: Duration,
    bins: BTreeMap<u64, u64>,
    latencies_us: Vec<u64>,
}

impl Recorder {
    fn new(kind: &str, keeps_latencies: bool) -> anyhow::Result<Arc<Self>> {
        let pause = match kind {
            "noop" => None,
            "1ms" => Some(Duration::from_millis(1)),
            other => anyhow::bail!("`{other}` is no kind of job"),
        };
        Ok(Arc::new(Self { pause, keeps_latencies, counts: Mutex::default() }))
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A job that was added at that time.
    pub(crate) async fn run(&self, added_us: u64) {
        let started_us = now_us();
        let pausing = Instant::now();
        if let Some(pause) = self.pause {
            // Tokio's own timer knows whole milliseconds, and would make two of one.
            async_io::Timer::after(pause).await;
        }
        let paused = pausing.elapsed();
        let mut counts = self.counts();
        counts.paused += paused;
        counts.first_us.get_or_insert(started_us);
        if self.keeps_latencies {
            counts.latencies_us.push(started_us.saturating_sub(added_us));
        }
        counts.last_us = now_us();
        let bin = counts.last_us / BIN_US;
        *counts.bins.entry(bin).or_default() += 1;
        counts.handled += 1;
    }
}

struct Working {
    recorder: Arc<Recorder>,
    stop: CancellationToken,
    work: JoinHandle<anyhow::Result<()>>,
    progress: JoinHandle<()>,
}

/// Does what standard input says, until it ends.
pub(crate) async fn serve<S: Side>(side: S) -> anyhow::Result<()> {
    let side = Arc::new(side);
    answer(&json!({ "ready": S::ABOUT }));
    let mut lines = input();
    let mut working = None;
    while let Some(line) = lines.recv().await {
        match obey(&side, &line, &mut working).await {
            Ok(Some(said)) => answer(&said),
            Ok(None) => {}
            Err(error) => answer(&json!({ "error": format!("{error:#}") })),
        }
    }
    Ok(())
}

/// The lines of standard input, read by a thread of its own.
fn input() -> mpsc::UnboundedReceiver<String> {
    let (sender, lines) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

async fn obey<S: Side>(side: &Arc<S>, line: &str, working: &mut Option<Working>) -> anyhow::Result<Option<Value>> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match words.as_slice() {
        ["add", jobs, callers] => add(side, jobs.parse()?, callers.parse()?).await.map(Some),
        ["add_many", jobs] => add_many(side, jobs.parse()?).await.map(Some),
        ["fill", jobs] => {
            let added = add_many(side, jobs.parse()?).await?;
            side.arrive().await?;
            Ok(Some(added))
        }
        ["load", rate, seconds] => load(side, rate.parse()?, seconds.parse()?).await.map(Some),
        ["empty"] => {
            while !side.is_empty().await? {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Ok(Some(json!({ "at_us": now_us() })))
        }
        ["clear"] => {
            side.clear().await?;
            Ok(Some(json!({ "cleared": true })))
        }
        ["go", kind, options @ ..] => {
            *working = Some(go(side, kind, options.contains(&"latencies"))?);
            Ok(None)
        }
        ["stop"] => {
            let working = working.take().ok_or_else(|| anyhow::anyhow!("nothing runs"))?;
            stop(working).await.map(Some)
        }
        _ => anyhow::bail!("`{line}` is no command"),
    }
}

async fn add<S: Side>(side: &Arc<S>, jobs: usize, callers: usize) -> anyhow::Result<Value> {
    let next = Arc::new(AtomicUsize::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (side, next) = (Arc::clone(side), Arc::clone(&next));
        tasks.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < jobs {
                side.add().await?;
            }
            anyhow::Ok(())
        });
    }
    all(tasks).await?;
    Ok(timed(jobs, started))
}

async fn add_many<S: Side>(side: &Arc<S>, jobs: usize) -> anyhow::Result<Value> {
    let started = Instant::now();
    let mut left = jobs;
    while left > 0 {
        let some = left.min(BULK);
        side.add_many(some).await?;
        left -= some;
    }
    Ok(timed(jobs, started))
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of jobs are small")]
async fn load<S: Side>(side: &Arc<S>, rate: f64, seconds: f64) -> anyhow::Result<Value> {
    let jobs = (rate * seconds) as usize;
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    let mut sent = 0;
    while sent < jobs {
        let due = ((started.elapsed().as_secs_f64() * rate) as usize).min(jobs);
        while sent < due {
            let side = Arc::clone(side);
            tasks.spawn(async move { side.add().await });
            sent += 1;
        }
        while let Some(ended) = tasks.try_join_next() {
            ended??;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    all(tasks).await?;
    Ok(timed(jobs, started))
}

async fn all(mut tasks: JoinSet<anyhow::Result<()>>) -> anyhow::Result<()> {
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

fn timed(jobs: usize, started: Instant) -> Value {
    json!({ "jobs": jobs, "seconds": started.elapsed().as_secs_f64() })
}

fn go<S: Side>(side: &Arc<S>, kind: &str, keeps_latencies: bool) -> anyhow::Result<Working> {
    let recorder = Recorder::new(kind, keeps_latencies)?;
    let stop = CancellationToken::new();
    let work = {
        let (side, recorder, stop) = (Arc::clone(side), Arc::clone(&recorder), stop.clone());
        tokio::spawn(async move { side.work(recorder, stop).await })
    };
    let progress = {
        let recorder = Arc::clone(&recorder);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(PROGRESS_EVERY).await;
                let handled = recorder.counts().handled;
                answer(&json!({ "handled": handled }));
            }
        })
    };
    Ok(Working { recorder, stop, work, progress })
}

async fn stop(working: Working) -> anyhow::Result<Value> {
    working.stop.cancel();
    working.work.await??;
    working.progress.abort();
    let counts = working.recorder.counts();
    Ok(json!({ "stopped": {
        "handled": counts.handled,
        "first_us": counts.first_us,
        "last_us": counts.last_us,
        "paused_us": u64::try_from(counts.paused.as_micros()).unwrap_or(u64::MAX),
        "bin_us": BIN_US,
        "bins": counts.bins.iter().collect::<Vec<_>>(),
        "latencies_us": counts.latencies_us,
    }}))
}

#[expect(clippy::print_stdout, reason = "how the program that measures is answered")]
fn answer(said: &impl Display) {
    println!("{said}");
}
