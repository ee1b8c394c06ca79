//! What the words of a query find: phrases, beginnings, identifiers, tags, synonyms, pins, and every language.

use reqwest::{Method, StatusCode, header::ACCEPT_LANGUAGE};
use serde_json::{Value, json};
use tests::{
    Settings, TestApp,
    fixture::{self, Folder, article},
};

const SEARCH: &str = "/api/v2/help-center/search/";

/// A help center that searches by words alone, so that what is found is found by its words.
async fn with_files(files: &[(&str, &str)]) -> (TestApp, String) {
    let app = TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
    let tenant = app.db.tenant("library").await.id;
    let report = fixture::import(&app.db, tenant, &Folder::of(files)).await;
    assert_eq!(report.created, files.len(), "{report:?}");
    let token = app.token("library", &["admin"]);
    (app, token)
}

fn in_language(title: &str, locale: &str, text: &str) -> String {
    format!("---\ntitle: \"{title}\"\nlocale: {locale}\n---\n\n{text}\n")
}

async fn search(app: &TestApp, token: &str, body: Value) -> Value {
    let (status, found) = app.post(SEARCH, token, &body).await;
    assert_eq!(status, StatusCode::OK, "{found}");
    found
}

#[tokio::test]
async fn what_is_quoted_must_occur_just_so() {
    let (app, token) = with_files(&[
        ("a.md", &article("Apart", "Reset it first. Choose a password then.")),
        ("b.md", &article("Together", "Use the reset password link.")),
    ])
    .await;
    assert_eq!(app.search_titles(&token, "reset password").await.len(), 2);
    assert_eq!(app.search_titles(&token, "\"reset password\"").await, ["Together"]);
    assert_eq!(app.search_titles(&token, "“resetting passwords” link").await, ["Together"], "stems count in phrases");
    let none = search(&app, &token, json!({ "query": "\"password reset\"" })).await;
    assert_eq!((&none["total"], &none["did_you_mean"]), (&json!(0), &json!("password reset")), "{none}");
    assert_eq!(app.search_titles(&token, "reset \"password").await.len(), 2, "an open quotation mark is none");
    assert_eq!(
        app.search_titles(&token, "\"the\" password").await.len(),
        2,
        "a phrase without a word that is indexed is none"
    );
}

#[tokio::test]
async fn a_word_that_is_still_being_typed_finds_what_it_may_become() {
    let (app, token) = with_files(&[
        ("a.md", &article("Invoices", "Download them as PDF.")),
        ("b.md", &article("Investments", "None yet.")),
        ("c.md", &article("Inventory", "Count it.")),
    ])
    .await;
    let sorted = async |query: &str| {
        let mut titles = app.search_titles(&token, query).await;
        titles.sort();
        titles
    };
    assert_eq!(sorted("inv").await, ["Inventory", "Investments", "Invoices"]);
    assert_eq!(sorted("download invo").await, ["Invoices"]);
    assert_eq!(sorted("inv ?").await, Vec::<String>::new(), "a word that is finished is what it is");
}

#[tokio::test]
async fn identifiers_come_before_everything_else() {
    let filler: Vec<(String, String)> = (0..30)
        .map(|n| (format!("{n}.md"), article(&format!("Error connection refused {n}"), "Error. Connection. Refused.")))
        .collect();
    let mut files: Vec<(&str, &str)> = filler.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    let long = article("Notes", &format!("{} ERR_CONNECTION_4711 is written here once.", "Some words. ".repeat(200)));
    files.push(("notes.md", &long));
    let (app, token) = with_files(&files).await;
    for query in ["error ERR_CONNECTION_4711 connection refused", "err-connection-4711", "ErrConnection4711"] {
        let titles = app.search_titles(&token, query).await;
        assert_eq!(titles.first().map(String::as_str), Some("Notes"), "{query}: {titles:?}");
    }
}

#[tokio::test]
async fn compounds_are_found_however_they_are_written() {
    let (app, token) = with_files(&[
        ("a.md", &article("Wi-Fi", "Set up the wi-fi network in settings.json.")),
        ("b.md", &article("C++", "Write programs in C++.")),
        ("c.md", &article("Coffee", "Vitamin C and coffee.")),
    ])
    .await;
    for query in ["wifi", "wi-fi", "WI FI", "settings.json", "settings"] {
        assert_eq!(app.search_titles(&token, query).await, ["Wi-Fi"], "{query}");
    }
    assert_eq!(app.search_titles(&token, "C++").await.first().map(String::as_str), Some("C++"));
}

#[tokio::test]
async fn a_word_of_a_tag_or_summary_finds_the_article_and_does_no_more_once_it_is_gone() {
    let tagged = "---\ntitle: Scanner\nsummary: About barcodes.\ntags: [hardware, Warehouse]\n---\n\nHold it still.\n";
    let (app, token) = with_files(&[("a.md", tagged), ("b.md", &article("Printer", "Feed it paper."))]).await;
    for query in ["warehouses", "barcode"] {
        assert_eq!(app.search_titles(&token, query).await, ["Scanner"], "{query}");
    }
    let (_, tags) = app.get("/api/v2/help-center/admin/tags/", &token).await;
    let tag = tags["results"].as_array().unwrap().iter().find(|tag| tag["slug"] == "warehouse").unwrap();
    let address = format!("/api/v2/help-center/admin/tags/{}/", tag["id"].as_str().unwrap());
    let renamed = app.request(Method::PATCH, &address).bearer_auth(&token).json(&json!({ "name": "Depot" }));
    assert_eq!(renamed.send().await.unwrap().status(), StatusCode::OK);
    app.run_jobs().await;
    for (query, is_found) in [("warehouse", false), ("depot", true)] {
        let body = json!({ "query": query });
        let (_, found) = app.post("/api/v2/help-center/search/", &token, &body).await;
        let by_word =
            |hit: &Value| hit["title"] == "Scanner" && hit["matched"].as_array().unwrap().contains(&json!("keyword"));
        assert_eq!(found["results"].as_array().unwrap().iter().any(by_word), is_found, "{query}: {found}");
    }
}

#[tokio::test]
async fn every_article_is_stemmed_by_its_own_language() {
    let (app, token) = with_files(&[
        ("de.md", &in_language("Rechnungen herunterladen", "de", "Die Rechnungen finden Sie unter Konto.")),
        ("fr.md", &in_language("Télécharger les factures", "fr", "Vos factures sont dans le compte.")),
        ("es.md", &in_language("Descargar facturas", "es-MX", "Las facturas están en la cuenta.")),
        ("ru.md", &in_language("Скачать счета", "ru", "Счета находятся в настройках.")),
        ("tr.md", &in_language("Faturalar", "tr", "Faturaları indirin.")),
        ("ar.md", &in_language("تحميل الفواتير", "ar", "الفواتير في الحساب.")),
        ("he.md", &in_language("חשבוניות", "he", "הורדת חשבוניות")),
    ])
    .await;
    for (query, title) in [
        ("Rechnung", "Rechnungen herunterladen"),
        ("téléchargement facture", "Télécharger les factures"),
        ("descargando factura", "Descargar facturas"),
        ("счет", "Скачать счета"),
        ("fatura", "Faturalar"),
        ("فاتورة الفواتير", "تحميل الفواتير"),
        ("חשבוניות", "חשבוניות"),
    ] {
        let titles = app.search_titles(&token, query).await;
        assert_eq!(titles.first().map(String::as_str), Some(title), "{query}: {titles:?}");
    }
}

#[tokio::test]
async fn scripts_without_spaces_are_searched_by_parts_of_their_sentences() {
    let (app, token) = with_files(&[
        ("ja.md", &in_language("パスワードの再設定", "ja", "ログイン画面からパスワードを再設定できます。")),
        ("ja2.md", &in_language("請求書", "ja", "請求書は設定画面からダウンロードできます。")),
        ("zh.md", &in_language("重置密码", "zh", "您可以在登录页面重置密码。")),
        ("th.md", &in_language("รีเซ็ตรหัสผ่าน", "th", "คุณสามารถรีเซ็ตรหัสผ่านได้ที่หน้าเข้าสู่ระบบ")),
        ("ko.md", &in_language("비밀번호 재설정", "ko", "로그인 화면에서 비밀번호를 재설정하세요.")),
    ])
    .await;
    for (query, title) in [
        ("パスワード", "パスワードの再設定"),
        ("請求書 ダウンロード", "請求書"),
        ("密码", "重置密码"),
        ("รหัสผ่าน", "รีเซ็ตรหัสผ่าน"),
        ("비밀번호", "비밀번호 재설정"),
    ] {
        let found = search(&app, &token, json!({ "query": query })).await;
        assert_eq!(found["results"][0]["title"], title, "{query}: {found}");
        let snippet = found["results"][0]["snippet"].as_str().unwrap();
        assert!(snippet.contains("<mark>"), "{query}: {snippet}");
    }
}

#[tokio::test]
async fn the_askers_language_comes_first_and_one_translation_is_enough() {
    let (app, token) = with_files(&[]).await;
    let create = async |title: &str, locale: &str, translation_of: Value| {
        let body = json!({ "title": title, "content": "WLAN router setup", "locale": locale,
                           "category_id": null, "target_roles": ["all"], "translation_of": translation_of });
        let (status, article) = app.post("/api/v2/help-center/admin/articles/", &token, &body).await;
        assert_eq!(status, StatusCode::CREATED, "{article}");
        article
    };
    let (_, category) = app.post("/api/v2/help-center/admin/categories/", &token, &json!({ "name": "Network" })).await;
    let english = create("Router", "en", Value::Null).await;
    let german = create("Router einrichten", "de", english["id"].clone()).await;
    let other = create("Router reset", "en", Value::Null).await;
    for article in [&english, &german, &other] {
        let address = format!("/api/v2/help-center/admin/articles/{}/", article["id"].as_str().unwrap());
        let change = json!({ "category_id": category["id"], "version": article["version"] });
        let (status, changed) =
            tests::json(app.request(Method::PATCH, &address).bearer_auth(&token).json(&change)).await;
        assert_eq!(status, StatusCode::OK, "{changed}");
        for status in ["REVIEW", "PUBLISHED"] {
            let (_, now) = app.get(&address, &token).await;
            let step = json!({ "status": status, "version": now["version"] });
            let (answer, published) = app.post(&format!("{address}status/"), &token, &step).await;
            assert_eq!(answer, StatusCode::OK, "{published}");
        }
    }
    let found = async |language: &str| {
        let request = app.request(Method::POST, SEARCH).bearer_auth(&token).header(ACCEPT_LANGUAGE, language);
        let (_, found) = tests::json(request.json(&json!({ "query": "wlan router" }))).await;
        found["results"].as_array().unwrap().iter().map(|r| r["title"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let german = found("de-AT, en;q=0.5").await;
    assert_eq!(german, ["Router einrichten", "Router reset"]);
    let english = found("en").await;
    assert_eq!(english.len(), 2, "{english:?}");
    assert!(english.contains(&"Router".to_owned()), "{english:?}");
    app.run_jobs().await;
}

#[tokio::test]
async fn synonyms_find_what_is_called_otherwise() {
    let (app, token) = with_files(&[
        ("a.md", &article("Single sign-on", "Log in once for all applications.")),
        ("b.md", &article("Invoices", "Download them.")),
    ])
    .await;
    assert_eq!(app.search_titles(&token, "SSO").await, Vec::<String>::new());
    let admin = "/api/v2/help-center/admin/synonyms/";
    let (status, group) = app.post(admin, &token, &json!({ "terms": ["SSO", "single sign-on"] })).await;
    assert_eq!(status, StatusCode::CREATED, "{group}");
    assert_eq!(app.search_titles(&token, "sso").await, ["Single sign-on"], "the answer above is not kept any longer");
    let (_, all) = app.get(admin, &token).await;
    assert_eq!(all["results"], json!([group]));
    let address = format!("{admin}{}/", group["id"].as_str().unwrap());
    let change = app.request(Method::PUT, &address).bearer_auth(&token).json(&json!({ "terms": ["bill", "invoice"] }));
    assert_eq!(change.send().await.unwrap().status(), StatusCode::OK);
    assert_eq!(app.search_titles(&token, "sso").await, Vec::<String>::new());
    assert_eq!(app.search_titles(&token, "my bill").await, ["Invoices"]);
    let delete = app.request(Method::DELETE, &address).bearer_auth(&token).send().await.unwrap();
    assert_eq!(delete.status(), StatusCode::NO_CONTENT);
    assert_eq!(app.search_titles(&token, "my bill").await, Vec::<String>::new());
    for bad in [json!({ "terms": ["one"] }), json!({ "terms": ["a", "A"] }), json!({ "terms": ["a", "!"] })] {
        let (status, problem) = app.post(admin, &token, &bad).await;
        assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_request")), "{problem}");
    }
}

#[tokio::test]
async fn what_is_pinned_comes_first_for_those_who_may_see_it() {
    let (app, token) = with_files(&[
        ("a.md", &article("Password", "The password.")),
        ("b.md", &article("Security", "How we keep you safe.")),
        ("c.md", &fixture::article_for("Secrets", &["finance"], "Nobody else reads this.")),
    ])
    .await;
    let id = async |title: &str| -> Value {
        let (_, all) = app.get("/api/v2/help-center/admin/articles/", &token).await;
        all["results"].as_array().unwrap().iter().find(|a| a["title"] == title).unwrap()["id"].clone()
    };
    let pins = "/api/v2/help-center/admin/search-pins/";
    let body = json!({ "query": "  PASSWORD ", "article_ids": [id("Secrets").await, id("Security").await] });
    let (status, pinned) = tests::json(app.request(Method::PUT, pins).bearer_auth(&token).json(&body)).await;
    assert_eq!((status, &pinned["query"]), (StatusCode::OK, &json!("password")), "{pinned}");
    assert_eq!(app.search_titles(&token, "Password").await, ["Security", "Password"]);
    let finance = app.token("library", &["finance"]);
    assert_eq!(app.search_titles(&finance, "password").await, ["Secrets", "Security", "Password"]);
    let elsewhere = search(&app, &token, json!({ "query": "password", "difficulty": "ADVANCED" })).await;
    assert_eq!(elsewhere["total"], 0, "a pin does not pass a filter: {elsewhere}");
    let none = json!({ "query": "password", "article_ids": [] });
    tests::json(app.request(Method::PUT, pins).bearer_auth(&token).json(&none)).await;
    assert_eq!(app.search_titles(&token, "password").await, ["Password"]);
    let unknown = json!({ "query": "password", "article_ids": [uuid::Uuid::nil()] });
    let (status, problem) = tests::json(app.request(Method::PUT, pins).bearer_auth(&token).json(&unknown)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
}

#[tokio::test]
async fn a_misspelt_word_is_put_right_by_a_word_that_the_caller_may_read() {
    let (app, token) = with_files(&[
        ("a.md", &article("Password", "How to reset the password.")),
        ("b.md", &fixture::article_for("Restructuring", &["finance"], "The restructuring starts in May.")),
    ])
    .await;
    let meant =
        async |token: &str, query: &str| search(&app, token, json!({ "query": query })).await["did_you_mean"].clone();
    assert_eq!(meant(&token, "pasword").await, "password");
    assert_eq!(meant(&token, "teh passwrod").await, "teh password");
    assert_eq!(meant(&token, "password").await, Value::Null);
    assert_eq!(meant(&token, "restructurng").await, Value::Null, "the word is in no article that they may see");
    assert_eq!(meant(&app.token("library", &["finance"]), "restructurng").await, "restructuring");
    let page = app.request(Method::GET, "/search/?q=pasword").bearer_auth(&token).send().await.unwrap();
    let page = page.text().await.unwrap();
    assert!(page.contains("/search/?q=password"), "{page}");
}

#[tokio::test]
async fn facets_count_what_was_found_and_nothing_hidden() {
    let tagged = |title: &str, roles: &str, tag: &str| {
        format!(
            "---\ntitle: {title}\ntags: [{tag}]\ntarget_roles: [{roles}]\ndifficulty: ADVANCED\n---\n\nAbout routers.\n"
        )
    };
    let (app, token) = with_files(&[
        ("net/a.md", &tagged("One", "all", "wlan")),
        ("net/b.md", &tagged("Two", "all", "wlan")),
        ("secret/c.md", &tagged("Three", "finance", "hush")),
        ("other/d.md", &article("Four", "Nothing of it.")),
    ])
    .await;
    let found = search(&app, &token, json!({ "query": "routers", "limit": 1 })).await;
    assert_eq!(found["total"], 2);
    assert_eq!(
        found["facets"],
        json!({
            "categories": [{ "slug": "net", "name": "Net", "count": 2 }],
            "tags": [{ "value": "wlan", "count": 2 }],
            "difficulties": [{ "value": "ADVANCED", "count": 2 }],
            "locales": [{ "value": "en", "count": 2 }],
        })
    );
}

#[tokio::test]
async fn an_answer_is_kept_until_something_changes_that_could_change_it() {
    let (app, token) = with_files(&[("a.md", &article("Password", "How to reset it."))]).await;
    let version = async || -> i64 {
        sqlx::query_scalar("select version from search_versions").fetch_one(&mut app.db.owner().await).await.unwrap()
    };
    assert_eq!(app.search_titles(&token, "password").await, ["Password"]);
    let before = version().await;
    assert_eq!(app.search_titles(&token, "password").await, ["Password"]);
    for change in [
        "update articles set target_roles = '{finance}'",
        "update articles set target_roles = '{all}'",
        "update articles set status = 'ARCHIVED'",
        "update articles set status = 'PUBLISHED'",
    ] {
        sqlx::query(sqlx::AssertSqlSafe(change)).execute(&mut app.db.owner().await).await.unwrap();
        let expected = usize::from(change.contains("all") || change.contains("PUBLISHED"));
        assert_eq!(app.search_titles(&token, "password").await.len(), expected, "{change}");
    }
    assert_eq!(version().await, before + 4);
    sqlx::query("update articles set view_count = view_count + 1").execute(&mut app.db.owner().await).await.unwrap();
    assert_eq!(version().await, before + 4, "what is read does not change what is found");
}
