//! The SQL of search. Every candidate comes out of a function that applies tenant, visibility and filters itself.

use futures::TryStreamExt as _;
use pgvector::HalfVector;
use uuid::Uuid;

use super::{
    SearchRequest, bm25,
    catalogue::{ByArticle, Entry, Facts, Words},
    passages::FoundPassage,
    query::MAX_TERMS,
    query_vector::QueryVector,
    scan::Scan,
    vectors::{Similarities, Vectors},
};
use crate::{auth::Roles, db::TenantTx, knowledge::Difficulty};

/// Most candidates of each way of the keyword arm, before they are scored: all, unless a single word matches more.
const KEYWORD_CANDIDATES: i32 = 400;
/// Most words that a beginning is completed to.
const COMPLETIONS: i64 = 20;

/// A term of the tenant's articles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TermRow {
    pub(super) id: i32,
    pub(super) language: String,
    pub(super) lexeme: String,
    /// In how many articles of the language.
    pub(super) article_count: i32,
    /// Which word of the query it is the stem of; the stems of several languages have the same. None: it was added.
    pub(super) place: Option<i16>,
    /// It is what the last word of the query stems to.
    pub(super) is_last: bool,
    /// It begins like the last word of the query.
    pub(super) is_completion: bool,
    /// How many different words of this language the query has, stop words not counted, those that no article has counted.
    pub(super) asked_words: i32,
    /// How many articles there are in all languages, …
    pub(super) all_articles: i64,
    /// … how many of this language, and how many words in their titles and bodies.
    articles: i64,
    title_length: i64,
    body_length: i64,
}

impl TermRow {
    /// The sums over the articles of its language.
    pub(super) fn totals(&self) -> bm25::Totals {
        bm25::Totals { articles: self.articles, title_length: self.title_length, body_length: self.body_length }
    }
}

/// The terms of the query that occur at all, rarest first, by the stems of every language that the tenant has articles in.
pub(super) async fn terms(tx: &mut TenantTx, words: &str) -> Result<Vec<TermRow>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let limit = i64::try_from(MAX_TERMS).unwrap_or(i64::MAX);
    let last = words.rsplit(' ').next().unwrap_or_default();
    sqlx::query_as!(
        TermRow,
        r#"select t.id, t.language, t.lexeme, t.article_count, asked.positions[1] as place,
                  t.lexeme = any (tsvector_to_array(to_tsvector(search_configuration(t.language), $3))) as "is_last!",
                  false as "is_completion!", s.article_count as articles, s.title_length, s.body_length,
                  length(asked_in.words) as "asked_words!",
                  (select sum(article_count)::bigint from search_totals where tenant_id = $1) as "all_articles!"
           from search_totals s
           cross join lateral (select to_tsvector(search_configuration(s.language), $2) offset 0) as asked_in (words)
           cross join lateral unnest(asked_in.words) as asked
           join search_terms t on t.tenant_id = s.tenant_id and t.language = s.language and t.lexeme = asked.lexeme
           where s.tenant_id = $1 and s.article_count > 0 and t.article_count > 0
           order by t.article_count, t.lexeme, t.language limit $4"#,
        tenant,
        words,
        last,
        limit
    )
    .fetch_all(tx.connection())
    .await
}

/// The commonest terms with a word that begins like this one, which is in lower case and without accents.
pub(super) async fn completions(tx: &mut TenantTx, beginning: &str) -> Result<Vec<TermRow>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        TermRow,
        r#"select t.id, t.language, t.lexeme, t.article_count, null::smallint as place, false as "is_last!",
                  true as "is_completion!", s.article_count as articles, s.title_length, s.body_length, 0 as "asked_words!",
                  (select sum(article_count)::bigint from search_totals where tenant_id = $1) as "all_articles!"
           from search_terms t join search_totals s on s.tenant_id = t.tenant_id and s.language = t.language
           where t.tenant_id = $1 and t.word ~>=~ $2 and t.word ~<~ $3 and t.article_count > 0
           order by t.article_count desc, t.lexeme limit $4"#,
        tenant,
        beginning,
        after(beginning),
        COMPLETIONS
    )
    .fetch_all(tx.connection())
    .await
}

/// The query of passages that have all of the phrases, in the stems of any language that the tenant has articles in. `None`:
/// none of them has a word that is indexed.
pub(super) async fn phrase(tx: &mut TenantTx, phrases: &[String]) -> Result<Option<String>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"select string_agg('(' || in_language.query::text || ')', ' | ') from (
               select s.language,
                      string_agg('(' || phraseto_tsquery(search_configuration(s.language), phrase)::text || ')', ' & ') as query
               from search_totals s, unnest($2::text[]) as phrase
               where s.tenant_id = $1 and s.article_count > 0
                 and phraseto_tsquery(search_configuration(s.language), phrase) <> ''::tsquery
               group by s.language) in_language"#,
        tenant,
        phrases
    )
    .fetch_one(tx.connection())
    .await
}

/// The terms of synonyms of words in the query, of those that stand there not themselves.
pub(super) async fn synonyms(tx: &mut TenantTx, words: &str) -> Result<Vec<TermRow>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        TermRow,
        r#"with asked (words) as (select ' ' || lower($2) || ' '),
               alternative (words) as (
                   select distinct other from asked, synonyms s, unnest(s.words) as other
                   where s.tenant_id = $1 and position(' ' || other || ' ' in asked.words) = 0
                     and exists (select from unnest(s.words) as word
                                 where position(' ' || word || ' ' in asked.words) > 0))
           select distinct t.id, t.language, t.lexeme, t.article_count, null::smallint as place, false as "is_last!",
                  false as "is_completion!", s.article_count as articles, s.title_length, s.body_length, 0 as "asked_words!",
                  (select sum(article_count)::bigint from search_totals where tenant_id = $1) as "all_articles!"
           from alternative
           cross join search_totals s
           cross join lateral unnest(to_tsvector(search_configuration(s.language), alternative.words)) as added
           join search_terms t on t.tenant_id = s.tenant_id and t.language = s.language and t.lexeme = added.lexeme
           where s.tenant_id = $1 and s.article_count > 0 and t.article_count > 0"#,
        tenant,
        words
    )
    .fetch_all(tx.connection())
    .await
}

/// Visible articles with any of the terms and with a passage that matches the phrase. `every`: the terms match more articles
/// than are looked at; those with all of these are among them.
pub(super) async fn keyword_candidates(
    tx: &mut TenantTx,
    roles: &Roles,
    request: &SearchRequest,
    terms: &[i32],
    every: Option<&[i32]>,
    phrase: Option<&str>,
) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select search_keyword_candidates($1, $2, $3, $3::integer[] is not null, $4::text::tsquery, $5, $6, $7, $8, $9) as "id!""#,
        roles.as_slice(),
        terms,
        every,
        phrase,
        request.categories.as_deref(),
        request.tags.as_deref(),
        request.difficulty.map(Difficulty::as_str),
        request.locale.as_deref(),
        KEYWORD_CANDIDATES
    )
    .fetch_all(tx.connection())
    .await
}

/// How many passages there are, titles included: those that the caller may see with the filters of the request, and those of
/// all tenants, about.
pub(super) async fn passage_counts(
    tx: &mut TenantTx,
    roles: &Roles,
    request: &SearchRequest,
) -> Result<(i64, i64), sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let counts = sqlx::query!(
        r#"select coalesce(sum(d.passage_count), 0)::bigint as "visible!",
                  (select reltuples::bigint from pg_class where oid = 'passage_embeddings'::regclass) as "all!"
           from search_documents d join articles a on a.tenant_id = d.tenant_id and a.id = d.article_id
           where d.tenant_id = $1 and article_is_visible(a.status, a.target_roles, $2)
             and article_passes_filters(a.category_id, a.difficulty, a.locale, $3, $5, $6)
             and ($4::text[] is null or article_has_tag(a.tenant_id, a.id, $4))"#,
        tenant,
        roles.as_slice(),
        request.categories.as_deref(),
        request.tags.as_deref(),
        request.difficulty.map(Difficulty::as_str),
        request.locale.as_deref()
    )
    .fetch_one(tx.connection())
    .await?;
    Ok((counts.visible, counts.all))
}

/// The articles of the passages that are nearest to a vector of this model, one for each, of those that the caller may see and
/// that pass the filters.
pub(super) async fn semantic_candidates(
    tx: &mut TenantTx,
    roles: &Roles,
    request: &SearchRequest,
    model: &str,
    vector: &HalfVector,
    scan: Scan,
) -> Result<Vec<Uuid>, sqlx::Error> {
    let ef_search = match scan {
        Scan::Exact => None,
        Scan::Index { ef_search } => Some(ef_search),
    };
    sqlx::query_scalar!(
        r#"select search_semantic_candidates($1, $2, $3, $4, $5, $6, $7, $8) as "id!""#,
        roles.as_slice(),
        model,
        vector as &HalfVector,
        request.categories.as_deref(),
        request.tags.as_deref(),
        request.difficulty.map(Difficulty::as_str),
        request.locale.as_deref(),
        ef_search
    )
    .fetch_all(tx.connection())
    .await
}

/// The vectors of some articles, and how near others are to a query.
#[derive(Default)]
pub(super) struct Compared {
    pub(super) vectors: ByArticle<Vectors>,
    pub(super) similarities: ByArticle<Similarities>,
}

/// How near the passages of articles are to a query; where the article is one of `fetched`, their vectors instead.
pub(super) async fn compared(
    tx: &mut TenantTx,
    query: &QueryVector,
    articles: &[Uuid],
    fetched: &[Uuid],
) -> Result<Compared, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let mut rows = sqlx::query!(
        r#"select article_id, ordinal, case when article_id = any ($5) then embedding end as "embedding: HalfVector",
                  case when article_id <> all ($5) then -(embedding <#> $4) end as similarity
           from passage_embeddings
           where tenant_id = $1 and article_id = any ($2) and model = $3"#,
        tenant,
        articles,
        query.model,
        &query.vector as &HalfVector,
        fetched
    )
    .fetch(tx.connection());
    let mut compared = Compared::default();
    compared.vectors.extend(fetched.iter().map(|id| (*id, Vectors::default())));
    while let Some(row) = rows.try_next().await? {
        if let Some(embedding) = row.embedding {
            compared.vectors.entry(row.article_id).or_default().push(row.ordinal, &embedding);
        } else if let Some(similarity) = row.similarity {
            compared.similarities.entry(row.article_id).or_default().push((row.ordinal, similarity));
        }
    }
    Ok(compared)
}

/// What is known of articles beside their text.
pub(super) async fn entries(tx: &mut TenantTx, articles: &[Uuid]) -> Result<Vec<(Uuid, Entry)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select a.id, a.category_id, a.difficulty, a.locale, a.translation_group, a.view_count, a.helpfulness as "helpfulness!",
                  array(select t.slug from article_tags l join tags t on t.tenant_id = l.tenant_id and t.id = l.tag_id
                        where l.tenant_id = $1 and l.article_id = a.id) as "tags!",
                  (extract(epoch from now() - greatest(a.published_at, a.updated_at, a.last_reviewed_at)) / 86400)::float8
                      as "age_days!",
                  d.language as "language?", d.terms as "terms?", d.title_length as "title_length?",
                  d.body_length as "body_length?"
           from unnest($2::uuid[]) as wanted (id)
           join articles a on a.tenant_id = $1 and a.id = wanted.id
           left join search_documents d on d.tenant_id = $1 and d.article_id = wanted.id"#,
        tenant,
        articles
    )
    .fetch_all(tx.connection())
    .await?;
    let words = |language: Option<_>, terms: Option<_>, title: Option<_>, body: Option<_>| {
        Some(Words { language: language?, terms: terms?, title_length: title?, body_length: body? })
    };
    let entries = rows.into_iter().map(|r| {
        let facts = Facts {
            category_id: r.category_id,
            tags: r.tags,
            difficulty: r.difficulty,
            locale: r.locale,
            translation_group: r.translation_group,
            view_count: r.view_count,
            helpfulness: r.helpfulness,
            age_days: r.age_days,
        };
        (r.id, Entry { facts, words: words(r.language, r.terms, r.title_length, r.body_length) })
    });
    Ok(entries.collect())
}

/// What a page shows of an article, with the passage that fits the query best.
pub(super) struct HitRow {
    pub(super) id: Uuid,
    pub(super) slug: String,
    pub(super) title: String,
    pub(super) summary: String,
    pub(super) locale: String,
    pub(super) category_id: Option<Uuid>,
    pub(super) difficulty: String,
    pub(super) view_count: i64,
    pub(super) helpful_count: i64,
    pub(super) not_helpful_count: i64,
    pub(super) passage: Option<String>,
    pub(super) anchor: Option<String>,
}

/// What a passage that is shown should have before all others.
#[derive(Debug, Default)]
pub(super) struct MustHave {
    /// What was quoted, as a `tsquery`.
    pub(super) phrase: Option<String>,
    /// The stems of error codes and the like.
    pub(super) identifiers: Vec<String>,
}

impl MustHave {
    pub(super) fn is_nothing(&self) -> bool {
        self.phrase.is_none() && self.identifiers.is_empty()
    }
}

/// How near a passage is to the query.
pub(super) struct Near {
    pub(super) article_id: Uuid,
    pub(super) ordinal: i32,
    /// Cosine similarity.
    pub(super) similarity: f64,
}

/// Visible articles of these, each with the passage that fits best, of those that are near or, where an article has none, of all:
/// one that has what it must have, then the best by meaning and words.
pub(super) async fn hits(
    tx: &mut TenantTx,
    roles: &Roles,
    articles: &[Uuid],
    near: &[Near],
    lexemes: &[String],
    must_have: &MustHave,
) -> Result<Vec<HitRow>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let near_articles: Vec<Uuid> = near.iter().map(|near| near.article_id).collect();
    let ordinals: Vec<i32> = near.iter().map(|near| near.ordinal).collect();
    let similarities: Vec<f64> = near.iter().map(|near| near.similarity).collect();
    sqlx::query_as!(
        HitRow,
        r#"with asked (words, must_have) as materialized ( -- once, and not for each passage
               select any_lexeme($3), coalesce($4::text::tsquery, ''::tsquery) || coalesce(any_lexeme($5), ''::tsquery)),
           near as materialized (
               select * from unnest($6::uuid[], $7::integer[], $8::float8[]) as near (article_id, ordinal, similarity))
           select a.id, a.slug, r.title, r.shown_summary as summary, a.locale, a.category_id, a.difficulty, a.view_count, a.helpful_count,
                  a.not_helpful_count, passage.body as "passage?", passage.anchor as "anchor?"
           from asked
           cross join unnest($2::uuid[]) as wanted (id)
           join articles a on a.tenant_id = $1 and a.id = wanted.id
           join revisions r on r.tenant_id = $1 and r.id = a.published_revision_id
           left join lateral (
               (select p.anchor, p.body
                from near
                join passages p on p.tenant_id = $1 and p.article_id = near.article_id and p.ordinal = near.ordinal
                where near.article_id = wanted.id
                order by p.tsv @@ asked.must_have desc,
                         near.similarity + coalesce(ts_rank(p.tsv, asked.words, 32), 0) desc, p.ordinal
                limit 1)
               union all
               (select p.anchor, p.body
                from passages p
                where p.tenant_id = $1 and p.article_id = wanted.id and p.ordinal > 0
                  and not exists (select from near where near.article_id = wanted.id)
                order by p.tsv @@ asked.must_have desc, coalesce(ts_rank(p.tsv, asked.words, 32), 0) desc, p.ordinal
                limit 1)
               limit 1) passage on true
           where article_is_visible(a.status, a.target_roles, $9)"#,
        tenant,
        articles,
        lexemes,
        must_have.phrase.as_deref(),
        &must_have.identifiers,
        &near_articles,
        &ordinals,
        &similarities,
        roles.as_slice()
    )
    .fetch_all(tx.connection())
    .await
}

/// The passages that are near and, of an article that none is of, those that have most of the words; in the order of the articles,
/// the best of each first. Articles that the caller may not see have none.
pub(super) async fn passages(
    tx: &mut TenantTx,
    roles: &Roles,
    articles: &[Uuid],
    near: &[Near],
    lexemes: &[String],
    per_article: usize,
) -> Result<Vec<FoundPassage>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let near_articles: Vec<Uuid> = near.iter().map(|near| near.article_id).collect();
    let ordinals: Vec<i32> = near.iter().map(|near| near.ordinal).collect();
    let similarities: Vec<f64> = near.iter().map(|near| near.similarity).collect();
    sqlx::query_as!(
        FoundPassage,
        r#"with asked (words) as materialized (select any_lexeme($3)), -- once, and not for each passage
           near as materialized (
               select * from unnest($4::uuid[], $5::integer[], $6::float8[]) as near (article_id, ordinal, similarity))
           select a.id as article_id, passage.revision_id as "revision_id!", passage.ordinal as "ordinal!", a.slug, r.title,
                  passage.heading_path as "heading_path!", passage.anchor as "anchor?", a.locale, passage.body as "text!",
                  passage.similarity as "similarity?"
           from asked
           cross join unnest($2::uuid[]) with ordinality as wanted (id, position)
           join articles a on a.tenant_id = $1 and a.id = wanted.id
           join revisions r on r.tenant_id = $1 and r.id = a.published_revision_id
           cross join lateral (
               (select p.revision_id, p.ordinal, p.heading_path, p.anchor, p.body, near.similarity, 0::real as rank
                from near
                join passages p on p.tenant_id = $1 and p.article_id = near.article_id and p.ordinal = near.ordinal
                where near.article_id = wanted.id)
               union all
               (select p.revision_id, p.ordinal, p.heading_path, p.anchor, p.body, null, coalesce(ts_rank(p.tsv, asked.words, 32), 0)
                from passages p
                where p.tenant_id = $1 and p.article_id = wanted.id and p.ordinal > 0
                  and not exists (select from near where near.article_id = wanted.id)
                order by 7 desc, p.ordinal
                limit $7)) passage
           where article_is_visible(a.status, a.target_roles, $8)
           order by wanted.position, passage.similarity desc nulls last, passage.rank desc, passage.ordinal"#,
        tenant,
        articles,
        lexemes,
        &near_articles,
        &ordinals,
        &similarities,
        i64::try_from(per_article).unwrap_or(i64::MAX),
        roles.as_slice()
    )
    .fetch_all(tx.connection())
    .await
}

/// A word of the tenant's articles.
pub(super) struct Spelling {
    pub(super) id: i32,
    pub(super) word: String,
    pub(super) article_count: i32,
}

/// The words that share most trigrams with one, of about its length.
pub(super) async fn words_like(tx: &mut TenantTx, word: &str) -> Result<Vec<Spelling>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Spelling,
        "select id, word, article_count from search_terms
         where tenant_id = $1 and article_count > 0 and length(word) between length($2) - 2 and length($2) + 3
         order by similarity(word, $2) desc, article_count desc, word limit 10",
        tenant,
        word
    )
    .fetch_all(tx.connection())
    .await
}

/// Whether a word stems to nothing in one of the tenant's languages.
pub(super) async fn is_stop_word(tx: &mut TenantTx, word: &str) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        r#"select exists (select from search_totals s
                          where s.tenant_id = $1 and s.article_count > 0
                            and to_tsvector(search_configuration(s.language), $2) = ''::tsvector) as "is_stop_word!""#,
        tenant,
        word
    )
    .fetch_one(tx.connection())
    .await
}

/// Whether an article that the caller may see has the term.
pub(super) async fn is_visible_term(
    tx: &mut TenantTx,
    roles: &Roles,
    request: &SearchRequest,
    term: i32,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"select exists (select from search_keyword_candidates($1, $2, null, false, null, $3, $4, $5, $6, 1)) as "visible!""#,
        roles.as_slice(),
        &[term],
        request.categories.as_deref(),
        request.tags.as_deref(),
        request.difficulty.map(Difficulty::as_str),
        request.locale.as_deref()
    )
    .fetch_one(tx.connection())
    .await
}

/// Visible articles with all of `complete` and one of `last` in the title, the most read first.
pub(super) async fn titles(
    tx: &mut TenantTx,
    roles: &Roles,
    complete: &[i32],
    last: &[i32],
    limit: i64,
) -> Result<Vec<super::TitleSuggestion>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        super::TitleSuggestion,
        r#"select a.id, a.slug, r.title
           from search_title_candidates($1, $2, $3, 200) as candidate (id)
           join articles a on a.tenant_id = $4 and a.id = candidate.id
           join revisions r on r.tenant_id = a.tenant_id and r.id = a.published_revision_id
           order by a.view_count desc, length(r.title), r.title, a.id limit $5"#,
        roles.as_slice(),
        complete,
        last,
        tenant,
        limit
    )
    .fetch_all(tx.connection())
    .await
}

/// Queries of at least so many people that begin like this and found an article that the caller may see.
pub(super) async fn asked_queries(
    tx: &mut TenantTx,
    roles: &Roles,
    beginning: &str,
    asked_by: i64,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select s.normalised from searches s
         left join articles a on a.tenant_id = s.tenant_id and a.id = s.article_ids[1]
                             and article_is_visible(a.status, a.target_roles, $4)
         where s.tenant_id = $1 and s.normalised ~>=~ $2 and s.normalised ~<~ $3 and s.searcher is not null and s.result_count > 0
         group by s.normalised
         having count(distinct s.searcher) >= $5 and bool_or(a.id is not null)
         order by count(distinct s.searcher) desc, s.normalised limit $6",
        tenant,
        beginning,
        after(beginning),
        roles.as_slice(),
        asked_by,
        limit
    )
    .fetch_all(tx.connection())
    .await
}

/// Queries that at least so many people went on to after this one, and that found an article that the caller may see.
pub(super) async fn related_queries(
    tx: &mut TenantTx,
    roles: &Roles,
    normalised: &str,
    asked_by: i64,
    limit: i64,
) -> Result<Vec<String>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select later.normalised
         from searches s
         join searches later on later.tenant_id = s.tenant_id and later.refines = s.id
         left join articles a on a.tenant_id = later.tenant_id and a.id = later.article_ids[1]
                             and article_is_visible(a.status, a.target_roles, $3)
         where s.tenant_id = $1 and s.normalised = $2 and later.normalised <> $2 and later.result_count > 0
         group by later.normalised
         having count(distinct later.searcher) >= $4 and bool_or(a.id is not null)
         order by count(distinct later.searcher) desc, later.normalised limit $5",
        tenant,
        normalised,
        roles.as_slice(),
        asked_by,
        limit
    )
    .fetch_all(tx.connection())
    .await
}

/// What comes after every text that begins like this one, by the order of code points. A range is looked up by any plan, and
/// `like` only by one that knows the pattern.
fn after(beginning: &str) -> String {
    format!("{beginning}{}", char::MAX)
}

/// The pinned articles of a query that the caller may see, in their order.
pub(super) async fn pins(tx: &mut TenantTx, roles: &Roles, normalised: &str) -> Result<Vec<Uuid>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "select p.article_id from search_pins p join articles a on a.tenant_id = p.tenant_id and a.id = p.article_id
         where p.tenant_id = $1 and p.query = $2 and article_is_visible(a.status, a.target_roles, $3) order by p.position",
        tenant,
        normalised,
        roles.as_slice()
    )
    .fetch_all(tx.connection())
    .await
}

/// The state of a tenant's index.
#[derive(Default)]
pub(super) struct State {
    /// What an answer that is kept is compared with: raised by every change that can change what a search finds.
    pub(super) version: i64,
    /// The model whose vectors are searched. `None`: none are there.
    pub(super) model: Option<String>,
    /// What need not be asked for where there is none: synonyms at all, …
    pub(super) has_synonyms: bool,
    /// … articles that are pinned to the query, …
    pub(super) has_pins: bool,
    /// … and searches that went on from the same query.
    pub(super) has_refinements: bool,
}

pub(super) async fn state(tx: &mut TenantTx, normalised: &str) -> Result<State, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let state = sqlx::query_as!(
        State,
        r#"select version, model,
                  exists (select from synonyms where tenant_id = $1) as "has_synonyms!",
                  exists (select from search_pins where tenant_id = $1 and query = $2) as "has_pins!",
                  exists (select from searches s join searches later on later.tenant_id = s.tenant_id and later.refines = s.id
                          where s.tenant_id = $1 and s.normalised = $2) as "has_refinements!"
           from search_versions where tenant_id = $1"#,
        tenant,
        normalised
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(state.unwrap_or_default())
}
