//! Collections of documents with judged queries: how they are read, imported by the real import, and embedded.
//!
//! A collection is a folder with `corpus.jsonl` (`id`, `title`, `text`), `queries.jsonl` (`id`, `text`) and `qrels.tsv` (a
//! header; query, document, grade; 0 is "judged not relevant").
#![expect(clippy::print_stderr, reason = "embedding takes minutes: it says how far it is")]

pub mod measures;

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, bail};
use serde::{Deserialize, de::DeserializeOwned};
use shared::{
    db::Database,
    embedding::{Embedder, Embedders},
    knowledge::{
        EmbedArticle,
        embed::{embed_revision, reconcile},
        import::{self, SyncOptions},
    },
    tenancy::TenantId,
};
use uuid::Uuid;

/// Grades by document, by query.
pub type Judgements = HashMap<String, HashMap<String, u32>>;

/// A folder with documents and judged queries.
#[derive(Debug, Clone)]
pub struct Collection {
    /// Its folder's name.
    pub name: String,
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Document {
    id: String,
    title: String,
    text: String,
}

#[derive(Deserialize)]
struct Ticket {
    id: String,
    title: String,
    text: String,
    /// `deflect`: a document answers it.
    outcome: String,
}

/// A judged query.
#[derive(Debug, Clone, Deserialize)]
pub struct Question {
    /// As in the judgements.
    pub id: String,
    /// What was asked.
    pub text: String,
    /// What should be answered, where the collection says so.
    #[serde(default)]
    pub answer: Option<String>,
}

/// The collections below a folder, the smallest first: a mistake shows early.
pub fn collections(data: &Path) -> anyhow::Result<Vec<Collection>> {
    let mut found: Vec<Collection> = fs::read_dir(data)
        .with_context(|| format!("cannot read {}", data.display()))?
        .filter_map(Result::ok)
        .filter(|entry| entry.path().join("corpus.jsonl").exists())
        .filter_map(|entry| Some(Collection { name: entry.file_name().into_string().ok()?, folder: entry.path() }))
        .collect();
    if found.is_empty() {
        bail!("{} holds no folder with a corpus.jsonl", data.display());
    }
    found.sort_by_key(|c| fs::metadata(c.folder.join("corpus.jsonl")).map_or(0, |m| m.len()));
    Ok(found)
}

impl Collection {
    /// The queries that have a relevant document, with the grades of their documents.
    pub fn judged(&self) -> anyhow::Result<Vec<(Question, HashMap<String, u32>)>> {
        let mut judgements = judgements(&self.folder.join("qrels.tsv"))?;
        let questions: Vec<Question> = lines(&self.folder.join("queries.jsonl"))?;
        Ok(questions.into_iter().filter_map(|q| judgements.remove(&q.id).map(|judged| (q, judged))).collect())
    }

    /// The tickets of `tickets.jsonl` (`id`, `title`, `text`, `outcome`) that no document answers, by id; none without such a file.
    pub fn unanswered_tickets(&self) -> anyhow::Result<Vec<(String, String)>> {
        let file = self.folder.join("tickets.jsonl");
        let tickets: Vec<Ticket> = if file.exists() { lines(&file)? } else { Vec::new() };
        let unanswered = tickets.into_iter().filter(|ticket| ticket.outcome != "deflect");
        Ok(unanswered.map(|ticket| (ticket.id, format!("{}. {}", ticket.title, ticket.text))).collect())
    }

    /// Imports and embeds it; returns how many documents it has and their ids by article.
    pub async fn load(
        &self,
        database: &Database,
        embedder: &Arc<dyn Embedder>,
        tenant: TenantId,
    ) -> anyhow::Result<(usize, HashMap<Uuid, String>)> {
        let loaded = self.import(database, tenant).await?;
        // What a database that was kept has of an earlier form of the index is made anew.
        reconcile(database, tenant, &Embedders::only(Arc::clone(embedder))).await?;
        embed_all(database, embedder, tenant, &self.name).await?;
        Ok(loaded)
    }

    /// Imports it, without vectors; returns the same.
    pub async fn import(
        &self,
        database: &Database,
        tenant: TenantId,
    ) -> anyhow::Result<(usize, HashMap<Uuid, String>)> {
        let name = &self.name;
        let documents: Vec<Document> = lines(&self.folder.join("corpus.jsonl"))?;
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
            source: name.clone(),
            default_category: name.clone(),
            dry_run: false,
            archive_removed: false,
        };
        let report = import::sync(database, tenant, &options, &|_, _, _| {}).await?;
        for (path, reason) in &report.failed {
            eprintln!("{name}: {} was not imported: {reason}", paths.get(path).map_or(path.as_str(), String::as_str));
        }
        let mut tx = database.tenant(tenant).await?;
        let rows: Vec<(Uuid, String)> = sqlx::query_as("select id, source_path from articles where source = $1")
            .bind(name)
            .fetch_all(tx.connection())
            .await?;
        Ok((
            report.created + report.unchanged,
            rows.into_iter().filter_map(|(id, path)| Some((id, paths.get(&path)?.clone()))).collect(),
        ))
    }
}

/// Does what a tenant's open embedding jobs would do.
pub async fn embed_all(
    database: &Database,
    embedder: &Arc<dyn Embedder>,
    tenant: TenantId,
    name: &str,
) -> anyhow::Result<()> {
    let mut tx = database.tenant(tenant).await?;
    let jobs: Vec<(Uuid, serde_json::Value)> =
        sqlx::query_as("select id, payload from outbox order by id").fetch_all(tx.connection()).await?;
    drop(tx);
    let started = std::time::Instant::now();
    let mut passages = 0;
    for (done, (_, payload)) in jobs.iter().enumerate() {
        let job: EmbedArticle = serde_json::from_value(payload.clone())?;
        passages += embed_revision(database, &**embedder, tenant, job.revision_id, |_, _| ()).await?;
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

fn lines<T: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<T>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines().filter(|line| !line.is_empty()).map(|line| Ok(serde_json::from_str(line)?)).collect()
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
