//! What readers leave: one vote each, counted exactly; reports, bookmarks and suggestions; and what staff makes of them.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use futures::{StreamExt as _, stream};
use reqwest::{Method, StatusCode, header::HOST};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    auth::{
        Roles, api_key,
        jwt::{self, NewToken},
    },
    tenancy::TenantId,
};
use tests::{
    JWT_SECRET, TestApp,
    fixture::{self, Folder},
};

const API: &str = "/api/v2/help-center/";

struct World {
    app: TestApp,
    acme: TenantId,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let acme = app.db.tenant("acme").await.id;
        let folder = Folder::of(&[
            ("page.md", &fixture::article("Page", "Text.")),
            ("other.md", &fixture::article("Other", "Text.")),
            ("secret.md", &fixture::article_for("Secret", &["board"], "Text.")),
        ]);
        fixture::import(&app.db, acme, &folder).await;
        Self { app, acme }
    }

    /// A person's token.
    fn person(&self, subject: &str, roles: &[&str]) -> String {
        let roles: Vec<String> = roles.iter().map(ToString::to_string).collect();
        let exp = self.app.clock.now().timestamp() + 3600;
        let token = NewToken { sub: subject, tenant: "acme", roles: &roles, name: "A Person", exp };
        jwt::sign(&SecretString::from(JWT_SECRET), &token).unwrap()
    }

    async fn send(&self, method: Method, path: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        tests::json(self.app.request(method, &format!("{API}{path}")).bearer_auth(token).json(body)).await
    }

    async fn vote(&self, who: &str, helpful: bool) -> Value {
        let body = json!({ "helpful": helpful });
        let (status, votes) = self.send(Method::PUT, "articles/page/vote/", &self.person(who, &[]), &body).await;
        assert_eq!(status, StatusCode::OK, "{votes}");
        votes
    }

    async fn counted(&self, sql: &'static str) -> (i64, i64) {
        sqlx::query_as(sql).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }
}

const COUNTS: &str = "select helpful_count, not_helpful_count from articles where slug = 'page'";
const ROWS: &str =
    "select count(*) filter (where is_helpful), count(*) filter (where not is_helpful) from article_votes";

fn numbers(votes: &Value) -> (i64, i64, &Value) {
    (votes["helpful_count"].as_i64().unwrap(), votes["not_helpful_count"].as_i64().unwrap(), &votes["own"])
}

#[tokio::test]
async fn each_person_has_one_vote_which_can_be_changed_and_taken_back() {
    let world = World::new().await;
    assert_eq!(numbers(&world.vote("ada", true).await), (1, 0, &json!(true)));
    assert_eq!(numbers(&world.vote("ada", true).await), (1, 0, &json!(true)));
    assert_eq!(numbers(&world.vote("bob", true).await), (2, 0, &json!(true)));
    assert_eq!(numbers(&world.vote("ada", false).await), (1, 1, &json!(false)));
    let (_, seen) = world.app.get(&format!("{API}articles/page/vote/"), &world.person("eve", &[])).await;
    assert_eq!((numbers(&seen), &seen["helpful_ratio"]), ((1, 1, &Value::Null), &json!(0.5)));
    let (_, left) = world.send(Method::DELETE, "articles/page/vote/", &world.person("ada", &[]), &json!({})).await;
    assert_eq!(numbers(&left), (1, 0, &Value::Null));
    assert_eq!(world.counted(COUNTS).await, (1, 0));
    // A vote is no change of the article.
    let (_, article) = world.app.get(&format!("{API}articles/page/"), &world.person("ada", &[])).await;
    assert_eq!((&article["version"], &article["helpful_ratio"]), (&json!(2), &json!(1.0)), "{article}");
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_votes_of_concurrent_clients_are_counted_exactly() {
    let world = World::new().await;
    // Five thousand people, each of whom votes twice at about the same time, differently in half of the cases.
    let votes = stream::iter(0..10_000).map(|n| {
        let world = &world;
        async move { world.vote(&format!("person {}", n / 2), n % 4 != 0).await }
    });
    votes.buffer_unordered(64).for_each(async |_| {}).await;
    let counts = world.counted(COUNTS).await;
    assert_eq!(counts, world.counted(ROWS).await);
    assert_eq!(counts.0 + counts.1, 5_000);
    assert!(counts.0 >= 2_500, "{counts:?}");
}

#[tokio::test]
async fn what_is_hidden_takes_no_votes_reports_or_bookmarks() {
    let world = World::new().await;
    let (member, other) = (world.person("ada", &["board"]), world.person("ada", &[]));
    for (method, path, body) in [
        (Method::PUT, "articles/secret/vote/", json!({ "helpful": true })),
        (Method::POST, "articles/secret/reports/", json!({ "kind": "INCORRECT" })),
        (Method::PUT, "articles/secret/bookmark/", json!({})),
    ] {
        let (status, refused) = world.send(method.clone(), path, &other, &body).await;
        assert_eq!((status, &refused["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{path}");
        let (status, _) = world.send(method, path, &member, &body).await;
        assert!(status.is_success(), "{path}: {status}");
    }
    let titles = async |token: &str| {
        let (_, page) = world.app.get(&format!("{API}bookmarks/"), token).await;
        page["results"].as_array().unwrap().iter().map(|a| a["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(titles(&member).await, ["Secret"]);
    assert!(titles(&other).await.is_empty(), "the same person without the role");
}

#[tokio::test]
async fn bookmarks_are_listed_latest_first_page_by_page() {
    let world = World::new().await;
    let ada = world.person("ada", &[]);
    for slug in ["page", "other", "page"] {
        let (status, _) = world.send(Method::PUT, &format!("articles/{slug}/bookmark/"), &ada, &json!({})).await;
        assert_eq!(status, StatusCode::NO_CONTENT);
    }
    let (_, first) = world.app.get(&format!("{API}bookmarks/?limit=1"), &ada).await;
    assert_eq!(first["results"][0]["title"], "Other");
    let next = format!("{API}bookmarks/?limit=1&cursor={}", first["next_cursor"].as_str().unwrap());
    let (_, second) = world.app.get(&next, &ada).await;
    assert_eq!((&second["results"][0]["title"], &second["next_cursor"]), (&json!("Page"), &Value::Null));
    let (status, _) = world.send(Method::DELETE, "articles/other/bookmark/", &ada, &json!({})).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let (_, left) = world.app.get(&format!("{API}bookmarks/"), &ada).await;
    assert_eq!(left["results"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn visitors_vote_with_the_session_of_their_browser_of_which_a_hash_is_kept() {
    let world = World::new().await;
    sqlx::query("update tenants set is_public = true").execute(&mut world.app.db.owner().await).await.unwrap();
    let vote = async |body: Value| {
        let request =
            world.app.request(Method::PUT, &format!("{API}articles/page/vote/")).header(HOST, "acme.localhost");
        tests::json(request.json(&body)).await
    };
    for session in [json!(null), json!("too short"), json!("x".repeat(101))] {
        let (status, refused) = vote(json!({ "helpful": true, "session_id": session })).await;
        assert_eq!((status, &refused["code"]), (StatusCode::UNAUTHORIZED, &json!("authentication_required")));
    }
    for (session, expected) in [("the first browser", 1), ("the first browser", 1), ("the second browser", 2)] {
        let (status, votes) = vote(json!({ "helpful": true, "session_id": session })).await;
        assert_eq!((status, votes["helpful_count"].as_i64()), (StatusCode::OK, Some(expected)), "{votes}");
    }
    let readers: Vec<String> = sqlx::query_scalar("select reader from article_votes")
        .fetch_all(&mut world.app.db.owner().await)
        .await
        .unwrap();
    assert!(readers.iter().all(|reader| reader.starts_with("visitor:") && !reader.contains("browser")), "{readers:?}");
}

#[tokio::test]
async fn machines_leave_nothing() {
    let world = World::new().await;
    let new = api_key::NewApiKey { name: "machine".to_owned(), roles: Roles::none(), scopes: vec![], expires_at: None };
    let mut tx = world.app.db.database.tenant(world.acme).await.unwrap();
    let key = api_key::create(&mut tx, &world.app.pepper(), &new, "test").await.unwrap().text;
    tx.commit().await.unwrap();
    let (status, refused) = world.send(Method::PUT, "articles/page/vote/", &key, &json!({ "helpful": true })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("permission_required")));
    assert_eq!(world.counted(COUNTS).await, (0, 0));
}

#[tokio::test]
async fn reports_reach_staff_once_and_are_settled() {
    let world = World::new().await;
    let (reader, author, editor) =
        (world.person("reader", &[]), world.person("author", &["author"]), world.person("editor", &["editor"]));
    for comment in ["Step 2 is wrong.", "Step 2 and 3 are wrong."] {
        let body = json!({ "kind": "INCORRECT", "comment": comment });
        assert_eq!(world.send(Method::POST, "articles/page/reports/", &reader, &body).await.0, StatusCode::CREATED);
    }
    let open = async || world.app.get(&format!("{API}admin/reports/?status=OPEN"), &author).await.1["results"].clone();
    let reports = open().await;
    assert_eq!(reports.as_array().unwrap().len(), 1, "the same reader and kind is one report");
    let report = &reports[0];
    assert_eq!((&report["comment"], &report["title"]), (&json!("Step 2 and 3 are wrong."), &json!("Page")));
    assert!(!report.to_string().contains("reader"), "who reported is not told: {report}");
    let path = format!("admin/reports/{}/", report["id"].as_str().unwrap());
    let (status, _) = world.send(Method::PATCH, &path, &author, &json!({ "status": "RESOLVED" })).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, refused) = world.send(Method::PATCH, &path, &editor, &json!({ "status": "GONE" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    let (status, _) = world.send(Method::PATCH, &path, &editor, &json!({ "status": "RESOLVED" })).await;
    assert_eq!((status, open().await), (StatusCode::OK, json!([])));
    // What is wrong again is a report again.
    let body = json!({ "kind": "INCORRECT" });
    assert_eq!(world.send(Method::POST, "articles/page/reports/", &reader, &body).await.0, StatusCode::CREATED);
    assert_eq!(open().await.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn suggestions_reach_staff_and_become_articles() {
    let world = World::new().await;
    let (ada, editor) = (world.person("ada", &[]), world.person("editor", &["editor"]));
    let body = json!({ "title": "How do I share a page?", "details": "With people of other teams." });
    let (status, kept) = world.send(Method::POST, "suggestions/", &ada, &body).await;
    assert_eq!(status, StatusCode::CREATED, "{kept}");
    let (status, refused) = world.send(Method::POST, "suggestions/", &ada, &json!({ "title": "a\nb" })).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    let new = json!({ "title": "Sharing pages" });
    let (_, article) = world.send(Method::POST, "admin/articles/", &editor, &new).await;
    let path = format!("admin/suggestions/{}/", kept["id"].as_str().unwrap());
    let unknown = json!({ "status": "DONE", "article_id": uuid::Uuid::nil() });
    let (status, refused) = world.send(Method::PATCH, &path, &editor, &unknown).await;
    assert_eq!((status, &refused["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{refused}");
    let done = json!({ "status": "DONE", "article_id": article["id"] });
    assert_eq!(world.send(Method::PATCH, &path, &editor, &done).await.0, StatusCode::OK);
    let (_, listed) = world.app.get(&format!("{API}admin/suggestions/?status=DONE"), &editor).await;
    assert_eq!(listed["results"][0]["article_id"], article["id"], "{listed}");
    let (_, listed) = world.app.get(&format!("{API}admin/suggestions/?status=OPEN"), &editor).await;
    assert_eq!(listed["results"], json!([]));
}
