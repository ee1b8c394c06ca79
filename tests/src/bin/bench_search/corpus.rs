//! Help centers of any size, made of real ones.

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    io::Write as _,
    path::Path,
    sync::Arc,
    time::Instant,
};

use anyhow::Context as _;
use pgvector::Vector;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use secrecy::ExposeSecret as _;
use shared::{
    auth::Roles,
    db::Database,
    embedding::Embedder,
    knowledge::{
        EmbedArticle,
        embed::{embed_article, reconcile},
        import::{self, SyncOptions},
    },
    search::{Search, SearchRequest},
    tenancy::TenantId,
};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tests::TestDatabase;
use uuid::Uuid;

/// How far a copy's vector is from the real one: the length of the noise beside 1.
const NOISE: f32 = 0.3;
/// Real passages in an article.
const PARTS: usize = 5;
/// Most words of a query.
const QUERY_WORDS: usize = 12;
/// How many nearest passages are to be found.
const NEAREST: i64 = 100;

/// Real passages with their vectors.
pub(crate) struct Base {
    pub(crate) passages: Vec<RealPassage>,
    model: String,
}

pub(crate) struct RealPassage {
    title: String,
    body: String,
    vector: Vec<f32>,
}

/// Who sees everything.
pub(crate) fn staff() -> Roles {
    Roles::new(vec!["staff".to_owned()]).unwrap_or_default()
}

/// Roles that see a part.
pub(crate) fn audiences() -> Vec<(&'static str, Roles)> {
    let role = |name: &str| Roles::new(vec![name.to_owned()]).unwrap_or_default();
    vec![("all", staff()), ("10 %", role("tenth")), ("1 %", role("hundredth"))]
}

/// Imports and embeds the real help centers, once for a server.
pub(crate) async fn base(data: &Path, embedder: &Arc<dyn Embedder>) -> anyhow::Result<Base> {
    let db = TestDatabase::named("bench_search_base").await;
    let tenant = db.tenant("base").await.id;
    for folder in fs::read_dir(data.join("helpcenters"))?.filter_map(Result::ok).filter(|f| f.path().is_dir()) {
        let options = SyncOptions {
            root: folder.path(),
            source: folder.file_name().to_string_lossy().into_owned(),
            default_category: "General".to_owned(),
            dry_run: false,
            archive_removed: false,
        };
        import::sync(&db.database, tenant, &options, &|_, _, _| {}).await?;
    }
    let mut owner = db.owner().await;
    let jobs: Vec<(Uuid, Uuid)> =
        sqlx::query_as("select id, published_revision_id from articles where status = 'PUBLISHED'")
            .fetch_all(&mut owner)
            .await?;
    for (article_id, revision_id) in jobs {
        embed_article(&db.database, &**embedder, tenant, &EmbedArticle { article_id, revision_id }, |_, _| ()).await?;
    }
    let rows: Vec<(String, String, Vector)> = sqlx::query_as(
        "select r.title, p.body, e.embedding from passages p join passage_embeddings e on e.passage_id = p.id
         join revisions r on r.id = p.revision_id where p.ordinal > 0 order by p.id",
    )
    .fetch_all(&mut owner)
    .await?;
    let passages =
        rows.into_iter().map(|(title, body, vector)| RealPassage { title, body, vector: vector.to_vec() }).collect();
    Ok(Base { passages, model: embedder.model().to_string() })
}

impl Base {
    /// Sentences of the passages, as long as questions are, all different.
    pub(crate) fn queries(&self) -> anyhow::Result<Vec<String>> {
        let mut queries = BTreeSet::new();
        for passage in &self.passages {
            for sentence in passage.body.split(['.', '\n', ':']) {
                let words: Vec<&str> = sentence.split_whitespace().collect();
                if (4..=QUERY_WORDS).contains(&words.len()) && sentence.is_ascii() {
                    queries.insert(words.join(" ").replace('"', ""));
                }
            }
        }
        let mut queries: Vec<String> = queries.into_iter().filter(|q| q.len() >= 12).collect();
        rand::seq::SliceRandom::shuffle(queries.as_mut_slice(), &mut StdRng::seed_from_u64(7));
        anyhow::ensure!(queries.len() > 1_000, "only {} queries", queries.len());
        Ok(queries)
    }
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
    /// Some queries.
    pub(crate) sample: Vec<String>,
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
        let sample = base.queries()?.into_iter().take(50).collect();
        Ok(Self {
            database: db.database.clone(),
            owner_url: db.owner_url.expose_secret().to_owned(),
            tenant,
            passages,
            articles,
            built_seconds,
            sizes,
            sample,
            model: base.model.clone(),
            name,
        })
    }

    /// The share of the articles of the 100 really nearest passages that the semantic arm finds.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    pub(crate) async fn recall(
        &self,
        embedder: &Arc<dyn Embedder>,
        roles: &Roles,
        queries: impl Iterator<Item = &String>,
    ) -> anyhow::Result<f64> {
        let mut owner = PgConnection::connect(&self.owner_url).await?;
        let (mut found, mut wanted) = (0, 0);
        for query in queries {
            let vector = embedder.embed(vec![query.clone()]).await?.remove(0);
            let vector = Vector::from(vector.into_vec());
            let exact: Vec<Uuid> = sqlx::query_scalar(
                "select p.article_id from passage_embeddings e join passages p on p.id = e.passage_id
                 join articles a on a.id = p.article_id where article_is_visible(a.status, a.target_roles, $1)
                 order by (e.embedding <=> $2) + 0 limit $3",
            )
            .bind(roles.as_slice())
            .bind(&vector)
            .bind(NEAREST)
            .fetch_all(&mut owner)
            .await?;
            let search = Search::new(self.database.clone(), Some(Arc::clone(embedder)));
            let mut tx = self.database.tenant(self.tenant).await?;
            let request = SearchRequest::new(query.parse()?, 20);
            let nearest = search.nearest(&mut tx, roles, &request, &self.model, &vector).await?;
            let exact: BTreeSet<Uuid> = exact.into_iter().collect();
            wanted += exact.len();
            found += exact.iter().filter(|id| nearest.contains(id)).count();
        }
        Ok(found as f64 / wanted.max(1) as f64)
    }

    /// Passages with their vectors (little-endian f32) and queries, for other search engines.
    pub(crate) async fn export(&self, folder: &Path, queries: &[String]) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        let mut owner = PgConnection::connect(&self.owner_url).await?;
        let rows: Vec<(String, Uuid, Vector)> = sqlx::query_as(
            "select p.context, p.article_id, e.embedding from passages p join passage_embeddings e on e.passage_id = p.id
             order by p.id",
        )
        .fetch_all(&mut owner)
        .await?;
        let mut texts = std::io::BufWriter::new(fs::File::create(folder.join("passages.jsonl"))?);
        let mut vectors = std::io::BufWriter::new(fs::File::create(folder.join("vectors.f32"))?);
        for (text, article, vector) in rows {
            writeln!(texts, "{}", serde_json::json!({ "text": text, "article": article }))?;
            for number in vector.to_vec() {
                vectors.write_all(&number.to_le_bytes())?;
            }
        }
        fs::write(folder.join("queries.json"), serde_json::to_string(queries)?)?;
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

/// Fills a database: articles, then the product's own indexing of their words, then vectors and the index over them.
async fn fill(base: &Base, db: &TestDatabase, tenant: TenantId, size: usize) -> anyhow::Result<f64> {
    let mut random = StdRng::seed_from_u64(size as u64);
    let mut owner = db.owner().await;
    let start = Instant::now();
    sqlx::raw_sql("drop index passage_embeddings_hnsw_index").execute(&mut owner).await?;
    let mut passages = 0_usize;
    let mut number = 0_u32;
    while passages < size {
        let (mut titles, mut contents, mut roles) = (Vec::new(), Vec::new(), Vec::new());
        let missing = (size - passages).div_ceil(PARTS + 1).clamp(1, 500);
        for _ in 0..missing {
            let parts: Vec<&RealPassage> = base.passages.choose_multiple(&mut random, PARTS).collect();
            titles.push(format!("{} {number}", parts[0].title.chars().take(180).collect::<String>()));
            contents
                .push(parts.iter().map(|p| format!("## {}\n\n{}", p.title, p.body)).collect::<Vec<_>>().join("\n\n"));
            let mut seen_by = vec!["staff"];
            seen_by.extend(random.random_bool(0.1).then_some("tenth"));
            seen_by.extend(random.random_bool(0.01).then_some("hundredth"));
            roles.push(seen_by.join(","));
            number += 1;
        }
        sqlx::query(
            "with new as (
                 select uuidv7() as article, uuidv7() as revision, * from unnest($2::text[], $3::text[], $4::text[]) as t (title, content, roles)),
             written as (
                 insert into articles (tenant_id, id, slug, target_roles, status, published_revision_id, latest_revision_id, published_at)
                 select $1, article, article::text, string_to_array(roles, ','), 'PUBLISHED', revision, revision, now() from new)
             insert into revisions (tenant_id, id, article_id, number, title, content, author)
             select $1, revision, article, 1, title, content, 'bench' from new",
        )
        .bind(tenant.uuid())
        .bind(&titles)
        .bind(&contents)
        .bind(&roles)
        .execute(&mut owner)
        .await?;
        reconcile(&db.database, tenant, &base.model).await?;
        sqlx::query("delete from outbox").execute(&mut owner).await?;
        sqlx::query("delete from unrelayed_jobs").execute(&mut owner).await?;
        passages = usize::try_from(
            sqlx::query_scalar::<_, i64>("select count(*) from passages").fetch_one(&mut owner).await?,
        )?;
        eprint!("\r{passages} of {size} passages");
    }
    eprintln!();
    vectors(base, &mut owner, tenant, &mut random).await?;
    sqlx::raw_sql(
        "set maintenance_work_mem = '4GB'; set max_parallel_maintenance_workers = 2;
         create index passage_embeddings_hnsw_index on passage_embeddings using hnsw (embedding vector_cosine_ops)",
    )
    .execute(&mut owner)
    .await?;
    sqlx::raw_sql("vacuum analyze").execute(&mut owner).await?;
    Ok(start.elapsed().as_secs_f64())
}

/// Gives every passage a perturbed copy of the vector of the real passage that it begins like.
async fn vectors(base: &Base, owner: &mut PgConnection, tenant: TenantId, random: &mut StdRng) -> anyhow::Result<()> {
    let beginning = |text: &str| text.chars().take(60).collect::<String>();
    let known: HashMap<String, &RealPassage> = base.passages.iter().map(|p| (beginning(&p.body), p)).collect();
    let rows: Vec<(Uuid, String)> = sqlx::query_as("select id, body from passages").fetch_all(&mut *owner).await?;
    for rows in rows.chunks(2_000) {
        let (mut ids, mut copies) = (Vec::new(), Vec::new());
        for (id, body) in rows {
            let real = match known.get(&beginning(body)) {
                Some(real) => real,
                None => base.passages.choose(random).context("no passages")?,
            };
            ids.push(*id);
            copies.push(Vector::from(perturbed(&real.vector, random)));
        }
        sqlx::query(
            "insert into passage_embeddings (tenant_id, passage_id, model, embedding)
             select $1, id, $2, vector from unnest($3::uuid[], $4::vector[]) as t (id, vector)",
        )
        .bind(tenant.uuid())
        .bind(&base.model)
        .bind(&ids)
        .bind(&copies)
        .execute(&mut *owner)
        .await?;
    }
    Ok(())
}

/// A vector of unit length near another.
fn perturbed(vector: &[f32], random: &mut StdRng) -> Vec<f32> {
    let unit = |v: Vec<f32>| {
        let length = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        v.into_iter().map(|x| x / length).collect::<Vec<f32>>()
    };
    let noise = unit((0..vector.len()).map(|_| random.random_range(-1.0..1.0)).collect());
    unit(vector.iter().zip(noise).map(|(x, n)| x + NOISE * n).collect())
}
