//! Who is calling, and how they prove it.
//!
//! Four kinds of caller end in one [`Principal`]: people with a token of the host application ([`jwt`]), people with a
//! local account ([`session`], [`password`]), machines with an API key ([`api_key`]) and, where a tenant is public,
//! anonymous visitors. Everything below this module knows principals only.

pub mod api_key;
pub mod chat_token;
pub mod jwt;
pub mod password;
mod secret;
pub mod session;

use std::fmt;

use chat_token::NewChatToken;
pub use secret::Pepper;
pub use session::SessionId;

use crate::{clock::Clock, config::AuthConfig, db::Database, tenancy::TenantId};

/// The audience roles of a caller: any strings of the host application, without `all`, which everybody has.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Roles(Vec<String>);

/// Most roles that a caller may have.
pub const MAX_ROLES: usize = 64;
/// Most characters in a role's name.
pub const MAX_ROLE_LENGTH: usize = 100;

impl Roles {
    /// Nobody's roles: the caller sees only what is meant for `all`.
    pub fn none() -> Self {
        Self::default()
    }

    /// Checks the names: at most [`MAX_ROLES`], each of 1 to [`MAX_ROLE_LENGTH`] characters without control characters.
    pub fn new(names: Vec<String>) -> Result<Self, String> {
        if names.len() > MAX_ROLES {
            return Err(format!("{} roles are too many; at most {MAX_ROLES} are allowed", names.len()));
        }
        if let Some(bad) = names
            .iter()
            .find(|n| n.is_empty() || n.chars().count() > MAX_ROLE_LENGTH || n.chars().any(char::is_control))
        {
            return Err(format!(
                "{bad:?} is not a role; use 1 to {MAX_ROLE_LENGTH} characters without control characters"
            ));
        }
        Ok(Self(names))
    }

    /// The names, for SQL.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Whether the caller has this role.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|role| role == name)
    }
}

/// What staff may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// Write articles, which readers do not see yet.
    Write,
    /// Decide what readers see.
    Edit,
    /// Go on with conversations of the assistant, and see how its answers came to be.
    Assist,
}

/// What a caller is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// A visitor of a public help center.
    Anonymous,
    /// A person, by the host application's subject or by the id of a local account.
    Person {
        /// Stable within the tenant.
        subject: String,
        /// What to call them.
        name: Option<String>,
    },
    /// A machine with an API key.
    Machine {
        /// The key's id.
        key: uuid::Uuid,
        /// What the key may do.
        scopes: Vec<String>,
    },
}

/// A caller: of which tenant, who, and with which roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The tenant that the credential belongs to. Never taken from a body or a query.
    pub tenant: TenantId,
    /// Who.
    pub identity: Identity,
    /// What decides which articles they see.
    pub roles: Roles,
}

impl Principal {
    /// A visitor without a credential.
    pub fn anonymous(tenant: TenantId) -> Self {
        Self { tenant, identity: Identity::Anonymous, roles: Roles::none() }
    }

    /// Whether they manage the tenant's help center: people with the role `admin`, machines with the scope `manage`.
    pub fn is_admin(&self) -> bool {
        match &self.identity {
            Identity::Anonymous => false,
            Identity::Person { .. } => self.roles.contains("admin"),
            Identity::Machine { scopes, .. } => scopes.iter().any(|scope| scope == api_key::SCOPE_MANAGE),
        }
    }

    /// Whether they may do this: people by the roles of staff (`author`, `editor`, `admin`), of which each may do what those
    /// before it may, and `agent`, who may assist as editors may; machines with the scope `manage` may do all of it.
    pub fn may(&self, permission: Permission) -> bool {
        let roles: &[&str] = match permission {
            Permission::Write => &["author", "editor"],
            Permission::Edit => &["editor"],
            Permission::Assist => &["agent", "editor"],
        };
        let is_staff = matches!(self.identity, Identity::Person { .. }) && roles.iter().any(|r| self.roles.contains(r));
        is_staff || self.is_admin()
    }

    /// Whether they look after the deployment: machines with the scope `operate`. No role is enough, since each tenant names
    /// its roles as it likes.
    pub fn is_operator(&self) -> bool {
        matches!(&self.identity, Identity::Machine { scopes, .. } if scopes.iter().any(|s| s == api_key::SCOPE_OPERATE))
    }

    /// Who did it, in the audit log.
    pub fn actor(&self) -> String {
        match &self.identity {
            Identity::Person { subject, .. } => format!("person:{subject}"),
            identity => identity.to_string(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anonymous => f.write_str("anonymous"),
            Self::Person { .. } => f.write_str("person"),
            Self::Machine { key, .. } => write!(f, "key:{key}"),
        }
    }
}

/// Why a credential was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Well-formed and once valid.
    #[error("the credential has expired")]
    Expired,
    /// Malformed, forged, revoked, of an unknown tenant; the reason is for the log, never for the caller.
    #[error("the credential is not valid: {0}")]
    Invalid(&'static str),
    /// The credential could not be checked just now.
    #[error("the credential could not be checked")]
    Database(#[from] sqlx::Error),
    /// The host application's keys could not be fetched.
    #[error("the signing keys could not be fetched")]
    Keys(#[from] jwt::KeysError),
}

/// Turns credentials into principals.
#[derive(Debug, Clone)]
pub struct Authenticator {
    database: Database,
    tokens: jwt::Verifier,
    pepper: Pepper,
    clock: Clock,
}

impl Authenticator {
    /// Prepares the checks; nothing is fetched yet.
    pub fn new(config: &AuthConfig, database: Database, clock: Clock) -> Result<Self, jwt::KeysError> {
        Ok(Self { database, tokens: jwt::Verifier::new(config)?, pepper: Pepper::new(config.pepper.clone()), clock })
    }

    /// Checks what came after `Authorization: Bearer`: an API key or a token of the host application.
    pub async fn bearer(&self, credential: &str) -> Result<Principal, AuthError> {
        if credential.starts_with(api_key::PREFIX) {
            return api_key::authenticate(&self.database, &self.pepper, &self.clock, credential).await;
        }
        let claims = self.tokens.verify(credential, self.clock.now()).await?;
        let mut registry = self.database.registry().await?;
        let tenant = crate::tenancy::by_slug(&mut registry, &claims.tenant)
            .await?
            .ok_or(AuthError::Invalid("the token names no tenant of this deployment"))?;
        let roles = Roles::new(claims.roles).map_err(|_| AuthError::Invalid("the token's roles are not usable"))?;
        Ok(Principal {
            tenant: tenant.id,
            identity: Identity::Person { subject: claims.sub, name: claims.name },
            roles,
        })
    }

    /// Checks the cookie of a signed-in person.
    pub async fn session(&self, cookie: &str) -> Result<Principal, AuthError> {
        Ok(session::authenticate(&self.database, &self.pepper, &self.clock, cookie).await?.1)
    }

    /// Checks once more what [`Self::bearer`] accepted: whether it is good still, and with which roles. Asks the database about API
    /// keys only; a token of the host application is good until it expires or its key is not published any more.
    pub async fn bearer_again(&self, credential: &str, known: &Principal) -> Result<Principal, AuthError> {
        if credential.starts_with(api_key::PREFIX) {
            return api_key::authenticate(&self.database, &self.pepper, &self.clock, credential).await;
        }
        self.tokens.verify(credential, self.clock.now()).await?;
        Ok(known.clone())
    }

    /// A token to open a socket with, for whoever is signed in by this cookie.
    pub async fn chat_token(&self, cookie: &str) -> Result<NewChatToken, AuthError> {
        let (session, _) = session::authenticate(&self.database, &self.pepper, &self.clock, cookie).await?;
        Ok(chat_token::sign(&self.pepper, session, self.clock.now()))
    }

    /// Checks a token that [`Self::chat_token`] gave out: the session behind it, to be asked for with [`Self::session_again`].
    pub fn chat_session(&self, token: &str) -> Result<SessionId, AuthError> {
        chat_token::verify(&self.pepper, token, self.clock.now())
    }

    /// Whose session it is now. An error: it has ended.
    pub async fn session_again(&self, session: SessionId) -> Result<Principal, AuthError> {
        session::resume(&self.database, &self.clock, session).await
    }

    /// What keys the hashes.
    pub fn pepper(&self) -> &Pepper {
        &self.pepper
    }
}
