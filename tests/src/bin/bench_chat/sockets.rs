//! Sockets: what idle ones cost, and that what is said on many of them arrives whole and in order.

use std::{
    collections::HashMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};
use futures::{SinkExt as _, StreamExt as _, TryStreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest as _},
};
use uuid::Uuid;

use crate::{deployment::Deployment, percentiles::Sorted};

/// How many sockets are opened at once.
const OPENED_AT_ONCE: usize = 50;
/// Of how many questions those are that are asked on all sockets.
const QUESTIONS: usize = 100;
/// How long everything may take to calm down before memory is read.
const CALM: Duration = Duration::from_secs(3);

pub(crate) type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Opens sockets, reads the memory of the API, and asks on some of them.
pub(crate) async fn measure(deployment: &Deployment, sockets: usize, answers: usize) -> anyhow::Result<()> {
    let before = resident_bytes(deployment.api()?)?;
    let began = Instant::now();
    let open = open_all(deployment, sockets).await?;
    let took = began.elapsed();
    tokio::time::sleep(CALM).await;
    let after = resident_bytes(deployment.api()?)?;
    let each = after.saturating_sub(before) / u64::try_from(sockets.max(1))?;
    println!("\n{sockets} idle sockets of one API process, opened in {:.1} s\n", took.as_secs_f64());
    println!("resident memory {} MiB, {} MiB before: {each} bytes a socket", after >> 20, before >> 20);
    ask_all(deployment, open, answers).await
}

/// Opens sockets, some at once.
pub(crate) async fn open_all(deployment: &Deployment, sockets: usize) -> anyhow::Result<Vec<Socket>> {
    stream::iter(0..sockets)
        .map(|number| open(&deployment.address, number))
        .buffered(OPENED_AT_ONCE)
        .try_collect()
        .await
}

/// Asks on some sockets, all at once, and compares what arrives with what is kept.
async fn ask_all(deployment: &Deployment, mut open: Vec<Socket>, answers: usize) -> anyhow::Result<()> {
    let idle = open.split_off(answers.min(open.len()));
    let began = Instant::now();
    let asking: Vec<_> = open
        .into_iter()
        .enumerate()
        .map(|(number, socket)| {
            let question = deployment.questions[number % QUESTIONS.min(deployment.questions.len())].clone();
            tokio::spawn(answer(socket, question))
        })
        .collect();
    let mut heard = Vec::with_capacity(asking.len());
    for asking in asking {
        heard.push(asking.await??);
    }
    let took = began.elapsed();
    let texts: Vec<_> = heard.iter().map(|heard| (heard.answer, heard.hearing.text.as_str())).collect();
    check_kept(deployment, &texts).await?;
    println!("\n{} questions at once on as many sockets, {} others idle\n", heard.len(), idle.len());
    println!(
        "all heard whole and in order in {:.1} s; {} had to start over",
        took.as_secs_f64(),
        heard.iter().filter(|heard| heard.hearing.restarts > 0).count()
    );
    println!("{:<24} {:>7} {:>7} {:>7} {:>7}", "milliseconds", "p50", "p95", "p99", "max");
    println!("{:<24} {}", "whole answer", Sorted::new(heard.iter().map(|heard| heard.took).collect()).row());
    Ok(())
}

/// Compares what was heard with what is kept.
pub(crate) async fn check_kept(deployment: &Deployment, heard: &[(Uuid, &str)]) -> anyhow::Result<()> {
    let ids: Vec<Uuid> = heard.iter().map(|(id, _)| *id).collect();
    let kept: Vec<(Uuid, String)> = sqlx::query_as("select id, answer from answers where id = any ($1)")
        .bind(&ids)
        .fetch_all(&mut deployment.app.db.owner().await)
        .await?;
    let kept: HashMap<Uuid, String> = kept.into_iter().collect();
    for (id, heard) in heard {
        let kept = kept.get(id).context("an answer that was not kept")?;
        ensure!(kept == heard, "{id}: heard {heard:?}, kept {kept:?}");
    }
    Ok(())
}

struct Heard {
    answer: Uuid,
    hearing: Hearing,
    took: Duration,
}

/// What was heard of an answer so far.
#[derive(Debug, Default)]
pub(crate) struct Hearing {
    pub(crate) seq: u64,
    pub(crate) text: String,
    pub(crate) restarts: usize,
}

impl Hearing {
    /// Hears an answer to its end; which it was.
    pub(crate) async fn finish(&mut self, socket: &mut Socket) -> anyhow::Result<Uuid> {
        while let Some(message) = socket.next().await {
            let Message::Text(message) = message? else { continue };
            let message: Value = serde_json::from_str(&message)?;
            let kind = message["type"].as_str().unwrap_or_default();
            if kind == "error" {
                bail!("{message}");
            }
            // Those without a number are not of the answer.
            let Some(seq) = message["seq"].as_u64().filter(|seq| *seq > 0) else { continue };
            ensure!(
                seq == self.seq + 1 || (kind == "restart" && seq > self.seq),
                "event {seq} after {}: {message}",
                self.seq
            );
            self.seq = seq;
            match kind {
                "chunk" => self.text.push_str(message["text"].as_str().unwrap_or_default()),
                "restart" => {
                    self.text.clear();
                    self.restarts += 1;
                }
                "done" => return Ok(message["answer_id"].as_str().context("no id")?.parse()?),
                _ => {}
            }
        }
        bail!("the socket was closed")
    }
}

/// Asks a question, and hears its answer to the end.
async fn answer(mut socket: Socket, question: String) -> anyhow::Result<Heard> {
    let began = Instant::now();
    socket.send(Message::text(json!({ "query": question }).to_string())).await?;
    let mut hearing = Hearing::default();
    let answer = hearing.finish(&mut socket).await.with_context(|| format!("{question:?}"))?;
    Ok(Heard { answer, hearing, took: began.elapsed() })
}

/// Opens the socket of one of many people.
pub(crate) async fn open(address: &str, number: usize) -> anyhow::Result<Socket> {
    let url = format!("ws://{address}/ws/help-center/chat/session-{number}/");
    let mut request = url.into_client_request()?;
    request.headers_mut().insert("authorization", format!("Bearer {}", Deployment::token(number)?).parse()?);
    let (mut socket, _) = connect_async(request).await?;
    match socket.next().await {
        Some(Ok(Message::Text(hello))) if hello.contains("\"connection\"") => Ok(socket),
        other => bail!("no welcome: {other:?}"),
    }
}

/// What a process holds of the machine's memory.
fn resident_bytes(process: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(1024 * line.trim().trim_end_matches(" kB").trim().parse::<u64>()?)
}
