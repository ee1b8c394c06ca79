//! PostgreSQL and Redis servers of the torture's own, durable, to be killed, emptied and replaced.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use rustix::process::{Pid, Signal};
use secrecy::SecretString;
use tokio::process::{Child, Command};
use uuid::Uuid;

/// How long a server may take to come up, recovery included.
const PATIENCE: Duration = Duration::from_secs(60);
pub(super) const POSTGRES_CONNECTIONS: u32 = 150;
const OWNER: &str = "torture_owner";
const SERVICE: &str = "torture_service";

/// A program that gets the signal when this process ends, as another user where it refuses to be root.
fn command(program: &Path, account: Option<Account>, ends_with: &str) -> Command {
    if !cfg!(target_os = "linux") {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", ends_with]);
    if let Some(Account { user, group }) = account {
        command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).arg("--clear-groups");
    }
    command.arg("--").arg(program);
    command
}

#[derive(Debug, Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

/// PostgreSQL does not run as root: then it runs as nobody.
fn account() -> Option<Account> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let accounts = fs::read_to_string("/etc/passwd").unwrap();
    let nobody = accounts.lines().find(|line| line.starts_with("nobody:")).unwrap();
    let mut ids = nobody.split(':').skip(2).map(|id| id.parse().unwrap());
    Some(Account { user: ids.next().unwrap(), group: ids.next().unwrap() })
}

/// A free port below those from which systems take ports for outgoing connections, so that it stays free over a restart.
pub(super) fn free_port() -> u16 {
    (0..1000)
        .map(|_| rand::random_range(20_000..32_000))
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port between 20000 and 32000")
}

fn log(path: &Path) -> Stdio {
    Stdio::from(fs::OpenOptions::new().create(true).append(true).open(path).unwrap())
}

/// Whether a server and its children may write to files at all. Where they may not, writing fails as on a full disk.
async fn let_write(child: Option<&Child>, account: Option<Account>, may_write: bool) {
    let Some(pid) = child.and_then(Child::id) else { return };
    let limit = if may_write { "--fsize=unlimited:" } else { "--fsize=0:" };
    // As the server's own user: even root may not change the limits of others everywhere.
    let set = async |pid: &str| {
        let mut prlimit = command(Path::new("prlimit"), account, "KILL");
        // It fails for a process that has just ended.
        let _ = prlimit.args(["--pid", pid, limit]).stdin(Stdio::null()).stderr(Stdio::null()).status().await;
    };
    // A child that is started in this moment has the limit of its parent: so the parent first.
    set(&pid.to_string()).await;
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    for child in children.split_whitespace() {
        set(child).await;
    }
}

async fn end(child: &mut Option<Child>, signal: Signal) {
    let Some(mut child) = child.take() else { return };
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = rustix::process::kill_process(pid, signal);
    }
    if tokio::time::timeout(PATIENCE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// The truth.
#[derive(Debug)]
pub(super) struct Postgres {
    programs: PathBuf,
    folder: PathBuf,
    log: PathBuf,
    port: u16,
    password: String,
    account: Option<Account>,
    child: Option<Child>,
}

impl Postgres {
    /// Makes a cluster with an empty database in a new folder, and starts it.
    pub(super) async fn create(programs: &Path, folder: &Path) -> Self {
        let home = folder.join("postgres");
        fs::create_dir(&home).unwrap();
        let mut postgres = Self {
            programs: programs.to_owned(),
            log: folder.join("postgres.log"),
            folder: home,
            port: free_port(),
            password: Uuid::new_v4().simple().to_string(),
            account: account(),
            child: None,
        };
        postgres.initialise().await;
        postgres.start().await;
        postgres
    }

    async fn initialise(&self) {
        let password = self.folder.join("password");
        fs::write(&password, &self.password).unwrap();
        if let Some(Account { user, group }) = self.account {
            for path in [&self.folder, &password] {
                std::os::unix::fs::chown(path, Some(user), Some(group)).unwrap();
            }
        }
        let mut initdb = command(&self.programs.join("initdb"), self.account, "KILL");
        initdb
            .arg(format!("--pgdata={}", self.folder.join("data").display()))
            .arg(format!("--username={OWNER}"))
            .arg(format!("--pwfile={}", password.display()))
            .args(["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--locale-provider=builtin"])
            .args(["--builtin-locale=C.UTF-8", "--no-sync"]);
        let made = self.clean(&mut initdb).stdin(Stdio::null()).output().await.unwrap();
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
    }

    /// Without the caller's PGDATA and the like.
    fn clean<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        let path = "/usr/local/bin:/usr/bin:/bin";
        command.env_clear().env("PATH", path).env("HOME", &self.folder).env("LC_ALL", "C").current_dir(&self.folder)
    }

    pub(super) async fn start(&mut self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            self.launch();
            while tokio::time::Instant::now() < deadline {
                if self.is_ready() {
                    return;
                }
                // After a kill, the children of the old server hold its memory for a moment longer.
                if self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some())) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            assert!(
                tokio::time::Instant::now() < deadline,
                "PostgreSQL does not start; its log is {}",
                self.log.display()
            );
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    fn launch(&mut self) {
        let settings = [
            format!("port={}", self.port),
            "listen_addresses=127.0.0.1".into(),
            "unix_socket_directories=".into(),
            "timezone=UTC".into(),
            format!("max_connections={POSTGRES_CONNECTIONS}"),
            "shared_buffers=256MB".into(),
            "max_wal_size=2GB".into(),
            "autovacuum_naptime=5".into(),
            "log_min_messages=log".into(),
            "log_min_error_statement=panic".into(),
        ];
        let mut postgres = command(&self.programs.join("postgres"), self.account, "QUIT");
        postgres.arg("-D").arg(self.folder.join("data"));
        for setting in settings {
            postgres.arg("-c").arg(setting);
        }
        let postgres = self.clean(&mut postgres).stdin(Stdio::null()).stdout(log(&self.log)).stderr(log(&self.log));
        self.child = Some(postgres.process_group(0).spawn().unwrap());
    }

    /// Fills its disk, or makes room again.
    pub(super) async fn let_write(&self, may_write: bool) {
        let_write(self.child.as_ref(), self.account, may_write).await;
    }

    /// Waits until it is up, and starts it when it gave up.
    pub(super) async fn recover(&mut self) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.is_ready() && tokio::time::Instant::now() < deadline {
            if self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some())) {
                return self.start().await;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn is_ready(&self) -> bool {
        let Some(pid) = self.child.as_ref().and_then(Child::id) else { return false };
        let lock = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        let lines: Vec<&str> = lock.lines().collect();
        lines.first() == Some(&pid.to_string().as_str()) && lines.get(7).is_some_and(|state| state.trim() == "ready")
    }

    /// Ends every connection and writes everything down, or (immediately) does not even do that.
    pub(super) async fn stop(&mut self, immediately: bool) {
        end(&mut self.child, if immediately { Signal::QUIT } else { Signal::INT }).await;
    }

    fn url(&self, login: &str, password: &str) -> SecretString {
        SecretString::from(format!("postgres://{login}:{password}@127.0.0.1:{}/torture", self.port))
    }

    pub(super) fn owner_url(&self) -> SecretString {
        self.url(OWNER, &self.password)
    }

    pub(super) fn service_url(&self) -> SecretString {
        self.url(SERVICE, SERVICE)
    }
}

/// What is lost when Redis dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    /// Nothing that was flushed.
    Nothing,
    /// The end of the append-only file, in bytes.
    Tail(u64),
    /// Everything.
    Everything,
    /// What happened since a copy was made.
    SinceCopy,
}

/// The dispatcher.
#[derive(Debug)]
pub(super) struct Redis {
    program: PathBuf,
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Redis {
    pub(super) async fn create(programs: &Path, folder: &Path) -> Self {
        let folder = folder.join("redis");
        fs::create_dir(&folder).unwrap();
        let mut redis = Self { program: programs.join("valkey-server"), folder, port: free_port(), child: None };
        redis.start("everysec").await;
        redis
    }

    pub(super) async fn start(&mut self, flushing: &str) {
        // Or the first write to a full disk would end it.
        let mut redis = command(Path::new("env"), None, "KILL");
        redis.arg("--ignore-signal=XFSZ").arg(&self.program);
        redis.args(["--bind", "127.0.0.1", "--port", &self.port.to_string(), "--save", "", "--appendonly", "yes"]);
        redis.args(["--appendfsync", flushing, "--aof-load-truncated", "yes", "--maxmemory-policy", "noeviction"]);
        redis.arg("--dir").arg(&self.folder).stdin(Stdio::null());
        let log_file = self.folder.with_file_name("redis.log");
        redis.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").stdout(log(&log_file)).stderr(log(&log_file));
        self.child = Some(redis.process_group(0).spawn().unwrap());
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while !self.answers() {
            assert!(tokio::time::Instant::now() < deadline, "Redis does not start; its log is {}", log_file.display());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && self.connect().is_ok_and(|mut connection| redis::cmd("PING").exec(&mut connection).is_ok())
    }

    /// A connection for single commands of this moment.
    pub(super) fn connect(&self) -> Result<redis::Connection, redis::RedisError> {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        client.get_connection_with_timeout(Duration::from_secs(2))
    }

    pub(super) async fn kill(&mut self) {
        end(&mut self.child, Signal::KILL).await;
    }

    /// Fills its disk, or makes room again.
    pub(super) async fn let_write(&self, may_write: bool) {
        let_write(self.child.as_ref(), None, may_write).await;
    }

    /// Starts it again when it gave up, as it does when each write must reach the disk.
    pub(super) async fn recover(&mut self) {
        if self.child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|status| status.is_some())) {
            self.start("everysec").await;
        }
    }

    /// While it is down.
    pub(super) fn lose(&self, loss: Loss) {
        let appended = self.folder.join("appendonlydir");
        let copy = self.folder.join("copy");
        match loss {
            Loss::Nothing => {}
            Loss::Tail(bytes) => {
                let newest = fs::read_dir(&appended).unwrap().filter_map(|entry| {
                    let path = entry.unwrap().path();
                    path.to_str()?.ends_with(".incr.aof").then_some(path)
                });
                if let Some(path) = newest.max() {
                    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                    file.set_len(file.metadata().unwrap().len().saturating_sub(bytes)).unwrap();
                }
            }
            Loss::Everything => {
                let _ = fs::remove_dir_all(&appended);
            }
            Loss::SinceCopy => {
                if copy.exists() {
                    let _ = fs::remove_dir_all(&appended);
                    fs::rename(&copy, &appended).unwrap();
                }
            }
        }
    }

    /// Copies what it has on disk, for [`Loss::SinceCopy`].
    pub(super) fn copy(&self) {
        let (from, to) = (self.folder.join("appendonlydir"), self.folder.join("copy"));
        let _ = fs::remove_dir_all(&to);
        fs::create_dir(&to).unwrap();
        for entry in fs::read_dir(from).unwrap() {
            let path = entry.unwrap().path();
            // A file that is rewritten at this moment may be gone.
            let _ = fs::copy(&path, to.join(path.file_name().unwrap()));
        }
    }

    pub(super) fn url(&self) -> SecretString {
        SecretString::from(format!("redis://127.0.0.1:{}", self.port))
    }
}
