//! Forgets what was read and searched for long ago.

use shared::{
    queue::{JobError, worker::Run},
    search::{PruneHistory, prune},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, _: PruneHistory, about: Run) -> Result<(), JobError> {
    let pruned = prune::prune(&context.database, about.tenant, context.history.days).await?;
    about.set_result(pruned.to_json());
    tracing::info!(tenant = %about.tenant, views = pruned.views, searches = pruned.searches, "history.pruned");
    Ok(())
}
