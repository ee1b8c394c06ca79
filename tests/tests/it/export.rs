//! What is exported and imported into an empty tenant is exported again without a difference.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

use std::{collections::BTreeMap, io::Cursor, path::Path};

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use shared::{
    knowledge::{
        export::{self, FolderSink, ZipSink},
        import::{FileOutcome, SyncOptions},
    },
    tenancy::TenantId,
};
use tests::{
    TestApp, TestDatabase,
    fixture::{self, Folder, article, png},
};

/// Path → bytes.
type Tree = BTreeMap<String, Vec<u8>>;

fn read(root: &Path) -> Tree {
    let files = walkdir::WalkDir::new(root).into_iter().map(Result::unwrap).filter(|entry| entry.file_type().is_file());
    files
        .map(|entry| {
            let path = entry.path().strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            (path, std::fs::read(entry.path()).unwrap())
        })
        .collect()
}

async fn export(db: &TestDatabase, tenant: TenantId) -> (Folder, Tree) {
    let folder = Folder::of(&[]);
    let mut sink = FolderSink::create(folder.path()).unwrap();
    export::export(&db.database, tenant, &mut sink, &|_, _| {}).await.unwrap();
    let tree = read(folder.path());
    (folder, tree)
}

fn text<'t>(tree: &'t Tree, path: &str) -> &'t str {
    let file = tree.get(path).unwrap_or_else(|| panic!("no {path} among {:?}", tree.keys()));
    std::str::from_utf8(file).unwrap()
}

/// Exports a tenant, imports that into a new one, and exports it again: the trees are the same, and so is whatever a second
/// import finds. Returns the new tenant and the tree.
async fn round_trip(db: &TestDatabase, tenant: TenantId, copy: &str) -> (TenantId, Tree) {
    let (folder, first) = export(db, tenant).await;
    let copy = db.tenant(copy).await.id;
    let planned = fixture::import_with(db, copy, &SyncOptions { dry_run: true, ..folder.options() }).await;
    let report = fixture::import(db, copy, &folder).await;
    assert_eq!(report.failed, [], "{report:?}");
    assert_eq!((planned.created, planned.changed), (report.created, report.changed));
    let (_, second) = export(db, copy).await;
    assert_eq!(first.keys().collect::<Vec<_>>(), second.keys().collect::<Vec<_>>());
    for (path, bytes) in &first {
        assert_eq!(String::from_utf8_lossy(bytes), String::from_utf8_lossy(&second[path]), "{path}");
    }
    let again = fixture::import(db, copy, &folder).await;
    assert_eq!((again.created, again.changed, again.categories_changed), (0, 0, 0), "{:?}", again.changes);
    assert_eq!((again.unchanged, again.images_created), (again.found, 0));
    (copy, first)
}

#[tokio::test]
async fn the_products_own_articles_come_back_as_they_were() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("demo").await.id;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/help");
    let options = SyncOptions { root, source: "help".to_owned(), ..Folder::of(&[]).options() };
    let report = fixture::import_with(&db, tenant, &options).await;
    assert!(report.failed.is_empty() && report.created > 40, "{report:?}");
    let (copy, tree) = round_trip(&db, tenant, "copy").await;
    assert_eq!(
        tree.keys().filter(|path| Path::new(path).extension().is_some_and(|ending| ending == "md")).count(),
        report.created
    );
    let links = text(&tree, "authors/front-matter.md");
    assert!(links.contains("](../admins/plan-roles.md)") && links.contains("](link-articles.md)"), "{links}");
    // The copy is kept by the same import as the original.
    // Links in its texts are those of the exported tree until then.
    let again = fixture::import_with(&db, copy, &options).await;
    let only_links = |changes: &[(String, FileOutcome)]| {
        changes.iter().all(|(_, outcome)| *outcome == FileOutcome::Changed { fields: vec!["content"] })
    };
    assert!(again.created == 0 && again.changed < 10 && only_links(&again.changes), "{:?}", again.changes);
}

/// A tenant with everything that could be lost or changed on the way.
async fn odd_tenant(app: &TestApp) -> TenantId {
    let tenant = app.db.tenant("odd").await.id;
    let folder = Folder::of(&[
        (
            "Guides/Einführung/start.md",
            "---\ntitle: 'Größe: \"Über\" #1'\nslug: start\nsummary: In short\ndescription: 'For others: longer'\ntags: [two words, C++]\nweight: 3\nhelpcenter: mine\n\
            nested: {a: [1, null, 1.5, 'yes'], 'b c': 2027-01-01}\n---\n\nSee [the end](../end.md#the-end), [here](#x) and `../end.md`.\n\n\
            ![A fern](../img/fern.png \"Fern\") ![gone](gone.png) [gone too](gone.md) [other](https://example.org/a?b=1&c=2)\n\n# X\n\n---\n\nMore\n",
        ),
        (
            "Guides/end.md",
            "---\ntitle: '---'\nstatus: ARCHIVED\ntarget_roles: [b, a]\ndifficulty: ADVANCED\nreview_due: 2030-06-30\n---\n\n\
            ## The end\n\n[back](Einführung/start.md)\n\n```md\n[back](Einführung/start.md)\n```\n\n<a href=\"Einführung/start.md\">back</a>\n",
        ),
        ("Guides/license-terms.md", "---\ntitle: License\nslug: license\n---\n\nSee [the guides](index.md).\n"),
        (
            "Guides/index.md",
            "---\ntitle: Guides\nsummary: |\n  Two\n  lines\nstatus: REVIEW\n---\n\nSee [this](<license-terms.md> 'T') and [this](license-terms.md?x=1).\n",
        ),
        (
            "日本/ページ.md",
            "---\ntitle: ページ\nlocale: ja\n---\n\n本文。[英語](../Guides/Einf%C3%BChrung/start.md#x)\n",
        ),
        ("top.md", &article("Top", "Text.")),
        (
            "Guides/_category_.yml",
            "label: The guides\nposition: 7\ndescription: 'What to do: all'\nicon: book\ncolor: '#1a2b3c'\n",
        ),
    ]);
    folder.write("Guides/img/fern.png", png("fern"));
    fixture::import(&app.db, tenant, &folder).await;
    let [author, editor] = [&["author"][..], &["editor"]].map(|roles| app.token("odd", roles));
    let post = async |path: &str, body: Value| {
        let (status, answer) = app.post(&format!("/api/v2/help-center/admin/{path}"), &editor, &body).await;
        assert!(status.is_success(), "{path} {body}: {answer}");
        answer
    };
    // Written here: texts that the import would tidy up, tell apart from its own, or take apart.
    let (_, image) = tests::json(
        app.request(Method::POST, "/api/v2/help-center/admin/assets/?name=leaf.png")
            .bearer_auth(&author)
            .body(png("leaf")),
    )
    .await;
    let category = post("categories/", json!({ "name": "Written here & now" })).await;
    let below = post(
        "categories/",
        json!({ "name": "Below", "parent_id": category["id"], "description": "a\nb", "is_active": false }),
    )
    .await;
    post("categories/", json!({ "name": "Empty" })).await;
    post("tags/", json!({ "name": "Unused: tag" })).await;
    let content = format!(
        "\n\n\n# Written here\n\n<!-- kept -->\n\n\n{{/* kept */}} <Tag a={{1}} />\n\n[to start](/articles/start/#x) [gone](/articles/gone/) \
         [file](/downloads/a.pdf) [page](start.md) ![leaf]({})   \r\nlast line without an end",
        image["url"].as_str().unwrap()
    );
    let start: String = sqlx::query_scalar("select id::text from articles where slug = 'start'")
        .fetch_one(&mut app.db.owner().await)
        .await
        .unwrap();
    let written = post(
        "articles/",
        json!({
            "title": " Written  here ", "content": content, "category_id": below["id"], "tags": ["two words"], "related": [start],
            "target_roles": ["a, b", "\"c\""],
        }),
    )
    .await;
    let id = written["id"].as_str().unwrap();
    let step = json!({ "status": "PUBLISHED", "version": written["version"] });
    let published = post(&format!("articles/{id}/status/"), step).await;
    let change = json!({ "content": "A newer text, with [a link](/articles/top/).", "slug": "written-anew" });
    let request = app.request(Method::PATCH, &format!("/api/v2/help-center/admin/articles/{id}/"));
    let (status, changed) = tests::json(
        request.header("if-match", format!("\"{}\"", published["version"])).bearer_auth(&editor).json(&change),
    )
    .await;
    assert_eq!(status, StatusCode::OK, "{changed}");
    post("articles/", json!({ "title": "Geschrieben", "content": "Text\n", "locale": "de", "translation_of": id }))
        .await;
    post("articles/", json!({ "title": "No category", "content": "" })).await;
    post(
        "articles/",
        json!({ "title": "x".repeat(200), "slug": "語".repeat(100), "content": "\u{feff}---\na: b\n---\n" }),
    )
    .await;
    tenant
}

#[tokio::test]
async fn everything_odd_comes_back_as_it_was() {
    let app = TestApp::start().await;
    let tenant = odd_tenant(&app).await;
    let (copy, tree) = round_trip(&app.db, tenant, "copy").await;
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    for expected in [
        "_tags_.yml",
        "the-guides/_category_.yml",
        "the-guides/einführung/start.md",
        "日本/ページ.md",
        "empty/_category_.yml",
        "written-here-now/below/written-anew.md",
        "written-here-now/below/written-anew.draft.md",
        "no-category.md",
    ] {
        assert!(names.contains(&expected), "{expected}: {names:#?}");
    }
    assert_eq!(names.iter().filter(|name| name.starts_with("_images/")).count(), 2, "{names:#?}");
    let start = text(&tree, "the-guides/einführung/start.md");
    for part in [
        "\nweight: 3\n",
        "\nsummary: \"In short\"\n",
        "\ndescription: \"For others: longer\"\n",
        "\n  other_keys: {\"helpcenter\": \"mine\"}\n",
        "[the end](../end.md#the-end)",
        "`../end.md`",
        "![A fern](../../_images/",
        "[gone too](gone.md)",
    ] {
        assert!(start.contains(part), "{part}: {start}");
    }
    let end = text(&tree, "the-guides/end.md");
    assert!(
        end.contains("[back](einführung/start.md)") && end.contains("```md\n[back](Einführung/start.md)\n```"),
        "{end}"
    );
    assert!(end.contains("<a href=\"einführung/start.md\">"), "{end}");
    let written = text(&tree, "written-here-now/below/written-anew.md");
    for part in [
        "[to start](../../the-guides/einführung/start.md#x)",
        "![leaf](../../_images/",
        "\"/downloads/a.pdf\": \"foreign\"",
        "   \r\nlast line without an end",
        "\n  former_slugs: [\"written-here\"]\n",
        "\nsummary: \"\"\n",
        "target_roles: [\"a, b\", \"\\\"c\\\"\"]",
    ] {
        assert!(written.contains(part), "{part}: {written}");
    }
    assert!(text(&tree, "written-here-now/below/written-anew.draft.md").contains("[a link](../../general/top.md)"));

    // The copy is not only written alike: it answers alike.
    let tokens = ["odd", "copy"].map(|tenant| app.token(tenant, &["a", "a, b", "editor"]));
    for slug in ["start", "written-anew", "top", "license", "ページ"] {
        let mut answers = Vec::new();
        for token in &tokens {
            let (status, article) = app.get(&format!("/api/v2/help-center/articles/{slug}/"), token).await;
            assert_eq!(status, StatusCode::OK, "{slug}: {article}");
            let html = article["html"].as_str().unwrap();
            // Where nothing is, and what is left as it is, the destination itself is shown; the others lead to the same place.
            answers.push((
                html.to_owned(),
                article["summary"].clone(),
                article["breadcrumb"].clone(),
                article["published_at"].clone(),
                article["tags"].clone(),
            ));
        }
        assert_eq!(answers[0], answers[1], "{slug}");
    }
    let (status, _) = app.get("/api/v2/help-center/articles/written-here/", &tokens[1]).await;
    assert_eq!(status, StatusCode::MOVED_PERMANENTLY);
    let kept: (i64, i64, i64) = sqlx::query_as(
        "select (select count(*) from related_articles where tenant_id = $1),
                (select count(*) from articles where tenant_id = $1 and translation_group in (
                     select translation_group from articles where tenant_id = $1 group by 1 having count(*) > 1)),
                (select count(*) from revisions where tenant_id = $1)",
    )
    .bind(copy.uuid())
    .fetch_one(&mut app.db.owner().await)
    .await
    .unwrap();
    assert_eq!(kept, (1, 2, 11), "related, translations, revisions: one each and the draft");
    app.run_jobs().await;
    assert_eq!(app.search_titles(&tokens[1], "fern").await, app.search_titles(&tokens[0], "fern").await);
}

#[tokio::test]
async fn an_export_brings_articles_back_to_where_they_came_from() {
    let app = TestApp::start().await;
    let tenant = odd_tenant(&app).await;
    let (folder, before) = export(&app.db, tenant).await;
    let report = fixture::import(&app.db, tenant, &folder).await;
    // Texts with links have them as the tree has them from then on.
    assert_eq!((report.created, report.changed, report.categories_created), (0, 7, 0), "{:?}", report.changes);
    let again = fixture::import(&app.db, tenant, &folder).await;
    assert_eq!((again.created, again.changed, again.unchanged), (0, 0, report.found), "{:?}", again.changes);
    assert_eq!(export(&app.db, tenant).await.1, before);
    // One is changed and one is deleted here; the files bring their texts back, and archive nothing.
    let mut owner = app.db.owner().await;
    sqlx::query("update articles set difficulty = 'ADVANCED' where slug = 'written-anew'")
        .execute(&mut owner)
        .await
        .unwrap();
    sqlx::query("delete from articles where slug = 'top'").execute(&mut owner).await.unwrap();
    let options = SyncOptions { archive_removed: true, ..folder.options() };
    let report = fixture::import_with(&app.db, tenant, &options).await;
    assert_eq!((report.created, report.changed, report.archived), (1, 1, 0), "{:?}", report.changes);
    assert!(report.warnings.iter().any(|(_, warning)| warning.contains("archives nothing")), "{:?}", report.warnings);
    assert_eq!(export(&app.db, tenant).await.1, before, "the draft is still a draft");
    // A copy of a file is no second article by itself.
    folder.write("zz-copy.md", &before["the-guides/end.md"]);
    let report = fixture::import(&app.db, tenant, &folder).await;
    assert_eq!((report.created, report.changed, report.failed.len()), (0, 0, 1), "{report:?}");
    assert!(report.failed[0].1.starts_with("the-guides/end.md is the same article"), "{report:?}");
}

#[tokio::test]
async fn a_forged_export_reads_no_file_that_is_not_in_it() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("garden").await.id;
    let outside = Folder::of(&[("secret.svg", "<svg>secret</svg>")]);
    let secret = outside.path().join("secret.svg");
    let up = format!("{}{}", "../".repeat(20), secret.to_str().unwrap().trim_start_matches('/'));
    let forged = format!(
        "---\ntitle: \"A\"\nhelpcenter:\n  format: 1\n  id: \"{}\"\n  links: {{\"x\": {{\"file\": {:?}}}, \"y\": {{\"file\": {:?}}}}}\n---\n\n![x](x) ![y](y)\n",
        uuid::Uuid::now_v7(),
        secret.to_str().unwrap(),
        up
    );
    let report = fixture::import(&db, tenant, &Folder::of(&[("a.md", &forged)])).await;
    assert_eq!((report.created, report.broken_images.len(), report.images_created), (1, 2, 0), "{report:?}");
}

#[tokio::test]
async fn the_archive_over_http_is_the_tree() {
    let app = TestApp::start().await;
    let tenant = odd_tenant(&app).await;
    let (_, tree) = export(&app.db, tenant).await;
    let admin = app.token("odd", &["admin"]);
    let download = async || {
        let request = app.request(Method::GET, "/api/v2/help-center/admin/export/").bearer_auth(&admin);
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/zip");
        assert!(response.headers()["content-disposition"].to_str().unwrap().starts_with("attachment"));
        response.bytes().await.unwrap().to_vec()
    };
    let bytes = download().await;
    assert_eq!(download().await, bytes, "the same content is the same archive");
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).unwrap();
    let mut found = Tree::new();
    for index in 0..archive.len() {
        let mut entry = archive.by_index(index).unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        found.insert(entry.name().unwrap().into_owned(), content);
    }
    assert_eq!(found, tree);
    let log: i64 = sqlx::query_scalar("select count(*) from audit_log where action = 'knowledge.exported'")
        .fetch_one(&mut app.db.owner().await)
        .await
        .unwrap();
    assert_eq!(log, 2);
    let mut sink = ZipSink::new(Cursor::new(Vec::new()));
    export::export(&app.db.database, tenant, &mut sink, &|_, _| {}).await.unwrap();
    assert!(
        FolderSink::create(Path::new(env!("CARGO_MANIFEST_DIR"))).is_err(),
        "a folder with something in it is left alone"
    );
}
