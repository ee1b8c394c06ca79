//! The API as it is described to programs: the document, the errors, and that both are what the server does.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::collections::{BTreeMap, BTreeSet};

use api::{
    error::{ApiError, Code},
    routes,
};
use reqwest::Method;
use serde_json::{Value, json};
use tests::TestApp;

fn document() -> Value {
    serde_json::from_str(api::openapi::json()).unwrap()
}

/// Address, method and description of every operation.
fn operations(document: &Value) -> Vec<(String, String, Value)> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            operations.push((path.clone(), method.to_uppercase(), operation.clone()));
        }
    }
    operations
}

#[test]
fn the_document_changes_only_on_purpose() {
    let mut document = document();
    document["info"]["version"] = json!("[version]");
    insta::assert_json_snapshot!(document);
}

#[test]
fn the_document_describes_every_route_of_the_api_and_no_other() {
    let described: BTreeSet<(String, String)> =
        operations(&document()).into_iter().map(|(path, method, _)| (path, method)).collect();
    let served: BTreeSet<(String, String)> = routes::table()
        .iter()
        .filter(|endpoint| endpoint.path.starts_with("/api/v2/"))
        .map(|endpoint| (endpoint.path.to_owned(), endpoint.method.to_string()))
        .collect();
    assert_eq!(described, served);
    // What else is under /api/ is the description itself.
    let others: BTreeSet<&str> = routes::table()
        .iter()
        .map(|endpoint| endpoint.path)
        .filter(|path| path.starts_with("/api/") && !path.starts_with("/api/v2/"))
        .collect();
    assert_eq!(others, BTreeSet::from(["/api/docs/", "/api/docs/{file}", "/api/openapi.json"]));
}

#[test]
fn every_operation_says_how_it_can_fail_and_what_the_failure_looks_like() {
    let document = document();
    assert_eq!(document["openapi"], "3.1.0");
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let at = format!("{method} {path}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{at}: its id is taken");
        assert!(operation["summary"].as_str().is_some_and(|text| text.ends_with('.')), "{at}: {operation}");
        let responses = operation["responses"].as_object().unwrap();
        for (status, response) in responses {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{at}: {status}");
            if ["204", "301"].contains(&status.as_str()) {
                assert!(response["content"].is_null(), "{at}: {status}");
            } else if status.starts_with('2') {
                let kind = match path.rsplit('/').nth(1) {
                    Some("events") => "text/event-stream",
                    Some("export") => "application/zip",
                    _ => "application/json",
                };
                assert!(response["content"][kind]["schema"].is_object(), "{at}: {status}");
            } else {
                let schema = &response["content"]["application/problem+json"]["schema"]["$ref"];
                assert_eq!(schema, "#/components/schemas/Problem", "{at}: {status}");
            }
        }
        let statuses: BTreeSet<&str> = responses.keys().map(String::as_str).collect();
        // What only the handler itself can know.
        let of_its_own = ["201", "202", "204", "301", "409", "428", "429"];
        let statuses: BTreeSet<&str> = statuses.difference(&BTreeSet::from(of_its_own)).copied().collect();
        let mut expected = BTreeSet::from(["401", "503"]);
        if !["201", "202", "204"].iter().any(|success| responses.contains_key(*success)) {
            expected.insert("200");
        }
        let mut parameters = operation["parameters"].as_array().into_iter().flatten();
        if parameters.any(|parameter| parameter["in"] == "query") || !operation["requestBody"].is_null() {
            expected.insert("400");
        }
        let is_of_this_site = path.ends_with("/assistant/token/");
        if path.contains("/admin/")
            || is_of_this_site
            || operation["tags"][0] == "Feedback" && operation["operationId"] != "getVotes"
        {
            expected.insert("403");
        }
        if path.contains('{') {
            expected.insert("404");
        }
        if !operation["requestBody"].is_null() {
            expected.extend(["413", "415"]);
        }
        assert_eq!(statuses, expected, "{at}");
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            assert!(parameter["description"].as_str().is_some_and(|text| !text.is_empty()), "{at}: {parameter}");
        }
    }
}

#[test]
fn every_field_of_the_document_has_a_type_and_every_reference_a_target() {
    fn walk(value: &Value, document: &Value) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(reference)) = fields.get("$ref") {
                    let target = document.pointer(reference.trim_start_matches('#'));
                    assert!(target.is_some(), "{reference} leads nowhere");
                }
                fields.values().for_each(|value| walk(value, document));
            }
            Value::Array(values) => values.iter().for_each(|value| walk(value, document)),
            _ => {}
        }
    }
    let document = document();
    walk(&document, &document);
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for (name, schema) in schemas {
        for (field, described) in schema["properties"].as_object().into_iter().flatten() {
            let typed = ["type", "$ref", "oneOf", "allOf"].iter().any(|key| !described[key].is_null());
            assert!(typed, "{name}.{field}: {described}");
        }
    }
}

#[tokio::test]
async fn the_document_and_the_page_to_browse_it_are_served() {
    let app = TestApp::start().await;
    let (status, served) = tests::json(app.request(Method::GET, "/api/openapi.json")).await;
    assert_eq!((status.as_u16(), served), (200, document()));
    let page = app.request(Method::GET, "/api/docs/").send().await.unwrap();
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.contains("script-src 'self'") && !policy.contains("script-src 'self' 'unsafe"), "{policy}");
    let page = page.text().await.unwrap();
    // Everything that the page loads is here, and its scripts are files.
    let mut loaded = 0;
    let is_file = |part: &&str| part.starts_with("./") || [".js", ".css", ".png"].iter().any(|end| part.ends_with(end));
    for part in page.split(['"', '\'']).filter(is_file) {
        let path = format!("/api/docs/{}", part.trim_start_matches("./"));
        let file = app.request(Method::GET, &path).send().await.unwrap();
        assert_eq!(file.status(), 200, "{path}");
        loaded += 1;
    }
    assert!(loaded >= 3, "{page}");
    assert!(!page.contains("https://") && !page.contains("//cdn"), "nothing is loaded from elsewhere: {page}");
    let start =
        app.request(Method::GET, "/api/docs/swagger-initializer.js").send().await.unwrap().text().await.unwrap();
    assert!(start.contains("/api/openapi.json"), "{start}");
}

/// What the server really answers, for each code that it can be made to give.
async fn answered(app: &TestApp) -> BTreeMap<String, Value> {
    let token = app.token("acme", &[]);
    let search = "/api/v2/help-center/search/";
    let article = "/api/v2/help-center/articles/nothing/";
    let chat = "/ws/help-center/chat/a-session/";
    let later = app.token("acme", &[]);
    let mut answers = vec![
        tests::json(
            app.request(Method::POST, search).bearer_auth(&token).json(&json!({ "query": "page", "limit": 500 })),
        )
        .await,
        tests::json(app.request(Method::GET, article)).await,
        tests::json(app.request(Method::GET, article).bearer_auth("not-a-token")).await,
        tests::json(app.request(Method::GET, article).bearer_auth(&token)).await,
        tests::json(app.request(Method::GET, "/api/v2/help-center/admin/schedule/").bearer_auth(&token)).await,
        tests::json(app.request(Method::DELETE, article).bearer_auth(&token)).await,
        tests::json(app.request(Method::POST, search).bearer_auth(&token).json(&"x".repeat(70_000))).await,
        tests::json(app.request(Method::POST, search).bearer_auth(&token).body("query=page")).await,
        tests::json(app.request(Method::GET, chat).bearer_auth(&token)).await,
        tests::json(
            app.request(Method::GET, chat).header("upgrade", "websocket").header("origin", "https://evil.example"),
        )
        .await,
    ];
    answers.extend(refused_to_an_editor(app).await);
    app.clock.advance(chrono::Duration::hours(2));
    answers.push(tests::json(app.request(Method::GET, article).bearer_auth(&later)).await);
    let fresh = app.token("acme", &[]);
    sqlx::query("alter table articles rename to gone").execute(&mut app.db.owner().await).await.unwrap();
    answers.push(tests::json(app.request(Method::GET, article).bearer_auth(&fresh)).await);
    app.db.database.close().await;
    answers.push(tests::json(app.request(Method::GET, article).bearer_auth(&fresh)).await);
    answers
        .into_iter()
        .map(|(status, mut body)| {
            assert_eq!(body["status"], status.as_u16(), "{body}");
            body["request_id"] = json!("[request id]");
            for article in ["current", "submitted"] {
                if !body[article].is_null() {
                    body[article] = json!("[article]");
                }
            }
            (body["code"].as_str().unwrap().to_owned(), body)
        })
        .collect()
}

/// What an editor hears who does the right thing at the wrong moment.
async fn refused_to_an_editor(app: &TestApp) -> Vec<(reqwest::StatusCode, Value)> {
    let editor = app.token("acme", &["editor"]);
    let articles = "/api/v2/help-center/admin/articles/";
    let new = json!({ "title": "A page", "slug": "a-page" });
    let (_, made) = app.post(articles, &editor, &new).await;
    let page = format!("{articles}{}/", made["id"].as_str().unwrap());
    let change = |body: Value| tests::json(app.request(Method::PATCH, &page).bearer_auth(&editor).json(&body));
    vec![
        app.post(articles, &editor, &new).await,
        change(json!({ "title": "Another" })).await,
        change(json!({ "title": "Another", "version": 7 })).await,
        app.post(&format!("{page}status/"), &editor, &json!({ "status": "DRAFT", "version": 1 })).await,
    ]
}

#[tokio::test]
async fn each_code_has_its_answer() {
    let app = TestApp::start().await;
    app.db.tenant("acme").await;
    let mut answers = answered(&app).await;
    // Forms are for people, who get a page; the code is the same.
    let form = ApiError::new(Code::FormRefused, "The detail says what to do.").problem("[request id]".to_owned());
    answers.insert("form_refused".to_owned(), serde_json::to_value(form).unwrap());
    // When it may be done again differs; that it is told is tested with chats.
    let limited = ApiError::new(Code::RateLimited, "The detail says in how many seconds to come back.");
    let limited = limited.with("retry_after_seconds", &7).problem("[request id]".to_owned());
    answers.insert("rate_limited".to_owned(), serde_json::to_value(limited).unwrap());
    let documented: BTreeSet<String> = document()["components"]["schemas"]["Code"]["enum"]
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(answers.keys().cloned().collect::<BTreeSet<_>>(), documented, "a new code has its answer here");
    insta::assert_json_snapshot!(answers);
}

#[test]
fn the_help_page_about_errors_names_each_code_of_the_api_with_its_status() {
    let page = include_str!("../../../docs/help/developers/errors.md");
    let codes = document()["components"]["schemas"]["Code"]["enum"].clone();
    for code in
        codes.as_array().unwrap().iter().map(|code| code.as_str().unwrap()).filter(|code| *code != "form_refused")
    {
        assert!(page.contains(&format!("| `{code}` |")), "docs/help/developers/errors.md does not explain `{code}`");
    }
}
