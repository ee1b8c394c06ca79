//! The checks must find what is damaged, and nothing in what is whole.

use rand::{SeedableRng as _, rngs::StdRng};
use sqlx::AssertSqlSafe;

use super::{
    super::{editor::Editor, history},
    *,
};
use crate::TestApp;

const ONE: &str = "ctid = (select ctid from";

/// What an editor does in half a minute, with all jobs done.
async fn written() -> (TestApp, TenantId, PgConnection) {
    let app = TestApp::start().await;
    let tenant = app.db.tenant(editor::TENANT).await.id;
    let mut owner = app.db.owner().await;
    history::install(&mut owner).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("editor.journal");
    let mut editor = Editor::new(app.db.database.clone(), &journal, StdRng::seed_from_u64(1)).await;
    for _ in 0..50 {
        editor.work().await.unwrap();
    }
    app.run_jobs_with(app.worker_with(registry(app.db.database.clone(), &app.queue_config))).await;
    (app, tenant, owner)
}

#[tokio::test]
async fn each_damage_is_found_and_none_where_there_is_none() {
    let (app, tenant, mut owner) = written().await;
    assert_eq!(problems(&mut owner, &app.db.database, tenant).await.unwrap(), [""; 0]);
    let some = |table: &str, which: &str| format!("{ONE} {table} where {which} limit 1)");
    let article = some("articles", "source is null and status = 'PUBLISHED'");
    sqlx::raw_sql("alter table search_documents disable trigger search_documents_not_updated")
        .execute(&mut owner)
        .await
        .unwrap();
    for (damage, problem) in [
        (
            "insert into audit_log (tenant_id, actor, action, subject)
             select tenant_id, actor, action, subject from audit_log where actor in (select actor from torture.wanted) limit 1"
                .to_owned(),
            "not changed once",
        ),
        (format!("update articles set version = version + 1 where {article}"), "another version"),
        (format!("update articles set status = 'DRAFT' where {article}"), "to be published"),
        (format!("update articles set view_count = view_count + 1 where {article}"), "count of views"),
        (
            "delete from article_tags at using tags t where t.id = at.tag_id and t.name like 'Tag %'".to_owned(),
            "not the tag",
        ),
        (format!("update imports set error = 'none' where {}", some("imports", "true")), "not ended well"),
        (format!("update articles set source_path = 'x' where {}", some("articles", "source is not null")), "files are"),
        (format!("delete from article_links where {}", some("article_links", "true")), "not connected"),
        (format!("delete from searches where {}", some("searches", "true")), "searches are kept"),
        (
            format!("delete from passage_embeddings where {}", some("passage_embeddings", "true")),
            "not one vector",
        ),
        (
            format!("update search_terms set article_count = 0 where {}", some("search_terms", "article_count > 0")),
            "words have another count",
        ),
        (
            format!(
                "update search_documents set title_length = 99 where {}",
                some("search_documents", "article_id in (select id from articles where source is not null)")
            ),
            "not indexed as they are",
        ),
    ] {
        let done = sqlx::query(AssertSqlSafe(damage.clone())).execute(&mut owner).await.unwrap();
        assert!(done.rows_affected() > 0, "{damage}");
        let found = problems(&mut owner, &app.db.database, tenant).await.unwrap();
        assert!(found.iter().any(|found| found.contains(problem)), "{damage}: {found:#?}");
    }
}

#[tokio::test]
async fn an_editor_who_did_nothing_is_noticed() {
    let app = TestApp::start().await;
    let tenant = app.db.tenant(editor::TENANT).await.id;
    let mut owner = app.db.owner().await;
    history::install(&mut owner).await.unwrap();
    let found = problems(&mut owner, &app.db.database, tenant).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].contains("was wanted"), "{found:?}");
}
