//! `index-status` and `rebuild-indexes`.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use serde_json::json;
use shared::{
    db::Database,
    knowledge::{self, IndexStatus, ReindexPart, reindex, taxonomy},
    queue::admin::{self, State},
    tenancy::{self, Tenant},
};
use uuid::Uuid;

use crate::{TenantArgument, access::ACTOR, output, sync};

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
    let mut lines = vec![format!(
        "{} of {} published articles are embedded ({} of {} passages); {} jobs open, {} dead letters",
        status.embedded_articles,
        status.articles,
        status.embedded_passages,
        status.passages,
        status.open_jobs,
        status.dead_jobs
    )];
    lines.extend(status.model.iter().map(|model| format!("searches use {model}")));
    lines.extend(status.other_models.iter().map(|other| {
        format!("{} of {} passages are embedded by {}", other.embedded_passages, status.passages, other.model)
    }));
    lines.join("\n")
}

#[derive(clap::Args)]
pub(crate) struct RebuildArguments {
    /// Only this tenant, by its slug; all tenants without it.
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
    /// Only this category of the tenant and those below it, by its slug.
    #[arg(long, value_name = "SLUG", requires = "tenant")]
    category: Option<String>,
    /// Only the vectors.
    #[arg(long, conflicts_with = "full_text_only")]
    embeddings_only: bool,
    /// Only the words.
    #[arg(long)]
    full_text_only: bool,
    /// Wait until it is done, and show how far it is.
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn rebuild(database: &Database, arguments: RebuildArguments, json: bool) -> anyhow::Result<ExitCode> {
    let part = match (arguments.embeddings_only, arguments.full_text_only) {
        (true, _) => ReindexPart::Embeddings,
        (_, true) => ReindexPart::FullText,
        _ => ReindexPart::All,
    };
    let tenants = match arguments.tenant {
        Some(slug) => vec![TenantArgument { tenant: slug }.find(database).await?],
        None => tenancy::all(database).await.context("the database cannot be reached")?,
    };
    let mut jobs = Vec::new();
    for tenant in &tenants {
        let mut tx = database.tenant(tenant.id).await?;
        let category = match &arguments.category {
            None => None,
            Some(slug) => {
                let all = taxonomy::all_categories(&mut tx).await?;
                let found = all.into_iter().find(|category| category.slug == *slug);
                Some(found.with_context(|| format!("`{}` has no category `{slug}`", tenant.slug))?.id)
            }
        };
        let id = reindex::request(&mut tx, ACTOR, category, part).await?.uuid();
        tx.commit().await?;
        jobs.push((tenant, id));
    }
    let mut code = ExitCode::SUCCESS;
    if arguments.wait {
        for (tenant, id) in &jobs {
            if follow(database, tenant, *id).await? != State::Done {
                code = ExitCode::FAILURE;
            }
        }
    }
    let text: Vec<String> = jobs.iter().map(|(tenant, id)| format!("{}: job {id}", tenant.slug)).collect();
    let listed: Vec<_> =
        jobs.iter().map(|(tenant, id)| json!({ "tenant": tenant.slug.as_str(), "job_id": id })).collect();
    output::done(json, &text.join("\n"), &json!({ "jobs": listed }));
    Ok(code)
}

/// Shows how far a job is until it has ended; how it ended.
async fn follow(database: &Database, tenant: &Tenant, id: Uuid) -> anyhow::Result<State> {
    let bar = sync::bar();
    bar.set_message(format!("articles of {}", tenant.slug));
    loop {
        let mut tx = database.tenant(tenant.id).await?;
        let job = admin::find(&mut tx, id).await?.context("the job is gone")?;
        drop(tx);
        if let Some(progress) = &job.progress {
            bar.set_length(progress.total.cast_unsigned());
            bar.set_position(progress.done.cast_unsigned());
        }
        if matches!(job.state, State::Done | State::Dead | State::Cancelled | State::Discarded) {
            bar.finish_and_clear();
            return Ok(job.state);
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
