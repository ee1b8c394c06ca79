//! Counts what was read.

use shared::{
    knowledge::{CountViews, views},
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, _: CountViews, about: Run) -> Result<(), JobError> {
    let counted = views::count(&context.database, about.tenant).await?;
    tracing::debug!(tenant = %about.tenant, counted, "views.counted");
    Ok(())
}
