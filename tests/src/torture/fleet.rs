//! The processes under test: started, killed, paused, and started again when they die.

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use rustix::process::{Pid, Signal};
use secrecy::{ExposeSecret as _, SecretString};
use shared::clock::Clock;
use tokio::process::Command;

use crate::proxy::Proxy;

/// How long a dead process stays away.
const AWAY: Duration = Duration::from_millis(100);

/// What a process is there for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Worker,
    /// A worker that no fault kills: its memory is watched.
    Witness,
    Scheduler,
    Enqueuer,
    /// Somebody who keeps the product's own jobs busy.
    Editor,
    Operator,
    Api,
    /// Somebody who asks the assistant. No fault is theirs: they are the observer.
    Asker,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Witness => "witness",
            Self::Scheduler => "scheduler",
            Self::Enqueuer => "enqueuer",
            Self::Editor => "editor",
            Self::Operator => "operator",
            Self::Api => "api",
            Self::Asker => "asker",
        }
    }

    /// What it writes to its log: of workers also what [`super::history`] reads there.
    fn log(self) -> &'static str {
        match self {
            Self::Worker | Self::Witness => "warn,shared::queue::worker::lease=debug",
            Self::Scheduler => "info",
            Self::Enqueuer | Self::Editor | Self::Operator | Self::Api | Self::Asker => "warn",
        }
    }
}

/// The end of a process that nobody asked to stop.
#[derive(Debug, Clone)]
pub(super) struct Death {
    pub(super) process: String,
    pub(super) at: DateTime<Utc>,
    pub(super) was_killed: bool,
}

/// What all processes share.
#[derive(Debug, Clone)]
pub(super) struct Ground {
    /// Where they keep logs and journals.
    pub(super) folder: PathBuf,
    pub(super) postgres_url: SecretString,
    pub(super) redis_url: SecretString,
    /// The program of another release, for every other process.
    pub(super) beside: Option<PathBuf>,
    pub(super) deaths: Arc<Mutex<Vec<Death>>>,
}

/// A place for one process at a time.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) role: Role,
    index: u32,
    /// Its ways to the servers.
    pub(super) postgres: Proxy,
    pub(super) redis: Proxy,
    arguments: Vec<String>,
    /// Beside those that all have.
    variables: Vec<(&'static str, String)>,
    ground: Ground,
    running: Mutex<Option<Running>>,
    is_stopping: AtomicBool,
}

#[derive(Debug, Clone)]
struct Running {
    pid: Pid,
    name: String,
    killed_at: Option<DateTime<Utc>>,
}

impl Slot {
    pub(super) async fn new(role: Role, index: u32, arguments: Vec<String>, ground: &Ground) -> Arc<Self> {
        Self::with_variables(role, index, arguments, Vec::new(), ground).await
    }

    pub(super) async fn with_variables(
        role: Role,
        index: u32,
        arguments: Vec<String>,
        variables: Vec<(&'static str, String)>,
        ground: &Ground,
    ) -> Arc<Self> {
        Arc::new(Self {
            role,
            index,
            postgres: Proxy::before(&ground.postgres_url).await,
            redis: Proxy::before(&ground.redis_url).await,
            arguments,
            variables,
            ground: ground.clone(),
            running: Mutex::new(None),
            is_stopping: AtomicBool::new(false),
        })
    }

    /// Keeps a process running until it is to stop and has.
    pub(super) async fn keep_running(self: Arc<Self>) {
        let mut incarnation = 0;
        while !self.is_stopping.load(Ordering::SeqCst) {
            incarnation += 1;
            self.run_one(incarnation).await;
            tokio::time::sleep(AWAY).await;
        }
    }

    async fn run_one(&self, incarnation: u32) {
        let name = format!("{}-{}.{incarnation}", self.role.name(), self.index);
        let mut child = self.command(&name).spawn().unwrap();
        let pid = Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        *self.running.lock().unwrap() = Some(Running { pid, name: name.clone(), killed_at: None });
        child.wait().await.unwrap();
        let ended = self.running.lock().unwrap().take();
        if !self.is_stopping.load(Ordering::SeqCst) {
            let killed_at = ended.and_then(|running| running.killed_at);
            let at = killed_at.unwrap_or_else(|| Clock::system().now());
            self.ground.deaths.lock().unwrap().push(Death { process: name, at, was_killed: killed_at.is_some() });
        }
    }

    fn command(&self, name: &str) -> Command {
        let folder = &self.ground.folder;
        let log = std::fs::File::create(folder.join(format!("{name}.log"))).unwrap();
        let mut postgres = url::Url::parse(self.postgres.url(&self.ground.postgres_url).expose_secret()).unwrap();
        // How the observer inside the database knows who did it.
        postgres.query_pairs_mut().append_pair("options[torture.process]", name);
        let own = || std::env::current_exe().unwrap();
        let other = self.ground.beside.clone().filter(|_| self.index % 2 == 1);
        let mut command = Command::new(other.unwrap_or_else(own));
        let journal = folder.join(format!("{name}.journal")).display().to_string();
        match self.role {
            Role::Worker | Role::Witness => command.args(["worker", &journal]),
            Role::Scheduler => command.arg("scheduler"),
            Role::Enqueuer => command.args(["enqueuer", &journal]),
            Role::Editor => command.args(["editor", &journal]),
            Role::Operator => command.arg("operator"),
            Role::Api => command.arg("api"),
            Role::Asker => command.args(["asker", &journal]),
        };
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.variables.iter().cloned())
            .env("DATABASE_URL", postgres.as_str())
            .env("DATABASE_MAX_CONNECTIONS", "10")
            .env("REDIS_URL", self.redis.url(&self.ground.redis_url).expose_secret())
            .env("QUEUE_PREFIX", "torture")
            .env("QUEUE_LEASE_SECONDS", super::LEASE.as_secs().to_string())
            .env("QUEUE_REDIS_TIMEOUT_SECONDS", "1")
            .env("WORKER_CONCURRENCY", "16")
            .env("WORKER_GRACE_SECONDS", "10")
            .env("RUST_LOG", self.role.log())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .process_group(0)
            .kill_on_drop(true);
        if self.role == Role::Witness {
            // Where no job kills its worker.
            command.env("WORKER_QUEUES", "maintenance");
        }
        command
    }

    pub(super) fn uses_redis(&self) -> bool {
        matches!(self.role, Role::Worker | Role::Witness | Role::Api)
    }

    /// The process that runs at this moment.
    pub(super) fn name(&self) -> Option<String> {
        self.running.lock().unwrap().as_ref().map(|running| running.name.clone())
    }

    pub(super) fn pid(&self) -> Option<Pid> {
        self.running.lock().unwrap().as_ref().map(|running| running.pid)
    }

    /// Sends a signal; whether there was a process.
    pub(super) fn signal(&self, signal: Signal) -> bool {
        let mut running = self.running.lock().unwrap();
        let Some(running) = running.as_mut() else { return false };
        if signal == Signal::KILL {
            running.killed_at = Some(Clock::system().now());
        }
        rustix::process::kill_process(running.pid, signal).is_ok()
    }

    /// Tells the process to stop for good.
    pub(super) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        self.signal(Signal::CONT);
        self.signal(Signal::TERM);
    }

    /// Its resident memory, in bytes.
    pub(super) fn memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()?.as_raw_nonzero())).ok()?;
        let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
        Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
    }
}
