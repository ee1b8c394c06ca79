//! What is kept of searches: one row for each settled search, refinements, clicks; and what is suggested from them.

#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tests::{
    Settings, TestApp,
    fixture::{self, Folder, article, article_for},
};
use uuid::Uuid;

const SEARCH: &str = "/api/v2/help-center/search/";

struct World {
    app: TestApp,
    token: String,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
        let tenant = app.db.tenant("library").await.id;
        let folder = Folder::of(&[
            ("a.md", &article("Reset your password", "Open the settings.")),
            ("b.md", &article("Password rules", "Twelve characters.")),
            ("c.md", &article_for("Password vault of finance", &["finance"], "Hush.")),
        ]);
        fixture::import(&app.db, tenant, &folder).await;
        let token = app.token("library", &["editor"]);
        Self { app, token }
    }

    async fn search(&self, query: &str, session: &str) -> Value {
        let body = json!({ "query": query, "session_id": session });
        let (status, found) = self.app.post(SEARCH, &self.token, &body).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        found
    }

    async fn execute(&self, sql: &str) {
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    /// Makes all searches so much older.
    async fn wait(&self, seconds: u32) {
        self.execute(&format!(
            "update searches set settled_at = settled_at - interval '{seconds} s', created_at = created_at - interval '{seconds} s'"
        ))
        .await;
    }

    /// Query, number of results and whether it refines another, in order.
    async fn kept(&self) -> Vec<(String, i32, bool)> {
        sqlx::query_as("select query, result_count, refines is not null from searches order by created_at, id")
            .fetch_all(&mut self.app.db.owner().await)
            .await
            .unwrap()
    }

    async fn click(&self, search: &Value, article: &Value, position: i32) -> StatusCode {
        let address = format!("{SEARCH}{}/clicks/", search["search_id"].as_str().unwrap());
        let body = json!({ "article_id": article["id"], "position": position });
        self.app.post(&address, &self.token, &body).await.0
    }
}

#[tokio::test]
async fn keystrokes_are_one_search_and_another_query_refines_it() {
    let world = World::new().await;
    let first = world.search("pass", "s").await;
    for query in ["passw", "password", "Password "] {
        let next = world.search(query, "s").await;
        assert_eq!(next["search_id"], first["search_id"], "{query}");
    }
    assert_eq!(world.kept().await, [("Password".to_owned(), 2, false)]);
    // Something else is another search, and so is the same after a while; another session knows nothing of it.
    let other = world.search("rules", "s").await;
    assert_ne!(other["search_id"], first["search_id"]);
    world.wait(31).await;
    world.search("rules for passwords", "s").await;
    world.search("rules", "another session").await;
    world.wait(3_600).await;
    world.search("rules", "s").await;
    let kept = world.kept().await;
    let expected =
        [("Password", false), ("rules", true), ("rules for passwords", true), ("rules", false), ("rules", false)];
    let found: Vec<(&str, bool)> = kept.iter().map(|(query, _, refines)| (query.as_str(), *refines)).collect();
    assert_eq!(found, expected);
}

#[tokio::test]
async fn a_search_whose_result_was_opened_is_over() {
    let world = World::new().await;
    let first = world.search("pass", "s").await;
    assert_eq!(world.click(&first, &first["results"][0], 1).await, StatusCode::NO_CONTENT);
    let second = world.search("password", "s").await;
    assert_ne!(first["search_id"], second["search_id"]);
    assert_eq!(world.kept().await.len(), 2);
}

#[tokio::test]
async fn the_first_click_counts_and_nobody_clicks_for_others_or_what_they_may_not_see() {
    let world = World::new().await;
    let found = world.search("password", "s").await;
    let article = &found["results"][1];
    assert_eq!(world.click(&found, article, 2).await, StatusCode::NO_CONTENT);
    assert_eq!(world.click(&found, article, 1).await, StatusCode::NO_CONTENT);
    let clicks: Vec<i32> = sqlx::query_scalar("select position from search_clicks")
        .fetch_all(&mut world.app.db.owner().await)
        .await
        .unwrap();
    assert_eq!(clicks, [2]);
    let hidden: Uuid = sqlx::query_scalar("select id from articles where target_roles = '{finance}'")
        .fetch_one(&mut world.app.db.owner().await)
        .await
        .unwrap();
    let missing = [json!({ "id": hidden }), json!({ "id": Uuid::nil() })];
    for article in &missing {
        assert_eq!(world.click(&found, article, 1).await, StatusCode::NOT_FOUND);
    }
    assert_eq!(world.click(&json!({ "search_id": Uuid::nil() }), article, 1).await, StatusCode::NOT_FOUND);
    world.execute("update searches set searcher = 'person:somebody-else'").await;
    assert_eq!(world.click(&found, article, 1).await, StatusCode::NOT_FOUND);
    for position in [0, -1, 1_001] {
        assert_eq!(world.click(&found, article, position).await, StatusCode::BAD_REQUEST, "{position}");
    }
}

#[tokio::test]
async fn editors_see_what_was_looked_for_in_vain() {
    let world = World::new().await;
    world.search("unicorns", "a").await;
    let opened = world.search("password", "b").await;
    world.click(&opened, &opened["results"][0], 1).await;
    let list = async |only: &str| {
        let (status, page) = world.app.get(&format!("/api/v2/help-center/admin/searches/{only}"), &world.token).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let queries = page["results"].as_array().unwrap().iter().map(|s| s["query"].as_str().unwrap().to_owned());
        (queries.collect::<Vec<_>>(), page)
    };
    assert_eq!(list("").await.0, Vec::<String>::new(), "somebody may still be typing");
    world.wait(31).await;
    let (queries, page) = list("").await;
    assert_eq!(queries, ["password", "unicorns"]);
    assert_eq!(page["results"][0]["first_click"], 1);
    assert!(!page.to_string().contains("person"), "who searched is nobody's business: {page}");
    assert_eq!(list("?only=none").await.0, ["unicorns"]);
    assert_eq!(list("?only=unopened").await.0, ["unicorns"]);
    let (first, page) = list("?limit=1").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(
        (first, list(&format!("?cursor={cursor}")).await.0),
        (vec!["password".to_owned()], vec!["unicorns".to_owned()])
    );
}

#[tokio::test]
async fn titles_complete_what_is_typed_and_queries_that_several_people_asked() {
    let world = World::new().await;
    let complete = async |token: &str, typed: &str| {
        let typed = url::form_urlencoded::byte_serialize(typed.as_bytes()).collect::<String>();
        let (status, found) = world.app.get(&format!("/api/v2/help-center/search/suggestions/?q={typed}"), token).await;
        assert_eq!(status, StatusCode::OK, "{found}");
        let titles: Vec<String> =
            found["articles"].as_array().unwrap().iter().map(|a| a["title"].as_str().unwrap().to_owned()).collect();
        (titles, found["queries"].clone())
    };
    assert_eq!(complete(&world.token, "pass").await.0, ["Password rules", "Reset your password"]);
    assert_eq!(complete(&world.token, "Reset PASSW").await.0, ["Reset your password"]);
    let finance = world.app.token("library", &["finance"]);
    assert_eq!(complete(&finance, "pass").await.0.len(), 3);
    for nothing in ["", "%", "_", "\\", "zzz", "!!", "\u{0}"] {
        assert_eq!(complete(&world.token, nothing).await, (vec![], json!([])), "{nothing:?}");
    }
    // A query of one person is theirs; of three it is everybody's, where it finds something that the asker may see.
    world.search("password rules please", "s").await;
    assert_eq!(complete(&world.token, "password r").await.1, json!([]));
    for person in ["b", "c"] {
        world
            .execute(&format!(
                "insert into searches (tenant_id, searcher, query, normalised, result_count, article_ids, took_ms, is_degraded)
                 select tenant_id, 'person:{person}', query, normalised, result_count, article_ids, took_ms, is_degraded
                 from searches where searcher = 'person:person-1'"
            ))
            .await;
    }
    assert_eq!(complete(&world.token, "password r").await.1, json!(["password rules please"]));
    // In lower case this letter is two, and the query would be too long.
    let grown = format!("password {}", "İ".repeat(300));
    world.execute(&format!("update searches set normalised = '{}'", grown.to_lowercase())).await;
    assert_eq!(complete(&world.token, "password").await.1, json!([]));
    world.execute("update searches set normalised = 'password rules please'").await;
    world
        .execute("update searches set article_ids = array(select id from articles where target_roles = '{finance}')")
        .await;
    assert_eq!(complete(&world.token, "password r").await.1, json!([]));
    assert_eq!(complete(&finance, "password r").await.1, json!(["password rules please"]));
}

#[tokio::test]
async fn what_others_searched_for_next_is_suggested() {
    let world = World::new().await;
    let typed = world.search("password", "s").await;
    assert_eq!(typed["suggestions"], json!([]));
    for person in ["a", "b", "c"] {
        world
            .execute(&format!(
                "with first as (
                     insert into searches (tenant_id, searcher, query, normalised, result_count, article_ids, took_ms, is_degraded)
                     select tenant_id, 'person:{person}', query, normalised, result_count, article_ids, took_ms, is_degraded
                     from searches where searcher = 'person:person-1' returning *)
                 insert into searches (tenant_id, searcher, query, normalised, result_count, article_ids, took_ms, is_degraded, refines)
                 select tenant_id, searcher, 'Password rules', 'password rules', 1, article_ids, 1, false, id from first"
            ))
            .await;
    }
    // The answer from before is kept for a minute; another limit makes it another question.
    let body = json!({ "query": "password", "limit": 7 });
    let (_, found) = world.app.post(SEARCH, &world.token, &body).await;
    assert_eq!(found["suggestions"], json!(["password rules"]));
}
