//! What surrounds every request: its span, its id, its metrics, security headers, and the one place where an error is
//! logged and turned into what the caller reads.

use std::{
    sync::LazyLock,
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{self, BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web::Data,
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use prometheus::{HistogramVec, IntCounterVec};
use sha2::{Digest as _, Sha256};
use shared::telemetry::{
    metrics::{counters, histograms},
    traces,
};
use tracing::{Span, field::Empty};
use tracing_actix_web::{RequestId, RootSpanBuilder};

use crate::{
    Services, chat,
    error::{ApiError, Code},
    limits, pages, routes,
};

static REQUESTS: LazyLock<IntCounterVec> = LazyLock::new(|| {
    counters("helpcenter_http_requests_total", "Requests answered, by route.", &["route", "method", "status"])
});
static DURATION: LazyLock<HistogramVec> = LazyLock::new(|| {
    histograms(
        "helpcenter_http_request_duration_seconds",
        "How long answers took, by route.",
        &["route", "method"],
        &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0],
    )
});

/// Makes the counters of every route exist at 0, for its success and for our errors: a counter that appears with its first
/// event has no rate, and the first error must raise an alert.
pub(crate) fn prepare_metrics() {
    chat::prepare_metrics();
    limits::prepare_metrics();
    for endpoint in routes::table() {
        let method = method_label(&endpoint.method);
        for code in [StatusCode::OK, StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE] {
            REQUESTS.with_label_values(&[endpoint.path, method, code.as_str()]);
        }
        DURATION.with_label_values(&[endpoint.path, method]);
    }
}

/// What pages may load: our own stylesheet, and images over https. No script at all.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; img-src 'self' https: data:; font-src 'self'; \
                           form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// The API answers with data only.
const DATA_POLICY: &str = "default-src 'none'; frame-ancestors 'none'";

/// A span with the route, never with the query: searches are nobody's business in a log.
#[derive(Debug)]
pub struct RequestSpan;

impl RootSpanBuilder for RequestSpan {
    fn on_request_start(request: &ServiceRequest) -> Span {
        let request_id = request_id(request);
        let span = tracing::info_span!(
            "http.request",
            http.request.method = %request.method(),
            http.route = Empty,
            http.response.status_code = Empty,
            request_id,
            trace_id = Empty,
            otel.name = Empty,
            otel.kind = Empty,
            otel.status_code = Empty,
        );
        if traces::are_exported() {
            span.record(
                "otel.name",
                format!("{} {}", method_label(request.request().method()), route(request.request())),
            );
            span.record("otel.kind", "server");
            traces::follow(&span, request.headers().get("traceparent").and_then(|value| value.to_str().ok()));
        }
        span
    }

    fn on_request_end<B: MessageBody>(span: Span, outcome: &Result<ServiceResponse<B>, Error>) {
        match outcome {
            Ok(response) => {
                span.record("http.route", route(response.request()));
                span.record("http.response.status_code", i64::from(response.status().as_u16()));
                if traces::are_exported() && response.status().is_server_error() {
                    span.record("otel.status_code", "ERROR");
                }
            }
            Err(error) => {
                let status = error.as_response_error().status_code();
                span.record("http.response.status_code", i64::from(status.as_u16()));
            }
        }
    }
}

/// Wraps every request.
pub async fn boundary(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let request_id = request_id(&request);
    let is_api = ["/api/", "/ws/", "/health/"].iter().any(|part| request.path().starts_with(part));
    let is_https = request.app_data::<Data<Services>>().is_some_and(|s| s.config.public_url.starts_with("https://"));
    let mut response = next.call(request).await?.map_into_boxed_body();
    if response.response().error().is_some() {
        response = explained(response, &request_id, is_api);
    }
    secure(response.headers_mut(), is_api, is_https);
    if let Ok(id) = HeaderValue::from_str(&request_id) {
        response.headers_mut().insert(HeaderName::from_static("x-request-id"), id);
    }
    let (route, method) = (route(response.request()), method_label(response.request().method()));
    REQUESTS.with_label_values(&[route.as_str(), method, response.status().as_str()]).inc();
    DURATION.with_label_values(&[route.as_str(), method]).observe(started.elapsed().as_secs_f64());
    Ok(response)
}

/// Gives a request up that has no answer in time, and whatever it waits for with it. What streams an answer has one already.
pub async fn deadline(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let limit = request.app_data::<Data<Services>>().map(|services| services.config.request_timeout);
    within(limit, request, next).await
}

/// The same for requests with whole archives, which have more time.
pub async fn transfer_deadline(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let limit = request.app_data::<Data<Services>>().map(|services| services.config.transfer_timeout);
    within(limit, request, next).await
}

async fn within(
    limit: Option<Duration>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(limit) = limit else { return Ok(next.call(request).await?.map_into_boxed_body()) };
    let asked = request.request().clone();
    match tokio::time::timeout(limit, next.call(request)).await {
        Ok(answer) => Ok(answer?.map_into_boxed_body()),
        Err(_) => Ok(ServiceResponse::from_err(ApiError::too_slow(limit), asked)),
    }
}

/// Gives an answer a tag that changes with it, and answers 304 without a body to who has it already (RFC 9110, 13.1.2).
pub async fn tagged(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let known: Vec<HeaderValue> = request.headers().get_all(header::IF_NONE_MATCH).cloned().collect();
    let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
    let response = next.call(request).await?;
    if !is_read || response.status() != StatusCode::OK {
        return Ok(response.map_into_boxed_body());
    }
    let (request, response) = response.into_parts();
    let (response, body) = response.into_parts();
    let body = body::to_bytes(body).await.map_err(|error| {
        let cause: Box<dyn std::error::Error> = error.into();
        ApiError::internal(anyhow::anyhow!("{cause}"))
    })?;
    let tag = format!("\"{}\"", URL_SAFE_NO_PAD.encode(&Sha256::digest(&body)[..16]));
    let is_known =
        known.iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|value| {
            let value = value.trim();
            value == "*" || value.strip_prefix("W/").unwrap_or(value) == tag
        });
    let mut response =
        if is_known { HttpResponse::NotModified().finish() } else { response.set_body(body).map_into_boxed_body() };
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    Ok(ServiceResponse::new(request, response))
}

/// Replaces an error's answer by one that the caller can use, and logs what is ours.
fn explained(response: ServiceResponse, request_id: &str, is_api: bool) -> ServiceResponse {
    let Some(error) = response.response().error() else { return response };
    let foreign;
    let error = if let Some(ours) = error.as_error::<ApiError>() {
        ours
    } else {
        foreign = translated(error);
        &foreign
    };
    let cause = error.cause.as_ref().map(|cause| format!("{cause:#}")).unwrap_or_default();
    match error.code.status() {
        status if status.is_server_error() => tracing::error!(code = error.code.as_str(), cause, "http.failed"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            tracing::warn!(target: "audit", code = error.code.as_str(), cause, route = route(response.request()), "http.denied");
        }
        _ if error.cause.is_some() => tracing::info!(code = error.code.as_str(), cause, "http.refused"),
        _ => {}
    }
    let answer: HttpResponse = if is_api {
        error.response(request_id.to_owned())
    } else {
        pages::error_page(response.request(), error, request_id)
    };
    response.into_response(answer)
}

/// Errors of the framework itself, such as a request that cannot be parsed.
fn translated(error: &Error) -> ApiError {
    let status = error.as_response_error().status_code();
    let detail = "The request could not be understood. Check its address, headers and body.";
    match status {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::new(Code::PayloadTooLarge, "The request is too large."),
        StatusCode::NOT_FOUND => ApiError::not_found("There is nothing at this address."),
        status if status.is_client_error() => ApiError::invalid(detail),
        _ => ApiError::internal(anyhow::anyhow!("{error}")),
    }
}

fn secure(headers: &mut HeaderMap, is_api: bool, is_https: bool) {
    let policy = if is_api { DATA_POLICY } else { PAGE_POLICY };
    let mut set = |name: HeaderName, value: &'static str| {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    };
    set(header::CONTENT_SECURITY_POLICY, policy);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    set(header::REFERRER_POLICY, "strict-origin-when-cross-origin");
    set(HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    // What one person sees is not for the next one behind the same proxy.
    set(header::CACHE_CONTROL, "private, no-cache");
    set(header::VARY, "Authorization, Cookie");
    if is_https {
        set(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000");
    }
}

fn request_id(request: &ServiceRequest) -> String {
    request.extensions().get::<RequestId>().map(ToString::to_string).unwrap_or_default()
}

/// The route's pattern; every address that no route knows counts as one, so that nobody can invent labels.
fn route(request: &HttpRequest) -> String {
    request.match_pattern().unwrap_or_else(|| "unmatched".to_owned())
}

/// Methods that no route has count as one, so that nobody can invent labels.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        _ => "other",
    }
}
