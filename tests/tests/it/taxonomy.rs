//! The tree of categories and the tags: made, changed, moved, ordered and removed, by editors only.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::tenancy::TenantId;
use tests::{
    TestApp,
    fixture::{self, Folder},
};

const CATEGORIES: &str = "/api/v2/help-center/admin/categories/";
const TAGS: &str = "/api/v2/help-center/admin/tags/";

struct World {
    app: TestApp,
    tenant: TenantId,
    editor: String,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let tenant = app.db.tenant("acme").await.id;
        let editor = app.token("acme", &["editor"]);
        Self { app, tenant, editor }
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
    let tenant = shared::tenancy::all(&world.app.db.database).await.unwrap()[0].id;
    let folder = Folder::of(&[("a.md", "---\ntitle: A page\ntags: [colour]\n---\n\nText.\n")]);
    fixture::import(&world.app.db, tenant, &folder).await;
    let (_, tags) = world.app.get(TAGS, &world.editor).await;
    let tag = tags["results"][0].clone();
    assert_eq!((&tag["name"], &tag["article_count"]), (&json!("colour"), &json!(1)));
    let (status, renamed) = world.send(Method::PATCH, &at(TAGS, &tag), json!({ "name": "Color" })).await;
    assert_eq!((status, &renamed["slug"]), (StatusCode::OK, &json!("color")), "{renamed}");
    let by_tag = async |slug: &str| {
        let (_, listed) = world.app.get(&format!("/api/v2/help-center/articles/?tag={slug}"), &world.editor).await;
        listed["results"].as_array().unwrap().len()
    };
    assert_eq!((by_tag("color").await, by_tag("colour").await), (1, 0));
    let is_indexed = async |word: &str| {
        let sql = "select count(*) > 0 from passages where tsv @@ to_tsquery('simple', $1)";
        sqlx::query_scalar::<_, bool>(sql).bind(word).fetch_one(&mut world.app.db.owner().await).await.unwrap()
    };
    assert!(is_indexed("color:D").await && !is_indexed("colour").await);
    let (status, refused) = world.app.post(TAGS, &world.editor, &json!({ "name": "COLOR" })).await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("already_taken")));
    assert_eq!(world.send(Method::DELETE, &at(TAGS, &renamed), json!({})).await.0, StatusCode::NO_CONTENT);
    assert!(!is_indexed("color").await);
    assert_eq!(by_tag("color").await, 0);
    assert!(world.names(TAGS).await.is_empty());
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
