//! `export-documentation`.

use std::{
    ffi::OsStr,
    fs::File,
    io::{BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context as _;
use shared::{
    db::Database,
    knowledge::export::{self, FolderSink, ZipSink},
};

use crate::{TenantArgument, output, sync};

#[derive(clap::Args)]
pub(crate) struct ExportArguments {
    /// Where to: a new or empty folder, or a file whose name ends in `.zip`.
    path: PathBuf,
    #[command(flatten)]
    tenant: TenantArgument,
}

pub(crate) async fn run(database: &Database, arguments: ExportArguments, json: bool) -> anyhow::Result<ExitCode> {
    let tenant = arguments.tenant.find(database).await?;
    let path = arguments.path;
    let bar = sync::bar();
    let progress = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let problem = || format!("cannot write {}", path.display());
    let is_archive = path.extension().and_then(OsStr::to_str).is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
    let exported = if is_archive {
        // An export that is there already is not lost to a typing error.
        let mut sink = ZipSink::new(BufWriter::new(File::create_new(&path).with_context(problem)?));
        let exported = export::export(database, tenant.id, &mut sink, &progress).await;
        let written = sink.finish().and_then(|mut file| file.flush());
        if exported.is_err() || written.is_err() {
            // Half of an archive would be taken for a whole one.
            let _ = std::fs::remove_file(&path);
        }
        written.with_context(problem)?;
        exported?
    } else {
        let mut sink = FolderSink::create(&path).with_context(problem)?;
        export::export(database, tenant.id, &mut sink, &progress).await?
    };
    bar.finish_and_clear();
    let text = format!(
        "{} articles, {} drafts beside them, {} categories and {} images were written to {}.",
        exported.articles,
        exported.drafts,
        exported.categories,
        exported.images,
        path.display()
    );
    output::done(json, &text, &exported);
    Ok(ExitCode::SUCCESS)
}
