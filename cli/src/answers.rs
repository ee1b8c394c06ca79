//! `answers`: what the assistant was asked, and how it came to say what it said.

use std::{fmt::Write as _, process::ExitCode};

use anyhow::{Context as _, bail};
use clap::{Args, Subcommand};
use comfy_table::{Table, presets::UTF8_HORIZONTAL_ONLY};
use shared::{
    assistant::{
        Outcome,
        replay::{self, AnswerEntry, Replay},
    },
    db::Database,
    tenancy::{self, Tenant},
};
use uuid::Uuid;

use crate::{TenantArgument, output};

#[derive(Subcommand)]
pub(crate) enum AnswersCommand {
    /// List answers, the latest first.
    List(ListArguments),
    /// Show how an answer came to be: what was searched for, found, prompted and said.
    Show(ShowArguments),
}

#[derive(Args)]
pub(crate) struct ListArguments {
    #[command(flatten)]
    tenant: TenantArgument,
    /// Only answers that ended so: answered, refused or handed_over.
    #[arg(long, value_name = "OUTCOME", value_parser = outcome)]
    outcome: Option<Outcome>,
    /// At most so many.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(i64).range(1..=10_000))]
    limit: i64,
}

#[derive(Args)]
pub(crate) struct ShowArguments {
    /// The answer's id.
    id: Uuid,
    /// The tenant's slug. Default: looked for in every tenant.
    #[arg(long, value_name = "SLUG")]
    tenant: Option<String>,
}

fn outcome(name: &str) -> Result<Outcome, String> {
    let all = [Outcome::Answered, Outcome::Refused, Outcome::HandedOver];
    let found = all.into_iter().find(|outcome| outcome.as_str() == name);
    found.ok_or_else(|| format!("the outcomes are {}", all.map(Outcome::as_str).join(", ")))
}

pub(crate) async fn run(database: &Database, command: AnswersCommand, json: bool) -> anyhow::Result<ExitCode> {
    match command {
        AnswersCommand::List(arguments) => list(database, arguments, json).await,
        AnswersCommand::Show(arguments) => show(database, arguments, json).await,
    }
}

async fn list(database: &Database, arguments: ListArguments, json: bool) -> anyhow::Result<ExitCode> {
    let tenant = arguments.tenant.find(database).await?;
    let mut tx = database.tenant(tenant.id).await?;
    let answers = replay::answers(&mut tx, arguments.outcome.map(Outcome::as_str), arguments.limit).await?;
    output::done(json, &table(&answers), &answers);
    Ok(ExitCode::SUCCESS)
}

fn table(answers: &[AnswerEntry]) -> String {
    if answers.is_empty() {
        return "No such answers.".to_owned();
    }
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY).set_header(["id", "asked", "outcome", "reason", "by", "ms", "question"]);
    for answer in answers {
        table.add_row([
            answer.id.to_string(),
            answer.asked_at.format("%Y-%m-%d %H:%M:%S").to_string(),
            answer.outcome.clone().unwrap_or_else(|| answer.status.clone()),
            answer.reason.clone().unwrap_or_default(),
            answer.provider.clone().unwrap_or_default(),
            answer.total_ms.map_or_else(String::new, |ms| ms.to_string()),
            printable(&answer.question).chars().take(80).collect(),
        ]);
    }
    table.to_string()
}

/// An answer and whose it is.
#[derive(serde::Serialize)]
struct Owned {
    tenant: String,
    #[serde(flatten)]
    replay: Replay,
}

async fn show(database: &Database, arguments: ShowArguments, json: bool) -> anyhow::Result<ExitCode> {
    let tenants: Vec<Tenant> = match arguments.tenant {
        Some(slug) => vec![TenantArgument { tenant: slug }.find(database).await?],
        None => tenancy::all(database).await.context("the database cannot be reached")?,
    };
    for tenant in tenants {
        let mut tx = database.tenant(tenant.id).await?;
        if let Some(replay) = replay::replay(&mut tx, arguments.id).await? {
            let answer = Owned { tenant: tenant.slug, replay };
            output::done(json, &text(&answer), &answer);
            return Ok(ExitCode::SUCCESS);
        }
    }
    bail!("there is no answer {}; `helpcenter answers list --tenant SLUG` lists them", arguments.id)
}

/// The replay for a terminal.
fn text(Owned { tenant, replay }: &Owned) -> String {
    let mut text = String::new();
    let mut field = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let value = printable(&value).replace('\n', &format!("\n{:14}", ""));
            let _ = writeln!(text, "{name:<14}{value}");
        }
    };
    let timings = &replay.timings;
    field("answer", Some(format!("{} of {tenant}", replay.id)));
    field("asked by", Some(replay.asker.clone()));
    field("roles", Some(replay.roles.join(", ")));
    field("locale", replay.locale.clone());
    field("page", replay.page.clone());
    field("asked", Some(timings.asked_at.format("%Y-%m-%d %H:%M:%S UTC").to_string()));
    field("question", Some(replay.question.clone()));
    field("searched for", replay.searched_for.clone());
    field("relevance", replay.relevance.map(|relevance| format!("{relevance:.3}")));
    let outcome = replay.outcome.clone().unwrap_or_else(|| replay.status.clone());
    let reason = replay.reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
    field("outcome", Some(format!("{outcome}{reason}")));
    let model = replay.model.as_ref().map(|model| format!(" ({model})")).unwrap_or_default();
    let cached = if replay.is_cached { ", given again from the cache" } else { "" };
    field("written by", replay.provider.as_ref().map(|provider| format!("{provider}{model}{cached}")));
    field("not available", Some(replay.degraded.join(", ")));
    let tokens = replay.input_tokens.zip(replay.output_tokens);
    let usd = replay.usd.map(|usd| format!(", {usd:.6} USD")).unwrap_or_default();
    field("usage", tokens.map(|(input, output)| format!("{input} tokens in, {output} out{usd}")));
    let steps = [
        ("queue", timings.queue_ms.map(i64::from)),
        ("retrieval", timings.retrieval_ms.map(i64::from)),
        ("first words", timings.first_chunk_ms.map(i64::from)),
        ("writing", timings.writing_ms.map(i64::from)),
        ("in all", timings.total_ms),
    ];
    let steps: Vec<String> =
        steps.into_iter().filter_map(|(step, took)| Some(format!("{step} {} ms", took?))).collect();
    field("took", Some(steps.join(", ")));
    field("withheld", (replay.withheld_claims > 0).then(|| format!("{} sentences", replay.withheld_claims)));
    let facts: Vec<&str> = replay.facts.iter().map(|fact| fact.outcome.as_str()).collect();
    field("facts", Some(facts.join(", ")));
    field("found helpful", replay.is_helpful.map(|helpful| if helpful { "yes" } else { "no" }.to_owned()));
    field("comment", replay.comment.clone());
    for passage in &replay.passages {
        let cited = if passage.is_cited { "cited" } else { "not cited" };
        let similarity = passage.similarity.map(|s| format!(", similarity {s:.3}")).unwrap_or_default();
        let place = [passage.title.as_str()].into_iter().chain(passage.heading_path.iter().map(String::as_str));
        let place = place.collect::<Vec<_>>().join(" > ");
        let _ = write!(
            text,
            "\n[{}] {} ({cited}, score {:.3}{similarity})\n",
            passage.marker,
            printable(&place),
            passage.score
        );
        let _ = writeln!(text, "{}", indented(&passage.body));
    }
    if let Some(prompt) = &replay.prompt {
        let prompt = serde_json::to_string_pretty(prompt).unwrap_or_default();
        let _ = write!(text, "\nprompt\n{}\n", indented(&prompt));
    }
    if let Some(answer) = &replay.answer {
        let _ = write!(text, "\nsaid\n{}\n", indented(answer));
    }
    text.trim_end().to_owned()
}

fn indented(text: &str) -> String {
    printable(text).lines().map(|line| format!("    {line}").trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}

/// What somebody else wrote, without what would steer the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_wrote_does_not_steer_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\rc\u{9b}31md"), "a [2Jb c 31md");
        assert_eq!(indented("a\nb"), "    a\n    b");
    }
}
