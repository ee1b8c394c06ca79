//! The SQL of search. Every candidate comes out of a function that applies tenant, visibility and filters itself.

use std::collections::HashMap;

use pgvector::Vector;
use uuid::Uuid;

use super::{Arm, Candidate, Hit, SearchRequest, bm25, fusion::Similarity, query::MAX_TERMS, snippet};
use crate::{auth::Roles, db::TenantTx, knowledge::Difficulty};

/// Most candidates of the keyword arm before they are scored.
const KEYWORD_CANDIDATES: i32 = 2_000;
/// How many nearest passages the semantic arm looks at; several may be of one article.
const NEAREST_PASSAGES: i32 = 200;
/// Below so many passages a scan of all of them is faster than the HNSW index under filters, and complete.
const EXACT_BELOW: i32 = 5_000;

/// A stemmed word of the query that occurs in the tenant's articles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Term {
    pub(super) lexeme: String,
    /// In how many of them.
    pub(super) article_count: i64,
}

/// The query's lexemes that occur at all, rarest first. Stemmed both for English and plainly, since a tenant may have
/// articles of several languages; a form that occurs nowhere drops out.
pub(super) async fn terms(tx: &mut TenantTx, query: &str) -> Result<Vec<Term>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let limit = i64::try_from(MAX_TERMS).unwrap_or(i64::MAX);
    let rows = sqlx::query!(
        "select t.lexeme, t.article_count
         from search_terms t
         where t.tenant_id = $1 and t.article_count > 0
           and t.lexeme = any (tsvector_to_array(plain_tsvector('help_english', $2) || plain_tsvector('help_simple', $2)))
         order by t.article_count, t.lexeme limit $3",
        tenant,
        query,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows.into_iter().map(|r| Term { lexeme: r.lexeme, article_count: r.article_count.into() }).collect())
}

/// The sums that BM25 needs.
pub(super) async fn totals(tx: &mut TenantTx) -> Result<bm25::Totals, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row =
        sqlx::query!("select article_count, title_length, body_length from search_totals where tenant_id = $1", tenant)
            .fetch_optional(tx.connection())
            .await?;
    Ok(row.map_or_else(bm25::Totals::default, |r| bm25::Totals {
        articles: r.article_count,
        title_length: r.title_length,
        body_length: r.body_length,
    }))
}

/// Visible articles with any of the lexemes.
pub(super) async fn keyword_candidates(
    tx: &mut TenantTx,
    roles: &Roles,
    request: &SearchRequest,
    lexemes: &[String],
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select id as "id!" from search_keyword_candidates($1, any_lexeme($2), $3, $4, $5, $6, $7) as id"#,
        roles.as_slice(),
        lexemes,
        request.categories.as_deref(),
        request.tags.as_deref(),
        request.difficulty.map(Difficulty::as_str),
        request.locale.as_deref(),
        KEYWORD_CANDIDATES
    )
    .fetch_all(tx.connection())
    .await
}

/// Visible articles with the passages nearest to the query.
pub(super) async fn semantic_candidates(
    tx: &mut TenantTx,
    roles: &Roles,
    request: &SearchRequest,
    model: &str,
    query: &Vector,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select id as "id!" from search_semantic_candidates($1, $2, $3, $4, $5, $6, $7, $8, $9) as id"#,
        roles.as_slice(),
        model,
        query as &Vector,
        request.categories.as_deref(),
        request.tags.as_deref(),
        request.difficulty.map(Difficulty::as_str),
        request.locale.as_deref(),
        NEAREST_PASSAGES,
        EXACT_BELOW
    )
    .fetch_all(tx.connection())
    .await
}

/// How often the lexemes occur in an article.
pub(super) struct Document {
    pub(super) article_id: Uuid,
    pub(super) frequencies: bm25::Frequencies,
}

/// Term frequencies of the given articles, in the order of the lexemes.
pub(super) async fn frequencies(
    tx: &mut TenantTx,
    articles: &[Uuid],
    lexemes: &[String],
) -> Result<Vec<Document>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select article_id, title_length, body_length,
                  array(select coalesce((title_terms ->> lexeme)::integer, 0)
                        from unnest($3::text[]) with ordinality as l (lexeme, n) order by n) as "title!",
                  array(select coalesce((body_terms ->> lexeme)::integer, 0)
                        from unnest($3::text[]) with ordinality as l (lexeme, n) order by n) as "body!"
           from search_documents where tenant_id = $1 and article_id = any ($2)"#,
        tenant,
        articles,
        lexemes
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Document {
            article_id: r.article_id,
            frequencies: bm25::Frequencies {
                title: r.title,
                body: r.body,
                title_length: r.title_length,
                body_length: r.body_length,
            },
        })
        .collect())
}

/// Cosine similarities of the query with the given articles, where they are embedded.
pub(super) async fn similarities(
    tx: &mut TenantTx,
    articles: &[Uuid],
    model: &str,
    query: &Vector,
) -> Result<HashMap<Uuid, Similarity>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select p.article_id,
                  max(1 - (e.embedding <=> $4)) filter (where p.ordinal > 0) as body,
                  max(1 - (e.embedding <=> $4)) filter (where p.ordinal = 0) as title
           from passages p
           join passage_embeddings e on e.tenant_id = p.tenant_id and e.passage_id = p.id and e.model = $3
           where p.tenant_id = $1 and p.article_id = any ($2) group by p.article_id"#,
        tenant,
        articles,
        model,
        query as &Vector
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|r| {
            // While an article is half embedded, one stands in for the other.
            let body = r.body.or(r.title)?;
            Some((r.article_id, Similarity { body, title: r.title.unwrap_or(body) }))
        })
        .collect())
}

/// What a page shows of the candidates, in their order, with the passage of each that fits the query best.
pub(super) async fn hits(
    tx: &mut TenantTx,
    candidates: &[Candidate],
    lexemes: &[String],
    query: Option<&Vector>,
) -> Result<Vec<Hit>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let ids: Vec<Uuid> = candidates.iter().map(|c| c.article_id).collect();
    let options = format!("StartSel={}, StopSel={}, MaxWords=40, MinWords=20", snippet::START, snippet::STOP);
    let marks = format!("{}{}", snippet::START, snippet::STOP);
    let brackets = format!("{}{}", snippet::LESS, snippet::GREATER);
    let rows = sqlx::query!(
        r#"select a.id, a.slug, r.title, r.summary, a.category_id, a.difficulty, a.view_count, a.helpful_count,
                  a.not_helpful_count, best.anchor as "anchor?",
                  ts_headline(text_search_configuration(a.locale), translate(coalesce(best.body, r.summary), '<>' || $5, $7),
                              coalesce(any_lexeme($3), ''::tsquery), $6) as "headline!"
           from articles a
           join revisions r on r.tenant_id = a.tenant_id and r.id = a.published_revision_id
           left join lateral (
               select p.anchor, p.body from passages p
               left join passage_embeddings e on e.tenant_id = p.tenant_id and e.passage_id = p.id
               where p.tenant_id = a.tenant_id and p.article_id = a.id and p.ordinal > 0
               order by coalesce(1 - (e.embedding <=> $4), 0) + coalesce(ts_rank_cd(p.tsv, any_lexeme($3), 32), 0) desc,
                        p.ordinal
               limit 1) best on true
           where a.tenant_id = $1 and a.id = any ($2)"#,
        tenant,
        &ids,
        lexemes,
        query as Option<&Vector>,
        marks,
        options,
        brackets
    )
    .fetch_all(tx.connection())
    .await?;
    let mut by_id: HashMap<Uuid, _> = rows.into_iter().map(|r| (r.id, r)).collect();
    Ok(candidates
        .iter()
        .filter_map(|candidate| {
            let r = by_id.remove(&candidate.article_id)?;
            let matched =
                [(candidate.evidence.by_keyword, Arm::Keyword), (candidate.evidence.by_meaning, Arm::Semantic)];
            Some(Hit {
                id: r.id,
                slug: r.slug,
                title: r.title,
                summary: r.summary,
                snippet: snippet::to_html(&r.headline),
                anchor: r.anchor,
                category_id: r.category_id,
                difficulty: r.difficulty,
                view_count: r.view_count,
                helpful_ratio: crate::knowledge::helpful_ratio(r.helpful_count, r.not_helpful_count),
                score: candidate.score,
                matched: matched.into_iter().filter_map(|(found, arm)| found.then_some(arm)).collect(),
            })
        })
        .collect())
}
