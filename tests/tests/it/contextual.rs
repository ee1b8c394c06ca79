//! Help for the page that somebody is on: rules, what others read there, what is similar; and who may write rules.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use reqwest::{
    Method, StatusCode,
    header::{ACCEPT_LANGUAGE, ETAG, IF_NONE_MATCH},
};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tests::{
    Settings, TestApp,
    fixture::{self, Folder, article, article_for},
};

const HELP: &str = "/api/v2/help-center/contextual/";
const RULES: &str = "/api/v2/help-center/admin/contextual-rules/";

struct World {
    app: TestApp,
    admin: String,
}

impl World {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        let app = TestApp::start_with(settings).await;
        let acme = app.db.tenant("acme").await.id;
        let german = "---\ntitle: Rechnungen\nlocale: de\n---\n\nWo Rechnungen stehen.\n";
        let folder = Folder::of(&[
            ("invoices.md", &article("Invoices and payments", "Where to find invoices, and how to pay them.")),
            ("cards.md", &article("Credit cards", "Which credit cards may be used for payments.")),
            ("people.md", &article("Invite people", "How to invite people to a project.")),
            ("secret.md", &article_for("Payments of the board", &["board"], "Invoices that few people see.")),
            ("german.md", german),
        ]);
        fixture::import(&app.db, acme, &folder).await;
        app.run_jobs().await;
        let admin = app.token("acme", &["admin"]);
        let world = Self { app, admin };
        world
            .execute(
                "update articles set translation_group = (select translation_group from articles where slug = 'invoices')
                 where slug = 'german'",
            )
            .await;
        world
    }

    async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    async fn id(&self, slug: &str) -> String {
        let id: uuid::Uuid = sqlx::query_scalar("select id from articles where slug = $1")
            .bind(slug)
            .fetch_one(&mut self.app.db.owner().await)
            .await
            .unwrap();
        id.to_string()
    }

    async fn ids(&self, slugs: &[&str]) -> Vec<String> {
        let mut ids = Vec::new();
        for slug in slugs {
            ids.push(self.id(slug).await);
        }
        ids
    }

    async fn rule(&self, pattern: &str, slugs: &[&str], priority: i32) -> Value {
        let body = json!({ "pattern": pattern, "article_ids": self.ids(slugs).await, "priority": priority });
        let (status, rule) = self.app.post(RULES, &self.admin, &body).await;
        assert_eq!(status, StatusCode::CREATED, "{rule}");
        rule
    }

    async fn send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        tests::json(self.app.request(method, path).bearer_auth(&self.admin).json(body)).await
    }

    async fn asked(&self, pairs: &[(&str, &str)], roles: &[&str]) -> Value {
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let (status, help) = self.app.get(&format!("{HELP}?{query}"), &self.app.token("acme", roles)).await;
        assert_eq!(status, StatusCode::OK, "{help}");
        help
    }

    /// Slugs and reasons.
    async fn help(&self, pairs: &[(&str, &str)], roles: &[&str]) -> Vec<(String, String)> {
        told(&self.asked(pairs, roles).await)
    }

    /// Somebody reads an article on a page.
    async fn read(&self, who: &str, slug: &str, page: &str, days_ago: i32) {
        self.execute(&format!(
            "insert into article_views (tenant_id, article_id, reader, page, viewed_at, viewed_on)
             select tenant_id, id, 'person:{who}', '{page}', now() - interval '{days_ago} days', current_date - {days_ago}
             from articles where slug = '{slug}'"
        ))
        .await;
    }
}

fn told(help: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    help["results"].as_array().unwrap().iter().map(|line| (text(&line["slug"]), text(&line["reason"]))).collect()
}

fn slugs(help: Vec<(String, String)>, reason: &str) -> Vec<String> {
    help.into_iter().filter(|(_, why)| why == reason).map(|(slug, _)| slug).collect()
}

const BILLING: &str = "https://app.example.com/projects/42/billing?token=secret#top";

#[tokio::test]
async fn rules_apply_by_priority_then_by_how_specific_they_are() {
    let world = World::new().await;
    world.rule("*", &["people"], 0).await;
    world.rule("/projects/:id/billing", &["invoices", "cards"], 0).await;
    let by_rule = async || slugs(world.help(&[("url", BILLING)], &[]).await, "rule");
    assert_eq!(by_rule().await, ["invoices", "cards", "people"]);
    let first = world.rule("/projects/*", &["cards", "secret"], 10).await;
    assert_eq!(by_rule().await, ["cards", "invoices", "people"], "each once, and nothing hidden");
    let board = slugs(world.help(&[("url", BILLING)], &["board"]).await, "rule");
    assert_eq!(board, ["cards", "secret", "invoices", "people"]);
    let path = format!("{RULES}{}/", first["id"].as_str().unwrap());
    let ids = world.ids(&["people"]).await;
    let body = json!({ "pattern": "other.example.com/*", "article_ids": ids, "priority": 10, "is_active": true });
    assert_eq!(world.send(Method::PUT, &path, &body).await.0, StatusCode::OK);
    assert_eq!(by_rule().await, ["invoices", "cards", "people"]);
    let body = json!({ "pattern": "app.example.com/*", "article_ids": ids, "priority": 10, "is_active": false });
    assert_eq!(world.send(Method::PUT, &path, &body).await.0, StatusCode::OK);
    assert_eq!(by_rule().await, ["invoices", "cards", "people"], "one that is not active does not apply");
    let (_, listed) = world.app.get(RULES, &world.admin).await;
    let patterns: Vec<&str> =
        listed["results"].as_array().unwrap().iter().map(|rule| rule["pattern"].as_str().unwrap()).collect();
    assert_eq!(patterns, ["app.example.com/*", "/projects/:id/billing", "*"]);
    assert_eq!(world.send(Method::DELETE, &path, &json!({})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(world.send(Method::DELETE, &path, &json!({})).await.0, StatusCode::NOT_FOUND);
    let actions: Vec<String> =
        sqlx::query_scalar("select action from audit_log where action like 'contextual%' order by id")
            .fetch_all(&mut world.app.db.owner().await)
            .await
            .unwrap();
    let changed = "contextual_rule.changed";
    assert_eq!(actions, [changed, changed, changed, changed, changed, "contextual_rule.deleted"]);
}

#[tokio::test]
async fn what_people_read_on_a_page_follows_when_there_are_enough_of_them_lately() {
    let world = World::new().await;
    let page = "app.example.com/projects/:id/billing";
    for who in ["ada", "bob", "eve"] {
        world.read(who, "people", page, 1).await;
        world.read(who, "secret", page, 1).await;
        world.read(who, "german", page, 100).await;
    }
    for (who, days_ago) in [("ada", 1), ("ada", 2), ("ada", 3), ("bob", 1)] {
        world.read(who, "cards", page, days_ago).await;
    }
    let read = async |url: &str, roles: &[&str]| slugs(world.help(&[("url", url)], roles).await, "read_here");
    assert_eq!(read(BILLING, &[]).await, ["people"]);
    assert_eq!(read("https://app.example.com/projects/7/billing/", &["board"]).await.len(), 2);
    assert_eq!(read("https://app.example.com/projects/42/people", &[]).await, Vec::<String>::new());
    world.read("eve", "cards", page, 1).await;
    world.read("tom", "cards", page, 1).await;
    assert_eq!(read(BILLING, &[]).await, ["cards", "people"], "most people first");
    world.rule("/projects/*", &["people"], 0).await;
    let help = world.help(&[("url", BILLING), ("limit", "2")], &[]).await;
    let expected = [("people", "rule"), ("cards", "read_here")].map(|(slug, why)| (slug.to_owned(), why.to_owned()));
    assert_eq!(help, expected, "each once, at most as many as were asked for");
}

#[tokio::test]
async fn a_view_that_tells_its_page_is_what_is_read_there() {
    let world = World::new().await;
    for n in 0..3 {
        let session = format!("a session of visitor {n}");
        world.execute("update tenants set is_public = true").await;
        let request = world
            .app
            .request(Method::POST, "/api/v2/help-center/articles/people/view/")
            .header("host", "acme.localhost")
            .json(
                &json!({ "session_id": session, "url": format!("https://app.example.com/projects/{n}/billing?x={n}") }),
            );
        assert_eq!(request.send().await.unwrap().status(), StatusCode::NO_CONTENT);
    }
    assert_eq!(slugs(world.help(&[("url", BILLING)], &[]).await, "read_here"), ["people"]);
}

#[tokio::test]
async fn title_and_path_find_the_rest() {
    let world = World::new().await;
    let help = world.help(&[("url", "https://app.example.com/x/1"), ("title", "\"Invoices\" – Acme")], &[]).await;
    assert_eq!(help[0], ("invoices".to_owned(), "similar".to_owned()));
    let help = world.help(&[("url", "https://app.example.com/creditCards/new")], &[]).await;
    assert_eq!(help[0].0, "cards");
    assert!(!help.iter().any(|(slug, _)| slug == "secret"), "{help:?}");
    // A page without a word has nothing similar.
    assert_eq!(world.help(&[("url", "https://app.example.com/")], &[]).await, []);
    let kept: i64 =
        sqlx::query_scalar("select count(*) from searches").fetch_one(&mut world.app.db.owner().await).await.unwrap();
    assert_eq!(kept, 0, "nobody has searched");
}

#[tokio::test]
async fn of_translations_the_readers_own_is_shown() {
    let world = World::new().await;
    world.rule("/billing", &["invoices"], 0).await;
    let asked = async |language: &str| {
        let request = world.app.request(Method::GET, &format!("{HELP}?url=/billing&limit=1"));
        let token = world.app.token("acme", &[]);
        told(&tests::json(request.bearer_auth(token).header(ACCEPT_LANGUAGE, language)).await.1)[0].0.clone()
    };
    assert_eq!(asked("de-AT").await, "german");
    assert_eq!(asked("en").await, "invoices");
    assert_eq!(asked("fr").await, "invoices");
}

#[tokio::test]
async fn an_answer_that_is_known_is_not_sent_again() {
    let world = World::new().await;
    let ask = |tag: Option<String>| {
        let request = world.app.request(Method::GET, &format!("{HELP}?url=/billing")).bearer_auth(&world.admin);
        match tag {
            Some(tag) => request.header(IF_NONE_MATCH, tag),
            None => request,
        }
    };
    let first = ask(None).send().await.unwrap();
    let tag = first.headers()[ETAG].to_str().unwrap().to_owned();
    assert_eq!(ask(Some(tag.clone())).send().await.unwrap().status(), StatusCode::NOT_MODIFIED);
    world.rule("/billing", &["people"], 0).await;
    assert_eq!(ask(Some(tag)).send().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn without_the_model_rules_and_words_answer_and_it_says_so() {
    let world = World::with(Settings { with_model: false, ..Settings::default() }).await;
    world.rule("/billing", &["people"], 0).await;
    let help = world.asked(&[("url", "/billing"), ("title", "Credit cards")], &[]).await;
    let expected = [("people", "rule"), ("cards", "similar")].map(|(slug, why)| (slug.to_owned(), why.to_owned()));
    assert_eq!(told(&help)[..2], expected);
    assert_eq!(help["degraded"], json!(["semantic"]));
}

#[tokio::test]
async fn what_cannot_be_a_rule_or_a_page_is_refused_in_words() {
    let world = World::new().await;
    let people = world.id("people").await;
    let nobody = uuid::Uuid::nil();
    for (body, says) in [
        (json!({ "pattern": "/x/(a+)+", "article_ids": [people] }), "parentheses"),
        (json!({ "pattern": "/{x", "article_ids": [people] }), "no pattern of an address"),
        (json!({ "pattern": "", "article_ids": [people] }), "1 to 500 characters"),
        (json!({ "pattern": "/x", "article_ids": [] }), "1 to 10 ids"),
        (json!({ "pattern": "/x", "article_ids": [people, people] }), "there twice"),
        (json!({ "pattern": "/x", "article_ids": [nobody] }), "there is no article"),
        (json!({ "pattern": "/x", "article_ids": [people], "priority": 1001 }), "from -1000 to 1000"),
    ] {
        let (status, answer) = world.app.post(RULES, &world.admin, &body).await;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{body}");
        assert!(answer["detail"].as_str().unwrap().contains(says), "{body}: {answer}");
    }
    world
        .execute(
            "insert into contextual_rules (tenant_id, pattern) select id, '/x' from tenants, generate_series(1, 200)",
        )
        .await;
    let body = json!({ "pattern": "/x", "article_ids": [people] });
    let (status, answer) = world.app.post(RULES, &world.admin, &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["detail"].as_str().unwrap().contains("There are 200 rules"), "{answer}");
    for (query, says) in [
        ("url=billing", "must be the address of a page"),
        ("url=javascript:x", "must be the address of a page"),
        (&format!("url=/{}", "x".repeat(2_048)), "at most 2048"),
        (&format!("url=/x&title={}", "x".repeat(301)), "at most 300"),
        ("url=/x&limit=21", "from 1 to 20"),
        ("title=x", "url"),
    ] {
        let (status, answer) = world.app.get(&format!("{HELP}?{query}"), &world.admin).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}: {answer}");
        assert!(answer["detail"].as_str().unwrap().contains(says), "{query}: {answer}");
    }
}
