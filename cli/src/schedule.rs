//! `schedule`: the cron table, as the leading scheduler knows it.

use std::process::ExitCode;

use anyhow::Context as _;
use chrono::{DateTime, Utc};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use shared::{db::Database, scheduling};

use crate::output;

pub(crate) async fn show(database: &Database, json: bool) -> anyhow::Result<ExitCode> {
    let lines = scheduling::lines(database).await.context("the database cannot be reached")?;
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header([
        "line",
        "cron",
        "time zone",
        "last due",
        "made",
        "jobs",
        "next due",
    ]);
    let time = |time: Option<DateTime<Utc>>| time.map_or("-".to_owned(), |t| t.format("%Y-%m-%d %H:%M:%S").to_string());
    for line in &lines {
        table.add_row([
            line.name.clone(),
            line.cron.clone(),
            line.time_zone.clone(),
            time(line.last_due_at),
            time(line.last_made_at),
            line.last_jobs.map_or("-".to_owned(), |jobs| jobs.to_string()),
            time(line.next_at),
        ]);
    }
    let text = if lines.is_empty() { "No scheduler has led yet.".to_owned() } else { table.to_string() };
    output::done(json, &text, &lines);
    Ok(ExitCode::SUCCESS)
}
