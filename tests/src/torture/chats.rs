//! People who ask the assistant over sockets, and whose connections are as bad as the processes that they lead to: they read slowly, are
//! cut off in the middle and come back to another process. What they heard is written down, and compared in the end with what is
//! kept (I10).

use std::{collections::BTreeMap, net::SocketAddr, path::Path, time::Duration};

use anyhow::{Context as _, bail};
use futures::{SinkExt as _, StreamExt as _, future::join_all};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use sqlx::PgConnection;
use tokio::{
    net::TcpStream,
    time::{Instant, sleep, timeout},
};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async, tungstenite::Message};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::jobs::Journal;

/// How many ask at once.
const PEOPLE: u64 = 12;
/// Silence of this length is as good as a cut: the server says something every 20 s.
const SILENCE: Duration = Duration::from_secs(40);
/// How long nobody can be reached before it is tried again.
const AGAIN_AFTER: Duration = Duration::from_millis(200);
/// How long an answer may take with everything that happens: more than all attempts of its job.
const PATIENCE: Duration = Duration::from_secs(600);
/// How many examples of each problem are told.
const EXAMPLES: usize = 4;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// What somebody heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// A whole answer, and how it came: `restarts`, and `cuts` of the connection.
    Whole { answer: Uuid, text: String, restarts: u64, cuts: u64 },
    /// That it could not be written, which is honest.
    Failure { answer: Uuid },
    /// What may not happen.
    Broken { answer: Uuid, problem: String },
}

impl Heard {
    /// As a line of a journal.
    fn line(&self) -> String {
        match self {
            Self::Whole { answer, text, restarts, cuts } => {
                format!("heard {answer} whole {restarts} {cuts} {}", json!(text))
            }
            Self::Failure { answer } => format!("heard {answer} failure 0 0 \"\""),
            Self::Broken { answer, problem } => format!("heard {answer} broken 0 0 {}", json!(problem)),
        }
    }

    /// From a line of a journal; `None`: it is about something else.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let mut words = line.strip_prefix("heard ")?.splitn(5, ' ');
        let answer = words.next()?.parse().ok()?;
        let kind = words.next()?;
        let (restarts, cuts) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let text = serde_json::from_str(words.next()?).ok()?;
        match kind {
            "whole" => Some(Self::Whole { answer, text, restarts, cuts }),
            "failure" => Some(Self::Failure { answer }),
            _ => Some(Self::Broken { answer, problem: text }),
        }
    }
}

/// Asks until told to stop, and hears what was asked to its end.
pub(super) async fn ask(apis: &[SocketAddr], journal: &Path, seed: u64, stop: &CancellationToken) {
    let journal = Journal::open(journal);
    let people = (0..PEOPLE).map(async |person| {
        let mut person = Person { apis, random: StdRng::seed_from_u64(seed ^ (person << 32)) };
        while !stop.is_cancelled() {
            match person.ask(stop).await {
                Some(heard) => journal.write(&heard.line()),
                None => sleep(AGAIN_AFTER).await,
            }
        }
    });
    join_all(people).await;
}

struct Person<'a> {
    apis: &'a [SocketAddr],
    random: StdRng,
}

/// What was heard of an answer so far.
#[derive(Default)]
struct SoFar {
    seq: u64,
    text: String,
    restarts: u64,
    cuts: u64,
}

impl Person<'_> {
    /// Asks something. `None`: nobody said that the question is kept.
    async fn ask(&mut self, stop: &CancellationToken) -> Option<Heard> {
        let session = Uuid::new_v4().to_string();
        let mut socket = stop.run_until_cancelled(self.open(&session)).await?.ok()?;
        // In the words of the articles, so that there is an answer.
        let (article, shelf) = (self.random.random_range(0..5), self.random.random_range(0..30));
        let question =
            format!("Repairs of wheelbarrows with number {shelf}, in the article about wheelbarrow {article}?");
        let question = json!({ "query": question });
        socket.send(Message::text(question.to_string())).await.ok()?;
        let answer = message(&mut socket).await.ok()?["answer_id"].as_str()?.parse().ok()?;
        let (mut so_far, until) = (SoFar::default(), Instant::now() + PATIENCE);
        loop {
            match self.hear(&mut socket, &mut so_far).await {
                Ok(ended) => {
                    return Some(match ended {
                        Ending::Done => {
                            Heard::Whole { answer, text: so_far.text, restarts: so_far.restarts, cuts: so_far.cuts }
                        }
                        Ending::Failed => Heard::Failure { answer },
                        Ending::Broken(problem) => Heard::Broken { answer, problem },
                    });
                }
                Err(_) if Instant::now() > until => {
                    return Some(Heard::Broken { answer, problem: format!("no end within {PATIENCE:?}") });
                }
                Err(_) => so_far.cuts += 1,
            }
            drop(socket);
            socket = loop {
                sleep(AGAIN_AFTER).await;
                if let Ok(socket) = self.resume(&session, answer, so_far.seq).await {
                    break socket;
                }
            };
        }
    }

    async fn open(&mut self, session: &str) -> anyhow::Result<Socket> {
        let api = self.apis[self.random.random_range(0..self.apis.len())];
        let url = format!("ws://{api}/ws/help-center/chat/{session}/");
        let (mut socket, _) = timeout(SILENCE, connect_async(url)).await??;
        if message(&mut socket).await?["type"] != "connection" {
            bail!("no welcome");
        }
        Ok(socket)
    }

    async fn resume(&mut self, session: &str, answer: Uuid, after: u64) -> anyhow::Result<Socket> {
        let mut socket = self.open(session).await?;
        let resume = json!({ "type": "resume", "answer_id": answer, "after": after });
        socket.send(Message::text(resume.to_string())).await?;
        Ok(socket)
    }

    /// Hears an answer to its end, unless the connection breaks or is cut.
    async fn hear(&mut self, socket: &mut Socket, so_far: &mut SoFar) -> anyhow::Result<Ending> {
        // Most read everything; some are cut off after a few messages, some read slowly.
        let mut left = if self.random.random_bool(0.4) { self.random.random_range(0..6) } else { u32::MAX };
        let pause = if self.random.random_bool(0.2) { self.random.random_range(50..400) } else { 0 };
        loop {
            left = left.checked_sub(1).context("cut off")?;
            let said = message(socket).await?;
            sleep(Duration::from_millis(pause)).await;
            let (kind, seq) = (said["type"].as_str().unwrap_or_default(), said["seq"].as_u64().unwrap_or_default());
            if kind == "error" {
                // Anything else that is worth another try is of this process, or of this moment: the answer goes on.
                let is_over = ["failed", "cancelled"].iter().any(|code| said["code"] == *code);
                if is_over {
                    return Ok(Ending::Failed);
                }
                if said["retryable"] == true {
                    bail!("{said}");
                }
                return Ok(Ending::Broken(said.to_string()));
            }
            // What is void is not told any more to those who have not heard it.
            let is_next = if kind == "restart" { seq > so_far.seq } else { seq == so_far.seq + 1 };
            if !is_next {
                return Ok(Ending::Broken(format!("{said} after {}", so_far.seq)));
            }
            so_far.seq = seq;
            match kind {
                "chunk" => so_far.text.push_str(said["text"].as_str().unwrap_or_default()),
                "restart" => {
                    so_far.text.clear();
                    so_far.restarts += 1;
                }
                "done" => return Ok(Ending::Done),
                _ => {}
            }
        }
    }
}

enum Ending {
    Done,
    Failed,
    Broken(String),
}

async fn message(socket: &mut Socket) -> anyhow::Result<Value> {
    loop {
        match timeout(SILENCE, socket.next()).await?.context("the socket was closed")?? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(_) => bail!("closed"),
            _ => {}
        }
    }
}

/// What came of all questions.
#[derive(Debug, Default)]
pub(super) struct Chats {
    heard: BTreeMap<Uuid, String>,
    failures: u64,
    broken: Vec<String>,
    restarts: u64,
    cuts: u64,
}

impl Chats {
    pub(super) fn heard(&mut self, heard: Heard) {
        match heard {
            Heard::Whole { answer, text, restarts, cuts } => {
                self.heard.insert(answer, text);
                self.restarts += restarts;
                self.cuts += cuts;
            }
            Heard::Failure { .. } => self.failures += 1,
            Heard::Broken { answer, problem } => self.broken.push(format!("{answer}: {problem}")),
        }
    }

    /// For the report.
    pub(super) fn summary(&self) -> String {
        format!(
            "{} answers were heard to their end by people who were cut off {} times and told to start over {} times; {} times \
             they were told that it failed.",
            self.heard.len(),
            self.cuts,
            self.restarts,
            self.failures
        )
    }

    /// What is not as it must be when nothing runs any more.
    pub(super) async fn problems(&self, owner: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
        let answered: Vec<Uuid> =
            sqlx::query_scalar("select id from answers where outcome = 'answered'").fetch_all(&mut *owner).await?;
        let kept: Vec<(Uuid, String, Option<String>)> =
            sqlx::query_as("select id, status, answer from answers").fetch_all(owner).await?;
        let mut found = Vec::new();
        if !answered.iter().any(|id| self.heard.contains_key(id)) {
            found.push("nobody heard an answer".to_owned());
        }
        let kept: BTreeMap<Uuid, (String, Option<String>)> =
            kept.into_iter().map(|(id, status, answer)| (id, (status, answer))).collect();
        for (id, text) in &self.heard {
            match kept.get(id) {
                Some((_, Some(answer))) if answer == text => {}
                Some((status, answer)) => found.push(format!("{id}: heard {text:?}, kept as {status} is {answer:?}")),
                None => found.push(format!("{id}: heard, but not kept")),
            }
        }
        let unfinished = kept.iter().filter(|(_, (status, _))| ["queued", "writing"].contains(&status.as_str()));
        found.extend(unfinished.map(|(id, (status, _))| format!("{id} is still {status}")));
        found.extend(self.broken.iter().cloned());
        let count = found.len();
        found.truncate(EXAMPLES);
        if count > EXAMPLES {
            found.push(format!("{} more", count - EXAMPLES));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_comes_back_from_its_line() {
        let answer = Uuid::from_u128(1);
        for heard in [
            Heard::Whole { answer, text: "a \"b\"\n c".to_owned(), restarts: 2, cuts: 1 },
            Heard::Failure { answer },
            Heard::Broken { answer, problem: "x y".to_owned() },
        ] {
            assert_eq!(Heard::of_line(&heard.line()), Some(heard));
        }
        assert_eq!(Heard::of_line("started 1 2"), None);
    }

    #[tokio::test]
    async fn what_was_heard_and_what_is_kept_must_be_the_same() {
        let db = crate::TestDatabase::create().await;
        let tenant = db.tenant("t").await.id;
        let mut owner = db.owner().await;
        let [done, lost, queued] = [1, 2, 3].map(Uuid::from_u128);
        sqlx::query(
            "with c as (insert into conversations (tenant_id, asker, session_id) values ($1, 'key:k', 's') returning id)
             insert into answers (tenant_id, id, conversation_id, question, roles, status, outcome, answer)
             select $1, a.id, c.id, 'why?', '{}', a.status, a.outcome, a.answer
             from c, (values ($2::uuid, 'done', 'answered', 'so'), ($3::uuid, 'queued', null, null)) a (id, status, outcome, answer)",
        )
        .bind(tenant.uuid())
        .bind(done)
        .bind(queued)
        .execute(&mut owner)
        .await
        .unwrap();
        let whole = |answer, text: &str| Heard::Whole { answer, text: text.to_owned(), restarts: 0, cuts: 0 };
        let mut chats = Chats::default();
        assert!(chats.problems(&mut owner).await.unwrap()[0].contains("nobody"));
        chats.heard(whole(done, "so"));
        let found = chats.problems(&mut owner).await.unwrap();
        assert!(found.len() == 1 && found[0].contains("still queued"), "{found:?}");
        sqlx::query("delete from answers where id = $1").bind(queued).execute(&mut owner).await.unwrap();
        assert!(chats.problems(&mut owner).await.unwrap().is_empty());
        chats.heard(whole(lost, "so"));
        assert!(chats.problems(&mut owner).await.unwrap()[0].contains("not kept"));
        chats.heard(whole(done, "s"));
        assert!(chats.problems(&mut owner).await.unwrap()[0].contains("heard \"s\""));
    }
}
