//! How far search by meaning is behind what readers see.

use std::{sync::LazyLock, time::Duration};

use prometheus::{Gauge, IntGauge};
use tokio_util::sync::CancellationToken;

use super::jobs::{EmbedArticle, ReembedArticle};
use crate::{
    db::Database,
    queue,
    telemetry::metrics::{float_gauge, gauge},
};

const LOOK_EVERY: Duration = Duration::from_secs(15);

static LAG: LazyLock<Gauge> = LazyLock::new(|| {
    float_gauge(
        "helpcenter_index_lag_seconds",
        "Age of the oldest published change that search by meaning does not know yet, of all tenants; 0 when it knows all. \
         Search by words knows every change at once. Every worker tells the same.",
    )
});
static WAITING: LazyLock<IntGauge> = LazyLock::new(|| {
    gauge(
        "helpcenter_index_waiting_articles",
        "Published changes of articles that search by meaning does not know yet, of all tenants. Every worker tells the same.",
    )
});
static REEMBEDDING: LazyLock<IntGauge> = LazyLock::new(|| {
    gauge(
        "helpcenter_index_reembedding_articles",
        "Articles that a new embedding model does not know yet, of all tenants, while the one before serves; 0 when none is to \
         take over. Every worker tells the same.",
    )
});

/// Keeps the metrics, until `stop`. While the database does not answer they stay what they were: the alert for that is another.
pub async fn watch(database: Database, stop: CancellationToken) {
    loop {
        match queue::oldest::<EmbedArticle>(&database).await {
            Ok((articles, oldest)) => {
                LAG.set(oldest.as_secs_f64());
                WAITING.set(articles);
            }
            Err(error) => tracing::debug!(%error, "index.lag_unknown"),
        }
        match queue::oldest::<ReembedArticle>(&database).await {
            Ok((articles, _)) => REEMBEDDING.set(articles),
            Err(error) => tracing::debug!(%error, "index.lag_unknown"),
        }
        if stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_none() {
            return;
        }
    }
}
