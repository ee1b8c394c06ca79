//! `sync-documentation`.

use std::{
    fmt::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use shared::{
    db::Database,
    knowledge::import::{
        self, FileOutcome, SyncOptions, SyncReport,
        archive::{self, Unpacked},
    },
};

use crate::{TenantArgument, canonical, output};

/// How many lines of each list are printed without `--json`.
const LISTED: usize = 20;

#[derive(clap::Args)]
pub(crate) struct SyncArguments {
    /// The folder to import, or a zip archive of one.
    path: PathBuf,
    #[command(flatten)]
    tenant: TenantArgument,
    /// Only show what would happen.
    #[arg(long)]
    dry_run: bool,
    /// Archive articles whose file is gone.
    #[arg(long)]
    archive_removed: bool,
    /// Keeps this folder's articles apart from those of other imports [default: the name of the folder or archive].
    #[arg(long)]
    source: Option<String>,
    /// The category of files that lie in no folder and name none.
    #[arg(long, default_value = "General")]
    category: String,
}

pub(crate) async fn run(database: &Database, arguments: SyncArguments, json: bool) -> anyhow::Result<ExitCode> {
    let path = canonical(&arguments.path)?;
    let tenant = arguments.tenant.find(database).await?;
    let source = match arguments.source {
        Some(source) => source,
        None => if path.is_file() { path.file_stem() } else { path.file_name() }
            .and_then(|name| name.to_str())
            .map(str::to_owned)
            .context("the folder has no name to know its articles by; give one with --source")?,
    };
    let unpacked = if path.is_file() { Some(unpack(&path)?) } else { None };
    let options = SyncOptions {
        root: unpacked.as_ref().map_or(path, |unpacked| unpacked.root().to_owned()),
        source,
        default_category: arguments.category,
        dry_run: arguments.dry_run,
        archive_removed: arguments.archive_removed,
    };
    let bar = bar();
    let progress = |total: usize, path: &str, _: &FileOutcome| {
        bar.set_length(total as u64);
        bar.set_message(path.to_owned());
        bar.inc(1);
    };
    let report = import::sync(database, tenant.id, &options, &progress).await;
    bar.finish_and_clear();
    let mut report = report?;
    report.failed.extend(unpacked.into_iter().flat_map(|unpacked| unpacked.problems));
    output::done(json, &summary(&report), &report);
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn unpack(path: &Path) -> anyhow::Result<Unpacked> {
    let file = std::fs::File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(archive::unpack(std::io::BufReader::new(file))?)
}

/// A bar on a terminal, nothing elsewhere.
pub(crate) fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr());
    let style = "{bar:30} {pos}/{len} ({per_sec}, {eta} left) {wide_msg}";
    bar.with_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn summary(report: &SyncReport) -> String {
    let mut text = String::new();
    let verb = if report.dry_run { "would be " } else { "" };
    let _ = writeln!(text, "{} files found", report.found);
    let counts = [("created", report.created), ("changed", report.changed), ("archived", report.archived)];
    for (what, count) in counts {
        let _ = writeln!(text, "{count:>6} {verb}{what}");
    }
    let _ = writeln!(text, "{:>6} unchanged", report.unchanged);
    let _ = writeln!(text, "{:>6} failed", report.failed.len());
    for (reason, count) in &report.skipped {
        let _ = writeln!(text, "{count:>6} skipped: {reason}");
    }
    if report.removed_kept > 0 {
        let _ = writeln!(
            text,
            "{:>6} kept although their file is gone (--archive-removed archives them)",
            report.removed_kept
        );
    }
    let _ = writeln!(text, "{:>6} categories {verb}created", report.categories_created);
    if report.categories_changed > 0 {
        let _ = writeln!(text, "{:>6} categories {verb}changed", report.categories_changed);
    }
    if report.images_created > 0 {
        let _ = writeln!(text, "{:>6} images created", report.images_created);
    }
    if report.dry_run {
        list(&mut text, "changes", report.changes.iter().map(|(path, outcome)| (path, described(outcome))));
    }
    list(&mut text, "failed", report.failed.iter().map(|(path, reason)| (path, reason.clone())));
    list(&mut text, "broken links", report.broken_links.iter().map(|(path, to)| (path, to.clone())));
    list(&mut text, "broken images", report.broken_images.iter().map(|(path, to)| (path, to.clone())));
    list(&mut text, "warnings", report.warnings.iter().map(|(path, warning)| (path, warning.clone())));
    text.trim_end().to_owned()
}

fn described(outcome: &FileOutcome) -> String {
    match outcome {
        FileOutcome::Created => "new".to_owned(),
        FileOutcome::Changed { fields } => fields.join(", "),
        FileOutcome::Unchanged => "unchanged".to_owned(),
        FileOutcome::Failed { reason } => reason.clone(),
    }
}

fn list<'a>(text: &mut String, name: &str, rows: impl ExactSizeIterator<Item = (&'a String, String)>) {
    let count = rows.len();
    if count == 0 {
        return;
    }
    let _ = writeln!(text, "\n{name} ({count}):");
    for (path, detail) in rows.take(LISTED) {
        let _ = writeln!(text, "  {path}: {detail}");
    }
    if count > LISTED {
        let _ = writeln!(text, "  … and {} more; --json lists all", count - LISTED);
    }
}
