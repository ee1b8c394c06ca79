//! Imports an archive that was uploaded.

use shared::{
    knowledge::{
        ImportDocumentation,
        import::upload::{self, RunError},
    },
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, job: ImportDocumentation, about: Run) -> Result<(), JobError> {
    let progress = |done, total| about.report_progress(done, total);
    match upload::run(&context.database, about.tenant, job.import_id, progress).await {
        Ok(Some(counts)) => {
            tracing::info!(tenant = %about.tenant, import = %job.import_id, "documentation.imported");
            about.set_result(counts);
            Ok(())
        }
        Ok(None) => Ok(()),
        Err(error @ RunError::Archive(_)) => Err(JobError::fail(error)),
        Err(error) => Err(JobError::retry(error)),
    }
}
