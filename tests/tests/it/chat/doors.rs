//! Who may open a socket, from which page, and for how long.

use std::time::Duration;

use reqwest::{
    Method, StatusCode,
    header::{COOKIE, ORIGIN},
};
use serde_json::{Value, json};
use shared::auth::{
    Roles, api_key,
    session::{self, NewPerson},
};
use tests::{Settings, TestApp};
use tokio_tungstenite::tungstenite::{self, handshake::client::Request, http::header};
use uuid::Uuid;

use super::client::{Client, handshake, open_to_everybody, start_with, with, without_worker};

const TOKEN: &str = "/api/v2/help-center/assistant/token/";

/// Somebody who is signed in: the cookie, and who it is.
pub(super) async fn signed_in(app: &TestApp) -> (String, Uuid) {
    let tenant = app.db.tenant("library").await.id;
    let mut tx = app.db.database.tenant(tenant).await.unwrap();
    let (email, password) = ("ada@example.com".to_owned(), "correct horse battery".to_owned());
    let new =
        NewPerson { email: email.clone(), name: "Ada".to_owned(), roles: Roles::none(), password: password.clone() };
    let person = session::create_person(&mut tx, new, "test").await.unwrap();
    tx.commit().await.unwrap();
    let lifetime = Duration::from_secs(3600);
    let begun = session::sign_in(&app.db.database, &app.pepper(), &app.clock, lifetime, tenant, &email, password).await;
    (begun.unwrap().unwrap().cookie, person)
}

fn cookie_header(cookie: &str) -> String {
    format!("__Host-helpcenter-session={cookie}")
}

async fn ask_for_token(app: &TestApp, cookie: &str, headers: &[(&str, &str)]) -> (StatusCode, Value) {
    let mut request = app.request(Method::POST, TOKEN).header(COOKIE, cookie_header(cookie));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    tests::json(request).await
}

async fn chat_token(app: &TestApp, cookie: &str) -> String {
    let (status, answer) = ask_for_token(app, cookie, &[("origin", &app.url)]).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    answer["token"].as_str().unwrap().to_owned()
}

/// As a browser does it, with the cookie of a session.
pub(super) async fn open_with_chat_token(app: &TestApp, cookie: &str) -> Client {
    let token = chat_token(app, cookie).await;
    let request = as_browser(app, handshake(app, "s-1"), &token);
    let (mut client, _) = Client::shake(request).await.unwrap();
    assert_eq!(client.next().await["type"], "connection");
    client
}

fn as_browser(app: &TestApp, request: Request, token: &str) -> Request {
    let request = with(request, header::ORIGIN, &app.url);
    with(request, header::SEC_WEBSOCKET_PROTOCOL, &format!("helpcenter.chat, bearer.{token}"))
}

async fn is_turned_away(request: Request, code: &str) {
    let (mut client, _) = Client::shake(request).await.unwrap();
    assert_eq!(client.refusal().await, code);
    assert_eq!(client.closed().await, 4001);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_opens_a_socket_and_nothing_else_does() {
    let app = without_worker(Settings::default()).await;
    let token = app.token("library", &[]);
    let (cookie, _) = signed_in(&app).await;
    // Browsers offer it as a subprotocol; it is not sent back.
    let (mut client, response) = Client::shake(as_browser(&app, handshake(&app, "s-1"), &token)).await.unwrap();
    assert_eq!(response.headers()[header::SEC_WEBSOCKET_PROTOCOL], "helpcenter.chat");
    assert!(!format!("{:?}", response.headers()).contains(&token));
    assert_eq!(client.next().await["type"], "connection");

    is_turned_away(handshake(&app, "s-1"), "authentication_required").await;
    // With a cookie a page of another site could do it in the name of who visits it.
    is_turned_away(with(handshake(&app, "s-1"), header::COOKIE, &cookie_header(&cookie)), "authentication_required")
        .await;
    for wrong in ["Bearer not-a-token", "Bearer ", "Basic eDp5", "Bearer hcc_x.y", "Bearer hck_x.y"] {
        is_turned_away(with(handshake(&app, "s-1"), header::AUTHORIZATION, wrong), "credential_invalid").await;
    }
    for wrong in ["helpcenter.chat, bearer.", "helpcenter.chat, bearer.not-a-token", "bearer.x, helpcenter.chat"] {
        let request = with(handshake(&app, "s-1"), header::SEC_WEBSOCKET_PROTOCOL, wrong);
        is_turned_away(request, "credential_invalid").await;
    }
    app.clock.advance(chrono::Duration::hours(2));
    is_turned_away(as_browser(&app, handshake(&app, "s-1"), &token), "credential_expired").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_open_no_socket() {
    let allowed = "https://app.example.com".to_owned();
    let app = without_worker(Settings { allowed_origins: vec![allowed.clone()], ..Settings::default() }).await;
    let token = app.token("library", &[]);
    let from = |origin: &str| with(as_browser(&app, handshake(&app, "s-1"), &token), header::ORIGIN, origin);
    for own in [app.url.as_str(), allowed.as_str()] {
        let (mut client, _) = Client::shake(from(own)).await.unwrap();
        assert_eq!(client.next().await["type"], "connection", "{own}");
    }
    let upper = app.url.replace("http:", "HTTP:");
    for foreign in [
        "https://evil.example",
        "https://app.example.com.evil.example",
        "https://app.example.com:8443",
        "http://app.example.com",
        "https://127.0.0.1",
        "null",
        "",
        upper.as_str(),
        "file://",
    ] {
        match *Client::shake(from(foreign)).await.err().unwrap() {
            tungstenite::Error::Http(response) => {
                assert_eq!(response.status(), 403, "{foreign}");
                let problem: Value = serde_json::from_slice(response.body().as_ref().unwrap()).unwrap();
                assert_eq!(problem["code"], "origin_refused", "{foreign}");
            }
            other => panic!("{foreign}: {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_pages_of_this_site_get_a_chat_token_and_only_people_who_are_signed_in() {
    let app = without_worker(Settings::default()).await;
    let (cookie, _) = signed_in(&app).await;
    for headers in [
        &[("origin", "https://evil.example")][..],
        &[("origin", app.url.as_str()), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "none")],
        &[("origin", "null")],
        &[],
    ] {
        let (status, problem) = ask_for_token(&app, &cookie, headers).await;
        assert_eq!((status, &problem["code"]), (StatusCode::FORBIDDEN, &json!("origin_refused")), "{headers:?}");
    }
    let (status, problem) = ask_for_token(&app, "hcs_nothing", &[("origin", &app.url)]).await;
    assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("authentication_required")));
    let own = app.request(Method::POST, TOKEN).bearer_auth(app.token("library", &[])).header(ORIGIN, &app.url);
    assert_eq!(tests::json(own).await.0, StatusCode::CONFLICT, "they have a token");

    let token = chat_token(&app, &cookie).await;
    // It opens sockets and nothing else.
    let (status, _) = app.get("/api/v2/help-center/articles/", &token).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (mut client, _) = Client::shake(as_browser(&app, handshake(&app, "s-1"), &token)).await.unwrap();
    assert_eq!(client.next().await["type"], "connection");
    app.clock.advance(chrono::Duration::minutes(5));
    is_turned_away(as_browser(&app, handshake(&app, "s-1"), &token), "credential_expired").await;
    // What is open stays open for as long as the session lasts.
    client.say(json!({ "type": "cancel" })).await;
    assert_eq!(client.refusal().await, "not_possible");
}

fn hurried() -> Settings {
    let mut settings = Settings::default();
    settings.chat.heartbeat = Duration::from_secs(2);
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_is_closed_when_its_credential_is_not_good_any_more() {
    let (app, worker) = start_with(hurried()).await;
    let tenant = app.db.tenant("library").await.id;
    // An API key is revoked.
    let new = api_key::NewApiKey { name: "m".to_owned(), roles: Roles::none(), scopes: vec![], expires_at: None };
    let mut tx = app.db.database.tenant(tenant).await.unwrap();
    let key = api_key::create(&mut tx, &app.pepper(), &new, "test").await.unwrap();
    tx.commit().await.unwrap();
    let mut machine = Client::open(&app, "s-1", &key.text).await;
    let mut tx = app.db.database.tenant(tenant).await.unwrap();
    api_key::revoke(&mut tx, key.id, app.clock.now(), "test").await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(machine.closed().await, 4001);
    // Somebody signs out.
    let (cookie, _) = signed_in(&app).await;
    let mut person = open_with_chat_token(&app, &cookie).await;
    session::sign_out(&app.db.database, &app.pepper(), &cookie).await.unwrap();
    assert_eq!(person.closed().await, 4001);
    // A token expires.
    let mut guest = Client::open(&app, "s-1", &app.token("library", &[])).await;
    app.clock.advance(chrono::Duration::hours(2));
    assert_eq!(guest.refusal().await, "credential_expired");
    assert_eq!(guest.closed().await, 4001);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_not_asked_with_a_credential_that_is_not_good_any_more() {
    // The usual heartbeat: nothing but the question makes it look.
    let (app, worker) = start_with(Settings::default()).await;
    for message in [json!({ "query": "How do I reset my password?" }), json!({ "type": "cancel" })] {
        let token = app.token("library", &[]);
        let mut guest = Client::open(&app, "s-1", &token).await;
        app.clock.advance(chrono::Duration::hours(2));
        guest.say(message).await;
        assert_eq!(guest.closed().await, 4001);
    }
    let kept: i64 =
        sqlx::query_scalar("select count(*) from answers").fetch_one(&mut app.db.owner().await).await.unwrap();
    assert_eq!(kept, 0);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn visitors_of_a_public_help_center_are_who_knows_the_name_of_their_session() {
    let (app, worker) = start_with(hurried()).await;
    let open = open_to_everybody(&app).await;
    let visit = |session: &str| with(handshake(&app, session), header::HOST, "open.localhost");
    is_turned_away(visit("s-1"), "authentication_required").await;
    let session = Uuid::new_v4().to_string();
    let (mut visitor, _) = Client::shake(visit(&session)).await.unwrap();
    assert_eq!(visitor.next().await["type"], "connection");
    let id = visitor.ask("How do I reset my password?").await;
    assert_eq!(visitor.rest().await.last().unwrap()["outcome"], "answered");
    let (mut other, _) = Client::shake(visit(&Uuid::new_v4().to_string())).await.unwrap();
    other.next().await;
    other.say(json!({ "type": "resume", "answer_id": id, "after": 0 })).await;
    assert_eq!(other.refusal().await, "not_found");
    // It is public no more.
    sqlx::query("update tenants set is_public = false where id = $1")
        .bind(open.uuid())
        .execute(&mut app.db.owner().await)
        .await
        .unwrap();
    assert_eq!(visitor.closed().await, 4001);
    worker.stop().await;
}
