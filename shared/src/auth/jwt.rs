//! Tokens that the host application signs for its people.
//!
//! HS256 with a shared secret, or RS256, ES256 and EdDSA with keys that the host application publishes (JWKS, RFC 7517).
//! The algorithm is decided by which kind of key is configured, never by the token alone.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use jsonwebtoken::{
    Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode, jwk::JwkSet,
};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;

use super::AuthError;
use crate::config::AuthConfig;

/// How far the clocks of host application and help center may differ.
const LEEWAY_SECONDS: u64 = 30;
/// How long fetched keys are used before they are fetched again.
const KEYS_FRESH: chrono::Duration = chrono::Duration::minutes(10);
/// The least time between two fetches, whatever tokens ask for: an unknown key id must not become a flood of requests.
const KEYS_PAUSE: chrono::Duration = chrono::Duration::seconds(30);

/// The claims that are read; others are ignored.
#[derive(Debug, serde::Deserialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    pub(super) tenant: String,
    #[serde(default)]
    pub(super) roles: Vec<String>,
    pub(super) name: Option<String>,
    exp: i64,
    nbf: Option<i64>,
}

/// A token to be signed for a demonstration or a test, as a host application would sign it.
#[derive(Debug, Clone, serde::Serialize)]
pub struct NewToken<'a> {
    /// Whom it is for.
    pub sub: &'a str,
    /// Slug of the tenant.
    pub tenant: &'a str,
    /// Audience roles.
    pub roles: &'a [String],
    /// What to call them.
    pub name: &'a str,
    /// When it expires, in seconds since 1970.
    pub exp: i64,
}

/// Signs a token with the shared secret (HS256).
pub fn sign(secret: &SecretString, token: &NewToken<'_>) -> Result<String, jsonwebtoken::errors::Error> {
    let key = EncodingKey::from_secret(secret.expose_secret().as_bytes());
    encode(&Header::new(Algorithm::HS256), token, &key)
}

/// Why signing keys are not at hand.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The request failed.
    #[error("fetching the signing keys failed: {0}")]
    Fetch(#[from] reqwest::Error),
    /// It failed a moment ago and is not repeated yet.
    #[error("fetching the signing keys failed a moment ago")]
    FailedJustNow,
}

#[derive(Clone)]
pub(super) struct Verifier {
    secret: Option<DecodingKey>,
    keys: Option<Arc<RemoteKeys>>,
    issuer: Option<String>,
    audience: Option<String>,
}

impl std::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Verifier")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .finish_non_exhaustive()
    }
}

impl Verifier {
    pub(super) fn new(config: &AuthConfig) -> Result<Self, KeysError> {
        Ok(Self {
            secret: config.jwt_secret.as_ref().map(|s| DecodingKey::from_secret(s.expose_secret().as_bytes())),
            keys: config.jwks_url.clone().map(RemoteKeys::new).transpose()?.map(Arc::new),
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
        })
    }

    /// Checks signature, expiry, issuer and audience.
    pub(super) async fn verify(&self, token: &str, now: DateTime<Utc>) -> Result<Claims, AuthError> {
        let header = decode_header(token).map_err(|_| AuthError::Invalid("not a token"))?;
        let key = match header.alg {
            Algorithm::HS256 => self.secret.clone().ok_or(AuthError::Invalid("HS256 tokens are not accepted here"))?,
            Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA => {
                let keys =
                    self.keys.as_ref().ok_or(AuthError::Invalid("tokens of this algorithm are not accepted here"))?;
                let kid = header.kid.ok_or(AuthError::Invalid("the token names no key"))?;
                keys.find(&kid, header.alg, now).await?.ok_or(AuthError::Invalid("the token names an unknown key"))?
            }
            _ => return Err(AuthError::Invalid("the token's algorithm is not accepted")),
        };
        let mut validation = Validation::new(header.alg);
        let mut required = vec!["exp", "sub"];
        // Expiry is checked below against the injected clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        match &self.audience {
            Some(audience) => {
                validation.set_audience(&[audience]);
                required.push("aud");
            }
            None => validation.validate_aud = false,
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            required.push("iss");
        }
        validation.set_required_spec_claims(&required);
        let claims = decode::<Claims>(token, &key, &validation)
            .map_err(|_| AuthError::Invalid("the token's signature or claims do not hold"))?
            .claims;
        let leeway = LEEWAY_SECONDS.cast_signed();
        if claims.exp.saturating_add(leeway) <= now.timestamp() {
            return Err(AuthError::Expired);
        }
        if claims.nbf.is_some_and(|nbf| nbf.saturating_sub(leeway) > now.timestamp()) {
            return Err(AuthError::Invalid("the token is not valid yet"));
        }
        if claims.sub.is_empty() || claims.sub.len() > 255 {
            return Err(AuthError::Invalid("the token's subject is empty or too long"));
        }
        Ok(claims)
    }
}

/// The host application's published keys, fetched when needed and kept for a while.
struct RemoteKeys {
    url: String,
    client: reqwest::Client,
    cached: Mutex<Cached>,
}

#[derive(Default)]
struct Cached {
    keys: HashMap<String, (DecodingKey, Option<Algorithm>)>,
    fetched_at: Option<DateTime<Utc>>,
    tried_at: Option<DateTime<Utc>>,
}

impl RemoteKeys {
    fn new(url: String) -> Result<Self, KeysError> {
        let client = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(3))
            .timeout(Duration::from_secs(5))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self { url, client, cached: Mutex::default() })
    }

    /// The lock is held while fetching: callers that need the same keys wait for one request instead of making their own.
    async fn find(
        &self,
        kid: &str,
        algorithm: Algorithm,
        now: DateTime<Utc>,
    ) -> Result<Option<DecodingKey>, KeysError> {
        let mut cached = self.cached.lock().await;
        let stale = cached.fetched_at.is_none_or(|at| now - at > KEYS_FRESH);
        let may_try = cached.tried_at.is_none_or(|at| now - at > KEYS_PAUSE);
        if (stale || !cached.keys.contains_key(kid)) && may_try {
            cached.tried_at = Some(now);
            match self.fetch().await {
                Ok(keys) => {
                    cached.keys = keys;
                    cached.fetched_at = Some(now);
                }
                // Keys that worked a while ago are better than nobody signing in.
                Err(error) if cached.keys.contains_key(kid) => {
                    tracing::warn!(%error, "auth.jwks.refresh_failed: the known keys stay in use");
                }
                Err(error) => return Err(error),
            }
        }
        // Whether the key exists is not known: no reason to call a token wrong.
        if !cached.keys.contains_key(kid) && cached.fetched_at != cached.tried_at {
            return Err(KeysError::FailedJustNow);
        }
        let known = cached.keys.get(kid);
        Ok(known.filter(|(_, only)| only.is_none_or(|a| a == algorithm)).map(|(key, _)| key.clone()))
    }

    async fn fetch(&self) -> Result<HashMap<String, (DecodingKey, Option<Algorithm>)>, KeysError> {
        let set: JwkSet = self.client.get(&self.url).send().await?.error_for_status()?.json().await?;
        Ok(set
            .keys
            .iter()
            .filter_map(|jwk| {
                let only = jwk.common.key_algorithm.and_then(|a| a.to_string().parse().ok());
                Some((jwk.common.key_id.clone()?, (DecodingKey::from_jwk(jwk).ok()?, only)))
            })
            .collect())
    }
}
