//! Images: they come with an import or over the API, are shown in articles, and are seen by whoever sees such an article.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    knowledge::{assets, import::SyncOptions},
    tenancy::TenantId,
};
use tests::{
    TestApp, TestDatabase,
    fixture::{self, Folder, article, article_for, png},
};

const ASSETS: &str = "/api/v2/help-center/admin/assets/";
const ARTICLES: &str = "/api/v2/help-center/admin/articles/";

/// The first address of an image in the HTML of an article.
async fn image_of(app: &TestApp, token: &str, slug: &str) -> Option<String> {
    let (status, article) = app.get(&format!("/api/v2/help-center/articles/{slug}/"), token).await;
    assert_eq!(status, StatusCode::OK, "{article}");
    let html = article["html"].as_str().unwrap();
    let (_, rest) = html.split_once("src=\"")?;
    Some(rest.split('"').next().unwrap().to_owned())
}

async fn status_of(app: &TestApp, token: &str, address: &str) -> StatusCode {
    app.request(Method::GET, address).bearer_auth(token).send().await.unwrap().status()
}

async fn count(db: &TestDatabase, sql: &'static str) -> i64 {
    sqlx::query_scalar(sql).fetch_one(&mut db.owner().await).await.unwrap()
}

#[tokio::test]
async fn images_beside_the_files_are_stored_once_and_shown() {
    let app = TestApp::start().await;
    let tenant = app.db.tenant("garden").await.id;
    let folder = Folder::of(&[
        (
            "guides/one.md",
            &article("One", "![A fern](../img/Fern%20leaf.png) and <img src='/img/Fern leaf.png' alt='again'>"),
        ),
        ("guides/two.md", &article("Two", "![The same](copy.gif) [as a file](../img/Fern%20leaf.png)")),
        ("guides/three.md", &article("Three", "![none](gone.png) ![text](text.png) ![huge](huge.png) ![page](one.md)")),
        ("guides/text.png", "no image"),
    ]);
    folder.write("img/Fern leaf.png", png("fern"));
    folder.write("guides/copy.gif", png("fern"));
    folder.write("guides/huge.png", [png("huge"), vec![0; assets::MAX_BYTES]].concat());
    let planned = fixture::import_with(&app.db, tenant, &SyncOptions { dry_run: true, ..folder.options() }).await;
    assert_eq!(count(&app.db, "select count(*) from assets").await, 0);
    let report = fixture::import(&app.db, tenant, &folder).await;
    assert_eq!((report.created, report.images_created), (3, 1), "{report:?}");
    let broken = |destination: &str| ("guides/three.md".to_owned(), destination.to_owned());
    assert_eq!(report.broken_images, [broken("gone.png"), broken("one.md")]);
    assert_eq!(planned.broken_images, report.broken_images);
    assert_eq!(planned.warnings, report.warnings);
    let warnings: Vec<&str> = report.warnings.iter().map(|(_, warning)| warning.as_str()).collect();
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].contains("text.png is none") && warnings[1].contains("5 MiB"), "{warnings:?}");
    assert_eq!(report.skipped.values().sum::<usize>(), 2, "{:?}", report.skipped);
    assert_eq!(count(&app.db, "select count(*) from assets").await, 1);

    let token = app.token("garden", &[]);
    let address = image_of(&app, &token, "one").await.unwrap();
    assert!(address.starts_with("/assets/") && address.ends_with("/fern-leaf.png"), "{address}");
    assert_eq!(image_of(&app, &token, "two").await.as_ref(), Some(&address));
    assert_eq!(image_of(&app, &token, "three").await, None, "what is broken is a description");
    let (_, two) = app.get("/api/v2/help-center/articles/two/", &token).await;
    assert!(two["html"].as_str().unwrap().contains(&format!("href=\"{address}\"")), "{two}");
    let page = app.request(Method::GET, "/articles/one/").bearer_auth(&token).send().await.unwrap();
    assert!(page.text().await.unwrap().contains(&address));

    let image = app.request(Method::GET, &address).bearer_auth(&token).send().await.unwrap();
    let header = |name: &str| image.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((image.status(), header("content-type").as_str()), (StatusCode::OK, "image/png"));
    assert_eq!(header("cache-control"), "private, max-age=31536000, immutable");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-security-policy").contains("sandbox"), "{}", header("content-security-policy"));
    assert_eq!(header("content-disposition"), "inline; filename*=UTF-8''fern%2Dleaf%2Epng");
    let tag = header("etag");
    assert_eq!(image.bytes().await.unwrap(), png("fern"));
    let again =
        app.request(Method::GET, &address).bearer_auth(&token).header("if-none-match", &tag).send().await.unwrap();
    assert_eq!((again.status(), again.bytes().await.unwrap().len()), (StatusCode::NOT_MODIFIED, 0));

    // Nothing is stored again, and nothing changes.
    let again = fixture::import(&app.db, tenant, &folder).await;
    assert_eq!((again.unchanged, again.images_created, again.changes.len()), (3, 0, 0));
}

#[tokio::test]
async fn an_image_is_seen_by_those_who_see_an_article_that_shows_it() {
    let app = TestApp::start().await;
    let tenant = app.db.tenant("garden").await.id;
    app.db.tenant("other").await;
    let folder = Folder::of(&[
        ("secret.md", &article_for("Secret", &["botanist"], "![x](secret.png)")),
        ("draft.md", "---\ntitle: Draft\nstatus: DRAFT\n---\n\n![x](draft.png)\n"),
    ]);
    folder.write("secret.png", png("secret"));
    folder.write("draft.png", png("draft"));
    fixture::import(&app.db, tenant, &folder).await;
    let addresses: Vec<(String, String)> = sqlx::query_as("select name, hash from assets order by name")
        .fetch_all(&mut app.db.owner().await)
        .await
        .unwrap();
    let [draft, secret] = &addresses[..] else { unreachable!("{addresses:?}") };
    let address = |(name, hash): &(String, String)| assets::address(hash, name);
    let tokens = [&[][..], &["botanist"], &["author"]].map(|roles| app.token("garden", roles));
    let stranger = app.token("other", &["botanist", "author", "admin"]);
    let seen = async |image: &(String, String)| {
        let mut seen = Vec::new();
        for token in tokens.iter().chain([&stranger]) {
            seen.push(status_of(&app, token, &address(image)).await == StatusCode::OK);
        }
        seen
    };
    assert_eq!(seen(secret).await, [false, true, true, false]);
    assert_eq!(seen(draft).await, [false, false, true, false]);
    // The name is for people.
    assert_eq!(status_of(&app, &tokens[1], &assets::address(&secret.1, "x.png")).await, StatusCode::OK);
    for gone in [
        "/assets/00/x.png",
        &format!("/assets/{}/x.png", "0".repeat(64)),
        &format!("/assets/{}/x.png", "%00".repeat(8)),
    ] {
        assert_eq!(status_of(&app, &tokens[2], gone).await, StatusCode::NOT_FOUND, "{gone}");
    }
    folder.write("secret.md", article_for("Secret", &["botanist"], "No image any more."));
    folder.write("draft.md", article("Draft", "![x](draft.png)"));
    fixture::import(&app.db, tenant, &folder).await;
    assert_eq!(seen(secret).await, [false, false, true, false]);
    assert_eq!(seen(draft).await, [true, true, true, false]);
}

#[tokio::test]
async fn a_drawing_is_served_as_what_cannot_run() {
    let app = TestApp::start().await;
    let tenant = app.db.tenant("garden").await.id;
    let folder = Folder::of(&[
        ("a.md", &article("A", "![x](drawing.svg)")),
        ("drawing.svg", "<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"),
    ]);
    fixture::import(&app.db, tenant, &folder).await;
    let token = app.token("garden", &[]);
    let address = image_of(&app, &token, "a").await.unwrap();
    let image = app.request(Method::GET, &address).bearer_auth(&token).send().await.unwrap();
    let header = |name: &str| image.headers()[name].to_str().unwrap();
    assert_eq!(header("content-type"), "image/svg+xml");
    assert!(header("content-disposition").starts_with("attachment"));
    let policy = header("content-security-policy");
    assert!(
        policy.contains("default-src 'none'") && policy.contains("sandbox") && !policy.contains("script"),
        "{policy}"
    );
}

struct World {
    app: TestApp,
    tenant: TenantId,
    author: String,
    editor: String,
    reader: String,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let tenant = app.db.tenant("garden").await.id;
        let [author, editor, reader] = [&["author"][..], &["editor"], &[]].map(|roles| app.token("garden", roles));
        Self { app, tenant, author, editor, reader }
    }

    async fn add(&self, who: &str, name: &str, bytes: Vec<u8>) -> (StatusCode, Value) {
        let path = format!("{ASSETS}?name={name}");
        tests::json(self.app.request(Method::POST, &path).bearer_auth(who).body(bytes)).await
    }

    async fn change(&self, article: &Value, change: Value) -> Value {
        let path = format!("{ARTICLES}{}/", article["id"].as_str().unwrap());
        let request = self.app.request(Method::PATCH, &path).header("if-match", format!("\"{}\"", article["version"]));
        tests::json(request.bearer_auth(&self.author).json(&change)).await.1
    }

    async fn publish(&self, article: &Value) -> Value {
        let path = format!("{ARTICLES}{}/status/", article["id"].as_str().unwrap());
        let step = json!({ "status": "PUBLISHED", "version": article["version"] });
        let (status, article) = self.app.post(&path, &self.editor, &step).await;
        assert_eq!(status, StatusCode::OK, "{article}");
        article
    }
}

#[tokio::test]
async fn authors_add_images_to_what_they_write() {
    let world = World::new().await;
    let (status, added) = world.add(&world.author, "My%20Fern.PNG", png("fern")).await;
    assert_eq!(status, StatusCode::CREATED, "{added}");
    assert_eq!((&added["media_type"], &added["name"]), (&json!("image/png"), &json!("my-fern.png")), "{added}");
    let url = added["url"].as_str().unwrap().to_owned();
    assert_eq!(world.add(&world.author, "other.png", png("fern")).await.1["url"], added["url"], "it is kept once");
    assert_eq!(status_of(&world.app, &world.author, &url).await, StatusCode::OK);
    assert_eq!(status_of(&world.app, &world.reader, &url).await, StatusCode::NOT_FOUND);

    let (_, category) =
        world.app.post("/api/v2/help-center/admin/categories/", &world.editor, &json!({ "name": "Plants" })).await;
    let body = json!({ "title": "Ferns", "content": "Text.\n", "category_id": category["id"] });
    let (_, article) = world.app.post(ARTICLES, &world.author, &body).await;
    let article = world.publish(&article).await;
    let article =
        world.change(&article, json!({ "content": format!("Text. {}\n", added["markdown"].as_str().unwrap()) })).await;
    assert_eq!(status_of(&world.app, &world.reader, &url).await, StatusCode::NOT_FOUND, "only a draft shows it");
    let article = world.publish(&article).await;
    assert_eq!(status_of(&world.app, &world.reader, &url).await, StatusCode::OK);
    assert_eq!(image_of(&world.app, &world.reader, "ferns").await, Some(url.clone()));
    let article = world.change(&article, json!({ "content": "Text.\n" })).await;
    assert_eq!(status_of(&world.app, &world.reader, &url).await, StatusCode::OK, "readers see the published text");
    world.publish(&article).await;
    assert_eq!(status_of(&world.app, &world.reader, &url).await, StatusCode::NOT_FOUND);

    for (bytes, status) in [
        (b"no image".to_vec(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Vec::new(), StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (vec![0; assets::MAX_BYTES + 1], StatusCode::PAYLOAD_TOO_LARGE),
    ] {
        assert_eq!(world.add(&world.author, "x.png", bytes).await.0, status);
    }
    assert_eq!(world.add(&world.reader, "x.png", png("x")).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn images_that_no_article_shows_go_after_a_while() {
    let world = World::new().await;
    world.add(&world.author, "unused.png", png("unused")).await;
    let folder = Folder::of(&[("a.md", &article("A", "![x](used.png)"))]);
    folder.write("used.png", png("used"));
    let import = async || fixture::import(&world.app.db, world.tenant, &folder).await;
    import().await;
    assert_eq!(count(&world.app.db, "select count(*) from assets where unused_since is not null").await, 1);
    import().await;
    assert_eq!(count(&world.app.db, "select count(*) from assets").await, 2, "somebody may be about to use it");
    let age = "update assets set unused_since = unused_since - interval '8 days'";
    sqlx::query(age).execute(&mut world.app.db.owner().await).await.unwrap();
    // What is added again is wanted again.
    world.add(&world.author, "unused.png", png("unused")).await;
    import().await;
    assert_eq!(count(&world.app.db, "select count(*) from assets").await, 2);
    sqlx::query(age).execute(&mut world.app.db.owner().await).await.unwrap();
    import().await;
    let left: Vec<String> =
        sqlx::query_scalar("select name from assets").fetch_all(&mut world.app.db.owner().await).await.unwrap();
    assert_eq!(left, ["used.png"]);
}
