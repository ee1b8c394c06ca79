//! Changes many articles.

use shared::{
    knowledge::{BulkChange, bulk},
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, job: BulkChange, about: Run) -> Result<(), JobError> {
    let progress = |done, total| about.report_progress(done, total);
    let outcome = bulk::change_many(&context.database, about.tenant, &job, &context.clock, progress).await?;
    about.set_result(outcome.to_json());
    tracing::info!(
        tenant = %about.tenant,
        changed = outcome.changed,
        unchanged = outcome.unchanged,
        refused = outcome.refused.len(),
        "articles.changed"
    );
    Ok(())
}
