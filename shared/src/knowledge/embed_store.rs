//! The SQL of embedding and reindexing: what has no vector yet, what is of before, and which model serves.

use chrono::{DateTime, Utc};
use pgvector::HalfVector;
use uuid::Uuid;

use super::{embed::BuiltModel, jobs::Reindex};
use crate::db::TenantTx;

/// The first passages of the revision that have no embedding of this model, id and the text to embed, and how many there are.
pub(super) async fn passages_without_embedding(
    tx: &mut TenantTx,
    revision_id: Uuid,
    model: &str,
    limit: i64,
) -> Result<(Vec<(Uuid, String)>, u64), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select p.id, p.context, count(*) over () as "all!" from passages p
         where p.tenant_id = $1 and p.revision_id = $2
           and not exists (select from passage_embeddings e
                           where e.tenant_id = p.tenant_id and e.passage_id = p.id and e.model = $3)
         order by p.ordinal limit $4"#,
        tenant,
        revision_id,
        model,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    let all = rows.first().map_or(0, |row| row.all.cast_unsigned());
    Ok((rows.into_iter().map(|r| (r.id, r.context)).collect(), all))
}

/// Stores embeddings of passages that still exist; one that is there already stays.
pub(super) async fn insert_embeddings(
    tx: &mut TenantTx,
    passages: &[Uuid],
    model: &str,
    embeddings: &[HalfVector],
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query(
        "insert into passage_embeddings (tenant_id, passage_id, article_id, ordinal, model, embedding)
         select $1, p.id, p.article_id, p.ordinal, $3, new.embedding
         from unnest($2::uuid[], $4::halfvec[]) as new (passage_id, embedding)
         join passages p on p.tenant_id = $1 and p.id = new.passage_id
         for key share of p
         on conflict do nothing",
    )
    .bind(tenant)
    .bind(passages)
    .bind(model)
    .bind(embeddings) // unchecked, because the checked macros know no arrays of vectors
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The time, by the database.
pub(super) async fn now(tx: &mut TenantTx) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(tx.connection()).await
}

/// How many published articles of the job's extent are to be indexed, and how many there are.
pub(super) async fn count_to_index(tx: &mut TenantTx, job: &Reindex) -> Result<(u64, u64), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let counted = sqlx::query!(
        r#"select count(*) filter (where d.indexed_at is null or d.indexed_at < $3) as "left!", count(*) as "all!"
           from articles a left join search_documents d on d.tenant_id = a.tenant_id and d.article_id = a.id
           where a.tenant_id = $1 and a.status = 'PUBLISHED'
             and ($2::uuid is null or a.category_id in (select category_and_below($1, $2)))
             and ($4::uuid[] is null or a.id = any ($4))"#,
        tenant,
        job.category_id,
        job.requested_at,
        job.article_ids.as_deref()
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((counted.left.cast_unsigned(), counted.all.cast_unsigned()))
}

/// The next articles to index after this one.
pub(super) async fn articles_to_index(
    tx: &mut TenantTx,
    job: &Reindex,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select a.id from articles a left join search_documents d on d.tenant_id = a.tenant_id and d.article_id = a.id
         where a.tenant_id = $1 and a.status = 'PUBLISHED' and a.id > $4
           and ($2::uuid is null or a.category_id in (select category_and_below($1, $2)))
           and ($6::uuid[] is null or a.id = any ($6))
           and (d.indexed_at is null or d.indexed_at < $3)
         order by a.id limit $5",
        tenant,
        job.category_id,
        job.requested_at,
        after,
        limit,
        job.article_ids.as_deref()
    )
    .fetch_all(tx.connection())
    .await
}

/// How many articles of the job's extent have passages to embed, and how many have passages.
pub(super) async fn count_to_embed(tx: &mut TenantTx, job: &Reindex, model: &str) -> Result<(u64, u64), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let counted = sqlx::query!(
        r#"select count(*) filter (where is_left) as "left!", count(*) as "all!" from (
               select bool_or(e.created_at is null or e.created_at < $3) as is_left
               from passages p
               join articles a on a.tenant_id = p.tenant_id and a.id = p.article_id
               left join passage_embeddings e on e.tenant_id = p.tenant_id and e.passage_id = p.id and e.model = $4
               where p.tenant_id = $1 and ($2::uuid is null or a.category_id in (select category_and_below($1, $2)))
                 and ($5::uuid[] is null or a.id = any ($5))
               group by p.article_id) article"#,
        tenant,
        job.category_id,
        job.requested_at,
        model,
        job.article_ids.as_deref()
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((counted.left.cast_unsigned(), counted.all.cast_unsigned()))
}

/// The next articles with passages to embed after this one.
pub(super) async fn articles_to_embed(
    tx: &mut TenantTx,
    job: &Reindex,
    model: &str,
    after: Uuid,
    limit: i64,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select p.article_id from passages p
         join articles a on a.tenant_id = p.tenant_id and a.id = p.article_id
         left join passage_embeddings e on e.tenant_id = p.tenant_id and e.passage_id = p.id and e.model = $4
         where p.tenant_id = $1 and p.article_id > $5 and (e.created_at is null or e.created_at < $3)
           and ($2::uuid is null or a.category_id in (select category_and_below($1, $2)))
           and ($7::uuid[] is null or a.id = any ($7))
         group by p.article_id order by p.article_id limit $6",
        tenant,
        job.category_id,
        job.requested_at,
        model,
        after,
        limit,
        job.article_ids.as_deref()
    )
    .fetch_all(tx.connection())
    .await
}

/// The passages of an article that have no vector of the model, or one from before.
pub(super) async fn passages_to_embed(
    tx: &mut TenantTx,
    article: Uuid,
    model: &str,
    since: DateTime<Utc>,
) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "select p.id, p.context from passages p
         left join passage_embeddings e on e.tenant_id = p.tenant_id and e.passage_id = p.id and e.model = $3
         where p.tenant_id = $1 and p.article_id = $2 and (e.created_at is null or e.created_at < $4) order by p.ordinal",
        tenant,
        article,
        model,
        since
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.context)).collect())
}

/// Stores embeddings of passages that still exist, in place of those of before.
pub(super) async fn replace_embeddings(
    tx: &mut TenantTx,
    passages: &[Uuid],
    model: &str,
    embeddings: &[HalfVector],
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query(
        "insert into passage_embeddings (tenant_id, passage_id, article_id, ordinal, model, embedding)
         select $1, p.id, p.article_id, p.ordinal, $3, new.embedding
         from unnest($2::uuid[], $4::halfvec[]) as new (passage_id, embedding)
         join passages p on p.tenant_id = $1 and p.id = new.passage_id
         for key share of p
         on conflict (tenant_id, passage_id, model) do update
         set embedding = excluded.embedding, created_at = clock_timestamp()",
    )
    .bind(tenant)
    .bind(passages)
    .bind(model)
    .bind(embeddings) // unchecked, because the checked macros know no arrays of vectors
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The model whose vectors searches use.
pub(super) async fn serving_model(tx: &mut TenantTx) -> Result<Option<String>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let model = sqlx::query_scalar!("select model from search_versions where tenant_id = $1", tenant)
        .fetch_optional(tx.connection())
        .await?;
    Ok(model.flatten())
}

/// Lets searches use the vectors of a model, if none serves yet or every passage has one of it. Whether they do so now.
pub(super) async fn serve_model(tx: &mut TenantTx, model: &str) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let served = sqlx::query!(
        "insert into search_versions as v (tenant_id, model) values ($1, $2)
         on conflict (tenant_id) do update set model = $2, version = v.version + 1
         where v.model is null
            or v.model <> $2 and not exists (
                select from passages p where p.tenant_id = $1 and not exists (
                    select from passage_embeddings e
                    where e.tenant_id = p.tenant_id and e.passage_id = p.id and e.model = $2))",
        tenant,
        model
    )
    .execute(tx.connection())
    .await?;
    Ok(served.rows_affected() > 0)
}

/// Deletes vectors of other models than this, at most so many; returns how many.
pub(super) async fn delete_other_embeddings(tx: &mut TenantTx, model: &str, limit: i64) -> Result<u64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let deleted = sqlx::query!(
        "delete from passage_embeddings where (tenant_id, passage_id, model) in (
             select tenant_id, passage_id, model from passage_embeddings
             where tenant_id = $1 and model <> $2 limit $3)",
        tenant,
        model,
        limit
    )
    .execute(tx.connection())
    .await?;
    Ok(deleted.rows_affected())
}

/// Published articles whose passages are missing or of another revision than readers see, and unpublished ones that still
/// have passages.
pub(super) async fn articles_with_stale_passages(tx: &mut TenantTx) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select a.id from articles a
         left join search_documents d on d.tenant_id = a.tenant_id and d.article_id = a.id
         where a.tenant_id = $1
           and (case when a.status = 'PUBLISHED' then a.published_revision_id end) is distinct from d.revision_id",
        tenant
    )
    .fetch_all(tx.connection())
    .await
}

/// Revisions that readers see, with passages that have no embedding of this model, for which none of these jobs is open and
/// none became a dead letter within a day.
pub(super) async fn revisions_to_embed(
    tx: &mut TenantTx,
    model: &str,
    jobs: &[&str],
) -> Result<Vec<(Uuid, Uuid)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        "select distinct p.article_id, p.revision_id from passages p
         where p.tenant_id = $1
           and not exists (select from passage_embeddings e
                           where e.tenant_id = p.tenant_id and e.passage_id = p.id and e.model = $2)
           and not exists (select from outbox o
                           where o.tenant_id = p.tenant_id and o.job = any ($3) and o.unique_key = p.revision_id::text
                             and (o.dead_at is null or o.dead_at > now() - interval '1 day'))",
        tenant,
        model,
        jobs as &[&str]
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|r| (r.article_id, r.revision_id)).collect())
}

/// What is counted of a tenant's index; see `IndexStatus`.
pub(super) struct IndexCounts {
    pub(super) articles: i64,
    pub(super) embedded_articles: i64,
    pub(super) passages: i64,
    pub(super) embedded_passages: i64,
    pub(super) open_jobs: i64,
    pub(super) dead_jobs: i64,
}

pub(super) async fn index_counts(
    tx: &mut TenantTx,
    model: Option<&str>,
    jobs: &[&str],
) -> Result<IndexCounts, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        IndexCounts,
        r#"with passage as (
               select p.article_id, exists (select from passage_embeddings e
                                            where e.tenant_id = p.tenant_id and e.passage_id = p.id
                                              and e.model = $3) as embedded
               from passages p where p.tenant_id = $1),
           article as (
               select a.id, coalesce(bool_and(p.embedded), false) as embedded
               from articles a left join passage p on p.article_id = a.id
               where a.tenant_id = $1 and a.status = 'PUBLISHED' group by a.id),
           job as (select dead_at from outbox where tenant_id = $1 and job = any ($2))
           select (select count(*) from article) as "articles!",
                  (select count(*) from article where embedded) as "embedded_articles!",
                  (select count(*) from passage) as "passages!",
                  (select count(*) from passage where embedded) as "embedded_passages!",
                  (select count(*) from job where dead_at is null) as "open_jobs!",
                  (select count(*) from job where dead_at is not null) as "dead_jobs!""#,
        tenant,
        jobs as &[&str],
        model
    )
    .fetch_one(tx.connection())
    .await
}

/// The models that passages have embeddings of, but for one.
pub(super) async fn other_models(tx: &mut TenantTx, than: Option<&str>) -> Result<Vec<BuiltModel>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        BuiltModel,
        r#"select model, count(*) as "embedded_passages!" from passage_embeddings
           where tenant_id = $1 and model is distinct from $2 group by model order by model"#,
        tenant,
        than
    )
    .fetch_all(tx.connection())
    .await
}
