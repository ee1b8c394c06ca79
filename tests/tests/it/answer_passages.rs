//! What the assistant is given to answer from: passages of what the caller may see.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::sync::Arc;

use shared::{
    assistant::{
        extractive::{self, Composed, Passage, Question, SentenceVectors},
        relevance,
    },
    auth::Roles,
    search::{Arm, Found, Search, SearchRequest},
    tenancy::TenantId,
};
use tests::{
    TestApp,
    fixture::{self, Folder, article, article_for},
};

struct World {
    app: TestApp,
    tenant: TenantId,
}

impl World {
    async fn new() -> Self {
        let app = TestApp::start().await;
        let tenant = app.db.tenant("acme").await.id;
        let reset = "Passwords have at least twelve characters.\n\n# Resetting\n\nTo reset a forgotten password:\n\n\
                     1. Open the sign-in page.\n2. Press *Forgot password*.\n3. Enter your address.\n";
        let folder = Folder::of(&[
            ("reset.md", &article("Reset a password", reset)),
            (
                "board.md",
                &article_for("Reset the password of the board", &["board"], "The board resets its password by phone."),
            ),
            ("invoices.md", &article("Invoices", "Invoices are sent at the end of each month.")),
        ]);
        fixture::import(&app.db, tenant, &folder).await;
        app.run_jobs().await;
        Self { app, tenant }
    }

    fn search(&self, with_model: bool) -> Search {
        Search::new(self.app.db.database.clone(), with_model.then(tests::embedder))
    }

    async fn found(&self, search: &Search, roles: Roles, question: &str) -> Found {
        let request = SearchRequest::new(question.parse().unwrap(), 10);
        search.passages(self.tenant, &roles, &request, 3, 2).await.unwrap()
    }
}

fn slugs(found: &Found) -> Vec<&str> {
    found.passages.iter().map(|passage| passage.slug.as_str()).collect()
}

async fn composed(question: &str, found: &Found) -> Composed {
    let embedder = found.model.is_some().then(tests::embedder);
    let asked = Question { text: question, weights: &found.weights };
    let embedder = embedder.as_ref().map(Arc::as_ref);
    extractive::compose(embedder, &SentenceVectors::new(1), &asked, &Passage::of(found)).await
}

#[tokio::test]
async fn a_question_is_answered_by_the_steps_of_the_article_that_the_caller_sees() {
    let world = World::new().await;
    let question = "how do I reset my password?";
    for with_model in [true, false] {
        let search = world.search(with_model);
        let found = world.found(&search, Roles::none(), question).await;
        assert_eq!(found.passages[0].slug, "reset");
        assert!(!slugs(&found).contains(&"board"));
        assert_eq!(found.degraded, if with_model { vec![] } else { vec![Arm::Semantic] });
        assert_eq!(found.passages[0].similarity.is_some(), with_model);
        assert!(found.weights.contains_key("password") && !found.weights.contains_key("how"));
        assert!(relevance::relevance(question, &found) >= relevance::FLOOR);
        let answer = composed(question, &found).await.markdown();
        assert!(
            answer.contains("1. Open the sign-in page. [1]\n2. Press Forgot password. [1]\n3. Enter your address. [1]"),
            "{answer}"
        );
        let board = world.found(&search, Roles::new(vec!["board".to_owned()]).unwrap(), question).await;
        assert!(slugs(&board).contains(&"board"));
    }
}

#[tokio::test]
async fn a_question_about_something_else_is_below_the_floor() {
    let world = World::new().await;
    for with_model in [true, false] {
        for question in ["how do I bake sourdough bread?", "who won the match yesterday", "Wie wird das Wetter morgen?"]
        {
            let found = world.found(&world.search(with_model), Roles::none(), question).await;
            let relevance = relevance::relevance(question, &found);
            assert!(relevance < relevance::FLOOR, "{question}: {relevance}");
        }
    }
}
