//! How models on servers are called: the address and the key, one attempt, and what its failure means.
//!
//! async-openai makes the requests of OpenAI's API and reads their answers ([`client`]). Its retries, its errors and its log are
//! not used: they lose the status of answers that are not worded like OpenAI's, wait for as long as a server likes, and repeat what
//! was sent and answered. What is not in that API is asked by [`Endpoint::post`]. A caller brings its own patience:
//! [`CallError::is_transient`] says what another attempt may mend.

use std::{error::Error as _, time::Duration};

use async_openai::{Client, config::Config, error::OpenAIError, middleware::HttpRequestFactory};
use http_body_util::Limited;
use reqwest::{
    Body, Response,
    header::{AUTHORIZATION, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect::Policy,
};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use tower::service_fn;
use url::Url;

/// How calls end, for metrics: `not_sent` were refused while the circuit was open.
pub(crate) const OUTCOMES: [&str; 8] =
    ["done", "rate_limited", "failed", "refused", "timed_out", "unreachable", "wrong_answer", "not_sent"];

/// How long a connection may take to be made.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// A server, and the key for it.
pub(crate) struct Endpoint {
    base_url: String,
    key: SecretString,
}

impl Endpoint {
    /// Paths are added to the address.
    pub(crate) fn new(base_url: &Url, key: Option<&SecretString>) -> Self {
        Self { base_url: base_url.as_str().trim_end_matches('/').to_owned(), key: key.cloned().unwrap_or_default() }
    }

    /// Asks once, by JSON; it ends with the connection, not by time.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        http: &reqwest::Client,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let unreachable = |error| CallError::Unreachable(innermost(&error));
        let request = http.post(self.url(path)).headers(self.headers()).json(body);
        let response = request.send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let answer = response.bytes().await.map_err(unreachable)?;
        serde_json::from_slice(&answer).map_err(|error| unreadable(&error))
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        let key = self.key.expose_secret();
        let mut headers = HeaderMap::new();
        // Keys are read as visible ASCII, so there is no error to tell.
        if !key.is_empty()
            && let Ok(mut value) = HeaderValue::try_from(format!("Bearer {key}"))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base_url
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

/// What connections are made by. Not to follow redirects keeps the key where it was meant to go.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder().connect_timeout(CONNECT_WITHIN).redirect(Policy::none())
}

/// Connections to a server that the operator has named.
pub(crate) fn http() -> Result<reqwest::Client, reqwest::Error> {
    builder().build()
}

/// A client whose calls are single attempts. They end with the connection, not by time: that is the caller's. An answer of more than
/// `most_bytes` breaks there.
pub(crate) fn client(endpoint: Endpoint, http: reqwest::Client, most_bytes: usize) -> Client<Endpoint> {
    let sender = http.clone();
    let send = service_fn(move |request: HttpRequestFactory| {
        let http = sender.clone();
        async move {
            let response = http.execute(request.build().await?).await?;
            let response = Response::from(
                hyper::Response::<Body>::from(response).map(|body| Body::wrap(Limited::new(body, most_bytes))),
            );
            if response.status().is_success() {
                return Ok::<Response, OpenAIError>(response);
            }
            Err(OpenAIError::Boxed(Box::new(refusal(response).await)))
        }
    });
    Client::build(http, endpoint).with_http_service(send)
}

/// Why a call has no answer. The messages repeat nothing of what was sent or answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CallError {
    /// There was no connection, or it broke.
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    /// The caller's patience was over.
    #[error("it did not answer within {0:?}")]
    TimedOut(Duration),
    /// 429.
    #[error("it asks for fewer requests (429)")]
    Busy {
        /// When to come again, if it said so.
        retry_after: Option<Duration>,
    },
    /// 5xx, and 408.
    #[error("it failed ({status})")]
    Failed {
        /// The HTTP status.
        status: u16,
        /// When to come again, if it said so.
        retry_after: Option<Duration>,
    },
    /// Any other answer that is no success; and 429, when no money is left.
    #[error("it refuses ({status}{})", .code.as_deref().map(|code| format!(", {code}")).unwrap_or_default())]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it calls the reason: a word, never a text.
        code: Option<String>,
    },
    /// A success that is not what was asked for.
    #[error("its answer cannot be read: {0}")]
    Unreadable(String),
}

impl CallError {
    /// Whether the same call may succeed in a moment.
    pub(crate) fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::TimedOut(_) | Self::Busy { .. } | Self::Failed { .. })
    }

    /// Whether something else would have been answered: nothing is wrong with the server.
    pub(crate) fn is_about_what_was_sent(&self) -> bool {
        matches!(self, Self::Refused { status: 400 | 413 | 422, .. })
    }

    /// Whether what was sent had a parameter that the server does not take, in the words of OpenAI.
    pub(crate) fn refuses_a_parameter(&self) -> bool {
        let Self::Refused { status: 400, code: Some(code) } = self else { return false };
        matches!(code.as_str(), "unsupported_parameter" | "unsupported_value")
    }

    /// What metrics call it: one of [`OUTCOMES`].
    pub(crate) fn outcome(&self) -> &'static str {
        match self {
            Self::Busy { .. } => "rate_limited",
            Self::Failed { .. } => "failed",
            Self::Refused { .. } => "refused",
            Self::TimedOut(_) => "timed_out",
            Self::Unreachable(_) => "unreachable",
            Self::Unreadable(_) => "wrong_answer",
        }
    }

    /// When the server wants to be asked again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after } | Self::Failed { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl From<OpenAIError> for CallError {
    fn from(error: OpenAIError) -> Self {
        match error {
            OpenAIError::Reqwest(error) => Self::Unreachable(innermost(&error)),
            // In the middle of a stream; its own message may have what was sent.
            OpenAIError::StreamError(_) => Self::Unreachable("the connection broke".to_owned()),
            OpenAIError::Boxed(boxed) => match boxed.downcast::<Self>() {
                Ok(error) => *error,
                Err(_) => Self::Unreadable("an unknown error".to_owned()),
            },
            // Its own message has the answer.
            OpenAIError::JSONDeserialize(error, _) => unreadable(&error),
            _ => Self::Unreadable("an unknown error".to_owned()),
        }
    }
}

fn unreadable(error: &serde_json::Error) -> CallError {
    CallError::Unreadable(format!("unexpected JSON at line {}, column {}", error.line(), error.column()))
}

/// The cause of all causes: the outer ones say no more than that a request failed.
fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    if error.source().is_none() { "the connection broke".to_owned() } else { cause.to_string() }
}

async fn refusal(response: Response) -> CallError {
    let status = response.status();
    let retry_after = retry_after(response.headers());
    // Where the body does not arrive, the status says enough.
    let body: Value =
        response.bytes().await.ok().and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default();
    let code = code(&body);
    match status.as_u16() {
        429 if code.as_deref() != Some("insufficient_quota") => CallError::Busy { retry_after },
        status @ (408 | 500..) => CallError::Failed { status, retry_after },
        status => CallError::Refused { status, code },
    }
}

/// In seconds; the other form, a date, is used by none of these servers.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

/// `code` or `type` of an error's body, when it is a word: the message may repeat what was sent.
fn code(body: &Value) -> Option<String> {
    let error = body.get("error")?;
    let is_word = |text: &&str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    };
    ["code", "type"].iter().find_map(|key| error.get(key)?.as_str().filter(is_word)).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reasons_are_words_and_never_texts() {
        for (body, reason) in [
            (
                json!({ "error": { "message": "hidden", "type": "invalid_request_error", "code": "model_not_found" } }),
                Some("model_not_found"),
            ),
            (json!({ "error": { "message": "hidden", "type": "requests", "code": null } }), Some("requests")),
            (json!({ "error": { "code": 500, "type": "server_error" } }), Some("server_error")),
            (json!({ "error": { "code": "the text \"hidden\" is too long" } }), None),
            (json!({ "error": "model 'hidden' not found" }), None),
            (json!({ "detail": [{ "input": "hidden" }] }), None),
            (Value::Null, None),
        ] {
            assert_eq!(code(&body).as_deref(), reason, "{body}");
        }
    }

    #[test]
    fn a_key_is_sent_when_there_is_one_and_marked_as_secret() {
        let url = Url::parse("http://localhost:1/v1/").unwrap();
        assert!(Endpoint::new(&url, None).headers().is_empty());
        let endpoint = Endpoint::new(&url, Some(&SecretString::from("sk-1")));
        assert_eq!(endpoint.headers()[AUTHORIZATION], "Bearer sk-1");
        assert!(endpoint.headers()[AUTHORIZATION].is_sensitive());
        assert_eq!(endpoint.url("/embeddings"), "http://localhost:1/v1/embeddings");
    }
}
