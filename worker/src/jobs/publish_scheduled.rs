//! Publishes what an editor scheduled.

use shared::{
    knowledge::{
        PublishScheduled,
        writing::{self, PublishError},
    },
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, job: PublishScheduled, about: Run) -> Result<(), JobError> {
    let published = writing::publish_scheduled(&context.database, about.tenant, &job).await;
    let is_published = published.map_err(|error| match error {
        PublishError::Incomplete(_) => JobError::fail(error),
        PublishError::Database(error) => error.into(),
    })?;
    tracing::info!(tenant = %about.tenant, article = %job.article_id, is_published, "article.schedule_due");
    Ok(())
}
