//! Questions over HTTP, with server-sent events: when the first words come, and when all of them are there.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::json;
use tokio::{
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{deployment::Deployment, percentiles::Sorted};

/// How many questions are asked before anything counts.
const WARM_UP: usize = 20;

/// How long an answer took.
struct Took {
    first_chunk: Duration,
    whole: Duration,
}

/// A question on its way.
type Asked = JoinHandle<anyhow::Result<Took>>;

/// Asks at a constant rate.
pub(crate) async fn at_rate(deployment: &Deployment, rate: u32, seconds: u32) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    for number in 0..WARM_UP {
        ask(&client, deployment, number)?.await??;
    }
    let count = usize::try_from(rate * seconds)?;
    let mut ticks = interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut asked = Vec::with_capacity(count);
    for number in 0..count {
        ticks.tick().await;
        asked.push(ask(&client, deployment, WARM_UP + number)?);
    }
    let took = all(asked).await?;
    println!("\n{count} distinct questions, {rate} a second\n");
    println!("{:<24} {:>7} {:>7} {:>7} {:>7}", "milliseconds", "p50", "p95", "p99", "max");
    print(&took);
    steps(deployment, count).await
}

/// Asks many at once.
pub(crate) async fn at_once(deployment: &Deployment, count: usize) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    // From the other end, so that none was asked before.
    let last = deployment.questions.len() - 1;
    let asked = (0..count).map(|number| ask(&client, deployment, last - number)).collect::<Result<_, _>>()?;
    let took = all(asked).await?;
    println!("\n{count} asked at once, {} answered\n", took.len());
    print(&took);
    Ok(())
}

async fn all(asked: Vec<Asked>) -> anyhow::Result<Vec<Took>> {
    let mut took = Vec::with_capacity(asked.len());
    for asked in asked {
        took.push(asked.await??);
    }
    Ok(took)
}

fn print(took: &[Took]) {
    let row = |which: fn(&Took) -> Duration| Sorted::new(took.iter().map(which).collect()).row();
    println!("{:<24} {}", "first chunk", row(|took| took.first_chunk));
    println!("{:<24} {}", "whole answer", row(|took| took.whole));
}

/// Asks a question, in a task of its own.
fn ask(client: &reqwest::Client, deployment: &Deployment, number: usize) -> anyhow::Result<Asked> {
    let question = deployment.questions[number % deployment.questions.len()].clone();
    let request = client
        .post(format!("http://{}/api/v2/help-center/assistant/", deployment.address))
        .bearer_auth(Deployment::token(number)?)
        .header("accept", "text/event-stream")
        .json(&json!({ "query": question }));
    Ok(tokio::spawn(async move {
        let began = Instant::now();
        let mut response = request.send().await?.error_for_status()?;
        let (mut text, mut first_chunk) = (String::new(), None);
        while let Some(piece) = response.chunk().await? {
            text.push_str(&String::from_utf8_lossy(&piece));
            if first_chunk.is_none() && text.contains("event: chunk\n") {
                first_chunk = Some(began.elapsed());
            }
        }
        if !text.contains("event: done\n") {
            bail!("{question:?} has no answer: {text}");
        }
        Ok(Took { first_chunk: first_chunk.context("no chunk")?, whole: began.elapsed() })
    }))
}

/// Where the time went, by the rows of the latest answers.
async fn steps(deployment: &Deployment, count: usize) -> anyhow::Result<()> {
    let rows: Vec<(i32, i32, i32, String)> = sqlx::query_as(
        "select queue_ms, retrieval_ms, writing_ms, outcome from answers where tenant_id = $1 and status = 'done'
         order by asked_at desc limit $2",
    )
    .bind(deployment.tenant.uuid())
    .bind(i64::try_from(count)?)
    .fetch_all(&mut deployment.app.db.owner().await)
    .await?;
    let sorted = |step: fn(&(i32, i32, i32, String)) -> i32| {
        Sorted::new(rows.iter().map(|row| Duration::from_millis(step(row).unsigned_abs().into())).collect())
    };
    println!("{:<24} {}", "  queue", sorted(|row| row.0).row());
    println!("{:<24} {}", "  retrieval", sorted(|row| row.1).row());
    println!("{:<24} {}", "  writing", sorted(|row| row.2).row());
    let answered = rows.iter().filter(|row| row.3 == "answered").count();
    println!("{answered} of {} were answered, the others refused", rows.len());
    Ok(())
}
