//! The tree of categories and the tags: made, changed, moved, ordered and removed, by editors only.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    knowledge::{
        Reindex,
        reindex::{self, Reindexed},
    },
    tenancy::TenantId,
};
use tests::{
    Settings, TestApp,
    fixture::{self, Folder},
    processes::Program,
};

use crate::queue::support::eventually;

const CATEGORIES: &str = "/api/v2/help-center/admin/categories/";
const TAGS: &str = "/api/v2/help-center/admin/tags/";

struct World {
    app: TestApp,
    tenant: TenantId,
    editor: String,
}

impl World {
    async fn new() -> Self {
        Self::with(Settings::default()).await
    }

    async fn with(settings: Settings) -> Self {
        let app = TestApp::start_with(settings).await;
        let tenant = app.db.tenant("acme").await.id;
        let editor = app.token("acme", &["editor"]);
        Self { app, tenant, editor }
    }

    /// So many published articles with the tag "colour"; the jobs that follow are done.
    async fn tagged(&self, articles: usize) -> Value {
        let folder = Folder::of(&[]);
        for n in 0..articles {
            folder.write(&format!("{n}.md"), format!("---\ntitle: Page {n}\ntags: [colour]\n---\n\nText.\n"));
        }
        fixture::import(&self.app.db, self.tenant, &folder).await;
        self.app.run_jobs().await;
        self.app.get(TAGS, &self.editor).await.1["results"][0].clone()
    }

    async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    /// In how many articles search finds a word of a tag.
    async fn indexed(&self, word: &str) -> i64 {
        let sql = "select count(*) from search_documents d join search_terms t on t.tenant_id = d.tenant_id and t.id = any (d.term_ids)
                   where t.word = $1";
        sqlx::query_scalar(sql).bind(word).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    /// Each write of this table takes a while.
    async fn slow_down(&self, table: &str) {
        let slow = format!(
            "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(0.4); return null; end $$;
             create trigger slow after insert on {table} for each statement execute function slow()"
        );
        sqlx::raw_sql(sqlx::AssertSqlSafe(slow)).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    async fn until_asleep(&self) {
        let asleep = "select count(*) from pg_stat_activity
                      where datname = current_database() and wait_event = 'PgSleep'";
        eventually("somebody is slowed down", async || (self.count(asleep).await > 0).then_some(())).await;
    }

    async fn make(&self, name: &str, parent: Option<&Value>) -> Value {
        let body = json!({ "name": name, "parent_id": parent.map(|parent| &parent["id"]) });
        let (status, made) = self.app.post(CATEGORIES, &self.editor, &body).await;
        assert_eq!(status, StatusCode::CREATED, "{made}");
        made
    }

    async fn send(&self, method: Method, path: &str, body: Value) -> (StatusCode, Value) {
        tests::json(self.app.request(method, path).bearer_auth(&self.editor).json(&body)).await
    }

    /// Names, in order.
    async fn names(&self, path: &str) -> Vec<String> {
        let (_, listed) = self.app.get(path, &self.editor).await;
        listed["results"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn at(base: &str, what: &Value) -> String {
    format!("{base}{}/", what["id"].as_str().unwrap())
}

#[tokio::test]
async fn categories_are_moved_with_all_below_them_and_never_below_themselves() {
    let world = World::new().await;
    let a = world.make("A", None).await;
    let b = world.make("B", Some(&a)).await;
    let c = world.make("C", Some(&b)).await;
    let d = world.make("D", None).await;
    assert_eq!(world.names(CATEGORIES).await, ["A", "B", "C", "D"]);
    let (status, moved) = world.send(Method::PATCH, &at(CATEGORIES, &b), json!({ "parent_id": d["id"] })).await;
    assert_eq!((status, &moved["parent_id"]), (StatusCode::OK, &d["id"]), "{moved}");
    assert_eq!(world.names(CATEGORIES).await, ["A", "D", "B", "C"]);
    let (status, refused) = world.send(Method::PATCH, &at(CATEGORIES, &d), json!({ "parent_id": c["id"] })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("not_possible")), "{refused}");
    let (status, top) = world.send(Method::PATCH, &at(CATEGORIES, &c), json!({ "parent_id": null })).await;
    assert_eq!((status, &top["parent_id"]), (StatusCode::OK, &Value::Null));
    assert_eq!(world.names(CATEGORIES).await, ["A", "D", "B", "C"]);
}

/// Two moves that make a cycle only together.
#[tokio::test(flavor = "multi_thread")]
async fn two_moves_at_once_make_no_cycle() {
    let world = World::new().await;
    for _ in 0..10 {
        let (a, b) = (world.make("A", None).await, world.make("B", None).await);
        let into = |from: &Value, to: &Value| (at(CATEGORIES, from), json!({ "parent_id": to["id"], "slug": null }));
        let ((a_path, a_body), (b_path, b_body)) = (into(&a, &b), into(&b, &a));
        let (first, second) =
            tokio::join!(world.send(Method::PATCH, &a_path, a_body), world.send(Method::PATCH, &b_path, b_body));
        let mut statuses = [first.0.as_u16(), second.0.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "{first:?} {second:?}");
        for category in [&a, &b] {
            let rename = json!({ "name": format!("Old {}", category["id"]), "slug": format!("old-{}", category["id"].as_str().unwrap()) });
            assert_eq!(world.send(Method::PATCH, &at(CATEGORIES, category), rename).await.0, StatusCode::OK);
        }
    }
}

#[tokio::test]
async fn categories_are_put_in_order_all_at_once() {
    let world = World::new().await;
    let (a, b, c) = (world.make("A", None).await, world.make("B", None).await, world.make("C", None).await);
    let order = json!({ "ids": [c["id"], a["id"], b["id"]] });
    assert_eq!(world.send(Method::PUT, &format!("{CATEGORIES}order/"), order).await.0, StatusCode::OK);
    assert_eq!(world.names(CATEGORIES).await, ["C", "A", "B"]);
    let incomplete = json!({ "ids": [a["id"], b["id"]] });
    let (status, refused) = world.send(Method::PUT, &format!("{CATEGORIES}order/"), incomplete).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{refused}");
    assert_eq!(world.names(CATEGORIES).await, ["C", "A", "B"]);
}

#[tokio::test]
async fn a_category_that_holds_something_is_not_removed() {
    let world = World::new().await;
    let parent = world.make("Parent", None).await;
    let child = world.make("Child", Some(&parent)).await;
    let (status, refused) = world.send(Method::DELETE, &at(CATEGORIES, &parent), json!({})).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("not_possible")), "{refused}");
    assert_eq!(world.send(Method::DELETE, &at(CATEGORIES, &child), json!({})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(world.send(Method::DELETE, &at(CATEGORIES, &parent), json!({})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(world.send(Method::DELETE, &at(CATEGORIES, &parent), json!({})).await.0, StatusCode::NOT_FOUND);
    assert!(world.names(CATEGORIES).await.is_empty());
}

#[tokio::test]
async fn values_that_no_category_can_have_are_refused_with_what_to_do() {
    let world = World::new().await;
    world.make("Taken", None).await;
    for (body, code, says) in [
        (json!({ "name": "  " }), "invalid_request", "1 to 200"),
        (json!({ "name": "taken" }), "already_taken", "taken"),
        (json!({ "name": "!!!" }), "invalid_request", "slug"),
        (json!({ "name": "A", "color": "red" }), "invalid_request", "#1a2b3c"),
        (json!({ "name": "A", "icon": "<svg>" }), "invalid_request", "icon"),
        (json!({ "name": "A", "parent_id": uuid::Uuid::nil() }), "invalid_request", "parent_id"),
    ] {
        let (_, refused) = world.app.post(CATEGORIES, &world.editor, &body).await;
        assert_eq!(refused["code"], code, "{body}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains(says), "{body}: {refused}");
    }
    let mut parent = world.make("1", None).await;
    for depth in 2..=10 {
        parent = world.make(&depth.to_string(), Some(&parent)).await;
    }
    let body = json!({ "name": "11", "parent_id": parent["id"] });
    assert_eq!(world.app.post(CATEGORIES, &world.editor, &body).await.0, StatusCode::CONFLICT);
}

#[tokio::test]
async fn a_tag_is_renamed_and_removed_everywhere() {
    let world = World::new().await;
    let folder = Folder::of(&[("a.md", "---\ntitle: A page\ntags: [colour]\n---\n\nText.\n")]);
    fixture::import(&world.app.db, world.tenant, &folder).await;
    let (_, tags) = world.app.get(TAGS, &world.editor).await;
    let tag = tags["results"][0].clone();
    assert_eq!((&tag["name"], &tag["article_count"]), (&json!("colour"), &json!(1)));
    let (status, renamed) = world.send(Method::PATCH, &at(TAGS, &tag), json!({ "name": "Color" })).await;
    assert_eq!((status, &renamed["slug"]), (StatusCode::OK, &json!("color")), "{renamed}");
    let by_tag = async |slug: &str| {
        let (_, listed) = world.app.get(&format!("/api/v2/help-center/articles/?tag={slug}"), &world.editor).await;
        listed["results"].as_array().unwrap().len()
    };
    assert_eq!((by_tag("color").await, by_tag("colour").await), (1, 0), "at once");
    world.app.run_jobs().await;
    let is_indexed = async |word: &str| {
        let sql = "select count(*) > 0 from passages where tsv @@ to_tsquery('simple', $1)";
        sqlx::query_scalar::<_, bool>(sql).bind(word).fetch_one(&mut world.app.db.owner().await).await.unwrap()
    };
    assert!(is_indexed("color:D").await && !is_indexed("colour").await);
    let (status, refused) = world.app.post(TAGS, &world.editor, &json!({ "name": "COLOR" })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("already_taken")));
    assert_eq!(world.send(Method::DELETE, &at(TAGS, &renamed), json!({})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(by_tag("color").await, 0, "at once");
    world.app.run_jobs().await;
    assert!(!is_indexed("color").await);
    assert!(world.names(TAGS).await.is_empty());
}

#[tokio::test]
async fn a_tag_of_many_articles_is_changed_at_once_and_its_words_follow_by_a_job() {
    let world = World::new().await;
    let tag = world.tagged(300).await;
    assert_eq!((&tag["article_count"], world.indexed("colour").await), (&json!(300), 300));
    // Indexing them in the request would take two minutes.
    world.slow_down("search_documents").await;
    let began = std::time::Instant::now();
    let (status, renamed) = world.send(Method::PATCH, &at(TAGS, &tag), json!({ "name": "Hue" })).await;
    assert_eq!(status, StatusCode::OK, "{renamed}");
    assert!(began.elapsed() < std::time::Duration::from_secs(10), "{:?}", began.elapsed());
    let (_, found) = world
        .app
        .post("/api/v2/help-center/search/", &world.editor, &json!({ "query": "page", "tags": ["hue"] }))
        .await;
    assert_eq!(found["results"].as_array().unwrap().len(), 20, "filters know it at once: {found}");
    assert_eq!((world.indexed("colour").await, world.indexed("hue").await), (300, 0));
    sqlx::raw_sql("drop trigger slow on search_documents").execute(&mut world.app.db.owner().await).await.unwrap();
    let payload = "select payload from outbox where job = 'reindex'";
    let job: Value = sqlx::query_scalar(payload).fetch_one(&mut world.app.db.owner().await).await.unwrap();
    world.app.run_jobs().await;
    assert_eq!((world.indexed("colour").await, world.indexed("hue").await), (0, 300));

    // The same job again finds nothing to do.
    let job: Reindex = serde_json::from_value(job).unwrap();
    let again =
        reindex::reindex(&world.app.db.database, &*tests::embedder(), world.tenant, &job, |_, _| ()).await.unwrap();
    assert_eq!(again, Reindexed::default());
    assert_eq!(world.send(Method::DELETE, &at(TAGS, &tag), json!({})).await.0, StatusCode::NO_CONTENT);
    assert_eq!(world.count("select count(*) from article_tags").await, 0);
    world.app.run_jobs().await;
    assert_eq!(world.indexed("hue").await, 0);
}

#[tokio::test]
async fn a_worker_killed_while_it_indexes_the_articles_of_a_tag_is_replaced_by_one_that_goes_on() {
    let lease = std::time::Duration::from_secs(2);
    let world = World::with(Settings { lease, ..Settings::default() }).await;
    let tag = world.tagged(6).await;
    world.slow_down("search_documents").await;
    assert_eq!(world.send(Method::DELETE, &at(TAGS, &tag), json!({})).await.0, StatusCode::NO_CONTENT);
    let worker = Program::start(&world.app, "helpcenter-worker");
    eventually("two are done", async || (world.indexed("colour").await <= 4).then_some(())).await;
    worker.kill();
    let left = world.indexed("colour").await;
    assert!(left > 0, "killed in the middle");
    let worker = Program::start(&world.app, "helpcenter-worker").ready().await;
    world.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    assert_eq!(world.indexed("colour").await, 0);
    let done = "select (result->>'articles')::bigint from finished_jobs where job = 'reindex'";
    assert_eq!(world.count(done).await, left, "it went on where the other was");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_article_that_is_published_while_its_tag_is_renamed_is_found_by_the_new_name() {
    let world = World::new().await;
    let category = world.make("Shelf", None).await;
    let draft = json!({ "title": "A page", "content": "Text.", "tags": ["colour"], "category_id": category["id"] });
    let (_, draft) = world.app.post("/api/v2/help-center/admin/articles/", &world.editor, &draft).await;
    let tag = world.app.get(TAGS, &world.editor).await.1["results"][0].clone();
    world.slow_down("search_documents").await;
    let publish = json!({ "status": "PUBLISHED", "version": draft["version"] });
    let path = format!("/api/v2/help-center/admin/articles/{}/status/", draft["id"].as_str().unwrap());
    let rename = async {
        world.until_asleep().await;
        world.send(Method::PATCH, &at(TAGS, &tag), json!({ "name": "Hue" })).await
    };
    let (published, renamed) = tokio::join!(world.app.post(&path, &world.editor, &publish), rename);
    assert_eq!((published.0, renamed.0), (StatusCode::OK, StatusCode::OK), "{published:?} {renamed:?}");
    assert_eq!(world.indexed("colour").await, 1, "the publisher knew the old name");
    world.app.run_jobs().await;
    assert_eq!((world.indexed("colour").await, world.indexed("hue").await), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_that_is_given_while_it_is_removed_is_gone_in_the_end() {
    let world = World::new().await;
    let tag = world.tagged(1).await;
    let category = world.make("Shelf", None).await;
    let draft = json!({ "title": "Another", "content": "Text.", "category_id": category["id"] });
    let (_, draft) = world.app.post("/api/v2/help-center/admin/articles/", &world.editor, &draft).await;
    let path = format!("/api/v2/help-center/admin/articles/{}/", draft["id"].as_str().unwrap());
    let publish = json!({ "status": "PUBLISHED", "version": draft["version"] });
    let (_, published) = world.app.post(&format!("{path}status/"), &world.editor, &publish).await;
    world.slow_down("article_tags").await;
    let give = world.send(Method::PATCH, &path, json!({ "tags": ["colour"], "version": published["version"] }));
    let remove = async {
        world.until_asleep().await;
        world.send(Method::DELETE, &at(TAGS, &tag), json!({})).await
    };
    let (given, removed) = tokio::join!(give, remove);
    assert_eq!((given.0, removed.0), (StatusCode::OK, StatusCode::NO_CONTENT), "{given:?} {removed:?}");
    world.app.run_jobs().await;
    assert_eq!((world.indexed("colour").await, world.names(TAGS).await.len()), (0, 0));
}

#[tokio::test]
async fn readers_get_the_path_to_what_they_see_and_count_nothing_else() {
    let world = World::new().await;
    let acme = world.tenant;
    let folder = Folder::of(&[
        ("Plants/Indoor/lilies.md", &fixture::article("Lilies", "All about watering.")),
        ("Plants/Indoor/Ferns/fronds.md", &fixture::article_for("Fronds", &["botanist"], "More about watering.")),
    ]);
    fixture::import(&world.app.db, acme, &folder).await;
    let (anybody, botanist) = (world.app.token("acme", &[]), world.app.token("acme", &["botanist"]));
    let list = async |token: &str, category: &str| {
        let (_, listed) =
            world.app.get(&format!("/api/v2/help-center/articles/?sort=title&category={category}"), token).await;
        let line = |article: &Value| (article["title"].clone(), names_of(&article["breadcrumb"]));
        listed["results"].as_array().unwrap().iter().map(line).collect::<Vec<_>>()
    };
    let counts = async |token: &str| {
        let (_, tree) = world.app.get("/api/v2/help-center/categories/", token).await;
        let mut counts = Vec::new();
        let mut nodes: Vec<Value> = tree["results"].as_array().unwrap().clone();
        while let Some(node) = nodes.pop() {
            nodes.extend(node["children"].as_array().unwrap().iter().cloned());
            counts.push((node["name"].as_str().unwrap().to_owned(), node["article_count"].as_i64().unwrap()));
        }
        counts
    };
    let facets = async |token: &str| {
        let body = json!({ "query": "watering", "category": "plants" });
        let (_, found) = world.app.post("/api/v2/help-center/search/", token, &body).await;
        let mut names = names_of(&found["facets"]["categories"]);
        names.sort_unstable(); // as many were found in each
        names
    };
    let lilies = (json!("Lilies"), vec!["Plants".to_owned(), "Indoor".to_owned()]);
    let fronds = (json!("Fronds"), vec!["Plants".to_owned(), "Indoor".to_owned(), "Ferns".to_owned()]);
    let counted = |list: &[(&str, i64)]| list.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect::<Vec<_>>();

    assert_eq!(list(&anybody, "plants").await, std::slice::from_ref(&lilies));
    assert_eq!(list(&anybody, "ferns").await, []);
    assert_eq!(list(&anybody, "nothing-of-this-name").await, []);
    assert_eq!(counts(&anybody).await, counted(&[("Plants", 1), ("Indoor", 1)]));
    assert_eq!(facets(&anybody).await, ["Indoor"]);
    assert_eq!(list(&botanist, "plants").await, [fronds.clone(), lilies]);
    assert_eq!(list(&botanist, "ferns").await, [fronds]);
    assert_eq!(counts(&botanist).await, counted(&[("Plants", 2), ("Indoor", 2), ("Ferns", 1)]));
    assert_eq!(facets(&botanist).await, ["Ferns", "Indoor"]);

    // A category that is closed closes those below it; its articles stay.
    let (_, all) = world.app.get(CATEGORIES, &world.editor).await;
    let indoor = all["results"].as_array().unwrap().iter().find(|category| category["name"] == "Indoor").unwrap();
    world.send(Method::PATCH, &at(CATEGORIES, indoor), json!({ "is_active": false })).await;
    for category in ["plants", "indoor", "ferns"] {
        assert_eq!(list(&botanist, category).await, []);
    }
    assert_eq!(counts(&botanist).await, []);
    assert_eq!(facets(&botanist).await, Vec::<String>::new());
    let (_, found) = world.app.get("/api/v2/help-center/articles/fronds/", &botanist).await;
    assert_eq!((&found["title"], &found["breadcrumb"]), (&json!("Fronds"), &json!([])));
}

fn names_of(list: &Value) -> Vec<String> {
    list.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect()
}
