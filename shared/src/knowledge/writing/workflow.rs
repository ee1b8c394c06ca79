//! The way of an article to its readers: DRAFT → REVIEW → PUBLISHED → ARCHIVED, and back to DRAFT.
//!
//! A published article stays what readers see while a newer text is written beside it; asking for a review of that text
//! leaves its status alone. Every step of an editor ends what was scheduled before; authors leave it as an editor decided.

use chrono::{DateTime, NaiveDate, SubsecRound as _, Utc};
use serde_json::json;
use uuid::Uuid;

use super::{ManagedArticle, WriteError, Writer, links, lock, managed_article, store, store::Move};
use crate::{
    audit,
    db::{Database, TenantTx},
    knowledge::{index, jobs::PublishScheduled},
    queue,
    tenancy::TenantId,
};

/// A step on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Back to its authors; readers do not see it.
    Draft,
    /// The latest text waits for an editor.
    Review,
    /// Readers see the latest text, or the revision with this number.
    Publish {
        /// Instead of the latest.
        revision: Option<i32>,
        /// Not now, but then.
        at: Option<DateTime<Utc>>,
    },
    /// Out of use; readers do not see it.
    Archive,
}

/// Takes a step with an article that is at the version which the writer saw.
///
/// Authors hand in drafts and take them back; the other steps are for editors. To be published, an article needs a text, a
/// category and somebody who may read it.
pub async fn take_step(
    tx: &mut TenantTx,
    writer: &Writer,
    id: Uuid,
    seen: i32,
    step: Step,
    now: DateTime<Utc>,
) -> Result<(), WriteError> {
    let current = lock(tx, id, seen).await?;
    if !writer.is_editor {
        let is_an_authors = match step {
            Step::Review => true,
            Step::Draft => current.status == "REVIEW",
            Step::Publish { .. } | Step::Archive => false,
        };
        if !is_an_authors {
            return Err(WriteError::EditorsOnly("authors hand in drafts and take them back"));
        }
    }
    let no_such_step = |to| Err(WriteError::NoSuchStep { from: current.status.clone(), to });
    let (to, action) = match (step, current.status.as_str()) {
        (Step::Draft, "DRAFT") if current.publish_at.is_none() => return no_such_step("DRAFT"),
        (Step::Draft, _) => (Move::To("DRAFT"), "article.drafted"),
        (Step::Review, "DRAFT") => (Move::To("REVIEW"), "article.review_requested"),
        (Step::Review, "PUBLISHED") if current.has_unpublished_text() => {
            (Move::ReviewRequested, "article.review_requested")
        }
        (Step::Review, _) => return no_such_step("REVIEW"),
        (Step::Archive, "ARCHIVED") => return no_such_step("ARCHIVED"),
        (Step::Archive, _) => (Move::To("ARCHIVED"), "article.archived"),
        (Step::Publish { .. }, "ARCHIVED") => return no_such_step("PUBLISHED"),
        (Step::Publish { revision, at }, _) => {
            let number = revision.unwrap_or(current.revision);
            let revision = store::revision_id(tx, id, number)
                .await?
                .ok_or_else(|| WriteError::Invalid(format!("The article has no revision {number}.")))?;
            require_complete(tx, &current, number).await?;
            match at {
                Some(at) if at <= now => {
                    return Err(WriteError::Invalid(
                        "`publish_at` must be in the future; leave it out to publish now.".to_owned(),
                    ));
                }
                // As exact as it is stored: the job finds its schedule by the time.
                Some(at) => (Move::Scheduled(revision, at.trunc_subsecs(6)), "article.scheduled"),
                None => (Move::Published(revision), "article.published"),
            }
        }
    };
    apply(tx, &current, &to, !writer.is_editor).await?;
    if let Move::Scheduled(_, at) = to {
        queue::enqueue_at(tx, &PublishScheduled { article_id: id, at }, at).await?;
    }
    let revision = match step {
        Step::Publish { revision: Some(number), .. } => number,
        _ => current.revision,
    };
    let details = json!({ "from": current.status, "revision": revision });
    audit::record_with(tx, &writer.actor, action, &id.to_string(), &details).await?;
    Ok(())
}

async fn apply(
    tx: &mut TenantTx,
    current: &ManagedArticle,
    to: &Move<'_>,
    keeps_schedule: bool,
) -> Result<(), sqlx::Error> {
    store::take(tx, current.id, to, keeps_schedule).await?;
    let is_seen_otherwise = matches!(to, Move::Published(_)) || current.is_published() && matches!(to, Move::To(_));
    if is_seen_otherwise {
        links::update(tx, current.id).await?;
        index::refresh(tx, current.id).await?;
    }
    Ok(())
}

async fn require_complete(tx: &mut TenantTx, article: &ManagedArticle, revision: i32) -> Result<(), WriteError> {
    let content = if revision == article.revision {
        article.content.clone()
    } else {
        super::revision(tx, article.id, revision).await?.map(|r| r.text.content).unwrap_or_default()
    };
    let missing = [
        ("it has no content", content.trim().is_empty()),
        ("it has no category", article.category_id.is_none()),
        ("it has no target roles, so nobody could read it; `all` is everybody", article.target_roles.is_empty()),
    ];
    let missing: Vec<_> = missing.into_iter().filter_map(|(what, is_missing)| is_missing.then_some(what)).collect();
    if missing.is_empty() { Ok(()) } else { Err(WriteError::Incomplete(missing)) }
}

/// Notes that an editor read the article critically and found it good, and when somebody should again.
pub async fn confirm_review(
    tx: &mut TenantTx,
    writer: &Writer,
    id: Uuid,
    seen: i32,
    due_on: Option<NaiveDate>,
) -> Result<(), WriteError> {
    lock(tx, id, seen).await?;
    if !writer.is_editor {
        return Err(WriteError::EditorsOnly("a review is confirmed by an editor"));
    }
    store::reviewed(tx, id, due_on).await?;
    audit::record_with(tx, &writer.actor, "article.reviewed", &id.to_string(), &json!({ "due_on": due_on })).await?;
    Ok(())
}

/// Why a scheduled article was not published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// It lost something that it needs since it was scheduled. A human must look.
    #[error("{0}")]
    Incomplete(WriteError),
    /// PostgreSQL.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Publishes the revision that was scheduled, if the schedule of this job still stands. Whether its time has come, the queue
/// decided, by a clock that need not be PostgreSQL's. False: there was nothing to do.
pub async fn publish_scheduled(
    database: &Database,
    tenant: TenantId,
    job: &PublishScheduled,
) -> Result<bool, PublishError> {
    let mut tx = database.tenant(tenant).await?;
    store::lock(&mut tx, job.article_id).await?;
    let Some(revision) = store::scheduled_revision(&mut tx, job.article_id, job.at).await? else { return Ok(false) };
    let Some(current) = managed_article(&mut tx, job.article_id).await? else { return Ok(false) };
    let number = current.publish_revision.unwrap_or(current.revision);
    match require_complete(&mut tx, &current, number).await {
        Ok(()) => {}
        Err(WriteError::Database(error)) => return Err(error.into()),
        Err(error) => return Err(PublishError::Incomplete(error)),
    }
    apply(&mut tx, &current, &Move::Published(revision), false).await?;
    let details = json!({ "from": current.status, "revision": number, "scheduled_at": job.at });
    audit::record_with(&mut tx, "schedule", "article.published", &job.article_id.to_string(), &details).await?;
    tx.commit().await?;
    Ok(true)
}
