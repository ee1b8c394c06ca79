//! Tokens with which people who are signed in by a cookie open a socket: scripts cannot read the cookie, and a cookie alone must not
//! open one, since browsers send it along with whatever page asks.
//!
//! A token names the session and is good for a few minutes, to open a socket and for nothing else. What the person may see is
//! asked of the session, then and later: it carries no roles that could be out of date.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::{AuthError, Pepper, session::SessionId};
use crate::tenancy::TenantId;

/// What every such token begins with.
pub const PREFIX: &str = "hcc_";
const PURPOSE: &str = "chat token";
/// How long a socket may be opened with it.
const LIFETIME: chrono::Duration = chrono::Duration::minutes(5);
/// Tenant, session, end (seconds since 1970, big endian).
const BYTES: usize = 16 + 16 + 8;

/// A token as the browser gets it.
#[derive(Debug)]
pub struct NewChatToken {
    /// The text.
    pub text: String,
    /// When it stops working.
    pub expires_at: DateTime<Utc>,
}

pub(super) fn sign(pepper: &Pepper, session: SessionId, now: DateTime<Utc>) -> NewChatToken {
    let expires_at = now + LIFETIME;
    let mut body = [0; BYTES];
    body[..16].copy_from_slice(session.tenant.uuid().as_bytes());
    body[16..32].copy_from_slice(session.id.as_bytes());
    body[32..].copy_from_slice(&expires_at.timestamp().to_be_bytes());
    let signature = pepper.hash(PURPOSE, &body);
    let text = format!("{PREFIX}{}.{}", URL_SAFE_NO_PAD.encode(body), URL_SAFE_NO_PAD.encode(signature));
    NewChatToken { text, expires_at }
}

pub(super) fn verify(pepper: &Pepper, text: &str, now: DateTime<Utc>) -> Result<SessionId, AuthError> {
    let (body, signature) = parse(text).ok_or(AuthError::Invalid("malformed chat token"))?;
    if !bool::from(pepper.hash(PURPOSE, &body).ct_eq(&signature)) {
        return Err(AuthError::Invalid("forged chat token"));
    }
    let (session, end) = body.split_at(32);
    let (tenant, id) = session.split_at(16);
    let end = end.try_into().map(i64::from_be_bytes).unwrap_or_default();
    if end <= now.timestamp() {
        return Err(AuthError::Expired);
    }
    let uuid = |bytes: &[u8]| Uuid::from_slice(bytes).map_err(|_| AuthError::Invalid("malformed chat token"));
    Ok(SessionId { tenant: TenantId::new(uuid(tenant)?), id: uuid(id)? })
}

fn parse(text: &str) -> Option<([u8; BYTES], [u8; 32])> {
    let (body, signature) = text.strip_prefix(PREFIX)?.split_once('.')?;
    Some((
        URL_SAFE_NO_PAD.decode(body).ok()?.try_into().ok()?,
        URL_SAFE_NO_PAD.decode(signature).ok()?.try_into().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;

    #[test]
    fn a_token_is_good_for_its_time_and_its_session_only() {
        let pepper = Pepper::new(SecretString::from("a pepper of at least thirty-two bytes, for tests only"));
        let now: DateTime<Utc> = "2026-06-01T12:00:00Z".parse().unwrap();
        let session = SessionId { tenant: TenantId::new(Uuid::from_u128(1)), id: Uuid::from_u128(2) };
        let token = sign(&pepper, session, now);
        assert_eq!(verify(&pepper, &token.text, now + chrono::Duration::seconds(299)).unwrap(), session);
        assert!(matches!(verify(&pepper, &token.text, token.expires_at), Err(AuthError::Expired)));
        let other = sign(&pepper, SessionId { id: Uuid::from_u128(3), ..session }, now).text;
        let mixed = format!("{}.{}", other.split('.').next().unwrap(), token.text.split('.').nth(1).unwrap());
        for forged in [&mixed, "hcc_", "hcc_.", "", &token.text[1..], &token.text[..token.text.len() - 1]] {
            assert!(matches!(verify(&pepper, forged, now), Err(AuthError::Invalid(_))), "{forged}");
        }
        let pepper = Pepper::new(SecretString::from("another pepper of thirty-two bytes, for tests only"));
        assert!(matches!(verify(&pepper, &token.text, now), Err(AuthError::Invalid(_))), "another deployment's");
    }
}
