//! Forgets what was read, searched for and asked long ago.

use serde_json::json;
use shared::{
    assistant::retention,
    queue::{JobError, worker::Run},
    search::{PruneHistory, prune},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, _: PruneHistory, about: Run) -> Result<(), JobError> {
    let (tenant, days) = (about.tenant, context.history.days);
    let prune::Pruned { views, searches } = prune::prune(&context.database, tenant, days).await?;
    let retention::Pruned { conversations, cached_answers } = retention::prune(&context.database, tenant, days).await?;
    about.set_result(json!({
        "views": views, "searches": searches, "conversations": conversations, "cached_answers": cached_answers,
    }));
    tracing::info!(%tenant, views, searches, conversations, cached_answers, "history.pruned");
    Ok(())
}
