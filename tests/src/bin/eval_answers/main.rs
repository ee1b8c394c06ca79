//! `make eval-answers DATA=folder`: how good the assistant's answers are, on collections with judged questions. With the
//! variables of a language model (`LLM_PROVIDER=openai` and what belongs to it) that model writes.
//!
//! Each folder below `DATA` with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` is a collection, imported, embedded and searched
//! as `make relevance` does. A question is answerable when a document is judged relevant to it; its `answer`, where it has one, is
//! what the quotes are compared with. Of `tickets.jsonl` those are asked, too, whose `outcome` is that no document answers them.
//! Questions that no collection answers come from `--off-topic FILE` (JSON lines with `text`), or from
//! `DATA/../intents/banking77_sample.jsonl`: 200 of them, always the same, are asked of each collection.
//!
//! Printed for each collection: how many answers cite a relevant document, how many answerable questions are refused and how many
//! others, whether quotes stand word for word in the passages that they cite, how much of the expected answers they say, how many
//! sentences of a language model a passage supports, and how long retrieval and writing take.
//!
//! For choosing the relevance floor: `--evidence FILE` writes what was measured of every question, as JSON lines, and
//! `--database NAME` keeps the database, so that the next run need not embed everything again.

mod ask;
mod off_topic;
mod report;

use std::{collections::HashMap, fs, io::Write as _, path::PathBuf, sync::Arc};

use anyhow::{Context as _, bail};
use shared::{config::EmbeddingConfig, embedding, tenancy::TenantId};
use tests::{
    TestDatabase,
    judged::{self, Collection},
};
use uuid::Uuid;

use ask::Asking;
use report::Report;

/// How many questions that no document answers are asked of each collection.
const OFF_TOPIC: usize = 200;

struct Options {
    data: PathBuf,
    off_topic: PathBuf,
    evidence: Option<fs::File>,
    database: Option<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    shared::telemetry::install_tls(); // for a language model
    let mut options = options()?;
    let off_topic = off_topic::questions(&options.off_topic, OFF_TOPIC)?;
    let embedder = Arc::clone(embedding::from_config(&EmbeddingConfig::from_env()?)?.current());
    let db = match options.database.take() {
        Some(name) => TestDatabase::named(&name).await,
        None => TestDatabase::create().await,
    };
    // What was answered in an earlier run is not to be given again.
    sqlx::query("truncate conversations cascade").execute(&mut db.owner().await).await?;
    report::print_head();
    for collection in judged::collections(&options.data)? {
        let tenant = db.tenant(&collection.name.replace('_', "-")).await.id;
        let (_, ids) = collection.load(&db.database, &embedder, tenant).await?;
        // One for each collection: vectors of sentences are remembered, and each shall show what the first questions cost.
        let asking = Asking::new(db.database.clone(), &embedder)?;
        measure(&asking, tenant, &collection, &ids, &off_topic, options.evidence.as_mut()).await?.print();
    }
    Ok(())
}

fn options() -> anyhow::Result<Options> {
    let mut arguments = std::env::args().skip(1);
    let data = PathBuf::from(arguments.next().context("name the folder of the collections")?);
    let off_topic = data.join("../intents/banking77_sample.jsonl");
    let mut options = Options { data, off_topic, evidence: None, database: None };
    while let Some(option) = arguments.next() {
        match (option.as_str(), arguments.next()) {
            ("--off-topic", Some(file)) => options.off_topic = file.into(),
            ("--evidence", Some(file)) => options.evidence = Some(fs::File::create(file)?),
            ("--database", Some(name)) => options.database = Some(name),
            _ => bail!("usage: eval_answers DATA [--off-topic FILE] [--evidence FILE] [--database NAME]"),
        }
    }
    Ok(options)
}

async fn measure(
    asking: &Asking,
    tenant: TenantId,
    collection: &Collection,
    ids: &HashMap<Uuid, String>,
    off_topic: &[String],
    mut evidence: Option<&mut fs::File>,
) -> anyhow::Result<Report> {
    let mut report = Report::new(&collection.name);
    let mut keep = async |kind: &str, id: &str, text: &str| -> anyhow::Result<()> {
        let Some(file) = evidence.as_mut() else { return Ok(()) };
        let found = asking.found(tenant, text).await?;
        let candidates: Vec<_> =
            found.candidates.iter().take(10).map(|c| (&ids[&c.article_id], c.evidence, c.score)).collect();
        let line = serde_json::json!({ "collection": collection.name, "kind": kind, "id": id, "articles": found.articles,
            "candidates": candidates });
        Ok(writeln!(file, "{line}")?)
    };
    for (question, judged) in collection.judged()? {
        let answer = asking.ask(tenant, &question.text).await?;
        keep("answerable", &question.id, &question.text).await?;
        report.add_answerable(&answer, ids, &judged, question.answer.as_deref());
    }
    for (number, question) in off_topic.iter().enumerate() {
        let answer = asking.ask(tenant, question).await?;
        keep("off-topic", &number.to_string(), question).await?;
        report.add_off_topic(&answer);
    }
    for (id, question) in collection.unanswered_tickets()? {
        let answer = asking.ask(tenant, &question).await?;
        keep("unanswered", &id, &question).await?;
        report.add_unanswered(&answer);
    }
    Ok(report)
}
