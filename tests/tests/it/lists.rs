//! Lists of articles for readers: every order, page by page.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::{cmp::Ordering, collections::BTreeSet};

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use tests::{
    TestApp,
    fixture::{self, Folder},
};

const ARTICLES: &str = "/api/v2/help-center/articles/";

struct World {
    app: TestApp,
    token: String,
}

impl World {
    async fn with(files: &[(String, String)]) -> Self {
        let app = TestApp::start().await;
        let acme = app.db.tenant("acme").await.id;
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
        fixture::import(&app.db, acme, &Folder::of(&files)).await;
        let token = app.token("acme", &[]);
        Self { app, token }
    }

    async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    async fn list(&self, query: &str) -> Value {
        let (status, page) = self.app.get(&format!("{ARTICLES}?{query}"), &self.token).await;
        assert_eq!(status, StatusCode::OK, "{query}: {page}");
        page
    }

    /// All articles of a list, page by page.
    async fn all(&self, query: &str, limit: usize) -> Vec<Value> {
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = self.list(&format!("{query}&limit={limit}{cursor}")).await;
            let results = page["results"].as_array().unwrap();
            assert!(results.len() == limit || page["next_cursor"].is_null(), "{query}: a short page");
            found.extend(results.iter().cloned());
            let Some(next) = page["next_cursor"].as_str() else { return found };
            cursor = format!("&cursor={next}");
        }
    }

    async fn refused(&self, query: &str) -> String {
        let (status, answer) = self.app.get(&format!("{ARTICLES}?{query}"), &self.token).await;
        assert_eq!((status, &answer["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{query}");
        answer["detail"].as_str().unwrap().to_owned()
    }
}

/// Articles in which every key has ties: of two days, three titles, four numbers of views and five of votes.
async fn tied() -> World {
    let files: Vec<(String, String)> = (0..61)
        .map(|n| {
            let title = ["Step 2", "step 10", "Ärger"][n % 3];
            (format!("{n}.md"), format!("---\ntitle: {title}\nslug: a-{n}\ntags: [tag-{}]\n---\n\nText {n}.\n", n % 4))
        })
        .collect();
    let world = World::with(&files).await;
    world
        .execute(
            "with numbered as (select id, substr(slug, 3)::int as n from articles)
             update articles a set
                 published_at = '2026-01-01'::timestamptz + (n % 2) * interval '1 day',
                 updated_at = '2026-02-01'::timestamptz + (n % 5) * interval '1 microsecond',
                 view_count = n % 4, helpful_count = n % 5 * 7 + 1, not_helpful_count = n % 3
             from numbered where numbered.id = a.id",
        )
        .await;
    world
}

#[tokio::test]
async fn every_order_lists_every_article_once_page_by_page_ties_included() {
    let world = tied().await;
    let text = |article: &Value, field: &str| article[field].as_str().unwrap().to_owned();
    let time = |article: &Value, field: &str| text(article, field).parse::<DateTime<Utc>>().unwrap();
    let title = |article: &Value| ["Ärger", "Step 2", "step 10"].iter().position(|t| article["title"] == *t).unwrap();
    let wilson = |article: &Value| {
        // The ratio of the article is that of its votes, which follow from its number.
        let n: f64 = text(article, "slug")[2..].parse::<u32>().unwrap().into();
        let (yes, no) = (n % 5.0 * 7.0 + 1.0, n % 3.0);
        let votes = yes + no;
        let (share, z) = (yes / votes, 1.96_f64);
        let spread = z * ((share * (1.0 - share) + z * z / (4.0 * votes)) / votes).sqrt();
        (share + z * z / (2.0 * votes) - spread) / (1.0 + z * z / votes)
    };
    let compare = |by: &str, a: &Value, b: &Value| -> Ordering {
        match by {
            "published" => time(a, "published_at").cmp(&time(b, "published_at")),
            "updated" => time(a, "updated_at").cmp(&time(b, "updated_at")),
            "title" => title(a).cmp(&title(b)),
            "views" => a["view_count"].as_i64().cmp(&b["view_count"].as_i64()),
            _ => wilson(a).total_cmp(&wilson(b)),
        }
    };
    for by in ["published", "updated", "title", "views", "helpful"] {
        for order in ["asc", "desc"] {
            for limit in [1, 7, 30, 61, 100] {
                let listed = world.all(&format!("sort={by}&order={order}"), limit).await;
                let ids: BTreeSet<String> = listed.iter().map(|article| text(article, "id")).collect();
                assert_eq!((listed.len(), ids.len()), (61, 61), "{by} {order} {limit}");
                for pair in listed.windows(2) {
                    let expected = if order == "asc" { Ordering::Less } else { Ordering::Greater };
                    let by_key = compare(by, &pair[0], &pair[1]);
                    let by_id = text(&pair[0], "id").cmp(&text(&pair[1], "id"));
                    assert_eq!(by_key.then(by_id), expected, "{by} {order}: {pair:#?}");
                }
            }
        }
        let usual = if by == "title" { "asc" } else { "desc" };
        let named = world.all(&format!("sort={by}&order={usual}"), 30).await;
        assert_eq!(world.all(&format!("sort={by}"), 30).await, named, "{by}");
    }
    assert_eq!(world.all("", 30).await, world.all("sort=published&order=desc", 30).await);
}

#[tokio::test]
async fn filters_hold_on_every_page_and_several_tags_mean_any_of_them() {
    let world = tied().await;
    assert_eq!(world.all("tag=tag-1&sort=title", 4).await.len(), 15);
    assert_eq!(world.all("tag=tag-1,tag-3,none&sort=views", 4).await.len(), 30);
    assert_eq!(world.all("tag=none", 4).await.len(), 0);
    assert!(world.refused(&format!("tag={}", ["x"; 21].join(","))).await.contains("at most 20"));
}

#[tokio::test]
async fn titles_stand_where_people_look_for_them() {
    let titles = [
        "Öl nachfüllen",
        "ölfilter",
        "Zebra",
        "2FA",
        "10 tips",
        "École",
        "eclair",
        "Step 10",
        "Step 9",
        "日本語",
        "ß-Taste",
    ];
    let files: Vec<(String, String)> =
        titles.iter().enumerate().map(|(n, title)| (format!("{n}.md"), fixture::article(title, "Text."))).collect();
    let world = World::with(&files).await;
    let listed = world.all("sort=title", 3).await;
    let listed: Vec<&str> = listed.iter().map(|article| article["title"].as_str().unwrap()).collect();
    assert_eq!(
        listed,
        [
            "2FA",
            "10 tips",
            "eclair",
            "École",
            "Öl nachfüllen",
            "ölfilter",
            "ß-Taste",
            "Step 9",
            "Step 10",
            "Zebra",
            "日本語"
        ]
    );
    // What stands for titles follows them.
    world.execute("update revisions set title = 'Aal' where title = 'Zebra'").await;
    world.execute("update articles set published_revision_id = published_revision_id").await;
    assert_eq!(world.all("sort=title", 100).await[2]["title"], "Aal");
    // A title that grows beyond what fits into an index is cut there.
    let longest = "\u{fdfa}".repeat(200);
    let length = sqlx::query_scalar::<_, i32>("select octet_length(title_key($1))").bind(&longest);
    assert!(length.fetch_one(&mut world.app.db.owner().await).await.unwrap() < 2_000);
}

#[tokio::test]
async fn a_cursor_of_another_list_is_refused_in_words() {
    let world = tied().await;
    let page = world.list("sort=title&tag=tag-1&limit=5").await;
    let cursor = page["next_cursor"].as_str().unwrap();
    assert_eq!(
        world.list(&format!("sort=title&tag=tag-1&limit=2&cursor={cursor}")).await["results"][0]["title"],
        "Step 2"
    );
    for other in
        ["sort=views&tag=tag-1", "sort=title&order=desc&tag=tag-1", "sort=title", "sort=title&tag=tag-2", "tag=tag-1"]
    {
        let detail = world.refused(&format!("{other}&cursor={cursor}")).await;
        assert!(detail.contains("another order or other filters"), "{other}: {detail}");
    }
    assert!(world.refused("sort=age").await.contains("`published`, `updated`, `title`, `views`, `helpful`"));
    assert!(world.refused("order=up").await.contains("`asc` or `desc`"));
}
