//! What is searched: this product's own help, some real help centers, and a page in each of many languages.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use reqwest::{Method, RequestBuilder};
use secrecy::SecretString;
use shared::{
    auth::jwt::{self, NewToken},
    clock::Clock,
    knowledge::import::{self, SyncOptions},
    tenancy::TenantId,
};
use tests::{
    JWT_SECRET, Settings, TestApp, TestDatabase,
    fixture::{self, Folder},
    judged,
    processes::{Program, free_port},
};

use crate::{
    answer::{self, Outcome},
    languages,
    queries::Sent,
};

const TENANT: &str = "fuzz";
/// How long an answer is waited for. One that takes longer than [`answer::IN_TIME`] has failed already; this says by how much.
const PATIENCE: Duration = Duration::from_secs(40);
/// How many people ask.
const PEOPLE: usize = 8;
/// Articles of each real help center, at most: they are embedded before anything is asked.
const ARTICLES: usize = 120;

/// A running API and what it searches.
pub(crate) struct HelpCenter {
    app: TestApp,
    api: Program,
    url: String,
    /// Of several people: what enough of them ask is suggested to others.
    tokens: Vec<String>,
    client: reqwest::Client,
}

impl HelpCenter {
    /// Fills a database, computes all vectors and starts the API.
    pub(crate) async fn start(data: Option<&Path>) -> anyhow::Result<Self> {
        let app = TestApp::start_with(Settings { with_model: false, ..Settings::default() }).await;
        let tenant = app.db.tenant(TENANT).await.id;
        let help = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/help");
        import(&app.db, tenant, &help, "help").await?;
        import(&app.db, tenant, languages::folder().path(), "languages").await?;
        if let Some(data) = data {
            for entry in sorted(&data.join("helpcenters"))?.into_iter().filter(|path| path.is_dir()) {
                let name = entry.file_name().unwrap_or_default().to_string_lossy().into_owned();
                import(&app.db, tenant, some_of(&entry)?.path(), &name).await?;
            }
        }
        judged::embed_all(&app.db.database, &tests::embedder(), tenant, TENANT).await?;

        let address = format!("127.0.0.1:{}", free_port());
        let variables = [
            ("API_ADDRESS", address.as_str()),
            ("JWT_SECRET", JWT_SECRET),
            ("API_KEY_PEPPER", "a pepper of at least thirty-two bytes, for tests only"),
            ("RUST_LOG", "warn"),
        ];
        let api = Program::start_with(&app, "helpcenter-api", &variables).ready().await;
        let exp = Clock::system().now().timestamp() + 24 * 3600;
        let token = |person: usize| {
            let new = NewToken { sub: &format!("person-{person}"), tenant: TENANT, roles: &[], name: "A Person", exp };
            jwt::sign(&SecretString::from(JWT_SECRET), &new)
        };
        let tokens = (0..PEOPLE).map(token).collect::<Result<_, _>>()?;
        let client = reqwest::Client::builder().timeout(PATIENCE).build()?;
        Ok(Self { app, api, url: format!("http://{address}/api/v2/help-center/search"), tokens, client })
    }

    /// The titles of all articles.
    pub(crate) async fn titles(&self) -> anyhow::Result<Vec<String>> {
        let sql = "select r.title from articles a join revisions r on r.id = a.published_revision_id order by r.title";
        Ok(sqlx::query_scalar(sql).fetch_all(&mut self.app.db.owner().await).await?)
    }

    /// Searches, and checks the answer.
    pub(crate) async fn search(&self, sent: &Sent) -> Outcome {
        let request = self.request(sent, Method::POST, &format!("{}/", self.url)).body(sent.body());
        let request = request.header("content-type", "application/json").header("accept-language", sent.language);
        exchange("search", request, |status, body| answer::check_search(sent, status, body)).await
    }

    /// Asks for completions, and checks the answer.
    pub(crate) async fn complete(&self, sent: &Sent) -> Outcome {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        query.append_pair("q", &sent.text);
        let request = self.request(sent, Method::GET, &format!("{}/suggestions/?{}", self.url, query.finish()));
        exchange("completion", request, |status, body| answer::check_completions(sent, status, body)).await
    }

    /// What the API itself has to say against what happened.
    pub(crate) fn complaints(&self) -> Vec<String> {
        self.api.log().lines().take(20).map(|line| format!("the API logged: {line}")).collect()
    }

    fn request(&self, sent: &Sent, method: Method, url: &str) -> RequestBuilder {
        self.client.request(method, url).bearer_auth(&self.tokens[sent.person % PEOPLE])
    }
}

async fn exchange(
    what: &'static str,
    request: RequestBuilder,
    check: impl FnOnce(u16, &[u8]) -> Result<(), String>,
) -> Outcome {
    let start = Instant::now();
    let answered = async {
        let response = request.send().await?;
        Ok::<_, reqwest::Error>((response.status().as_u16(), response.bytes().await?))
    };
    let answered = answered.await;
    let took = start.elapsed();
    let verdict = answered.map_err(|error| format!("no answer: {error:?}")).and_then(|(status, body)| {
        check(status, &body)?;
        answer::check_time(took)
    });
    Outcome { what, took, verdict }
}

async fn import(db: &TestDatabase, tenant: TenantId, root: &Path, source: &str) -> anyhow::Result<()> {
    let options = SyncOptions {
        root: root.to_owned(),
        source: source.to_owned(),
        default_category: "General".to_owned(),
        dry_run: false,
        archive_removed: false,
    };
    let report = import::sync(&db.database, tenant, &options, &|_, _, _| {}).await?;
    eprintln!("{source}: {} articles", report.created);
    Ok(())
}

/// Some of the Markdown files below a folder, as many from each part of it, without their images.
fn some_of(root: &Path) -> anyhow::Result<Folder> {
    let (mut files, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in sorted(&folder)? {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    let some = fixture::Folder::of(&[]);
    for path in files.iter().step_by(files.len().div_ceil(ARTICLES).max(1)) {
        some.write(&path.strip_prefix(root)?.to_string_lossy(), std::fs::read(path)?);
    }
    Ok(some)
}

fn sorted(folder: &Path) -> anyhow::Result<Vec<std::path::PathBuf>> {
    let mut paths: Vec<_> = std::fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}
