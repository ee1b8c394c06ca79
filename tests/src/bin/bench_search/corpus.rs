//! A help center of some size, and how well its articles are found.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    io::Write as _,
    path::Path,
    sync::Arc,
};

use anyhow::Context as _;
use futures::{FutureExt as _, future::BoxFuture};
use pgvector::HalfVector;
use secrecy::ExposeSecret as _;
use shared::{
    auth::Roles,
    db::Database,
    embedding::{EmbedError, Embedder, Embedding, ModelId},
    search::{Search, SearchRequest},
    tenancy::TenantId,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tests::{
    TestDatabase,
    judged::measures::{DEPTH, Measures},
};
use uuid::Uuid;

use crate::{
    base::{Base, JudgedQuery},
    fill::fill,
};

/// How many nearest passages are to be found.
const NEAREST: i64 = 100;

/// Who sees everything.
pub(crate) fn staff() -> Roles {
    role("staff")
}

/// Roles that see a part.
pub(crate) fn audiences() -> Vec<(&'static str, Roles)> {
    vec![("all", staff()), ("10 %", role("tenth")), ("1 %", role("hundredth"))]
}

fn role(name: &str) -> Roles {
    Roles::new(vec![name.to_owned()]).unwrap_or_default()
}

/// A help center of some size.
pub(crate) struct Corpus {
    pub(crate) database: Database,
    pub(crate) owner_url: String,
    pub(crate) tenant: TenantId,
    pub(crate) passages: i64,
    pub(crate) articles: i64,
    /// How long it took to fill it and to make its indexes; none when it was kept.
    pub(crate) built_seconds: Option<f64>,
    /// What search needs, in bytes, by name.
    pub(crate) sizes: Vec<(String, i64)>,
    /// Documents of the judged collections, by article.
    documents: HashMap<Uuid, (String, String)>,
    model: String,
    name: String,
}

impl Corpus {
    /// Makes one of about so many passages.
    pub(crate) async fn of(base: &Base, size: usize, keep: bool) -> anyhow::Result<Self> {
        let name = format!("bench_search_{size}");
        let db = TestDatabase::named(&name).await;
        let tenant = db.tenant("bench").await.id;
        let mut owner = db.owner().await;
        let there: i64 = sqlx::query_scalar("select count(*) from passages").fetch_one(&mut owner).await?;
        let built_seconds = if keep && there > 0 { None } else { Some(fill(base, &db, tenant, size).await?) };
        let (passages, articles) =
            sqlx::query_as("select (select count(*) from passages), (select count(*) from articles)")
                .fetch_one(&mut owner)
                .await?;
        let sizes = sqlx::query_as(
            "select what, sum(pg_total_relation_size(name::regclass))::bigint
             from (values ('passages', 'passages'), ('vectors', 'passage_embeddings'), ('terms', 'search_documents'),
                          ('terms', 'search_terms')) as part (what, name) group by what order by what",
        )
        .fetch_all(&mut owner)
        .await?;
        let rows: Vec<(Uuid, String, String)> =
            sqlx::query_as("select id, source, source_path from articles where source is not null")
                .fetch_all(&mut owner)
                .await?;
        Ok(Self {
            database: db.database.clone(),
            owner_url: db.owner_url.expose_secret().to_owned(),
            tenant,
            passages,
            articles,
            built_seconds,
            sizes,
            documents: rows.into_iter().map(|(id, collection, document)| (id, (collection, document))).collect(),
            model: base.model().to_owned(),
            name,
        })
    }

    /// A search engine that has answered nothing yet.
    pub(crate) fn search(&self, embedder: &Arc<dyn Embedder>) -> Search {
        Search::new(self.database.clone(), Some(Arc::clone(embedder)))
    }

    /// The share of the articles of the 100 really nearest passages that the semantic arm finds.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub(crate) async fn recall(
        &self,
        embedder: &Arc<dyn Embedder>,
        roles: &Roles,
        queries: impl Iterator<Item = &str>,
    ) -> anyhow::Result<f64> {
        let mut owner = PgConnection::connect(&self.owner_url).await?;
        let search = self.search(embedder);
        let (mut found, mut wanted) = (0, 0);
        for query in queries {
            let vector = embedder.embed(vec![query.to_owned()]).await?.remove(0).to_half();
            let exact: Vec<Uuid> = sqlx::query_scalar(
                "select e.article_id from passage_embeddings e join articles a on a.id = e.article_id
                 where article_is_visible(a.status, a.target_roles, $1)
                 order by (e.embedding <=> $2) + 0 limit $3",
            )
            .bind(roles.as_slice())
            .bind(&vector)
            .bind(NEAREST)
            .fetch_all(&mut owner)
            .await?;
            let mut tx = self.database.tenant(self.tenant).await?;
            let request = SearchRequest::new(query.parse()?, 20);
            let nearest = search.nearest(&mut tx, roles, &request, &self.model, &vector).await?;
            let exact: BTreeSet<Uuid> = exact.into_iter().collect();
            wanted += exact.len();
            found += exact.iter().filter(|id| nearest.contains(id)).count();
        }
        Ok(found as f64 / wanted.max(1) as f64)
    }

    /// How well the documents of each judged collection are found among all articles. Empty: they are not in it.
    pub(crate) async fn relevance(
        &self,
        embedder: &Arc<dyn Embedder>,
        judged: &[JudgedQuery],
    ) -> anyhow::Result<BTreeMap<String, Measures>> {
        let search = self.search(embedder);
        let mut measures: BTreeMap<String, Measures> = BTreeMap::new();
        for query in judged.iter().filter(|_| !self.documents.is_empty()) {
            let request = SearchRequest::new(query.text.parse()?, DEPTH);
            let outcome = search.run(self.tenant, &staff(), &request).await?;
            let found: Vec<&str> = outcome.hits.iter().map(|hit| self.document(hit.id, &query.collection)).collect();
            measures.entry(query.collection.clone()).or_default().add(&found, &query.grades);
        }
        Ok(measures.into_iter().map(|(collection, measures)| (collection, measures.mean())).collect())
    }

    /// The document of a collection that an article is; nothing, when it is none.
    fn document(&self, article: Uuid, collection: &str) -> &str {
        self.documents.get(&article).filter(|(of, _)| of == collection).map_or("", |(_, id)| id)
    }

    /// Passages and queries with their vectors (little-endian f32), for other search engines.
    pub(crate) async fn export(
        &self,
        folder: &Path,
        queries: &[String],
        judged: &[JudgedQuery],
        embedder: &Arc<dyn Embedder>,
    ) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let mut owner = PgConnection::connect(&self.owner_url).await?;
        let rows: Vec<(String, Uuid, HalfVector)> = sqlx::query_as(
            "select p.context, p.article_id, e.embedding from passages p join passage_embeddings e on e.passage_id = p.id
             order by p.id",
        )
        .fetch_all(&mut owner)
        .await?;
        let mut texts = std::io::BufWriter::new(fs::File::create(folder.join("passages.jsonl"))?);
        let mut vectors = std::io::BufWriter::new(fs::File::create(folder.join("vectors.f32"))?);
        for (text, article, vector) in rows {
            let document = self.documents.get(&article).map(|(collection, id)| format!("{collection}/{id}"));
            writeln!(texts, "{}", serde_json::json!({ "text": text, "article": article, "document": document }))?;
            for number in vector.to_vec() {
                vectors.write_all(&f32::from(number).to_le_bytes())?;
            }
        }
        fs::write(folder.join("queries.json"), serde_json::to_string(queries)?)?;
        fs::write(folder.join("judged.json"), serde_json::to_string(judged)?)?;
        let mut vectors = std::io::BufWriter::new(fs::File::create(folder.join("queries.f32"))?);
        for query in queries.iter().chain(judged.iter().map(|query| &query.text)) {
            for number in embedder.embed(vec![query.clone()]).await?.remove(0).as_slice() {
                vectors.write_all(&number.to_le_bytes())?;
            }
        }
        Ok(())
    }

    /// Deletes the database, unless it is to be kept.
    pub(crate) async fn close(self, keep: bool) -> anyhow::Result<()> {
        self.database.close().await;
        if !keep {
            let server = tests::optional_variable("TEST_DATABASE_OWNER_URL").context("no server")?;
            let mut connection = PgConnection::connect(&server).await?;
            sqlx::query(AssertSqlSafe(format!("drop database {} with (force)", self.name)))
                .execute(&mut connection)
                .await?;
        }
        Ok(())
    }
}

/// Answers from memory: what a search takes beside the model.
pub(crate) struct Known {
    model: ModelId,
    vectors: HashMap<String, Embedding>,
}

impl Known {
    /// Knows the vectors of these texts.
    pub(crate) async fn of(texts: &[String], embedder: &dyn Embedder) -> anyhow::Result<Self> {
        let mut vectors = HashMap::new();
        for text in texts {
            vectors.insert(text.clone(), embedder.embed(vec![text.clone()]).await?.remove(0));
        }
        Ok(Self { model: embedder.model().clone(), vectors })
    }
}

impl Embedder for Known {
    fn model(&self) -> &ModelId {
        &self.model
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        let known = |text: &String| self.vectors.get(text).cloned();
        let vectors: Option<Vec<Embedding>> = texts.iter().map(known).collect();
        std::future::ready(vectors.ok_or_else(|| EmbedError::Rejected("it is not known".to_owned()))).boxed()
    }
}
