//! Reading what was written down, in windows, so that neither memory nor disk grows with the length of a run.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{Read as _, Seek as _, SeekFrom},
    path::{Path, PathBuf},
};

use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::check::{Checker, Told, Transition};

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
    journals: HashMap<PathBuf, u64>,
}

impl Reader {
    pub(super) fn new(owner_url: SecretString, folder: &Path) -> Self {
        Self { owner_url, owner: None, next: 0, folder: folder.to_owned(), journals: HashMap::new() }
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
        sqlx::query("delete from torture.history where xid < $1").bind(until).execute(&mut owner).await?;
        self.owner = Some(owner);
        Ok(())
    }

    fn read_journals(&mut self, checker: &mut Checker, running: impl Fn() -> HashSet<String>) {
        let entries = fs::read_dir(&self.folder).unwrap().map(|entry| entry.unwrap().path());
        let journals: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|extension| extension == "journal")).collect();
        // Asked afterwards, so that a process that has just begun its journal is among them.
        let running = running();
        for path in journals {
            let mut file = File::open(&path).unwrap();
            let position = self.journals.entry(path.clone()).or_insert(0);
            file.seek(SeekFrom::Start(*position)).unwrap();
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).unwrap();
            // A process may be killed in the middle of a line.
            let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
            *position += whole as u64;
            for line in String::from_utf8_lossy(&bytes[..whole]).lines() {
                pass_on(line, checker);
            }
            if !path.file_stem().is_some_and(|name| running.contains(&*name.to_string_lossy())) {
                fs::remove_file(&path).unwrap();
                self.journals.remove(&path);
            }
        }
    }
}

fn pass_on(line: &str, checker: &mut Checker) {
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
