//! What people ask of this product itself, in the few words that they search with, answered from docs/help.

use std::{collections::HashMap, path::Path};

use reqwest::StatusCode;
use serde_json::json;
use shared::knowledge::import::SyncOptions;
use tests::{
    Settings, TestApp,
    fixture::{self, Folder},
};
use uuid::Uuid;

use super::ASK;
use crate::queue::support::Running;

/// Questions, and the article that answers each.
const ANSWERED: &[(&str, &str)] = &[
    ("How do I import a folder of Markdown?", "admins/import-a-folder.md"),
    ("preview an import without saving anything", "admins/import-a-folder.md"),
    ("Which close codes does the chat have?", "developers/chat.md"),
    ("How do I resume an answer after the connection broke?", "developers/chat.md"),
    ("How many questions may one person ask per minute?", "developers/chat.md"),
    ("How long are conversations kept?", "readers/what-the-assistant-remembers.md"),
    ("delete what the assistant knows about me", "readers/what-the-assistant-remembers.md"),
    ("What can an agent do?", "admins/plan-roles.md"),
    ("how do I create a new tenant", "admins/create-a-tenant.md"),
    ("revoke an API key", "admins/api-keys.md"),
    ("How do I add a person to my help center?", "admins/add-people.md"),
    ("reset a forgotten password", "admins/add-people.md"),
    ("how do I use GPT-4 for the answers", "admins/language-model.md"),
    ("What happens when the budget is spent?", "admins/language-model.md"),
    ("How do I add synonyms to the search?", "admins/teach-search.md"),
    ("pin an article to the top of the results", "admins/teach-search.md"),
    ("export all articles", "admins/export-and-import.md"),
    ("Can I upload a zip file?", "admins/export-and-import.md"),
    ("How do I see whether all articles are indexed?", "admins/check-the-search-index.md"),
    ("update articles from git automatically", "admins/update-from-git.md"),
    ("show help that fits the page somebody is on", "admins/contextual-rules.md"),
    ("How do I publish an article at a later date?", "authors/draft-publish-archive.md"),
    ("unpublish an article", "authors/draft-publish-archive.md"),
    ("Which front matter fields are there?", "authors/front-matter.md"),
    ("How do I link to another article?", "authors/link-articles.md"),
    ("Which Markdown can I write?", "authors/markdown.md"),
    ("how do I add a picture", "authors/markdown.md"),
    ("write articles that people find", "authors/write-for-search.md"),
    ("How do I authenticate API requests?", "developers/first-request.md"),
    ("sign a token with JWT", "developers/sign-tokens.md"),
    ("What does error 409 mean?", "developers/errors.md"),
    ("page through the list of articles", "developers/browse-articles.md"),
    ("ask the assistant with curl", "developers/ask-the-assistant.md"),
    ("vote on an article over the API", "developers/votes-reports-bookmarks.md"),
    ("retry failed jobs", "developers/jobs-endpoint.md"),
    ("What happens when Redis goes down?", "operators/background-jobs.md"),
    ("change the embedding model", "operators/change-the-embedding-model.md"),
    ("Which environment variable sets the database connection?", "operators/configuration.md"),
    ("Where are the Prometheus metrics?", "operators/monitoring.md"),
    ("put nginx in front of the API", "operators/reverse-proxy.md"),
    ("How do I upgrade without downtime?", "operators/restart-and-upgrade.md"),
    ("try it out on my laptop", "operators/try-it-on-one-machine.md"),
    ("What do I need to run this in production?", "operators/run-in-production.md"),
    ("keyboard shortcuts", "readers/keyboard-phone-and-dark-mode.md"),
    ("switch on dark mode", "readers/keyboard-phone-and-dark-mode.md"),
    ("How do I sign out?", "readers/sign-in.md"),
    ("I cannot sign in", "readers/troubleshooting.md"),
    ("search for an exact phrase", "readers/search.md"),
    ("an article I need does not exist", "readers/missing-article.md"),
    ("What is a tenant?", "readers/glossary.md"),
];

const OFF_TOPIC: &[&str] = &[
    "What is the capital of France?",
    "bake bread without yeast",
    "Why was my card payment declined?",
    "How do I change the oil of my car?",
    "weather tomorrow",
    "Who won the match last night?",
    "How tall is the highest mountain?",
    "book a flight to Lisbon",
    "Which vitamins are in an orange?",
    "translate good morning into Spanish",
];

/// Who may read all of it.
const ROLES: &[&str] = &["admin", "operator"];

#[tokio::test(flavor = "multi_thread")]
async fn short_questions_about_the_product_are_answered_from_its_own_help() {
    let app = TestApp::start_with(Settings::default()).await;
    let tenant = app.db.tenant("acme").await.id;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/help");
    let options = SyncOptions { root, source: "help".to_owned(), ..Folder::of(&[]).options() };
    fixture::import_with(&app.db, tenant, &options).await;
    app.run_jobs().await;
    let articles: Vec<(String, Uuid)> =
        sqlx::query_as("select source_path, id from articles").fetch_all(&mut app.db.owner().await).await.unwrap();
    let articles: HashMap<String, Uuid> = articles.into_iter().collect();
    let worker = Running::start(app.worker());
    let ask = async |number: usize, question: &str| {
        // On a machine that is busy with other tests the model may be too late, and words decide: another person asks again.
        for time in 0..10 {
            let person = app.token_of(&format!("person-{number}-{time}"), "acme", ROLES);
            let (status, answer) = app.post(ASK, &person, &json!({ "query": question })).await;
            assert_eq!(status, StatusCode::OK, "{answer}");
            let is_degraded: bool = sqlx::query_scalar("select degraded <> '{}' from answers where id = $1::uuid")
                .bind(answer["answer_id"].as_str())
                .fetch_one(&mut app.db.owner().await)
                .await
                .unwrap();
            if !is_degraded {
                return answer;
            }
        }
        panic!("{question} is never answered with the model");
    };
    let (mut refused, mut elsewhere) = (Vec::new(), Vec::new());
    for (number, (question, article)) in ANSWERED.iter().enumerate() {
        let answer = ask(number, question).await;
        let article = json!(articles[*article]);
        let cited = answer["citations"].as_array().unwrap().iter().any(|citation| citation["article_id"] == article);
        if answer["outcome"] == "refused" {
            refused.push(*question);
        } else if !cited {
            elsewhere.push(*question);
        }
        let said = answer["answer"].as_str().unwrap();
        assert!(!said.contains(&format!("{question} [")), "{question} is answered by itself: {said}");
    }
    let mut answered = Vec::new();
    for (number, question) in OFF_TOPIC.iter().enumerate() {
        if ask(ANSWERED.len() + number, question).await["outcome"] != "refused" {
            answered.push(*question);
        }
    }
    worker.stop().await;
    assert!(answered.is_empty(), "answered: {answered:?}");
    assert!(refused.len() <= 7, "{} refused: {refused:?}", refused.len());
    assert!(elsewhere.len() <= 7, "{} answered from elsewhere: {elsewhere:?}", elsewhere.len());
}
