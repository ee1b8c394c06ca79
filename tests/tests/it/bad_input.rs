//! Whatever is sent, the answer is one that its sender can use: never a fault of ours, never a word of what went wrong
//! inside, never the sender's markup back; and what costs much is bounded.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

use std::{
    cell::RefCell,
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    time::Duration,
};

use api::{
    Services,
    routes::{self, Access, Endpoint},
};
use proptest::{
    prelude::*,
    test_runner::{Config, TestRunner},
};
use reqwest::Method;
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    auth::{
        Roles, api_key,
        jwt::{self, NewToken},
    },
    clock::Clock,
    config::{ApiConfig, AuthConfig, ChatConfig, DatabaseConfig, QueueConfig},
    db::Database,
    llm::Llm,
    pagination,
    search::Search,
};
use sqlx::AssertSqlSafe;
use tests::{
    JWT_SECRET, Settings, TestApp, TestDatabase,
    fixture::{self, Folder},
    processes::free_port,
    start_of_time,
};
use uuid::Uuid;

use crate::queue::support::Running;

/// Texts that break out of something: SQL, tsquery, HTML, headers, paths, templates, formats, encodings.
const HOSTILE: &[&str] = &[
    "",
    " ",
    "'",
    "\"",
    "\\",
    "\\'",
    "'; drop table articles; --",
    "1' or '1'='1",
    "x') union select password_hash from people --",
    "$1",
    "a & b | !c <-> (d:*",
    "':*",
    "!!!",
    "<->",
    "\"unclosed phrase",
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' autofocus onfocus='alert(1)",
    "</title><script>alert(1)</script>",
    "javascript:alert(1)",
    "{{7*7}}${7*7}<%= 7*7 %>",
    "%s%n%x",
    "../../../../etc/passwd",
    "..\\..\\windows",
    "\0",
    "a\0b",
    "\r\nset-cookie: x=y",
    "\u{1}\u{1b}[31m\u{7f}\u{85}",
    "\u{202e}\u{200b}\u{feff}\u{2028}",
    "\u{e000}open\u{e001}",
    "\u{fffd}\u{ffff}\u{10ffff}",
    "💥👩‍👩‍👧‍👦",
    "日本語の質問",
    "e\u{301}\u{301}\u{301}\u{301}",
    "İıſK",
    "null",
    "true",
    "NaN",
    "-1",
    "1e999",
    "99999999999999999999999999",
];

/// What cannot be written as a Rust string: percent escapes of bytes that are no UTF-8, or of nothing.
const ESCAPES: &[&str] = &[
    "%",
    "%zz",
    "%0",
    "%00",
    "%ff",
    "%c3%28",
    "%ed%a0%80",
    "%2e%2e%2f%2e%2e%2f",
    "%2f%2fevil.example",
    "%5c",
    "%25%32%66",
    "+",
    "%0d%0aset-cookie:x=y",
];

fn long() -> String {
    "long ".repeat(2_000)
}

fn hostile() -> Vec<String> {
    HOSTILE.iter().map(ToString::to_string).chain([long()]).collect()
}

/// Every byte that is not a letter or digit as a percent escape.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            write!(escaped, "%{byte:02x}").unwrap();
        }
        escaped
    })
}

/// A request, byte for byte as it is sent: a client library would mend it.
#[derive(Clone)]
struct Raw {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]);
        let path: String = self.path.chars().take(200).collect();
        write!(f, "{} {path} {:?} {body:?}", self.method, self.headers)
    }
}

impl Raw {
    fn new(method: &str, path: impl Into<String>) -> Self {
        let headers = vec![("host".to_owned(), "acme.localhost".to_owned())];
        Self { method: method.to_owned(), path: path.into(), headers, body: Vec::new() }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self.header("content-type", content_type)
    }

    fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\nconnection: close\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            write!(text, "{name}: {value}\r\n").unwrap();
        }
        if !self.headers.iter().any(|(name, _)| name == "content-length" || name == "transfer-encoding") {
            write!(text, "content-length: {}\r\n", self.body.len()).unwrap();
        }
        [text.as_bytes(), b"\r\n", &self.body].concat()
    }

    async fn send(&self, address: &str) -> Answer {
        exchange(address, self.bytes()).await.unwrap_or_else(|| panic!("no answer to {self:?}"))
    }
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// Writes bytes to the server and reads what comes back until it closes. `None`: it closed without an answer.
async fn exchange(address: &str, request: Vec<u8>) -> Option<Answer> {
    let address: SocketAddr = address.strip_prefix("http://").unwrap().parse().unwrap();
    let answer = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let _ = stream.write_all(&request); // it may have answered before the end
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer); // a reset comes after the answer
        answer
    });
    let answer = String::from_utf8_lossy(&answer.await.unwrap()).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers =
        lines.filter_map(|line| line.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    Some(Answer { status, headers, body: body.to_owned() })
}

/// What holds for every answer.
fn check(request: &Raw, answer: &Answer) {
    let path = request.path.split('?').next().unwrap();
    let shown = format!("{request:?}\nis answered {} {:?}\n{}", answer.status, answer.headers, answer.body);
    assert!(answer.status < 500, "{shown}");
    check_headers(answer, &shown);
    let is_for_programs = ["/api/", "/ws/", "/health/"].iter().any(|part| path.starts_with(part));
    if answer.status >= 400 && request.method != "HEAD" {
        if is_for_programs {
            check_problem(answer, &shown);
        } else {
            assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{shown}");
            assert!(answer.body.contains("</html>"), "{shown}");
        }
    }
    if answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
        for markup in ["<script>alert", "<img src=x", "onfocus='alert", "href=\"javascript:"] {
            assert!(!answer.body.contains(markup), "{shown}");
        }
    }
    assert!(answer.headers.iter().all(|(name, value)| name != "set-cookie" || value.starts_with("__Host-")), "{shown}");
}

fn check_problem(answer: &Answer, shown: &str) {
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{shown}");
    let problem = answer.json();
    let text = |name: &str| problem[name].as_str().unwrap_or_else(|| panic!("no {name}: {shown}"));
    assert_eq!(text("type"), format!("urn:problem:helpcenter:{}", text("code")), "{shown}");
    assert_eq!(problem["status"], answer.status, "{shown}");
    assert!(text("title").len() >= 5, "{shown}");
    let detail = text("detail");
    assert!(detail.chars().count() >= 20 && detail.ends_with(['.', '!', '?', '…']), "no sentence: {shown}");
    assert_eq!(Some(text("request_id")), answer.header("x-request-id"), "{shown}");
    assert!(Uuid::try_parse(text("request_id")).is_ok(), "{shown}");
    let members = if problem["code"] == "version_conflict" { 8 } else { 6 };
    assert_eq!(problem.as_object().unwrap().len(), members, "{shown}");
}

fn check_headers(answer: &Answer, shown: &str) {
    let policy = answer.header("content-security-policy").unwrap_or_else(|| panic!("no policy: {shown}"));
    assert!(policy.starts_with("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{shown}");
    assert!(!policy.contains("script-src 'unsafe") && !policy.contains('*'), "{shown}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(answer.header(name), Some(value), "{name}: {shown}");
    }
    for name in ["permissions-policy", "cache-control", "vary", "x-request-id"] {
        assert!(answer.header(name).is_some_and(|value| !value.is_empty()), "{name}: {shown}");
    }
    for name in ["server", "x-powered-by", "access-control-allow-origin"] {
        assert_eq!(answer.header(name), None, "{name}: {shown}");
    }
}

/// A help center with one article that everybody may read.
async fn help_center() -> (TestApp, String) {
    let app = TestApp::start().await;
    let acme = app.db.tenant("acme").await;
    let folder = Folder::of(&[("guides/page.md", &fixture::article("A page", "Text of the page, by the book."))]);
    fixture::import(&app.db, acme.id, &folder).await;
    app.run_jobs().await;
    // One that every route lets in.
    let new = api_key::NewApiKey {
        name: "machine".to_owned(),
        roles: Roles::none(),
        scopes: [api_key::SCOPE_MANAGE, api_key::SCOPE_OPERATE].map(str::to_owned).to_vec(),
        expires_at: None,
    };
    let mut tx = app.db.database.tenant(acme.id).await.unwrap();
    let created = api_key::create(&mut tx, &app.pepper(), &new, "test").await.unwrap();
    tx.commit().await.unwrap();
    (app, format!("Bearer {}", created.text))
}

/// The parameters of an endpoint's query.
fn parameters(path: &str) -> &'static [&'static str] {
    match path {
        "/api/v2/help-center/articles/" => {
            &["category", "tag", "difficulty", "locale", "sort", "order", "limit", "cursor"]
        }
        "/api/v2/help-center/contextual/" => &["url", "title", "limit"],
        "/api/v2/help-center/admin/searches/" => &["only", "limit", "cursor"],
        "/api/v2/help-center/assistant/conversations/{session_id}/" => &["format"],
        "/api/v2/help-center/admin/conversations/" => &["outcome", "reason", "helpful", "since", "limit", "cursor"],
        "/api/v2/help-center/admin/handovers/" => &["status", "limit", "cursor"],
        "/api/v2/help-center/admin/jobs/" => &["state", "queue", "job", "limit", "cursor"],
        "/api/v2/help-center/admin/articles/" => {
            &["status", "category", "tag", "locale", "author", "source", "title", "review", "sort", "limit", "cursor"]
        }
        "/api/v2/help-center/admin/articles/{id}/revisions/" | "/api/v2/help-center/admin/imports/" => {
            &["limit", "cursor"]
        }
        "/api/v2/help-center/admin/articles/{id}/diff/" | "/api/v2/help-center/admin/language-model/usage/" => {
            &["from", "to"]
        }
        "/api/v2/help-center/articles/{id}/vote/"
        | "/api/v2/help-center/articles/{id}/bookmark/"
        | "/api/v2/help-center/assistant/answers/{id}/"
        | "/api/v2/help-center/assistant/answers/{id}/cancel/" => &["session_id"],
        "/api/v2/help-center/bookmarks/" | "/api/v2/help-center/assistant/conversations/" => {
            &["session_id", "limit", "cursor"]
        }
        "/api/v2/help-center/admin/reports/" | "/api/v2/help-center/admin/suggestions/" => {
            &["status", "article_id", "limit", "cursor"]
        }
        "/api/v2/help-center/admin/audit-log/" => &["actor", "action", "subject", "limit", "cursor"],
        "/api/v2/help-center/admin/import/" => &["source", "default_category", "dry_run", "archive_removed"],
        "/api/v2/help-center/admin/assets/" => &["name"],
        "/categories/{slug}/" => &["cursor"],
        "/search/" | "/api/v2/help-center/search/suggestions/" => &["q"],
        "/sign-in/" => &["next"],
        "/api/v2/help-center/search/"
        | "/api/v2/help-center/search/{id}/clicks/"
        | "/api/v2/help-center/assistant/handovers/"
        | "/api/v2/help-center/assistant/memories/"
        | "/api/v2/help-center/assistant/memories/{id}/"
        | "/api/v2/help-center/admin/conversations/{id}/"
        | "/api/v2/help-center/admin/answers/{id}/"
        | "/api/v2/help-center/admin/handovers/{id}/"
        | "/api/v2/help-center/admin/people/{subject}/assistant/"
        | "/api/v2/help-center/assistant/"
        | "/api/v2/help-center/assistant/token/"
        | "/api/v2/help-center/assistant/answers/{id}/feedback/"
        | "/ws/help-center/chat/{session_id}/"
        | "/api/v2/help-center/admin/synonyms/"
        | "/api/v2/help-center/admin/synonyms/{id}/"
        | "/api/v2/help-center/admin/search-pins/"
        | "/api/v2/help-center/admin/contextual-rules/"
        | "/api/v2/help-center/admin/contextual-rules/{id}/"
        | "/api/v2/help-center/admin/language-model/"
        | "/api/v2/help-center/admin/reindex/"
        | "/api/v2/help-center/articles/{id}/"
        | "/api/v2/help-center/categories/"
        | "/api/v2/help-center/admin/jobs/{id}/"
        | "/api/v2/help-center/admin/jobs/{id}/events/"
        | "/api/v2/help-center/admin/jobs/retry/"
        | "/api/v2/help-center/admin/jobs/discard/"
        | "/api/v2/help-center/admin/jobs/cancel/"
        | "/api/v2/help-center/articles/{id}/view/"
        | "/api/v2/help-center/articles/{id}/reports/"
        | "/api/v2/help-center/suggestions/"
        | "/api/v2/help-center/admin/reports/{id}/"
        | "/api/v2/help-center/admin/suggestions/{id}/"
        | "/api/v2/help-center/admin/articles/bulk/"
        | "/api/v2/help-center/admin/articles/{id}/"
        | "/api/v2/help-center/admin/articles/{id}/status/"
        | "/api/v2/help-center/admin/articles/{id}/review/"
        | "/api/v2/help-center/admin/articles/{id}/revisions/{number}/"
        | "/api/v2/help-center/admin/articles/{id}/restore/"
        | "/api/v2/help-center/admin/categories/"
        | "/api/v2/help-center/admin/categories/order/"
        | "/api/v2/help-center/admin/categories/{id}/"
        | "/api/v2/help-center/admin/tags/"
        | "/api/v2/help-center/admin/tags/{id}/"
        | "/api/v2/help-center/admin/imports/{id}/"
        | "/api/v2/help-center/admin/export/"
        | "/assets/{hash}/{name}"
        | "/api/v2/help-center/admin/queues/"
        | "/api/v2/help-center/admin/queues/{name}/pause/"
        | "/api/v2/help-center/admin/queues/{name}/resume/"
        | "/api/v2/help-center/admin/schedule/"
        | "/api/openapi.json"
        | "/api/docs/"
        | "/api/docs/{file}"
        | "/health/live"
        | "/health/ready"
        | "/"
        | "/articles/{slug}/"
        | "/sign-out/"
        | "/assets/{file}" => &[],
        other => panic!("{other} is a new route: say here which parameters its query has"),
    }
}

/// Cursors that no list has made: of the wrong shape, and of times that PostgreSQL does not have.
fn cursors() -> Vec<String> {
    let id = Uuid::nil();
    let mut cursors = vec![
        "e30".to_owned(),
        "W10".to_owned(),
        "bnVsbA".to_owned(),
        pagination::encode(&("2026-01-01T00:00:00Z", "not an id")),
        pagination::encode(&("2026-13-01T00:00:00Z", id)),
        pagination::encode(&(0, id)),
        pagination::encode(&("2026-01-01T00:00:00Z", id, id)),
    ];
    for time in ["-262143-01-01T00:00:00Z", "-200000-01-01T00:00:00Z", "-4713-01-01T00:00:00Z", "0000-01-01T00:00:00Z"]
    {
        cursors.push(pagination::encode(&(time, id)));
    }
    for time in ["+262142-12-31T23:59:59Z", "+294277-01-01T00:00:00Z", "9999-12-31T23:59:60.999999999Z"] {
        cursors.push(pagination::encode(&(time, id)));
        cursors.push(pagination::encode(&(pagination::list_name(&["published", "desc"]), (json!({ "at": time }), id))));
    }
    // Of lists of articles, with places that no article has.
    for (sort, place) in [
        ("published", json!({ "read": 1 })),
        ("published", json!({ "at": null })),
        ("title", json!({ "titled": "a\0b" })),
        ("title", json!({ "titled": "x".repeat(5_000) })),
        ("views", json!({ "read": i64::MIN })),
        ("helpful", json!({ "voted": [i64::MAX, i64::MAX] })),
        ("helpful", json!({ "voted": [-1, 3] })),
        ("helpful", json!({ "voted": [0] })),
    ] {
        let order = if sort == "title" { "asc" } else { "desc" };
        let cursor = pagination::encode(&(pagination::list_name(&[sort, order]), (place, id)));
        cursors.push(format!("{cursor}&sort={sort}"));
    }
    cursors
}

/// Requests to an endpoint with something hostile in path, query or headers.
fn hostile_requests(endpoint: &Endpoint) -> Vec<Raw> {
    let method = endpoint.method.as_str();
    let plain = endpoint
        .path
        .replace("{id}", "page")
        .replace("{slug}", "page")
        .replace("{name}", "page")
        .replace("{session_id}", "page")
        .replace("{subject}", "page")
        .replace("{number}", "1")
        .replace("{session_id}", "page")
        .replace("{hash}", &"0".repeat(64))
        .replace("{file}", "x.css");
    let mut requests = vec![Raw::new(method, plain.as_str()), Raw::new("HEAD", plain.as_str())];
    if let Some((before, rest)) = endpoint.path.split_once('{') {
        let (_, after) = rest.split_once('}').unwrap();
        let segments = hostile().into_iter().map(|text| escaped(&text)).chain(ESCAPES.iter().map(ToString::to_string));
        let segments = segments.chain(["a".repeat(50_000), Uuid::now_v7().to_string(), format!("{{{}}}", Uuid::nil())]);
        requests.extend(segments.map(|segment| Raw::new(method, format!("{before}{segment}{after}"))));
    }
    let mut queries: Vec<String> =
        ["", "&&&", "=", "==&=", "?", "x", "x=1", "%", "%00", "%ff=%ff", "a[]=1&a[b]=2", "a;b"]
            .map(str::to_owned)
            .to_vec();
    for name in parameters(endpoint.path) {
        queries.extend(hostile().iter().map(|value| format!("{name}={}", escaped(value))));
        queries.extend(ESCAPES.iter().map(|value| format!("{name}={value}")));
        queries.push(format!("{name}=a&{name}=b"));
        queries.push(format!("{name}[]=a"));
    }
    for limit in [
        "0",
        "-1",
        "101",
        "1.5",
        "1e3",
        "0x10",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        " 1",
        "+1",
    ] {
        queries.push(format!("limit={}", escaped(limit)));
    }
    queries.extend(cursors().iter().map(|cursor| format!("cursor={cursor}")));
    requests.extend(queries.iter().map(|query| Raw::new(method, format!("{plain}?{query}"))));
    let request = || Raw::new(method, plain.as_str());
    for text in ["\u{e4}", "x".repeat(5_000).as_str(), "';--", "<script>alert(1)</script>", "=;=;==", "\"", "*/*;q=x"] {
        for name in [
            "accept",
            "accept-language",
            "cookie",
            "user-agent",
            "x-request-id",
            "traceparent",
            "x-forwarded-for",
            "if-none-match",
            "range",
            "origin",
            "expect",
        ] {
            requests.push(request().header(name, text));
        }
        requests.push(
            request().header("cookie", &format!("__Host-helpcenter-session={text}; __Host-helpcenter-form={text}")),
        );
    }
    for host in
        ["", "a", "[::1]", "acme.localhost:99999", "acme.localhost.", "';--", "a b", "ä", "x".repeat(5_000).as_str()]
    {
        let mut request = request();
        request.headers = vec![("host".to_owned(), host.to_owned())];
        requests.push(request);
    }
    requests.push(request().body("application/json", "{\"a body\": \"where none is read\"}"));
    requests
}

/// Bodies that are no JSON, not the JSON that is expected, or only nearly so.
const BODIES: &[&[u8]] = &[
    b"",
    b" ",
    b"null",
    b"[]",
    b"\"query\"",
    b"7",
    b"{",
    b"{}",
    b"{\"query\":}",
    b"{\"query\":\"page\"",
    b"{\"query\":\"page\"}}",
    b"{'query':'page'}",
    b"{\"query\":\"page\"}{\"query\":\"page\"}",
    b"\xef\xbb\xbf{\"query\":\"page\"}",
    b"{\"query\":\"page\",}",
    b"{\"query\":\"page\",\"query\":\"again\"}",
    b"{\"query\":\"page\",\"unknown\":1}",
    b"{\"Query\":\"page\"}",
    b"{\"query\":\"page\",\"limit\":1e999}",
    b"{\"query\":\"page\",\"limit\":01}",
    b"{\"query\":\"page\",\"limit\":NaN}",
    b"{\"query\":\"\\ud800\"}",
    b"{\"query\":\"\\udc00\\ud800 page\"}",
    b"{\"query\":\"\\u0000\\u0000\"}",
    b"{\"query\":\"a\0b page\"}",
    b"{\"query\":\"a\nb\"}",
    b"{\"\":\"\"}",
    b"{\"__proto__\":{\"a\":1},\"query\":\"page\"}",
    b"\xff\xfe{\"query\":\"page\"}",
    b"{\"query\":\"\xff\xfe\xfd\"}",
    b"{\"query\":\"\xed\xa0\x80 page\"}",
    b"\0\0\0",
    b"email",
    b"=",
    b"&&&",
    b"\xff=\xfe",
    b"email=a&email=b&password=c",
];

/// Types that a body may claim to be of.
const CONTENT_TYPES: &[&str] = &[
    "",
    "json",
    "a/b/c",
    "text/plain",
    "application/xml",
    "application/json",
    "application/jsonp",
    "application/json, text/plain",
    "multipart/form-data; boundary=x",
    "application/x-www-form-urlencoded",
];

/// Requests with a body that is hostile in itself.
fn hostile_bodies(endpoint: &Endpoint) -> Vec<Raw> {
    if ["/bookmark/", "/assistant/token/", "/answers/{id}/cancel/"].iter().any(|end| endpoint.path.ends_with(end)) {
        return Vec::new(); // They read no body.
    }
    let (mut bodies, own_type): (Vec<Vec<u8>>, _) = match endpoint.path {
        "/api/v2/help-center/search/" => (searches(), "application/json"),
        "/sign-in/" | "/sign-out/" => (forms(), "application/x-www-form-urlencoded"),
        path if path.starts_with("/api/v2/help-center/admin/jobs/") => (selections(), "application/json"),
        // These read no body.
        path if path.starts_with("/api/v2/help-center/admin/queues/") => (vec![], "application/json"),
        "/api/v2/help-center/admin/import/" => (files(), "application/zip"),
        "/api/v2/help-center/admin/assets/" => (files(), "application/octet-stream"),
        other => {
            let body = ordinary_body(endpoint);
            let body = body.unwrap_or_else(|| panic!("{other} is a new route with a body: say here what it is sent"));
            (with_each_field(&body, |field| has_field(endpoint, field)), "application/json")
        }
    };
    bodies.extend(BODIES.iter().map(|body| body.to_vec()));
    bodies.extend(["x".repeat(70_000).into_bytes(), "[".repeat(60_000).into_bytes()]);
    let path = endpoint.path.replace("{name}", "page").replace("{id}", &Uuid::nil().to_string());
    let post = |kind: &str, body: Vec<u8>| Raw::new(endpoint.method.as_str(), path.as_str()).body(kind, body);
    let mut requests: Vec<Raw> = bodies.into_iter().map(|body| post(own_type, body)).collect();
    for kind in CONTENT_TYPES {
        requests.extend([post(kind, b"{\"query\":\"page\"}".to_vec()), post(kind, b"email=a&password=b".to_vec())]);
    }
    requests.push(post(own_type, b"{\"query\":\"page\"}".to_vec()).header("content-encoding", "gzip"));
    // What is read as it comes is read once the caller is known, and the connection ends with a body that is no HTTP.
    if !own_type.starts_with("application/zip") && !own_type.starts_with("application/octet-stream") {
        requests.push(post(own_type, b"{\"query\":\"page\"}".to_vec()).header("transfer-encoding", "chunked"));
    }
    requests
}

/// Files that are nearly archives or images.
fn files() -> Vec<Vec<u8>> {
    let beginnings: [&[u8]; 6] = [b"PK\x03\x04", b"PK\x05\x06", b"\x89PNG\r\n\x1a\n", b"<svg", b"GIF89a", b"%PDF-1.7"];
    beginnings.iter().flat_map(|bytes| [bytes.to_vec(), [*bytes, &[0; 10_000]].concat()]).collect()
}

/// Selections of jobs with every field of every type and form. None of them means a job that exists.
fn selections() -> Vec<Vec<u8>> {
    let mut values: Vec<Value> = hostile().iter().flat_map(|text| [json!(text), json!([text])]).collect();
    let others = json!([
        null, false, 7, -1, 1.5, 1e300, i64::MIN, u64::MAX, [], {}, [null], [[]], [{}], { "$ne": 1 }, [Uuid::nil()],
        vec![Uuid::nil(); 1000], vec![Uuid::nil(); 1001], "x".repeat(60_000),
    ]);
    values.extend(others.as_array().unwrap().clone());
    let mut bodies = Vec::new();
    for field in ["ids", "all", "queue", "job", "tenant_id", "state"] {
        for value in &values {
            for job in ["embed_article", "';--"] {
                let mut body = json!({ "ids": [Uuid::nil()], "job": job });
                body[field] = value.clone();
                bodies.push(body.to_string().into_bytes());
            }
        }
    }
    bodies.extend(
        [r#"{"all":true,"ids":[]}"#, r#"{"all":false}"#, "{}", r#"{"all":true,"queue":"no such"}"#].map(Into::into),
    );
    bodies
}

/// Whether the body of an endpoint has a field, by the OpenAPI document.
fn has_field(endpoint: &Endpoint, field: &str) -> bool {
    let document: Value = serde_json::from_str(api::openapi::json()).unwrap();
    let method = endpoint.method.as_str().to_lowercase();
    let body =
        &document["paths"][endpoint.path][method]["requestBody"]["content"]["application/json"]["schema"]["$ref"];
    let schema = document.pointer(body.as_str().unwrap().trim_start_matches('#')).unwrap();
    !schema["properties"][field].is_null()
}

/// Every field that a body about articles, categories, tags or what readers leave has somewhere, as it should be.
fn fields() -> Vec<(&'static str, Value)> {
    let texts = ["title", "summary", "content", "note", "name", "description", "comment", "details"];
    let mut fields: Vec<(&str, Value)> = texts.map(|name| (name, json!("A"))).to_vec();
    fields.extend([
        ("slug", json!("a")),
        ("category_id", json!(null)),
        ("parent_id", json!(null)),
        ("article_id", json!(null)),
        ("tags", json!(["a"])),
        ("difficulty", json!("BEGINNER")),
        ("target_roles", json!(["all"])),
        ("locale", json!("en")),
        ("translation_of", json!(null)),
        ("review_due_on", json!("2026-06-01")),
        ("related", json!([])),
        ("version", json!(1)),
        ("status", json!("DRAFT")),
        ("publish_at", json!("2027-01-01T00:00:00Z")),
        ("revision", json!(1)),
        ("action", json!("archive")),
        ("article_ids", json!([Uuid::nil()])),
        ("add_tags", json!([])),
        ("icon", json!("star")),
        ("color", json!("#1a2b3c")),
        ("is_active", json!(true)),
        ("ids", json!([])),
        ("helpful", json!(true)),
        ("kind", json!("OUTDATED")),
        ("reason", json!("policy")),
        ("answer_id", json!(null)),
        ("session_id", json!("a session of its own")),
        ("position", json!(1)),
        ("part", json!("all")),
        ("terms", json!(["a", "b"])),
        ("query", json!("page")),
        ("url", json!("https://app.example.com/page")),
        ("current_url", json!("https://app.example.com/page")),
        ("pattern", json!("/projects/:id/billing")),
        ("priority", json!(1)),
        ("provider", json!("extractive")),
        ("base_url", json!("https://8.8.8.8/v1")),
        ("model", json!("a-model")),
        ("api_key", json!(null)),
        ("price_input", json!(0.15)),
        ("price_output", json!(0.6)),
        ("daily_budget_usd", json!(5)),
        ("daily_budget_tokens", json!(1)),
    ]);
    fields
}

/// A body with each field as it should be, and with values that it should not have. Fields that the endpoint does not know are
/// all refused alike: two values are enough.
fn with_each_field(body: &Value, known: impl Fn(&str) -> bool) -> Vec<Vec<u8>> {
    let mut values: Vec<Value> = hostile().iter().flat_map(|text| [json!(text), json!([text])]).collect();
    let others = json!([
        null, false, 7, -1, 1.5, 1e300, i64::MIN, u64::MAX, [], {}, [null], [[]], { "$ne": 1 }, [Uuid::nil()],
        vec!["x"; 60], "x".repeat(60_000), "2026-02-30", "9999-12-31T23:59:59Z", "+262142-12-31T23:59:59Z",
    ]);
    values.extend(others.as_array().unwrap().clone());
    let mut bodies = Vec::new();
    for (field, ordinary) in fields() {
        let values = if known(field) { &values[..] } else { &values[..1] };
        for value in values.iter().chain([&ordinary]) {
            let mut body = body.clone();
            body[field] = value.clone();
            bodies.push(body.to_string().into_bytes());
        }
    }
    bodies
}

/// Searches with every field of every type and form.
fn searches() -> Vec<Vec<u8>> {
    let mut values: Vec<Value> = hostile().iter().flat_map(|text| [json!(text), json!([text])]).collect();
    let others = json!([
        null, true, 7, -1, 0, 51, 1.5, 1e300, i64::MAX, i64::MIN, u64::MAX, [], {}, [null], [[]], [{}], { "$ne": 1 },
        vec!["x"; 20], vec!["x"; 21], "x".repeat(501), "x".repeat(60_000),
    ]);
    values.extend(others.as_array().unwrap().clone());
    let mut bodies = Vec::new();
    for field in ["query", "limit", "category", "tags", "difficulty", "locale", "session_id"] {
        for value in &values {
            let mut body = json!({ "query": "page" });
            body[field] = value.clone();
            bodies.push(body.to_string().into_bytes());
        }
    }
    let nested = |open: &str, close: &str| [open.repeat(10_000), close.repeat(10_000)].concat();
    bodies.extend([
        nested("[", "]").into(),
        nested("{\"query\":", "}")[..60_000].into(),
        format!("{{\"query\":{}}}", nested("[", "]")).into(),
        format!("{{\"query\":\"page\",\"tags\":{}}}", nested("[", "]")).into(),
        format!("{{\"query\":\"page\",\"other\":{}}}", nested("[", "]")).into(),
    ]);
    bodies
}

/// Forms with each field of every form.
fn forms() -> Vec<Vec<u8>> {
    let fields = ["email", "password", "next", "csrf_token"];
    let values: Vec<String> =
        hostile().iter().map(|text| escaped(text)).chain(ESCAPES.iter().map(ToString::to_string)).collect();
    let mut bodies = Vec::new();
    for field in fields {
        for value in &values {
            let pairs = fields.map(|name| format!("{name}={}", if name == field { value } else { "x" }));
            bodies.push(pairs.join("&").into_bytes());
        }
    }
    bodies
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_addresses_and_headers_are_answered_like_any_other() {
    let (app, token) = help_center().await;
    for endpoint in routes::table() {
        for request in hostile_requests(&endpoint) {
            for request in [request.clone().header("authorization", &token), request] {
                check(&request, &request.send(&app.url).await);
            }
        }
    }
    the_help_center_is_unharmed(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_bodies_are_answered_like_any_other() {
    let (app, token) = help_center().await;
    let worker = Running::start(app.worker()); // what is a question after all is answered
    for endpoint in
        routes::table().iter().filter(|endpoint| ["POST", "PUT", "PATCH"].contains(&endpoint.method.as_str()))
    {
        for request in hostile_bodies(endpoint) {
            let with = request.clone().header("authorization", &token);
            let answer = with.send(&app.url).await;
            check(&with, &answer);
            if endpoint.access != Access::Open {
                let expected: &[u16] = &[200, 201, 202, 204, 400, 403, 404, 409, 413, 415, 428];
                assert!(expected.contains(&answer.status), "{with:?}: {}", answer.status);
                let without = request.send(&app.url).await;
                check(&request, &without);
                assert!([400, 401, 413, 415].contains(&without.status), "{request:?}: {}", without.status);
            }
        }
    }
    the_help_center_is_unharmed(&app).await;
    worker.stop().await;
}

/// The same requests through the form that the server gave out, so that they get past the check of its token.
#[tokio::test(flavor = "multi_thread")]
async fn hostile_texts_in_a_real_form_are_answered_like_any_other() {
    let (app, _) = help_center().await;
    let page = Raw::new("GET", "/sign-in/").send(&app.url).await;
    let cookie = page.header("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let csrf = page.body.split_once("name=\"csrf_token\" value=\"").unwrap().1.split('"').next().unwrap().to_owned();
    for field in ["email", "next"] {
        for text in hostile() {
            let mut body = format!("csrf_token={csrf}&password=not+the+password");
            for name in ["email", "next"] {
                write!(body, "&{name}={}", if name == field { escaped(&text) } else { "x".to_owned() }).unwrap();
            }
            let form = "application/x-www-form-urlencoded";
            let request = Raw::new("POST", "/sign-in/").header("cookie", &cookie).body(form, body);
            let answer = request.send(&app.url).await;
            check(&request, &answer);
            assert_eq!(answer.status, 422, "{request:?}");
        }
    }
}

async fn the_help_center_is_unharmed(app: &TestApp) {
    let token = app.token("acme", &[]);
    assert_eq!(app.search_titles(&token, "page").await, ["A page"]);
    let (_, listed) = app.get("/api/v2/help-center/articles/", &token).await;
    assert_eq!(listed["results"].as_array().unwrap().len(), 1, "{listed}");
}

#[tokio::test]
async fn a_method_that_an_address_does_not_have_is_refused_with_those_that_it_has() {
    let (app, token) = help_center().await;
    for endpoint in routes::table() {
        let path = endpoint
            .path
            .replace("{id}", "page")
            .replace("{slug}", "page")
            .replace("{name}", "page")
            .replace("{number}", "1")
            .replace("{session_id}", "page")
            .replace("{file}", "x.css");
        let allowed: Vec<String> = routes::table()
            .iter()
            .filter(|other| other.path == endpoint.path)
            .flat_map(|other| if other.method == "GET" { vec!["GET", "HEAD"] } else { vec![other.method.as_str()] })
            .map(str::to_owned)
            .collect();
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get", "BREW"] {
            let request = Raw::new(method, path.as_str()).header("authorization", &token);
            let answer = request.send(&app.url).await;
            check(&request, &answer);
            let is_allowed = allowed.iter().any(|allowed| allowed == method);
            assert_eq!(answer.status != 405, is_allowed, "{request:?}: {}", answer.status);
            if !is_allowed {
                assert_eq!(answer.header("allow"), Some(allowed.join(", ").as_str()), "{request:?}");
            }
        }
    }
}

#[tokio::test]
async fn addresses_that_nothing_knows_are_not_found_in_the_language_of_their_part() {
    let (app, token) = help_center().await;
    for path in [
        "/api/",
        "/api/v1/",
        "/api/v2/help-center/",
        "/api/v2/help-center/articles/page/versions/",
        "/api/v2/help-center//articles/",
        "/health/",
        "/metrics",
        "/metrics/",
        "/.env",
        "/.git/config",
        "/admin/",
        "/wp-login.php",
        "/articles/",
        "/articles/a/b/",
        "/static/../assets/site.css",
        "/assets/",
        "/assets/../site.css",
        "/%2e%2e/etc/passwd",
        "/%",
        "/%c3%a4",
        "//",
        "//evil.example/..",
        "/api",
    ] {
        let request = Raw::new("GET", path).header("authorization", &token);
        let answer = request.send(&app.url).await;
        check(&request, &answer);
        assert_eq!(answer.status, 404, "{path}");
    }
}

#[tokio::test]
async fn an_address_without_its_last_slash_leads_to_the_one_with_it_on_this_site() {
    let (app, _) = help_center().await;
    for (path, expected) in [
        ("/api/v2/help-center/search", "/api/v2/help-center/search/"),
        ("/articles/page?a=b&c=%20", "/articles/page/?a=b&c=%20"),
        ("/articles/%0d%0aset-cookie:x=y", "/articles/%0d%0aset-cookie:x=y/"),
        ("/articles/%2f%2fevil.example", "/articles/%2f%2fevil.example/"),
        ("/articles/%3Cscript%3Ealert(1)", "/articles/%3Cscript%3Ealert(1)/"),
        ("/sign-in?next=//evil.example", "/sign-in/?next=//evil.example"),
    ] {
        let request = Raw::new("GET", path);
        let answer = request.send(&app.url).await;
        check(&request, &answer);
        assert_eq!((answer.status, answer.header("location")), (308, Some(expected)), "{path}");
    }
}

#[tokio::test]
async fn a_body_of_ten_megabytes_is_refused_before_it_is_read() {
    let (app, token) = help_center().await;
    for (path, kind) in
        [("/api/v2/help-center/search/", "application/json"), ("/sign-in/", "application/x-www-form-urlencoded")]
    {
        let request = Raw::new("POST", path).header("authorization", &token);
        // Announced: refused at once, without waiting for it.
        let announced = request.clone().body(kind, "x=").header("content-length", "10485760");
        let answer = announced.send(&app.url).await;
        check(&announced, &answer);
        assert_eq!(answer.status, 413, "{path}");
        // In pieces, without saying how long it will be.
        let mut chunked = request.body(kind, "").header("transfer-encoding", "chunked");
        let piece = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
        chunked.body = [piece.repeat(160), b"0\r\n\r\n".to_vec()].concat();
        let answer = chunked.send(&app.url).await;
        check(&chunked, &answer);
        assert_eq!(answer.status, 413, "{path}");
    }
    the_help_center_is_unharmed(&app).await;
}

#[tokio::test]
async fn what_is_no_http_is_refused_and_harms_nobody() {
    let (app, _) = help_center().await;
    let long = "x".repeat(300_000);
    let many = "x: y\r\n".repeat(5_000);
    let end = "host: acme.localhost\r\nconnection: close\r\n\r\n";
    let mut requests: Vec<Vec<u8>> = [
        "GET /articles/<script>alert(1)</script>/ HTTP/1.1\r\n",
        "GET /\u{e4} HTTP/1.1\r\n",
        "GET  HTTP/1.1\r\n",
        "GET / HTTP/9.9\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n",
        "GET / HTTP/1.1\r\nx: \0\r\n",
        "GET / HTTP/1.1\r\nx: \u{1}\r\n",
        "GET / HTTP/1.1\r\nhost: b\r\n",
        "GET http://evil.example/api/openapi.json HTTP/1.1\r\n",
        "GET * HTTP/1.1\r\n",
        "OPTIONS * HTTP/1.1\r\n",
        "CONNECT evil.example:443 HTTP/1.1\r\n",
        "PRI * HTTP/2.0\r\n",
        "POST /sign-in/ HTTP/1.1\r\ncontent-length: -1\r\n",
        "POST /sign-in/ HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n",
        "POST /sign-in/ HTTP/1.1\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n",
        "POST /sign-in/ HTTP/1.1\r\ncontent-length: 18446744073709551616\r\n",
    ]
    .map(|request| format!("{request}{end}").into_bytes())
    .to_vec();
    requests.extend([
        b"".to_vec(),
        b"\r\n\r\n".to_vec(),
        b"\0\0\0\0".to_vec(),
        b"GET /articles/\xff\xfe/ HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n".to_vec(),
        format!("POST /sign-in/ HTTP/1.1\r\ntransfer-encoding: chunked\r\n{end}zz\r\n").into_bytes(),
        format!("POST /sign-in/ HTTP/1.1\r\ntransfer-encoding: chunked\r\n{end}ffffffffffffffffff\r\n").into_bytes(),
        format!("GET /{long} HTTP/1.1\r\n{end}").into_bytes(),
        format!("GET / HTTP/1.1\r\nx: {long}\r\n{end}").into_bytes(),
        format!("GET / HTTP/1.1\r\n{many}{end}").into_bytes(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), // TLS
    ]);
    // All at once: some are not at their end, so the server waits for more, and gives them up after a while.
    let answers = requests.iter().map(|request| exchange(&app.url, request.clone()));
    for (request, answer) in requests.iter().zip(futures::future::join_all(answers).await) {
        if let Some(answer) = answer {
            let shown = String::from_utf8_lossy(&request[..request.len().min(100)]);
            assert!(answer.status < 500, "{shown:?}: {}", answer.status);
        }
    }
    the_help_center_is_unharmed(&app).await;
}

#[tokio::test]
async fn filters_are_words_of_a_list_or_values_never_a_piece_of_sql() {
    let (app, token) = help_center().await;
    let token = token.strip_prefix("Bearer ").unwrap();
    // From a list: nothing else is taken.
    for difficulty in ["EASY", "BEGINNER,ADVANCED", "BEGINNER'--", "BEGINNER; select 1", ""] {
        let query = format!("/api/v2/help-center/articles/?difficulty={}", escaped(difficulty));
        assert_eq!(app.get(&query, token).await.0, 400, "{difficulty}");
        let body = json!({ "query": "page", "difficulty": difficulty });
        assert_eq!(app.post("/api/v2/help-center/search/", token, &body).await.0, 400, "{difficulty}");
    }
    for (name, value) in [
        ("sort", "title desc"),
        ("sort", "a.title_key"),
        ("sort", "TITLE"),
        ("order", "asc nulls last"),
        ("order", "1"),
    ] {
        let query = format!("/api/v2/help-center/articles/?{name}={}", escaped(value));
        assert_eq!(app.get(&query, token).await.0, 400, "{name}={value}");
    }
    // There is no such thing.
    for name in ["order_by", "ordering", "filter", "where", "fields"] {
        let (status, _) = app.get(&format!("/api/v2/help-center/articles/?{name}=title"), token).await;
        assert_eq!(status, 400, "{name}");
    }
    for name in ["sort", "order", "order_by", "ordering", "filter", "where", "fields"] {
        let body = json!({ "query": "page", name: "title" });
        assert_eq!(app.post("/api/v2/help-center/search/", token, &body).await.0, 400, "{name}");
    }
    // Values: what nobody has matches nothing, whatever is in it.
    for value in
        ["' or '1'='1", "guides' or 1=1 --", "%", "_uides", "guides;", "{guides}", "guides,other", "*", "GUIDES"]
    {
        for name in ["category", "tag", "locale"] {
            let (status, found) =
                app.get(&format!("/api/v2/help-center/articles/?{name}={}", escaped(value)), token).await;
            assert_eq!((status.as_u16(), &found["results"]), (200, &json!([])), "{name}={value}");
            let body = if name == "tag" {
                json!({ "query": "page", "tags": [value] })
            } else {
                json!({ "query": "page", name: value })
            };
            let (status, found) = app.post("/api/v2/help-center/search/", token, &body).await;
            assert_eq!((status.as_u16(), &found["total"]), (200, &json!(0)), "{name}={value}");
        }
    }
    the_help_center_is_unharmed(&app).await;
}

/// Characters with those more often that mean something to a parser on the way.
fn characters() -> impl Strategy<Value = char> {
    let one_of = |text: &str| prop::sample::select(text.chars().collect::<Vec<_>>());
    let operators = "'\"\\&|!()<->:*%_$;?#/{}[]`~^@,.+-= \t\n\r\0";
    let scripts = "aeioäößİ日本語ابتعдж👩🏽\u{301}\u{200d}\u{fe0f}\u{202e}\u{e000}\u{e001}\u{ffff}";
    prop_oneof![3 => any::<char>(), 2 => one_of(operators), 1 => one_of(scripts), 2 => prop::char::range('a', 'z')]
}

#[test]
fn any_unicode_is_a_query() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (app, token) = runtime.block_on(help_center());
    let token = token.strip_prefix("Bearer ").unwrap();
    let texts = prop::collection::vec(characters(), 2..=500).prop_map(String::from_iter);
    let config = Config { cases: 200, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&texts, |text| {
        // White space at both ends does not count, and control characters are white space.
        let settled: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let expected = if settled.trim().chars().count() >= 2 { 200 } else { 400 };
        let body = json!({ "query": text });
        let (status, found) = runtime.block_on(async { app.post("/api/v2/help-center/search/", token, &body).await });
        prop_assert_eq!(status.as_u16(), expected, "{}", found);
        if expected == 200 {
            prop_assert_eq!(&found["degraded"], &json!([]), "the model, too, reads anything");
        }
        let page = format!("/search/?q={}", escaped(&text));
        let page = runtime.block_on(async { app.request(Method::GET, &page).bearer_auth(token).send().await }).unwrap();
        prop_assert_eq!(page.status().as_u16(), 200);
        Ok(())
    });
    result.unwrap();
    runtime.block_on(async { drop(app) });
}

/// Whether the lexemes stay what they are in a query that is built from them: as many operands as lexemes, each of them
/// found by itself, and nothing else.
async fn stays_one_operand_each(connection: &mut sqlx::PgConnection, lexemes: &[String]) -> Result<(), String> {
    let (nodes, all, each, other): (i32, bool, bool, bool) = sqlx::query_as(
        "select numnode(any_lexeme($1)), array_to_tsvector($1) @@ any_lexeme($1),
                (select bool_and(array_to_tsvector(array[l]) @@ any_lexeme($1)) from unnest($1) as l),
                array_to_tsvector(array['something', 'else', 'a', 'b', 'x']) @@ any_lexeme($1)",
    )
    .bind(lexemes)
    .fetch_one(connection)
    .await
    .map_err(|error| format!("{lexemes:?}: {error}"))?;
    let expected = i32::try_from(2 * lexemes.len() - 1).unwrap();
    if (nodes, all, each, other) == (expected, true, true, false) {
        Ok(())
    } else {
        Err(format!("{lexemes:?}: {nodes} nodes instead of {expected}, found {all}, each {each}, another {other}"))
    }
}

#[tokio::test]
async fn a_lexeme_stays_one_operand_whatever_it_holds() {
    let db = TestDatabase::create().await;
    let mut owner = db.owner().await;
    let hostile: Vec<String> = [
        "plain",
        "a' | 'b",
        "a | b",
        "a & b",
        "!c",
        "!!",
        "(d)",
        ")",
        "e:*",
        "e:*A",
        "f:ABCD",
        "g <-> h",
        "<2>",
        "'",
        "''",
        "'''",
        "\\",
        "\\\\",
        "\\'",
        "'\\",
        "'\\''",
        "\\n",
        "a\nb",
        "a\tb",
        " i",
        "i ",
        "'x",
        "x'",
        "x\\",
        "\"quoted\"",
        "--",
        "/*",
        ";",
        "$1",
        "%s",
        "日本",
        "💥",
        "\u{e000}",
        "\u{1}",
        "\u{a0}",
        "\u{feff}",
        ":",
        "*",
        "&",
        "|",
        "null",
        "NULL",
    ]
    .map(str::to_owned)
    .to_vec();
    for lexeme in &hostile {
        stays_one_operand_each(&mut owner, std::slice::from_ref(lexeme)).await.unwrap();
    }
    stays_one_operand_each(&mut owner, &hostile).await.unwrap();
    let longest = "x".repeat(2046);
    stays_one_operand_each(&mut owner, &[longest]).await.unwrap();
    let none: Option<String> = sqlx::query_scalar("select any_lexeme('{}')::text").fetch_one(&mut owner).await.unwrap();
    assert_eq!(none, None);
}

#[test]
fn any_text_as_a_lexeme_stays_one_operand() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let db = runtime.block_on(TestDatabase::create());
    let owner = RefCell::new(runtime.block_on(db.owner()));
    let lexeme = prop::collection::vec(characters().prop_filter("PostgreSQL cannot store it", |c| *c != '\0'), 1..40)
        .prop_map(String::from_iter)
        .prop_filter("the check looks for it", |text| !["something", "else", "a", "b", "x"].contains(&text.as_str()));
    let lexemes = prop::collection::btree_set(lexeme, 1..10).prop_map(|set| set.into_iter().collect::<Vec<_>>());
    let config = Config { cases: 300, failure_persistence: None, ..Config::default() };
    let result = TestRunner::new(config).run(&lexemes, |lexemes| {
        let checked = runtime.block_on(stays_one_operand_each(&mut owner.borrow_mut(), &lexemes));
        checked.map_err(TestCaseError::fail)
    });
    result.unwrap();
}

#[tokio::test]
async fn a_query_of_many_words_costs_no_more_than_its_rarest_64() {
    let app = TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
    let acme = app.db.tenant("acme").await;
    // A hundred articles, each with a word of its own; three letters each, so that a query holds all of them.
    let words: Vec<String> =
        (0..100u8).map(|n| format!("{}{}q", char::from(b'b' + n / 10), char::from(b'b' + n % 10))).collect();
    let files: Vec<(String, String)> =
        words.iter().map(|w| (format!("{w}.md"), fixture::article(&format!("Title {w}"), w))).collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let report = fixture::import(&app.db, acme.id, &Folder::of(&files)).await;
    assert_eq!(report.created, 100, "{report:?}");
    let token = app.token("acme", &[]);
    let search = async |query: String| {
        assert!(query.chars().count() <= 500);
        let body = json!({ "query": query, "limit": 50 });
        let (status, found) = app.post("/api/v2/help-center/search/", &token, &body).await;
        assert_eq!(status, 200, "{found}");
        found["total"].as_u64().unwrap()
    };
    assert_eq!(search(words[..60].join(" ")).await, 60);
    assert_eq!(search(words.join(" ")).await, 64);
    // A word that is in every article adds nothing to the candidates of a rare one, and is answered by itself.
    assert_eq!(search("title".to_owned()).await, 100, "each arm contributes its best hundred");
    // The same word a hundred times is one.
    assert_eq!(search(format!("{} ", words[0]).repeat(100)).await, 1);
    let (status, _) = app.post("/api/v2/help-center/search/", &token, &json!({ "query": "x".repeat(501) })).await;
    assert_eq!(status, 400);
    app.run_jobs().await;
}

// When something is away

/// Words that would tell a stranger about the inside.
const INSIDE: &[&str] = &[
    "postgres",
    "sqlx",
    "geheim",
    "nobody",
    "127.0.0.1",
    "connection",
    "refused",
    "pool",
    "timed out",
    "timeout",
    "os error",
    "fatal",
    "accepting",
    "relation",
    "does not exist",
    "42p01",
    "column",
    "panicked",
    "src/",
    ".rs:",
    "backtrace",
    "select ",
    "test_",
];

/// What an endpoint that reads JSON is sent.
fn ordinary_body(endpoint: &Endpoint) -> Option<Value> {
    let path = endpoint.path.strip_prefix("/api/v2/help-center/")?;
    Some(match (endpoint.method.as_str(), path) {
        ("GET" | "DELETE", _)
        | (
            _,
            "articles/{id}/bookmark/"
            | "admin/import/"
            | "admin/assets/"
            | "assistant/token/"
            | "assistant/answers/{id}/cancel/",
        ) => return None,
        (_, "assistant/handovers/") => json!({ "session_id": "page" }),
        (_, "admin/handovers/{id}/") => json!({ "status": "closed" }),
        (_, "search/" | "assistant/") => json!({ "query": "page" }),
        (_, "assistant/answers/{id}/feedback/") => json!({ "helpful": true }),
        (_, "search/{id}/clicks/") => json!({ "article_id": Uuid::nil(), "position": 1 }),
        (_, "admin/reindex/") => json!({ "part": "all" }),
        (_, "admin/language-model/") => json!({ "daily_budget_tokens": 1 }),
        (_, "admin/search-pins/") => json!({ "query": "page", "article_ids": [] }),
        (_, path) if path.starts_with("admin/synonyms/") => json!({ "terms": ["a", "b"] }),
        (_, path) if path.starts_with("admin/contextual-rules/") => {
            json!({ "pattern": "/settings/*", "article_ids": [Uuid::nil()] })
        }
        (_, "articles/{id}/view/") => json!({ "url": "https://app.example.com/page" }),
        (_, "articles/{id}/vote/") => json!({ "helpful": true }),
        (_, "articles/{id}/reports/") => json!({ "kind": "OUTDATED" }),
        (_, "admin/articles/bulk/") => json!({ "action": "archive", "article_ids": [Uuid::nil()] }),
        (_, "admin/articles/{id}/status/") => json!({ "status": "DRAFT", "version": 1 }),
        (_, "admin/articles/{id}/restore/") => json!({ "revision": 1, "version": 1 }),
        (_, "admin/categories/order/") => json!({ "ids": [] }),
        (_, "admin/reports/{id}/" | "admin/suggestions/{id}/") => json!({ "status": "OPEN" }),
        ("POST", "admin/articles/" | "suggestions/") => json!({ "title": "A" }),
        (_, path) if path.starts_with("admin/articles/") => json!({ "version": 1 }),
        (_, path) if path.starts_with("admin/jobs/") => json!({ "ids": [Uuid::nil()] }),
        (_, path) if path.starts_with("admin/queues/") => json!({}),
        _ => json!({ "name": "A" }),
    })
}

/// What an endpoint is asked with.
fn ordinary(endpoint: &Endpoint, token: &str) -> Raw {
    let path = endpoint
        .path
        .replace("{id}", "page")
        .replace("{slug}", "page")
        .replace("{name}", "page")
        .replace("{session_id}", "page")
        .replace("{subject}", "page")
        .replace("{number}", "1")
        .replace("{session_id}", "page")
        .replace("{hash}", &"0".repeat(64))
        .replace("{file}", "index.html");
    let request = Raw::new(endpoint.method.as_str(), path).header("authorization", token);
    if let Some(body) = ordinary_body(endpoint) {
        let path = endpoint.path.replace("{id}", &Uuid::nil().to_string()).replace("{name}", "page");
        return Raw { path, ..request.body("application/json", body.to_string()) };
    }
    match (endpoint.path, endpoint.method.as_str()) {
        ("/api/v2/help-center/admin/articles/{id}/diff/", _) => {
            Raw { path: format!("{}?from=1&to=1", request.path.replace("page", &Uuid::nil().to_string())), ..request }
        }
        ("/api/v2/help-center/contextual/", _) => Raw { path: format!("{}?url=/page", request.path), ..request },
        ("/search/" | "/api/v2/help-center/search/suggestions/", _) => {
            Raw { path: format!("{}?q=page", request.path), ..request }
        }
        ("/api/v2/help-center/admin/import/", _) => {
            request.body("application/zip", [&b"PK\x05\x06"[..], &[0; 18]].concat())
        }
        ("/api/v2/help-center/admin/assets/", _) => request.body("application/octet-stream", "<svg/>"),
        (_, "POST") => request.body("application/x-www-form-urlencoded", "email=a&password=b&csrf_token=x"),
        _ => request,
    }
}

/// Whether an endpoint answers without the database.
fn needs_database(endpoint: &Endpoint) -> bool {
    let open = ["/api/openapi.json", "/api/docs/", "/api/docs/{file}", "/health/live", "/assets/{file}", "/sign-out/"];
    // What asks for no socket is told so.
    endpoint.access != Access::Socket && !open.contains(&endpoint.path)
}

fn check_opaque(request: &Raw, answer: &Answer, expected: (u16, &str)) {
    let shown = format!("{request:?}\nis answered {} {:?}\n{}", answer.status, answer.headers, answer.body);
    assert_eq!(answer.status, expected.0, "{shown}");
    check_headers(answer, &shown);
    if request.path.starts_with("/api/") {
        check_problem(answer, &shown);
        assert_eq!(answer.json()["code"], expected.1, "{shown}");
    } else if request.path.starts_with("/health/") {
        assert_eq!(answer.json(), json!({ "status": "not_ready", "checks": { "database": "down" } }), "{shown}");
    } else {
        assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"), "{shown}");
        let id = answer.header("x-request-id").unwrap();
        assert!(answer.body.contains(id), "a person can name the request: {shown}");
    }
    if expected.0 == 503 && !request.path.starts_with("/health/") {
        assert_eq!(answer.header("retry-after"), Some("5"), "{shown}");
    }
    let headers = answer.headers.iter().filter(|(name, _)| name != "connection").map(|(_, value)| value.as_str());
    let told = headers.chain([answer.body.as_str()]).collect::<Vec<_>>().join("\n").to_lowercase();
    for word in INSIDE {
        assert!(!told.contains(word), "`{word}` is nobody's business: {shown}");
    }
}

/// An API whose database is not there; where it answers, and a token for it.
async fn without_database() -> (String, String) {
    shared::telemetry::install_tls();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let database = DatabaseConfig {
        url: SecretString::from(format!("postgres://nobody:geheim@127.0.0.1:{}/nowhere", free_port())),
        max_connections: 2,
        acquire_timeout: Duration::from_millis(300),
        statement_timeout: Duration::from_secs(5),
    };
    let config = ApiConfig {
        address,
        public_url: "https://help.example".to_owned(),
        default_tenant: None,
        request_timeout: Duration::from_secs(30),
        transfer_timeout: Duration::from_secs(60),
        import_max_bytes: 8 * 1024 * 1024,
        shutdown_timeout: Duration::from_secs(1),
        allowed_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        chat: ChatConfig::default(),
    };
    let auth = AuthConfig {
        jwt_secret: Some(SecretString::from(JWT_SECRET)),
        jwks_url: None,
        issuer: None,
        audience: None,
        pepper: SecretString::from("a pepper of at least thirty-two bytes, for tests only"),
        session_lifetime: Duration::from_secs(60),
    };
    let clock = Clock::fixed(start_of_time());
    let database = Database::open(&database).unwrap();
    let queues = QueueConfig {
        redis_url: SecretString::from("redis://127.0.0.1:1"),
        prefix: "nowhere".to_owned(),
        lease: Duration::from_secs(15),
        redis_timeout: Duration::from_secs(1),
    };
    let llm = Llm::new(&tests::no_language_model(), None, database.clone(), clock.clone()).unwrap();
    let search = Search::new(database.clone(), None);
    let services = Services::new(config, &auth, database, search, &queues, llm, clock).unwrap();
    let (send, receive) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        actix_web::rt::System::new().block_on(async move {
            let server = api::serve(listener, services).unwrap();
            send.send(()).unwrap();
            server.await.unwrap();
        });
    });
    receive.await.unwrap();
    let token = NewToken { sub: "p", tenant: "acme", roles: &[], name: "P", exp: start_of_time().timestamp() + 60 };
    let token = jwt::sign(&SecretString::from(JWT_SECRET), &token).unwrap();
    (format!("http://{address}"), format!("Bearer {token}"))
}

#[tokio::test]
async fn without_its_database_the_api_says_so_and_nothing_more() {
    let (url, token) = without_database().await;
    for endpoint in routes::table() {
        let request = ordinary(&endpoint, &token);
        let answer = request.send(&url).await;
        if needs_database(&endpoint) {
            check_opaque(&request, &answer, (503, "service_unavailable"));
        } else {
            assert!(answer.status < 500, "{request:?}: {}", answer.status);
        }
        assert_eq!(answer.header("strict-transport-security"), Some("max-age=31536000"), "an https address stays one");
    }
}

#[tokio::test]
async fn a_database_that_takes_no_connections_is_away_and_comes_back_without_a_restart() {
    let (app, token) = help_center().await;
    let name: String =
        sqlx::query_scalar("select current_database()::text").fetch_one(&mut app.db.owner().await).await.unwrap();
    let mut server = TestDatabase::create().await.owner().await;
    let allow = |allowed: bool| AssertSqlSafe(format!("alter database {name} with allow_connections {allowed}"));
    let end_connections = "select pg_terminate_backend(pid) from pg_stat_activity where datname = $1";

    // Ended connections alone are nobody's trouble: others are made.
    sqlx::query(end_connections).bind(&name).execute(&mut server).await.unwrap();
    // A connection that was used a moment ago is used again without asking it first.
    tokio::time::sleep(Duration::from_millis(200)).await;
    the_help_center_is_unharmed(&app).await;

    sqlx::query(allow(false)).execute(&mut server).await.unwrap();
    sqlx::query(end_connections).bind(&name).execute(&mut server).await.unwrap();
    for endpoint in routes::table().iter().filter(|endpoint| needs_database(endpoint)) {
        let request = ordinary(endpoint, &token);
        check_opaque(&request, &request.send(&app.url).await, (503, "service_unavailable"));
    }
    sqlx::query(allow(true)).execute(&mut server).await.unwrap();
    the_help_center_is_unharmed(&app).await;
}

#[tokio::test]
async fn a_fault_of_ours_is_told_as_one_without_its_cause() {
    let (app, _) = help_center().await;
    sqlx::raw_sql("alter table categories rename to gone; alter table articles rename to gone_too")
        .execute(&mut app.db.owner().await)
        .await
        .unwrap();
    // A person's, since machines leave no votes and the like; suggestions and questions need neither table.
    let token = format!("Bearer {}", app.token("acme", &[]));
    let needs_neither = ["help-center/suggestions/", "help-center/assistant/"];
    let touches = |endpoint: &&Endpoint| {
        endpoint.access == Access::Reader && !needs_neither.iter().any(|part| endpoint.path.contains(part))
    };
    for endpoint in routes::table().iter().filter(touches) {
        let request = ordinary(endpoint, &token);
        check_opaque(&request, &request.send(&app.url).await, (500, "internal_error"));
    }
}

#[tokio::test]
async fn metrics_are_not_on_the_address_that_everybody_reaches() {
    let (app, token) = help_center().await;
    for path in ["/metrics", "/metrics/", "/health/metrics", "/api/metrics", "/api/v2/metrics/"] {
        let answer = Raw::new("GET", path).header("authorization", &token).send(&app.url).await;
        assert_eq!(answer.status, 404, "{path}");
        assert!(!answer.body.contains("helpcenter_"), "{path}");
    }
}
