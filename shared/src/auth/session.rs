//! Local accounts: signing in with email and password, and the session that follows.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AuthError, Identity, Pepper, Principal, Roles, password, secret::Credential};
use crate::{
    audit,
    clock::Clock,
    db::{Database, TenantTx},
    tenancy::TenantId,
};

/// What every session cookie's value begins with.
const PREFIX: &str = "hcs_";
const PURPOSE: &str = "session";

/// A local account to be created.
#[derive(Debug, Clone)]
pub struct NewPerson {
    /// Signs in with it; stored in lower case.
    pub email: String,
    /// What to call them.
    pub name: String,
    /// What they see, beside what is for `all`; staff permissions are roles too.
    pub roles: Roles,
    /// At least [`password::MIN_LENGTH`] characters.
    pub password: String,
}

/// Why an account could not be created.
#[derive(Debug, thiserror::Error)]
pub enum CreatePersonError {
    /// The email is taken within the tenant.
    #[error("a person with this email exists already")]
    Exists,
    /// The password is too weak.
    #[error(transparent)]
    Password(#[from] password::PasswordError),
    /// The server refused something else.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
}

/// Creates a local account.
pub async fn create_person(tx: &mut TenantTx, new: NewPerson, actor: &str) -> Result<Uuid, CreatePersonError> {
    let hash = password::hash(new.password).await?;
    let tenant = tx.tenant();
    let id = sqlx::query_scalar!(
        "insert into people (tenant_id, email, name, roles, password_hash) values ($1, $2, $3, $4, $5)
         on conflict (tenant_id, email) do nothing returning id",
        tenant.uuid(),
        new.email.trim().to_lowercase(),
        new.name,
        new.roles.as_slice(),
        hash
    )
    .fetch_optional(tx.connection())
    .await?
    .ok_or(CreatePersonError::Exists)?;
    audit::record(tx, actor, "person.created", &id.to_string()).await?;
    Ok(id)
}

/// A session as the browser gets it, once.
#[derive(Debug)]
pub struct NewSession {
    /// The cookie's value.
    pub cookie: String,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

/// Checks email and password and begins a session. `None`: they do not fit; whether the email exists is not told, neither
/// by the answer nor by how long it takes.
pub async fn sign_in(
    database: &Database,
    pepper: &Pepper,
    clock: &Clock,
    lifetime: std::time::Duration,
    tenant: TenantId,
    email: &str,
    password: String,
) -> Result<Option<NewSession>, AuthError> {
    let mut tx = database.tenant(tenant).await?;
    let person = sqlx::query!(
        "select id, password_hash from people where tenant_id = $1 and email = $2",
        tenant.uuid(),
        email.trim().to_lowercase()
    )
    .fetch_optional(tx.connection())
    .await?;
    drop(tx); // hashing takes long; no connection waits for it
    let (id, hash) = person.map_or((None, None), |p| (Some(p.id), Some(p.password_hash)));
    let (true, Some(person)) = (password::verify(password, hash).await, id) else { return Ok(None) };

    let now = clock.now();
    let expires_at = now + lifetime;
    let credential = Credential::generate(tenant, Uuid::now_v7());
    let mut tx = database.tenant(tenant).await?;
    sqlx::query!("delete from sessions where tenant_id = $1 and expires_at < $2", tenant.uuid(), now)
        .execute(tx.connection())
        .await?;
    sqlx::query!(
        "insert into sessions (tenant_id, id, person_id, secret_hash, expires_at) values ($1, $2, $3, $4, $5)",
        tenant.uuid(),
        credential.id,
        person,
        &credential.hash(pepper, PURPOSE)[..],
        expires_at
    )
    .execute(tx.connection())
    .await?;
    tx.commit().await?;
    Ok(Some(NewSession { cookie: credential.expose(PREFIX), expires_at }))
}

/// Ends the session; one that is gone already is no error.
pub async fn sign_out(database: &Database, pepper: &Pepper, cookie: &str) -> Result<(), AuthError> {
    let Some(credential) = Credential::parse(PREFIX, cookie) else { return Ok(()) };
    let mut tx = database.tenant(credential.tenant).await?;
    sqlx::query!(
        "delete from sessions where tenant_id = $1 and id = $2 and secret_hash = $3",
        credential.tenant.uuid(),
        credential.id,
        &credential.hash(pepper, PURPOSE)[..]
    )
    .execute(tx.connection())
    .await?;
    tx.commit().await?;
    Ok(())
}

/// Which session, without what proves it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionId {
    pub(super) tenant: TenantId,
    pub(super) id: Uuid,
}

pub(super) async fn authenticate(
    database: &Database,
    pepper: &Pepper,
    clock: &Clock,
    cookie: &str,
) -> Result<(SessionId, Principal), AuthError> {
    let credential = Credential::parse(PREFIX, cookie).ok_or(AuthError::Invalid("malformed session"))?;
    let session = SessionId { tenant: credential.tenant, id: credential.id };
    let (secret_hash, principal) = find(database, clock, session).await?;
    if !credential.matches(pepper, PURPOSE, &secret_hash) {
        return Err(AuthError::Invalid("wrong secret of a session"));
    }
    Ok((session, principal?))
}

/// Whose session it is, while it lasts, for whoever has proved before that it is theirs.
pub(super) async fn resume(database: &Database, clock: &Clock, session: SessionId) -> Result<Principal, AuthError> {
    find(database, clock, session).await?.1
}

/// The hash of its secret, and whose session it is unless it has ended.
async fn find(
    database: &Database,
    clock: &Clock,
    session: SessionId,
) -> Result<(Vec<u8>, Result<Principal, AuthError>), AuthError> {
    let mut tx = database.tenant(session.tenant).await?;
    let row = sqlx::query!(
        "select s.secret_hash, s.expires_at, p.id, p.name, p.roles
         from sessions s join people p on p.tenant_id = s.tenant_id and p.id = s.person_id
         where s.tenant_id = $1 and s.id = $2",
        session.tenant.uuid(),
        session.id
    )
    .fetch_optional(tx.connection())
    .await?
    .ok_or(AuthError::Invalid("unknown session"))?;
    if row.expires_at <= clock.now() {
        return Ok((row.secret_hash, Err(AuthError::Expired)));
    }
    let roles = Roles::new(row.roles).map_err(|_| AuthError::Invalid("the person's roles are not usable"));
    let principal = roles.map(|roles| Principal {
        tenant: session.tenant,
        identity: Identity::Person { subject: row.id.to_string(), name: Some(row.name) },
        roles,
    });
    Ok((row.secret_hash, principal))
}
