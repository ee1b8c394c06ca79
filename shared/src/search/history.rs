//! What people searched for and what they opened: kept for suggestions, and for those who improve the help center.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{Query, SearchOutcome};
use crate::{auth::Roles, db::TenantTx, knowledge::feedback::ReaderKey};

/// Queries that extend each other within this time are one search that somebody is typing.
const TYPING_SECONDS: f64 = 30.0;
/// A later search refines an earlier one of the same session for so long.
const SESSION_SECONDS: f64 = 1_800.0;
/// How many results are kept with a search.
const KEPT_RESULTS: usize = 20;
/// The last position that a click may name.
pub const MAX_POSITION: i32 = 1_000;

/// A search that was answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// Who asked. `None`: a machine, or a visitor without a session; such searches are never joined.
    pub searcher: Option<&'a ReaderKey>,
    /// The session that the client named, as it named it.
    pub session: Option<&'a str>,
    /// The asker's language.
    pub locale: Option<&'a str>,
    /// What was asked.
    pub query: &'a Query,
    /// What was found.
    pub outcome: &'a SearchOutcome,
    /// How long it took.
    pub took_ms: u64,
}

/// Keeps a search; returns its id. What goes on from a query that the same searcher typed in the same session within
/// [`TYPING_SECONDS`], or takes some of it back, stays the same search, unless a result of it was opened.
pub async fn record(tx: &mut TenantTx, answered: &Answered<'_>) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let normalised = answered.query.normalised();
    let article_ids: Vec<Uuid> = answered.outcome.hits.iter().take(KEPT_RESULTS).map(|hit| hit.id).collect();
    let result_count = i32::try_from(answered.outcome.total).unwrap_or(i32::MAX);
    let took_ms = i32::try_from(answered.took_ms).unwrap_or(i32::MAX);
    let is_degraded = !answered.outcome.degraded.is_empty();
    let session = match answered.searcher {
        Some(searcher) => answered.session.map(|session| searcher.session_name(session)),
        None => answered.session,
    };
    let previous = match answered.searcher {
        Some(searcher) => previous(tx, searcher, session).await?,
        None => None,
    };
    if let Some(previous) = previous.as_ref().filter(|previous| previous.goes_on(&normalised)) {
        sqlx::query!(
            "update searches set query = $3, normalised = $4, locale = $5, result_count = $6, article_ids = $7, took_ms = $8,
                                 is_degraded = $9, settled_at = now()
             where tenant_id = $1 and id = $2",
            tenant,
            previous.id,
            answered.query.as_str(),
            normalised,
            answered.locale,
            result_count,
            &article_ids,
            took_ms,
            is_degraded
        )
        .execute(tx.connection())
        .await?;
        return Ok(previous.id);
    }
    sqlx::query_scalar!(
        "insert into searches (tenant_id, searcher, session_id, query, normalised, locale, result_count, article_ids, took_ms,
                               is_degraded, refines)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning id",
        tenant,
        answered.searcher.map(ReaderKey::as_str),
        session,
        answered.query.as_str(),
        normalised,
        answered.locale,
        result_count,
        &article_ids,
        took_ms,
        is_degraded,
        previous.map(|previous| previous.id)
    )
    .fetch_one(tx.connection())
    .await
}

/// The searcher's last search in the session.
struct Previous {
    id: Uuid,
    normalised: String,
    age_seconds: f64,
    was_opened: bool,
}

impl Previous {
    fn goes_on(&self, normalised: &str) -> bool {
        let extends = normalised.starts_with(&self.normalised) || self.normalised.starts_with(normalised);
        extends && !self.was_opened && self.age_seconds <= TYPING_SECONDS
    }
}

/// Its searcher's other searches wait until the transaction ends: two keystrokes may be answered at once.
async fn previous(
    tx: &mut TenantTx,
    searcher: &ReaderKey,
    session: Option<&str>,
) -> Result<Option<Previous>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "select pg_advisory_xact_lock(hashtextextended('searches ' || $1::uuid::text || $2::text, 0))",
        tenant,
        searcher.as_str()
    )
    .execute(tx.connection())
    .await?;
    sqlx::query_as!(
        Previous,
        r#"select s.id, s.normalised, extract(epoch from now() - s.settled_at)::float8 as "age_seconds!",
                  exists (select from search_clicks c where c.tenant_id = s.tenant_id and c.search_id = s.id) as "was_opened!"
           from searches s
           where s.tenant_id = $1 and s.searcher = $2 and s.session_id is not distinct from $3
             and s.settled_at > now() - make_interval(secs => $4)
           order by s.settled_at desc, s.id desc limit 1"#,
        tenant,
        searcher.as_str(),
        session,
        SESSION_SECONDS
    )
    .fetch_optional(tx.connection())
    .await
}

/// Keeps that a result was opened, at its 1-based position; the first time counts. `false`: there is no such search of this
/// searcher, or no such article that they may see.
pub async fn record_click(
    tx: &mut TenantTx,
    roles: &Roles,
    searcher: Option<&ReaderKey>,
    search: Uuid,
    article: Uuid,
    position: i32,
) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let known = sqlx::query_scalar!(
        r#"select exists (select from searches s, articles a
                          where s.tenant_id = $1 and s.id = $2 and s.searcher is not distinct from $5
                            and a.tenant_id = $1 and a.id = $3 and article_is_visible(a.status, a.target_roles, $4)) as "known!""#,
        tenant,
        search,
        article,
        roles.as_slice(),
        searcher.map(ReaderKey::as_str)
    )
    .fetch_one(tx.connection())
    .await?;
    if known {
        sqlx::query!(
            "insert into search_clicks (tenant_id, search_id, article_id, position) values ($1, $2, $3, $4)
             on conflict do nothing",
            tenant,
            search,
            article,
            position
        )
        .execute(tx.connection())
        .await?;
    }
    Ok(known)
}

/// A search as those see it who improve the help center.
#[derive(Debug, Clone, PartialEq)]
pub struct SearchEntry {
    /// Identity.
    pub id: Uuid,
    /// As it was typed last.
    pub query: String,
    /// The asker's language, if it was told.
    pub locale: Option<String>,
    /// How many articles were found.
    pub result_count: i32,
    /// How long the answer took.
    pub took_ms: i32,
    /// Without search by meaning.
    pub is_degraded: bool,
    /// The search before it, of the same session.
    pub refines: Option<Uuid>,
    /// The position of the result that was opened first.
    pub first_click: Option<i32>,
    /// When it was typed last.
    pub settled_at: DateTime<Utc>,
}

/// Which searches to list.
#[derive(Debug, Clone, Default)]
pub struct SearchFilter {
    /// Only those that found nothing.
    pub without_results: bool,
    /// Only those of which nothing was opened.
    pub without_click: bool,
    /// Only after this one: its time and id.
    pub after: Option<(DateTime<Utc>, Uuid)>,
    /// At most so many.
    pub limit: i64,
}

/// Searches that have settled, the latest first. Who searched is not told.
pub async fn searches(tx: &mut TenantTx, filter: &SearchFilter) -> Result<Vec<SearchEntry>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (after_at, after_id) = filter.after.unzip();
    sqlx::query_as!(
        SearchEntry,
        r#"select s.id, s.query, s.locale, s.result_count, s.took_ms, s.is_degraded, s.refines, s.settled_at,
                  (select c.position from search_clicks c where c.tenant_id = s.tenant_id and c.search_id = s.id
                   order by c.created_at, c.position limit 1) as first_click
           from searches s
           where s.tenant_id = $1 and s.settled_at < now() - make_interval(secs => $2)
             and (not $3 or s.result_count = 0)
             and (not $4 or not exists (select from search_clicks c where c.tenant_id = s.tenant_id and c.search_id = s.id))
             and ($5::timestamptz is null or (s.settled_at, s.id) < ($5, $6::uuid))
           order by s.settled_at desc, s.id desc limit $7"#,
        tenant,
        TYPING_SECONDS,
        filter.without_results,
        filter.without_click,
        after_at,
        after_id,
        filter.limit
    )
    .fetch_all(tx.connection())
    .await
}
