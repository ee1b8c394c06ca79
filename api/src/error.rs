//! The one error type of the HTTP edge: RFC 9457 problem details with a stable code.

use std::time::Duration;

use actix_web::{
    HttpResponse, ResponseError,
    error::{JsonPayloadError, PathError, QueryPayloadError, UrlencodedError},
    http::{StatusCode, header},
    web,
};
use serde::Serialize;
use shared::{
    auth::AuthError,
    knowledge::{taxonomy::TaxonomyError, writing::WriteError},
    llm::SettingsError,
    search::{contextual::RuleError, teach::TeachError},
};
use utoipa::ToSchema;

use crate::MAX_BODY_BYTES;

/// Every code that an answer may carry. Codes are stable; sentences may improve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// 400: the request cannot be understood or holds a value that is not allowed.
    InvalidRequest,
    /// 401: this needs a credential.
    AuthenticationRequired,
    /// 401: the credential was valid once.
    CredentialExpired,
    /// 401: the credential is malformed, forged, revoked or of another deployment.
    CredentialInvalid,
    /// 403: the credential is good, but not for this.
    PermissionRequired,
    /// 403: the form did not come from our page, or is too old.
    FormRefused,
    /// 403: pages of this origin may not ask this.
    OriginRefused,
    /// 404: there is nothing here that the caller may see.
    NotFound,
    /// 405: the address exists, for other methods.
    MethodNotAllowed,
    /// 409: somebody else changed it since the version that the request is for.
    VersionConflict,
    /// 409: another one has this name or address.
    AlreadyTaken,
    /// 409: not as things stand.
    NotPossible,
    /// 426: this address speaks WebSocket.
    UpgradeRequired,
    /// 428: the request must say which version it is for.
    VersionRequired,
    /// 413: the body is too large.
    PayloadTooLarge,
    /// 415: the body is of a type that is not read here.
    UnsupportedMediaType,
    /// 429: too many, too fast; `Retry-After` says when to come back.
    RateLimited,
    /// 500: our fault; the cause is in the log under the request id.
    InternalError,
    /// 503: a part that this needs is away; trying again later helps.
    ServiceUnavailable,
}

impl Code {
    /// The HTTP status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::InvalidRequest => StatusCode::BAD_REQUEST,
            Self::AuthenticationRequired | Self::CredentialExpired | Self::CredentialInvalid => {
                StatusCode::UNAUTHORIZED
            }
            Self::PermissionRequired | Self::FormRefused | Self::OriginRefused => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::VersionConflict | Self::AlreadyTaken | Self::NotPossible => StatusCode::CONFLICT,
            Self::UpgradeRequired => StatusCode::UPGRADE_REQUIRED,
            Self::VersionRequired => StatusCode::PRECONDITION_REQUIRED,
            Self::PayloadTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::ServiceUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The short, human title.
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "The request is not valid",
            Self::AuthenticationRequired => "Authentication is required",
            Self::CredentialExpired => "The credential has expired",
            Self::CredentialInvalid => "The credential is not valid",
            Self::PermissionRequired => "This is not for everybody",
            Self::FormRefused => "The form was not accepted",
            Self::OriginRefused => "Not from this site",
            Self::NotFound => "Not found",
            Self::MethodNotAllowed => "This method is not allowed here",
            Self::VersionConflict => "Somebody else was faster",
            Self::AlreadyTaken => "Already taken",
            Self::NotPossible => "Not possible as it is",
            Self::UpgradeRequired => "This address speaks WebSocket",
            Self::VersionRequired => "Say which version this is for",
            Self::PayloadTooLarge => "The request is too large",
            Self::UnsupportedMediaType => "This type of body is not supported",
            Self::RateLimited => "Too many requests",
            Self::InternalError => "Something went wrong",
            Self::ServiceUnavailable => "Not available at the moment",
        }
    }

    /// As it stands in answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::AuthenticationRequired => "authentication_required",
            Self::CredentialExpired => "credential_expired",
            Self::CredentialInvalid => "credential_invalid",
            Self::PermissionRequired => "permission_required",
            Self::FormRefused => "form_refused",
            Self::OriginRefused => "origin_refused",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::VersionConflict => "version_conflict",
            Self::AlreadyTaken => "already_taken",
            Self::NotPossible => "not_possible",
            Self::UpgradeRequired => "upgrade_required",
            Self::VersionRequired => "version_required",
            Self::PayloadTooLarge => "payload_too_large",
            Self::UnsupportedMediaType => "unsupported_media_type",
            Self::RateLimited => "rate_limited",
            Self::InternalError => "internal_error",
            Self::ServiceUnavailable => "service_unavailable",
        }
    }
}

/// What went wrong, and what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[error("{code:?}: {detail}")]
pub struct ApiError {
    /// The stable code.
    pub code: Code,
    /// A sentence for a person. Never holds a cause that is not the caller's business.
    pub detail: String,
    /// For `405`: the methods that are allowed.
    pub allow: Option<String>,
    /// Further members of the problem details.
    pub members: serde_json::Map<String, serde_json::Value>,
    /// What really happened, for the log.
    #[source]
    pub cause: Option<anyhow::Error>,
}

/// Problem details (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:problem:helpcenter:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code's title.
    pub title: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// What happened, and what helps.
    pub detail: String,
    /// The stable code.
    pub code: Code,
    /// Finds the request in the logs.
    pub request_id: String,
    /// What the code says more: with `version_conflict`, `current` and `submitted`; with `rate_limited`, `retry_after_seconds`.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub members: serde_json::Map<String, serde_json::Value>,
}

impl ApiError {
    /// An error with a code and a sentence.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), allow: None, members: serde_json::Map::new(), cause: None }
    }

    /// The same with a further member of the problem details.
    #[must_use]
    pub fn with(mut self, name: &str, value: &impl Serialize) -> Self {
        self.members.insert(name.to_owned(), serde_json::to_value(value).unwrap_or_default());
        self
    }

    /// A value of the request is not allowed.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, detail)
    }

    /// There is nothing that the caller may see.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// Our fault.
    pub fn internal(cause: impl Into<anyhow::Error>) -> Self {
        Self {
            cause: Some(cause.into()),
            ..Self::new(
                Code::InternalError,
                "This is our fault, not yours. Please try again; if it stays, tell the operator the request id.",
            )
        }
    }

    /// There was no answer in time.
    pub fn too_slow(limit: Duration) -> Self {
        Self {
            cause: Some(anyhow::anyhow!("there was no answer within {limit:?}")),
            ..Self::new(
                Code::ServiceUnavailable,
                "This took too long and was given up. Please try again in a moment; look first whether a change was made.",
            )
        }
    }

    /// In how many seconds the same would be let through.
    pub fn retry_after_seconds(&self) -> Option<u64> {
        self.members.get("retry_after_seconds").and_then(serde_json::Value::as_u64)
    }

    /// The problem details as they are sent.
    pub fn problem(&self, request_id: String) -> Problem {
        Problem {
            kind: format!("urn:problem:helpcenter:{}", self.code.as_str()),
            title: self.code.title(),
            status: self.code.status().as_u16(),
            detail: self.detail.clone(),
            code: self.code,
            request_id,
            members: self.members.clone(),
        }
    }

    /// The answer, for callers of the API.
    pub fn response(&self, request_id: String) -> HttpResponse {
        let mut response = HttpResponse::build(self.code.status());
        response.content_type("application/problem+json").insert_header((header::CACHE_CONTROL, "no-store"));
        if self.code.status() == StatusCode::UNAUTHORIZED {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer"));
        }
        if let Some(allow) = &self.allow {
            response.insert_header((header::ALLOW, allow.clone()));
        }
        if self.code == Code::ServiceUnavailable {
            response.insert_header((header::RETRY_AFTER, "5"));
        }
        if let Some(seconds) = self.retry_after_seconds() {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if self.code == Code::UpgradeRequired {
            response.insert_header((header::UPGRADE, "websocket"));
        }
        response.body(serde_json::to_string(&self.problem(request_id)).unwrap_or_default())
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    /// `boundary` renders the error once more, knowing the request.
    fn error_response(&self) -> HttpResponse {
        self.response(String::new())
    }
}

/// What PostgreSQL says when there is no connection to be had: broken, not authorised, no such database, takes none, out of
/// resources, shutting down.
const NO_CONNECTION: &[&str] = &["08", "28", "3D", "55000", "53", "57P"];

impl From<sqlx::Error> for ApiError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
        let away = matches!(
            error,
            sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) | sqlx::Error::PoolClosed | sqlx::Error::Tls(_)
        ) || NO_CONNECTION.iter().any(|class| code.starts_with(class));
        if away {
            return Self {
                cause: Some(error.into()),
                ..Self::new(
                    Code::ServiceUnavailable,
                    "The database does not answer at the moment. Please try again in a few seconds.",
                )
            };
        }
        // Class 22: a value that PostgreSQL cannot read or compare, such as a NUL character or a date out of its range.
        if code.starts_with("22") {
            return Self {
                cause: Some(error.into()),
                ..Self::invalid(
                    "The request holds a character or a value that nothing here can have. Check it and try again.",
                )
            };
        }
        if let Some((code, detail)) = error.as_database_error().and_then(|e| e.constraint()).and_then(on_constraint) {
            return Self { cause: Some(error.into()), ..Self::new(code, detail) };
        }
        Self::internal(error)
    }
}

/// What to say when a rule of the schema catches what two requests at once did.
fn on_constraint(constraint: &str) -> Option<(Code, &'static str)> {
    Some(match constraint {
        "articles_slug_key" | "categories_slug_key" | "tags_slug_key" => {
            (Code::AlreadyTaken, "Another one has this slug since a moment ago. Choose another one.")
        }
        "articles_translation_key" => (Code::AlreadyTaken, "The article has a text in this language already."),
        "article_suggestions_article_fkey" => (Code::InvalidRequest, "`article_id` names no article."),
        "articles_tenant_id_category_id_fkey" => (Code::InvalidRequest, "The category was deleted a moment ago."),
        _ => return None,
    })
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        let code = match error {
            WriteError::Database(error) => return error.into(),
            WriteError::NotFound => Code::NotFound,
            WriteError::Conflict { .. } => Code::VersionConflict,
            WriteError::EditorsOnly(_) => Code::PermissionRequired,
            WriteError::SlugTaken(_) => Code::AlreadyTaken,
            WriteError::NoSuchStep { .. } | WriteError::Incomplete(_) => Code::NotPossible,
            WriteError::Invalid(_) => Code::InvalidRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<TaxonomyError> for ApiError {
    fn from(error: TaxonomyError) -> Self {
        let code = match error {
            TaxonomyError::Database(error) => return error.into(),
            TaxonomyError::NotFound(_) => Code::NotFound,
            TaxonomyError::SlugTaken(..) => Code::AlreadyTaken,
            TaxonomyError::Misplaced(_) | TaxonomyError::NotEmpty { .. } => Code::NotPossible,
            TaxonomyError::Invalid(_) => Code::InvalidRequest,
        };
        Self::new(code, error.to_string())
    }
}

impl From<TeachError> for ApiError {
    fn from(error: TeachError) -> Self {
        match error {
            TeachError::Database(error) => error.into(),
            TeachError::NotFound => Self::not_found(error.to_string()),
            TeachError::Invalid(_) => Self::invalid(error.to_string()),
        }
    }
}

impl From<RuleError> for ApiError {
    fn from(error: RuleError) -> Self {
        match error {
            RuleError::Database(error) => error.into(),
            RuleError::NotFound => Self::not_found(error.to_string()),
            RuleError::Invalid(_) => Self::invalid(error.to_string()),
        }
    }
}

impl From<SettingsError> for ApiError {
    fn from(error: SettingsError) -> Self {
        match error {
            SettingsError::Database(error) => error.into(),
            SettingsError::Invalid(detail) => Self::invalid(detail),
            SettingsError::NotPossible(detail) => Self::new(Code::NotPossible, detail),
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Expired => Self::new(
                Code::CredentialExpired,
                "The token, key or session has expired. Sign in again or use a new one.",
            ),
            AuthError::Invalid(reason) => Self {
                cause: Some(anyhow::anyhow!(reason)),
                ..Self::new(
                    Code::CredentialInvalid,
                    "The token or API key is not valid here. Check that it is complete and meant for this help center.",
                )
            },
            AuthError::Database(error) => error.into(),
            AuthError::Keys(error) => Self {
                cause: Some(error.into()),
                ..Self::new(
                    Code::ServiceUnavailable,
                    "The keys that tokens are signed with cannot be fetched at the moment. Please try again in a minute.",
                )
            },
        }
    }
}

/// Answers for bodies, paths and queries that extractors refuse.
pub fn extractor_errors(config: &mut web::ServiceConfig) {
    config
        .app_data(json_up_to(MAX_BODY_BYTES))
        .app_data(web::FormConfig::default().limit(MAX_BODY_BYTES).error_handler(|error, _| form_error(&error).into()))
        .app_data(web::PathConfig::default().error_handler(|error, _| path_error(&error).into()))
        .app_data(web::QueryConfig::default().error_handler(|error, _| query_error(&error).into()));
}

/// JSON bodies of up to so many bytes.
pub(crate) fn json_up_to(bytes: usize) -> web::JsonConfig {
    web::JsonConfig::default().limit(bytes).error_handler(move |error, _| json_error(&error, bytes).into())
}

fn json_error(error: &JsonPayloadError, most: usize) -> ApiError {
    match error {
        JsonPayloadError::OverflowKnownLength { .. } | JsonPayloadError::Overflow { .. } => too_large(most),
        JsonPayloadError::ContentType => ApiError::new(
            Code::UnsupportedMediaType,
            "Send the body as JSON, with the header `Content-Type: application/json`.",
        ),
        JsonPayloadError::Deserialize(error) if error.is_eof() => {
            ApiError::invalid("The body is empty or ends too early. Send one whole JSON object.")
        }
        JsonPayloadError::Deserialize(error) => {
            ApiError::invalid(format!("The JSON body does not fit what is expected here: {error}."))
        }
        JsonPayloadError::Payload(_) => ApiError::invalid("The body could not be read to its end. Send it again."),
        _ => ApiError::invalid("The body is not usable JSON."),
    }
}

fn form_error(error: &UrlencodedError) -> ApiError {
    match error {
        UrlencodedError::Overflow { .. } => too_large(MAX_BODY_BYTES),
        UrlencodedError::ContentType => ApiError::new(
            Code::UnsupportedMediaType,
            "Send the form with the header `Content-Type: application/x-www-form-urlencoded`.",
        ),
        _ => ApiError::invalid("The form is incomplete or not readable. Reload the page and send it again."),
    }
}

fn path_error(_: &PathError) -> ApiError {
    ApiError::not_found("There is nothing at this address. Check it for a typing error.")
}

fn query_error(error: &QueryPayloadError) -> ApiError {
    match error {
        QueryPayloadError::Deserialize(error) => {
            ApiError::invalid(format!("The part of the address after `?` does not fit what is expected here: {error}."))
        }
        _ => ApiError::invalid("The part of the address after `?` cannot be read."),
    }
}

fn too_large(most: usize) -> ApiError {
    ApiError::new(Code::PayloadTooLarge, format!("The body may have at most {most} bytes."))
}
