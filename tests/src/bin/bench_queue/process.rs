//! A measured program: started, told what to do, and gone when dropped.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::mpsc,
};

/// How long any command may take; filling a million jobs is the longest.
const PATIENCE: Duration = Duration::from_secs(600);

/// How to start a program of a side.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    pub(crate) command: Vec<String>,
    pub(crate) variables: Vec<(String, String)>,
}

/// A running program.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    input: ChildStdin,
    answers: mpsc::UnboundedReceiver<Value>,
    handled: Arc<AtomicU64>,
    /// Which queue it is of, in which version.
    pub(crate) about: String,
}

/// What a worker says when it has stopped.
#[derive(Debug, Deserialize)]
pub(crate) struct Stopped {
    pub(crate) handled: u64,
    pub(crate) first_us: Option<u64>,
    pub(crate) last_us: u64,
    /// How long its jobs waited, together.
    pub(crate) paused_us: u64,
    pub(crate) bin_us: u64,
    pub(crate) bins: Vec<(u64, u64)>,
    pub(crate) latencies_us: Vec<u64>,
}

/// How long it took to add so many jobs.
#[derive(Debug, Deserialize)]
pub(crate) struct Timed {
    pub(crate) jobs: u64,
    pub(crate) seconds: f64,
}

impl Timed {
    #[expect(clippy::cast_precision_loss, reason = "counts of jobs are small")]
    pub(crate) fn rate(&self) -> f64 {
        self.jobs as f64 / self.seconds
    }
}

impl Process {
    /// Starts it and waits until it is ready.
    pub(crate) async fn start(program: &Program) -> anyhow::Result<Self> {
        let (name, arguments) = program.command.split_first().context("no command")?;
        let mut child = Command::new(name)
            .args(arguments)
            .envs(program.variables.iter().cloned())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let input = child.stdin.take().context("no input")?;
        let output = child.stdout.take().context("no output")?;
        let (sender, answers) = mpsc::unbounded_channel();
        let handled = Arc::new(AtomicU64::new(0));
        tokio::spawn(listen(output, sender, Arc::clone(&handled)));
        let mut process = Self { child, input, answers, handled, about: String::new() };
        process.answer().await?["ready"].as_str().unwrap_or_default().clone_into(&mut process.about);
        Ok(process)
    }

    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Gives a command that has no answer.
    pub(crate) async fn tell(&mut self, command: &str) -> anyhow::Result<()> {
        self.handled.store(0, Ordering::Relaxed);
        Ok(self.input.write_all(format!("{command}\n").as_bytes()).await?)
    }

    /// Gives a command and waits for its answer.
    pub(crate) async fn ask(&mut self, command: &str) -> anyhow::Result<Value> {
        self.input.write_all(format!("{command}\n").as_bytes()).await?;
        self.answer().await.with_context(|| format!("`{command}`"))
    }

    /// Gives a command that adds jobs.
    pub(crate) async fn add(&mut self, command: &str) -> anyhow::Result<Timed> {
        Ok(serde_json::from_value(self.ask(command).await?)?)
    }

    /// Gives a command and waits for the time in its answer, in microseconds since 1970.
    pub(crate) async fn at(&mut self, command: &str) -> anyhow::Result<u64> {
        self.ask(command).await?["at_us"].as_u64().context("no time in the answer")
    }

    /// Ends the work.
    pub(crate) async fn stop(&mut self) -> anyhow::Result<Stopped> {
        let mut answer = self.ask("stop").await?;
        Ok(serde_json::from_value(answer["stopped"].take())?)
    }

    /// How many jobs were handled since it was told to go.
    pub(crate) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    async fn answer(&mut self) -> anyhow::Result<Value> {
        let answer = tokio::time::timeout(PATIENCE, self.answers.recv())
            .await
            .context("no answer in time")?
            .context("the program ended")?;
        if let Some(error) = answer.get("error") {
            bail!("{}", error.as_str().unwrap_or_default());
        }
        Ok(answer)
    }
}

async fn listen(output: ChildStdout, sender: mpsc::UnboundedSender<Value>, handled: Arc<AtomicU64>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        // What a library prints of itself is no answer.
        let Ok(answer) = serde_json::from_str::<Value>(&line) else { continue };
        match answer.get("handled").and_then(Value::as_u64) {
            Some(count) => handled.store(count, Ordering::Relaxed),
            None => {
                if sender.send(answer).is_err() {
                    return;
                }
            }
        }
    }
}
