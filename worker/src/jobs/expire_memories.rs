//! Forgets what people said or needed too long ago to be remembered.

use serde_json::json;
use shared::{
    assistant::{ExpireMemories, memory},
    queue::{JobError, worker::Run},
};

use crate::registry::Context;

pub(crate) async fn run(context: Context, _: ExpireMemories, about: Run) -> Result<(), JobError> {
    let memories = memory::expire(&context.database, about.tenant).await?;
    about.set_result(json!({ "memories": memories }));
    tracing::info!(tenant = %about.tenant, memories, "memories.expired");
    Ok(())
}
