//! What to read next: what an editor chose, then what is about the same, and nothing that the reader may not see.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use reqwest::{Method, StatusCode};
use serde_json::Value;
use shared::tenancy::TenantId;
use sqlx::AssertSqlSafe;
use tests::{
    TestApp,
    fixture::{self, Folder, article, article_for},
};

struct World {
    app: TestApp,
    acme: TenantId,
    folder: Folder,
}

impl World {
    /// Articles about passwords and one about tomatoes; not embedded yet.
    async fn new() -> Self {
        let app = TestApp::start().await;
        let acme = app.db.tenant("acme").await.id;
        let tagged =
            "---\ntitle: Grow tomatoes\ntags: [account]\n---\n\nTomatoes want sun, water and a stick to climb.\n";
        let reset =
            "---\ntitle: Reset your password\ntags: [account]\n---\n\nAsk for a link to choose a new password.\n";
        let german = "---\ntitle: Passwort zurücksetzen\nlocale: de\n---\n\nReset your password by a link to choose a new one.\n";
        let folder = Folder::of(&[
            ("accounts/reset.md", reset),
            ("accounts/change.md", &article("Change your password", "Choose a new password in your settings.")),
            ("accounts/locked.md", &article("Forgotten password", "After five wrong passwords an account is locked.")),
            ("accounts/admins.md", &article_for("Reset the password of others", &["board"], "Choose a new password.")),
            ("accounts/german.md", german),
            ("garden/tomatoes.md", tagged),
        ]);
        fixture::import(&app.db, acme, &folder).await;
        let world = Self { app, acme, folder };
        world
            .execute(
                "update articles set translation_group = (select translation_group from articles where slug = 'reset')
                 where slug = 'german'",
            )
            .await;
        world
    }

    async fn embedded() -> Self {
        let world = Self::new().await;
        world.app.run_jobs().await;
        world
    }

    async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    /// Slugs of what is related to an article, for a person with these roles.
    async fn related(&self, slug: &str, roles: &[&str]) -> Vec<String> {
        let path = format!("/api/v2/help-center/articles/{slug}/");
        let (status, article) = self.app.get(&path, &self.app.token("acme", roles)).await;
        assert_eq!(status, StatusCode::OK, "{article}");
        let related = article["related"].as_array().unwrap();
        related.iter().map(|line: &Value| line["slug"].as_str().unwrap().to_owned()).collect()
    }

    async fn choose(&self, slug: &str, related: &[&str]) {
        self.execute("delete from related_articles").await;
        for (position, other) in related.iter().enumerate() {
            self.execute(&format!(
                "insert into related_articles (tenant_id, article_id, related_id, position)
                 select a.tenant_id, a.id, b.id, {position} from articles a, articles b
                 where a.slug = '{slug}' and b.slug = '{other}'"
            ))
            .await;
        }
    }
}

fn sorted(mut slugs: Vec<String>) -> Vec<String> {
    slugs.sort();
    slugs
}

#[tokio::test]
async fn what_is_about_the_same_is_named_and_nothing_far_away_hidden_or_translated() {
    let world = World::embedded().await;
    assert_eq!(sorted(world.related("reset", &[]).await), ["change", "locked"]);
    assert_eq!(sorted(world.related("reset", &["board"]).await), ["admins", "change", "locked"]);
    assert_eq!(world.related("tomatoes", &["board"]).await, Vec::<String>::new());
    // Of an article and its translation the one in the language of what is read.
    let related = world.related("change", &[]).await;
    assert!(related.contains(&"reset".to_owned()) && !related.contains(&"german".to_owned()), "{related:?}");
}

#[tokio::test]
async fn what_an_editor_chose_comes_first_in_that_order_for_those_who_may_see_it() {
    let world = World::embedded().await;
    world.choose("reset", &["tomatoes", "admins", "locked"]).await;
    assert_eq!(world.related("reset", &[]).await, ["tomatoes", "locked", "change"]);
    assert_eq!(world.related("reset", &["board"]).await, ["tomatoes", "admins", "locked", "change"]);
    // Its own translation is none.
    world.choose("reset", &["german", "change"]).await;
    assert_eq!(world.related("reset", &[]).await, ["change", "locked"]);
    // What was chosen counts at once, whatever was remembered.
    world.choose("reset", &[]).await;
    assert_eq!(sorted(world.related("reset", &[]).await), ["change", "locked"]);
}

#[tokio::test]
async fn without_vectors_category_and_tags_decide() {
    let world = World::new().await;
    // A tag weighs more than the category.
    let related = world.related("reset", &[]).await;
    assert_eq!(related[0], "tomatoes");
    assert_eq!(sorted(related), ["change", "locked", "tomatoes"]);
    world.app.run_jobs().await;
    assert_eq!(sorted(world.related("reset", &[]).await), ["change", "locked"]);
}

#[tokio::test]
async fn what_changes_is_known_at_once() {
    let world = World::embedded().await;
    assert_eq!(world.related("reset", &[]).await.len(), 2);
    world.execute("update articles set target_roles = '{board}' where slug = 'change'").await;
    assert_eq!(world.related("reset", &[]).await, ["locked"]);
    world.folder.write("accounts/new.md", article("Choose a good password", "A long password is a good password."));
    fixture::import(&world.app.db, world.acme, &world.folder).await;
    world.app.run_jobs().await;
    assert!(world.related("reset", &[]).await.contains(&"new".to_owned()));
}

#[tokio::test]
async fn the_page_of_an_article_ends_with_what_is_related() {
    let world = World::embedded().await;
    let page = async |slug: &str| {
        let request = world.app.request(Method::GET, &format!("/articles/{slug}/"));
        request.bearer_auth(world.app.token("acme", &[])).send().await.unwrap().text().await.unwrap()
    };
    let reset = page("reset").await;
    let (_, end) = reset.split_once("<h2 id=\"related\">Related articles</h2>").unwrap();
    assert!(end.contains("href=\"/articles/change/\"") && !end.contains("admins"), "{end}");
    assert!(!page("tomatoes").await.contains("Related articles"));
}
