//! Ends answers that nobody writes any more.

use shared::{
    assistant::{ReconcileAnswers, retention},
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, _: ReconcileAnswers, about: Run) -> Result<(), JobError> {
    let mut tx = context.database.tenant(about.tenant).await?;
    let answers = retention::reconcile(&mut tx).await?;
    tx.commit().await?;
    if answers > 0 {
        tracing::warn!(tenant = %about.tenant, answers, "answers.reconciled: they had no job any more and have failed");
    }
    Ok(())
}
