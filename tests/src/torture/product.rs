//! The product's own jobs under the same faults. Those of [`super::jobs`] tell their effects one by one; what these do is seen
//! in the articles alone, and compared in the end with what [`super::editor`] wanted.

use std::{collections::BTreeMap, sync::Arc};

use futures::future::BoxFuture;
use shared::{
    assistant::{AnswerStreams, Assistant, GenerateAnswer},
    clock::Clock,
    config::{HistoryConfig, QueueConfig},
    db::Database,
    embedding::{DIMENSIONS, EmbedError, Embedder, Embedders, Embedding, ModelId},
    knowledge::{BulkChange, CountViews, EmbedArticle, ImportDocumentation, Reindex, ReindexPart, reindex, views},
    queue::{
        Job as _,
        admin::{self, Selection},
        worker::Registry,
    },
    search::{self, PruneHistory, Search},
    tenancy::TenantId,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::editor;

#[cfg(test)]
mod tests;

/// How many days readers are remembered.
const HISTORY: HistoryConfig = HistoryConfig { days: 400 };
/// How many examples of each problem are told.
const EXAMPLES: usize = 3;

/// The product's jobs that are tortured.
pub(super) const JOBS: &[&str] = &[
    BulkChange::NAME,
    CountViews::NAME,
    EmbedArticle::NAME,
    GenerateAnswer::NAME,
    ImportDocumentation::NAME,
    PruneHistory::NAME,
    Reindex::NAME,
];

/// All of the product's jobs, with a model that costs nothing.
pub(super) fn registry(database: Database, queues: &QueueConfig) -> Registry {
    let embedders = Embedders::only(Arc::new(Plain(ModelId::new("plain", "1"))));
    let search = Search::new(database.clone(), embedders.all());
    let streams = AnswerStreams::open(queues).unwrap();
    let assistant = Assistant::new(database.clone(), search, Some(embedders.current().clone()), streams);
    worker::registry(&worker::Context { database, embedders, clock: Clock::system(), history: HISTORY, assistant })
}

/// Makes vectors of words: texts are near to each other that have the same ones.
struct Plain(ModelId);

impl Embedder for Plain {
    fn model(&self) -> &ModelId {
        &self.0
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        let vector = |text: String| {
            let mut values = vec![0.01; DIMENSIONS];
            for word in text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
                let bytes = word.to_lowercase().into_bytes().into_iter().map(usize::from);
                values[bytes.fold(0, |sum, byte| (sum * 31 + byte) % DIMENSIONS)] += 1.0;
            }
            Embedding::new(values)
        };
        Box::pin(async move { texts.into_iter().map(vector).collect() })
    }
}

/// The tenant whose jobs they are.
pub(super) async fn tenant(owner: &mut PgConnection) -> Result<TenantId, sqlx::Error> {
    let id: Uuid =
        sqlx::query_scalar("select id from tenants where slug = $1").bind(editor::TENANT).fetch_one(owner).await?;
    Ok(TenantId::new(id))
}

/// Does what operators do when the faults are over: jobs that used up their attempts are tried again. How many were.
pub(super) async fn retry(database: &Database, tenant: TenantId) -> Result<usize, sqlx::Error> {
    let mut tx = database.tenant(tenant).await?;
    let mut retried = 0;
    for job in JOBS {
        let selection = Selection { job: Some((*job).to_owned()), ..Selection::default() };
        retried += admin::retry(&mut tx, &selection, "torture").await?.len();
    }
    tx.commit().await?;
    Ok(retried)
}

/// What is not as it must be when all jobs are done and nothing runs any more, with examples.
///
/// Views that came after the last job that counts, and searches after the last one that forgets, are counted and forgotten
/// first, by what those jobs call.
pub(super) async fn problems(
    owner: &mut PgConnection,
    database: &Database,
    tenant: TenantId,
) -> anyhow::Result<Vec<String>> {
    views::count(database, tenant).await?;
    search::prune::prune(database, tenant, HISTORY.days).await?;
    let mut found = Vec::new();
    for (problem, sql) in CHECKS {
        let examples: Vec<String> = sqlx::query_scalar(*sql).bind(tenant.uuid()).fetch_all(&mut *owner).await?;
        if !examples.is_empty() {
            let some = examples.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join("; ");
            found.push(format!("{} {problem}: {some}", examples.len()));
        }
    }
    let kept = index(owner, tenant).await?;
    let requested_at = sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut *owner).await?;
    let job = Reindex { category_id: None, article_ids: None, part: ReindexPart::FullText, requested_at };
    let embedder = Plain(ModelId::new("plain", "1"));
    let fresh = reindex::reindex(database, &embedder, tenant, &job, |_, _| ()).await?;
    let anew = index(owner, tenant).await?;
    let stale: Vec<&Uuid> = anew.iter().filter(|(id, fresh)| kept.get(id) != Some(fresh)).map(|(id, _)| id).collect();
    if !stale.is_empty() {
        found.push(format!(
            "{} of {} articles were not indexed as they are: {:?}",
            stale.len(),
            fresh.articles,
            stale[0]
        ));
    }
    Ok(found)
}

/// What search knows by words of each article.
async fn index(owner: &mut PgConnection, tenant: TenantId) -> Result<BTreeMap<Uuid, String>, sqlx::Error> {
    let rows: Vec<(Uuid, String)> = sqlx::query_as(
        "select a.id, md5(concat(
             (select row(d.revision_id, d.language, d.term_ids, d.title_term_ids, d.terms, d.title_length, d.body_length,
                         d.passage_count)::text
              from search_documents d where d.tenant_id = a.tenant_id and d.article_id = a.id),
             (select string_agg(row(p.revision_id, p.ordinal, p.heading_path, p.anchor, p.body, p.context, p.tsv)::text, ''
                                order by p.ordinal)
              from passages p where p.tenant_id = a.tenant_id and p.article_id = a.id)))
         from articles a where a.tenant_id = $1",
    )
    .bind(tenant.uuid())
    .fetch_all(owner)
    .await?;
    Ok(rows.into_iter().collect())
}

/// What must find nothing: the name of a problem, and a query of its examples. $1 is the tenant.
const CHECKS: &[(&str, &str)] = &[
    ("piece of evidence that nothing was wanted", "select 'no article' where not exists (select from torture.wanted)"),
    (
        "articles were not changed once by the job that was to",
        "select format('%s by %s %s times', w.article, w.actor, count(l.id))
         from torture.wanted w
         left join audit_log l on l.tenant_id = $1 and l.actor = w.actor and l.subject = w.article::text
         group by w.article, w.actor having count(l.id) <> 1",
    ),
    (
        "articles were to be published and are not",
        "select w.article::text from torture.wanted w
         left join articles a on a.tenant_id = $1 and a.id = w.article
         where w.tag is null and a.status is distinct from 'PUBLISHED'",
    ),
    (
        "articles have not the tag that they were to get",
        "select format('%s: %s', w.article, w.tag) from torture.wanted w
         where w.tag is not null
           and not exists (select from article_tags at join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                           where at.tenant_id = $1 and at.article_id = w.article and t.name = w.tag)",
    ),
    (
        "articles have another version than they had changes, or more than one text",
        "select format('%s: version %s', a.id, a.version) from articles a
         where a.tenant_id = $1 and a.source is null
           and (a.version - 1 <> (select count(*) from audit_log l where l.tenant_id = $1 and l.subject = a.id::text
                                    and l.action in ('article.changed', 'article.published'))
                or 1 <> (select count(*) from revisions r where r.tenant_id = $1 and r.article_id = a.id))",
    ),
    (
        "imports have not ended well",
        "select format('%s: ended %s, %s %s', i.source, i.ended_at, i.error, i.report -> 'failed') from imports i
         where i.tenant_id = $1
           and (i.ended_at is null or i.error is not null or i.report -> 'failed' <> '[]'
                or exists (select from import_chunks c where c.tenant_id = $1 and c.import_id = i.id))",
    ),
    (
        "files are not one article with one text",
        "select format('%s of %s: %s texts', w.path, w.source, count(r.id))
         from torture.wanted_files w
         full join (select * from articles where tenant_id = $1 and source is not null) a
             on a.source = w.source and a.source_path = w.path
         left join revisions r on r.tenant_id = $1 and r.article_id = a.id and a.status = 'PUBLISHED'
         group by w.path, w.source having count(r.id) <> 1 or w.path is null",
    ),
    (
        "articles are not connected with the one that their file leads to",
        "select a.id::text from articles a join imports i on i.tenant_id = $1 and i.source = a.source
         where a.tenant_id = $1
           and 1 <> (select count(*) from article_links l join articles o on o.tenant_id = $1 and o.id = l.target_article_id
                     where l.tenant_id = $1 and l.article_id = a.id and o.source = a.source)",
    ),
    (
        "articles have another count of views than they have views",
        "select format('%s: %s', a.id, a.view_count) from articles a
         where a.tenant_id = $1
           and a.view_count <> (select count(*) from article_views v where v.tenant_id = $1 and v.article_id = a.id)",
    ),
    (
        "searches are kept that are not those of today",
        "select coalesce(s.id, w.id)::text
         from (select id from searches where tenant_id = $1) s full join torture.wanted_searches w on w.id = s.id
         where s.id is null or w.id is null",
    ),
    (
        "passages are not of what readers see, or have not one vector",
        "select coalesce(a.id, p.article_id)::text
         from (select * from articles where tenant_id = $1) a
         full join (select * from passages where tenant_id = $1) p on p.article_id = a.id
         where (p.revision_id is distinct from case when a.status = 'PUBLISHED' then a.published_revision_id end
                or 1 <> (select count(*) from passage_embeddings e where e.tenant_id = $1 and e.passage_id = p.id)
                   and p.id is not null)",
    ),
    (
        "words have another count of articles than there are",
        "select format('%s: %s', t.lexeme, t.article_count) from search_terms t
         where t.tenant_id = $1
           and t.article_count <> (select count(*) from search_documents d
                                   where d.tenant_id = $1 and d.language = t.language and t.id = any (d.term_ids))",
    ),
];
