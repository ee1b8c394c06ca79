//! Tenants: who owns rows, and which tenant a host name or a slug means.

use std::{fmt, str::FromStr};

use sqlx::PgConnection;
use uuid::Uuid;

use crate::db::Database;

/// A tenant's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct TenantId(Uuid);

impl TenantId {
    /// Wraps an id that came from the database or a credential.
    pub fn new(id: Uuid) -> Self {
        Self(id)
    }

    /// The plain id, for SQL.
    pub fn uuid(self) -> Uuid {
        self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A tenant as the registry knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Identity.
    pub id: TenantId,
    /// Short name in commands, tokens and log lines.
    pub slug: String,
    /// The name that people see.
    pub name: String,
    /// Whether anonymous visitors may read what is meant for `all`.
    pub is_public: bool,
}

/// Lower-case letters, digits and hyphens, 1 to 63 of them, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TenantSlug(String);

impl TenantSlug {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantSlug {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if text.is_empty() || text.len() > 63 || text.starts_with('-') || !text.chars().all(legal) {
            return Err(format!(
                "`{text}` is not a tenant slug: use 1 to 63 lower-case letters, digits and hyphens, not beginning with a hyphen"
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

/// The tenant with this slug.
pub async fn by_slug(connection: &mut PgConnection, slug: &str) -> Result<Option<Tenant>, sqlx::Error> {
    let row = sqlx::query!("select id, slug, name, is_public from tenants where slug = $1", slug)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|r| Tenant { id: TenantId(r.id), slug: r.slug, name: r.name, is_public: r.is_public }))
}

/// The tenant with this id.
pub async fn by_id(connection: &mut PgConnection, id: TenantId) -> Result<Option<Tenant>, sqlx::Error> {
    let row = sqlx::query!("select id, slug, name, is_public from tenants where id = $1", id.0)
        .fetch_optional(connection)
        .await?;
    Ok(row.map(|r| Tenant { id: TenantId(r.id), slug: r.slug, name: r.name, is_public: r.is_public }))
}

/// The tenant whose pages are shown on a host name (lower case, without a port).
pub async fn by_host(connection: &mut PgConnection, host: &str) -> Result<Option<Tenant>, sqlx::Error> {
    let row = sqlx::query!(
        "select id, slug, name, is_public from tenants where hosts @> array[$1::text] order by created_at limit 1",
        host
    )
    .fetch_optional(connection)
    .await?;
    Ok(row.map(|r| Tenant { id: TenantId(r.id), slug: r.slug, name: r.name, is_public: r.is_public }))
}

/// Every tenant, for work that is done for each of them.
pub async fn all(database: &Database) -> Result<Vec<Tenant>, sqlx::Error> {
    let mut registry = database.registry().await?;
    let rows =
        sqlx::query!("select id, slug, name, is_public from tenants order by id").fetch_all(&mut *registry).await?;
    Ok(rows
        .into_iter()
        .map(|r| Tenant { id: TenantId(r.id), slug: r.slug, name: r.name, is_public: r.is_public })
        .collect())
}

/// A tenant to be created.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Its slug.
    pub slug: TenantSlug,
    /// Its name.
    pub name: String,
    /// The host names whose pages show it.
    pub hosts: Vec<String>,
    /// Whether anonymous visitors may read what is meant for `all`.
    pub is_public: bool,
}

/// Creates the tenant, or returns the one that has the slug already, unchanged. The flag tells whether it is new.
pub async fn create(connection: &mut PgConnection, new: &NewTenant) -> Result<(Tenant, bool), sqlx::Error> {
    let hosts: Vec<String> = new.hosts.iter().map(|h| h.to_lowercase()).collect();
    let created = sqlx::query!(
        "insert into tenants (slug, name, hosts, is_public) values ($1, $2, $3, $4)
         on conflict (slug) do nothing returning id, slug, name, is_public",
        new.slug.as_str(),
        new.name,
        &hosts,
        new.is_public
    )
    .fetch_optional(&mut *connection)
    .await?;
    match created {
        Some(r) => Ok((Tenant { id: TenantId(r.id), slug: r.slug, name: r.name, is_public: r.is_public }, true)),
        None => Ok((by_slug(connection, new.slug.as_str()).await?.ok_or(sqlx::Error::RowNotFound)?, false)),
    }
}
