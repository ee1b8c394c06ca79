//! One question to the assistant, as a worker answers it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use secrecy::SecretString;
use shared::{
    assistant::{self, AnswerStreams, Asked, Asker, Assistant},
    auth::{Identity, Pepper, Principal, Roles},
    clock::Clock,
    config::{LlmConfig, QueueConfig},
    db::Database,
    embedding::Embedder,
    llm::Llm,
    search::{Found, Search, SearchRequest},
    tenancy::TenantId,
};
use uuid::Uuid;

/// The longest question.
const LONGEST: usize = 2_000;
/// The longest query.
const LONGEST_QUERY: usize = 500;

/// What answers.
pub(crate) struct Asking {
    database: Database,
    search: Search,
    assistant: Assistant,
}

/// What comes of a question.
pub(crate) struct Answer {
    /// Whether it is an answer.
    pub(crate) is_answered: bool,
    /// What is quoted, in its order.
    pub(crate) quotes: Vec<Quote>,
    /// Sentences of a language model that passages support, and that are shown; …
    pub(crate) supported: usize,
    /// … and those that none does.
    pub(crate) withheld: usize,
    /// How long retrieval took, …
    pub(crate) retrieval: Duration,
    /// … writing, …
    pub(crate) writing: Duration,
    /// … and all of it.
    pub(crate) whole: Duration,
}

/// A part of a passage that is quoted.
pub(crate) struct Quote {
    pub(crate) article: Uuid,
    pub(crate) text: String,
    /// The passage as it was kept with the answer.
    pub(crate) passage: String,
}

#[derive(sqlx::FromRow)]
struct Row {
    outcome: String,
    answer: String,
    citations: serde_json::Value,
    provider: String,
    withheld_claims: i32,
    retrieval_ms: i32,
    writing_ms: i32,
}

#[derive(serde::Deserialize)]
struct Citation {
    marker: i16,
    article_id: Uuid,
    quotes: Vec<String>,
}

impl Asking {
    pub(crate) fn new(database: Database, embedder: &Arc<dyn Embedder>) -> anyhow::Result<Self> {
        let queues = QueueConfig {
            redis_url: SecretString::from(
                tests::optional_variable("TEST_REDIS_URL").context("TEST_REDIS_URL is not set")?,
            ),
            prefix: format!("eval-{}", Uuid::new_v4()),
            lease: Duration::from_secs(15),
            redis_timeout: Duration::from_secs(5),
        };
        let search = Search::new(database.clone(), Some(Arc::clone(embedder)));
        let llm = Llm::new(&LlmConfig::from_env()?, None, database.clone(), Clock::system())?;
        let streams = AnswerStreams::open(&queues)?;
        let assistant = Assistant::new(database.clone(), search.clone(), Some(Arc::clone(embedder)), streams);
        Ok(Self { database, search, assistant: assistant.written_by(llm) })
    }

    pub(crate) async fn ask(&self, tenant: TenantId, text: &str) -> anyhow::Result<Answer> {
        let identity = Identity::Person { subject: "judge".to_owned(), name: None };
        let caller = Principal { tenant, identity, roles: Roles::none() };
        let pepper = Pepper::new(SecretString::from("a pepper of at least thirty-two bytes, for judging"));
        let asked = Asked {
            asker: Asker::of(&caller, None, &pepper).context("a person asks")?,
            roles: Roles::none(),
            session: Uuid::new_v4().to_string(), // each question by itself
            question: text.chars().take(LONGEST).collect::<String>().parse()?,
            page: None,
            locale: None,
        };
        let mut tx = self.database.tenant(tenant).await?;
        let id = assistant::ask(&mut tx, &asked).await?.id;
        // It is answered here and now.
        sqlx::query("delete from outbox").execute(tx.connection()).await?;
        tx.commit().await?;
        let started = Instant::now();
        self.assistant.write(tenant, id, true).await?;
        let whole = started.elapsed();
        self.read(tenant, id, whole).await
    }

    async fn read(&self, tenant: TenantId, id: Uuid, whole: Duration) -> anyhow::Result<Answer> {
        let mut tx = self.database.tenant(tenant).await?;
        let Row { outcome, answer, citations, provider, withheld_claims, retrieval_ms, writing_ms } =
            sqlx::query_as("select * from answers where id = $1").bind(id).fetch_one(tx.connection()).await?;
        let passages: Vec<(i16, String)> =
            sqlx::query_as("select marker, body from answer_passages where answer_id = $1")
                .bind(id)
                .fetch_all(tx.connection())
                .await?;
        let citations: Vec<Citation> = serde_json::from_value(citations)?;
        let mut quotes = Vec::new();
        for citation in citations {
            let passage =
                passages.iter().find(|(marker, _)| *marker == citation.marker).context("a passage that is cited")?;
            quotes.extend(citation.quotes.into_iter().map(|text| Quote {
                article: citation.article_id,
                text,
                passage: passage.1.clone(),
            }));
        }
        let millis = |ms: i32| Duration::from_millis(ms.unsigned_abs().into());
        Ok(Answer {
            is_answered: outcome == "answered",
            quotes,
            supported: if provider == "openai" { sentences_with_markers(&answer) } else { 0 },
            withheld: usize::try_from(withheld_claims)?,
            retrieval: millis(retrieval_ms),
            writing: millis(writing_ms),
            whole,
        })
    }

    /// What search measures of a question: what the relevance floor is chosen by.
    pub(crate) async fn found(&self, tenant: TenantId, text: &str) -> anyhow::Result<Found> {
        let query = text.chars().take(LONGEST_QUERY).collect::<String>().parse()?;
        Ok(self.search.passages(tenant, &Roles::none(), &SearchRequest::new(query, 10), 4, 4).await?)
    }
}

/// How many sentences a model's answer has: each ends with the markers of its passages.
fn sentences_with_markers(answer: &str) -> usize {
    let text = answer.split(']').map(|part| part.rsplit_once('[').filter(|(_, marker)| marker.parse::<u16>().is_ok()));
    // A marker that follows another one at once is of the same sentence.
    text.flatten().filter(|(before, _)| before.chars().any(char::is_alphanumeric)).count()
}
