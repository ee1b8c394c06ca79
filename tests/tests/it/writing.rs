//! Writing: drafts beside what readers see, revisions, conflicts, the way to the readers and who may go it.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::time::Duration;

use api::routes::{self, Access};
use reqwest::{Method, StatusCode};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use shared::{
    embedding::Embedders,
    knowledge::{PublishScheduled, embed},
    queue::Job,
    tenancy::TenantId,
};
use tests::{Settings, TestApp, processes::Program, proxy::Proxy};

use crate::queue::support::eventually;

const ARTICLES: &str = "/api/v2/help-center/admin/articles/";
const CATEGORIES: &str = "/api/v2/help-center/admin/categories/";

struct World {
    app: TestApp,
    acme: TenantId,
    author: String,
    editor: String,
    admin: String,
    reader: String,
}

impl World {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        let app = TestApp::start_with(settings).await;
        let acme = app.db.tenant("acme").await.id;
        let [author, editor, admin, reader] =
            [&["author"][..], &["editor"], &["admin"], &[]].map(|roles| app.token("acme", roles));
        Self { app, acme, author, editor, admin, reader }
    }

    async fn category(&self, name: &str) -> String {
        let (status, made) = self.app.post(CATEGORIES, &self.editor, &json!({ "name": name })).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// A draft that has everything it needs to be published.
    async fn draft(&self, title: &str) -> Value {
        let category = self.category(&format!("For {title}")).await;
        let body = json!({ "title": title, "content": format!("All about {title}.\n"), "category_id": category });
        let (status, made) = self.app.post(ARTICLES, &self.author, &body).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        made
    }

    async fn published(&self, title: &str) -> Value {
        let draft = self.draft(title).await;
        let (status, published) = self.step(&self.editor, &draft, json!({ "status": "PUBLISHED" })).await;
        assert_eq!(status, StatusCode::OK, "{published}");
        published
    }

    /// Changes an article as the version that was seen.
    async fn change(&self, who: &str, seen: &Value, change: Value) -> (StatusCode, Value) {
        let path = format!("{ARTICLES}{}/", seen["id"].as_str().unwrap());
        let request = self.app.request(Method::PATCH, &path).header("if-match", format!("\"{}\"", seen["version"]));
        tests::json(request.bearer_auth(who).json(&change)).await
    }

    async fn step(&self, who: &str, seen: &Value, mut step: Value) -> (StatusCode, Value) {
        step["version"] = seen["version"].clone();
        self.app.post(&format!("{ARTICLES}{}/status/", seen["id"].as_str().unwrap()), who, &step).await
    }

    async fn get(&self, article: &Value, rest: &str) -> Value {
        let path = format!("{ARTICLES}{}/{rest}", article["id"].as_str().unwrap());
        let (status, answer) = self.app.get(&path, &self.author).await;
        assert_eq!(status, StatusCode::OK, "{answer}");
        answer
    }

    /// What readers get at a slug.
    async fn read(&self, slug: &str) -> (StatusCode, Value) {
        self.app.get(&format!("/api/v2/help-center/articles/{slug}/"), &self.reader).await
    }

    /// Publishing takes long enough for a worker to be killed in the middle of it.
    async fn slow_down(&self) {
        let slow = "create function slow() returns trigger language plpgsql as
                        $$ begin perform pg_sleep(0.5); return null; end $$;
                    create trigger slow after insert on search_documents for each statement execute function slow()";
        sqlx::raw_sql(slow).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    async fn actions(&self) -> Vec<String> {
        let (_, log) = self.app.get("/api/v2/help-center/admin/audit-log/?action=article", &self.admin).await;
        log["results"].as_array().unwrap().iter().rev().map(|e| e["action"].as_str().unwrap().to_owned()).collect()
    }
}

#[tokio::test]
async fn readers_see_the_published_text_while_the_next_one_is_written() {
    let world = World::new().await;
    let draft = world.draft("Invoices").await;
    assert_eq!((&draft["status"], &draft["version"], &draft["slug"]), (&json!("DRAFT"), &json!(1), &json!("invoices")));
    assert_eq!(world.read("invoices").await.0, StatusCode::NOT_FOUND);
    assert!(world.app.search_titles(&world.reader, "invoices").await.is_empty());

    let (status, published) = world.step(&world.editor, &draft, json!({ "status": "PUBLISHED" })).await;
    assert_eq!((status, &published["status"]), (StatusCode::OK, &json!("PUBLISHED")), "{published}");
    assert_eq!(world.app.search_titles(&world.reader, "invoices").await, ["Invoices"]);

    let text = json!({ "title": "Invoices and receipts", "content": "Now about receipts.\n", "note": "receipts too" });
    let (status, newer) = world.change(&world.author, &published, text).await;
    assert_eq!(status, StatusCode::OK, "{newer}");
    assert_eq!((&newer["revision"], &newer["published_revision"]), (&json!(2), &json!(1)));
    assert_eq!(newer["has_unpublished_text"], true);
    assert_eq!(world.read("invoices").await.1["title"], "Invoices");
    assert!(world.app.search_titles(&world.reader, "receipts").await.is_empty());

    let (status, waiting) = world.step(&world.author, &newer, json!({ "status": "REVIEW" })).await;
    assert_eq!((status, &waiting["status"]), (StatusCode::OK, &json!("PUBLISHED")), "{waiting}");
    assert!(waiting["review_requested_at"].is_string());
    let (_, listed) = world.app.get(&format!("{ARTICLES}?review=requested"), &world.editor).await;
    assert_eq!(listed["results"][0]["id"], draft["id"]);

    let (status, published) = world.step(&world.editor, &waiting, json!({ "status": "PUBLISHED" })).await;
    assert_eq!((status, &published["published_revision"]), (StatusCode::OK, &json!(2)), "{published}");
    assert_eq!(published["review_requested_at"], Value::Null);
    assert_eq!(world.read("invoices").await.1["title"], "Invoices and receipts");
    assert_eq!(world.app.search_titles(&world.reader, "receipts").await, ["Invoices and receipts"]);

    let (status, archived) = world.step(&world.editor, &published, json!({ "status": "ARCHIVED" })).await;
    assert_eq!(status, StatusCode::OK, "{archived}");
    assert_eq!(world.read("invoices").await.0, StatusCode::NOT_FOUND);
    assert!(world.app.search_titles(&world.reader, "receipts").await.is_empty());
    let expected = [
        "article.created",
        "article.published",
        "article.changed",
        "article.review_requested",
        "article.published",
        "article.archived",
    ];
    assert_eq!(world.actions().await, expected);
}

#[tokio::test]
async fn who_saves_second_gets_both_texts_to_compare_and_overwrites_nothing() {
    let world = World::new().await;
    let seen = world.draft("Holidays").await;
    let (first, second) = tokio::join!(
        world.change(&world.author, &seen, json!({ "content": "As A says.\n" })),
        world.change(&world.editor, &seen, json!({ "content": "As B says.\n", "tags": ["leave"] })),
    );
    let ((won, kept), (lost, refused)) = if first.0 == StatusCode::OK { (first, second) } else { (second, first) };
    assert_eq!((won, lost), (StatusCode::OK, StatusCode::CONFLICT), "{kept} {refused}");
    assert_eq!(refused["code"], "version_conflict");
    assert_eq!(refused["current"]["content"], kept["content"]);
    assert_ne!(refused["submitted"]["content"], kept["content"]);
    assert_eq!(world.get(&seen, "").await["content"], kept["content"]);
    let revisions = world.get(&seen, "revisions/").await;
    assert_eq!(revisions["results"].as_array().unwrap().len(), 2);

    // Without a version nothing is changed, and the answer says what to send.
    let path = format!("{ARTICLES}{}/", seen["id"].as_str().unwrap());
    let request = world.app.request(Method::PATCH, &path).bearer_auth(&world.author);
    let (status, refused) = tests::json(request.json(&json!({ "title": "Other" }))).await;
    assert_eq!((status.as_u16(), &refused["code"]), (428, &json!("version_required")));
    // What changes nothing leaves no trace.
    let (_, same) = world.change(&world.author, &kept, json!({ "content": kept["content"] })).await;
    assert_eq!((&same["version"], &same["revision"]), (&kept["version"], &kept["revision"]));
}

#[tokio::test]
async fn revisions_are_compared_and_gone_back_to() {
    let world = World::new().await;
    let first = world.draft("Parking").await;
    let text = "Park in the yard.\nAsk at the gate.\n";
    let (_, second) = world.change(&world.author, &first, json!({ "content": text, "note": "where" })).await;
    let (_, third) = world.change(&world.author, &second, json!({ "content": text.replace("yard", "garage") })).await;
    let diff = world.get(&first, "diff/?from=2&to=3").await;
    let lines = diff["changes"]["content"][0]["lines"].as_array().unwrap();
    let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["removed", "added", "same"], "{diff}");
    assert_eq!((&diff["from"]["note"], &diff["to"]["number"]), (&json!("where"), &json!(3)));

    let restore = json!({ "revision": 2, "version": third["version"] });
    let path = format!("{ARTICLES}{}/restore/", first["id"].as_str().unwrap());
    let (status, restored) = world.app.post(&path, &world.author, &restore).await;
    assert_eq!((status, &restored["content"]), (StatusCode::OK, &json!(text)), "{restored}");
    assert_eq!(restored["revision"], 4);
    let (_, page) =
        world.app.get(&format!("{ARTICLES}{}/revisions/?limit=3", first["id"].as_str().unwrap()), &world.author).await;
    let numbers: Vec<&Value> = page["results"].as_array().unwrap().iter().map(|r| &r["number"]).collect();
    assert_eq!(numbers, [&json!(4), &json!(3), &json!(2)]);
    let cursor = page["next_cursor"].as_str().unwrap();
    let rest = world.get(&first, &format!("revisions/?limit=3&cursor={cursor}")).await;
    assert_eq!((&rest["results"][0]["number"], &rest["next_cursor"]), (&json!(1), &Value::Null));
    assert_eq!(world.get(&first, "revisions/3/").await["content"], text.replace("yard", "garage"));
    let (status, _) =
        world.app.get(&format!("{ARTICLES}{}/revisions/9/", first["id"].as_str().unwrap()), &world.author).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn authors_write_and_editors_decide_what_readers_see() {
    let world = World::new().await;
    let draft = world.draft("Travel").await;
    for step in ["PUBLISHED", "ARCHIVED"] {
        let (status, refused) = world.step(&world.author, &draft, json!({ "status": step })).await;
        assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("permission_required")), "{step}");
    }
    let (status, waiting) = world.step(&world.author, &draft, json!({ "status": "REVIEW" })).await;
    assert_eq!((status, &waiting["status"]), (StatusCode::OK, &json!("REVIEW")));
    let (status, taken_back) = world.step(&world.author, &waiting, json!({ "status": "DRAFT" })).await;
    assert_eq!((status, &taken_back["status"]), (StatusCode::OK, &json!("DRAFT")));
    let (_, published) = world.step(&world.editor, &taken_back, json!({ "status": "PUBLISHED" })).await;
    // The roles of a published article are what readers see at once; its text is not.
    let (status, refused) = world.change(&world.author, &published, json!({ "target_roles": ["board"] })).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{refused}");
    let (status, _) = world.change(&world.author, &published, json!({ "summary": "Trips." })).await;
    assert_eq!(status, StatusCode::OK);
    let (status, refused) = world.step(&world.reader, &published, json!({ "status": "DRAFT" })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::FORBIDDEN, &json!("permission_required")));
}

#[tokio::test]
async fn what_readers_could_not_use_is_not_published() {
    let world = World::new().await;
    let body = json!({ "title": "Empty", "target_roles": [] });
    let (_, draft) = world.app.post(ARTICLES, &world.author, &body).await;
    let (status, refused) = world.step(&world.editor, &draft, json!({ "status": "PUBLISHED" })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("not_possible")));
    let detail = refused["detail"].as_str().unwrap();
    assert!(["content", "category", "roles"].iter().all(|what| detail.contains(what)), "{detail}");
    let (status, refused) = world.step(&world.editor, &draft, json!({ "status": "DRAFT" })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("not_possible")));
}

#[tokio::test]
async fn a_scheduled_article_is_published_at_its_time_as_it_was_chosen() {
    let world = World::new().await;
    let draft = world.draft("Launch").await;
    let past = json!({ "status": "PUBLISHED", "publish_at": "2026-05-01T00:00:00Z" });
    assert_eq!(world.step(&world.editor, &draft, past).await.0, StatusCode::BAD_REQUEST);
    // The clock of the API stands in June; for PostgreSQL that time is over, so the job is due at once.
    let at = "2026-06-02T08:00:00Z";
    let (status, scheduled) =
        world.step(&world.editor, &draft, json!({ "status": "PUBLISHED", "publish_at": at })).await;
    assert_eq!((status, &scheduled["status"], &scheduled["publish_at"]), (StatusCode::OK, &json!("DRAFT"), &json!(at)));
    // What authors write meanwhile was not chosen.
    let (_, newer) = world.change(&world.author, &scheduled, json!({ "title": "Launch, maybe" })).await;
    assert_eq!((&newer["publish_revision"], &newer["revision"]), (&json!(1), &json!(2)));
    world.app.run_jobs().await;
    let published = world.get(&draft, "").await;
    assert_eq!(
        (&published["status"], &published["published_revision"]),
        (&json!("PUBLISHED"), &json!(1)),
        "{published}"
    );
    assert_eq!(published["publish_at"], Value::Null);
    assert_eq!(world.read("launch").await.1["title"], "Launch");
    assert!(world.actions().await.contains(&"article.published".to_owned()));
    // A second run of the job finds nothing to do.
    let job = PublishScheduled { article_id: draft["id"].as_str().unwrap().parse().unwrap(), at: at.parse().unwrap() };
    let again = shared::knowledge::writing::publish_scheduled(&world.app.db.database, world.acme, &job).await;
    assert!(!again.unwrap());
    assert_eq!(PublishScheduled::NAME, "publish_scheduled");
}

#[tokio::test]
async fn a_schedule_that_was_called_off_publishes_nothing() {
    let world = World::new().await;
    let draft = world.draft("Merger").await;
    let (_, scheduled) =
        world.step(&world.editor, &draft, json!({ "status": "PUBLISHED", "publish_at": "2026-06-02T08:00:00Z" })).await;
    let (status, called_off) = world.step(&world.editor, &scheduled, json!({ "status": "DRAFT" })).await;
    assert_eq!((status, &called_off["publish_at"]), (StatusCode::OK, &Value::Null), "{called_off}");
    world.app.run_jobs().await;
    assert_eq!(world.get(&draft, "").await["status"], "DRAFT");
    assert_eq!(world.read("merger").await.0, StatusCode::NOT_FOUND);
}

/// The queue's clock may be ahead of PostgreSQL's when it says that the time has come.
#[tokio::test]
async fn a_schedule_is_kept_by_whichever_clock_says_so_first() {
    let world = World::new().await;
    let draft = world.draft("Soon").await;
    let at = "2999-01-01T00:00:00.123456789Z";
    let (status, _) = world.step(&world.editor, &draft, json!({ "status": "PUBLISHED", "publish_at": at })).await;
    assert_eq!(status, StatusCode::OK);
    let payload: Value = sqlx::query_scalar("select payload from outbox where job = 'publish_scheduled'")
        .fetch_one(&mut world.app.db.owner().await)
        .await
        .unwrap();
    let job: PublishScheduled = serde_json::from_value(payload).unwrap();
    let publish = async |job| {
        shared::knowledge::writing::publish_scheduled(&world.app.db.database, world.acme, &job).await.unwrap()
    };
    let other = PublishScheduled { at: job.at - chrono::Duration::seconds(1), ..job.clone() };
    assert!(!publish(other).await, "the job of another schedule");
    assert!(publish(job).await);
    assert_eq!(world.get(&draft, "").await["status"], "PUBLISHED");
}

#[tokio::test]
async fn authors_neither_call_a_schedule_off_nor_change_who_will_read_the_article() {
    let world = World::new().await;
    let draft = world.draft("Board papers").await;
    let (_, private) = world.change(&world.editor, &draft, json!({ "target_roles": ["board"] })).await;
    let step = json!({ "status": "PUBLISHED", "publish_at": "2026-06-02T08:00:00Z" });
    let (_, scheduled) = world.step(&world.editor, &private, step).await;
    let (status, refused) = world.change(&world.author, &scheduled, json!({ "target_roles": ["all"] })).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{refused}");
    let (status, handed_in) = world.step(&world.author, &scheduled, json!({ "status": "REVIEW" })).await;
    assert_eq!((status, &handed_in["status"]), (StatusCode::OK, &json!("REVIEW")), "{handed_in}");
    assert_eq!(handed_in["publish_at"], scheduled["publish_at"]);
    world.app.run_jobs().await;
    let published = world.get(&draft, "").await;
    assert_eq!((&published["status"], &published["target_roles"]), (&json!("PUBLISHED"), &json!(["board"])));
}

#[tokio::test]
async fn a_former_address_leads_to_the_article() {
    let world = World::new().await;
    let published = world.published("Old name").await;
    let (status, renamed) = world.change(&world.editor, &published, json!({ "slug": "new-name" })).await;
    assert_eq!(status, StatusCode::OK, "{renamed}");
    for (path, location) in [
        ("/api/v2/help-center/articles/old-name/", "/api/v2/help-center/articles/new-name/"),
        ("/articles/old-name/", "/articles/new-name/"),
    ] {
        let request = world.app.request(Method::GET, path).bearer_auth(&world.reader);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), StatusCode::MOVED_PERMANENTLY, "{path}");
        assert_eq!(answer.headers()["location"], location);
    }
    // Who cannot see the article is not told that it moved.
    let (_, hidden) = world.change(&world.editor, &renamed, json!({ "target_roles": ["board"] })).await;
    assert_eq!(world.read("old-name").await.0, StatusCode::NOT_FOUND);
    // A new article takes the address over.
    let body = json!({ "title": "Another", "slug": "old-name" });
    assert_eq!(world.app.post(ARTICLES, &world.author, &body).await.0, StatusCode::CREATED);
    let (_, back) = world.change(&world.editor, &hidden, json!({ "target_roles": ["all"] })).await;
    assert_eq!(world.read("old-name").await.0, StatusCode::NOT_FOUND);
    let (status, taken) = world.change(&world.editor, &back, json!({ "slug": "old-name" })).await;
    assert_eq!((status, &taken["code"]), (StatusCode::CONFLICT, &json!("already_taken")));
}

#[tokio::test]
async fn links_follow_the_articles_that_they_lead_to() {
    let world = World::new().await;
    let target = world.published("Target").await;
    let draft = world.draft("Source").await;
    let text = "See [there](/articles/target/#part), [nowhere](/articles/missing/) and [out](https://example.com/).\n";
    let (_, changed) = world.change(&world.author, &draft, json!({ "content": text })).await;
    world.step(&world.editor, &changed, json!({ "status": "PUBLISHED" })).await;
    world.change(&world.editor, &target, json!({ "slug": "moved" })).await;
    let html = world.read("source").await.1["html"].as_str().unwrap().to_owned();
    assert!(html.contains("href=\"/articles/moved/#"), "{html}");
    assert!(!html.contains("/articles/missing/") && html.contains("nowhere"), "{html}");
    assert!(html.contains("https://example.com/"), "{html}");
}

#[tokio::test]
async fn translations_belong_together_and_each_language_has_one() {
    let world = World::new().await;
    let english = world.published("Privacy").await;
    let body = json!({ "title": "Datenschutz", "locale": "de", "translation_of": english["id"] });
    let (status, german) = world.app.post(ARTICLES, &world.author, &body).await;
    assert_eq!(status, StatusCode::CREATED, "{german}");
    assert_eq!(german["translations"][0]["id"], english["id"]);
    assert_eq!(world.get(&english, "").await["translations"][0]["locale"], "de");
    let (status, refused) = world.app.post(ARTICLES, &world.author, &body).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("de"), "{refused}");
    let (_, apart) = world.change(&world.author, &german, json!({ "translation_of": null })).await;
    assert_eq!(apart["translations"], json!([]));
}

#[tokio::test]
async fn many_articles_are_changed_by_one_job_that_tells_what_it_could_not_do() {
    let world = World::new().await;
    let mut ids = Vec::new();
    for title in ["One", "Two", "Three"] {
        ids.push(world.draft(title).await["id"].clone());
    }
    let (_, incomplete) = world.app.post(ARTICLES, &world.author, &json!({ "title": "Incomplete" })).await;
    ids.push(incomplete["id"].clone());
    let bulk = async |body: Value| {
        let (status, started) = world.app.post(&format!("{ARTICLES}bulk/"), &world.editor, &body).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{started}");
        world.app.run_jobs().await;
        world.app.get(started["url"].as_str().unwrap(), &world.admin).await.1["result"].clone()
    };
    let result = bulk(json!({ "action": "publish", "article_ids": ids })).await;
    assert_eq!((&result["changed"], &result["refused"]), (&json!(3), &json!(1)), "{result}");
    assert_eq!(result["refusals"][0]["id"], incomplete["id"]);
    let result = bulk(json!({ "action": "tag", "article_ids": ids, "add_tags": ["Daily"] })).await;
    assert_eq!(result["changed"], 4, "{result}");
    let again = bulk(json!({ "action": "tag", "article_ids": ids, "add_tags": ["daily"] })).await;
    assert_eq!((&again["changed"], &again["unchanged"]), (&json!(0), &json!(4)), "{again}");
    let shelf = world.category("Shelf").await;
    let result = bulk(json!({ "action": "move", "article_ids": ids, "category_id": shelf })).await;
    assert_eq!(result["changed"], 4, "{result}");
    let (_, listed) = world.app.get("/api/v2/help-center/articles/?category=shelf&tag=daily", &world.reader).await;
    assert_eq!(listed["results"].as_array().unwrap().len(), 3, "{listed}");
    let result = bulk(json!({ "action": "archive", "article_ids": ids })).await;
    assert_eq!(result["changed"], 4, "{result}");
    let (_, listed) = world.app.get("/api/v2/help-center/articles/", &world.reader).await;
    assert_eq!(listed["results"], json!([]));
}

#[tokio::test]
async fn the_list_is_sorted_filtered_and_turned_page_by_page() {
    let world = World::new().await;
    for title in ["banana", "Apple", "cherry", "damson"] {
        world.draft(title).await;
    }
    world.published("Elder").await;
    for sort in ["updated", "title", "views", "helpful", "review_due"] {
        let mut found: Vec<String> = Vec::new();
        let mut path = format!("{ARTICLES}?limit=2&sort={sort}");
        loop {
            let (status, page) = world.app.get(&path, &world.author).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            found.extend(page["results"].as_array().unwrap().iter().map(|a| a["title"].as_str().unwrap().to_owned()));
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("{ARTICLES}?limit=2&sort={sort}&cursor={cursor}");
        }
        assert_eq!(found.len(), 5, "{sort}: {found:?}");
        match sort {
            "title" => assert_eq!(found, ["Apple", "banana", "cherry", "damson", "Elder"]),
            "updated" => assert_eq!(found, ["Elder", "damson", "cherry", "Apple", "banana"]),
            _ => {}
        }
    }
    for (query, expected) in [
        ("status=PUBLISHED", vec!["Elder"]),
        ("status=DRAFT,REVIEW&title=AN", vec!["banana"]),
        ("category=for-cherry", vec!["cherry"]),
        ("author=person:nobody", vec![]),
    ] {
        let (_, page) = world.app.get(&format!("{ARTICLES}?{query}"), &world.author).await;
        let titles: Vec<&str> =
            page["results"].as_array().unwrap().iter().map(|a| a["title"].as_str().unwrap()).collect();
        assert_eq!(titles, expected, "{query}");
    }
    let (status, refused) = world.app.get(&format!("{ARTICLES}?status=GONE"), &world.author).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
}

#[tokio::test]
async fn a_review_is_confirmed_and_comes_due_again() {
    let world = World::new().await;
    let published = world.published("Safety").await;
    let path = format!("{ARTICLES}{}/review/", published["id"].as_str().unwrap());
    let body = json!({ "version": published["version"], "review_due_on": "2026-06-01" });
    assert_eq!(world.app.post(&path, &world.author, &body).await.0, StatusCode::FORBIDDEN);
    let (status, reviewed) = world.app.post(&path, &world.editor, &body).await;
    assert_eq!((status, &reviewed["review_due_on"]), (StatusCode::OK, &json!("2026-06-01")), "{reviewed}");
    let due = async || world.app.get(&format!("{ARTICLES}?review=due"), &world.editor).await.1["results"].clone();
    assert_eq!(due().await[0]["id"], published["id"]);
    let body = json!({ "version": reviewed["version"], "review_due_on": "2027-06-01" });
    assert_eq!(world.app.post(&path, &world.editor, &body).await.0, StatusCode::OK);
    assert_eq!(due().await, json!([]));
}

/// A body that an endpoint can read.
fn body(endpoint: &routes::Endpoint) -> Value {
    let after = |start: &str| endpoint.path.split_once(start).map(|(_, rest)| rest);
    match (endpoint.method.as_str(), after("/admin/").unwrap_or_default()) {
        ("POST", "articles/") => json!({ "title": "A" }),
        ("POST", "articles/bulk/") => json!({ "action": "archive", "article_ids": [uuid::Uuid::nil()] }),
        ("POST", "articles/{id}/status/") => json!({ "status": "DRAFT", "version": 1 }),
        ("POST", "articles/{id}/restore/") => json!({ "revision": 1, "version": 1 }),
        (_, path) if path.starts_with("articles/") => json!({ "version": 1 }),
        ("PUT", "categories/order/") => json!({ "ids": [] }),
        ("PATCH", "categories/{id}/") => json!({}),
        ("PATCH", "reports/{id}/" | "suggestions/{id}/") => json!({ "status": "OPEN" }),
        _ => json!({ "name": "A" }),
    }
}

#[tokio::test]
async fn each_address_lets_in_who_may_and_nobody_else() {
    let world = World::new().await;
    let callers = [
        ("a reader", &world.reader, false, false),
        ("an author", &world.author, true, false),
        ("an editor", &world.editor, true, true),
        ("an admin", &world.admin, true, true),
    ];
    let mut asked = 0;
    for endpoint in routes::table() {
        let (Access::Author | Access::Editor) = endpoint.access else { continue };
        let path = endpoint.path.replace("{id}", &uuid::Uuid::nil().to_string()).replace("{number}", "1");
        let method: Method = endpoint.method.as_str().parse().unwrap();
        let path = if path.ends_with("/diff/") { format!("{path}?from=1&to=1") } else { path };
        let request = || world.app.request(method.clone(), &path).json(&body(&endpoint));
        let (status, answer) = tests::json(request()).await;
        assert_eq!((status, &answer["code"]), (StatusCode::UNAUTHORIZED, &json!("authentication_required")), "{path}");
        for (who, credential, is_author, is_editor) in &callers {
            let is_let_in = if endpoint.access == Access::Author { *is_author } else { *is_editor };
            let (status, answer) = tests::json(request().bearer_auth(credential)).await;
            assert_eq!(status != StatusCode::FORBIDDEN, is_let_in, "{who}: {method} {path}: {answer}");
            assert!(status.as_u16() < 500, "{who}: {method} {path}: {answer}");
            asked += 1;
        }
    }
    assert_eq!(asked, 104);
}

#[tokio::test]
async fn another_tenants_staff_finds_nothing_and_changes_nothing() {
    let world = World::new().await;
    world.app.db.tenant("globex").await;
    let article = world.published("Ours").await;
    let stranger = world.app.token("globex", &["admin"]);
    let id = article["id"].as_str().unwrap();
    for (method, rest, body) in [
        (Method::GET, "", json!({})),
        (Method::PATCH, "", json!({ "title": "Theirs", "version": article["version"] })),
        (Method::POST, "status/", json!({ "status": "ARCHIVED", "version": article["version"] })),
        (Method::POST, "review/", json!({ "version": article["version"] })),
        (Method::GET, "revisions/", json!({})),
        (Method::GET, "revisions/1/", json!({})),
        (Method::GET, "diff/?from=1&to=1", json!({})),
    ] {
        let ask = async |id: &str| {
            let request = world.app.request(method.clone(), &format!("{ARTICLES}{id}/{rest}"));
            let (status, mut answer) = tests::json(request.bearer_auth(&stranger).json(&body)).await;
            answer["request_id"].take();
            (status, answer)
        };
        let missing = ask(&uuid::Uuid::nil().to_string()).await;
        assert_eq!(missing.0, StatusCode::NOT_FOUND, "{method} {rest}");
        assert_eq!(ask(id).await, missing, "{method} {rest}");
    }
    let (_, listed) = world.app.get(ARTICLES, &stranger).await;
    assert_eq!(listed["results"], json!([]));
    assert_eq!(world.get(&article, "").await, article);
}

const PUBLISHED: &str = "select count(*) from articles where status = 'PUBLISHED'";

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_a_bulk_change_is_replaced_and_each_article_is_changed_once() {
    let world = World::with(Settings { lease: Duration::from_secs(2), ..Settings::default() }).await;
    let mut ids = Vec::new();
    for n in 0..5 {
        ids.push(world.draft(&format!("Article {n}")).await["id"].clone());
    }
    world.slow_down().await;
    let body = json!({ "action": "publish", "article_ids": ids });
    let (status, _) = world.app.post(&format!("{ARTICLES}bulk/"), &world.editor, &body).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let worker = Program::start(&world.app, "helpcenter-worker");
    eventually("the first is published", async || (world.count(PUBLISHED).await > 0).then_some(())).await;
    worker.kill();
    assert!(world.count(PUBLISHED).await < 5, "killed in the middle");

    let worker = Program::start(&world.app, "helpcenter-worker").ready().await;
    world.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    assert_eq!(world.count(PUBLISHED).await, 5);
    let published = world.actions().await.iter().filter(|action| *action == "article.published").count();
    assert_eq!(published, 5, "each was published once");
}

#[tokio::test]
async fn a_worker_killed_while_it_publishes_what_was_scheduled_is_replaced_and_it_is_published_once() {
    let world = World::with(Settings { lease: Duration::from_secs(2), ..Settings::default() }).await;
    let draft = world.draft("Launch").await;
    world.slow_down().await;
    let step = json!({ "status": "PUBLISHED", "publish_at": "2026-06-02T08:00:00Z" });
    assert_eq!(world.step(&world.editor, &draft, step).await.0, StatusCode::OK);
    let worker = Program::start(&world.app, "helpcenter-worker");
    let asleep = "select count(*) from pg_stat_activity
                  where datname = current_database() and wait_event = 'PgSleep'";
    eventually("it is being published", async || (world.count(asleep).await > 0).then_some(())).await;
    worker.kill();
    assert_eq!(world.count(PUBLISHED).await, 0, "killed in the middle");

    let worker = Program::start(&world.app, "helpcenter-worker").ready().await;
    world.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    assert_eq!(world.get(&draft, "").await["status"], "PUBLISHED");
    let published = world.actions().await.iter().filter(|action| *action == "article.published").count();
    assert_eq!(published, 1);
}

#[tokio::test]
async fn what_is_published_while_redis_is_down_is_found_by_words_at_once_and_by_meaning_when_it_is_back() {
    let world = World::new().await;
    let proxy = Proxy::before(&world.app.queue_config.redis_url).await;
    let url = proxy.url(&world.app.queue_config.redis_url);
    let variables = [("REDIS_URL", url.expose_secret()), ("QUEUE_REDIS_TIMEOUT_SECONDS", "1")];
    let worker = Program::start_with(&world.app, "helpcenter-worker", &variables).ready().await;
    proxy.cut();
    world.published("Money back").await;
    let found = async |query: &str| world.app.search_titles(&world.reader, query).await;
    assert_eq!(found("money").await, ["Money back"]);
    assert_eq!(found("reimbursement of a payment").await, [""; 0]);
    proxy.restore();
    eventually("it is found by its meaning", async || {
        (found("reimbursement of a payment").await == ["Money back"]).then_some(())
    })
    .await;
    world.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
}

/// What became of a bulk change during which somebody else changed the article: the job's result, and the article.
async fn bulk_beside(world: &World, bulk: Value, beside: (Method, &str, Value)) -> (Value, Value) {
    let draft = world.draft("Contested").await;
    let mut bulk = bulk;
    bulk["article_ids"] = json!([draft["id"]]);
    let (_, started) = world.app.post(&format!("{ARTICLES}bulk/"), &world.editor, &bulk).await;
    // Whoever changes the article keeps it for a while.
    let slow = "create function keep() returns trigger language plpgsql as $$ begin perform pg_sleep(3); return null; end $$;
                create trigger keep after insert on audit_log for each row when (new.actor = 'person:fast') execute function keep()";
    sqlx::raw_sql(slow).execute(&mut world.app.db.owner().await).await.unwrap();
    let (method, rest, mut body) = beside;
    body["version"] = draft["version"].clone();
    let fast = world.app.token_of("fast", "acme", &["editor"]);
    let path = format!("{ARTICLES}{}/{rest}", draft["id"].as_str().unwrap());
    let request = world.app.request(method, &path).bearer_auth(fast).json(&body);
    let changing = tests::json(request);
    let running = async {
        let in_activity = async |wait: &str| {
            let sql = "select count(*) from pg_stat_activity where datname = current_database()
                         and (wait_event = $1 or wait_event_type = $1)";
            sqlx::query_scalar::<_, i64>(sql).bind(wait).fetch_one(&mut world.app.db.owner().await).await.unwrap()
        };
        eventually("somebody changes it", async || (in_activity("PgSleep").await > 0).then_some(())).await;
        let waits = eventually("the job waits for them", async || (in_activity("Lock").await > 0).then_some(()));
        tokio::join!(world.app.run_jobs(), waits);
    };
    let ((status, changed), ()) = tokio::join!(changing, running);
    assert_eq!(status, StatusCode::OK, "{changed}");
    let (_, job) = world.app.get(started["url"].as_str().unwrap(), &world.admin).await;
    assert_eq!(job["state"], "done", "{job}");
    (job["result"].clone(), world.get(&draft, "").await)
}

fn done(changed: u32, unchanged: u32) -> Value {
    json!({ "changed": changed, "unchanged": unchanged, "refused": 0, "refusals": [] })
}

#[tokio::test]
async fn a_bulk_change_is_of_what_somebody_else_made_of_the_article_meanwhile() {
    let world = World::new().await;
    let edit = (Method::PATCH, "", json!({ "content": "A faster text.\n" }));
    let (result, article) = bulk_beside(&world, json!({ "action": "publish" }), edit).await;
    assert_eq!(result, done(1, 0));
    assert_eq!((&article["published_revision"], &article["version"]), (&json!(2), &json!(3)), "{article}");
    assert_eq!(
        world.actions().await,
        ["article.created", "article.bulk_publish", "article.changed", "article.published"]
    );
    assert_eq!(world.read("contested").await.1["content"], "A faster text.\n");
}

#[tokio::test]
async fn a_bulk_change_keeps_the_tags_that_somebody_else_gave_meanwhile() {
    let world = World::new().await;
    let edit = (Method::PATCH, "", json!({ "tags": ["Theirs"] }));
    let (result, article) = bulk_beside(&world, json!({ "action": "tag", "add_tags": ["Ours"] }), edit).await;
    assert_eq!((result, &article["tags"]), (done(1, 0), &json!(["Ours", "Theirs"])));
}

#[tokio::test]
async fn a_bulk_change_that_somebody_else_made_meanwhile_is_not_made_again() {
    let world = World::new().await;
    let step = (Method::POST, "status/", json!({ "status": "PUBLISHED" }));
    let (result, article) = bulk_beside(&world, json!({ "action": "publish" }), step).await;
    assert_eq!((result, &article["version"]), (done(0, 1), &json!(2)));
    assert_eq!(world.actions().await, ["article.created", "article.bulk_publish", "article.published"]);
}

#[tokio::test]
async fn readers_of_an_article_without_a_summary_see_how_it_begins() {
    let world = World::new().await;
    let category = world.category("Garden").await;
    let content =
        "![A fern](fern.png)\n\n## Ferns\n\nFerns like **shade** and a lot of water, all year round.\n\nMore.\n";
    let body = json!({ "title": "Ferns", "content": content, "category_id": category });
    let (_, draft) = world.app.post(ARTICLES, &world.author, &body).await;
    let (_, published) = world.step(&world.editor, &draft, json!({ "status": "PUBLISHED" })).await;
    assert_eq!(published["summary"], "", "its author wrote none");
    world.app.run_jobs().await;
    let path = format!("/api/v2/help-center/articles/{}/bookmark/", draft["id"].as_str().unwrap());
    world.app.request(Method::PUT, &path).bearer_auth(&world.reader).send().await.unwrap();
    let shown = async || {
        let (_, article) = world.read("ferns").await;
        let (_, found) =
            world.app.post("/api/v2/help-center/search/", &world.reader, &json!({ "query": "ferns" })).await;
        let mut all = vec![article["summary"].clone(), found["results"][0]["summary"].clone()];
        for list in ["articles", "bookmarks"] {
            let (_, listed) = world.app.get(&format!("/api/v2/help-center/{list}/"), &world.reader).await;
            let line = &listed["results"][0];
            all.push(line.get("article").unwrap_or(line)["summary"].clone());
        }
        all.dedup();
        all
    };
    let begins = "Ferns like shade and a lot of water, all year round.";
    assert_eq!(shown().await, [begins]);

    // The author's own words come first, and their having none is theirs to say.
    let publish = async |seen: &Value, summary: &str| {
        let (_, changed) = world.change(&world.author, seen, json!({ "summary": summary })).await;
        let (status, published) = world.step(&world.editor, &changed, json!({ "status": "PUBLISHED" })).await;
        assert_eq!((status, published["summary"].as_str()), (StatusCode::OK, Some(summary)), "{published}");
        published
    };
    let published = publish(&published, "About ferns.").await;
    assert_eq!(shown().await, ["About ferns."]);
    publish(&published, "").await;
    assert_eq!(shown().await, [begins]);

    // What an earlier release wrote is made good by reconciliation.
    sqlx::query("update revisions set excerpt = null").execute(&mut world.app.db.owner().await).await.unwrap();
    let missing = "select count(*) from revisions where excerpt is null and summary = ''";
    assert_eq!((world.count(missing).await, world.read("ferns").await.1["summary"].clone()), (2, json!("")));
    for expected in [2, 0] {
        let embedders = Embedders::only(tests::embedder());
        let found = embed::reconcile(&world.app.db.database, world.acme, &embedders).await.unwrap();
        assert_eq!(found.excerpts, expected);
    }
    assert_eq!(world.read("ferns").await.1["summary"], begins);
    world.app.run_jobs().await;
}

#[tokio::test]
async fn the_page_of_an_article_does_not_say_twice_how_it_begins() {
    let world = World::new().await;
    world.published("Ferns").await;
    let page = async || {
        let request = world.app.request(Method::GET, "/articles/ferns/").bearer_auth(&world.reader);
        request.send().await.unwrap().text().await.unwrap()
    };
    let html = page().await;
    assert!(html.contains("<meta name=\"description\" content=\"All about Ferns.\">"), "{html}");
    assert!(!html.contains("class=\"lead\""), "{html}");
    sqlx::query("update revisions set summary = 'Green things.', excerpt = null")
        .execute(&mut world.app.db.owner().await)
        .await
        .unwrap();
    let html = page().await;
    assert!(html.contains("<p class=\"lead\" lang=\"en\">Green things.</p>"), "{html}");
}
