//! What the assistant remembers of the caller.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use chrono::{DateTime, Utc};
use serde::Serialize;
use shared::{
    assistant::{
        Asker,
        memory::{self, Memory, MemoryKind},
    },
    auth::Principal,
};
use utoipa::ToSchema;
use uuid::Uuid;

use super::conversations::private;
use crate::{
    Services,
    caller::Reader,
    error::{ApiError, Problem},
};

/// What is remembered of the caller.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemoryList {
    /// What was said last first; at most 50. Of visitors without an account and of machines nothing is remembered.
    results: Vec<MemoryLine>,
}

/// Something that is remembered.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemoryLine {
    id: Uuid,
    /// `preference`: how they want things. `recurring_issue`: what they needed again. `fact`: what they said of themselves, or asked to be
    /// remembered.
    #[schema(value_type = String)]
    kind: MemoryKind,
    /// In their own words.
    text: String,
    /// How sure it is, 0 to 1; it grows when the same is said again.
    confidence: f32,
    created_at: DateTime<Utc>,
    /// When it was said last.
    confirmed_at: DateTime<Utc>,
    /// When it is forgotten; null: when it is deleted.
    expires_at: Option<DateTime<Utc>>,
}

/// Lists what the assistant remembers of the caller.
#[utoipa::path(
    get, path = "/api/v2/help-center/assistant/memories/", tag = "Assistant", operation_id = "listMemories",
    responses(
        (status = 200, description = "All of it", body = MemoryList),
        Reader,
    )
)]
pub(crate) async fn list(services: Data<Services>, Reader(caller): Reader) -> Result<HttpResponse, ApiError> {
    let mut results = Vec::new();
    if let Some(asker) = person(&services, &caller) {
        let mut tx = services.database.tenant(caller.tenant).await?;
        results.extend(memory::memories(&mut tx, &asker).await?.into_iter().map(line));
    }
    Ok(private(&MemoryList { results }))
}

/// Has the assistant forget everything that it remembers of the caller.
#[utoipa::path(
    delete, path = "/api/v2/help-center/assistant/memories/", tag = "Assistant", operation_id = "forgetAll",
    responses(
        (status = 204, description = "All of it is forgotten"),
        Reader,
    )
)]
pub(crate) async fn forget_all(services: Data<Services>, Reader(caller): Reader) -> Result<HttpResponse, ApiError> {
    if let Some(asker) = person(&services, &caller) {
        let mut tx = services.database.tenant(caller.tenant).await?;
        memory::forget_all(&mut tx, &asker).await?;
        tx.commit().await?;
    }
    Ok(HttpResponse::NoContent().finish())
}

/// Has the assistant forget one thing.
#[utoipa::path(
    delete, path = "/api/v2/help-center/assistant/memories/{id}/", tag = "Assistant", operation_id = "forget",
    params(("id" = String, Path, description = "Its id")),
    responses(
        (status = 204, description = "It is forgotten"),
        (status = 404, description = "Nothing of the kind is remembered of the caller", body = Problem, content_type = "application/problem+json"),
        Reader,
    )
)]
pub(crate) async fn forget(
    services: Data<Services>,
    Reader(caller): Reader,
    id: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let none = || ApiError::not_found("Nothing with this id is remembered of you.");
    let id = id.parse().map_err(|_| none())?;
    let asker = person(&services, &caller).ok_or_else(none)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    if !memory::forget(&mut tx, &asker, id).await? {
        return Err(none());
    }
    tx.commit().await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The caller, if it is somebody of whom something may be remembered.
fn person(services: &Services, caller: &Principal) -> Option<Asker> {
    Asker::of(caller, None, services.authenticator.pepper()).filter(Asker::is_person)
}

pub(super) fn line(memory: Memory) -> MemoryLine {
    MemoryLine {
        id: memory.id,
        kind: memory.kind,
        text: memory.body,
        confidence: memory.confidence,
        created_at: memory.created_at,
        confirmed_at: memory.confirmed_at,
        expires_at: memory.expires_at,
    }
}
