//! Making a help center of any size out of real ones.

use std::{collections::HashMap, time::Instant};

use anyhow::Context as _;
use pgvector::HalfVector;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use shared::{knowledge::embed::reconcile, tenancy::TenantId};
use sqlx::PgConnection;
use tests::TestDatabase;
use uuid::Uuid;

use crate::base::{Base, Part};

/// How far the vector of a recombined passage is from that of the real one, beside its length of 1: as far as really embedded
/// ones were, in the middle (cosine .925).
const DISTANCE: f32 = 0.4;
/// Real passages in an article.
const PARTS: usize = 5;
/// From this size on, the collections with judged queries are in it as they are.
const WITH_DOCUMENTS: usize = 50_000;
/// Articles that are written at once.
const BATCH: usize = 500;

struct Article {
    title: String,
    content: String,
    roles: String,
    /// Collection and id of a document that is kept whole.
    document: Option<(String, String)>,
}

/// Fills a database: articles, then the product's own indexing of their words, then vectors and the index over them. Returns
/// how many seconds it took.
pub(crate) async fn fill(base: &Base, db: &TestDatabase, tenant: TenantId, size: usize) -> anyhow::Result<f64> {
    let mut random = StdRng::seed_from_u64(size as u64);
    let mut owner = db.owner().await;
    let start = Instant::now();
    let index: String = sqlx::query_scalar("select pg_get_indexdef('passage_embeddings_hnsw_index'::regclass)")
        .fetch_one(&mut owner)
        .await?;
    sqlx::raw_sql("drop index passage_embeddings_hnsw_index").execute(&mut owner).await?;
    let mut documents = if size >= WITH_DOCUMENTS { base.documents.iter() } else { [].iter() };
    let (mut passages, mut number) = (0_usize, 0_u32);
    while passages < size {
        let mut articles: Vec<Article> = documents
            .by_ref()
            .take(BATCH)
            .map(|document| Article {
                title: document.title.clone(),
                content: document.content.clone(),
                roles: roles(&mut random),
                document: Some((document.collection.clone(), document.id.clone())),
            })
            .collect();
        if articles.is_empty() {
            let missing = (size - passages).div_ceil(PARTS + 1).clamp(1, BATCH);
            articles.extend((0..missing).map(|n| recombined(base, number as usize + n, &mut random)));
            number += u32::try_from(missing)?;
        }
        write(&mut owner, tenant, &articles).await?;
        reconcile(&db.database, tenant, &base.embedders).await?;
        sqlx::raw_sql("delete from outbox; delete from unrelayed_jobs").execute(&mut owner).await?;
        passages = usize::try_from(
            sqlx::query_scalar::<_, i64>("select count(*) from passages").fetch_one(&mut owner).await?,
        )?;
        eprint!("\r{passages} of {size} passages");
    }
    eprintln!();
    vectors(base, &mut owner, tenant, &mut random).await?;
    sqlx::raw_sql("set maintenance_work_mem = '4GB'; set max_parallel_maintenance_workers = 2")
        .execute(&mut owner)
        .await?;
    let indexing = Instant::now();
    sqlx::raw_sql(sqlx::AssertSqlSafe(index)).execute(&mut owner).await?;
    eprintln!("the index over the vectors took {:.0} s", indexing.elapsed().as_secs_f64());
    sqlx::raw_sql("vacuum analyze").execute(&mut owner).await?;
    Ok(start.elapsed().as_secs_f64())
}

/// All of staff sees everything, one role a tenth, another a hundredth.
fn roles(random: &mut StdRng) -> String {
    let mut roles = vec!["staff"];
    roles.extend(random.random_bool(0.1).then_some("tenth"));
    roles.extend(random.random_bool(0.01).then_some("hundredth"));
    roles.join(",")
}

fn recombined(base: &Base, number: usize, random: &mut StdRng) -> Article {
    let parts: Vec<&Part> = base.parts.choose_multiple(random, PARTS).collect();
    Article {
        title: format!("{} {number}", parts[0].title.chars().take(180).collect::<String>()),
        content: parts.iter().map(|p| format!("## {}\n\n{}", p.title, p.body)).collect::<Vec<_>>().join("\n\n"),
        roles: roles(random),
        document: None,
    }
}

async fn write(owner: &mut PgConnection, tenant: TenantId, articles: &[Article]) -> anyhow::Result<()> {
    let column = |of: fn(&Article) -> &str| articles.iter().map(of).map(str::to_owned).collect::<Vec<String>>();
    let part = |of: fn(&(String, String)) -> &String| {
        articles.iter().map(|a| a.document.as_ref().map(of).cloned()).collect::<Vec<Option<String>>>()
    };
    sqlx::query(
        "with new as (
             select uuidv7() as article, uuidv7() as revision, *
             from unnest($2::text[], $3::text[], $4::text[], $5::text[], $6::text[]) as t (title, content, roles, source, path)),
         written as (
             insert into articles (tenant_id, id, slug, target_roles, status, published_revision_id, latest_revision_id,
                                   published_at, source, source_path)
             select $1, article, article::text, string_to_array(roles, ','), 'PUBLISHED', revision, revision, now(), source, path
             from new)
         insert into revisions (tenant_id, id, article_id, number, title, content, author)
         select $1, revision, article, 1, title, content, 'bench' from new",
    )
    .bind(tenant.uuid())
    .bind(column(|a| &a.title))
    .bind(column(|a| &a.content))
    .bind(column(|a| &a.roles))
    .bind(part(|(collection, _)| collection))
    .bind(part(|(_, id)| id))
    .execute(owner)
    .await?;
    Ok(())
}

/// Gives every passage its real vector, and a recombined one a copy of that of the real passage that it begins like, moved
/// towards another real one: that is what another title in front of the same text does.
async fn vectors(base: &Base, owner: &mut PgConnection, tenant: TenantId, random: &mut StdRng) -> anyhow::Result<()> {
    let beginning = |text: &str| text.chars().take(60).collect::<String>();
    let by_beginning: HashMap<String, &Part> = base.parts.iter().map(|p| (beginning(&p.body), p)).collect();
    let mean = mean(&base.parts);
    let rows: Vec<(Uuid, String, String)> =
        sqlx::query_as("select id, body, context from passages").fetch_all(&mut *owner).await?;
    for rows in rows.chunks(2_000) {
        let (mut ids, mut copies) = (Vec::new(), Vec::new());
        for (id, body, context) in rows {
            let vector = if let Some(real) = base.vectors.get(context) {
                real.clone()
            } else {
                let other = base.parts.choose(random).context("no passages")?;
                let real = match by_beginning.get(&beginning(body)) {
                    Some(real) => real,
                    None => base.parts.choose(random).context("no passages")?,
                };
                moved(&real.vector, &other.vector, &mean)
            };
            ids.push(*id);
            copies.push(HalfVector::from_f32_slice(&vector));
        }
        sqlx::query(
            "insert into passage_embeddings (tenant_id, passage_id, article_id, ordinal, model, embedding)
             select $1, id, p.article_id, p.ordinal, $2, vector
             from unnest($3::uuid[], $4::halfvec[]) as t (id, vector) join passages p using (id)",
        )
        .bind(tenant.uuid())
        .bind(base.model())
        .bind(&ids)
        .bind(&copies)
        .execute(&mut *owner)
        .await?;
    }
    Ok(())
}

fn unit(vector: Vec<f32>) -> Vec<f32> {
    let length = vector.iter().map(|x| x * x).sum::<f32>().sqrt();
    vector.into_iter().map(|x| x / length).collect()
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn mean(parts: &[Part]) -> Vec<f32> {
    let mut mean = vec![0.0; parts.first().map_or(0, |part| part.vector.len())];
    for part in parts {
        for (sum, x) in mean.iter_mut().zip(&part.vector) {
            *sum += x / parts.len() as f32;
        }
    }
    mean
}

/// A vector of unit length near one, in the direction of another as seen from the mean of all.
fn moved(vector: &[f32], towards: &[f32], mean: &[f32]) -> Vec<f32> {
    let direction = unit(towards.iter().zip(mean).map(|(x, m)| x - m).collect());
    unit(vector.iter().zip(direction).map(|(x, d)| x + DISTANCE * d).collect())
}
