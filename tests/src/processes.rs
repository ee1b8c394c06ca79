//! The real programs, started as processes, to be killed.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use secrecy::ExposeSecret as _;
use tempfile::NamedTempFile;

use crate::{TestApp, variable};

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: NamedTempFile,
    /// Where its health and metrics are.
    pub metrics_url: String,
}

/// A built program, in the folder of the one that runs; tests are in `deps` there.
pub fn built(name: &str) -> PathBuf {
    let this = std::env::current_exe().unwrap();
    let folder = this.parent().unwrap();
    let folder = if folder.ends_with("deps") { folder.parent().unwrap() } else { folder };
    let path = folder.join(name);
    assert!(path.exists(), "{} is not built: run the tests with `make test`", path.display());
    path
}

/// A port that is free at this moment.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Program {
    /// Starts one of the product's programs for a test's database and queues.
    pub fn start(app: &TestApp, name: &str) -> Self {
        Self::start_with(app, name, &[])
    }

    /// Starts a program with more variables.
    pub fn start_with(app: &TestApp, name: &str, variables: &[(&str, &str)]) -> Self {
        let metrics = format!("127.0.0.1:{}", free_port());
        let log = NamedTempFile::new().unwrap();
        let child = Command::new(built(name))
            .env_clear()
            .env("DATABASE_URL", app.db.url.expose_secret())
            .env("REDIS_URL", app.queue_config.redis_url.expose_secret())
            .env("QUEUE_PREFIX", &app.queue_config.prefix)
            .env("QUEUE_LEASE_SECONDS", app.queue_config.lease.as_secs().to_string())
            .env("EMBEDDING_MODEL_DIR", variable("EMBEDDING_MODEL_DIR"))
            .env("METRICS_ADDRESS", &metrics)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen().unwrap())
            .spawn()
            .unwrap();
        Self { child, log, metrics_url: format!("http://{metrics}") }
    }

    /// Waits until it is ready.
    pub async fn ready(self) -> Self {
        let url = format!("{}/health/ready", self.metrics_url);
        for _ in 0..300 {
            if reqwest::get(&url).await.is_ok_and(|response| response.status().is_success()) {
                return self;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{url} is not ready after 15 seconds");
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    /// Kills it at once (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Asks it to stop (SIGTERM) and waits for its exit status.
    pub async fn terminate(mut self) -> std::process::ExitStatus {
        let status = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success());
        for _ in 0..600 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the program did not stop within 30 seconds");
    }
}

impl Drop for Program {
    #[expect(clippy::print_stdout, reason = "the test runner shows it when the test fails")]
    fn drop(&mut self) {
        if std::thread::panicking() {
            print!("{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
