//! The shape that API keys and session cookies share: a prefix, whose it is, and a secret of which only a hash is stored.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use crate::tenancy::TenantId;

/// Keys the hashes of secrets, so that a stolen table is of no use without it.
#[derive(Debug, Clone)]
pub struct Pepper(SecretString);

impl Pepper {
    /// Wraps `API_KEY_PEPPER`.
    pub fn new(secret: SecretString) -> Self {
        Self(secret)
    }

    /// HMAC-SHA256 of a message under a purpose, so that a hash made for one use never fits another.
    pub fn hash(&self, purpose: &str, message: &[u8]) -> [u8; 32] {
        let key = self.0.expose_secret().as_bytes();
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { unreachable!("HMAC takes keys of any length") };
        mac.update(purpose.as_bytes());
        mac.update(&[0]);
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

/// A credential as it is shown once: `prefix`, then 43 characters that say whose it is, `.` and 43 characters of secret.
pub(super) struct Credential {
    pub(super) tenant: TenantId,
    pub(super) id: Uuid,
    secret: [u8; 32],
}

impl Credential {
    pub(super) fn generate(tenant: TenantId, id: Uuid) -> Self {
        Self { tenant, id, secret: rand::random() }
    }

    pub(super) fn parse(prefix: &str, text: &str) -> Option<Self> {
        let (owner, secret) = text.strip_prefix(prefix)?.split_once('.')?;
        let owner: [u8; 32] = URL_SAFE_NO_PAD.decode(owner).ok()?.try_into().ok()?;
        let secret: [u8; 32] = URL_SAFE_NO_PAD.decode(secret).ok()?.try_into().ok()?;
        let (tenant, id) = owner.split_at(16);
        Some(Self { tenant: TenantId::new(Uuid::from_slice(tenant).ok()?), id: Uuid::from_slice(id).ok()?, secret })
    }

    pub(super) fn expose(&self, prefix: &str) -> String {
        let mut owner = [0; 32];
        owner[..16].copy_from_slice(self.tenant.uuid().as_bytes());
        owner[16..].copy_from_slice(self.id.as_bytes());
        format!("{prefix}{}.{}", URL_SAFE_NO_PAD.encode(owner), URL_SAFE_NO_PAD.encode(self.secret))
    }

    pub(super) fn hash(&self, pepper: &Pepper, purpose: &str) -> [u8; 32] {
        pepper.hash(purpose, &self.secret)
    }

    pub(super) fn matches(&self, pepper: &Pepper, purpose: &str, stored: &[u8]) -> bool {
        self.hash(pepper, purpose).ct_eq(stored).into()
    }
}
