//! What opened a socket, and whether it is good still.

use actix_web::{HttpRequest, http::header};
use secrecy::{ExposeSecret as _, SecretString};
use shared::{
    auth::{AuthError, Principal, SessionId, chat_token},
    tenancy,
};

use crate::{
    Services,
    caller::{bearer_of, tenant_of_host},
    error::{ApiError, Code},
};

/// What a browser offers beside [`PROTOCOL`]: pages cannot send the header `Authorization` with a socket.
const BEARER: &str = "bearer.";
/// What is spoken here.
pub(crate) const PROTOCOL: &str = "helpcenter.chat";
/// Longest credential.
const MAX_BYTES: usize = 8192;

/// What opened a socket. A cookie is none: browsers send it along with whatever page asks.
#[derive(Debug)]
pub(crate) enum Credential {
    /// A token of the host application, or an API key.
    Bearer(SecretString),
    /// A session of a local account, proved by a chat token.
    Session(SessionId),
    /// None; the help center is public.
    Nothing,
}

impl Credential {
    /// Who opens a socket, by the header `Authorization` or by the subprotocol.
    pub(crate) async fn of(request: &HttpRequest, services: &Services) -> Result<(Self, Principal), ApiError> {
        let Some(text) = offered(request)? else {
            let tenant = tenant_of_host(request).await?.filter(|tenant| tenant.is_public);
            let tenant = tenant.ok_or_else(|| {
                ApiError::new(
                    Code::AuthenticationRequired,
                    "Send a token, an API key or a chat token: in the header `Authorization: Bearer …`, or as the subprotocols \
                     `helpcenter.chat, bearer.…`.",
                )
            })?;
            return Ok((Self::Nothing, Principal::anonymous(tenant.id)));
        };
        if text.starts_with(chat_token::PREFIX) {
            let session = services.authenticator.chat_session(&text)?;
            let caller = services.authenticator.session_again(session).await?;
            return Ok((Self::Session(session), caller));
        }
        let caller = services.authenticator.bearer(&text).await?;
        Ok((Self::Bearer(SecretString::from(text)), caller))
    }

    /// Whether it is good still, and what it allows by now.
    pub(crate) async fn check(&self, services: &Services, known: &Principal) -> Result<Principal, ApiError> {
        Ok(match self {
            Self::Bearer(text) => services.authenticator.bearer_again(text.expose_secret(), known).await?,
            Self::Session(session) => services.authenticator.session_again(*session).await?,
            Self::Nothing => {
                let mut registry = services.database.registry().await?;
                let tenant = tenancy::by_id(&mut registry, known.tenant).await?;
                if !tenant.is_some_and(|tenant| tenant.is_public) {
                    return Err(AuthError::Invalid("the help center is not public any more").into());
                }
                known.clone()
            }
        })
    }
}

/// The credential that a handshake comes with.
fn offered(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    if let Some(authorization) = request.headers().get(header::AUTHORIZATION) {
        return bearer_of(authorization).map(|text| Some(text.to_owned()));
    }
    let protocols = request.headers().get_all(header::SEC_WEBSOCKET_PROTOCOL);
    let mut protocols = protocols.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    let text = protocols.find_map(|protocol| protocol.trim().strip_prefix(BEARER));
    match text {
        Some(text) if text.is_empty() || text.len() > MAX_BYTES => Err(ApiError::new(
            Code::CredentialInvalid,
            "After `bearer.` there must be a token, an API key or a chat token.",
        )),
        text => Ok(text.map(str::to_owned)),
    }
}
