//! What readers leave with articles: votes, reports, bookmarks, and suggestions of articles that are missing.
//!
//! Readers leave something with articles that they may see, and hear of others as if there were none.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::read::{ArticleSummary, helpful_ratio};
use crate::{
    audit,
    auth::{Identity, Pepper, Principal, Roles},
    db::TenantTx,
};

/// Most characters in the comment of a vote.
pub const MAX_VOTE_COMMENT_CHARS: usize = 1000;
/// Most characters in the comment of a report.
pub const MAX_REPORT_COMMENT_CHARS: usize = 2000;
/// Most characters in what a suggestion says beside its title.
pub const MAX_SUGGESTION_CHARS: usize = 5000;
/// The shortest name of a visitor's session that nobody guesses.
pub const MIN_SESSION_CHARS: usize = 16;
/// The longest.
pub const MAX_SESSION_CHARS: usize = 100;

/// Somebody who leaves something, the same one each time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReaderKey(String);

impl ReaderKey {
    /// `person:SUBJECT` or `visitor:HASH`.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// Under which name a session of theirs is kept.
    pub(crate) fn session_name<'a>(&'a self, session: &'a str) -> &'a str {
        session_name(&self.0, session)
    }

    /// A person, or a visitor of a public help center by the session that their browser keeps, of which only a keyed hash is
    /// stored. `None`: machines leave nothing, nor do visitors without a session.
    pub fn of(caller: &Principal, session: Option<&str>, pepper: &Pepper) -> Option<Self> {
        match &caller.identity {
            Identity::Person { subject, .. } => Some(Self(format!("person:{subject}"))),
            Identity::Machine { .. } => None,
            Identity::Anonymous => {
                let session =
                    session.filter(|s| (MIN_SESSION_CHARS..=MAX_SESSION_CHARS).contains(&s.chars().count()))?;
                let hash = pepper.hash("visitor", session.as_bytes());
                Some(Self(hash.iter().fold("visitor:".to_owned(), |key, byte| format!("{key}{byte:02x}"))))
            }
        }
    }
}

/// Under which name the session of somebody who is known as `key` is kept. A visitor is known by its name alone: nothing is kept
/// of it but the hash that they are known as.
pub(crate) fn session_name<'a>(key: &'a str, session: &'a str) -> &'a str {
    if key.starts_with("visitor:") { key } else { session }
}

/// The votes on an article, and the reader's own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Votes {
    /// How many found it helpful.
    pub helpful: i64,
    /// How many did not.
    pub not_helpful: i64,
    /// Whether the reader did. `None`: they have not voted.
    pub own: Option<bool>,
}

impl Votes {
    /// helpful / (helpful + not helpful); 0.5 without votes.
    pub fn helpful_ratio(&self) -> f64 {
        helpful_ratio(self.helpful, self.not_helpful)
    }
}

/// An article that the caller may see, by id or slug, with the revision that they see.
pub(super) async fn seen(
    tx: &mut TenantTx,
    roles: &Roles,
    id_or_slug: &str,
) -> Result<Option<(Uuid, Uuid)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"select id, published_revision_id as "revision!" from articles
           where tenant_id = $1 and (id = $2 or slug = $3) and article_is_visible(status, target_roles, $4)
           order by id = $2 desc limit 1"#,
        tenant,
        Uuid::try_parse(id_or_slug).ok(),
        id_or_slug,
        roles.as_slice()
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|r| (r.id, r.revision)))
}

/// The votes on an article. `None`, here and below: there is no such article that the caller may see.
pub async fn votes(
    tx: &mut TenantTx,
    roles: &Roles,
    article: &str,
    reader: Option<&ReaderKey>,
) -> Result<Option<Votes>, sqlx::Error> {
    let Some((article, _)) = seen(tx, roles, article).await? else { return Ok(None) };
    counts(tx, article, reader).await.map(Some)
}

async fn counts(tx: &mut TenantTx, article: Uuid, reader: Option<&ReaderKey>) -> Result<Votes, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"select helpful_count, not_helpful_count,
                  (select is_helpful from article_votes v
                   where v.tenant_id = a.tenant_id and v.article_id = a.id and v.reader = $3) as own
           from articles a where tenant_id = $1 and id = $2"#,
        tenant,
        article,
        reader.map(|reader| reader.0.as_str())
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(Votes { helpful: row.helpful_count, not_helpful: row.not_helpful_count, own: row.own })
}

/// Votes, or votes anew: a reader has one vote on an article. Returns the votes with this one.
pub async fn vote(
    tx: &mut TenantTx,
    roles: &Roles,
    article: &str,
    reader: &ReaderKey,
    is_helpful: bool,
    comment: &str,
) -> Result<Option<Votes>, sqlx::Error> {
    let Some((article, revision)) = seen(tx, roles, article).await? else { return Ok(None) };
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "insert into article_votes (tenant_id, article_id, reader, is_helpful, comment, revision_id)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant_id, article_id, reader) do update
         set is_helpful = excluded.is_helpful, comment = excluded.comment, revision_id = excluded.revision_id,
             updated_at = now()",
        tenant,
        article,
        reader.0,
        is_helpful,
        comment,
        revision
    )
    .execute(tx.connection())
    .await?;
    counts(tx, article, Some(reader)).await.map(Some)
}

/// Takes a vote back. Returns the votes that are left.
pub async fn take_vote_back(
    tx: &mut TenantTx,
    roles: &Roles,
    article: &str,
    reader: &ReaderKey,
) -> Result<Option<Votes>, sqlx::Error> {
    let Some((article, _)) = seen(tx, roles, article).await? else { return Ok(None) };
    let tenant = tx.tenant().uuid();
    sqlx::query!(
        "delete from article_votes where tenant_id = $1 and article_id = $2 and reader = $3",
        tenant,
        article,
        reader.0
    )
    .execute(tx.connection())
    .await?;
    counts(tx, article, Some(reader)).await.map(Some)
}

/// What is wrong with an article.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReportKind {
    /// It says something that is not so.
    Incorrect,
    /// It was so once.
    Outdated,
}

impl ReportKind {
    /// As stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Incorrect => "INCORRECT",
            Self::Outdated => "OUTDATED",
        }
    }
}

/// Reports an article. The same reader reporting the same again, while the first report is open, says it in other words.
pub async fn report(
    tx: &mut TenantTx,
    roles: &Roles,
    article: &str,
    reader: &ReaderKey,
    kind: ReportKind,
    comment: &str,
) -> Result<Option<Uuid>, sqlx::Error> {
    let Some((article, revision)) = seen(tx, roles, article).await? else { return Ok(None) };
    let tenant = tx.tenant().uuid();
    let id = sqlx::query_scalar!(
        "insert into article_reports (tenant_id, article_id, revision_id, reader, kind, comment)
         values ($1, $2, $3, $4, $5, $6)
         on conflict (tenant_id, article_id, reader, kind) where status = 'OPEN' do update
         set comment = excluded.comment, revision_id = excluded.revision_id
         returning id",
        tenant,
        article,
        revision,
        reader.0,
        kind.as_str(),
        comment
    )
    .fetch_one(tx.connection())
    .await?;
    Ok(Some(id))
}

/// Sets or removes a bookmark.
pub async fn bookmark(
    tx: &mut TenantTx,
    roles: &Roles,
    article: &str,
    reader: &ReaderKey,
    is_set: bool,
) -> Result<bool, sqlx::Error> {
    let Some((article, _)) = seen(tx, roles, article).await? else { return Ok(false) };
    let tenant = tx.tenant().uuid();
    let change = if is_set {
        sqlx::query!(
            "insert into bookmarks (tenant_id, reader, article_id) values ($1, $2, $3) on conflict do nothing",
            tenant,
            reader.0,
            article
        )
    } else {
        sqlx::query!(
            "delete from bookmarks where tenant_id = $1 and reader = $2 and article_id = $3",
            tenant,
            reader.0,
            article
        )
    };
    change.execute(tx.connection()).await?;
    Ok(true)
}

/// The reader's bookmarks among what they may see, the latest first: those before `before` (time and id of the last one of an
/// earlier page), at most `limit`; each with when it was set.
pub async fn bookmarks(
    tx: &mut TenantTx,
    roles: &Roles,
    reader: &ReaderKey,
    before: Option<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Vec<(DateTime<Utc>, ArticleSummary)>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let (before_at, before_id) = before.unzip();
    let rows = sqlx::query!(
        r#"select b.created_at, a.id, a.slug, r.title, r.shown_summary as summary, a.category_id, a.difficulty, a.locale, a.translation_group,
                  a.view_count, a.helpful_count, a.not_helpful_count, a.published_at as "published_at!", a.updated_at
           from bookmarks b join articles a on a.tenant_id = b.tenant_id and a.id = b.article_id
           join revisions r on r.tenant_id = a.tenant_id and r.id = a.published_revision_id
           where b.tenant_id = $1 and b.reader = $2 and article_is_visible(a.status, a.target_roles, $3)
             and ($4::timestamptz is null or (b.created_at, a.id) < ($4, $5::uuid))
           order by b.created_at desc, a.id desc limit $6"#,
        tenant,
        reader.0,
        roles.as_slice(),
        before_at,
        before_id,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let article = ArticleSummary {
                id: r.id,
                slug: r.slug,
                title: r.title,
                summary: r.summary,
                category_id: r.category_id,
                difficulty: r.difficulty,
                locale: r.locale,
                translation_group: r.translation_group,
                view_count: r.view_count,
                helpful_count: r.helpful_count,
                not_helpful_count: r.not_helpful_count,
                published_at: r.published_at,
                updated_at: r.updated_at,
            };
            (r.created_at, article)
        })
        .collect())
}

/// Suggests an article that is missing.
pub async fn suggest(tx: &mut TenantTx, reader: &ReaderKey, title: &str, details: &str) -> Result<Uuid, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_scalar!(
        "insert into article_suggestions (tenant_id, reader, title, details) values ($1, $2, $3, $4) returning id",
        tenant,
        reader.0,
        title,
        details
    )
    .fetch_one(tx.connection())
    .await
}

/// A report as staff sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Identity.
    pub id: Uuid,
    /// The article.
    pub article_id: Uuid,
    /// Its title, by its latest text.
    pub title: String,
    /// Number of the revision that was reported.
    pub revision: i32,
    /// `INCORRECT` or `OUTDATED`.
    pub kind: String,
    /// What the reader says.
    pub comment: String,
    /// `OPEN`, `RESOLVED` or `DISMISSED`.
    pub status: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When it was settled.
    pub settled_at: Option<DateTime<Utc>>,
    /// By whom.
    pub settled_by: Option<String>,
}

/// Reports, the latest first: those of a status and of an article if wanted, before `before`, at most `limit`.
pub async fn reports(
    tx: &mut TenantTx,
    status: Option<&str>,
    article: Option<Uuid>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Report>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Report,
        "select p.id, p.article_id, l.title, r.number as revision, p.kind, p.comment, p.status, p.created_at, p.settled_at,
                p.settled_by
         from article_reports p
         join articles a on a.tenant_id = p.tenant_id and a.id = p.article_id
         join revisions l on l.tenant_id = a.tenant_id and l.id = a.latest_revision_id
         join revisions r on r.tenant_id = p.tenant_id and r.id = p.revision_id
         where p.tenant_id = $1 and ($2::text is null or p.status = $2) and ($3::uuid is null or p.article_id = $3)
           and ($4::uuid is null or p.id < $4)
         order by p.id desc limit $5",
        tenant,
        status,
        article,
        before,
        limit
    )
    .fetch_all(tx.connection())
    .await
}

/// Settles a report, or opens it again. False: there is none.
pub async fn settle_report(tx: &mut TenantTx, actor: &str, id: Uuid, status: &str) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let changed = sqlx::query!(
        "update article_reports set status = $3, settled_at = case when $3 <> 'OPEN' then now() end,
             settled_by = case when $3 <> 'OPEN' then $4 end
         where tenant_id = $1 and id = $2",
        tenant,
        id,
        status,
        actor
    )
    .execute(tx.connection())
    .await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    audit::record_with(tx, actor, "report.settled", &id.to_string(), &serde_json::json!({ "status": status })).await?;
    Ok(true)
}

/// A suggestion as staff sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct Suggestion {
    /// Identity.
    pub id: Uuid,
    /// What the article would be called.
    pub title: String,
    /// What it should say.
    pub details: String,
    /// `OPEN`, `PLANNED`, `DONE` or `DECLINED`.
    pub status: String,
    /// What came of it.
    pub article_id: Option<Uuid>,
    /// When.
    pub created_at: DateTime<Utc>,
    /// When somebody decided.
    pub settled_at: Option<DateTime<Utc>>,
    /// Who.
    pub settled_by: Option<String>,
}

/// Suggestions, the latest first: those of a status if wanted, before `before`, at most `limit`.
pub async fn suggestions(
    tx: &mut TenantTx,
    status: Option<&str>,
    before: Option<Uuid>,
    limit: i64,
) -> Result<Vec<Suggestion>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    sqlx::query_as!(
        Suggestion,
        "select id, title, details, status, article_id, created_at, settled_at, settled_by from article_suggestions
         where tenant_id = $1 and ($2::text is null or status = $2) and ($3::uuid is null or id < $3)
         order by id desc limit $4",
        tenant,
        status,
        before,
        limit
    )
    .fetch_all(tx.connection())
    .await
}

/// Says what becomes of a suggestion. False: there is none.
pub async fn settle_suggestion(
    tx: &mut TenantTx,
    actor: &str,
    id: Uuid,
    status: &str,
    article: Option<Uuid>,
) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let changed = sqlx::query!(
        "update article_suggestions set status = $3, article_id = coalesce($5, article_id),
             settled_at = case when $3 <> 'OPEN' then now() end, settled_by = case when $3 <> 'OPEN' then $4 end
         where tenant_id = $1 and id = $2",
        tenant,
        id,
        status,
        actor,
        article
    )
    .execute(tx.connection())
    .await?;
    if changed.rows_affected() == 0 {
        return Ok(false);
    }
    let details = serde_json::json!({ "status": status, "article_id": article });
    audit::record_with(tx, actor, "suggestion.settled", &id.to_string(), &details).await?;
    Ok(true)
}
