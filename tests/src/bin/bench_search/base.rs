//! Real help centers and manuals: what larger ones are made of, and what they are asked.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fs,
    path::Path,
    sync::Arc,
};

use pgvector::HalfVector;
use rand::{SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use shared::{
    embedding::{Embedder, Embedders},
    knowledge::import::{self, SyncOptions},
};
use sqlx::PgConnection;
use tests::{TestDatabase, judged};
use uuid::Uuid;

/// Most words of a query that is a sentence of a passage.
const QUERY_WORDS: usize = 12;
/// How many of those there are.
const SENTENCES: usize = 20_000;

/// Real documents and passages with their vectors.
pub(crate) struct Base {
    /// What is kept whole: the collections with judged queries.
    pub(crate) documents: Vec<Document>,
    /// What is recombined: passages of documents that no query was judged to be about.
    pub(crate) parts: Vec<Part>,
    /// Vectors by what was embedded.
    pub(crate) vectors: HashMap<String, Vec<f32>>,
    /// Queries with the grades of their documents.
    pub(crate) judged: Vec<JudgedQuery>,
    pub(crate) embedders: Embedders,
    sentences: Vec<String>,
}

/// A document that is kept whole.
pub(crate) struct Document {
    pub(crate) collection: String,
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) content: String,
}

/// A passage that is recombined.
pub(crate) struct Part {
    pub(crate) title: String,
    pub(crate) body: String,
    pub(crate) vector: Vec<f32>,
}

/// A query whose relevant documents are known.
#[derive(serde::Serialize)]
pub(crate) struct JudgedQuery {
    pub(crate) collection: String,
    pub(crate) text: String,
    pub(crate) grades: HashMap<String, u32>,
}

impl Base {
    /// Imports and embeds what is below `data`, once for a server.
    pub(crate) async fn load(data: &Path, embedder: &Arc<dyn Embedder>) -> anyhow::Result<Self> {
        let db = TestDatabase::named("bench_search_base").await;
        let help_centers = db.tenant("base").await.id;
        for folder in fs::read_dir(data.join("helpcenters"))?.filter_map(Result::ok).filter(|f| f.path().is_dir()) {
            let options = SyncOptions {
                root: folder.path(),
                source: folder.file_name().to_string_lossy().into_owned(),
                default_category: "General".to_owned(),
                dry_run: false,
                archive_removed: false,
            };
            import::sync(&db.database, help_centers, &options, &|_, _, _| {}).await?;
        }
        judged::embed_all(&db.database, embedder, help_centers, "help centers").await?;
        let mut owner = db.owner().await;
        let (mut documents, mut judged) = (Vec::new(), Vec::new());
        let mut relevant: HashSet<Uuid> = HashSet::new();
        for collection in judged::collections(&data.join("ir"))? {
            let tenant = db.tenant(&collection.name.replace('_', "-")).await.id;
            let (_, ids) = collection.load(&db.database, embedder, tenant).await?;
            let mut asked_about = HashSet::new();
            for (question, grades) in collection.judged()? {
                asked_about.extend(grades.iter().filter(|(_, grade)| **grade > 0).map(|(id, _)| id.clone()));
                let text = question.text.chars().take(500).collect();
                judged.push(JudgedQuery { collection: collection.name.clone(), text, grades });
            }
            relevant.extend(ids.iter().filter(|(_, id)| asked_about.contains(*id)).map(|(article, _)| *article));
            documents.extend(whole(&mut owner, &collection.name, &ids).await?);
        }
        let (vectors, parts) = passages(&mut owner, &relevant).await?;
        let mut sentences = sentences(&parts);
        sentences.truncate(SENTENCES);
        let embedders = Embedders::only(Arc::clone(embedder));
        Ok(Self { documents, parts, vectors, judged, embedders, sentences })
    }

    /// The model that the vectors are of.
    pub(crate) fn model(&self) -> &str {
        self.embedders.current().model().as_ref()
    }

    /// Distinct queries: those that were judged, and sentences of passages, in no order.
    pub(crate) fn queries(&self) -> Vec<String> {
        let judged = self.judged.iter().map(|query| query.text.clone());
        let queries: BTreeSet<String> = judged.chain(self.sentences.iter().cloned()).collect();
        let mut queries: Vec<String> = queries.into_iter().collect();
        queries.shuffle(&mut StdRng::seed_from_u64(7));
        queries
    }
}

async fn whole(
    owner: &mut PgConnection,
    collection: &str,
    ids: &HashMap<Uuid, String>,
) -> anyhow::Result<Vec<Document>> {
    let rows: Vec<(Uuid, String, String)> = sqlx::query_as(
        "select a.id, r.title, r.content from articles a join revisions r on r.id = a.published_revision_id
         where a.source = $1 order by a.source_path",
    )
    .bind(collection)
    .fetch_all(owner)
    .await?;
    let document = |(article, title, content)| {
        Some(Document { collection: collection.to_owned(), id: ids.get(&article)?.clone(), title, content })
    };
    Ok(rows.into_iter().filter_map(document).collect())
}

/// All vectors by what was embedded, and the passages that are in no document that a query is about.
async fn passages(
    owner: &mut PgConnection,
    relevant: &HashSet<Uuid>,
) -> anyhow::Result<(HashMap<String, Vec<f32>>, Vec<Part>)> {
    let rows: Vec<(Uuid, i32, String, String, String, HalfVector)> = sqlx::query_as(
        "select p.article_id, p.ordinal, r.title, p.body, p.context, e.embedding
         from passages p join passage_embeddings e on e.passage_id = p.id join revisions r on r.id = p.revision_id
         order by p.article_id, p.ordinal",
    )
    .fetch_all(owner)
    .await?;
    // One of the collections is one of the help centers as well.
    let judged: HashSet<String> =
        rows.iter().filter(|(article, ..)| relevant.contains(article)).map(|(.., body, _, _)| body.clone()).collect();
    let (mut vectors, mut parts) = (HashMap::new(), Vec::new());
    for (_, ordinal, title, body, context, vector) in rows {
        let vector: Vec<f32> = vector.to_vec().into_iter().map(f32::from).collect();
        if ordinal > 0 && !judged.contains(&body) {
            parts.push(Part { title, body, vector: vector.clone() });
        }
        vectors.insert(context, vector);
    }
    Ok((vectors, parts))
}

/// Sentences as long as questions are, all different, in no order.
fn sentences(parts: &[Part]) -> Vec<String> {
    let mut found = BTreeSet::new();
    for sentence in parts.iter().flat_map(|part| part.body.split(['.', '\n', ':'])) {
        let words: Vec<&str> = sentence.split_whitespace().collect();
        if (4..=QUERY_WORDS).contains(&words.len()) && sentence.is_ascii() {
            found.insert(words.join(" ").replace('"', ""));
        }
    }
    let mut found: Vec<String> = found.into_iter().filter(|sentence| sentence.len() >= 12).collect();
    found.shuffle(&mut StdRng::seed_from_u64(7));
    found
}
