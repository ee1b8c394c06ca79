//! Signing in and out, and what keeps other sites from sending our forms.

use actix_web::{
    HttpRequest, HttpResponse,
    cookie::{Cookie, SameSite, time::Duration as CookieDuration},
    http::{StatusCode, header},
    web::{Data, Form, Query},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::Deserialize;
use shared::auth::{Pepper, session};

use super::{Visit, sign_in_page};
use crate::{
    Services,
    caller::SESSION_COOKIE,
    error::{ApiError, Code},
};

const CSRF_COOKIE: &str = "__Host-helpcenter-form";

/// The token of this browser's forms: a keyed hash of a random cookie and of the session. Another site can neither read
/// nor guess it, and one from before signing in is of no use after.
pub(super) struct CsrfToken {
    token: String,
    nonce: String,
    is_new: bool,
}

impl CsrfToken {
    pub(super) fn of(request: &HttpRequest, pepper: &Pepper) -> Self {
        let sent = request.cookie(CSRF_COOKIE).map(|cookie| cookie.value().to_owned()).filter(|n| n.len() == 43);
        let is_new = sent.is_none();
        let nonce = sent.unwrap_or_else(|| URL_SAFE_NO_PAD.encode(rand::random::<[u8; 32]>()));
        let session = request.cookie(SESSION_COOKIE).map(|cookie| cookie.value().to_owned()).unwrap_or_default();
        let hash = pepper.hash("form", format!("{nonce} {session}").as_bytes());
        Self { token: URL_SAFE_NO_PAD.encode(hash), nonce, is_new }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// The same for all that a browser asks for until it is closed, and known to nobody else.
    pub(super) fn nonce(&self) -> &str {
        &self.nonce
    }

    /// The cookie to set, when the browser has none yet.
    pub(super) fn cookie(&self) -> Option<Cookie<'static>> {
        self.is_new.then(|| cookie(CSRF_COOKIE, self.nonce.clone()).finish())
    }

    /// Refuses a form that did not come from a page of ours.
    fn check(&self, request: &HttpRequest, sent: &str) -> Result<(), ApiError> {
        use subtle::ConstantTimeEq as _;
        let cross_site =
            request.headers().get("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none");
        let fits: bool = self.token.as_bytes().ct_eq(sent.as_bytes()).into();
        if cross_site || self.is_new || !fits {
            return Err(ApiError::new(
                Code::FormRefused,
                "The form is too old, or your browser sent no cookie. Go back, reload the page and send it again.",
            ));
        }
        Ok(())
    }
}

fn cookie(name: &'static str, value: String) -> actix_web::cookie::CookieBuilder<'static> {
    Cookie::build(name, value).path("/").secure(true).http_only(true).same_site(SameSite::Lax)
}

#[derive(Deserialize)]
pub(crate) struct SignInQuery {
    #[serde(default)]
    next: String,
}

/// The sign-in form.
pub(crate) async fn sign_in_form(request: HttpRequest, query: Query<SignInQuery>) -> Result<HttpResponse, ApiError> {
    let visit = Visit::begin(&request).await?;
    let next = local_path(&query.next);
    visit.page(StatusCode::OK, &sign_in_page(&visit, String::new(), None, next))
}

#[derive(Deserialize)]
pub(crate) struct SignInForm {
    email: String,
    password: String,
    #[serde(default)]
    next: String,
    #[serde(default)]
    csrf_token: String,
}

/// Signs in and goes where the person wanted to go.
pub(crate) async fn sign_in(
    request: HttpRequest,
    services: Data<Services>,
    form: Form<SignInForm>,
) -> Result<HttpResponse, ApiError> {
    let form = form.into_inner();
    let visit = Visit::begin(&request).await?;
    visit.csrf.check(&request, &form.csrf_token)?;
    // The help center of the host name decides, not the one of an earlier session.
    let tenant = crate::caller::tenant_of_host(&request).await?.map_or(visit.tenant.id, |tenant| tenant.id);
    let begun = session::sign_in(
        &services.database,
        services.authenticator.pepper(),
        &services.clock,
        services.session_lifetime,
        tenant,
        // NUL cannot be stored, so no account has it.
        &form.email.replace('\0', ""),
        form.password,
    )
    .await?;
    let next = local_path(&form.next);
    let Some(begun) = begun else {
        tracing::warn!(target: "audit", tenant = %tenant, "auth.sign_in_refused");
        let error = "Email and password do not fit together. Check both and try again.".to_owned();
        return visit.page(StatusCode::UNPROCESSABLE_ENTITY, &sign_in_page(&visit, form.email, Some(error), next));
    };
    if let Some(before) = request.cookie(SESSION_COOKIE) {
        session::sign_out(&services.database, services.authenticator.pepper(), before.value()).await?;
    }
    let lifetime = i64::try_from(services.session_lifetime.as_secs()).unwrap_or(i64::MAX);
    let session = cookie(SESSION_COOKIE, begun.cookie).max_age(CookieDuration::seconds(lifetime)).finish();
    Ok(HttpResponse::SeeOther().cookie(session).insert_header((header::LOCATION, next)).finish())
}

#[derive(Deserialize)]
pub(crate) struct SignOutForm {
    #[serde(default)]
    csrf_token: String,
}

/// Ends the session, here and in the database.
pub(crate) async fn sign_out(
    request: HttpRequest,
    services: Data<Services>,
    form: Form<SignOutForm>,
) -> Result<HttpResponse, ApiError> {
    let pepper = services.authenticator.pepper();
    CsrfToken::of(&request, pepper).check(&request, &form.csrf_token)?;
    if let Some(sent) = request.cookie(SESSION_COOKIE) {
        session::sign_out(&services.database, pepper, sent.value()).await?;
    }
    let mut ended = cookie(SESSION_COOKIE, String::new()).finish();
    ended.make_removal();
    Ok(HttpResponse::SeeOther().cookie(ended).insert_header((header::LOCATION, "/")).finish())
}

/// A path of this site; anything else leads home. Browsers read `//host` and `/\host` as another host's address.
fn local_path(path: &str) -> String {
    let legal = path.starts_with('/')
        && !path.starts_with("//")
        && !path.contains('\\')
        && path.bytes().all(|byte| (0x21..0x7f).contains(&byte));
    if legal { path.to_owned() } else { "/".to_owned() }
}

/// `name=value` pairs for the part of an address after `?`.
pub(super) fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_of_this_site_are_gone_to() {
        for local in ["/", "/search/?q=a%20b", "/articles/x/#y"] {
            assert_eq!(local_path(local), local);
        }
        for foreign in ["", "https://elsewhere.example", "//elsewhere.example", "/\\elsewhere.example", "/a\nb", "x/y"]
        {
            assert_eq!(local_path(foreign), "/", "{foreign:?}");
        }
    }
}
