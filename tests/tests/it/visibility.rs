//! Who sees what: a person of another tenant, and one without the role, cannot find, list, open or count what is not
//! theirs, for every endpoint of the route table; what is unpublished is gone at once.
//!
//! Every text of an article (title, slug, summary, heading, body, tag, category) holds a word that is nowhere else, its
//! canary, so that one look at an answer tells whether anything of the article is in it.
#![expect(clippy::unwrap_used, clippy::panic, reason = "helpers fail the test that uses them")]

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use api::routes::{self, Access};
use reqwest::{
    Method, RequestBuilder,
    header::{AUTHORIZATION, COOKIE, HOST, LOCATION},
};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use shared::{
    auth::{
        Roles, api_key,
        session::{self, NewPerson},
    },
    clock::Clock,
    knowledge::Place,
    pagination,
    tenancy::{self, Tenant},
};
use tests::{
    TestApp, TestDatabase,
    fixture::{self, Folder},
};
use uuid::Uuid;

use crate::queue::support::Running;

/// The articles of a tenant: what is special about each, and where its file is. Those in a folder of their canary's
/// name make a category that holds nothing else.
const ARTICLES: &[(&str, &str)] = &[
    ("everyone", "guides/everyone.md"),
    ("finance", "guides/private.md"),
    ("vault", "CANARY/page.md"),
    ("nested", "guides/CANARY/page.md"),
    ("draft", "CANARY/page.md"),
    ("review", "CANARY/page.md"),
    ("archived", "CANARY/page.md"),
    ("roleless", "CANARY/page.md"),
    ("emptied", "CANARY/page.md"),
];
const FOR_FINANCE: &[&str] = &["finance", "vault", "nested"];
/// Where questions are asked, which workers answer.
const ASK: &str = "/api/v2/help-center/assistant/";

/// An article that somebody looks for.
#[derive(Debug, Clone)]
struct Article {
    kind: &'static str,
    /// In all of its texts and in no other.
    canary: String,
    id: Uuid,
    slug: String,
    category: String,
    tag: String,
    /// A word of its body, the same in both tenants: what those who look for it search for.
    lure: String,
    published_at: chrono::DateTime<chrono::Utc>,
}

impl Article {
    /// What would be looked for if there were nothing.
    fn missing() -> Self {
        Self {
            kind: "missing",
            canary: "qxmissing".to_owned(),
            id: Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0001),
            slug: "qxmissing-page".to_owned(),
            category: "qxmissing".to_owned(),
            tag: "qxmissing".to_owned(),
            lure: "missinglure".to_owned(),
            published_at: chrono::DateTime::UNIX_EPOCH,
        }
    }
}

fn canary(kind: &str, tenant: &str) -> String {
    format!("qx{kind}{tenant}")
}

/// A file whose every text holds the canary.
fn file(kind: &str, tenant: &str) -> String {
    let word = canary(kind, tenant);
    let (roles, status) = match kind {
        "finance" | "vault" | "nested" => ("[finance]", "PUBLISHED"),
        "draft" => ("[all]", "DRAFT"),
        "review" => ("[all]", "REVIEW"),
        "archived" => ("[all]", "ARCHIVED"),
        "roleless" => ("[]", "PUBLISHED"),
        _ => ("[all]", "PUBLISHED"),
    };
    let link = if kind == "everyone" { "Read [the other page](private.md#more) too." } else { "" };
    let link = format!("{link} ![A picture]({word}.svg)");
    format!(
        "---\ntitle: Handbook {word}\nslug: {word}-page\nsummary: Summary {word}.\ntags: [{word}]\n\
         target_roles: {roles}\nstatus: {status}\n---\n\n\
         The handbook says {word} about {kind}lure. {link}\n\n## Heading {word}\n\nAnd more of {word}.\n"
    )
}

/// An image that holds the canary.
fn image(canary: &str) -> String {
    format!("<svg xmlns=\"http://www.w3.org/2000/svg\"><title>{canary}</title></svg>")
}

/// Its address. Its name is another one: it would tell what is looked for.
fn image_address(canary: &str) -> String {
    use std::fmt::Write as _;
    let mut address = "/assets/".to_owned();
    for byte in Sha256::digest(image(canary)) {
        write!(address, "{byte:02x}").unwrap();
    }
    address + "/picture.svg"
}

/// Fills a tenant with one article of each kind; `emptied` loses its roles, and `everyone` has a newer draft.
async fn fill(db: &TestDatabase, tenant: &Tenant) -> BTreeMap<&'static str, Article> {
    let name = tenant.slug.as_str();
    let folder = Folder::of(&[]);
    for (kind, path) in ARTICLES {
        let (path, canary) = (path.replace("CANARY", &canary(kind, name)), canary(kind, name));
        folder.write(&path, file(kind, name));
        folder.write(&format!("{}/{canary}.svg", path.rsplit_once('/').unwrap().0), image(&canary));
    }
    let report = fixture::import(db, tenant.id, &folder).await;
    assert_eq!((report.created, report.failed.len()), (ARTICLES.len(), 0), "{report:?}");
    let mut owner = db.owner().await;
    let changed = sqlx::query("update articles set target_roles = '{}' where slug = $1 and tenant_id = $2")
        .bind(format!("{}-page", canary("emptied", name)))
        .bind(tenant.id.uuid())
        .execute(&mut owner)
        .await
        .unwrap();
    assert_eq!(changed.rows_affected(), 1);
    sqlx::query(
        "with newer as (
             insert into revisions (tenant_id, article_id, number, title, summary, content, author)
             select tenant_id, id, 2, $3, $3, $3, 'test' from articles where slug = $1 and tenant_id = $2
             returning tenant_id, article_id, id)
         update articles a set latest_revision_id = n.id from newer n
         where a.tenant_id = n.tenant_id and a.id = n.article_id",
    )
    .bind(format!("{}-page", canary("everyone", name)))
    .bind(tenant.id.uuid())
    .bind(canary("newer", name))
    .execute(&mut owner)
    .await
    .unwrap();

    explain_pages(&mut owner, tenant).await;
    let mut articles = BTreeMap::new();
    for (kind, _) in ARTICLES {
        let canary = canary(kind, name);
        let slug = format!("{canary}-page");
        let (id, category, published_at) = sqlx::query_as(
            "select a.id, c.slug, coalesce(a.published_at, a.created_at)
             from articles a join categories c on c.tenant_id = a.tenant_id and c.id = a.category_id
             where a.tenant_id = $1 and a.slug = $2",
        )
        .bind(tenant.id.uuid())
        .bind(&slug)
        .fetch_one(&mut owner)
        .await
        .unwrap();
        let (tag, lure) = (canary.clone(), format!("{kind}lure"));
        articles.insert(*kind, Article { kind, canary, id, slug, category, tag, lure, published_at });
    }
    articles
}

/// Gives each article a rule that names it and a page on which three people read it.
async fn explain_pages(owner: &mut sqlx::PgConnection, tenant: &Tenant) {
    for sql in [
        "insert into contextual_rules (tenant_id, pattern)
         select tenant_id, '/handbook?of=' || slug from articles where tenant_id = $1",
        "insert into contextual_rule_articles (tenant_id, rule_id, article_id, position)
         select a.tenant_id, r.id, a.id, 0
         from articles a join contextual_rules r on r.tenant_id = a.tenant_id and r.pattern = '/handbook?of=' || a.slug
         where a.tenant_id = $1",
        "insert into article_views (tenant_id, article_id, reader, page)
         select tenant_id, id, 'person:reader-' || n, slug || '.example.com/handbook' from articles, generate_series(1, 3) as n
         where tenant_id = $1",
    ] {
        sqlx::query(sql).bind(tenant.id.uuid()).execute(&mut *owner).await.unwrap();
    }
}

/// Somebody who asks.
struct Caller {
    who: &'static str,
    /// Added to every request.
    headers: Vec<(reqwest::header::HeaderName, String)>,
    /// The tenant and the kinds of articles that they may see.
    sees: (&'static str, Vec<&'static str>),
}

impl Caller {
    fn bearer(who: &'static str, credential: &str, tenant: &'static str, sees: &[&'static str]) -> Self {
        // A fixed form cookie makes pages comparable.
        let headers = vec![(AUTHORIZATION, format!("Bearer {credential}")), (COOKIE, form_cookie())];
        Self { who, headers, sees: (tenant, sees.to_vec()) }
    }

    fn may_see(&self, tenant: &str, kind: &str) -> bool {
        self.sees.0 == tenant && self.sees.1.contains(&kind)
    }
}

fn form_cookie() -> String {
    format!("__Host-helpcenter-form={}", "A".repeat(43))
}

/// Two private tenants with the same articles, all embedded, and everybody who asks for them.
struct World {
    app: TestApp,
    tenants: BTreeMap<&'static str, BTreeMap<&'static str, Article>>,
    callers: Vec<Caller>,
    #[expect(dead_code, reason = "answers questions for as long as the world lasts")]
    worker: Option<Running>,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let mut tenants = BTreeMap::new();
        for name in ["acme", "globex"] {
            let tenant = app.db.tenant(name).await;
            tenants.insert(name, fill(&app.db, &tenant).await);
        }
        app.run_jobs().await;
        let callers = callers(&app).await;
        let worker = Some(Running::start(app.worker()));
        Self { app, tenants, callers, worker }
    }

    fn caller(&self, who: &str) -> &Caller {
        self.callers.iter().find(|caller| caller.who == who).unwrap()
    }

    /// The words and ids that must not be in what this caller gets.
    fn secrets(&self, caller: &Caller) -> Vec<String> {
        let mut secrets = Vec::new();
        for (tenant, articles) in &self.tenants {
            secrets.push(canary("newer", tenant));
            for article in articles.values().filter(|article| !caller.may_see(tenant, article.kind)) {
                secrets.push(article.canary.clone());
                secrets.push(article.id.to_string());
            }
        }
        secrets
    }

    async fn ask(&self, caller: &Caller, probe: &Probe) -> Answer {
        let mut request = self.app.request(probe.method.clone(), &probe.path);
        for (name, value) in &caller.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &probe.body {
            request = request.json(body);
        }
        Answer::of(request).await
    }

    /// What the probes of an endpoint are answered when there is no such article.
    async fn answers_about_nothing(&self, caller: &Caller, path: &str) -> Vec<AboutNothing> {
        let mut answers = Vec::new();
        for probe in probes(path, &Article::missing()) {
            let get = self.ask(caller, &probe).await;
            let head = if probe.method == Method::GET { Some(self.ask(caller, &head(&probe)).await) } else { None };
            answers.push(AboutNothing { get, head });
        }
        answers
    }
}

/// The answer to a request for what does not exist, and the one to HEAD where that is a method.
struct AboutNothing {
    get: Answer,
    head: Option<Answer>,
}

/// Everybody but the owner of the finance role, who is the last.
async fn callers(app: &TestApp) -> Vec<Caller> {
    let everybody_elses = ["all", "finance", "support", "admin", "editor", "*", "%"];
    let near_misses = ["Finance", "FINANCE", "finance ", "finances", "fin", "{finance}", "finance,all", "all"];
    let all_of_globex = [&["everyone"], FOR_FINANCE].concat();
    let other_key = key(app, "globex", &["finance"]).await;
    let own_key = key(app, "acme", &[]).await;
    let session = session(app, "acme").await;
    vec![
        Caller::bearer(
            "a person of another tenant with many roles",
            &app.token("globex", &everybody_elses),
            "globex",
            &all_of_globex,
        ),
        Caller::bearer("a machine of another tenant", &other_key, "globex", &all_of_globex),
        Caller::bearer("a person without a role", &app.token("acme", &[]), "acme", &["everyone"]),
        Caller::bearer("a person with other roles", &app.token("acme", &near_misses), "acme", &["everyone"]),
        Caller::bearer("a machine without a role", &own_key, "acme", &["everyone"]),
        Caller {
            who: "a local account without a role",
            headers: vec![(COOKIE, format!("{}; __Host-helpcenter-session={session}", form_cookie()))],
            sees: ("acme", vec!["everyone"]),
        },
        Caller {
            who: "nobody",
            headers: vec![(HOST, "acme.localhost".to_owned()), (COOKIE, form_cookie())],
            sees: ("acme", vec![]),
        },
        Caller::bearer(
            "a person with the role",
            &app.token("acme", &["finance"]),
            "acme",
            &[&["everyone"], FOR_FINANCE].concat(),
        ),
    ]
}

async fn tenant(app: &TestApp, slug: &str) -> Tenant {
    let mut registry = app.db.database.registry().await.unwrap();
    tenancy::by_slug(&mut registry, slug).await.unwrap().unwrap()
}

async fn key(app: &TestApp, slug: &str, roles: &[&str]) -> String {
    let mut tx = app.db.database.tenant(tenant(app, slug).await.id).await.unwrap();
    let roles = Roles::new(roles.iter().map(ToString::to_string).collect()).unwrap();
    let new = api_key::NewApiKey { name: "machine".to_owned(), roles, scopes: vec![], expires_at: None };
    let created = api_key::create(&mut tx, &app.pepper(), &new, "test").await.unwrap();
    tx.commit().await.unwrap();
    created.text
}

async fn session(app: &TestApp, slug: &str) -> String {
    let tenant = tenant(app, slug).await.id;
    let mut tx = app.db.database.tenant(tenant).await.unwrap();
    let (email, password) = ("ada@example.com".to_owned(), "correct horse battery".to_owned());
    let new =
        NewPerson { email: email.clone(), name: "Ada".to_owned(), roles: Roles::none(), password: password.clone() };
    session::create_person(&mut tx, new, "test").await.unwrap();
    tx.commit().await.unwrap();
    let clock: &Clock = &app.clock;
    let lifetime = Duration::from_secs(3600);
    let begun = session::sign_in(&app.db.database, &app.pepper(), clock, lifetime, tenant, &email, password).await;
    begun.unwrap().unwrap().cookie
}

/// A request that tries to see an article.
#[derive(Debug, Clone)]
struct Probe {
    method: Method,
    path: String,
    body: Option<Value>,
    /// Whether the answer must be the same when there is no such article. Not so for the words of a search: what is
    /// found instead depends on them.
    same_as_missing: bool,
}

fn get(path: String) -> Probe {
    Probe { method: Method::GET, path, body: None, same_as_missing: true }
}

fn head(probe: &Probe) -> Probe {
    Probe { method: Method::HEAD, ..probe.clone() }
}

fn encoded(pairs: &[(&str, &str)]) -> String {
    url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// How a caller would try to see an article through an endpoint. A new route has no answer here, and the tests fail
/// until somebody has thought about it.
#[expect(clippy::too_many_lines, reason = "one arm for each route: it grows with the table")]
fn probes(path: &str, article: &Article) -> Vec<Probe> {
    let Article { id, slug, category, tag, lure, published_at, canary, .. } = article;
    // Everybody may see the category of some hidden articles; the others must look like none.
    let category_is_hidden = category != "guides";
    // As a cursor would be that points at the article, or just before it.
    let at = |list: &[&str], time: &chrono::DateTime<chrono::Utc>, id: &Uuid| {
        pagination::encode(&(pagination::list_name(list), (Place::At(*time), id)))
    };
    let just_before = *published_at + chrono::Duration::seconds(1);
    let (cursor, before) =
        (at(&["published", "desc"], published_at, id), at(&["published", "desc"], &just_before, &Uuid::max()));
    match path {
        "/api/v2/help-center/search/" => {
            let post = |body: Value, same_as_missing| Probe {
                method: Method::POST,
                path: path.to_owned(),
                body: Some(body),
                same_as_missing,
            };
            vec![
                post(json!({ "query": lure }), false),
                post(json!({ "query": format!("the handbook about {lure}"), "limit": 50 }), false),
                post(json!({ "query": lure, "category": category }), false),
                post(json!({ "query": lure, "tags": [tag] }), false),
                post(json!({ "query": "handbook", "limit": 50 }), true),
                post(json!({ "query": "handbook", "category": category }), category_is_hidden),
                post(json!({ "query": "handbook", "tags": [tag] }), true),
                post(json!({ "query": "handbook", "category": "guides", "tags": [tag] }), true),
                post(
                    json!({ "query": "handbook", "tags": [tag, "none"], "difficulty": "BEGINNER", "locale": "en" }),
                    true,
                ),
            ]
        }
        "/api/v2/help-center/search/suggestions/" => {
            let probe = |typed: &str| get(format!("{path}?{}", encoded(&[("q", typed)])));
            vec![
                probe("handbook"),
                probe("han"),
                probe(canary),
                // Their own article of the kind may begin like it.
                Probe { same_as_missing: false, ..probe(&format!("handbook {}", &canary[..5])) },
                probe(&canary[..canary.len() - 1]),
            ]
        }
        // It shows nothing; that a hidden article cannot be clicked at all is tested with search.
        "/api/v2/help-center/search/{id}/clicks/" => {
            let path = path.replace("{id}", &Uuid::nil().to_string());
            let body = Some(json!({ "article_id": id, "position": 1 }));
            vec![Probe { method: Method::POST, path, body, same_as_missing: true }]
        }
        "/api/v2/help-center/articles/" => vec![
            get(path.to_owned()),
            get(format!("{path}?{}", encoded(&[("limit", "100")]))),
            Probe {
                same_as_missing: category_is_hidden,
                ..get(format!("{path}?{}", encoded(&[("category", category)])))
            },
            get(format!("{path}?{}", encoded(&[("tag", tag)]))),
            get(format!("{path}?{}", encoded(&[("category", "guides"), ("tag", tag)]))),
            get(format!("{path}?{}", encoded(&[("difficulty", "BEGINNER"), ("locale", "en")]))),
            get(format!("{path}?sort=title")),
            get(format!("{path}?sort=views&order=asc")),
            get(format!("{path}?sort=helpful&limit=1")),
            Probe { same_as_missing: false, ..get(format!("{path}?{}", encoded(&[("cursor", &cursor)]))) },
            Probe { same_as_missing: false, ..get(format!("{path}?{}", encoded(&[("cursor", &before)]))) },
        ],
        "/api/v2/help-center/articles/{id}/" | "/articles/{slug}/" => {
            let at = |value: &str| get(path.replace("{id}", value).replace("{slug}", value));
            vec![at(&id.to_string()), at(slug), at(&id.simple().to_string()), at(&id.to_string().to_uppercase())]
        }
        "/api/v2/help-center/contextual/" => {
            let page = |url: &str, title: &str| get(format!("{path}?{}", encoded(&[("url", url), ("title", title)])));
            vec![
                page(&format!("https://app.example.com/handbook?of={slug}"), ""),
                page(&format!("https://{slug}.example.com/handbook"), ""),
                page("https://app.example.com/handbook", "Handbook"),
                Probe { same_as_missing: false, ..page("/", lure) },
            ]
        }
        "/api/v2/help-center/articles/{id}/view/" => {
            let at = |value: &str| Probe {
                method: Method::POST,
                path: path.replace("{id}", value),
                body: Some(json!({ "url": "https://app.example.com/page" })),
                same_as_missing: true,
            };
            vec![at(&id.to_string()), at(slug)]
        }
        "/api/v2/help-center/articles/{id}/vote/"
        | "/api/v2/help-center/articles/{id}/reports/"
        | "/api/v2/help-center/articles/{id}/bookmark/" => {
            let (put, post) = (Method::PUT, Method::POST);
            let (method, body) = match path.rsplit('/').nth(1) {
                Some("vote") => (put, Some(json!({ "helpful": true, "comment": "Thanks." }))),
                Some("reports") => (post, Some(json!({ "kind": "OUTDATED" }))),
                _ => (put, None),
            };
            let mut probes = Vec::new();
            for value in [&id.to_string(), slug] {
                let path = path.replace("{id}", value);
                let leave =
                    Probe { method: method.clone(), path: path.clone(), body: body.clone(), same_as_missing: true };
                if !path.ends_with("/reports/") {
                    probes.push(Probe {
                        method: Method::DELETE,
                        path: path.clone(),
                        body: None,
                        same_as_missing: true,
                    });
                }
                if path.ends_with("/vote/") {
                    probes.push(get(path));
                }
                probes.push(leave);
            }
            probes
        }
        "/assets/{hash}/{name}" => vec![get(image_address(canary))],
        // Of the caller alone, who has asked nothing: what somebody else asked is tested with conversations.
        "/api/v2/help-center/assistant/conversations/" => vec![get(path.to_owned())],
        "/api/v2/help-center/assistant/memories/"
        | "/api/v2/help-center/assistant/conversations/{session_id}/"
        | "/api/v2/help-center/assistant/memories/{id}/" => {
            let path = path.replace("{session_id}", &format!("{canary}-conversation")).replace("{id}", &id.to_string());
            let delete = Probe { method: Method::DELETE, path: path.clone(), body: None, same_as_missing: true };
            if path.ends_with(&format!("/memories/{id}/")) { vec![delete] } else { vec![get(path), delete] }
        }
        "/api/v2/help-center/assistant/handovers/" => {
            let body = Some(json!({ "session_id": format!("{canary}-conversation"), "answer_id": id }));
            vec![Probe { method: Method::POST, path: path.to_owned(), body, same_as_missing: true }]
        }
        ASK => vec![Probe {
            method: Method::POST,
            path: path.to_owned(),
            body: Some(json!({ "query": format!("What does the handbook say about {lure}?") })),
            same_as_missing: false,
        }],
        // These show nothing of an article; that nobody reads, stops or rates another person's answer is tested with chats.
        "/api/v2/help-center/assistant/token/"
        | "/api/v2/help-center/assistant/answers/{id}/"
        | "/api/v2/help-center/assistant/answers/{id}/cancel/"
        | "/api/v2/help-center/assistant/answers/{id}/feedback/" => {
            let (method, body) = match path.rsplit('/').nth(1) {
                Some("feedback") => (Method::PUT, Some(json!({ "helpful": true }))),
                Some("cancel" | "token") => (Method::POST, None),
                _ => (Method::GET, None),
            };
            vec![Probe { method, path: path.replace("{id}", &id.to_string()), body, same_as_missing: true }]
        }
        // It leaves words and shows nothing.
        "/api/v2/help-center/suggestions/" => vec![],
        // Bookmarks: set by the probes above, which come first in the table.
        "/api/v2/help-center/categories/" | "/api/v2/help-center/bookmarks/" | "/" => vec![get(path.to_owned())],
        "/search/" => vec![
            Probe { same_as_missing: false, ..get(format!("{path}?{}", encoded(&[("q", lure)]))) },
            get(format!("{path}?q=handbook")),
        ],
        "/categories/{slug}/" => {
            let address = path.replace("{slug}", category);
            let before = at(&["category", category], &just_before, &Uuid::max());
            let probe = |path| Probe { same_as_missing: category_is_hidden, ..get(path) };
            vec![probe(address.clone()), probe(format!("{address}?{}", encoded(&[("cursor", &before)])))]
        }
        other => {
            panic!("{other} is a new route for readers: say here how one would try to see a hidden article through it")
        }
    }
}

/// Whether an endpoint shows the article to those who may see it. The tree of categories does if one has its name; what is
/// left with articles is told in numbers and ids.
fn shows(path: &str, article: &Article) -> bool {
    match path {
        "/api/v2/help-center/categories/" => article.category == article.canary,
        "/api/v2/help-center/suggestions/" => false,
        ASK => true,
        path if path.starts_with(ASK) => false,
        path => !["/view/", "/vote/", "/reports/", "/bookmark/", "/clicks/"].iter().any(|end| path.ends_with(end)),
    }
}

/// Everything of an answer that a caller can look at, without what differs from request to request anyway.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: u16,
    headers: BTreeSet<(String, String)>,
    body: String,
}

impl Answer {
    async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let headers: Vec<(String, String)> = response
            .headers()
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let mut body = response.text().await.unwrap().replace(&id, "REQUEST");
        let mut ignored = vec!["date", "x-request-id"];
        if let Ok(Value::Object(mut object)) = serde_json::from_str(&body)
            && (object.remove("took_ms").is_some() || object.remove("answer_id").is_some())
        {
            for other in ["search_id", "session_id", "is_cached"] {
                object.remove(other);
            }
            body = Value::Object(object).to_string();
            ignored.push("content-length"); // of the number above
        }
        let headers = headers.into_iter().filter(|(name, _)| !ignored.contains(&name.as_str())).collect();
        Self { status, headers, body }
    }

    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Whether the answer has the text in its body or its headers. The address in `location` is the caller's own words.
    fn holds(&self, text: &str) -> bool {
        let headers = self.headers.iter().filter(|(name, _)| *name != LOCATION.as_str());
        let mut texts = headers.map(|(_, value)| value).chain([&self.body]);
        texts.any(|found| found.to_lowercase().contains(&text.to_lowercase()))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_finds_lists_opens_or_counts_what_is_not_theirs_through_any_endpoint() {
    let world = World::new().await;
    for endpoint in routes::table().iter().filter(|endpoint| endpoint.access == Access::Reader) {
        for caller in &world.callers {
            let secrets = world.secrets(caller);
            let nothing = world.answers_about_nothing(caller, endpoint.path).await;
            for (tenant, article) in
                world.tenants.iter().flat_map(|(t, articles)| articles.values().map(move |a| (*t, a)))
            {
                // Who writes sees the images of all that is written there.
                let writes = caller.who == "a person of another tenant with many roles" && tenant == caller.sees.0;
                if writes && endpoint.path == "/assets/{hash}/{name}" {
                    continue;
                }
                for (probe, nothing) in probes(endpoint.path, article).into_iter().zip(&nothing) {
                    let answer = world.ask(caller, &probe).await;
                    for secret in &secrets {
                        assert!(!answer.holds(secret), "{} sees {secret}: {probe:?}\n{answer:#?}", caller.who);
                    }
                    let is_hidden = !caller.may_see(tenant, article.kind);
                    // Without a credential, the answer is the way to sign in and back.
                    if is_hidden && probe.same_as_missing && caller.who != "nobody" {
                        assert_eq!(answer, nothing.get, "{} can tell that there is something: {probe:?}", caller.who);
                        if let Some(nothing) = &nothing.head {
                            let answer = world.ask(caller, &head(&probe)).await;
                            assert_eq!(answer, *nothing, "{} can tell by HEAD: {probe:?}", caller.who);
                        }
                    }
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_may_see_an_article_sees_it_through_every_endpoint() {
    // Without this, the test above would pass with endpoints that show nothing at all.
    let world = World::new().await;
    let mut seen = 0;
    for endpoint in routes::table().iter().filter(|endpoint| endpoint.access == Access::Reader) {
        for caller in &world.callers {
            for kind in &caller.sees.1 {
                let article = &world.tenants[caller.sees.0][kind];
                let mut found = false;
                for probe in probes(endpoint.path, article) {
                    found |= world.ask(caller, &probe).await.holds(&article.canary);
                }
                // Machines set no bookmarks.
                let has_none = endpoint.path.ends_with("/bookmarks/") && caller.who.starts_with("a machine");
                assert_eq!(
                    found,
                    shows(endpoint.path, article) && !has_none,
                    "{} asks for `{kind}` through {endpoint:?}",
                    caller.who
                );
                seen += usize::from(found);
            }
        }
    }
    assert!(seen > 100, "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_tell_what_the_caller_may_see_and_no_more() {
    let world = World::new().await;
    for caller in world.callers.iter().filter(|caller| caller.who != "nobody") {
        let expected = caller.sees.1.len();
        let search = Probe {
            method: Method::POST,
            path: "/api/v2/help-center/search/".to_owned(),
            body: Some(json!({ "query": "handbook", "limit": 50 })),
            same_as_missing: true,
        };
        let found = world.ask(caller, &search).await.json();
        assert_eq!(found["total"], expected, "{}: {found}", caller.who);
        assert_eq!(found["results"].as_array().unwrap().len(), expected, "{}", caller.who);
        // The total counts what the limit cuts off, and nothing hidden.
        let limited = Probe { body: Some(json!({ "query": "handbook", "limit": 1 })), ..search };
        let found = world.ask(caller, &limited).await.json();
        assert_eq!(
            (&found["total"], found["results"].as_array().unwrap().len()),
            (&json!(expected), 1),
            "{}",
            caller.who
        );

        let listed = world.ask(caller, &get("/api/v2/help-center/articles/?limit=100".to_owned())).await.json();
        assert_eq!(listed["results"].as_array().unwrap().len(), expected, "{}", caller.who);
        assert_eq!(listed["next_cursor"], Value::Null, "{}", caller.who);
        // Page by page: no page is short because something hidden was counted, and the last has no next.
        let (mut path, mut pages) = ("/api/v2/help-center/articles/?limit=1".to_owned(), 0);
        loop {
            let page = world.ask(caller, &get(path)).await.json();
            assert_eq!(page["results"].as_array().unwrap().len(), 1, "{}", caller.who);
            pages += 1;
            let Some(cursor) = page["next_cursor"].as_str() else { break };
            path = format!("/api/v2/help-center/articles/?{}", encoded(&[("limit", "1"), ("cursor", cursor)]));
        }
        assert_eq!(pages, expected, "{}", caller.who);

        let tree = world.ask(caller, &get("/api/v2/help-center/categories/".to_owned())).await.json();
        let counted: u64 =
            tree["results"].as_array().unwrap().iter().map(|c| c["article_count"].as_u64().unwrap()).sum();
        assert_eq!(counted, u64::try_from(expected).unwrap(), "{}: {tree}", caller.who);
        let home = world.ask(caller, &get("/".to_owned())).await;
        let cards: Vec<u64> = home
            .body
            .split("card-count\"><bdi>")
            .skip(1)
            .map(|rest| rest.split(' ').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(cards.iter().sum::<u64>(), counted, "{}", caller.who);
        let results = world.ask(caller, &get("/search/?q=handbook".to_owned())).await;
        let plural = if expected == 1 { "" } else { "s" };
        assert!(results.body.contains(&format!("{expected} result{plural} for")), "{}: {}", caller.who, results.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_category_shows_when_something_in_it_does_and_its_name_is_not_told_otherwise() {
    let world = World::new().await;
    let names = |tree: &Value| -> Vec<String> {
        fn walk(nodes: &Value, names: &mut Vec<String>) {
            for node in nodes.as_array().unwrap() {
                names.push(node["slug"].as_str().unwrap().to_owned());
                walk(&node["children"], names);
            }
        }
        let mut names = Vec::new();
        walk(&tree["results"], &mut names);
        names.sort();
        names
    };
    let categories = get("/api/v2/help-center/categories/".to_owned());
    let tree = world.ask(world.caller("a person without a role"), &categories).await.json();
    assert_eq!(names(&tree), ["guides"]);
    let tree = world.ask(world.caller("a person with the role"), &categories).await.json();
    assert_eq!(names(&tree), ["guides", &canary("nested", "acme"), &canary("vault", "acme")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_leads_to_an_article_for_those_who_may_see_it_and_nowhere_for_others() {
    let world = World::new().await;
    let everyone = &world.tenants["acme"]["everyone"];
    let target = format!("/articles/{}/", world.tenants["acme"]["finance"].slug);
    for path in ["/api/v2/help-center/articles/{id}/", "/articles/{slug}/"] {
        let probe = &probes(path, everyone)[0];
        let with = world.ask(world.caller("a person with the role"), probe).await;
        assert!(with.holds(&target), "{with:#?}");
        let without = world.ask(world.caller("a person without a role"), probe).await;
        assert!(without.holds("the other page") && !without.holds(&target), "{without:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_credential_the_api_says_401_and_a_page_leads_to_sign_in() {
    let world = World::new().await;
    let nobody = world.caller("nobody");
    for endpoint in routes::table().iter().filter(|endpoint| endpoint.access == Access::Reader) {
        for article in world.tenants["acme"].values() {
            for probe in probes(endpoint.path, article) {
                let answer = world.ask(nobody, &probe).await;
                if endpoint.path.starts_with("/api/") {
                    assert_eq!(answer.status, 401, "{probe:?}");
                    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{probe:?}");
                    assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{probe:?}");
                    assert_eq!(answer.json()["code"], "authentication_required", "{probe:?}");
                } else {
                    assert_eq!((answer.status, answer.body.as_str()), (303, ""), "{probe:?}");
                    let next = encoded(&[("next", &probe.path)]);
                    assert_eq!(answer.header("location"), Some(format!("/sign-in/?{next}").as_str()), "{probe:?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_open_to_everybody_holds_nothing_of_any_tenant_but_its_name() {
    let world = World::new().await;
    let secrets: Vec<String> = world
        .tenants
        .iter()
        .flat_map(|(tenant, articles)| {
            let own = articles.values().flat_map(|article| [article.canary.clone(), article.id.to_string()]);
            own.chain([canary("newer", tenant)]).collect::<Vec<_>>()
        })
        .collect();
    let article = &world.tenants["acme"]["finance"];
    for endpoint in routes::table().iter().filter(|endpoint| endpoint.access == Access::Open) {
        let fill = |value: &str| endpoint.path.replace("{file}", value);
        // Routes that are open to everybody are listed here; a new one fails the test until it was thought about.
        let paths = match endpoint.path {
            "/api/openapi.json" | "/api/docs/" | "/health/live" | "/health/ready" | "/sign-out/" => vec![fill("")],
            "/api/docs/{file}" => vec![fill("index.html"), fill("swagger-initializer.js"), fill("x.css")],
            "/assets/{file}" => vec![fill("site.css"), fill("site-0000000000000000.css")],
            "/sign-in/" => vec![fill(""), format!("/sign-in/?{}", encoded(&[("next", "/articles/x/")]))],
            other => panic!("{other} is a new open route: say here why it may be, and how to ask it"),
        };
        for path in paths.into_iter().chain([format!("{}?{}", fill("x"), encoded(&[("id", &article.lure)]))]) {
            for caller in &world.callers {
                let method = endpoint.method.as_str().parse().unwrap();
                let probe = Probe { method, path: path.clone(), body: None, same_as_missing: true };
                let answer = world.ask(caller, &probe).await;
                assert!(answer.status < 500, "{probe:?}: {answer:#?}");
                for secret in &secrets {
                    assert!(!answer.holds(secret), "{} sees {secret}: {probe:?}\n{answer:#?}", caller.who);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_word_of_a_request_chooses_the_tenant_but_the_credential() {
    let world = World::new().await;
    let globex = tenant(&world.app, "globex").await;
    let caller = world.caller("a person with the role");
    let (secrets, id) = (world.secrets(caller), globex.id.to_string());
    let foreign = &world.tenants["globex"]["finance"];
    for endpoint in routes::table().iter().filter(|endpoint| endpoint.access == Access::Reader) {
        for probe in probes(endpoint.path, foreign) {
            let plain = world.ask(caller, &probe).await;
            // In a header, and as the host name of the other tenant's pages.
            for (name, value) in [
                ("x-tenant-id", id.as_str()),
                ("x-tenant", "globex"),
                ("x-forwarded-host", "globex.localhost"),
                ("forwarded", "host=globex.localhost"),
                ("host", "globex.localhost"),
            ] {
                let mut request = world.app.request(probe.method.clone(), &probe.path).header(name, value);
                for (name, value) in &caller.headers {
                    request = request.header(name, value);
                }
                if let Some(body) = &probe.body {
                    request = request.json(body);
                }
                assert_eq!(Answer::of(request).await, plain, "{name}: {value}, {probe:?}");
            }
            // In the query and in the body: refused, or without effect.
            for (name, value) in [("tenant", "globex"), ("tenant_id", id.as_str()), ("roles", "finance")] {
                let separator = if probe.path.contains('?') { '&' } else { '?' };
                let mut named = probe.clone();
                named.path = format!("{}{separator}{}", probe.path, encoded(&[(name, value)]));
                if let Some(Value::Object(body)) = &mut named.body {
                    body.insert(name.to_owned(), json!(value));
                }
                let answer = world.ask(caller, &named).await;
                assert!(answer.status == 400 || answer.status == plain.status, "{named:?}: {answer:#?}");
                for secret in &secrets {
                    assert!(!answer.holds(secret), "{secret}: {named:?}\n{answer:#?}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_help_center_shows_anonymous_visitors_what_is_meant_for_all() {
    let app = TestApp::start().await;
    let open = app.db.public_tenant("open").await;
    let acme = app.db.tenant("acme").await;
    let tenants = BTreeMap::from([("open", fill(&app.db, &open).await), ("acme", fill(&app.db, &acme).await)]);
    app.run_jobs().await;
    let visitor = Caller {
        who: "an anonymous visitor",
        headers: vec![(HOST, "OPEN.localhost:1234".to_owned()), (COOKIE, form_cookie())],
        sees: ("open", vec!["everyone"]),
    };
    let worker = Some(Running::start(app.worker()));
    let world = World { app, tenants, callers: vec![], worker };
    let secrets = world.secrets(&visitor);
    for endpoint in routes::table().iter().filter(|endpoint| endpoint.access == Access::Reader) {
        for (tenant, article) in world.tenants.iter().flat_map(|(t, articles)| articles.values().map(move |a| (*t, a)))
        {
            let mut found = false;
            let nothing = world.answers_about_nothing(&visitor, endpoint.path).await;
            for (probe, nothing) in probes(endpoint.path, article).into_iter().zip(nothing) {
                let answer = world.ask(&visitor, &probe).await;
                for secret in &secrets {
                    assert!(!answer.holds(secret), "a visitor sees {secret}: {probe:?}\n{answer:#?}");
                }
                found |= answer.holds(&article.canary);
                if !visitor.may_see(tenant, article.kind) && probe.same_as_missing {
                    assert_eq!(answer, nothing.get, "a visitor can tell: {probe:?}");
                }
            }
            // The visitor has no session that bookmarks could be kept for.
            let has_none = endpoint.path.ends_with("/bookmarks/");
            let expected = visitor.may_see(tenant, article.kind) && shows(endpoint.path, article) && !has_none;
            assert_eq!(found, expected, "{tenant} {} through {endpoint:?}", article.kind);
        }
    }
    // A credential that is wrong makes nobody a visitor: whoever sends one wants to know that it does not work.
    let (status, _) = tests::json(
        world
            .app
            .request(Method::GET, "/api/v2/help-center/categories/")
            .header(HOST, "open.localhost")
            .bearer_auth("not-a-token"),
    )
    .await;
    assert_eq!(status, 401);
}

#[tokio::test]
async fn an_article_is_private_until_somebody_says_for_whom_it_is() {
    let db = TestDatabase::create().await;
    let mut owner = db.owner().await;
    let visible =
        async |owner: &mut sqlx::PgConnection, status: &str, roles: &[&str], caller: Option<&[&str]>| -> bool {
            sqlx::query_scalar("select article_is_visible($1, $2, coalesce($3, '{}'))")
                .bind(status)
                .bind(roles)
                .bind(caller)
                .fetch_one(owner)
                .await
                .unwrap()
        };
    for (status, roles, caller, expected) in [
        ("PUBLISHED", vec!["all"], vec![], true),
        ("PUBLISHED", vec!["finance"], vec!["finance"], true),
        ("PUBLISHED", vec!["sales", "finance"], vec!["support", "finance"], true),
        ("PUBLISHED", vec!["finance"], vec![], false),
        ("PUBLISHED", vec!["finance"], vec!["all"], false),
        ("PUBLISHED", vec!["finance"], vec!["Finance"], false),
        ("PUBLISHED", vec![], vec![], false),
        ("PUBLISHED", vec![], vec!["all", "finance"], false),
        ("DRAFT", vec!["all"], vec!["all"], false),
        ("REVIEW", vec!["all"], vec!["all"], false),
        ("ARCHIVED", vec!["all"], vec!["all"], false),
        ("published", vec!["all"], vec!["all"], false),
        ("", vec!["all"], vec!["all"], false),
    ] {
        let answer = visible(&mut owner, status, &roles, Some(&caller)).await;
        assert_eq!(answer, expected, "{status} for {roles:?}, asked by {caller:?}");
    }
    // What nobody decided is nobody's to see.
    let tenant = db.tenant("acme").await;
    assert!(!tenant.is_public);
    let (status, roles): (String, Vec<String>) =
        sqlx::query_as("insert into articles (tenant_id, slug) values ($1, 'new') returning status, target_roles")
            .bind(tenant.id.uuid())
            .fetch_one(&mut owner)
            .await
            .unwrap();
    assert_eq!((status.as_str(), roles.as_slice()), ("DRAFT", [].as_slice()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_unpublished_or_given_to_others_is_gone_at_once_and_comes_back_at_once() {
    let app = TestApp::start().await;
    let tenant = app.db.tenant("acme").await;
    let folder = Folder::of(&[]);
    let path = format!("{}/page.md", canary("everyone", "acme"));
    let shown = file("everyone", "acme");
    folder.write(&path, &shown);
    let word = canary("everyone", "acme");
    folder.write(&format!("{word}/{word}.svg"), image(&word));
    // Another article, so that lists and searches are not simply empty.
    folder.write("guides/other.md", fixture::article("Handbook of other things", "The handbook."));
    fixture::import(&app.db, tenant.id, &folder).await;
    app.run_jobs().await;
    let mut owner = app.db.owner().await;
    let (id, published_at) = sqlx::query_as("select id, published_at from articles where slug = $1")
        .bind(format!("{}-page", canary("everyone", "acme")))
        .fetch_one(&mut owner)
        .await
        .unwrap();
    let canary = canary("everyone", "acme");
    let article = Article {
        kind: "everyone",
        id,
        slug: format!("{canary}-page"),
        category: canary.clone(),
        tag: canary.clone(),
        canary,
        lure: "everyonelure".to_owned(),
        published_at,
    };
    let world = World { tenants: BTreeMap::new(), callers: vec![], app, worker: None };
    let caller = Caller::bearer("a person without a role", &world.app.token("acme", &[]), "acme", &["everyone"]);
    // Questions are answered by the same search, and by workers, of which there is none here.
    let is_read = |endpoint: &routes::Endpoint| endpoint.access == Access::Reader && endpoint.path != ASK;
    let endpoints: Vec<_> = routes::table().into_iter().filter(is_read).collect();
    let seen_through = async || {
        let mut seen = 0;
        for endpoint in &endpoints {
            let mut found = false;
            for probe in probes(endpoint.path, &article) {
                found |= world.ask(&caller, &probe).await.holds(&article.canary);
            }
            seen += usize::from(found);
        }
        seen
    };
    let all = endpoints.iter().filter(|endpoint| shows(endpoint.path, &article)).count();
    assert_eq!(seen_through().await, all);
    let vectors =
        "select count(*) from passage_embeddings e join passages p on p.id = e.passage_id where p.article_id = $1";
    for (change, to, is_indexed) in [
        ("status: PUBLISHED", "status: ARCHIVED", false),
        ("status: PUBLISHED", "status: DRAFT", false),
        ("target_roles: [all]", "target_roles: [finance]", true),
        ("target_roles: [all]", "target_roles: []", true),
    ] {
        folder.write(&path, shown.replace(change, to));
        let report = fixture::import(&world.app.db, tenant.id, &folder).await;
        assert_eq!((report.changed, report.failed.len()), (1, 0), "{report:?}");
        assert_eq!(seen_through().await, 0, "{to}, before any job ran");
        world.app.run_jobs().await;
        assert_eq!(seen_through().await, 0, "{to}, after the jobs");
        let left: i64 = sqlx::query_scalar(vectors).bind(article.id).fetch_one(&mut owner).await.unwrap();
        assert_eq!(left > 0, is_indexed, "{to}: {left} vectors");
        folder.write(&path, &shown);
        fixture::import(&world.app.db, tenant.id, &folder).await;
        assert_eq!(seen_through().await, all, "{to}, and back");
        world.app.run_jobs().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_comes_late_does_not_bring_back_what_was_unpublished() {
    let app = TestApp::start().await;
    let tenant = app.db.tenant("acme").await;
    let folder = Folder::of(&[("page.md", &fixture::article("A page", "Its text."))]);
    fixture::import(&app.db, tenant.id, &folder).await;
    folder.write("page.md", fixture::article("A page", "Its text.").replace("title:", "status: ARCHIVED\ntitle:"));
    let report = fixture::import(&app.db, tenant.id, &folder).await;
    assert_eq!(report.changed, 1, "{report:?}");
    app.run_jobs().await; // the one of the first import is still waiting
    for table in ["passages", "passage_embeddings", "search_documents"] {
        let sql = sqlx::AssertSqlSafe(format!("select count(*) from {table}"));
        let left: i64 = sqlx::query_scalar(sql).fetch_one(&mut app.db.owner().await).await.unwrap();
        assert_eq!(left, 0, "{table}");
    }
}
