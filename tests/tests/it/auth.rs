//! Who gets in: tokens of the host application, signing keys that it publishes, API keys, and signing in on the pages.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use reqwest::{
    Method, RequestBuilder, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, HOST, HeaderMap, HeaderValue, LOCATION, SET_COOKIE},
};
use serde_json::{Value, json};
use shared::{
    auth::{
        Pepper, Roles, api_key,
        session::{self, NewPerson},
    },
    tenancy::Tenant,
};
use sqlx::{AssertSqlSafe, PgConnection};
use tests::{
    JWT_SECRET, Settings, TestApp, TestDatabase,
    fixture::{self, Folder},
    start_of_time,
};
use uuid::Uuid;
use wiremock::{
    Mock, MockServer, ResponseTemplate,
    matchers::{any, path},
};

// Tokens that OpenSSL signed, so that not the same library is on both sides; the private keys were thrown away. They say
// {"sub":"person-1","tenant":"acme","roles":["finance"],"exp":1780318800}: until an hour after the tests' clocks begin.

const RS256: &str = "\
    eyJhbGciOiJSUzI1NiIsImtpZCI6InJzYS0xIn0.eyJzdWIiOiJwZXJzb24tMSIsInRlbmFudCI6ImFjbWUiLCJyb2xlcyI6WyJmaW5hbmNl\
    Il0sImV4cCI6MTc4MDMxODgwMH0.WwTOToM-rvqhMlpnof7wUZexOAMwmHm8LbhrULbG6FgYsXDiOrmItVfe0j2Zzhbve2hK7_7Fq1_MUOGo\
    4AqI1QpD93QAOakyXS2hqjTO4vy31fCHj4-TzEAjEXclKK-pGYVXpN1at8h7_nbig0YFY0Fvi0G27pTJiCq0gsClODn6fHG2Yj0TLW7EAMyn\
    HLwLi9r7fpDpecQ0E8EG7V3F6QVMOT7Bk1yegk1NVSs1pw_CJR9N1Qnr21Z6HloWbzSsjVSvrA3H2Ghy_7CP-qsfL566ZWLc0XZhcwFjxY4-\
    b-Pk3TmiHfDV28BswpeV1iLXR9wYvnruRxqsDakpe78mBQ";
const ES256: &str = "\
    eyJhbGciOiJFUzI1NiIsImtpZCI6ImVjLTEifQ.eyJzdWIiOiJwZXJzb24tMSIsInRlbmFudCI6ImFjbWUiLCJyb2xlcyI6WyJmaW5hbmNlI\
    l0sImV4cCI6MTc4MDMxODgwMH0.K_Subq6etQMPHylWcaBTY90sMdQvUiNNArLW3F5YfFUXhFBDfqaa_Rk2gVS8QHljbsahyioo3hvOEEMR_\
    y7zTg";
const EDDSA: &str = "\
    eyJhbGciOiJFZERTQSIsImtpZCI6ImVkLTEifQ.eyJzdWIiOiJwZXJzb24tMSIsInRlbmFudCI6ImFjbWUiLCJyb2xlcyI6WyJmaW5hbmNlI\
    l0sImV4cCI6MTc4MDMxODgwMH0.ymn_qNPMqx2C8b3se-BBD_-E1IZAJgSjf4fw58AFmGGG-roqcPD1FW5zNHXzG0_7X_4fAn6gATx-l5Im8\
    6WrDg";
const RSA_MODULUS: &str = "\
    0Zs6d4j_KYsVmuROOVZo6eBDg3s1y5mLR3XK-PdaDS60jw0DDI50slFf_QI0SLmFesJCYe0AtZP_AjK1SG7SAAUCHthljG_XHh45kW7cou1e\
    QldjJ7Ls63qlYQZzlZlIsThem7L7h2FQyHmMkCB6yhZaSqxed95FLYD1EoJLS4tapeXFUEr-t_jE1Ugr2JpBB2podEFqYU6oFXn8wodcNiep\
    jVC_sV0JizOwqj4U1zLCKk5tiHSUcQB8Xg-aBgZstNdVxEfgYFTdutGReWUQpDKqAN0TEwE0cdwnxlAV16aqPxLxxQGaiVLIKQX6wlTwquf-\
    LLn2oNyftXxlmVZ9RQ";
const RSA_PEM: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA0Zs6d4j/KYsVmuROOVZo
6eBDg3s1y5mLR3XK+PdaDS60jw0DDI50slFf/QI0SLmFesJCYe0AtZP/AjK1SG7S
AAUCHthljG/XHh45kW7cou1eQldjJ7Ls63qlYQZzlZlIsThem7L7h2FQyHmMkCB6
yhZaSqxed95FLYD1EoJLS4tapeXFUEr+t/jE1Ugr2JpBB2podEFqYU6oFXn8wodc
NiepjVC/sV0JizOwqj4U1zLCKk5tiHSUcQB8Xg+aBgZstNdVxEfgYFTdutGReWUQ
pDKqAN0TEwE0cdwnxlAV16aqPxLxxQGaiVLIKQX6wlTwquf+LLn2oNyftXxlmVZ9
RQIDAQAB
-----END PUBLIC KEY-----
";

fn rsa_key() -> Value {
    json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": "rsa-1", "n": RSA_MODULUS, "e": "AQAB" })
}

fn ec_key() -> Value {
    json!({ "kty": "EC", "use": "sig", "alg": "ES256", "kid": "ec-1", "crv": "P-256",
            "x": "aWb1HzYL6zn7qw1sGgevIJE4BT45n_ix61EXLi4K8U8", "y": "yqDaAOne8TbcjYFW921p0pQ-GUrJ-mbDH3m_tuz9Yd0" })
}

/// Without `alg`, which is optional.
fn ed_key() -> Value {
    json!({ "kty": "OKP", "use": "sig", "kid": "ed-1", "crv": "Ed25519",
            "x": "QWC9bUFSG6iosA2gvJg-6KG5KuEjQlFQoJ43cbmv7XE" })
}

/// Signs tokens as a host application could, badly made ones too. PostgreSQL computes the HMAC (RFC 2104).
struct Host {
    database: PgConnection,
}

impl Host {
    async fn of(app: &TestApp) -> Self {
        Self { database: app.db.owner().await }
    }

    async fn sign(&mut self, claims: &Value) -> String {
        self.sign_with(r#"{"alg":"HS256","typ":"JWT"}"#, claims, JWT_SECRET.as_bytes()).await
    }

    async fn sign_with(&mut self, header: &str, claims: &Value, secret: &[u8]) -> String {
        let key: Vec<u8> = if secret.len() > 64 {
            sqlx::query_scalar("select sha256($1)").bind(secret).fetch_one(&mut self.database).await.unwrap()
        } else {
            secret.to_owned()
        };
        let pad = |with: u8| (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect::<Vec<u8>>();
        let message =
            format!("{}.{}", self.base64(header.as_bytes()).await, self.base64(claims.to_string().as_bytes()).await);
        let mac: Vec<u8> = sqlx::query_scalar("select sha256($1 || sha256($2 || $3))")
            .bind(pad(0x5c))
            .bind(pad(0x36))
            .bind(message.as_bytes())
            .fetch_one(&mut self.database)
            .await
            .unwrap();
        format!("{message}.{}", self.base64(&mac).await)
    }

    async fn base64(&mut self, bytes: &[u8]) -> String {
        sqlx::query_scalar(r"select translate(encode($1, 'base64'), E'+/=\n', '-_')")
            .bind(bytes)
            .fetch_one(&mut self.database)
            .await
            .unwrap()
    }
}

/// Claims of a person of `acme`, with changes; `null` takes a claim away.
fn claims(changes: Value) -> Value {
    let mut claims = json!({
        "sub": "person-1", "tenant": "acme", "roles": ["finance"], "name": "A Person",
        "exp": start_of_time().timestamp() + 3600,
    });
    let Value::Object(changes) = changes else { panic!("changes are an object") };
    for (name, value) in changes {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(&name)),
            value => claims[name] = value,
        }
    }
    claims
}

/// Status and code of an answer to somebody with this header.
async fn answer(app: &TestApp, authorization: impl AsRef<[u8]>) -> (u16, String) {
    let header = HeaderValue::from_bytes(authorization.as_ref()).unwrap();
    let request = app.request(Method::GET, "/api/v2/help-center/articles/").header(AUTHORIZATION, header);
    let (status, body) = tests::json(request).await;
    let code = body["code"].as_str().unwrap_or_default().to_owned();
    assert_eq!(status.is_success(), body["results"].is_array(), "{body}");
    (status.as_u16(), code)
}

async fn bearer(app: &TestApp, token: &str) -> (u16, String) {
    answer(app, format!("Bearer {token}")).await
}

fn ok() -> (u16, String) {
    (200, String::new())
}

fn refused(code: &str) -> (u16, String) {
    (401, code.to_owned())
}

// Tokens

#[tokio::test]
async fn a_token_is_good_from_nbf_until_exp_give_or_take_half_a_minute() {
    let app = TestApp::start().await;
    app.db.tenant("acme").await;
    let mut host = Host::of(&app).await;
    let now = start_of_time().timestamp();
    for (changes, expected) in [
        (json!({}), ok()),
        (json!({ "exp": now - 29 }), ok()),
        (json!({ "exp": now - 31 }), refused("credential_expired")),
        (json!({ "exp": 0 }), refused("credential_expired")),
        (json!({ "exp": -1 }), refused("credential_invalid")),
        (json!({ "exp": i64::MIN }), refused("credential_invalid")),
        (json!({ "exp": i64::MAX }), ok()),
        (json!({ "nbf": now - 10 }), ok()),
        (json!({ "nbf": now + 29 }), ok()),
        (json!({ "nbf": now + 31 }), refused("credential_invalid")),
        (json!({ "nbf": i64::MAX }), refused("credential_invalid")),
        (json!({ "nbf": i64::MIN }), ok()),
    ] {
        let token = host.sign(&claims(changes.clone())).await;
        assert_eq!(bearer(&app, &token).await, expected, "{changes}");
    }
    // The same token, later.
    let token = host.sign(&claims(json!({}))).await;
    app.clock.advance(chrono::Duration::seconds(3629));
    assert_eq!(bearer(&app, &token).await, ok());
    app.clock.advance(chrono::Duration::seconds(1));
    assert_eq!(bearer(&app, &token).await, refused("credential_expired"));
}

#[tokio::test]
async fn a_token_whose_signature_or_algorithm_is_not_the_hosts_is_refused() {
    let jwks = MockServer::start().await;
    publish(&jwks, &[rsa_key(), ec_key()]).await;
    let app = TestApp::start_with(jwks_of(&jwks)).await;
    app.db.tenant("acme").await;
    let mut host = Host::of(&app).await;
    let good = host.sign(&claims(json!({}))).await;
    assert_eq!(bearer(&app, &good).await, ok());
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("{good}") };
    let other_payload = host.sign(&claims(json!({ "roles": ["admin"] }))).await;
    let other_payload = other_payload.split('.').nth(1).unwrap().to_owned();
    let plain = claims(json!({}));
    let mut forged = vec![
        host.sign_with(r#"{"alg":"HS256"}"#, &plain, b"another secret that is long enough, too").await,
        host.sign_with(r#"{"alg":"HS256"}"#, &plain, b"").await,
        format!("{header}.{other_payload}.{signature}"),
        format!("{header}.{payload}."),
        format!("{header}.{payload}"),
        format!("{header}.{payload}.{}", &signature[..signature.len() - 1]),
        format!("{header}.{payload}.{signature}="),
        format!("{header}.{payload}.{signature}.{signature}"),
        format!("{header}..{signature}"),
        format!(".{payload}.{signature}"),
    ];
    // Algorithms that the server does not take, whatever they are signed with.
    for alg in ["none", "None", "NONE", "nOnE", "", "HS384", "HS512", "RS384", "PS256", "ES384", "hs256", "HS256 "] {
        let header = format!(r#"{{"alg":"{alg}","kid":"rsa-1"}}"#);
        let signed = host.sign_with(&header, &plain, JWT_SECRET.as_bytes()).await;
        forged.push(format!("{}.", signed.rsplit_once('.').unwrap().0));
        forged.push(signed);
    }
    // What everybody knows, used as the shared secret; and the shared secret for a key that everybody knows.
    for public in [RSA_PEM, RSA_PEM.trim(), RSA_MODULUS, "", "rsa-1"] {
        for header in [r#"{"alg":"HS256"}"#, r#"{"alg":"HS256","kid":"rsa-1"}"#, r#"{"alg":"RS256","kid":"rsa-1"}"#] {
            forged.push(host.sign_with(header, &plain, public.as_bytes()).await);
        }
    }
    for header in [r#"{"alg":"RS256","kid":"rsa-1"}"#, r#"{"alg":"ES256","kid":"ec-1"}"#, r#"{"alg":"RS256"}"#] {
        forged.push(host.sign_with(header, &plain, JWT_SECRET.as_bytes()).await);
    }
    // A key that the token brings along.
    for key in ["jwk", "jku", "x5u", "x5c"] {
        let header = json!({ "alg": "RS256", "kid": "rsa-1", key: rsa_key() }).to_string();
        forged.push(host.sign_with(&header, &plain, JWT_SECRET.as_bytes()).await);
    }
    for token in forged {
        assert_eq!(bearer(&app, &token).await, refused("credential_invalid"), "{token}");
    }
}

#[tokio::test]
async fn claims_that_are_missing_odd_or_too_many_are_refused() {
    let app = TestApp::start().await;
    app.db.tenant("acme").await;
    let mut host = Host::of(&app).await;
    let many = |count: usize| (0..count).map(|n| format!("role-{n}")).collect::<Vec<_>>();
    for (changes, expected) in [
        (json!({ "roles": null }), ok()),
        (json!({ "roles": [] }), ok()),
        (json!({ "roles": ["a role with spaces", "日本", "'; drop table articles; --", "{all}"] }), ok()),
        (json!({ "roles": many(64) }), ok()),
        (json!({ "name": null }), ok()),
        (json!({ "sub": "s".repeat(255) }), ok()),
        (json!({ "aud": "anybody", "iss": "anybody" }), ok()), // neither is configured
        (json!({ "exp": null }), refused("credential_invalid")),
        (json!({ "exp": "1780318800" }), refused("credential_invalid")),
        (json!({ "exp": 1e300 }), refused("credential_invalid")),
        (json!({ "exp": [1_780_318_800] }), refused("credential_invalid")),
        (json!({ "sub": null }), refused("credential_invalid")),
        (json!({ "sub": "" }), refused("credential_invalid")),
        (json!({ "sub": "s".repeat(256) }), refused("credential_invalid")),
        (json!({ "sub": 7 }), refused("credential_invalid")),
        (json!({ "tenant": null }), refused("credential_invalid")),
        (json!({ "tenant": "" }), refused("credential_invalid")),
        (json!({ "tenant": "globex" }), refused("credential_invalid")),
        (json!({ "tenant": "ACME" }), refused("credential_invalid")),
        (json!({ "tenant": "acme' or '1'='1" }), refused("credential_invalid")),
        (json!({ "tenant": "acme\u{0}" }), (400, "invalid_request".to_owned())),
        (json!({ "tenant": ["acme"] }), refused("credential_invalid")),
        (json!({ "roles": many(65) }), refused("credential_invalid")),
        (json!({ "roles": [""] }), refused("credential_invalid")),
        (json!({ "roles": ["r".repeat(101)] }), refused("credential_invalid")),
        (json!({ "roles": ["a\u{0}b"] }), refused("credential_invalid")),
        (json!({ "roles": ["a\nb"] }), refused("credential_invalid")),
        (json!({ "roles": "finance" }), refused("credential_invalid")),
        (json!({ "roles": [["finance"]] }), refused("credential_invalid")),
        (json!({ "roles": [7] }), refused("credential_invalid")),
        (json!({ "name": 7 }), refused("credential_invalid")),
    ] {
        let token = host.sign(&claims(changes.clone())).await;
        assert_eq!(bearer(&app, &token).await, expected, "{changes}");
    }
}

#[tokio::test]
async fn issuer_and_audience_are_checked_when_they_are_configured() {
    let settings = Settings {
        issuer_and_audience: Some(("https://app.example".to_owned(), "help".to_owned())),
        ..Settings::default()
    };
    let app = TestApp::start_with(settings).await;
    app.db.tenant("acme").await;
    let mut host = Host::of(&app).await;
    for (changes, accepted) in [
        (json!({ "iss": "https://app.example", "aud": "help" }), true),
        (json!({ "iss": "https://app.example", "aud": ["billing", "help"] }), true),
        (json!({ "iss": "https://app.example" }), false),
        (json!({ "aud": "help" }), false),
        (json!({}), false),
        (json!({ "iss": "https://app.example", "aud": "billing" }), false),
        (json!({ "iss": "https://app.example", "aud": ["billing"] }), false),
        (json!({ "iss": "https://app.example", "aud": [] }), false),
        (json!({ "iss": "https://app.example", "aud": "HELP" }), false),
        (json!({ "iss": "https://app.example.evil.example", "aud": "help" }), false),
        (json!({ "iss": "https://app.example/", "aud": "help" }), false),
        (json!({ "iss": "", "aud": "help" }), false),
    ] {
        let token = host.sign(&claims(changes.clone())).await;
        let expected = if accepted { ok() } else { refused("credential_invalid") };
        assert_eq!(bearer(&app, &token).await, expected, "{changes}");
    }
}

#[tokio::test]
async fn a_header_that_is_no_credential_is_refused_without_harm() {
    let app = TestApp::start().await;
    app.db.tenant("acme").await;
    let token = app.token("acme", &[]);
    assert_eq!(answer(&app, format!("bearer {token}")).await, ok(), "the scheme has no case");
    assert_eq!(answer(&app, format!("BEARER  {token} ")).await, ok());
    let mut garbage: Vec<Vec<u8>> = [
        "",
        "Bearer",
        "Bearer ",
        "Bearer  ",
        "Basic YTpi",
        "Token abc",
        &token,
        "Bearer .",
        "Bearer ..",
        "Bearer ...",
        "Bearer null",
        "Bearer e30.e30.e30",
        "Bearer hck_",
        "Bearer hck_.",
        "Bearer hck_a.b",
        "Bearer hcs_a.b",
        "Bearer %00",
        "Bearer 日本",
    ]
    .iter()
    .map(|text| text.as_bytes().to_owned())
    .collect();
    garbage.push(format!("Bearer{token}").into_bytes());
    garbage.push(format!("Bearer {token} {token}").into_bytes());
    garbage.push(format!("Bearer,{token}").into_bytes());
    garbage.push(b"Bearer \xff\xfe\xfd".to_vec());
    garbage.push(format!("Bearer {}", "a".repeat(8193)).into_bytes());
    garbage.push(format!("Bearer {}.{}.{}", "a".repeat(20_000), "b".repeat(20_000), "c".repeat(20_000)).into_bytes());
    garbage.push(format!("Bearer hck_{}.{}", "A".repeat(43), "A".repeat(43)).into_bytes());
    for header in garbage {
        let shown = String::from_utf8_lossy(&header[..header.len().min(80)]).into_owned();
        assert_eq!(answer(&app, &header).await, refused("credential_invalid"), "{shown}");
    }
    // A token beyond what is read is refused although it is signed.
    let mut host = Host::of(&app).await;
    let huge = host.sign(&claims(json!({ "padding": "x".repeat(9000) }))).await;
    assert_eq!(bearer(&app, &huge).await, refused("credential_invalid"));
}

// Published keys

async fn publish(server: &MockServer, keys: &[Value]) {
    server.reset().await;
    let keys = ResponseTemplate::new(200).set_body_json(json!({ "keys": keys }));
    Mock::given(path("/jwks")).respond_with(keys).mount(server).await;
}

fn jwks_of(server: &MockServer) -> Settings {
    Settings { jwks_url: Some(format!("{}/jwks", server.uri())), ..Settings::default() }
}

async fn fetches(server: &MockServer) -> usize {
    server.received_requests().await.unwrap().len()
}

#[tokio::test]
async fn rs256_es256_and_eddsa_tokens_are_good_with_the_key_that_they_name() {
    let jwks = MockServer::start().await;
    publish(&jwks, &[rsa_key(), ec_key(), ed_key()]).await;
    let app = TestApp::start_with(jwks_of(&jwks)).await;
    let acme = app.db.tenant("acme").await;
    let folder = Folder::of(&[("a.md", &fixture::article_for("For finance", &["finance"], "Figures."))]);
    fixture::import(&app.db, acme.id, &folder).await;
    for token in [RS256, ES256, EDDSA] {
        assert_eq!(bearer(&app, token).await, ok(), "{token}");
        assert_eq!(app.search_titles(token, "figures").await, ["For finance"], "the roles count");
        let [header, payload, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("{token}") };
        let first = if signature.starts_with('A') { 'B' } else { 'A' };
        let mut forged = vec![
            format!("{header}.{payload}.{first}{}", &signature[1..]),
            format!("{header}.{payload}."),
            format!("{header}.{payload}"),
        ];
        // The signature under another token's header, which names another key.
        for other in [RS256, ES256, EDDSA].iter().filter(|other| **other != token) {
            forged.push(format!("{}.{payload}.{signature}", other.split('.').next().unwrap()));
        }
        for token in forged {
            assert_eq!(bearer(&app, &token).await, refused("credential_invalid"), "{token}");
        }
    }
    assert_eq!(fetches(&jwks).await, 1, "the keys are fetched once");
    app.clock.advance(chrono::Duration::seconds(3631));
    assert_eq!(bearer(&app, ES256).await, refused("credential_expired"));
}

#[tokio::test]
async fn without_published_keys_only_the_shared_secret_counts() {
    let app = TestApp::start().await;
    app.db.tenant("acme").await;
    for token in [RS256, ES256, EDDSA] {
        assert_eq!(bearer(&app, token).await, refused("credential_invalid"));
    }
}

#[tokio::test]
async fn a_published_key_is_good_for_its_own_algorithm_only() {
    let jwks = MockServer::start().await;
    // The right key under the wrong name, algorithm or use.
    let mut wrong_algorithm = rsa_key();
    wrong_algorithm["alg"] = json!("RS512");
    let mut renamed = ec_key();
    renamed["kid"] = json!("ed-1");
    let symmetric = json!({ "kty": "oct", "kid": "ec-1", "alg": "HS256", "k": "c2VjcmV0" });
    publish(&jwks, &[wrong_algorithm, renamed, symmetric]).await;
    let app = TestApp::start_with(jwks_of(&jwks)).await;
    app.db.tenant("acme").await;
    for token in [RS256, ES256, EDDSA] {
        assert_eq!(bearer(&app, token).await, refused("credential_invalid"), "{token}");
    }
}

#[tokio::test]
async fn a_new_key_is_good_soon_after_it_is_published_and_an_old_one_goes_when_it_is_taken_back() {
    let jwks = MockServer::start().await;
    publish(&jwks, &[ec_key()]).await;
    let app = TestApp::start_with(jwks_of(&jwks)).await;
    app.db.tenant("acme").await;
    assert_eq!(bearer(&app, ES256).await, ok());
    publish(&jwks, &[ed_key()]).await;
    assert_eq!(bearer(&app, EDDSA).await, refused("credential_invalid"), "not asked for again so soon");
    app.clock.advance(chrono::Duration::seconds(31));
    assert_eq!(bearer(&app, EDDSA).await, ok(), "an unknown key is looked for");
    assert_eq!(bearer(&app, ES256).await, refused("credential_invalid"), "the old one is gone");
    // Without any unknown key, a key that was taken back is good for as long as keys are kept.
    publish(&jwks, &[ec_key()]).await;
    assert_eq!(bearer(&app, EDDSA).await, ok());
    app.clock.advance(chrono::Duration::seconds(601));
    assert_eq!(bearer(&app, EDDSA).await, refused("credential_invalid"));
}

#[tokio::test]
async fn tokens_with_unknown_keys_do_not_make_a_request_each() {
    let jwks = MockServer::start().await;
    publish(&jwks, &[ec_key()]).await;
    let app = TestApp::start_with(jwks_of(&jwks)).await;
    app.db.tenant("acme").await;
    let mut host = Host::of(&app).await;
    for n in 0..40 {
        let header = format!(r#"{{"alg":"RS256","kid":"unknown-{n}"}}"#);
        let token = host.sign_with(&header, &claims(json!({})), b"whatever").await;
        assert_eq!(bearer(&app, &token).await, refused("credential_invalid"));
        if n == 20 {
            app.clock.advance(chrono::Duration::seconds(31));
        }
    }
    assert_eq!(fetches(&jwks).await, 2, "once at first, and once more half a minute later");
    assert_eq!(bearer(&app, ES256).await, ok(), "people with a good key do not notice");
}

#[tokio::test]
async fn while_the_keys_cannot_be_fetched_nobody_is_told_that_their_token_is_wrong() {
    let jwks = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(500)).mount(&jwks).await;
    let app = TestApp::start_with(jwks_of(&jwks)).await;
    app.db.tenant("acme").await;
    let away = (503, "service_unavailable".to_owned());
    for attempt in 1..=3 {
        assert_eq!(bearer(&app, ES256).await, away, "attempt {attempt}: a client that hears 401 signs its user out");
    }
    assert_eq!(fetches(&jwks).await, 1, "and the keys' server is left in peace");
    publish(&jwks, &[ec_key()]).await;
    app.clock.advance(chrono::Duration::seconds(31));
    assert_eq!(bearer(&app, ES256).await, ok());
    // Keys that are known outlive the server that they came from.
    jwks.reset().await;
    app.clock.advance(chrono::Duration::seconds(601));
    assert_eq!(bearer(&app, ES256).await, ok());
    assert_eq!(fetches(&jwks).await, 1);
}

#[tokio::test]
async fn an_answer_that_is_no_key_set_counts_as_no_answer() {
    let elsewhere = MockServer::start().await;
    publish(&elsewhere, &[ec_key()]).await;
    let redirect = ResponseTemplate::new(302).insert_header("location", format!("{}/jwks", elsewhere.uri()));
    for response in [
        redirect,
        ResponseTemplate::new(200).set_body_string("<html>sign in first</html>"),
        ResponseTemplate::new(200).set_body_json(json!({ "keys": "none" })),
        ResponseTemplate::new(404),
    ] {
        let jwks = MockServer::start().await;
        Mock::given(any()).respond_with(response).mount(&jwks).await;
        let app = TestApp::start_with(jwks_of(&jwks)).await;
        app.db.tenant("acme").await;
        assert_eq!(bearer(&app, ES256).await, (503, "service_unavailable".to_owned()));
        assert_eq!(bearer(&app, &app.token("acme", &[])).await, ok(), "tokens with the shared secret do not need it");
    }
    assert_eq!(fetches(&elsewhere).await, 0, "redirects are not followed");
}

#[tokio::test]
async fn a_token_cannot_say_where_its_key_is_to_be_fetched() {
    let (jwks, elsewhere) = (MockServer::start().await, MockServer::start().await);
    publish(&jwks, &[ec_key()]).await;
    publish(&elsewhere, &[ed_key()]).await;
    let app = TestApp::start_with(jwks_of(&jwks)).await;
    app.db.tenant("acme").await;
    let mut host = Host::of(&app).await;
    let [_, payload, signature] = EDDSA.split('.').collect::<Vec<_>>()[..] else { panic!("{EDDSA}") };
    for (name, value) in [
        ("jku", json!(format!("{}/jwks", elsewhere.uri()))),
        ("x5u", json!(format!("{}/jwks", elsewhere.uri()))),
        ("jwk", ed_key()),
    ] {
        let header = json!({ "alg": "EdDSA", "kid": "ed-1", name: value }).to_string();
        let header = host.base64(header.as_bytes()).await;
        let token = format!("{header}.{payload}.{signature}");
        assert_eq!(bearer(&app, &token).await, refused("credential_invalid"), "{name}");
    }
    assert_eq!(fetches(&elsewhere).await, 0);
}

// API keys

/// A key of a tenant, and its id.
async fn key(app: &TestApp, tenant: &Tenant, roles: &[&str], expires_at: Option<DateTime<Utc>>) -> (String, Uuid) {
    let mut tx = app.db.database.tenant(tenant.id).await.unwrap();
    let roles = Roles::new(roles.iter().map(ToString::to_string).collect()).unwrap();
    let new = api_key::NewApiKey { name: "machine".to_owned(), roles, scopes: vec![], expires_at };
    let created = api_key::create(&mut tx, &app.pepper(), &new, "test").await.unwrap();
    tx.commit().await.unwrap();
    (created.text, created.id)
}

#[tokio::test]
async fn an_api_key_sees_what_its_roles_see_until_it_is_revoked() {
    let app = TestApp::start().await;
    let acme = app.db.tenant("acme").await;
    let folder = Folder::of(&[
        ("a.md", &fixture::article("For all", "Figures.")),
        ("b.md", &fixture::article_for("For finance", &["finance"], "Figures.")),
    ]);
    fixture::import(&app.db, acme.id, &folder).await;
    let (plain, _) = key(&app, &acme, &[], None).await;
    let (finance, id) = key(&app, &acme, &["finance"], None).await;
    assert_eq!(app.search_titles(&plain, "figures").await, ["For all"]);
    let mut titles = app.search_titles(&finance, "figures").await;
    titles.sort();
    assert_eq!(titles, ["For all", "For finance"]);

    let mut tx = app.db.database.tenant(acme.id).await.unwrap();
    assert!(api_key::revoke(&mut tx, id, app.clock.now(), "test").await.unwrap());
    assert!(!api_key::revoke(&mut tx, Uuid::now_v7(), app.clock.now(), "test").await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(bearer(&app, &finance).await, refused("credential_invalid"));
    assert_eq!(bearer(&app, &plain).await, ok());
}

#[tokio::test]
async fn an_api_key_ends_when_it_was_to_end() {
    let app = TestApp::start().await;
    let acme = app.db.tenant("acme").await;
    let (text, _) = key(&app, &acme, &[], Some(start_of_time() + chrono::Duration::seconds(60))).await;
    app.clock.advance(chrono::Duration::seconds(59));
    assert_eq!(bearer(&app, &text).await, ok());
    app.clock.advance(chrono::Duration::seconds(1));
    assert_eq!(bearer(&app, &text).await, refused("credential_expired"));
}

#[tokio::test]
async fn an_api_key_that_is_not_whole_or_not_ours_is_refused() {
    let app = TestApp::start().await;
    let (acme, globex) = (app.db.tenant("acme").await, app.db.tenant("globex").await);
    let (own, _) = key(&app, &acme, &[], None).await;
    let (other, _) = key(&app, &globex, &[], None).await;
    let (owner, secret) = own.split_once('.').unwrap();
    let (other_owner, other_secret) = other.split_once('.').unwrap();
    // Made with another deployment's pepper, on the same database.
    let mut tx = app.db.database.tenant(acme.id).await.unwrap();
    let pepper = Pepper::new(secrecy::SecretString::from("the pepper of another deployment altogether"));
    let new = api_key::NewApiKey { name: "machine".to_owned(), roles: Roles::none(), scopes: vec![], expires_at: None };
    let elsewhere = api_key::create(&mut tx, &pepper, &new, "test").await.unwrap().text;
    tx.commit().await.unwrap();
    let changed = if secret.starts_with('A') { 'B' } else { 'A' };
    for text in [
        format!("{owner}.{other_secret}"),
        format!("{other_owner}.{secret}"),
        format!("{owner}.{changed}{}", &secret[1..]),
        format!("{owner}.{}", "A".repeat(43)),
        format!("{owner}."),
        owner.to_owned(),
        format!("{own}A"),
        format!("{own}="),
        own[..own.len() - 1].to_owned(),
        own.replace("hck_", "hcs_"),
        own.to_uppercase(),
        elsewhere,
    ] {
        assert_eq!(bearer(&app, &text).await, refused("credential_invalid"), "{text}");
    }
    // Not for a browser: as a cookie it is no session.
    let cookie = format!("__Host-helpcenter-session={}", own.replace("hck_", "hcs_"));
    let request = app.request(Method::GET, "/api/v2/help-center/articles/").header(COOKIE, cookie);
    assert_eq!(tests::json(request).await.0, 401);
    assert_eq!(bearer(&app, &own).await, ok());
}

#[tokio::test]
async fn an_api_key_knows_when_it_was_used_last_to_the_minute() {
    let app = TestApp::start().await;
    let acme = app.db.tenant("acme").await;
    let (text, id) = key(&app, &acme, &[], None).await;
    let last_used = async || -> Option<DateTime<Utc>> {
        let mut owner = app.db.owner().await;
        sqlx::query_scalar("select last_used_at from api_keys where id = $1")
            .bind(id)
            .fetch_one(&mut owner)
            .await
            .unwrap()
    };
    assert_eq!(last_used().await, None);
    let (owner, secret) = text.split_once('.').unwrap();
    let changed = if secret.starts_with('A') { 'B' } else { 'A' };
    bearer(&app, &format!("{owner}.{changed}{}", &secret[1..])).await;
    assert_eq!(last_used().await, None, "a wrong secret is no use");
    bearer(&app, &text).await;
    assert_eq!(last_used().await, Some(start_of_time()));
    app.clock.advance(chrono::Duration::seconds(30));
    bearer(&app, &text).await;
    assert_eq!(last_used().await, Some(start_of_time()));
    app.clock.advance(chrono::Duration::seconds(31));
    bearer(&app, &text).await;
    assert_eq!(last_used().await, Some(app.clock.now()));
}

// Local accounts

const EMAIL: &str = "ada@example.com";
const PASSWORD: &str = "correct horse battery";

async fn person(db: &TestDatabase, tenant: &Tenant, email: &str, roles: &[&str]) {
    let mut tx = db.database.tenant(tenant.id).await.unwrap();
    let new = NewPerson {
        email: email.to_owned(),
        name: "Ada".to_owned(),
        roles: Roles::new(roles.iter().map(ToString::to_string).collect()).unwrap(),
        password: PASSWORD.to_owned(),
    };
    session::create_person(&mut tx, new, "test").await.unwrap();
    tx.commit().await.unwrap();
}

/// A help center with a person.
async fn with_ada() -> (TestApp, Tenant) {
    let app = TestApp::start().await;
    let acme = app.db.tenant("acme").await;
    person(&app.db, &acme, EMAIL, &["finance"]).await;
    (app, acme)
}

const SESSION: &str = "__Host-helpcenter-session";
const FORM: &str = "__Host-helpcenter-form";

/// What a browser knows of a site.
struct Browser<'a> {
    app: &'a TestApp,
    host: &'static str,
    cookies: BTreeMap<String, String>,
}

struct Page {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Page {
    fn location(&self) -> &str {
        self.headers[LOCATION].to_str().unwrap()
    }

    /// The token in the page's forms.
    fn csrf(&self) -> String {
        let (_, rest) = self.body.split_once("name=\"csrf_token\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }

    /// A cookie that the page sets, with its attributes.
    fn sets(&self, name: &str) -> Option<Vec<String>> {
        self.headers
            .get_all(SET_COOKIE)
            .iter()
            .map(|cookie| cookie.to_str().unwrap().split("; ").map(str::to_owned).collect::<Vec<_>>())
            .find(|parts| parts[0].starts_with(&format!("{name}=")))
    }
}

impl<'a> Browser<'a> {
    fn new(app: &'a TestApp) -> Self {
        Self { app, host: "acme.localhost", cookies: BTreeMap::new() }
    }

    async fn send(&mut self, request: RequestBuilder) -> Page {
        let cookies: Vec<String> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = request.header(HOST, self.host).header(COOKIE, cookies.join("; "));
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        for cookie in headers.get_all(SET_COOKIE) {
            let (name, rest) = cookie.to_str().unwrap().split_once('=').unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), rest.split(';').next().unwrap().to_owned());
            }
        }
        Page { status, headers, body: response.text().await.unwrap() }
    }

    async fn get(&mut self, path: &str) -> Page {
        self.send(self.app.request(Method::GET, path)).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.app.request(Method::POST, path).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(request.body(body)).await
    }

    async fn sign_in(&mut self, email: &str, password: &str) -> Page {
        let csrf = self.get("/sign-in/").await.csrf();
        self.post("/sign-in/", &[("csrf_token", &csrf), ("email", email), ("password", password)]).await
    }

    async fn is_signed_in(&mut self) -> bool {
        let page = self.get("/").await;
        match page.status.as_u16() {
            200 => true,
            303 if page.location().starts_with("/sign-in/") => false,
            other => panic!("{other}: {}", page.body),
        }
    }
}

#[tokio::test]
async fn email_and_password_begin_a_session_in_a_cookie_that_only_this_host_gets() {
    let (app, _) = with_ada().await;
    let mut browser = Browser::new(&app);
    assert!(!browser.is_signed_in().await);
    let page = browser.sign_in(EMAIL, PASSWORD).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "/"));
    let cookie = page.sets(SESSION).unwrap();
    let mut attributes = cookie[1..].to_vec();
    attributes.sort();
    assert_eq!(attributes, ["HttpOnly", "Max-Age=3600", "Path=/", "SameSite=Lax", "Secure"], "and no Domain");
    assert!(browser.is_signed_in().await);
    assert!(browser.get("/").await.body.contains("Ada"));
    // The cookie that guards forms is no more visible to scripts.
    let form = Browser::new(&app).get("/sign-in/").await.sets(FORM).unwrap();
    let mut attributes = form[1..].to_vec();
    attributes.sort();
    assert_eq!(attributes, ["HttpOnly", "Path=/", "SameSite=Lax", "Secure"]);
    // Case and blanks of an email do not matter.
    assert_eq!(Browser::new(&app).sign_in(" ADA@Example.com ", PASSWORD).await.status, 303);
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_email_are_told_apart_by_nothing() {
    let (app, _) = with_ada().await;
    let globex = app.db.tenant("globex").await;
    person(&app.db, &globex, "bob@example.com", &[]).await;
    let mut pages = Vec::new();
    for (email, password) in [
        (EMAIL, "wrong horse battery"),
        (EMAIL, ""),
        (EMAIL, "CORRECT HORSE BATTERY"),
        (EMAIL, "correct horse battery "),
        ("eve@example.com", PASSWORD),
        ("bob@example.com", PASSWORD), // of another tenant
        ("", ""),
        ("' or 1=1 --", PASSWORD),
        ("%@%", PASSWORD),
        ("ada@example.com\u{0}", "wrong horse battery"),
        (EMAIL, "correct horse\u{0} battery"),
        (EMAIL, &"p".repeat(2000)),
    ] {
        let mut browser = Browser::new(&app);
        browser.get("/sign-in/").await; // for the cookie, so that all pages are alike
        let page = browser.sign_in(email, password).await;
        assert_eq!(page.status, 422, "{email:?} {password:?}");
        assert_eq!(page.sets(SESSION), None);
        assert!(!browser.is_signed_in().await);
        let id = page.headers["x-request-id"].to_str().unwrap();
        let body = page.body.replace(&page.csrf(), "CSRF").replace(id, "REQUEST");
        let (before, rest) = body.split_once("name=\"email\" value=\"").unwrap();
        let (_, after) = rest.split_once('"').unwrap();
        pages.push(format!("{before}{after}"));
    }
    assert!(pages.iter().all(|page| *page == pages[0]));
    let sessions: i64 =
        sqlx::query_scalar("select count(*) from sessions").fetch_one(&mut app.db.owner().await).await.unwrap();
    assert_eq!(sessions, 0);
}

#[tokio::test]
async fn a_session_is_new_at_every_sign_in_and_the_one_before_ends() {
    let (app, _) = with_ada().await;
    let mut browser = Browser::new(&app);
    // A session that somebody else put into the browser is not taken over.
    let planted = format!("hcs_{}.{}", "A".repeat(43), "A".repeat(43));
    browser.cookies.insert(SESSION.to_owned(), planted.clone());
    browser.sign_in(EMAIL, PASSWORD).await;
    let first = browser.cookies[SESSION].clone();
    assert_ne!(first, planted);
    assert!(browser.is_signed_in().await);

    browser.sign_in(EMAIL, PASSWORD).await;
    let second = browser.cookies[SESSION].clone();
    assert_ne!(first, second);
    assert!(browser.is_signed_in().await);
    browser.cookies.insert(SESSION.to_owned(), first);
    assert!(!browser.is_signed_in().await, "the session before is still good after signing in anew (ASVS 7.2.4)");
}

#[tokio::test]
async fn a_session_ends_with_the_clock_with_its_person_and_with_signing_out() {
    let (app, _) = with_ada().await;
    let mut browser = Browser::new(&app);
    browser.sign_in(EMAIL, PASSWORD).await;
    let old = browser.cookies[SESSION].clone();
    app.clock.advance(chrono::Duration::seconds(3599));
    assert!(browser.is_signed_in().await);
    app.clock.advance(chrono::Duration::seconds(1));
    assert!(!browser.is_signed_in().await, "an hour later");
    let request = app.request(Method::GET, "/api/v2/help-center/articles/").header(COOKIE, format!("{SESSION}={old}"));
    assert_eq!(tests::json(request).await.0, 401);

    // Signing out ends it in the database, not only in the browser.
    let mut browser = Browser::new(&app);
    browser.sign_in(EMAIL, PASSWORD).await;
    let kept = browser.cookies[SESSION].clone();
    let csrf = browser.get("/").await.csrf();
    let page = browser.post("/sign-out/", &[("csrf_token", &csrf)]).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, "/"));
    let cleared = page.sets(SESSION).unwrap();
    assert!(cleared.contains(&"Max-Age=0".to_owned()) && cleared.contains(&"Secure".to_owned()), "{cleared:?}");
    assert!(!browser.is_signed_in().await);
    browser.cookies.insert(SESSION.to_owned(), kept);
    assert!(!browser.is_signed_in().await, "somebody kept the cookie");

    let mut browser = Browser::new(&app);
    browser.sign_in(EMAIL, PASSWORD).await;
    sqlx::query("delete from people").execute(&mut app.db.owner().await).await.unwrap();
    assert!(!browser.is_signed_in().await, "the person is gone");
    let sessions: i64 =
        sqlx::query_scalar("select count(*) from sessions").fetch_one(&mut app.db.owner().await).await.unwrap();
    assert_eq!(sessions, 0);
}

#[tokio::test]
async fn a_session_sees_what_the_persons_roles_are_now() {
    let (app, acme) = with_ada().await;
    let folder = Folder::of(&[("a.md", &fixture::article_for("For finance", &["finance"], "Figures."))]);
    fixture::import(&app.db, acme.id, &folder).await;
    let mut browser = Browser::new(&app);
    browser.sign_in(EMAIL, PASSWORD).await;
    assert!(browser.get("/").await.body.contains("For finance"));
    sqlx::query("update people set roles = '{}'").execute(&mut app.db.owner().await).await.unwrap();
    assert!(!browser.get("/").await.body.contains("For finance"));
}

#[tokio::test]
async fn a_session_cookie_that_is_not_whole_is_no_session() {
    let (app, _) = with_ada().await;
    let mut browser = Browser::new(&app);
    browser.sign_in(EMAIL, PASSWORD).await;
    let good = browser.cookies[SESSION].clone();
    let (owner, secret) = good.split_once('.').unwrap();
    let changed = if secret.starts_with('A') { 'B' } else { 'A' };
    for bad in [
        format!("{owner}.{changed}{}", &secret[1..]),
        format!("{owner}."),
        owner.to_owned(),
        secret.to_owned(),
        String::new(),
        good.replace("hcs_", "hck_"),
        format!("{good}A"),
        "x".repeat(5000),
    ] {
        browser.cookies.insert(SESSION.to_owned(), bad.clone());
        assert!(!browser.is_signed_in().await, "{bad}");
    }
    // Nor is it a token for the API's header.
    assert_eq!(bearer(&app, &good).await, refused("credential_invalid"));
    browser.cookies.insert(SESSION.to_owned(), good);
    assert!(browser.is_signed_in().await);
}

#[tokio::test]
async fn a_form_that_did_not_come_from_our_page_is_refused() {
    let (app, _) = with_ada().await;
    let mut stranger = Browser::new(&app);
    let foreign = stranger.get("/sign-in/").await.csrf();
    let mut browser = Browser::new(&app);
    let own = browser.get("/sign-in/").await.csrf();
    assert_ne!(own, foreign);
    let fields = |csrf: &'static str| [("csrf_token", csrf), ("email", EMAIL), ("password", PASSWORD)];
    for csrf in ["", "x", &foreign, &own.to_lowercase(), &format!("{own}x"), &own[1..]] {
        let page = browser.post("/sign-in/", &[("csrf_token", csrf), ("email", EMAIL), ("password", PASSWORD)]).await;
        assert_eq!((page.status.as_u16(), page.sets(SESSION)), (403, None), "{csrf:?}");
    }
    let page = browser.post("/sign-in/", &fields("x")[1..]).await;
    assert_eq!((page.status.as_u16(), page.sets(SESSION)), (403, None), "no token at all");
    // Without the cookie, the token is no use.
    let page =
        Browser::new(&app).post("/sign-in/", &[("csrf_token", &own), ("email", EMAIL), ("password", PASSWORD)]).await;
    assert_eq!((page.status.as_u16(), page.sets(SESSION)), (403, None));
    // From another site, says the browser; whatever the token.
    for (site, status) in
        [("cross-site", 403), ("same-site", 403), ("nonsense", 403), ("same-origin", 303), ("none", 303)]
    {
        let mut browser = Browser::new(&app);
        let csrf = browser.get("/sign-in/").await.csrf();
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("csrf_token", csrf.as_str()), ("email", EMAIL), ("password", PASSWORD)])
            .finish();
        let request = app
            .request(Method::POST, "/sign-in/")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header("sec-fetch-site", site)
            .body(body);
        assert_eq!(browser.send(request).await.status, status, "{site}");
    }
    // The token belongs to the session: one from before signing in does not sign out.
    let before = browser.get("/sign-in/").await.csrf();
    browser.sign_in(EMAIL, PASSWORD).await;
    for csrf in ["", &before, &foreign] {
        assert_eq!(browser.post("/sign-out/", &[("csrf_token", csrf)]).await.status, 403, "{csrf:?}");
        assert!(browser.is_signed_in().await);
    }
    // And a form must be one: what another site can send without asking is not enough.
    for content_type in ["text/plain", "application/json", "multipart/form-data; boundary=x", ""] {
        let csrf = browser.get("/").await.csrf();
        let request = app.request(Method::POST, "/sign-out/").header(CONTENT_TYPE, content_type);
        let page = browser.send(request.body(format!("csrf_token={csrf}"))).await;
        assert_eq!(page.status, 415, "{content_type:?}");
        assert!(browser.is_signed_in().await);
    }
}

#[tokio::test]
async fn after_signing_in_a_browser_is_sent_to_a_page_of_this_site_only() {
    let (app, _) = with_ada().await;
    for (next, expected) in [
        ("/articles/a/", "/articles/a/"),
        ("/search/?q=a%20b", "/search/?q=a%20b"),
        ("", "/"),
        ("https://evil.example/", "/"),
        ("http:evil.example", "/"),
        ("//evil.example", "/"),
        ("///evil.example", "/"),
        ("/\\evil.example", "/"),
        ("\\\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\n/evil.example", "/"),
        ("\u{0}//evil.example", "/"),
        (" //evil.example", "/"),
        ("javascript:alert(1)", "/"),
        ("data:text/html,x", "/"),
        ("evil.example", "/"),
        ("/ä", "/"),
        ("/a\r\nset-cookie: x=y", "/"),
    ] {
        let mut browser = Browser::new(&app);
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let page = browser.get(&format!("/sign-in/?{query}")).await;
        let offered = page.body.split_once("name=\"next\" value=\"").unwrap().1.split('"').next().unwrap().to_owned();
        assert_eq!(offered, expected, "{next:?} in the page");
        let csrf = page.csrf();
        let fields = [("csrf_token", csrf.as_str()), ("email", EMAIL), ("password", PASSWORD), ("next", next)];
        let page = browser.post("/sign-in/", &fields).await;
        assert_eq!((page.status.as_u16(), page.location()), (303, expected), "{next:?}");
        assert!(page.headers.get("x").is_none() && page.headers.get_all(SET_COOKIE).iter().count() == 1);
    }
}

#[tokio::test]
async fn what_a_token_calls_its_person_is_shown_as_text() {
    let app = TestApp::start().await;
    app.db.tenant("acme").await;
    let mut host = Host::of(&app).await;
    let token = host.sign(&claims(json!({ "name": "<script>alert(1)</script>\"'><img src=x>" }))).await;
    let body = app.request(Method::GET, "/").bearer_auth(&token).send().await.unwrap().text().await.unwrap();
    assert!(body.contains("alert(1)") && !body.contains("<script>alert") && !body.contains("<img src=x>"), "{body}");
}

// What is kept

/// Columns in which any of the texts occurs, over all tables.
async fn columns_with(db: &TestDatabase, texts: &[String]) -> Vec<String> {
    let mut owner = db.owner().await;
    let columns: Vec<(String, String)> = sqlx::query_as(
        "select format('%I.%I', table_schema, table_name), quote_ident(column_name) from information_schema.columns
         join information_schema.tables using (table_schema, table_name)
         where table_schema not in ('pg_catalog', 'information_schema') and table_type = 'BASE TABLE' order by 1, 2",
    )
    .fetch_all(&mut owner)
    .await
    .unwrap();
    let mut found = Vec::new();
    for (table, column) in columns {
        let sql = format!(
            "select exists (select from {table}, unnest($1::text[]) as t (text)
                            where strpos(lower({column}::text), lower(t.text)) > 0)"
        );
        if sqlx::query_scalar(AssertSqlSafe(sql)).bind(texts).fetch_one(&mut owner).await.unwrap() {
            found.push(format!("{table}.{column}"));
        }
    }
    found
}

#[tokio::test]
async fn no_secret_is_in_the_database_as_it_was_given_out() {
    let (app, acme) = with_ada().await;
    person(&app.db, &acme, "bob@example.com", &[]).await;
    let mut browser = Browser::new(&app);
    browser.sign_in(EMAIL, PASSWORD).await;
    let session = browser.cookies[SESSION].clone();
    let (api_key, _) = key(&app, &acme, &[], None).await;
    assert_eq!(bearer(&app, &api_key).await, ok());
    let token = app.token("acme", &[]);
    assert_eq!(bearer(&app, &token).await, ok());

    let mut secrets = vec![PASSWORD.to_owned(), JWT_SECRET.to_owned(), token, browser.cookies[FORM].clone()];
    for credential in [&session, &api_key] {
        let secret = credential.split_once('.').unwrap().1;
        // Its bytes, as a bytea column shows them.
        let hex: String =
            sqlx::query_scalar("select encode(decode(translate($1, '-_', '+/') || '=', 'base64'), 'hex')")
                .bind(secret)
                .fetch_one(&mut app.db.owner().await)
                .await
                .unwrap();
        secrets.extend([secret.to_owned(), hex]);
    }
    assert_eq!(columns_with(&app.db, &secrets).await, [""; 0]);
    // The search itself finds what is there, text and bytes.
    assert_eq!(columns_with(&app.db, &[EMAIL.to_owned()]).await, ["public.people.email"]);
    let hash: String = sqlx::query_scalar("select encode(secret_hash, 'hex') from sessions")
        .fetch_one(&mut app.db.owner().await)
        .await
        .unwrap();
    assert_eq!(columns_with(&app.db, &[hash]).await, ["public.sessions.secret_hash"]);

    let hashes: Vec<String> =
        sqlx::query_scalar("select password_hash from people").fetch_all(&mut app.db.owner().await).await.unwrap();
    assert!(hashes.iter().all(|hash| hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$")), "{hashes:?}");
    assert_ne!(hashes[0], hashes[1], "the same password is stored under two salts");
}

#[tokio::test]
async fn creating_people_and_keys_is_in_the_audit_log_without_their_secrets() {
    let (app, acme) = with_ada().await;
    let (_, id) = key(&app, &acme, &[], None).await;
    let mut tx = app.db.database.tenant(acme.id).await.unwrap();
    api_key::revoke(&mut tx, id, app.clock.now(), "test").await.unwrap();
    tx.commit().await.unwrap();
    let entries: Vec<(String, String)> = sqlx::query_as("select actor, action from audit_log order by created_at, id")
        .fetch_all(&mut app.db.owner().await)
        .await
        .unwrap();
    let expected = ["person.created", "api_key.created", "api_key.revoked"].map(|a| ("test".to_owned(), a.to_owned()));
    assert_eq!(entries, expected);
}
