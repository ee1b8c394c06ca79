//! What people with rights did.

use actix_web::web::{Data, Json, Query};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use shared::audit::{self, EntryFilter};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{paging, refusals::InvalidRequest};
use crate::{Services, caller::Admin, error::ApiError};

const DEFAULT_LIMIT: i64 = 50;
const MAX_LIMIT: i64 = 500;

/// Which entries to list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// Only what this one did.
    actor: Option<String>,
    /// Only this, such as `article.published`, or all of a kind, such as `article`.
    action: Option<String>,
    /// Only what was done to this: mostly an id.
    subject: Option<String>,
    /// How many at most, 1 to 500; 50 when left out.
    #[param(minimum = 1, maximum = 500, default = 50)]
    #[serde(default, deserialize_with = "paging::whole_number")]
    limit: Option<i64>,
    /// Where to go on: `next_cursor` of the page before.
    cursor: Option<String>,
}

/// A page of the audit log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditPage {
    /// The latest first.
    results: Vec<AuditEntry>,
    /// Ask for the next page with it; null on the last page.
    next_cursor: Option<String>,
}

/// What somebody did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AuditEntry {
    id: Uuid,
    /// Who: `person:` and their subject, `key:` and its id, or the command line.
    actor: String,
    /// What, such as `article.published`.
    action: String,
    /// To what: mostly an id.
    subject: String,
    /// More about it.
    #[schema(value_type = Object)]
    details: serde_json::Value,
    created_at: DateTime<Utc>,
}

/// Lists what was done in the caller's help center by people with rights, machines and the command line.
#[utoipa::path(
    get, path = "/api/v2/help-center/admin/audit-log/", tag = "Audit log", operation_id = "listAuditLog",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page of the audit log", body = AuditPage),
        InvalidRequest, Admin,
    )
)]
pub(crate) async fn list(
    services: Data<Services>,
    Admin(caller): Admin,
    query: Query<AuditQuery>,
) -> Result<Json<AuditPage>, ApiError> {
    let query = query.into_inner();
    let limit = paging::limit(query.limit, DEFAULT_LIMIT, MAX_LIMIT)?;
    let before = paging::after::<(DateTime<Utc>, Uuid)>(query.cursor.as_deref())?;
    let filter = EntryFilter { actor: query.actor, action: query.action, subject: query.subject };
    let mut tx = services.database.tenant(caller.tenant).await?;
    let mut entries = audit::entries(&mut tx, &filter, before, limit + 1).await?;
    let next_cursor = paging::next_cursor(&mut entries, limit, |last| (last.created_at, last.id));
    let results = entries.into_iter().map(|entry| AuditEntry {
        id: entry.id,
        actor: entry.actor,
        action: entry.action,
        subject: entry.subject,
        details: entry.details,
        created_at: entry.created_at,
    });
    Ok(Json(AuditPage { results: results.collect(), next_cursor }))
}
