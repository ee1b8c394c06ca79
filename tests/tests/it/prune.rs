//! What was read, searched for and asked is forgotten after a time, and nothing else is.
#![expect(clippy::unwrap_used, reason = "helpers fail the test that uses them")]

use std::time::Duration;

use shared::{queue, search::PruneHistory, tenancy::TenantId};
use sqlx::AssertSqlSafe;
use tests::{
    Settings, TestApp,
    fixture::{self, Folder},
    processes::Program,
};

use crate::queue::support::eventually;

struct World {
    app: TestApp,
    acme: TenantId,
}

impl World {
    /// An article that `readers` people read 399, 401 and 500 days ago, and as many searches of each.
    async fn new(readers: i32) -> Self {
        let app = TestApp::start_with(Settings { lease: Duration::from_secs(2), ..Settings::default() }).await;
        let acme = app.db.tenant("acme").await.id;
        fixture::import(&app.db, acme, &Folder::of(&[("page.md", &fixture::article("Page", "Text."))])).await;
        app.run_jobs().await;
        let world = Self { app, acme };
        for days in [399, 401, 500] {
            world
                .execute(&format!(
                    "insert into article_views (tenant_id, article_id, reader, viewed_on, viewed_at, is_counted)
                     select tenant_id, id, 'person:' || n, current_date - {days}, now() - interval '{days} days', true
                     from articles, generate_series(1, {readers}) as n;
                     insert into searches (tenant_id, searcher, query, normalised, result_count, article_ids, took_ms, is_degraded,
                                           settled_at)
                     select tenant_id, 'person:' || n, 'page', 'page', 1, '{{}}', 1, false, now() - interval '{days} days'
                     from articles, generate_series(1, {readers}) as n"
                ))
                .await;
        }
        world
    }

    async fn execute(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut self.app.db.owner().await).await.unwrap();
    }

    async fn number(&self, sql: &str) -> i64 {
        sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut self.app.db.owner().await).await.unwrap()
    }

    async fn enqueue(&self) {
        let mut tx = self.app.db.database.tenant(self.acme).await.unwrap();
        queue::enqueue(&mut tx, &PruneHistory {}).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// How many views, searches and clicks there are.
    async fn kept(&self) -> (i64, i64, i64) {
        (
            self.number("select count(*) from article_views").await,
            self.number("select count(*) from searches").await,
            self.number("select count(*) from search_clicks").await,
        )
    }
}

#[tokio::test]
async fn what_is_too_old_is_forgotten_once_and_counts_stay() {
    let world = World::new(2).await;
    world.execute("update articles set view_count = 6").await;
    world
        .execute(
            "insert into search_clicks (tenant_id, search_id, article_id, position)
             select s.tenant_id, s.id, a.id, 1 from searches s, articles a;
             update searches s set refines = o.id from searches o where s.settled_at > o.settled_at and s.searcher = o.searcher;
             update article_views set is_counted = false where reader = 'person:2' and viewed_on < current_date - 450",
        )
        .await;
    assert_eq!(world.kept().await, (6, 6, 6));
    for _ in 0..2 {
        world.enqueue().await;
        world.app.run_jobs().await;
        // Of views one is not counted yet.
        assert_eq!(world.kept().await, (3, 2, 2));
    }
    assert_eq!(world.number("select view_count from articles").await, 6);
    assert_eq!(world.number("select count(*) from searches where refines is not null").await, 0);
    let result: serde_json::Value =
        sqlx::query_scalar("select result from finished_jobs where job = 'prune_history' order by id limit 1")
            .fetch_one(&mut world.app.db.owner().await)
            .await
            .unwrap();
    assert_eq!(result, serde_json::json!({ "views": 3, "searches": 4, "conversations": 0, "cached_answers": 0 }));
}

#[tokio::test]
async fn conversations_are_forgotten_after_their_last_question_and_answers_are_given_again_for_a_week() {
    let world = World::new(0).await;
    world
        .execute(
            "insert into conversations (tenant_id, asker, session_id, started_at, last_asked_at)
             select t.id, 'person:ada', n::text, now() - interval '900 days', now() - make_interval(days => n)
             from tenants t, unnest(array[1, 6, 8, 399, 401, 500]) n;
             insert into answers (tenant_id, conversation_id, question, roles, asked_at)
             select tenant_id, id, 'Where?', '{}', last_asked_at from conversations;
             insert into answer_cache (tenant_id, key, answer_id, kept_at)
             select tenant_id, sha256(id::text::bytea), id, asked_at from answers;
             insert into handovers (tenant_id, conversation_id, reason) select tenant_id, id, 'policy' from conversations",
        )
        .await;
    for _ in 0..2 {
        world.enqueue().await;
        world.app.run_jobs().await;
        for (table, kept) in [("conversations", 4), ("answers", 4), ("handovers", 4), ("answer_cache", 2)] {
            assert_eq!(world.number(&format!("select count(*) from {table}")).await, kept, "{table}");
        }
    }
    let results: Vec<serde_json::Value> =
        sqlx::query_scalar("select result from finished_jobs where job = 'prune_history' order by id")
            .fetch_all(&mut world.app.db.owner().await)
            .await
            .unwrap();
    assert_eq!(results[0]["conversations"], 2);
    assert_eq!((&results[1]["conversations"], &results[1]["cached_answers"]), (&0.into(), &0.into()));
}

#[tokio::test]
async fn a_worker_killed_while_it_forgets_conversations_is_followed_by_one_that_forgets_the_rest() {
    let world = World::new(0).await;
    world
        .execute(
            "insert into conversations (tenant_id, asker, session_id, last_asked_at)
             select t.id, 'person:ada', n::text, now() - make_interval(days => case when n <= 1200 then 500 else 1 end)
             from tenants t, generate_series(1, 1210) n;
             create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return null; end $$;
             create trigger slow after delete on conversations for each statement execute function slow()",
        )
        .await;
    let left = async || world.number("select count(*) from conversations").await;
    world.enqueue().await;
    let worker = Program::start(&world.app, "helpcenter-worker");
    eventually("some are forgotten", async || (left().await < 1_210).then_some(())).await;
    worker.kill();
    assert!(left().await > 10, "killed in the middle");
    world.execute("drop trigger slow on conversations").await;
    world.app.run_jobs().await;
    assert_eq!(left().await, 10);
}

#[tokio::test]
async fn a_worker_killed_in_the_middle_is_followed_by_one_that_forgets_the_rest() {
    let world = World::new(6_000).await;
    world
        .execute(
            "create function slow() returns trigger language plpgsql as $$ begin perform pg_sleep(1); return null; end $$;
             create trigger slow after delete on article_views for each statement execute function slow()",
        )
        .await;
    world.enqueue().await;
    let worker = Program::start(&world.app, "helpcenter-worker");
    eventually("some are forgotten", async || (world.kept().await.0 < 18_000).then_some(())).await;
    worker.kill();
    let left = world.kept().await.0;
    assert!(left > 6_000, "killed in the middle: {left}");
    world.execute("drop trigger slow on article_views").await;
    world.app.run_jobs().await;
    assert_eq!(world.kept().await, (6_000, 6_000, 0));
}
