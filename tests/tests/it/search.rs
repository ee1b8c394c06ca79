//! Search: what it finds, by words and by meaning, and what it says when half of it is away.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde_json::{Value, json};
use shared::{
    auth::Roles,
    search::{Search, SearchRequest},
};
use tests::{
    Settings, TestApp, embedder,
    fixture::{self, Folder, article},
};

const SEARCH: &str = "/api/v2/help-center/search/";

fn library() -> Folder {
    Folder::of(&[
        (
            "account/password.md",
            &article("Reset your password", "Open *Settings* and choose **Security**. A link is sent to you by email."),
        ),
        ("account/delete.md", &article("Delete your account", "All of your data is removed after thirty days.")),
        (
            "billing/invoice.md",
            &article(
                "Download an invoice",
                "Invoices are PDF files. The error code E-4711 means that none exists yet.",
            ),
        ),
        ("billing/refund.md", &article("Money back", "We return what you paid within two weeks.")),
        (
            "billing/html.md",
            &article("Markup", "Write `<script>alert(1)</script>` & \"quotes\" as code to show a script."),
        ),
        ("café.md", &article("Le café", "Un café naïve au lait.")),
    ])
}

async fn start_with(settings: Settings) -> (TestApp, String) {
    let app = TestApp::start_with(settings).await;
    let tenant = app.db.tenant("library").await.id;
    let report = fixture::import(&app.db, tenant, &library()).await;
    assert_eq!(report.created, 6, "{report:?}");
    let token = app.token("library", &[]);
    (app, token)
}

async fn start() -> (TestApp, String) {
    let (app, token) = start_with(Settings::default()).await;
    app.run_jobs().await;
    (app, token)
}

async fn search(app: &TestApp, token: &str, body: Value) -> Value {
    let (status, found) = app.post(SEARCH, token, &body).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    found
}

#[tokio::test]
async fn a_question_finds_an_article_that_shares_no_word_with_it() {
    let (app, token) = start().await;
    let found = search(&app, &token, json!({ "query": "can I get a reimbursement" })).await;
    assert_eq!(found["results"][0]["title"], "Money back", "{found}");
    assert_eq!(found["results"][0]["matched"], json!(["semantic"]));
    assert_eq!(found["degraded"], json!([]));
}

#[tokio::test]
async fn an_error_code_finds_the_article_that_holds_it() {
    let (app, token) = start().await;
    let titles = app.search_titles(&token, "E-4711").await;
    assert_eq!(titles.first().map(String::as_str), Some("Download an invoice"), "{titles:?}");
}

#[tokio::test]
async fn accents_do_not_matter() {
    let (app, token) = start().await;
    for query in ["cafe", "CAFÉ", "naive"] {
        let titles = app.search_titles(&token, query).await;
        assert_eq!(titles.first().map(String::as_str), Some("Le café"), "{query}: {titles:?}");
    }
}

#[tokio::test]
async fn words_work_at_once_and_meaning_follows() {
    let (app, token) = start_with(Settings::default()).await;
    let found = search(&app, &token, json!({ "query": "invoices" })).await;
    assert_eq!(found["results"][0]["title"], "Download an invoice");
    assert_eq!(found["results"][0]["matched"], json!(["keyword"]));
    app.run_jobs().await;
    let found = search(&app, &token, json!({ "query": "invoices" })).await;
    assert_eq!(found["results"][0]["matched"], json!(["keyword", "semantic"]));
}

#[tokio::test]
async fn without_the_model_words_answer_and_the_answer_says_so() {
    let (app, token) = start_with(Settings { with_model: false, ..Settings::default() }).await;
    let found = search(&app, &token, json!({ "query": "password" })).await;
    assert_eq!(found["results"][0]["title"], "Reset your password");
    assert_eq!(found["degraded"], json!(["semantic"]));
    let page = app.request(reqwest::Method::GET, "/search/?q=password").bearer_auth(&token).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("meaning"), "the page says that search by meaning is away: {page}");
    app.run_jobs().await;
}

#[tokio::test]
async fn snippets_are_highlighted_and_safe() {
    let (app, token) = start().await;
    let found = search(&app, &token, json!({ "query": "script alert" })).await;
    let snippet =
        found["results"].as_array().unwrap().iter().find(|r| r["title"] == "Markup").unwrap()["snippet"].clone();
    let snippet = snippet.as_str().unwrap();
    assert!(snippet.contains("<mark>"), "{snippet}");
    let text = snippet.replace("<mark>", "").replace("</mark>", "");
    assert!(!text.contains(['<', '>']) && text.contains("&lt;script&gt;"), "{snippet}");
}

#[tokio::test]
async fn the_passage_that_is_shown_has_the_error_code_or_what_is_quoted() {
    let app = TestApp::start().await;
    let tenant = app.db.tenant("library").await.id;
    let about = "Your payment was declined because the bank refused the card. When a card payment is declined, ask the bank why \
                 the payment was refused and try the declined card again. A declined payment is not charged to your card. ";
    let elsewhere = "The service writes one line for each request into its log. Lines with PAY-4711 stand for what was left over \
                     at night, and lines that end in left for the morning run are looked at by somebody else entirely. ";
    let text =
        format!("## Declined\n\n{}\n\n## Log\n\n{}\n\n## Again\n\n{}", about.repeat(3), elsewhere, about.repeat(3));
    fixture::import(&app.db, tenant, &Folder::of(&[("a.md", &article("Payments", &text))])).await;
    app.run_jobs().await;
    let token = app.token("library", &[]);
    let shown = async |query: &str| {
        let found = search(&app, &token, json!({ "query": query })).await;
        found["results"][0]["snippet"].as_str().unwrap().to_owned()
    };
    let question = "why was my card payment declined by the bank";
    let snippet = shown(question).await;
    assert!(!snippet.contains("PAY-4711"), "{snippet}");
    let snippet = shown(&format!("{question} PAY-4711")).await;
    assert!(snippet.contains("<mark>PAY-4711</mark>"), "{snippet}");
    let snippet = shown("\"left for the morning run\" card payment declined").await;
    assert!(snippet.contains("<mark>morning</mark> <mark>run</mark>"), "{snippet}");
}

#[tokio::test]
async fn filters_apply_before_the_limit() {
    let (app, token) = start().await;
    let all = search(&app, &token, json!({ "query": "account invoice password data" })).await;
    assert!(all["total"].as_u64().unwrap() >= 3, "{all}");
    let found =
        search(&app, &token, json!({ "query": "account invoice password data", "category": "billing", "limit": 1 }))
            .await;
    assert_eq!(found["results"][0]["category"], "Billing", "{found}");
    assert!(found["total"].as_u64().unwrap() < all["total"].as_u64().unwrap());
    for nothing in [
        json!({ "category": "no-such-category" }),
        json!({ "difficulty": "ADVANCED" }),
        json!({ "tags": ["none"] }),
        json!({ "locale": "fr" }),
    ] {
        let mut body = nothing.clone();
        body["query"] = json!("password");
        assert_eq!(search(&app, &token, body).await["total"], 0, "{nothing}");
    }
}

#[tokio::test]
async fn what_a_reader_has_already_is_not_sent_again_until_it_changes() {
    let (app, token) = start().await;
    let get = async |path: &str, known: Option<&str>| {
        let mut request = app.request(reqwest::Method::GET, path).bearer_auth(&token);
        if let Some(known) = known {
            request = request.header("if-none-match", known);
        }
        let response = request.send().await.unwrap();
        let tag = response.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        (response.status(), tag, response.text().await.unwrap())
    };
    for path in [
        "/api/v2/help-center/articles/",
        "/api/v2/help-center/articles/password/",
        "/api/v2/help-center/categories/",
        "/api/v2/help-center/search/suggestions/?q=pass",
    ] {
        let (status, tag, body) = get(path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        let tag = tag.unwrap();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
            assert_eq!(
                get(path, Some(&known)).await,
                (StatusCode::NOT_MODIFIED, Some(tag.clone()), String::new()),
                "{path}"
            );
        }
        assert_eq!(get(path, Some("\"other\"")).await, (StatusCode::OK, Some(tag.clone()), body), "{path}");
    }
    let path = "/api/v2/help-center/articles/password/";
    let (_, tag, _) = get(path, None).await;
    sqlx::query("update articles set view_count = view_count + 1").execute(&mut app.db.owner().await).await.unwrap();
    let (status, newer, _) = get(path, tag.as_deref()).await;
    assert_eq!(status, StatusCode::OK);
    assert_ne!(newer, tag);
    let (status, tag, _) = get("/api/v2/help-center/articles/none/", None).await;
    assert_eq!((status, tag), (StatusCode::NOT_FOUND, None));
}

#[tokio::test]
async fn what_means_nothing_finds_nothing() {
    let (app, token) = start().await;
    let found = search(&app, &token, json!({ "query": "qzxv wkjh pltr" })).await;
    assert_eq!(found["total"], 0, "{found}");
}

#[tokio::test]
async fn the_scan_through_the_index_finds_what_the_exact_one_finds() {
    let (app, _) = start().await;
    let nearest = |ef_search: Option<i32>| {
        let app = &app;
        async move {
            let mut tx = app.db.database.tenant(app.db.tenant("library").await.id).await.unwrap();
            let ids: Vec<uuid::Uuid> = sqlx::query_scalar(
                "select distinct search_semantic_candidates('{}', (select min(model) from passage_embeddings),
                     (select embedding from passage_embeddings e join passages p on p.id = e.passage_id
                      where p.body like 'We return%'), null, null, null, null, $1) as article_id order by article_id",
            )
            .bind(ef_search)
            .fetch_all(tx.connection())
            .await
            .unwrap();
            ids
        }
    };
    let (through_index, exact) = (nearest(Some(200)).await, nearest(None).await);
    assert_eq!(exact.len(), 6);
    assert_eq!(through_index, exact);
}

#[tokio::test]
async fn articles_are_as_near_to_a_query_wherever_they_are_compared() {
    const ARTICLES: usize = 60;
    let app = TestApp::start().await;
    let tenant = app.db.tenant("library").await.id;
    let files: Vec<(String, String)> = (0..ARTICLES)
        .map(|n| (format!("{n}.md"), article(&format!("Printer {n}"), &format!("Tray {n} holds paper."))))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    fixture::import(&app.db, tenant, &Folder::of(&files)).await;
    app.run_jobs().await;
    let search = Search::new(app.db.database.clone(), [embedder()]);
    let request = SearchRequest::new("where does the paper go".parse().unwrap(), 20);
    let similarities = || async {
        let ranking = search.ranking(tenant, &Roles::none(), &request).await.unwrap();
        let known = ranking.into_iter().filter_map(|found| Some((found.article_id, found.evidence.similarity?)));
        known.collect::<BTreeMap<_, _>>()
    };
    // The first time PostgreSQL compares those whose vectors are too many to fetch at once; the last time it compares none.
    let (first, _, last) = (similarities().await, similarities().await, similarities().await);
    assert_eq!(first.len(), ARTICLES);
    for (id, here) in last {
        let there = first[&id];
        assert!((here.body - there.body).abs() < 1e-5 && (here.title - there.title).abs() < 1e-5, "{here:?} {there:?}");
    }
}
