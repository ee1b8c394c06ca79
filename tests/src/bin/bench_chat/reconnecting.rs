//! The API dies while it talks to everybody, and everybody comes back at once.

use std::time::{Duration, Instant};

use anyhow::Context as _;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{
    deployment::Deployment,
    percentiles::Sorted,
    sockets::{Hearing, Socket, check_kept, open, open_all},
};

/// How long whoever is not let in waits before the next try.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// Somebody who was cut off.
struct CutOff {
    number: usize,
    /// The answer that they wait for.
    waits_for: Option<Uuid>,
}

/// Somebody who came back, after how long.
struct Back {
    took: Duration,
    heard: Option<(Uuid, Hearing)>,
}

/// Opens sockets, asks on some of them, kills the API, starts it again, and waits until everybody is back and has their answer.
pub(crate) async fn measure(deployment: &mut Deployment, sockets: usize, answers: usize) -> anyhow::Result<()> {
    let mut open = open_all(deployment, sockets).await?;
    let mut waiting = Vec::with_capacity(answers);
    for (number, socket) in open.iter_mut().enumerate().take(answers) {
        waiting.push(ask(socket, &deployment.questions[number % deployment.questions.len()]).await?);
    }
    deployment.kill_api();
    drop(open);
    let began = Instant::now();
    deployment.restart_api().await;
    let started = began.elapsed();
    let coming_back: Vec<_> = (0..sockets)
        .map(|number| CutOff { number, waits_for: waiting.get(number).copied() })
        .map(|cut_off| tokio::spawn(come_back(deployment.address.clone(), cut_off)))
        .collect();
    let mut back = Vec::with_capacity(sockets);
    for coming in coming_back {
        back.push(coming.await??);
    }
    let heard: Vec<_> = back.iter().filter_map(|back| back.heard.as_ref()).collect();
    let texts: Vec<_> = heard.iter().map(|(id, hearing)| (*id, hearing.text.as_str())).collect();
    check_kept(deployment, &texts).await?;
    println!("\nthe API killed while {sockets} sockets are open and {answers} answers are written\n");
    println!(
        "ready again after {:.1} s, then all came back at once; {} had to start over",
        started.as_secs_f64(),
        heard.iter().filter(|(_, hearing)| hearing.restarts > 0).count()
    );
    println!("{:<24} {:>7} {:>7} {:>7} {:>7}", "milliseconds", "p50", "p95", "p99", "max");
    println!("{:<24} {}", "connected again", Sorted::new(back.iter().map(|back| back.took).collect()).row());
    println!("all {} answers heard whole and in order after {:.1} s", heard.len(), began.elapsed().as_secs_f64());
    Ok(())
}

/// Asks a question; the id of its answer, once it is kept.
async fn ask(socket: &mut Socket, question: &str) -> anyhow::Result<Uuid> {
    socket.send(Message::text(json!({ "query": question }).to_string())).await?;
    let Message::Text(message) = socket.next().await.context("the socket was closed")?? else {
        anyhow::bail!("no text");
    };
    let kept: Value = serde_json::from_str(&message)?;
    Ok(kept["answer_id"].as_str().with_context(|| message.to_string())?.parse()?)
}

async fn come_back(address: String, CutOff { number, waits_for }: CutOff) -> anyhow::Result<Back> {
    let began = Instant::now();
    let mut socket = loop {
        match open(&address, number).await {
            Ok(socket) => break socket,
            Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
        }
    };
    let took = began.elapsed();
    let Some(answer) = waits_for else { return Ok(Back { took, heard: None }) };
    let resume = json!({ "type": "resume", "answer_id": answer, "after": 0 });
    socket.send(Message::text(resume.to_string())).await?;
    let mut hearing = Hearing::default();
    hearing.finish(&mut socket).await?;
    Ok(Back { took, heard: Some((answer, hearing)) })
}
