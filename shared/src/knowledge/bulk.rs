//! One change of many articles, as a job.

use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    jobs::{BulkAction, BulkChange},
    slug::slugify,
    writing::{self, ArticleChange, ManagedArticle, Step, WriteError, Writer},
};
use crate::{clock::Clock, db::Database, tenancy::TenantId};

/// Most refusals that the result of a job lists; the others are counted.
const LISTED: usize = 100;

/// What became of a bulk change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BulkOutcome {
    /// Articles that were changed.
    pub changed: usize,
    /// Articles that were as wanted already, or are gone.
    pub unchanged: usize,
    /// Articles that could not be changed, and why.
    pub refused: Vec<(Uuid, String)>,
}

impl BulkOutcome {
    /// As the result of the job.
    pub fn to_json(&self) -> Value {
        let listed: Vec<Value> =
            self.refused.iter().take(LISTED).map(|(id, reason)| json!({ "id": id, "reason": reason })).collect();
        json!({ "changed": self.changed, "unchanged": self.unchanged, "refused": self.refused.len(), "refusals": listed })
    }
}

/// Changes each article in a transaction of its own, so that a worker that dies in the middle leaves whole articles behind
/// and the next one finds them done. `progress` hears how many of how many were looked at.
pub async fn change_many(
    database: &Database,
    tenant: TenantId,
    job: &BulkChange,
    clock: &Clock,
    progress: impl Fn(u64, u64),
) -> Result<BulkOutcome, sqlx::Error> {
    let writer = Writer { actor: job.actor.clone(), is_editor: true };
    let mut outcome = BulkOutcome::default();
    for (done, id) in job.article_ids.iter().enumerate() {
        let changed = loop {
            match change_one(database, tenant, &writer, *id, &job.action, clock).await {
                // Somebody was faster; what they made of it is what is to be changed.
                Err(WriteError::Conflict { .. }) => {}
                changed => break changed,
            }
        };
        match changed {
            Ok(true) => outcome.changed += 1,
            Ok(false) => outcome.unchanged += 1,
            Err(WriteError::Database(error)) => return Err(error),
            Err(error) => outcome.refused.push((*id, error.to_string())),
        }
        progress(done as u64 + 1, job.article_ids.len() as u64);
    }
    Ok(outcome)
}

/// Whether the article was not as wanted, and is now. One that is gone needs no change.
async fn change_one(
    database: &Database,
    tenant: TenantId,
    writer: &Writer,
    id: Uuid,
    action: &BulkAction,
    clock: &Clock,
) -> Result<bool, WriteError> {
    let mut tx = database.tenant(tenant).await?;
    let Some(current) = writing::managed_article(&mut tx, id).await? else { return Ok(false) };
    match wanted(&current, action) {
        Wanted::Nothing => return Ok(false),
        Wanted::Step(step) => writing::take_step(&mut tx, writer, id, current.version, step, clock.now()).await?,
        Wanted::Change(change) => writing::change(&mut tx, writer, id, current.version, &change).await?,
    }
    tx.commit().await?;
    Ok(true)
}

/// What is to be done to one article.
enum Wanted {
    Nothing,
    Step(Step),
    Change(Box<ArticleChange>),
}

fn wanted(current: &ManagedArticle, action: &BulkAction) -> Wanted {
    let has_tag = |tag: &str| {
        let slug = slugify(tag);
        current.tags.iter().any(|name| slugify(name) == slug)
    };
    let changed = |change| Wanted::Change(Box::new(change));
    match action {
        BulkAction::Publish if current.is_published() && !current.has_unpublished_text() => Wanted::Nothing,
        BulkAction::Publish => Wanted::Step(Step::Publish { revision: None, at: None }),
        BulkAction::Archive if current.status == "ARCHIVED" => Wanted::Nothing,
        BulkAction::Archive => Wanted::Step(Step::Archive),
        BulkAction::Move { category_id } if current.category_id == *category_id => Wanted::Nothing,
        BulkAction::Move { category_id } => {
            changed(ArticleChange { category_id: Some(*category_id), ..ArticleChange::default() })
        }
        BulkAction::Tag { add, remove } => {
            let mut tags: Vec<String> = current.tags.iter().filter(|tag| !names(remove, tag)).cloned().collect();
            tags.extend(add.iter().filter(|tag| !has_tag(tag)).cloned());
            if tags == current.tags {
                return Wanted::Nothing;
            }
            changed(ArticleChange { tags: Some(tags), ..ArticleChange::default() })
        }
    }
}

fn names(tags: &[String], name: &str) -> bool {
    tags.iter().any(|tag| slugify(tag) == slugify(name))
}
