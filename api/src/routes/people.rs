//! What the assistant keeps of a person, handed out and erased.

use actix_web::{
    HttpResponse,
    web::{Data, Path},
};
use serde::Serialize;
use shared::{
    assistant::person::{self, PersonErased, PersonExport},
    audit,
};
use utoipa::ToSchema;

use super::{
    conversations::private,
    conversations_admin::{self, AskedBody},
    handovers::{self, HandoverLine},
    memories::{self, MemoryLine},
};
use crate::{
    Services,
    caller::Admin,
    error::{ApiError, Problem},
};

/// Most characters of a person's subject.
const MAX_SUBJECT_CHARS: usize = 255;

/// What the assistant keeps of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonBody {
    subject: String,
    /// The latest first.
    conversations: Vec<AskedBody>,
    /// When they asked for a person.
    handovers: Vec<HandoverLine>,
    memories: Vec<MemoryLine>,
}

/// What was erased of a person.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct PersonErasedBody {
    /// Conversations, with their answers and hand-overs.
    conversations: u64,
    memories: u64,
}

/// Hands out what the assistant keeps of a person: their conversations and what is remembered of them. It is in the audit log.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/people/{subject}/assistant/", tag = "Conversations", operation_id = "exportPerson",
    params(("subject" = String, Path, description = "The `sub` of their tokens, or the id of their local account")),
    responses(
        (status = 200, description = "All of it; nothing for somebody who never asked", body = PersonBody),
        (status = 404, description = "Nobody can have this subject", body = Problem, content_type = "application/problem+json"),
        Admin,
    )
)]
pub(crate) async fn export(
    services: Data<Services>,
    Admin(caller): Admin,
    subject: Path<String>,
) -> Result<HttpResponse, ApiError> {
    check_subject(&subject)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let export = person::export_person(&mut tx, &subject).await?;
    audit::record(&mut tx, &caller.actor(), "person.assistant_exported", &subject).await?;
    tx.commit().await?;
    Ok(private(&person_body(export)))
}

/// Erases what the assistant keeps of a person. It is in the audit log.
#[utoipa::path(
    delete, path = "/api/v2/help-center/admin/people/{subject}/assistant/", tag = "Conversations", operation_id = "erasePerson",
    params(("subject" = String, Path, description = "The `sub` of their tokens, or the id of their local account")),
    responses(
        (status = 200, description = "How much there was", body = PersonErasedBody),
        (status = 404, description = "Nobody can have this subject", body = Problem, content_type = "application/problem+json"),
        Admin,
    )
)]
pub(crate) async fn erase(
    services: Data<Services>,
    Admin(caller): Admin,
    subject: Path<String>,
) -> Result<HttpResponse, ApiError> {
    check_subject(&subject)?;
    let mut tx = services.database.tenant(caller.tenant).await?;
    let PersonErased { conversations, memories } = person::erase_person(&mut tx, &subject).await?;
    let details = serde_json::json!({ "conversations": conversations, "memories": memories });
    audit::record_with(&mut tx, &caller.actor(), "person.assistant_erased", &subject, &details).await?;
    tx.commit().await?;
    Ok(private(&PersonErasedBody { conversations, memories }))
}

fn check_subject(subject: &str) -> Result<(), ApiError> {
    if subject.is_empty() || subject.chars().count() > MAX_SUBJECT_CHARS || subject.chars().any(char::is_control) {
        return Err(ApiError::not_found("Nobody can have this subject. Check the address for a typing error."));
    }
    Ok(())
}

fn person_body(export: PersonExport) -> PersonBody {
    PersonBody {
        subject: export.subject,
        conversations: export.conversations.into_iter().map(conversations_admin::body).collect(),
        handovers: export.handovers.into_iter().map(handovers::line).collect(),
        memories: export.memories.into_iter().map(memories::line).collect(),
    }
}
