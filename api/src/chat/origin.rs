//! Which pages may open a chat.

use actix_web::{HttpRequest, http::header};

use crate::{
    Services,
    error::{ApiError, Code},
};

/// Refuses a page of another site, before anything is said to it. Programs that are no browser name no origin; they have nothing that a
/// page could make use of, since no cookie opens a socket.
pub(crate) fn check(request: &HttpRequest, services: &Services) -> Result<(), ApiError> {
    match request.headers().get(header::ORIGIN) {
        None => Ok(()),
        Some(origin) => {
            let origin = origin.to_str().unwrap_or_default();
            let is_allowed = is_own(request, services, origin)
                || services.config.allowed_origins.iter().any(|allowed| allowed == origin);
            if is_allowed { Ok(()) } else { Err(refused()) }
        }
    }
}

/// Refuses whatever does not come from a page of the help center itself.
pub(crate) fn check_own(request: &HttpRequest, services: &Services) -> Result<(), ApiError> {
    let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
    let is_own = match (header("sec-fetch-site"), header("origin")) {
        (Some(site), None) => site == "same-origin",
        (site, Some(origin)) => site.is_none_or(|site| site == "same-origin") && is_own(request, services, origin),
        (None, None) => false,
    };
    if is_own { Ok(()) } else { Err(refused()) }
}

/// Whether it is the origin of this very address, or of `PUBLIC_URL`.
fn is_own(request: &HttpRequest, services: &Services, origin: &str) -> bool {
    let public = url::Url::parse(&services.config.public_url).map(|url| url.origin().ascii_serialization());
    if public.is_ok_and(|public| public == origin) {
        return true;
    }
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let is_safe = scheme == "https" || (scheme == "http" && !services.config.public_url.starts_with("https://"));
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    is_safe && !authority.is_empty() && authority.eq_ignore_ascii_case(host)
}

fn refused() -> ApiError {
    ApiError::new(
        Code::OriginRefused,
        "Pages of this origin may not use this. Open it from the help center itself, or have the operator add the origin to \
         `API_ALLOWED_ORIGINS`.",
    )
}
