//! What the log holds: every refusal with its reason and its request, no secret, and no line that a caller wrote.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that uses them")]

use chrono::DateTime;
use reqwest::{RequestBuilder, header::CONTENT_TYPE};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    auth::jwt::{self, NewToken},
    clock::Clock,
};
use tests::{
    JWT_SECRET, Settings, TestApp,
    processes::{Program, free_port},
};

/// What a caller sends in every place that is logged or could be: a forged line, colours, and its like in JSON.
const FORGED: &str =
    "x\r\n2026-06-01T12:00:00.000000Z  INFO forged: all is well\u{1b}[31m\u{2028}\",\"level\":\"FORGED";

/// Searches, passwords and credentials: what nobody must find in a log.
const QUERY: &str = "how to hide a canaryquery";
const PASSWORD: &str = "canary battery staple";

/// The API as a process, with its log in this format.
async fn api(app: &TestApp, format: &str) -> (Program, String) {
    let address = format!("127.0.0.1:{}", free_port());
    let variables = [
        ("API_ADDRESS", address.as_str()),
        ("API_KEY_PEPPER", "a pepper of at least thirty-two bytes, for tests only"),
        ("JWT_SECRET", JWT_SECRET),
        ("DEFAULT_TENANT", "acme"),
        ("LOG_FORMAT", format),
    ];
    let program = Program::start_with(app, "helpcenter-api", &variables).ready().await;
    (program, format!("http://{address}"))
}

fn token(tenant: &str, name: &str) -> String {
    let exp = Clock::system().now().timestamp() + 3600;
    let new = NewToken { sub: FORGED, tenant, roles: &["canaryrole".to_owned()], name, exp };
    jwt::sign(&SecretString::from(JWT_SECRET), &new).unwrap()
}

/// Sends a request; its id and status.
async fn send(request: RequestBuilder) -> (String, u16) {
    let response = request.send().await.unwrap();
    (response.headers()["x-request-id"].to_str().unwrap().to_owned(), response.status().as_u16())
}

fn form(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// Asks in good and in bad ways; the ids of the requests that were refused, and what must not be in the log.
async fn misbehave(url: &str) -> (Vec<String>, Vec<String>) {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let search = format!("{url}/api/v2/help-center/search/");
    let good = token("acme", FORGED);
    let found = client.post(&search).bearer_auth(&good).json(&json!({ "query": QUERY }));
    assert_eq!(send(found).await.1, 200);
    send(client.get(format!("{url}/search/?{}", form(&[("q", QUERY)]))).bearer_auth(&good)).await;
    let forged = form(&[("", FORGED)]).replace('+', "%20");
    for path in
        [format!("/articles/{forged}/"), format!("/api/v2/help-center/articles/{forged}/"), format!("/{forged}")]
    {
        assert_eq!(send(client.get(format!("{url}{path}")).bearer_auth(&good)).await.1, 404, "{path}");
    }
    let strange = client.get(format!("{url}/health/live")).header("user-agent", "x\tforged");
    send(strange.header("x-request-id", "forged")).await;

    let mut refused = Vec::new();
    let elsewhere = token(FORGED, "name");
    let (head, _) = good.rsplit_once('.').unwrap();
    let key = format!("hck_{}.canarysecret", "A".repeat(43));
    let bad = [elsewhere, format!("{head}.canarysignature"), key, "canarynonsense".to_owned()];
    for credential in &bad {
        let (id, status) =
            send(client.get(format!("{url}/api/v2/help-center/articles/")).bearer_auth(credential)).await;
        assert_eq!(status, 401, "{credential}");
        refused.push(id);
    }
    let sign_in = [("email", FORGED), ("password", PASSWORD), ("csrf_token", FORGED)];
    let request = client.post(format!("{url}/sign-in/")).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
    let (id, status) = send(request.body(form(&sign_in))).await;
    assert_eq!(status, 403);
    refused.push(id);

    let mut secrets = vec![QUERY.to_owned(), PASSWORD.to_owned(), JWT_SECRET.to_owned(), "canary".to_owned(), good];
    secrets.extend(bad);
    (refused, secrets)
}

#[tokio::test]
async fn the_log_names_every_refusal_and_holds_no_secret_and_no_line_of_a_callers() {
    let app = TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
    app.db.tenant("acme").await;
    for format in ["text", "json"] {
        let (program, url) = api(&app, format).await;
        let (refused, secrets) = misbehave(&url).await;
        let log = program.log();
        for secret in secrets {
            assert!(!log.contains(&secret), "{secret} is in the log:\n{log}");
        }
        assert!(!log.contains('\u{1b}') && !log.contains('\u{2028}'), "control characters:\n{log}");
        for line in log.lines() {
            if format == "json" {
                let line: Value = serde_json::from_str(line).unwrap();
                assert!(["DEBUG", "INFO", "WARN", "ERROR"].contains(&line["level"].as_str().unwrap()), "{line}");
            } else {
                let time = line.split_whitespace().next().unwrap();
                assert!(DateTime::parse_from_rfc3339(time).is_ok() && !line.contains("INFO forged"), "{line}");
            }
        }
        for id in refused {
            let of_request: Vec<&str> = log.lines().filter(|line| line.contains(&id)).collect();
            let audited = of_request.iter().any(|line| line.contains("audit") && line.contains("http.denied"));
            assert!(audited, "the refusal of request {id} is not in the log: {of_request:#?}");
        }
        assert!(program.terminate().await.success());
    }
}
