//! Goes through what a person asked in a conversation, for what is to be remembered of them.

use shared::{
    assistant::{RememberConversation, memory},
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, job: RememberConversation, about: Run) -> Result<(), JobError> {
    let memories = memory::remember(&context.database, about.tenant, &job).await?;
    if memories > 0 {
        tracing::info!(tenant = %about.tenant, conversation = %job.conversation_id, memories, "conversation.remembered");
    }
    Ok(())
}
