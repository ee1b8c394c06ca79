//! API keys of machines: shown once, stored hashed, scoped, revocable.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AuthError, Identity, Pepper, Principal, Roles, secret::Credential};
use crate::{
    audit,
    clock::Clock,
    db::{Database, TenantTx},
};

/// What every API key begins with.
pub const PREFIX: &str = "hck_";
const PURPOSE: &str = "api key";

/// Reading articles and searching.
pub const SCOPE_READ: &str = "read";

/// Managing what the tenant's admins manage.
pub const SCOPE_MANAGE: &str = "manage";
/// Looking after the deployment, all tenants together. Only the command line makes keys with it.
pub const SCOPE_OPERATE: &str = "operate";

/// A key to be created.
#[derive(Debug, Clone)]
pub struct NewApiKey {
    /// What it is for, as people will see it in lists.
    pub name: String,
    /// The roles whose articles it sees, beside those for `all`.
    pub roles: Roles,
    /// What it may do beside reading, which every key may.
    pub scopes: Vec<String>,
    /// When it stops working.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A key as its owner gets it, once: the text is stored nowhere.
#[derive(Debug)]
pub struct CreatedApiKey {
    /// Names the key in lists and to [`revoke`].
    pub id: Uuid,
    /// What to send.
    pub text: String,
}

/// Creates a key.
pub async fn create(
    tx: &mut TenantTx,
    pepper: &Pepper,
    new: &NewApiKey,
    actor: &str,
) -> Result<CreatedApiKey, sqlx::Error> {
    let tenant = tx.tenant();
    let credential = Credential::generate(tenant, Uuid::now_v7());
    let scopes: Vec<String> = [SCOPE_READ.to_owned()].into_iter().chain(new.scopes.iter().cloned()).collect();
    sqlx::query!(
        "insert into api_keys (tenant_id, id, name, secret_hash, scopes, roles, expires_at)
         values ($1, $2, $3, $4, $5, $6, $7)",
        tenant.uuid(),
        credential.id,
        new.name,
        &credential.hash(pepper, PURPOSE)[..],
        &scopes,
        new.roles.as_slice(),
        new.expires_at
    )
    .execute(tx.connection())
    .await?;
    audit::record(tx, actor, "api_key.created", &credential.id.to_string()).await?;
    Ok(CreatedApiKey { id: credential.id, text: credential.expose(PREFIX) })
}

/// Makes a key useless at once. False: there is no such key.
pub async fn revoke(tx: &mut TenantTx, id: Uuid, now: DateTime<Utc>, actor: &str) -> Result<bool, sqlx::Error> {
    let tenant = tx.tenant();
    let done = sqlx::query!(
        "update api_keys set revoked_at = coalesce(revoked_at, $3) where tenant_id = $1 and id = $2",
        tenant.uuid(),
        id,
        now
    )
    .execute(tx.connection())
    .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    audit::record(tx, actor, "api_key.revoked", &id.to_string()).await?;
    Ok(true)
}

pub(super) async fn authenticate(
    database: &Database,
    pepper: &Pepper,
    clock: &Clock,
    text: &str,
) -> Result<Principal, AuthError> {
    let credential = Credential::parse(PREFIX, text).ok_or(AuthError::Invalid("malformed API key"))?;
    let now = clock.now();
    let mut tx = database.tenant(credential.tenant).await?;
    let row = sqlx::query!(
        "select secret_hash, scopes, roles, expires_at, revoked_at, last_used_at
         from api_keys where tenant_id = $1 and id = $2",
        credential.tenant.uuid(),
        credential.id
    )
    .fetch_optional(tx.connection())
    .await?
    .ok_or(AuthError::Invalid("unknown API key"))?;
    if !credential.matches(pepper, PURPOSE, &row.secret_hash) {
        return Err(AuthError::Invalid("wrong secret of an API key"));
    }
    if row.revoked_at.is_some() {
        return Err(AuthError::Invalid("revoked API key"));
    }
    if row.expires_at.is_some_and(|at| at <= now) {
        return Err(AuthError::Expired);
    }
    // To the minute: a write for every request would cost more than the answer to "is this key still used?" is worth.
    if row.last_used_at.is_none_or(|at| now - at > chrono::Duration::minutes(1)) {
        sqlx::query!(
            "update api_keys set last_used_at = $3 where tenant_id = $1 and id = $2",
            credential.tenant.uuid(),
            credential.id,
            now
        )
        .execute(tx.connection())
        .await?;
        tx.commit().await?;
    }
    Ok(Principal {
        tenant: credential.tenant,
        identity: Identity::Machine { key: credential.id, scopes: row.scopes },
        roles: Roles::new(row.roles).map_err(|_| AuthError::Invalid("the key's roles are not usable"))?,
    })
}
