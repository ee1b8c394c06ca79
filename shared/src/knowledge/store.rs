//! The SQL of writing and indexing articles. Reading is in `read.rs`.

use chrono::{DateTime, Utc};
use pgvector::HalfVector;
use uuid::Uuid;

use super::{
    article::{ArticleProperties, ArticleText},
    embed::BuiltModel,
    jobs::Reindex,
};
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

/// An article as its import keeps it: what a file is compared with.
pub(super) struct SourcedArticle {
    pub(super) id: Uuid,
    /// The revision that the file's text is compared with.
    pub(super) revision_id: Uuid,
    pub(super) slug: String,
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) content: String,
    pub(super) category_id: Option<Uuid>,
    pub(super) difficulty: String,
    pub(super) target_roles: Vec<String>,
    pub(super) locale: String,
    pub(super) status: String,
    pub(super) review_due_on: Option<chrono::NaiveDate>,
    pub(super) front_matter: serde_json::Value,
    pub(super) tags: Vec<String>,
}

/// The article that a source keeps for a file.
pub(super) async fn sourced_article(
    tx: &mut TenantTx,
    source: &str,
    path: &str,
) -> Result<Option<SourcedArticle>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        SourcedArticle,
        r#"select a.id, r.id as revision_id, a.slug, r.title, r.summary, r.content, a.category_id,
                  a.difficulty, a.target_roles, a.locale, a.status, a.review_due_on,
                  a.source_front_matter as front_matter,
                  array(select t.name from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                        where at.tenant_id = a.tenant_id and at.article_id = a.id order by t.name) as "tags!"
           from articles a join revisions r on r.tenant_id = a.tenant_id and r.id = a.latest_revision_id
           where a.tenant_id = $1 and a.source = $2 and a.source_path = $3 for update of a"#,
        tenant,
        source,
        path
    )
    .fetch_optional(tx.connection())
    .await
}

/// Id and file of every article that a source keeps and that is not archived.
pub(super) async fn sourced_articles(tx: &mut TenantTx, source: &str) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select id, source_path as "source_path!" from articles
           where tenant_id = $1 and source = $2 and source_path is not null and status <> 'ARCHIVED'"#,
        tenant,
        source
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.source_path)).collect())
}

/// Creates an article without text for an imported file; its first revision follows in the same transaction.
pub(super) async fn insert_article(
    tx: &mut TenantTx,
    slug: &str,
    source: &str,
    path: &str,
) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into articles (tenant_id, slug, source, source_path) values ($1, $2, $3, $4) returning id",
        tenant,
        slug,
        source,
        path
    )
    .fetch_one(tx.connection())
    .await
}

/// Whether another article of the tenant has this slug.
pub(super) async fn slug_is_taken(
    tx: &mut TenantTx,
    slug: &str,
    by_other_than: Option<Uuid>,
) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"select exists (select from articles where tenant_id = $1 and slug = $2 and id is distinct from $3) as "taken!""#,
        tenant,
        slug,
        by_other_than
    )
    .fetch_one(tx.connection())
    .await
}

/// Revisions whose author wrote no summary and that have no excerpt yet, with their content.
pub(super) async fn revisions_without_excerpt(
    tx: &mut TenantTx,
    limit: i64,
) -> Result<Vec<(Uuid, String)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r"select id, content from revisions
          where tenant_id = $1 and excerpt is null and summary !~ '\S' limit $2",
        tenant,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|r| (r.id, r.content)).collect())
}

/// Keeps the excerpt of a revision.
pub(super) async fn set_excerpt(tx: &mut TenantTx, revision_id: Uuid, excerpt: &str) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("update revisions set excerpt = $3 where tenant_id = $1 and id = $2", tenant, revision_id, excerpt)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Adds a revision and makes it the latest.
pub(super) async fn insert_revision(
    tx: &mut TenantTx,
    article_id: Uuid,
    text: &ArticleText,
    author: &str,
    note: &str,
) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let id = sqlx::query_scalar!(
        "insert into revisions (tenant_id, article_id, number, title, summary, content, author, note, excerpt)
         select $1, $2, coalesce(max(number), 0) + 1, $3, $4, $5, $6, $7, $8
         from revisions where tenant_id = $1 and article_id = $2
         returning id",
        tenant,
        article_id,
        text.title,
        text.summary,
        text.content,
        author,
        note,
        text.excerpt()
    )
    .fetch_one(tx.connection())
    .await?;
    sqlx::query!(
        "update articles set latest_revision_id = $3 where tenant_id = $1 and id = $2",
        tenant,
        article_id,
        id
    )
    .execute(tx.connection())
    .await?;
    Ok(id)
}

/// Sets an article's properties; one whose status is published shows this revision from now on.
pub(super) async fn update_properties(
    tx: &mut TenantTx,
    article_id: Uuid,
    revision_id: Uuid,
    slug: &str,
    properties: &ArticleProperties,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update articles set slug = $3, category_id = $4, difficulty = $5, target_roles = $6, locale = $7, status = $8,
             review_due_on = $9, source_front_matter = $10, version = version + 1, updated_at = now(),
             published_revision_id = case when $8 = 'PUBLISHED' then $11 else published_revision_id end,
             published_at = case when $8 = 'PUBLISHED' then coalesce(published_at, now()) else published_at end
         where tenant_id = $1 and id = $2",
        tenant,
        article_id,
        slug,
        properties.category_id,
        properties.difficulty.as_str(),
        &properties.target_roles,
        properties.locale,
        properties.status.as_str(),
        properties.review_due_on,
        properties.front_matter,
        revision_id
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Archives an article.
pub(super) async fn archive(tx: &mut TenantTx, article_id: Uuid) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "update articles set status = 'ARCHIVED', version = version + 1, updated_at = now()
         where tenant_id = $1 and id = $2",
        tenant,
        article_id
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Gives an article exactly these tags: name and slug of each. Tags that do not exist are created.
pub(super) async fn set_tags(
    tx: &mut TenantTx,
    article_id: Uuid,
    tags: &[(String, String)],
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (names, slugs): (Vec<String>, Vec<String>) = tags.iter().cloned().unzip();
    sqlx::query!(
        "insert into tags (tenant_id, name, slug)
         select distinct on (slug) $1::uuid, name, slug from unnest($2::text[], $3::text[]) as new (name, slug)
         order by slug, name on conflict do nothing",
        tenant,
        &names,
        &slugs
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "delete from article_tags at using tags t
         where at.tenant_id = $1 and at.article_id = $2 and t.tenant_id = at.tenant_id and t.id = at.tag_id
           and t.slug <> all ($3)",
        tenant,
        article_id,
        &slugs
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "insert into article_tags (tenant_id, article_id, tag_id)
         select $1, $2, id from tags where tenant_id = $1 and slug = any ($3) on conflict do nothing",
        tenant,
        article_id,
        &slugs
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// The category that a source keeps for a folder.
pub(super) async fn sourced_category(tx: &mut TenantTx, source: &str, path: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select id from categories where tenant_id = $1 and source = $2 and source_path = $3",
        tenant,
        source,
        path
    )
    .fetch_optional(tx.connection())
    .await
}

/// The category with this slug.
pub(super) async fn category_id(tx: &mut TenantTx, slug: &str) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!("select id from categories where tenant_id = $1 and slug = $2", tenant, slug)
        .fetch_optional(tx.connection())
        .await
}

/// A category to be created.
pub(super) struct NewCategory<'a> {
    pub(super) parent_id: Option<Uuid>,
    pub(super) name: &'a str,
    pub(super) slug: &'a str,
    pub(super) source: Option<(&'a str, &'a str)>,
}

/// Creates a category, unless its slug or folder has one already; then `None`.
pub(super) async fn insert_category(tx: &mut TenantTx, new: &NewCategory<'_>) -> Result<Option<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into categories (tenant_id, parent_id, name, slug, source, source_path) values ($1, $2, $3, $4, $5, $6)
         on conflict do nothing returning id",
        tenant,
        new.parent_id,
        new.name,
        new.slug,
        new.source.map(|(source, _)| source),
        new.source.map(|(_, path)| path)
    )
    .fetch_optional(tx.connection())
    .await
}

/// Where a link of an article leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Link {
    pub(super) destination: String,
    pub(super) fragment: String,
    pub(super) target: Option<Uuid>,
    /// The image that the destination is.
    pub(super) asset: Option<Uuid>,
    /// Whether the text that readers see has it, or a newer one alone.
    pub(super) is_shown: bool,
}

/// The links that are known of an article.
pub(super) async fn links(tx: &mut TenantTx, article_id: Uuid) -> Result<Vec<Link>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Link,
        "select destination, fragment, target_article_id as target, asset_id as asset, is_shown
         from article_links where tenant_id = $1 and article_id = $2 order by destination",
        tenant,
        article_id
    )
    .fetch_all(tx.connection())
    .await
}

/// Replaces the links of an article where they differ.
pub(super) async fn set_links(tx: &mut TenantTx, article_id: Uuid, links: &[Link]) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let destinations: Vec<String> = links.iter().map(|l| l.destination.clone()).collect();
    let fragments: Vec<String> = links.iter().map(|l| l.fragment.clone()).collect();
    let targets: Vec<Option<Uuid>> = links.iter().map(|l| l.target).collect();
    let assets: Vec<Option<Uuid>> = links.iter().map(|l| l.asset).collect();
    let shown: Vec<bool> = links.iter().map(|l| l.is_shown).collect();
    sqlx::query!(
        "delete from article_links where tenant_id = $1 and article_id = $2 and destination <> all ($3)",
        tenant,
        article_id,
        &destinations
    )
    .execute(tx.connection())
    .await?;
    sqlx::query!(
        "insert into article_links as l
             (tenant_id, article_id, destination, fragment, target_article_id, asset_id, is_shown)
         select $1, $2, * from unnest($3::text[], $4::text[], $5::uuid[], $6::uuid[], $7::boolean[])
         on conflict (tenant_id, article_id, destination) do update
         set fragment = excluded.fragment, target_article_id = excluded.target_article_id, asset_id = excluded.asset_id,
             is_shown = excluded.is_shown
         where (l.fragment, l.target_article_id, l.asset_id, l.is_shown)
             is distinct from (excluded.fragment, excluded.target_article_id, excluded.asset_id, excluded.is_shown)",
        tenant,
        article_id,
        &destinations,
        &fragments,
        &targets as &[Option<Uuid>],
        &assets as &[Option<Uuid>],
        &shown
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
