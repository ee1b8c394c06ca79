//! The product's own jobs: run twice, interrupted or overtaken by events, they end in the same state.
#![expect(clippy::unwrap_used, reason = "helpers of tests fail the test that uses them")]

use std::{fmt::Write as _, sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use shared::{
    config::HistoryConfig,
    embedding::{EmbedError, Embedder, Embedders, Embedding, ModelId},
    knowledge::{
        EmbedArticle, ReconcileEmbeddings,
        embed::{self, Reconciled},
    },
    queue::{self, Job},
    tenancy::TenantId,
};
use sqlx::PgConnection;
use tests::{
    Settings, TestApp,
    fixture::{self, Folder},
    processes::Program,
};
use uuid::Uuid;

use crate::queue::support::{Gate, Running, eventually};

/// A help center whose articles are embedded by the real jobs.
pub(crate) struct Knowledge {
    pub(crate) app: TestApp,
    pub(crate) tenant: TenantId,
    pub(crate) folder: Folder,
    pub(crate) owner: PgConnection,
}

/// A vector: passage, model, numbers and when it was made.
pub(crate) type VectorRow = (Uuid, String, String, String);

impl Knowledge {
    pub(crate) async fn start() -> Self {
        Self::with_lease(Settings::default().lease).await
    }

    pub(crate) async fn with_lease(lease: Duration) -> Self {
        let app = TestApp::start_with(Settings { with_model: false, lease, ..Settings::default() }).await;
        let tenant = app.db.tenant("acme").await.id;
        let owner = app.db.owner().await;
        Self { app, tenant, folder: Folder::of(&[]), owner }
    }

    pub(crate) async fn import(&self) {
        let options = shared::knowledge::import::SyncOptions { archive_removed: true, ..self.folder.options() };
        let report = fixture::import_with(&self.app.db, self.tenant, &options).await;
        assert_eq!(report.failed, []);
    }

    pub(crate) async fn enqueue<J: Job>(&self, job: &J) {
        let mut tx = self.app.db.database.tenant(self.tenant).await.unwrap();
        queue::enqueue(&mut tx, job).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The published articles: id and the revision that readers see.
    async fn articles(&mut self) -> Vec<(Uuid, Uuid)> {
        let sql = "select id, published_revision_id from articles where status = 'PUBLISHED' order by source_path";
        sqlx::query_as(sql).fetch_all(&mut self.owner).await.unwrap()
    }

    pub(crate) async fn vectors(&mut self) -> Vec<VectorRow> {
        let sql = "select passage_id, model, embedding::text, created_at::text from passage_embeddings order by 1, 2";
        sqlx::query_as(sql).fetch_all(&mut self.owner).await.unwrap()
    }

    pub(crate) async fn count(&mut self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&mut self.owner).await.unwrap()
    }

    pub(crate) async fn passages(&mut self) -> i64 {
        self.count("select count(*) from passages").await
    }

    pub(crate) async fn execute(&mut self, sql: &'static str) -> u64 {
        sqlx::query(sql).execute(&mut self.owner).await.unwrap().rows_affected()
    }

    async fn reconcile(&self) -> Reconciled {
        let embedders = Embedders::only(tests::embedder());
        embed::reconcile(&self.app.db.database, self.tenant, &embedders).await.unwrap()
    }

    /// Every published article has the passages of what readers see, every passage one vector of the model, and nothing is
    /// left to do.
    pub(crate) async fn assert_complete(&mut self) {
        let unlike_readers = "select count(*) from articles a full join passages p on p.article_id = a.id
             where p.revision_id is distinct from case when a.status = 'PUBLISHED' then a.published_revision_id end";
        assert_eq!(self.count(unlike_readers).await, 0, "passages are of the revisions that readers see");
        assert!(self.passages().await > 0);
        let not_one = "select count(*) from passages p
             where (select count(*) from passage_embeddings e where e.passage_id = p.id) <> 1";
        assert_eq!(self.count(not_one).await, 0, "every passage has one vector");
        let model = tests::embedder().model().to_string();
        assert!(self.vectors().await.iter().all(|(_, by, _, _)| *by == model));
        assert_eq!(self.count("select count(*) from outbox").await, 0, "no job is open or dead");
    }
}

/// An article of about so many passages, no two alike.
pub(crate) fn long_article(title: &str, passages: usize) -> String {
    let words = "invoice approval vendor shipment password calendar ticket warehouse permission report customer schedule \
                 contract payment dashboard template";
    let words: Vec<&str> = words.split_whitespace().collect();
    let mut text = String::new();
    for section in 0..passages {
        write!(text, "## Part {section} of {title}\n\n").unwrap();
        for sentence in 0..11 {
            text += "To change it, open";
            for word in 0..8 {
                text += " the ";
                text += words[(section * 7 + sentence * 5 + word * 3 + section * word + title.len()) % words.len()];
            }
            write!(text, " page number {section} and press button {sentence}. ").unwrap();
        }
        text += "\n\n";
    }
    fixture::article(title, &text)
}

#[tokio::test]
async fn embedding_an_article_twice_changes_nothing_the_second_time() {
    let mut test = Knowledge::start().await;
    test.folder.write("one.md", long_article("One", 3));
    test.import().await;
    test.app.run_jobs().await;
    test.assert_complete().await;
    let before = test.vectors().await;
    let (article_id, revision_id) = test.articles().await[0];
    test.enqueue(&EmbedArticle { article_id, revision_id }).await;
    test.app.run_jobs().await;
    assert_eq!(test.vectors().await, before);
    test.assert_complete().await;
}

#[tokio::test]
async fn reconciling_what_is_right_changes_nothing() {
    let mut test = Knowledge::start().await;
    test.folder.write("one.md", long_article("One", 2));
    test.folder.write("two.md", fixture::article("Two", "Short."));
    test.import().await;
    test.app.run_jobs().await;
    let before = test.vectors().await;
    for _ in 0..2 {
        test.enqueue(&ReconcileEmbeddings {}).await;
        test.app.run_jobs().await;
        assert_eq!(test.reconcile().await, Reconciled::default());
    }
    assert_eq!(test.vectors().await, before);
    test.assert_complete().await;
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_an_article_is_replaced_and_its_vectors_are_kept() {
    let mut test = Knowledge::with_lease(Duration::from_secs(2)).await;
    test.folder.write("long.md", long_article("A long one", 80));
    test.import().await;
    assert!(test.passages().await > 64, "more than two of the steps in which vectors are stored");
    let worker = Program::start(&test.app, "helpcenter-worker");
    eventually("the first vectors are there", async || (!test.vectors().await.is_empty()).then_some(())).await;
    worker.kill();
    let before = test.vectors().await;
    assert!(i64::try_from(before.len()).unwrap() < test.passages().await, "killed in the middle");
    let open = "select count(*) from outbox where job = 'embed_article' and dead_at is null";
    assert_eq!(test.count(open).await, 1);

    let worker = Program::start(&test.app, "helpcenter-worker").ready().await;
    test.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    test.assert_complete().await;
    let after = test.vectors().await;
    assert!(before.iter().all(|vector| after.contains(vector)), "what was stored before is not done again");
}

#[tokio::test]
async fn an_article_archived_before_its_job_runs_has_nothing_to_embed() {
    let mut test = Knowledge::start().await;
    test.folder.write("kept.md", fixture::article("Kept", "This one stays."));
    test.folder.write("gone.md", fixture::article("Gone", "This one goes."));
    test.import().await;
    test.folder.delete("gone.md");
    test.import().await;
    test.app.run_jobs().await;
    test.assert_complete().await;
    assert_eq!(test.articles().await.len(), 1);
}

#[tokio::test]
async fn an_article_deleted_before_its_job_runs_is_no_error() {
    let mut test = Knowledge::start().await;
    test.folder.write("kept.md", fixture::article("Kept", "This one stays."));
    test.import().await;
    test.enqueue(&EmbedArticle { article_id: Uuid::now_v7(), revision_id: Uuid::now_v7() }).await;
    test.app.run_jobs().await;
    test.assert_complete().await;
}

#[tokio::test]
async fn an_article_changed_before_its_job_runs_gets_vectors_of_what_readers_see_alone() {
    let mut test = Knowledge::start().await;
    test.folder.write("one.md", long_article("One", 3));
    test.import().await;
    let first = test.articles().await;
    test.folder.write("one.md", long_article("One, but changed", 2));
    test.import().await;
    assert_ne!(test.articles().await, first);
    assert_eq!(test.count("select count(*) from outbox").await, 2, "a job for each revision");
    test.app.run_jobs().await;
    test.assert_complete().await;
}

/// The real model, which waits at a gate before it answers.
struct Hesitant {
    model: Arc<dyn Embedder>,
    asked: Gate,
    gate: Gate,
}

impl Embedder for Hesitant {
    fn model(&self) -> &ModelId {
        self.model.model()
    }

    fn embed(&self, texts: Vec<String>) -> BoxFuture<'_, Result<Vec<Embedding>, EmbedError>> {
        async move {
            self.asked.open();
            self.gate.passed().await;
            self.model.embed(texts).await
        }
        .boxed()
    }
}

/// Runs the jobs, and `change` while the model works on the passages as they were.
async fn while_the_model_works(test: &Knowledge, change: impl AsyncFnOnce()) {
    let (asked, gate) = (Gate::closed(), Gate::closed());
    let embedder = Arc::new(Hesitant { model: tests::embedder(), asked: asked.clone(), gate: gate.clone() });
    let context = worker::Context {
        database: test.app.db.database.clone(),
        embedders: Embedders::only(embedder),
        llm: test.app.llm.clone(),
        clock: test.app.clock.clone(),
        history: HistoryConfig { days: 400 },
    };
    let worker = Running::start(test.app.worker_with(worker::registry(&context)));
    asked.passed().await;
    change().await;
    gate.open();
    test.app.until_no_job_is_open().await;
    worker.stop().await;
}

#[tokio::test]
async fn an_article_changed_while_the_model_works_gets_vectors_of_what_readers_see_alone() {
    let mut test = Knowledge::start().await;
    test.folder.write("one.md", long_article("One", 3));
    test.import().await;
    while_the_model_works(&test, async || {
        test.folder.write("one.md", long_article("One, but changed", 2));
        test.import().await;
    })
    .await;
    test.assert_complete().await;
}

#[tokio::test]
async fn an_article_archived_while_the_model_works_leaves_no_vectors() {
    let mut test = Knowledge::start().await;
    test.folder.write("one.md", long_article("One", 2));
    test.import().await;
    while_the_model_works(&test, async || {
        test.folder.delete("one.md");
        test.import().await;
    })
    .await;
    assert_eq!((test.passages().await, test.vectors().await.len()), (0, 0));
    assert_eq!(test.count("select count(*) from outbox").await, 0);
}

#[tokio::test]
async fn reconciliation_finds_missing_vectors_and_stale_passages_and_repairs_them() {
    let mut test = Knowledge::start().await;
    for name in ["all vectors", "one vector", "no passages", "old passages", "archived", "untouched"] {
        test.folder.write(&format!("{name}.md"), long_article(name, 2));
    }
    test.import().await;
    test.folder.write("old passages.md", long_article("old passages, new text", 2));
    test.import().await;
    test.app.run_jobs().await;
    test.assert_complete().await;
    let article = "(select id from articles where source_path = ";
    for damage in [
        format!(
            "delete from passage_embeddings where passage_id in
             (select id from passages where article_id = {article}'all vectors.md'))"
        ),
        format!(
            "delete from passage_embeddings where passage_id in
             (select id from passages where article_id = {article}'one vector.md') and ordinal = 1)"
        ),
        format!("delete from passages where article_id = {article}'no passages.md')"),
        format!("delete from search_documents where article_id = {article}'no passages.md')"),
        "update articles a set published_revision_id = r.id from revisions r
         where a.source_path = 'old passages.md' and r.article_id = a.id and r.number = 1"
            .to_owned(),
        "update articles set status = 'ARCHIVED' where source_path = 'archived.md'".to_owned(),
    ] {
        let done = sqlx::query(sqlx::AssertSqlSafe(damage)).execute(&mut test.owner).await.unwrap();
        assert!(done.rows_affected() > 0);
    }
    let untouched = "select count(*) from passage_embeddings e join passages p on p.id = e.passage_id
         join articles a on a.id = p.article_id where a.source_path = 'untouched.md'";
    let kept = test.vectors().await;
    let untouched = test.count(untouched).await;

    test.enqueue(&ReconcileEmbeddings {}).await;
    test.app.run_jobs().await;
    test.assert_complete().await;
    assert_eq!(test.articles().await.len(), 5);
    let after = test.vectors().await;
    let unchanged = after.iter().filter(|vector| kept.contains(vector)).count();
    assert!(i64::try_from(unchanged).unwrap() >= untouched, "what was right is left alone");
    assert_eq!(test.reconcile().await, Reconciled::default());
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_of_reconciliation_is_replaced_and_the_rest_is_repaired() {
    let mut test = Knowledge::with_lease(Duration::from_secs(2)).await;
    for n in 0..6 {
        test.folder.write(&format!("{n}.md"), long_article(&format!("Article {n}"), 1));
    }
    test.import().await;
    test.app.run_jobs().await;
    test.execute("delete from passages").await;
    assert_eq!(test.execute("delete from search_documents").await, 6);
    // Each repair takes long enough to be killed between two of them.
    let slow = "create function slow() returns trigger language plpgsql as
                    $$ begin perform pg_sleep(0.3); return null; end $$;
                create trigger slow after insert on search_documents for each statement execute function slow()";
    sqlx::raw_sql(slow).execute(&mut test.owner).await.unwrap();
    test.enqueue(&ReconcileEmbeddings {}).await;

    let repaired = "select count(*) from search_documents";
    let worker = Program::start(&test.app, "helpcenter-worker");
    eventually("the first article is repaired", async || (test.count(repaired).await > 0).then_some(())).await;
    worker.kill();
    let before = test.count(repaired).await;
    assert!(before < 6, "killed in the middle");
    assert_eq!(test.count("select count(*) from outbox where job = 'reconcile_embeddings'").await, 1);

    let worker = Program::start(&test.app, "helpcenter-worker").ready().await;
    test.app.until_no_job_is_open().await;
    assert!(worker.terminate().await.success());
    assert_eq!(test.count(repaired).await, 6);
    test.assert_complete().await;
}

#[tokio::test]
async fn reconciliation_leaves_the_dead_letters_of_today_to_a_human() {
    let mut test = Knowledge::start().await;
    test.folder.write("one.md", long_article("One", 2));
    test.import().await;
    test.execute("update outbox set dead_at = now(), last_error = 'of today'").await;
    assert_eq!(test.reconcile().await, Reconciled::default());
    test.execute("update outbox set dead_at = now() - interval '25 hours'").await;
    assert_eq!(test.reconcile().await, Reconciled { enqueued: 1, ..Reconciled::default() });
    test.execute("delete from outbox where dead_at is not null").await;
    test.app.run_jobs().await;
    test.assert_complete().await;
}

#[tokio::test]
async fn reconciliation_makes_no_second_job_for_what_is_being_embedded() {
    let mut test = Knowledge::start().await;
    for n in 0..5 {
        test.folder.write(&format!("{n}.md"), fixture::article(&format!("Article {n}"), "Text."));
    }
    test.import().await;
    assert_eq!(test.reconcile().await, Reconciled::default());
    assert_eq!(test.count("select count(*) from outbox").await, 5);

    test.execute("delete from outbox").await;
    let (first, second) = tokio::join!(test.reconcile(), test.reconcile());
    assert!(first.enqueued.max(second.enqueued) == 5, "{first:?} {second:?}");
    assert_eq!(test.count("select count(*) from outbox").await, 5);
    for _ in 0..3 {
        test.enqueue(&ReconcileEmbeddings {}).await;
    }
    assert_eq!(test.count("select count(*) from outbox where job = 'reconcile_embeddings'").await, 1);
    test.app.run_jobs().await;
    test.assert_complete().await;
}

#[tokio::test]
async fn reconciliation_is_each_tenants_own() {
    let mut test = Knowledge::start().await;
    let other = test.app.db.tenant("other").await.id;
    test.folder.write("one.md", fixture::article("One", "Text."));
    test.import().await;
    fixture::import(&test.app.db, other, &test.folder).await;
    test.app.run_jobs().await;
    test.execute("delete from passage_embeddings").await;
    assert_eq!(test.reconcile().await, Reconciled { enqueued: 1, ..Reconciled::default() });
    let ours = "select count(*) from outbox o join tenants t on t.id = o.tenant_id where t.slug = 'acme'";
    assert_eq!((test.count(ours).await, test.count("select count(*) from outbox").await), (1, 1));
    test.app.run_jobs().await;
}
