//! `make relevance DATA=folder`: how good search is, on collections with judged queries.
//!
//! Each folder below `DATA` with `corpus.jsonl`, `queries.jsonl` and `qrels.tsv` is a collection. Its documents are written
//! as files, imported by the real import into a tenant of their own, embedded, and searched by the real search. Printed are
//! nDCG@10 (gain 2^grade - 1, discount log2), Recall@10 and MRR@10, means over the queries, beside the baselines of
//! `README.md` in the same folder, where a table there has a row for the collection.
//!
//! Then the same candidates in other orders, from either arm alone to all that search does, with a paired test of each
//! against the last.
//!
//! For choosing weights: `--evidence FILE` also writes what the arms measured of every candidate, as JSON lines, and
//! `--database NAME` keeps the database, so that the next run need not embed everything again.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints a table and its progress")]

mod ablation;
mod measures;

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use serde::Deserialize;
use shared::{
    auth::Roles,
    config::EmbeddingConfig,
    db::Database,
    embedding::{self, Embedder},
    knowledge::{
        EmbedArticle,
        embed::{embed_article, reconcile},
        import::{self, SyncOptions},
    },
    search::{Query, Search, SearchRequest},
    tenancy::TenantId,
};
use tests::TestDatabase;
use uuid::Uuid;

use ablation::Judged;
use measures::Measures;

const DEPTH: usize = 10;

#[derive(Deserialize)]
struct Document {
    id: String,
    title: String,
    text: String,
}

#[derive(Deserialize)]
struct Question {
    id: String,
    text: String,
}

/// Grades by document, by query.
type Judgements = HashMap<String, HashMap<String, u32>>;

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
    let embedder = embedding::from_config(&EmbeddingConfig::from_env()?)?;
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
    let mut judged = Vec::new();
    for name in collections(&data)? {
        let folder = data.join(&name);
        let tenant = db.tenant(&name.replace('_', "-")).await.id;
        let (documents, ids) = load(&db.database, &embedder, tenant, &name, &folder).await?;
        let (measured, answers) = measure(&search, tenant, &name, &folder, &ids, evidence.as_mut()).await?;
        judged.push((name.clone(), answers));
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
    ablation::print(&judged);
    if below.is_empty() {
        println!("Every collection with a baseline is at or above its equal-weight fusion.");
        return Ok(());
    }
    bail!("below the equal-weight fusion: {}", below.join(", "))
}

fn collections(data: &Path) -> anyhow::Result<Vec<String>> {
    let mut names: Vec<String> = fs::read_dir(data)
        .with_context(|| format!("cannot read {}", data.display()))?
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("corpus.jsonl").exists())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    if names.is_empty() {
        bail!("{} holds no folder with a corpus.jsonl", data.display());
    }
    // The smallest first: a mistake shows early.
    names.sort_by_key(|name| fs::metadata(data.join(name).join("corpus.jsonl")).map_or(0, |m| m.len()));
    Ok(names)
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

fn lines<T: serde::de::DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().filter(|line| !line.is_empty()).map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// Imports and embeds a collection; returns how many documents it has and their ids by article.
async fn load(
    database: &Database,
    embedder: &Arc<dyn Embedder>,
    tenant: TenantId,
    name: &str,
    folder: &Path,
) -> anyhow::Result<(usize, HashMap<Uuid, String>)> {
    let documents: Vec<Document> = lines(&folder.join("corpus.jsonl"))?;
    let files = tempfile::tempdir()?;
    let mut paths = HashMap::new();
    for (number, document) in documents.iter().enumerate() {
        let path = format!("{number}.md");
        let title = if document.title.trim().is_empty() { &document.id } else { &document.title };
        let title: String = title.chars().filter(|c| !c.is_control()).take(200).collect();
        let front_matter = serde_json::to_string(&title)?;
        fs::write(files.path().join(&path), format!("---\ntitle: {front_matter}\n---\n\n{}\n", document.text))?;
        paths.insert(path, document.id.clone());
    }
    let options = SyncOptions {
        root: files.path().to_owned(),
        source: name.to_owned(),
        default_category: name.to_owned(),
        dry_run: false,
        archive_removed: false,
    };
    let report = import::sync(database, tenant, &options, &|_, _, _| {}).await?;
    for (path, reason) in &report.failed {
        eprintln!("{name}: {} was not imported: {reason}", paths.get(path).map_or(path.as_str(), String::as_str));
    }
    // What a database that was kept has of an earlier form of the index is made anew.
    reconcile(database, tenant, embedder.model().as_ref()).await?;
    embed(database, embedder, tenant, name).await?;

    let mut tx = database.tenant(tenant).await?;
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("select id, source_path from articles").fetch_all(tx.connection()).await?;
    Ok((
        report.created + report.unchanged,
        rows.into_iter().filter_map(|(id, path)| Some((id, paths.get(&path)?.clone()))).collect(),
    ))
}

/// Does what the open embedding jobs would do.
async fn embed(database: &Database, embedder: &Arc<dyn Embedder>, tenant: TenantId, name: &str) -> anyhow::Result<()> {
    let mut tx = database.tenant(tenant).await?;
    let jobs: Vec<(Uuid, serde_json::Value)> =
        sqlx::query_as("select id, payload from outbox order by id").fetch_all(tx.connection()).await?;
    drop(tx);
    let started = std::time::Instant::now();
    let mut passages = 0;
    for (done, (_, payload)) in jobs.iter().enumerate() {
        let job: EmbedArticle = serde_json::from_value(payload.clone())?;
        passages += embed_article(database, &**embedder, tenant, &job, |_, _| ()).await?;
        if done % 100 == 99 {
            let rate = f64::from(u32::try_from(passages)?) / started.elapsed().as_secs_f64();
            eprintln!("{name}: {} of {} documents embedded, {rate:.0} passages/s", done + 1, jobs.len());
        }
    }
    let mut tx = database.tenant(tenant).await?;
    sqlx::query("delete from outbox").execute(tx.connection()).await?;
    tx.commit().await?;
    Ok(())
}

async fn measure(
    search: &Search,
    tenant: TenantId,
    name: &str,
    folder: &Path,
    ids: &HashMap<Uuid, String>,
    mut evidence: Option<&mut fs::File>,
) -> anyhow::Result<(Measures, Vec<Judged>)> {
    let judgements = judgements(&folder.join("qrels.tsv"))?;
    let mut measures = Measures::default();
    let mut answers = Vec::new();
    for question in lines::<Question>(&folder.join("queries.jsonl"))? {
        let Some(judged) = judgements.get(&question.id) else { continue };
        // Longer than people may type: the first 500 characters are what they would get to ask.
        let query: Query = question.text.chars().take(500).collect::<String>().parse()?;
        let request = SearchRequest::new(query, DEPTH);
        let ranking = search.ranking(tenant, &Roles::none(), &request).await?;
        if let Some(file) = evidence.as_mut() {
            for candidate in &ranking {
                let document = &ids[&candidate.article_id];
                let line = serde_json::json!({ "collection": name, "query": question.id, "document": document,
                    "grade": judged.get(document).copied().unwrap_or(0), "evidence": candidate.evidence, "score": candidate.score });
                writeln!(file, "{line}")?;
            }
        }
        let found: Vec<&str> = ranking.iter().take(DEPTH).map(|c| ids[&c.article_id].as_str()).collect();
        measures.add(&found, judged);
        let grade = |id: &Uuid| judged.get(&ids[id]).copied().unwrap_or(0);
        answers.push(Judged {
            candidates: ranking.iter().map(|c| (grade(&c.article_id), c.evidence, c.score)).collect(),
            ideal: measures::ideal(judged),
        });
    }
    Ok((measures.mean(), answers))
}

fn judgements(path: &Path) -> anyhow::Result<Judgements> {
    let mut judgements = Judgements::new();
    for line in fs::read_to_string(path)?.lines().skip(1).filter(|line| !line.trim().is_empty()) {
        let mut fields = line.split('\t');
        let (Some(query), Some(document), Some(grade)) = (fields.next(), fields.next(), fields.next()) else {
            bail!("{}: not three fields: {line}", path.display());
        };
        judgements.entry(query.to_owned()).or_default().insert(document.to_owned(), grade.trim().parse()?);
    }
    judgements.retain(|_, judged| judged.values().any(|grade| *grade > 0));
    Ok(judgements)
}
