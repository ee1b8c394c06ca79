//! Who is calling: the extractor that every handler with a tenant's data takes.

use std::{future::Future, pin::Pin};

use actix_web::{FromRequest, HttpRequest, dev::Payload, http::header, web};
use shared::{
    auth::{Permission, Principal},
    tenancy::{self, Tenant},
};

use crate::{
    Services,
    error::{ApiError, Code},
};

/// The session cookie. `__Host-` makes browsers insist on `Secure`, this host alone and the whole site.
pub const SESSION_COOKIE: &str = "__Host-helpcenter-session";

/// Somebody who may read: a person, a machine, or a visitor of a public help center.
#[derive(Debug, Clone)]
pub struct Reader(pub Principal);

impl FromRequest for Reader {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move {
            identify(&request).await?.map(Reader).ok_or_else(|| {
                ApiError::new(
                    Code::AuthenticationRequired,
                    "Send a token of your application or an API key in the header `Authorization: Bearer …`.",
                )
            })
        })
    }
}

/// An extractor of callers with a right: its name, who may, and what they are told who may not.
macro_rules! with_right {
    ($(#[$about:meta])* $name:ident, $may:expr, $needed:literal) => {
        $(#[$about])*
        #[derive(Debug, Clone)]
        pub struct $name(pub Principal);

        impl FromRequest for $name {
            type Error = ApiError;
            type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

            fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
                let reader = Reader::from_request(request, payload);
                Box::pin(async move {
                    let Reader(caller) = reader.await?;
                    let may: fn(&Principal) -> bool = $may;
                    if !may(&caller) {
                        return Err(ApiError::new(Code::PermissionRequired, concat!("This needs ", $needed, ".")));
                    }
                    Ok(Self(caller))
                })
            }
        }
    };
}

with_right!(
    /// Somebody who writes articles.
    Author,
    |caller| caller.may(Permission::Write),
    "the role `author`, `editor` or `admin`, or an API key with the scope `manage`"
);
with_right!(
    /// Somebody who decides what readers see.
    Editor,
    |caller| caller.may(Permission::Edit),
    "the role `editor` or `admin`, or an API key with the scope `manage`"
);
with_right!(
    /// Somebody who goes on with conversations of the assistant.
    Agent,
    |caller| caller.may(Permission::Assist),
    "the role `agent`, `editor` or `admin`, or an API key with the scope `manage`"
);
with_right!(
    /// Somebody who manages the tenant's help center.
    Admin,
    Principal::is_admin,
    "the role `admin`, or an API key with the scope `manage`"
);
with_right!(
    /// Somebody who looks after the deployment.
    Operator,
    Principal::is_operator,
    "an API key with the scope `operate`"
);

/// The caller, by the best credential of the request. `None`: there is none, and the help center is not public.
pub(crate) async fn identify(request: &HttpRequest) -> Result<Option<Principal>, ApiError> {
    let services = services(request)?;
    if let Some(authorization) = request.headers().get(header::AUTHORIZATION) {
        let credential = bearer_of(authorization)?;
        return Ok(Some(services.authenticator.bearer(credential).await?));
    }
    if let Some(cookie) = request.cookie(SESSION_COOKIE) {
        match services.authenticator.session(cookie.value()).await {
            Ok(principal) => return Ok(Some(principal)),
            // A session that ended is no session; what a visitor may see is still theirs to see.
            Err(shared::auth::AuthError::Expired | shared::auth::AuthError::Invalid(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let tenant = tenant_of_host(request).await?;
    Ok(tenant.filter(|tenant| tenant.is_public).map(|tenant| Principal::anonymous(tenant.id)))
}

/// The credential in the header `Authorization`.
pub(crate) fn bearer_of(authorization: &header::HeaderValue) -> Result<&str, ApiError> {
    authorization
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, credential)| credential.trim())
        .filter(|credential| !credential.is_empty() && credential.len() <= 8192)
        .ok_or_else(|| {
            ApiError::new(
                Code::CredentialInvalid,
                "The `Authorization` header must read `Bearer`, a space and the token or API key.",
            )
        })
}

/// The tenant whose pages this host name shows, or the default one.
pub(crate) async fn tenant_of_host(request: &HttpRequest) -> Result<Option<Tenant>, ApiError> {
    let services = services(request)?;
    // The header itself: `X-Forwarded-Host` and its kin can be sent by anybody. A proxy passes the host name on.
    let host =
        request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default().to_lowercase();
    let name = host.rsplit_once(':').map_or(host.as_str(), |(name, port)| {
        if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host.as_str() }
    });
    let mut registry = services.database.registry().await?;
    if let Some(tenant) = tenancy::by_host(&mut registry, name).await? {
        return Ok(Some(tenant));
    }
    match &services.config.default_tenant {
        Some(slug) => Ok(tenancy::by_slug(&mut registry, slug).await?),
        None => Ok(None),
    }
}

/// The services of the app.
pub(crate) fn services(request: &HttpRequest) -> Result<&web::Data<Services>, ApiError> {
    request.app_data::<web::Data<Services>>().ok_or_else(|| ApiError::internal(anyhow::anyhow!("no services")))
}
