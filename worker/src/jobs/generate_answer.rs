//! Writes the answer to a question.

use shared::{
    assistant::{Attempt, GenerateAnswer},
    queue::{Job as _, JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, job: GenerateAnswer, about: Run) -> Result<(), JobError> {
    let is_last = about.attempt >= GenerateAnswer::MAX_ATTEMPTS;
    if let Attempt::Written(outcome) = context.assistant.write(about.tenant, job.answer_id, is_last).await? {
        tracing::info!(tenant = %about.tenant, answer = %job.answer_id, outcome = outcome.as_str(), "answer.written");
    }
    Ok(())
}
