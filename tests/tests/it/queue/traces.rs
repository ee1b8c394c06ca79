//! Jobs go on with the trace in which they were enqueued.

use shared::{
    config::TracesConfig,
    queue::{self, JobError, JobId},
    telemetry::traces::{self, Traces},
};
use tracing::{Instrument as _, Span, field::Empty, info_span, subscriber::DefaultGuard};
use tracing_subscriber::layer::SubscriberExt as _;
use uuid::Uuid;

use super::support::{History, QueueTest, Single, Step};
use crate::traces::{CALLER, Collector, TRACE, named, trace_parent};

/// Exports the spans of this test's thread, on which everything but the API runs.
fn export_to(collector: &Collector, ratio: f64) -> (Traces, DefaultGuard) {
    let config = TracesConfig { endpoint: Some(format!("{}/v1/traces", collector.endpoint()).parse().unwrap()), ratio };
    let (layer, traces) = traces::layer("test", &config).unwrap();
    (traces, tracing::subscriber::set_default(tracing_subscriber::registry().with(layer)))
}

/// A span as that of a request whose caller said this.
fn request(trace_parent: Option<&str>) -> Span {
    let span = info_span!("request", trace_id = Empty);
    traces::follow(&span, trace_parent);
    span
}

async fn kept(test: &mut QueueTest, id: JobId) -> Option<String> {
    let row = sqlx::query_scalar("select trace_parent from outbox where id = $1").bind(id.uuid());
    row.fetch_one(&mut test.owner).await.unwrap()
}

#[tokio::test]
async fn every_attempt_and_what_it_enqueues_go_on_with_the_trace_of_the_request() {
    let mut test = QueueTest::start().await;
    let collector = Collector::start().await;
    let (exporting, subscribed) = export_to(&collector, 1.0);
    let first = test.enqueue(&Step::new("first")).instrument(request(Some(&trace_parent(true)))).await;
    assert!(kept(&mut test, first).await.unwrap().starts_with(&format!("00-{TRACE}-")));

    let history = History::default();
    let (database, tenant) = (test.app.db.database.clone(), test.tenant);
    let registry = history.registry(move |key, run| {
        let database = database.clone();
        async move {
            if key == "first" && run.attempt < 3 {
                return Err(JobError::retry(std::io::Error::other("canary")));
            }
            if key == "first" {
                let mut tx = database.tenant(tenant).await?;
                queue::enqueue_all(&mut tx, &[Single::new("second"), Single::new("third")]).await?;
                tx.commit().await?;
            }
            Ok(())
        }
    });
    test.finish(registry).await;
    exporting.finish().await;
    drop(subscribed);

    let spans = collector.spans().await;
    assert!(spans.iter().all(|span| span.trace == TRACE), "{spans:#?}");
    let request = named(&spans, "request")[0];
    assert_eq!(request.parent, CALLER);
    let enqueued = named(&spans, "enqueue step")[0];
    assert_eq!(enqueued.parent, request.id);
    let attempts = named(&spans, "job step");
    assert!(attempts.iter().all(|attempt| attempt.parent == enqueued.id), "{spans:#?}");
    let ends: Vec<_> =
        attempts.iter().map(|a| (a.number("helpcenter.attempt"), a.text("helpcenter.outcome"), a.is_error)).collect();
    assert_eq!(ends, [(1, "retry", true), (2, "retry", true), (3, "done", false)]);
    let [batch] = named(&spans, "enqueue single")[..] else { panic!("{spans:#?}") };
    assert_eq!((&batch.parent, batch.number("messaging.batch.message_count")), (&attempts[2].id, 2));
    let followers = named(&spans, "job single");
    assert_eq!(followers.len(), 2);
    assert!(followers.iter().all(|attempt| attempt.parent == batch.id), "{spans:#?}");
    assert!(!format!("{spans:?}").contains("canary"), "what an error said is for the log");
}

#[tokio::test]
async fn a_trace_that_is_not_recorded_is_not_recorded_further_on_either() {
    let mut test = QueueTest::start().await;
    let collector = Collector::start().await;
    let (exporting, subscribed) = export_to(&collector, 1.0);
    let elsewhere = test.enqueue(&Step::new("elsewhere")).instrument(request(Some(&trace_parent(false)))).await;
    let parent = kept(&mut test, elsewhere).await.unwrap();
    assert!(parent.starts_with(&format!("00-{TRACE}-")) && parent.ends_with("-00"), "{parent}");
    test.finish(History::default().succeeding()).await;
    exporting.finish().await;
    drop(subscribed);

    let (exporting, subscribed) = export_to(&collector, 0.0);
    let here = test.enqueue(&Step::new("here")).instrument(request(None)).await;
    assert!(kept(&mut test, here).await.unwrap().ends_with("-00"));
    test.finish(History::default().succeeding()).await;
    exporting.finish().await;
    drop(subscribed);
    assert!(collector.spans().await.is_empty());
}

#[tokio::test]
async fn without_a_collector_no_trace_is_kept_and_a_kept_one_that_cannot_be_read_does_no_harm() {
    let mut test = QueueTest::start().await;
    let id = test.enqueue(&Step::new("job")).instrument(request(Some(&trace_parent(true)))).await;
    assert_eq!(kept(&mut test, id).await, None);

    let odd: Uuid = test.enqueue_raw("maintenance", "step", serde_json::json!({ "key": "odd" })).await;
    let sql = "update outbox set trace_parent = '00-nonsense' where id = $1";
    sqlx::query(sql).bind(odd).execute(&mut test.owner).await.unwrap();
    let collector = Collector::start().await;
    let (exporting, subscribed) = export_to(&collector, 1.0);
    let history = History::default();
    test.finish(history.succeeding()).await;
    exporting.finish().await;
    drop(subscribed);
    assert_eq!(history.finished(), super::support::once_each(["job", "odd"]));
    assert!(named(&collector.spans().await, "job step").iter().all(|attempt| attempt.parent.is_empty()));
}
