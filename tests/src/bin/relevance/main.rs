//! `make relevance DATA=folder`: how good search is, on collections with judged queries.
//!
//! Each folder below `DATA` with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` is a collection. Its documents are written
//! as files, imported by the real import into a tenant of their own, embedded, and searched by the real search. Printed are
//! nDCG@10 (gain 2^grade - 1, discount log2), Recall@10 and MRR@10, means over the queries, beside the baselines of
//! `README.md` in the same folder, where a table there has a row for the collection.
//!
//! Then the same candidates in other orders, from either arm alone to all that search does, with a paired test of each
//! against the last; and what weights reach on each collection that were chosen by the others.
//!
//! For choosing weights: `--evidence FILE` also writes what the arms measured of every candidate, as JSON lines, and
//! `--database NAME` keeps the database, so that the next run need not embed everything again.
#![expect(clippy::print_stdout, reason = "a program that prints a table")]

mod ablation;
mod leave_one_out;

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use shared::{
    auth::Roles,
    config::EmbeddingConfig,
    embedding,
    search::{Query, Search, SearchRequest},
    tenancy::TenantId,
};
use tests::{
    TestDatabase,
    judged::{
        self, Collection,
        measures::{self, DEPTH, Measures},
    },
};
use uuid::Uuid;

use ablation::Judged;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let data = PathBuf::from(arguments.next().context("name the folder of the collections")?);
    let (mut evidence, mut kept) = (None, None);
    while let Some(option) = arguments.next() {
        match (option.as_str(), arguments.next()) {
            ("--evidence", Some(file)) => evidence = Some(fs::File::create(file)?),
            ("--database", Some(name)) => kept = Some(name),
            _ => bail!("usage: relevance DATA [--evidence FILE] [--database NAME]"),
        }
    }
    let embedder = Arc::clone(embedding::from_config(&EmbeddingConfig::from_env()?)?.current());
    let db = match kept {
        Some(name) => TestDatabase::named(&name).await,
        None => TestDatabase::create().await,
    };
    let search = Search::new(db.database.clone(), Some(Arc::clone(&embedder)));
    let baselines = baselines(&data);
    println!(
        "{:<20} {:>7} {:>7}   {:<24} {:<24} {:<24} {:<24}",
        "collection", "docs", "queries", "ours", "BM25", "dense", "equal-weight fusion"
    );
    let mut below = Vec::new();
    let mut answered = Vec::new();
    for collection in judged::collections(&data)? {
        let name = collection.name.clone();
        let tenant = db.tenant(&name.replace('_', "-")).await.id;
        let (documents, ids) = collection.load(&db.database, &embedder, tenant).await?;
        let (measured, answers) = measure(&search, tenant, &collection, &ids, evidence.as_mut()).await?;
        answered.push((name.clone(), answers));
        let baseline = baselines.get(&name).cloned().unwrap_or_default();
        let ours = format!("{:.3}/{:.3}/{:.3}", measured.ndcg, measured.recall, measured.reciprocal_rank);
        let column = |i: usize| baseline.get(i).map_or("-", String::as_str);
        println!(
            "{name:<20} {documents:>7} {:>7}   {ours:<24} {:<24} {:<24} {:<24}",
            measured.queries,
            column(0),
            column(1),
            column(2)
        );
        let target = baseline
            .get(2)
            .and_then(|cell| cell.trim_start_matches('.').split('/').next())
            .and_then(|n| format!("0.{n}").parse::<f64>().ok());
        if target.is_some_and(|target| measured.ndcg < target - 0.0005) {
            below.push(name);
        }
    }
    println!("\nnDCG@10 / Recall@10 / MRR@10, means over all queries.");
    ablation::print(&answered);
    leave_one_out::print(&answered);
    if below.is_empty() {
        println!("Every collection with a baseline is at or above its equal-weight fusion.");
        return Ok(());
    }
    bail!("below the equal-weight fusion: {}", below.join(", "))
}

/// Cells of the table rows in `README.md`, in that folder or the one above, by collection.
fn baselines(data: &Path) -> HashMap<String, Vec<String>> {
    let readme = [data.join("README.md"), data.join("../README.md")]
        .iter()
        .find_map(|path| fs::read_to_string(path).ok())
        .unwrap_or_default();
    readme
        .lines()
        .filter_map(|line| {
            let mut cells = line.trim().trim_matches('|').split('|').map(|cell| cell.trim().to_owned());
            let name = cells.next()?;
            let cells: Vec<String> = cells.collect();
            cells.first().is_some_and(|cell| cell.matches('/').count() == 2).then_some((name, cells))
        })
        .collect()
}

async fn measure(
    search: &Search,
    tenant: TenantId,
    collection: &Collection,
    ids: &HashMap<Uuid, String>,
    mut evidence: Option<&mut fs::File>,
) -> anyhow::Result<(Measures, Vec<Judged>)> {
    let mut measures = Measures::default();
    let mut answers = Vec::new();
    for (question, judged) in collection.judged()? {
        // Longer than people may type: the first 500 characters are what they would get to ask.
        let query: Query = question.text.chars().take(500).collect::<String>().parse()?;
        let request = SearchRequest::new(query, DEPTH);
        let ranking = search.ranking(tenant, &Roles::none(), &request).await?;
        if let Some(file) = evidence.as_mut() {
            for candidate in &ranking {
                let document = &ids[&candidate.article_id];
                let line = serde_json::json!({ "collection": collection.name, "query": question.id, "document": document,
                    "grade": judged.get(document).copied().unwrap_or(0), "evidence": candidate.evidence, "score": candidate.score });
                writeln!(file, "{line}")?;
            }
        }
        let found: Vec<&str> = ranking.iter().take(DEPTH).map(|c| ids[&c.article_id].as_str()).collect();
        measures.add(&found, &judged);
        let grade = |id: &Uuid| judged.get(&ids[id]).copied().unwrap_or(0);
        answers.push(Judged {
            candidates: ranking.iter().map(|c| (grade(&c.article_id), c.evidence, c.score)).collect(),
            ideal: measures::ideal(&judged),
        });
    }
    Ok((measures.mean(), answers))
}
