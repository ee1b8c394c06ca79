//! The SQL of indexing.

use uuid::Uuid;

use super::{Document, PATH_SEPARATOR, Published, Rows, Searchable, Term};
use crate::db::TenantTx;

/// Makes those who index articles of one tenant wait for each other: they change the same terms.
pub(super) async fn lock(tx: &mut TenantTx) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("select pg_advisory_xact_lock(hashtextextended('search_terms ' || $1::uuid::text, 0))", tenant)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// `None`: the article is not published, or gone.
pub(super) async fn published_text(tx: &mut TenantTx, article_id: Uuid) -> Result<Option<Published>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Published,
        r#"select a.id as article_id, r.id as revision_id, r.title, r.summary, r.content,
                  search_language(a.locale) as "language!",
                  coalesce((select string_agg(t.name, ' ' order by t.name) from article_tags at
                            join tags t on t.tenant_id = at.tenant_id and t.id = at.tag_id
                            where at.tenant_id = a.tenant_id and at.article_id = a.id), '') as "tags!"
           from articles a join revisions r on r.tenant_id = a.tenant_id and r.id = a.published_revision_id
           where a.tenant_id = $1 and a.id = $2 and a.status = 'PUBLISHED'"#,
        tenant,
        article_id
    )
    .fetch_optional(tx.connection())
    .await
}

/// Takes an article out of search at once.
pub(super) async fn forget(tx: &mut TenantTx, article_id: Uuid) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("delete from passages where tenant_id = $1 and article_id = $2", tenant, article_id)
        .execute(tx.connection())
        .await?;
    sqlx::query!("delete from search_documents where tenant_id = $1 and article_id = $2", tenant, article_id)
        .execute(tx.connection())
        .await?;
    Ok(())
}

/// Deletes the passages that are of another revision, or not what they are to be.
pub(super) async fn remove_other_passages(
    tx: &mut TenantTx,
    published: &Published,
    rows: &Rows,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "delete from passages p where p.tenant_id = $1 and p.article_id = $2
           and not (p.revision_id = $3 and exists (
                select from unnest($4::integer[], $5::text[], $6::text[], $7::text[], $8::text[])
                            as new (ordinal, path, anchor, body, context)
                where new.ordinal = p.ordinal and string_to_array(new.path, $9) = p.heading_path
                  and new.anchor is not distinct from p.anchor and new.body = p.body and new.context = p.context))",
        tenant,
        published.article_id,
        published.revision_id,
        &rows.ordinals,
        &rows.paths,
        &rows.anchors as &[Option<String>],
        &rows.bodies,
        &rows.contexts,
        PATH_SEPARATOR
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}

/// Writes the passages of a published text and what full-text search knows of them; returns how many were not there before.
pub(super) async fn write_passages(
    tx: &mut TenantTx,
    published: &Published,
    rows: &Rows,
    searchable: &Searchable,
) -> Result<i64, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"with indexed (configuration) as (select search_configuration($4)),
              cut (ordinal, path, anchor, body, context, headings, words) as (
                  select * from unnest($5::integer[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[])),
              written as (
                  insert into passages (tenant_id, article_id, revision_id, ordinal, heading_path, anchor, body, context, tsv)
                  select $1, $2, $3, ordinal, string_to_array(path, $12), anchor, body, context,
                         setweight(to_tsvector(configuration, $13), 'A')
                         || case when ordinal = 0 then setweight(to_tsvector(configuration, $14), 'B')
                                                       || setweight(to_tsvector(configuration, $15), 'D')
                                 else setweight(to_tsvector(configuration, headings), 'B')
                                      || setweight(to_tsvector(configuration, words), 'C') end
                  from cut, indexed
                  on conflict (tenant_id, revision_id, ordinal) do update set tsv = excluded.tsv
                  returning xmax = 0 as is_new)
         select count(*) filter (where is_new) as "new!" from written"#,
        tenant,
        published.article_id,
        published.revision_id,
        published.language,
        &rows.ordinals,
        &rows.paths,
        &rows.anchors as &[Option<String>],
        &rows.bodies,
        &rows.contexts,
        &searchable.headings,
        &searchable.bodies,
        PATH_SEPARATOR,
        searchable.title,
        searchable.summary,
        searchable.tags
    )
    .fetch_one(tx.connection())
    .await
}

/// The terms of an article, and how often they occur in its title and in its headings and body.
pub(super) async fn terms(
    tx: &mut TenantTx,
    language: &str,
    searchable: &Searchable,
) -> Result<Vec<Term>, sqlx::Error> {
    sqlx::query_as!(
        Term,
        r#"with field (name, content) as (
               select 'title', $2::text
               union all select 'body', unnest($3::text[])
               union all select 'body', unnest($4::text[])
               union all select 'other', $5::text),
           token as (
               select w.lexeme as word,
                      coalesce(sum(cardinality(w.positions)) filter (where f.name = 'title'), 0)::bigint as titles,
                      coalesce(sum(cardinality(w.positions)) filter (where f.name = 'body'), 0)::bigint as bodies
               from field f, unnest(to_tsvector('help_simple', f.content)) w group by w.lexeme)
           select l.lexeme as "lexeme!", (array_agg(t.word order by length(t.word), t.word))[1] as "word!",
                  sum(t.titles)::bigint as "title_count!", sum(t.bodies)::bigint as "body_count!"
           from token t, unnest(to_tsvector(search_configuration($1), t.word)) l group by l.lexeme"#,
        language,
        searchable.title,
        &searchable.headings,
        &searchable.bodies,
        format!("{} {}", searchable.summary, searchable.tags)
    )
    .fetch_all(tx.connection())
    .await
}

/// The numbers of terms, in their order; terms that are new to the tenant get one. Not by an upsert, which would use up a
/// number for every term of every article.
pub(super) async fn term_ids(tx: &mut TenantTx, language: &str, terms: &[Term]) -> Result<Vec<i32>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let lexemes: Vec<String> = terms.iter().map(|t| t.lexeme.clone()).collect();
    let words: Vec<String> = terms.iter().map(|t| t.word.clone()).collect();
    sqlx::query!(
        "insert into search_terms (tenant_id, language, lexeme, word)
         select $1, $2, new.lexeme, new.word from unnest($3::text[], $4::text[]) as new (lexeme, word)
         where not exists (select from search_terms t
                           where t.tenant_id = $1 and t.language = $2 and t.lexeme = new.lexeme)
         order by new.lexeme on conflict do nothing",
        tenant,
        language,
        &lexemes,
        &words
    )
    .execute(tx.connection())
    .await?;
    sqlx::query_scalar!(
        "select t.id from unnest($3::text[]) with ordinality as wanted (lexeme, place)
         join search_terms t on t.tenant_id = $1 and t.language = $2 and t.lexeme = wanted.lexeme order by wanted.place",
        tenant,
        language,
        &lexemes
    )
    .fetch_all(tx.connection())
    .await
}

pub(super) async fn replace_document(
    tx: &mut TenantTx,
    published: &Published,
    document: &Document,
) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!("delete from search_documents where tenant_id = $1 and article_id = $2", tenant, published.article_id)
        .execute(tx.connection())
        .await?;
    sqlx::query!(
        "insert into search_documents (tenant_id, article_id, revision_id, language, term_ids, title_term_ids, terms,
                                       title_length, body_length, passage_count)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        tenant,
        published.article_id,
        published.revision_id,
        published.language,
        &document.term_ids,
        &document.title_term_ids,
        document.terms,
        document.title_length,
        document.body_length,
        document.passage_count
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
