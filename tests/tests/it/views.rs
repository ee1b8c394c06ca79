//! Views: counted once for each reader and day, exactly, and without keeping anybody waiting.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::time::{Duration, Instant};

use futures::{StreamExt as _, stream};
use reqwest::{
    Method, StatusCode,
    header::{COOKIE, HOST, USER_AGENT},
};
use secrecy::SecretString;
use serde_json::{Value, json};
use shared::{
    auth::{
        Roles, api_key,
        jwt::{self, NewToken},
    },
    knowledge::{CountViews, views},
    queue,
    tenancy::TenantId,
};
use sqlx::AssertSqlSafe;
use tests::{
    JWT_SECRET, Settings, TestApp,
    fixture::{self, Folder},
    processes::Program,
};

use crate::queue::support::eventually;

const ARTICLES: &str = "/api/v2/help-center/articles/";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

struct World {
    app: TestApp,
    acme: TenantId,
    token: String,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start_with(Settings { lease: Duration::from_secs(2), ..Settings::default() }).await;
        let acme = app.db.tenant("acme").await.id;
        let folder = Folder::of(&[
            ("page.md", &fixture::article("Page", "Text.")),
            ("secret.md", &fixture::article_for("Secret", &["board"], "Text.")),
        ]);
        fixture::import(&app.db, acme, &folder).await;
        app.run_jobs().await;
        let token = app.token("acme", &[]);
        Self { app, acme, token }
    }

    async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    fn person(&self, subject: &str) -> String {
        let exp = self.app.clock.now().timestamp() + 3600;
        let token = NewToken { sub: subject, tenant: "acme", roles: &[], name: "A Person", exp };
        jwt::sign(&SecretString::from(JWT_SECRET), &token).unwrap()
    }

    async fn view(&self, article: &str, token: &str, body: &Value) -> (StatusCode, Value) {
        self.app.post(&format!("{ARTICLES}{article}/view/"), token, body).await
    }

    async fn count_views(&self) -> u64 {
        views::count(&self.app.db.database, self.acme).await.unwrap()
    }

    /// How many views of the page are counted, and how many are kept.
    async fn views(&self) -> (i64, i64) {
        (
            self.number("select view_count from articles where slug = 'page'").await,
            self.number(
                "select count(*) from article_views v join articles a on a.id = v.article_id where a.slug = 'page'",
            )
            .await,
        )
    }

    /// Views of 100 people, and a job that counts them.
    async fn with_views_to_count() -> Self {
        let world = Self::new().await;
        world
            .execute(
                "insert into article_views (tenant_id, article_id, reader)
                 select tenant_id, id, 'person:' || n from articles, generate_series(1, 100) as n where slug = 'page'",
            )
            .await;
        world.enqueue_counting().await;
        world
    }

    async fn enqueue_counting(&self) {
        let mut tx = self.app.db.database.tenant(self.acme).await.unwrap();
        queue::enqueue(&mut tx, &CountViews {}).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_views_of_concurrent_readers_are_counted_exactly() {
    let world = World::new().await;
    // Five thousand people, each of whom reads twice at about the same time, while views are counted.
    let counting = async {
        let mut counted = 0;
        for _ in 0..20 {
            let (a, b) = tokio::join!(world.count_views(), world.count_views());
            counted += a + b;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        counted
    };
    let reading = stream::iter(0..10_000)
        .map(|n| {
            let world = &world;
            async move {
                let answer = world.view("page", &world.person(&format!("person {}", n / 2)), &json!({})).await;
                assert_eq!(answer.0, StatusCode::NO_CONTENT, "{answer:?}");
            }
        })
        .buffer_unordered(64)
        .for_each(async |()| {});
    let ((), counted) = tokio::join!(reading, counting);
    let rest = world.count_views().await;
    assert_eq!(counted + rest, 5_000);
    assert_eq!(world.views().await, (5_000, 5_000));
    assert_eq!(world.count_views().await, 0);
    let (_, article) = world.app.get(&format!("{ARTICLES}page/"), &world.token).await;
    // To be read is no change of an article.
    assert_eq!((&article["view_count"], &article["version"]), (&json!(5_000), &json!(2)), "{article}");
}

#[tokio::test]
async fn a_reader_is_counted_once_a_day_and_again_on_the_next() {
    let world = World::new().await;
    let (ada, bob) = (world.person("ada"), world.person("bob"));
    for token in [&ada, &ada, &bob] {
        assert_eq!(world.view("page", token, &json!({})).await.0, StatusCode::NO_CONTENT);
    }
    world.count_views().await;
    assert_eq!(world.views().await, (2, 2));
    world.execute("update article_views set viewed_on = viewed_on - 1, viewed_at = viewed_at - interval '1 day'").await;
    world.view("page", &ada, &json!({})).await;
    world.count_views().await;
    assert_eq!(world.views().await, (3, 3));
}

#[tokio::test]
async fn of_the_page_that_was_read_on_nothing_secret_is_kept() {
    let world = World::new().await;
    let ada = world.person("ada");
    let url = "https://user:secret@App.example.com/projects/42/billing?token=secret#secret";
    world.view("page", &ada, &json!({})).await;
    assert_eq!(world.view("page", &ada, &json!({ "url": url })).await.0, StatusCode::NO_CONTENT);
    world.view("page", &ada, &json!({ "url": "https://app.example.com/other" })).await;
    let kept: Vec<String> = sqlx::query_scalar("select row_to_json(v)::text from article_views v")
        .fetch_all(&mut world.app.db.owner().await)
        .await
        .unwrap();
    assert!(kept.len() == 1 && kept[0].contains("\"app.example.com/projects/:id/billing\""), "{kept:?}");
    assert!(!kept[0].contains("secret") && !kept[0].contains("42/"), "{kept:?}");
    for (url, says) in
        [("settings", "must be the address"), (&"x".repeat(2_049), "at most 2048"), ("data:,x", "must be")]
    {
        let (status, answer) = world.view("page", &ada, &json!({ "url": url })).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{url}");
        assert!(answer["detail"].as_str().unwrap().contains(says), "{answer}");
    }
}

#[tokio::test]
async fn what_is_hidden_cannot_be_viewed_and_machines_read_nothing() {
    let world = World::new().await;
    for article in ["secret", "nothing", "00000000-0000-0000-0000-000000000000"] {
        let (status, answer) = world.view(article, &world.token, &json!({})).await;
        assert_eq!((status, &answer["code"]), (StatusCode::NOT_FOUND, &json!("not_found")), "{article}");
    }
    let mut tx = world.app.db.database.tenant(world.acme).await.unwrap();
    let new = api_key::NewApiKey { name: "machine".to_owned(), roles: Roles::none(), scopes: vec![], expires_at: None };
    let key = api_key::create(&mut tx, &world.app.pepper(), &new, "test").await.unwrap().text;
    tx.commit().await.unwrap();
    assert_eq!(world.view("page", &key, &json!({})).await.0, StatusCode::FORBIDDEN);
    world.execute("update tenants set is_public = true").await;
    let visit = async |body: Value| {
        let request = world.app.request(Method::POST, &format!("{ARTICLES}page/view/")).header(HOST, "acme.localhost");
        tests::json(request.json(&body)).await.0
    };
    assert_eq!(visit(json!({})).await, StatusCode::UNAUTHORIZED);
    assert_eq!(visit(json!({ "session_id": "a session of its own" })).await, StatusCode::NO_CONTENT);
    assert_eq!(visit(json!({ "session_id": "a session of its own" })).await, StatusCode::NO_CONTENT);
    assert_eq!(world.views().await.1, 1);
    assert_eq!(world.number("select count(*) from article_views where reader like '%session%'").await, 0);
}

#[tokio::test]
async fn a_page_is_read_by_people_and_not_by_programs() {
    let world = World::new().await;
    world.execute("update tenants set is_public = true").await;
    let visit = async |agent: &str, cookie: Option<&str>, method: Method| {
        let mut request =
            world.app.request(method, "/articles/page/").header(HOST, "acme.localhost").header(USER_AGENT, agent);
        if let Some(cookie) = cookie {
            request = request.header(COOKIE, cookie);
        }
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let cookie = response.headers().get("set-cookie").map(|cookie| cookie.to_str().unwrap().to_owned());
        cookie.map(|cookie| cookie.split(';').next().unwrap().to_owned())
    };
    let cookie = visit(FIREFOX, None, Method::GET).await.unwrap();
    visit(FIREFOX, Some(&cookie), Method::GET).await;
    assert_eq!(world.views().await.1, 1, "reloading is no other view");
    visit(FIREFOX, None, Method::GET).await;
    assert_eq!(world.views().await.1, 2, "another visitor's is");
    visit(FIREFOX, None, Method::HEAD).await;
    visit("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", None, Method::GET).await;
    assert_eq!(world.views().await.1, 2);
    // To ask for an article over the API is not to read it.
    world.app.get(&format!("{ARTICLES}page/"), &world.token).await;
    assert_eq!(world.views().await.1, 2);
    assert_eq!(world.number("select count(*) from article_views where reader not like 'visitor:%'").await, 0);
}

#[tokio::test]
async fn a_page_is_shown_though_its_view_cannot_be_kept() {
    let world = World::new().await;
    let visit = async || {
        let request = world.app.request(Method::GET, "/articles/page/").bearer_auth(&world.token);
        request.header(USER_AGENT, FIREFOX).send().await.unwrap().status()
    };
    // Somebody changes the article, and takes long for it.
    let mut owner = world.app.db.owner().await;
    sqlx::raw_sql("begin; select * from articles for update").execute(&mut owner).await.unwrap();
    let started = Instant::now();
    assert_eq!(visit().await, StatusCode::OK);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    sqlx::raw_sql("rollback").execute(&mut owner).await.unwrap();
    assert_eq!(world.views().await.1, 0);
    world.execute("alter table article_views rename to elsewhere").await;
    assert_eq!(visit().await, StatusCode::OK);
    world.execute("alter table elsewhere rename to article_views").await;
    assert_eq!(visit().await, StatusCode::OK);
    assert_eq!(world.views().await.1, 1);
}

#[tokio::test]
async fn counting_twice_counts_once() {
    let world = World::with_views_to_count().await;
    world.app.run_jobs().await;
    assert_eq!(world.views().await, (100, 100));
    world.enqueue_counting().await;
    world.app.run_jobs().await;
    assert_eq!(world.views().await, (100, 100));
}

#[tokio::test]
async fn a_worker_that_dies_while_it_counts_leaves_no_count_wrong() {
    let world = World::with_views_to_count().await;
    world
        .execute(
            "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(3); return null; end $$;
             create trigger slow after update of view_count on articles for each row execute function slow()",
        )
        .await;
    let worker = Program::start(&world.app, "helpcenter-worker");
    eventually("the worker counts", async || {
        let sleeping =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
        (world.number(sleeping).await > 0).then_some(())
    })
    .await;
    worker.kill();
    world.execute("drop trigger slow on articles").await;
    world.app.run_jobs().await;
    assert_eq!(world.views().await, (100, 100));
}
