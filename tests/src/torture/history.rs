//! Reading what was written down, in windows, so that neither memory nor disk grows with the length of a run.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{
    chats::Heard,
    check::{Checker, Told, Transition},
};

/// Installs the observer.
pub(super) async fn install(owner: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(include_str!("history.sql")).execute(owner).await?;
    Ok(())
}

/// Where reading goes on.
#[derive(Debug)]
pub(super) struct Reader {
    owner_url: SecretString,
    owner: Option<PgConnection>,
    /// The first transaction that was not read.
    next: i64,
    folder: PathBuf,
    /// By file, the first byte that was not read.
    positions: HashMap<PathBuf, u64>,
}

impl Reader {
    pub(super) fn new(owner_url: SecretString, folder: &Path) -> Self {
        Self { owner_url, owner: None, next: 0, folder: folder.to_owned(), positions: HashMap::new() }
    }

    /// Passes on everything that happened before the oldest transaction that is still open.
    ///
    /// `running` tells the names of the processes that may still write journals; those of others are removed once read.
    pub(super) async fn read(
        &mut self,
        checker: &mut Checker,
        running: impl Fn() -> HashSet<String>,
    ) -> Result<(), sqlx::Error> {
        let mut owner = match self.owner.take() {
            Some(owner) => owner,
            None => PgConnection::connect(self.owner_url.expose_secret()).await?,
        };
        let until: i64 = sqlx::query_scalar("select pg_snapshot_xmin(pg_current_snapshot())::text::bigint")
            .fetch_one(&mut owner)
            .await?;
        let transitions: Vec<Transition> =
            sqlx::query_as("select * from torture.history where xid >= $1 and xid < $2 order by seq")
                .bind(self.next)
                .bind(until)
                .fetch_all(&mut owner)
                .await?;
        // Flushes everything that was read: what a crash could still take back does not count.
        sqlx::query("update torture.checkpoint set xid = $1").bind(until).execute(&mut owner).await?;
        self.next = until;
        for transition in transitions {
            checker.transition(transition);
        }
        self.read_journals(checker, running);
        self.read_logs(checker);
        sqlx::query("delete from torture.history where xid < $1").bind(until).execute(&mut owner).await?;
        self.owner = Some(owner);
        Ok(())
    }

    fn read_journals(&mut self, checker: &mut Checker, running: impl Fn() -> HashSet<String>) {
        let journals = self.files("journal");
        // Asked afterwards, so that a process that has just begun its journal is among them.
        let running = running();
        for path in journals {
            for line in self.new_lines(&path).lines() {
                pass_on(line, checker);
            }
            if !path.file_stem().is_some_and(|name| running.contains(&*name.to_string_lossy())) {
                fs::remove_file(&path).unwrap();
                self.positions.remove(&path);
            }
        }
    }

    /// What workers say of leases in Redis, which the database's observer cannot see.
    fn read_logs(&mut self, checker: &mut Checker) {
        for path in self.files("log") {
            let process = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if !["worker-", "witness-"].iter().any(|role| process.starts_with(role)) {
                continue;
            }
            for line in self.new_lines(&path).lines() {
                pass_on_lease(line, &process, checker);
            }
        }
    }

    fn files(&self, extension: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_some_and(|its| its == extension)).collect()
    }

    /// The whole lines that were written since the last time. A process may be killed in the middle of one.
    fn new_lines(&mut self, path: &Path) -> String {
        let position = self.positions.entry(path.to_owned()).or_insert(0);
        let mut file = File::open(path).unwrap();
        file.seek(SeekFrom::Start(*position)).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes.truncate(bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1));
        *position += bytes.len() as u64;
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

fn pass_on_lease(line: &str, process: &str, checker: &mut Checker) {
    let field = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.parse::<Uuid>().ok());
    let Some(token) = field("token=") else { return };
    if line.contains(" queue.lease.asked ") {
        checker.asked(token, process);
    } else if line.contains(" queue.lease.lapsed ")
        && let Some(job) = field("job.id=")
        && let Some(at) = line.split(' ').next().and_then(|at| at.parse::<DateTime<Utc>>().ok())
    {
        checker.lapsed(job, token, at);
    }
}

fn pass_on(line: &str, checker: &mut Checker) {
    if let Some(heard) = Heard::of_line(line) {
        return checker.chats.heard(heard);
    }
    let mut words = line.split(' ');
    let (Some(what), Some(second)) = (words.next(), words.next()) else { return };
    let third = || words.clone().next().and_then(|id| id.parse::<Uuid>().ok()).unwrap_or_default();
    match (what, second) {
        ("started", job) => {
            let attempt = words.next().and_then(|attempt| attempt.parse().ok()).unwrap_or_default();
            checker.run(job.parse().unwrap_or_default(), attempt);
        }
        ("enqueued", "job") => checker.told(Told::Job(third())),
        ("enqueued", "key") => checker.told(Told::Key(third())),
        ("rolled_back", "job") => checker.told(Told::NoJob(third())),
        ("rolled_back", "key") => checker.told(Told::NoKey(third())),
        _ => {}
    }
}
