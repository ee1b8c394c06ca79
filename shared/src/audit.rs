//! The append-only record of what admins did.

use crate::db::TenantTx;

/// Writes an entry in the transaction of the change that it tells of. `actor` is a subject or the operator's command line.
pub async fn record(tx: &mut TenantTx, actor: &str, action: &str, subject: &str) -> Result<(), sqlx::Error> {
    let tenant = tx.tenant();
    sqlx::query!(
        "insert into audit_log (tenant_id, actor, action, subject) values ($1, $2, $3, $4)",
        tenant.uuid(),
        actor,
        action,
        subject
    )
    .execute(tx.connection())
    .await?;
    Ok(())
}
