//! `index-status`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::bail;
use shared::{
    db::Database,
    knowledge::{self, IndexStatus},
};

use crate::{TenantArgument, output, sync};

const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(clap::Args)]
pub(crate) struct StatusArguments {
    #[command(flatten)]
    tenant: TenantArgument,
    /// Wait until every published article is embedded.
    #[arg(long)]
    wait: bool,
    /// With --wait: give up when nothing moved for so long.
    #[arg(long, default_value_t = 120, value_name = "SECONDS")]
    patience_seconds: u64,
}

pub(crate) async fn status(database: &Database, arguments: StatusArguments, json: bool) -> anyhow::Result<ExitCode> {
    let tenant = arguments.tenant.find(database).await?;
    let bar = sync::bar();
    let mut last = (-1, Instant::now());
    let status = loop {
        let mut tx = database.tenant(tenant.id).await?;
        let status = knowledge::index_status(&mut tx).await?;
        drop(tx);
        if status.is_complete() || !arguments.wait {
            break status;
        }
        bar.set_length(status.passages.cast_unsigned());
        bar.set_position(status.embedded_passages.cast_unsigned());
        bar.set_message("passages embedded");
        if status.embedded_passages != last.0 {
            last = (status.embedded_passages, Instant::now());
        } else if last.1.elapsed() > Duration::from_secs(arguments.patience_seconds) {
            bar.finish_and_clear();
            output::done(json, &text(&status), &status);
            bail!(
                "nothing was embedded for {} seconds: is a worker running? Its log says what keeps it",
                arguments.patience_seconds
            );
        }
        tokio::time::sleep(LOOK_EVERY).await;
    };
    bar.finish_and_clear();
    output::done(json, &text(&status), &status);
    Ok(ExitCode::SUCCESS)
}

fn text(status: &IndexStatus) -> String {
    format!(
        "{} of {} published articles are embedded ({} of {} passages); {} jobs open, {} dead letters",
        status.embedded_articles,
        status.articles,
        status.embedded_passages,
        status.passages,
        status.open_jobs,
        status.dead_jobs
    )
}
