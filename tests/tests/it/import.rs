//! Importing a folder: again and again, with bad files in it, with links, with files that go away.

use shared::{
    auth::Roles,
    knowledge::{self, ArticleFilter, import::FileOutcome},
};
use tests::{
    TestApp, TestDatabase,
    fixture::{self, Folder, article, article_for},
};

fn garden() -> Folder {
    Folder::of(&[
        ("index.md", &article("Gardening", "Start with [watering](plants/watering.md#when) or [tools](tools.md).")),
        ("plants/watering.md", &article("Watering", "# When\n\nIn the [morning](../index.md).\n")),
        ("plants/indoor/ferns.md", &article_for("Ferns", &["botanist"], "Ferns like shade.")),
        ("tools.md", &article("Tools", "A [broken link](nowhere.md) and a [site](https://example.org).")),
    ])
}

#[tokio::test]
async fn files_become_articles_and_folders_categories() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("garden").await.id;
    let report = fixture::import(&db, tenant, &garden()).await;
    assert_eq!((report.found, report.created, report.changed, report.unchanged), (4, 4, 0, 0));
    assert_eq!(report.failed, []);
    assert_eq!(report.categories_created, 3, "General, Plants and Indoor");

    let botanist = Roles::new(vec!["botanist".to_owned()]).unwrap();
    let mut tx = db.database.tenant(tenant).await.unwrap();
    let tree = knowledge::categories(&mut tx, &botanist).await.unwrap();
    let counts: Vec<(&str, i64)> = tree.iter().map(|node| (node.name.as_str(), node.article_count)).collect();
    assert_eq!(counts, [("General", 2), ("Plants", 2)]);
    assert_eq!(tree[1].children[0].name, "Indoor");
    let seen = |tree: Vec<knowledge::CategoryNode>| tree.iter().map(|node| node.article_count).sum::<i64>();
    assert_eq!(seen(knowledge::categories(&mut tx, &Roles::none()).await.unwrap()), 3, "ferns are for botanists");
}

#[tokio::test]
async fn a_second_import_changes_nothing() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("garden").await.id;
    let folder = garden();
    fixture::import(&db, tenant, &folder).await;
    let again = fixture::import(&db, tenant, &folder).await;
    assert_eq!((again.created, again.changed, again.unchanged), (0, 0, 4));
    assert_eq!((again.categories_created, again.changes.len()), (0, 0));
    let revisions: i64 =
        sqlx::query_scalar("select count(*) from revisions").fetch_one(&mut db.owner().await).await.unwrap();
    assert_eq!(revisions, 4);
}

#[tokio::test]
async fn a_changed_text_is_a_new_revision_and_a_changed_property_is_not() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("garden").await.id;
    let folder = garden();
    fixture::import(&db, tenant, &folder).await;
    folder.write("tools.md", article("Tools", "A spade."));
    folder.write("plants/indoor/ferns.md", article_for("Ferns", &["botanist", "florist"], "Ferns like shade."));
    let report = fixture::import(&db, tenant, &folder).await;
    assert_eq!((report.created, report.changed, report.unchanged), (0, 2, 2));
    let fields = |path: &str| {
        report.changes.iter().find(|(changed, _)| changed == path).map(|(_, outcome)| match outcome {
            FileOutcome::Changed { fields } => fields.clone(),
            other => panic!("{other:?}"),
        })
    };
    assert_eq!(fields("plants/indoor/ferns.md"), Some(vec!["target_roles"]));
    assert!(fields("tools.md").unwrap().contains(&"content"));
    let revisions: Vec<(String, i64)> = sqlx::query_as(
        "select a.source_path, count(*) from revisions r join articles a on a.id = r.article_id group by 1 order by 1",
    )
    .fetch_all(&mut db.owner().await)
    .await
    .unwrap();
    assert!(
        revisions.contains(&("tools.md".to_owned(), 2))
            && revisions.contains(&("plants/indoor/ferns.md".to_owned(), 1))
    );
}

#[tokio::test]
async fn a_bad_file_is_reported_and_the_others_go_on() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("garden").await.id;
    let folder = garden();
    folder.write("bad-front-matter.md", "---\ntitle: [unclosed\n---\n\nText\n");
    folder.write("bad-status.md", "---\ntitle: T\nstatus: MAYBE\n---\n\nText\n");
    folder.write("not-text.md", [0xff, 0xfe, 0x00, 0xd8, 0x41]);
    folder.write("invalid.md", [b'a', 0x80, b'b']);
    folder.write("empty.md", "");
    folder.write("huge.md", "word ".repeat(600_000));
    folder.write("_partial.md", "not an article");
    folder.write("image.png", "not an article either");
    let report = fixture::import(&db, tenant, &folder).await;
    assert_eq!(report.created, 4);
    let mut failed: Vec<&str> = report.failed.iter().map(|(path, _)| path.as_str()).collect();
    failed.sort_unstable();
    assert_eq!(failed, ["bad-front-matter.md", "bad-status.md", "empty.md", "huge.md", "invalid.md", "not-text.md"]);
    for (path, reason) in &report.failed {
        assert!(reason.len() > 20, "{path}: {reason:?} helps nobody");
    }
    let status = report.failed.iter().find(|(path, _)| path == "bad-status.md").map(|(_, reason)| reason.as_str());
    assert!(status.unwrap().contains("MAYBE") && status.unwrap().contains("published"), "{status:?}");
    assert_eq!(report.skipped.values().sum::<usize>(), 2, "{:?}", report.skipped);
}

#[tokio::test]
async fn a_dry_run_tells_what_would_happen_and_writes_nothing() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("garden").await.id;
    let folder = garden();
    let options = shared::knowledge::import::SyncOptions { dry_run: true, ..folder.options() };
    let planned = fixture::import_with(&db, tenant, &options).await;
    assert_eq!((planned.created, planned.categories_created), (4, 3));
    let written: i64 = sqlx::query_scalar(
        "select (select count(*) from articles) + (select count(*) from categories) + (select count(*) from outbox)",
    )
    .fetch_one(&mut db.owner().await)
    .await
    .unwrap();
    assert_eq!(written, 0);
}

#[tokio::test]
async fn an_article_whose_file_is_gone_is_archived_only_when_asked_for() {
    let app = TestApp::start().await;
    let tenant = app.db.tenant("garden").await.id;
    let folder = garden();
    fixture::import(&app.db, tenant, &folder).await;
    folder.delete("tools.md");
    let kept = fixture::import(&app.db, tenant, &folder).await;
    assert_eq!((kept.archived, kept.removed_kept), (0, 1));
    let token = app.token("garden", &[]);
    assert!(app.search_titles(&token, "broken link").await.contains(&"Tools".to_owned()));

    let options = shared::knowledge::import::SyncOptions { archive_removed: true, ..folder.options() };
    let report = fixture::import_with(&app.db, tenant, &options).await;
    assert_eq!((report.archived, report.removed_kept), (1, 0));
    assert!(!app.search_titles(&token, "broken link").await.contains(&"Tools".to_owned()));
    app.run_jobs().await;
}

#[tokio::test]
async fn links_between_files_become_links_between_articles() {
    let app = TestApp::start().await;
    let tenant = app.db.tenant("garden").await.id;
    let report = fixture::import(&app.db, tenant, &garden()).await;
    assert_eq!(report.broken_links, [("tools.md".to_owned(), "nowhere.md".to_owned())]);
    let token = app.token("garden", &[]);
    let html = |slug: &'static str| {
        let (app, token) = (&app, &token);
        async move {
            let (_, article) = app.get(&format!("/api/v2/help-center/articles/{slug}/"), token).await;
            article["html"].as_str().unwrap_or_else(|| panic!("{article}")).to_owned()
        }
    };
    let mut tx = app.db.database.tenant(tenant).await.unwrap();
    let filter = ArticleFilter { limit: 10, ..ArticleFilter::default() };
    let listed = knowledge::articles(&mut tx, &Roles::none(), &filter).await.unwrap();
    let index = listed.into_iter().find(|a| a.title == "Gardening").unwrap().slug;
    drop(tx);
    let (_, article) = app.get(&format!("/api/v2/help-center/articles/{index}/"), &token).await;
    let page = article["html"].as_str().unwrap();
    assert!(page.contains("href=\"/articles/watering/#"), "{page}");
    let tools = html("tools").await;
    assert!(!tools.contains("nowhere.md") && tools.contains("https://example.org"), "{tools}");

    // The address of the target changes; the links follow.
    sqlx::query("update articles set slug = 'watering-plants' where slug = 'watering'")
        .execute(&mut app.db.owner().await)
        .await
        .unwrap();
    let (_, article) = app.get(&format!("/api/v2/help-center/articles/{index}/"), &token).await;
    assert!(article["html"].as_str().unwrap().contains("/articles/watering-plants/#"), "{article}");
}

#[tokio::test]
async fn two_folders_with_the_same_file_names_are_two_sets_of_articles() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("garden").await.id;
    let folder = garden();
    fixture::import(&db, tenant, &folder).await;
    let options = shared::knowledge::import::SyncOptions { source: "other".to_owned(), ..folder.options() };
    let second = fixture::import_with(&db, tenant, &options).await;
    assert_eq!((second.created, second.failed.len()), (4, 0));
    let again = fixture::import_with(&db, tenant, &options).await;
    assert_eq!((again.created, again.changed, again.unchanged), (0, 0, 4));
    let slugs: i64 =
        sqlx::query_scalar("select count(distinct slug) from articles").fetch_one(&mut db.owner().await).await.unwrap();
    assert_eq!(slugs, 8);
}

#[tokio::test]
async fn term_statistics_stay_exact_through_changes() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("garden").await.id;
    let folder = garden();
    fixture::import(&db, tenant, &folder).await;
    folder.write("tools.md", article("Spades", "A spade is a spade."));
    folder.delete("plants/watering.md");
    let options = shared::knowledge::import::SyncOptions { archive_removed: true, ..folder.options() };
    fixture::import_with(&db, tenant, &options).await;
    let wrong: Vec<(String, i64, i64)> = sqlx::query_as(
        "select coalesce(t.lexeme, '?'), coalesce(t.article_count, 0)::bigint, coalesce(d.n, 0)
         from (select * from search_terms where article_count <> 0) t
         full join (select id, count(*) as n from search_documents, unnest(term_ids) as id group by id) d on d.id = t.id
         where coalesce(t.article_count, 0) <> coalesce(d.n, 0)",
    )
    .fetch_all(&mut db.owner().await)
    .await
    .unwrap();
    assert_eq!(wrong, []);
    let totals: (i64, bool) = sqlx::query_as(
        "select article_count, article_count = (select count(*) from search_documents)
             and body_length = (select sum(body_length) from search_documents) from search_totals",
    )
    .fetch_one(&mut db.owner().await)
    .await
    .unwrap();
    assert_eq!(totals, (3, true));
}

#[tokio::test]
async fn a_file_says_what_the_category_of_its_folder_is() {
    let db = TestDatabase::create().await;
    let tenant = db.tenant("garden").await.id;
    let folder = garden();
    folder.write("plants/_category_.yml", "label: All plants\nslug: flora\nposition: 3\ndescription: Green\n");
    folder.write("empty/_category_.json", "{ \"label\": \"Empty\", \"active\": false }");
    let options = shared::knowledge::import::SyncOptions { dry_run: true, ..folder.options() };
    let planned = fixture::import_with(&db, tenant, &options).await;
    let report = fixture::import(&db, tenant, &folder).await;
    assert_eq!((report.created, report.categories_created, report.failed.len()), (4, 4, 0), "{report:?}");
    assert_eq!(planned.categories_created, 4);
    let found = async || -> Vec<(String, String, String, i32, bool, String)> {
        sqlx::query_as(
            "select c.name, c.slug, c.description, c.display_order, c.is_active, coalesce(p.name, '')
             from categories c left join categories p on p.id = c.parent_id order by c.name",
        )
        .fetch_all(&mut db.owner().await)
        .await
        .unwrap()
    };
    let row = |name: &str, slug: &str, description: &str, order: i32, is_active: bool, parent: &str| {
        (name.to_owned(), slug.to_owned(), description.to_owned(), order, is_active, parent.to_owned())
    };
    let mut expected = vec![
        row("All plants", "flora", "Green", 3, true, ""),
        row("Empty", "empty", "", 0, false, ""),
        row("General", "general", "", 0, true, ""),
        row("Indoor", "indoor", "", 0, true, "All plants"),
    ];
    assert_eq!(found().await, expected);
    let again = fixture::import(&db, tenant, &folder).await;
    assert_eq!((again.unchanged, again.categories_created, again.categories_changed), (4, 0, 0), "{again:?}");
    // What it does not say stays as it is.
    folder.write("plants/_category_.yml", "name: Every plant\n");
    folder.write("empty/_category_.json", "{ \"position\": \"first\" }");
    let changed = fixture::import(&db, tenant, &folder).await;
    assert_eq!((changed.unchanged, changed.categories_changed), (4, 1), "{changed:?}");
    assert_eq!(changed.failed.len(), 1, "{changed:?}");
    assert!(changed.failed[0].0 == "empty/_category_.json" && changed.failed[0].1.contains("position"), "{changed:?}");
    expected[0].0 = "Every plant".to_owned();
    expected[3].5 = "Every plant".to_owned();
    expected.swap(0, 1);
    assert_eq!(found().await, expected);
}
