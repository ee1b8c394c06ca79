//! A person's right to what is kept of them: all of it handed out, all of it erased.

use serde::Serialize;
use uuid::Uuid;

use super::{
    conversations::{ConversationFilter, Transcript, conversations, transcript_of},
    handovers::{Handover, handovers_of},
    memory::{Memory, forget_all, memories},
    question::Asker,
};
use crate::db::TenantTx;

/// How many conversations are read at once.
const AT_ONCE: i64 = 100;

/// What the assistant keeps of a person.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PersonExport {
    /// The host application's subject, or the id of a local account.
    pub subject: String,
    /// The latest first.
    pub conversations: Vec<Transcript>,
    /// When they asked for a person.
    pub handovers: Vec<Handover>,
    /// What was said last first.
    pub memories: Vec<Memory>,
}

/// What was erased of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PersonErased {
    /// Conversations, with their answers and hand-overs.
    pub conversations: u64,
    /// Memories.
    pub memories: u64,
}

/// Everything that a person said to the assistant and was told by it, whatever they may see now.
pub async fn export_person(tx: &mut TenantTx, subject: &str) -> Result<PersonExport, sqlx::Error> {
    let asker = Asker::person(subject);
    let mut ids: Vec<Uuid> = Vec::new();
    let mut filter = ConversationFilter { asker: Some(asker.clone()), limit: AT_ONCE, ..ConversationFilter::default() };
    loop {
        let page = conversations(tx, &filter).await?;
        filter.before = page.last().map(|last| (last.last_asked_at, last.id));
        ids.extend(page.iter().map(|conversation| conversation.id));
        if page.is_empty() {
            break;
        }
    }
    let mut transcripts = Vec::with_capacity(ids.len());
    for id in ids {
        transcripts.extend(transcript_of(tx, id, i64::MAX).await?);
    }
    Ok(PersonExport {
        subject: subject.to_owned(),
        conversations: transcripts,
        handovers: handovers_of(tx, &asker).await?,
        memories: memories(tx, &asker).await?,
    })
}

/// Erases all of that.
pub async fn erase_person(tx: &mut TenantTx, subject: &str) -> Result<PersonErased, sqlx::Error> {
    let asker = Asker::person(subject);
    let tenant = tx.tenant().uuid();
    let erased = sqlx::query!("delete from conversations where tenant_id = $1 and asker = $2", tenant, asker.as_str())
        .execute(tx.connection())
        .await?;
    Ok(PersonErased { conversations: erased.rows_affected(), memories: forget_all(tx, &asker).await? })
}
