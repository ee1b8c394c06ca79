//! Secrets that tenants give and that must be had back, such as keys for servers of theirs: encrypted in the database.
//!
//! XChaCha20-Poly1305 with `SECRETS_KEY`, which is not in the database. What is stored belongs to one tenant and one column: put into
//! another row or column, it cannot be read.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit as _, XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Payload},
};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};

use crate::tenancy::TenantId;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// What secrets are encrypted with.
pub struct SecretsKey(SecretBox<[u8; KEY_BYTES]>);

impl SecretsKey {
    /// Reads 64 hexadecimal digits, or base64. The message does not repeat what was given.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let bytes = if text.len() == 2 * KEY_BYTES { hexadecimal(text) } else { STANDARD.decode(text).ok() };
        let key = bytes.and_then(|bytes| <[u8; KEY_BYTES]>::try_from(bytes).ok());
        let key =
            key.ok_or("it must be 32 bytes, as 64 hexadecimal digits or in base64: try `openssl rand -hex 32`")?;
        Ok(Self(SecretBox::new(Box::new(key))))
    }

    /// Encrypts a secret for a column of a tenant's; another time, the same secret looks different.
    pub fn seal(&self, tenant: TenantId, column: &str, secret: &SecretString) -> Vec<u8> {
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let owner = owner(tenant, column);
        let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &owner };
        let Ok(sealed) = self.cipher().encrypt(&XNonce::from(nonce), payload) else {
            unreachable!("texts of a few kB can be encrypted")
        };
        [nonce.as_slice(), &sealed].concat()
    }

    /// What was sealed for this column of this tenant; `None` when it was not, by this key, or was changed since.
    pub fn open(&self, tenant: TenantId, column: &str, sealed: &[u8]) -> Option<SecretString> {
        let (nonce, sealed) = sealed.split_first_chunk::<NONCE_BYTES>()?;
        let owner = owner(tenant, column);
        let opened = self.cipher().decrypt(&XNonce::from(*nonce), Payload { msg: sealed, aad: &owner }).ok()?;
        String::from_utf8(opened).ok().map(SecretString::from)
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(self.0.expose_secret().into())
    }
}

impl Clone for SecretsKey {
    fn clone(&self) -> Self {
        Self(SecretBox::new(Box::new(*self.0.expose_secret())))
    }
}

impl std::fmt::Debug for SecretsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretsKey([REDACTED])")
    }
}

/// What is stored belongs to.
fn owner(tenant: TenantId, column: &str) -> Vec<u8> {
    [tenant.uuid().as_bytes(), column.as_bytes()].concat()
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn key(digit: &str) -> SecretsKey {
        SecretsKey::parse(&digit.repeat(64)).unwrap()
    }

    #[test]
    fn a_secret_is_read_by_its_key_for_its_tenant_and_column_and_by_nothing_else() {
        let (tenant, other) = (TenantId::new(Uuid::now_v7()), TenantId::new(Uuid::now_v7()));
        let sealed = key("a").seal(tenant, "table.column", &SecretString::from("sk-1 ü"));
        let opened = |key: SecretsKey, tenant, column, sealed: &[u8]| {
            key.open(tenant, column, sealed).map(|secret| secret.expose_secret().to_owned())
        };
        assert_eq!(opened(key("a"), tenant, "table.column", &sealed).as_deref(), Some("sk-1 ü"));
        assert_eq!(opened(key("b"), tenant, "table.column", &sealed), None);
        assert_eq!(opened(key("a"), other, "table.column", &sealed), None);
        assert_eq!(opened(key("a"), tenant, "table.another", &sealed), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(opened(key("a"), tenant, "table.column", &changed), None, "byte {at}");
        }
        assert_eq!(opened(key("a"), tenant, "table.column", &sealed[..20]), None);
        assert!(!sealed.windows(4).any(|part| part == b"sk-1"));
        assert_ne!(key("a").seal(tenant, "table.column", &SecretString::from("sk-1 ü")), sealed);
    }

    #[test]
    fn keys_are_hexadecimal_or_base64_of_32_bytes() {
        assert!(SecretsKey::parse(&format!(" {} \n", "0f".repeat(32))).is_ok());
        assert!(SecretsKey::parse(&STANDARD.encode([7; 32])).is_ok());
        for wrong in ["hidden", &"g".repeat(64), &STANDARD.encode([7; 31]), &"é".repeat(32)] {
            let error = SecretsKey::parse(wrong).unwrap_err();
            assert!(error.contains("32 bytes") && !error.contains(wrong), "{error}");
        }
        assert_eq!(format!("{:?}", key("a")), "SecretsKey([REDACTED])");
    }
}
