//! What people see of a run.

use std::{collections::BTreeMap, fmt::Write as _, time::Duration};

use super::{
    LEASE,
    check::{Invariant, Verdict},
};

/// How many parts a run has in the table of memory.
const PARTS: usize = 10;

/// What the servers keep of jobs at a moment, in bytes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept {
    pub(super) jobs_finished: u64,
    pub(super) redis: u64,
    /// PostgreSQL's tables of jobs, with their indexes.
    pub(super) tables: u64,
}

/// What is left when everything has healed.
#[derive(Debug, Default)]
pub(super) struct Rest {
    pub(super) healed_after: Duration,
    pub(super) open: i64,
    pub(super) dead_letters: i64,
    /// How many keys of each kind.
    pub(super) redis_keys: BTreeMap<String, u64>,
    pub(super) dead_tuples: i64,
    /// Of a worker, in bytes: after a minute, and the most of later.
    pub(super) memory: Option<(u64, u64)>,
    /// In the order of time.
    pub(super) kept: Vec<Kept>,
    pub(super) refused_leaders: usize,
}

impl Rest {
    /// Keys that speak of jobs.
    pub(super) fn has_job_keys(&self) -> bool {
        ["job", "lane", "delayed", "leased"].iter().any(|kind| self.redis_keys.contains_key(*kind))
    }
}

/// A whole run.
#[derive(Debug)]
pub(super) struct Run {
    pub(super) seed: u64,
    pub(super) tortured: Duration,
    pub(super) faults: u64,
    pub(super) by_fault: BTreeMap<String, u64>,
    /// Of processes: by SIGKILL, and all.
    pub(super) deaths: (usize, usize),
    pub(super) verdict: Verdict,
    pub(super) rest: Rest,
}

impl Run {
    pub(super) fn holds(&self) -> bool {
        self.verdict.violations.is_empty()
    }
}

#[expect(clippy::print_stdout, reason = "a program that tells its progress")]
pub(super) fn say(line: &str) {
    println!("{line}");
}

/// The report for a terminal.
pub(super) fn tell(run: &Run) {
    say(&markdown(run));
}

/// The one line of figures.
pub(super) fn figures(run: &Run) -> String {
    let Verdict { jobs, lost, doubled, stale_commits, stuck, recoveries, calm_recoveries: calm, violations, .. } =
        &run.verdict;
    let verdict = if run.holds() {
        "all invariants hold".to_owned()
    } else {
        format!("{} invariants are VIOLATED", violations.len())
    };
    format!(
        "torture: seed={} jobs={jobs} faults={} lost={lost} doubled={doubled} stale_commits={stale_commits} stuck={stuck} \
         recovery_p50={:.2}s p99={:.2}s max={:.2}s storms_included_p99={:.2}s max={:.2}s — {verdict}",
        run.seed,
        run.faults,
        calm.percentile(50),
        calm.percentile(99),
        calm.percentile(100),
        recoveries.percentile(99),
        recoveries.percentile(100),
    )
}

/// The report.
pub(super) fn markdown(run: &Run) -> String {
    let mut text = String::from("# Torture: the queue and the scheduler under faults\n\n");
    let _ = writeln!(text, "`{}`\n", figures(run));
    summary(&mut text, run);
    let _ = writeln!(text, "\n## Invariants\n\n| invariant | |\n|---|---|");
    for invariant in Invariant::ALL {
        let verdict = match run.verdict.violations.get(&invariant) {
            None => "OK".to_owned(),
            Some(violations) => format!("VIOLATED {} times: {}", violations.count, violations.examples.join("; ")),
        };
        let _ = writeln!(text, "| {} | {verdict} |", invariant.text());
    }
    let _ = writeln!(text, "\n## Faults\n\n| fault | times |\n|---|---:|");
    for (kind, count) in &run.by_fault {
        let _ = writeln!(text, "| {kind} | {count} |");
    }
    let _ = writeln!(
        text,
        "\n## Jobs\n\n| kind | enqueued | done | dead letters | put away | open |\n|---|---:|---:|---:|---:|---:|"
    );
    for (kind, outcomes) in &run.verdict.by_kind {
        let _ = writeln!(
            text,
            "| {kind} | {} | {} | {} | {} | {} |",
            outcomes.enqueued, outcomes.done, outcomes.dead, outcomes.put_away, outcomes.open
        );
    }
    kept(&mut text, &run.rest.kept);
    text
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn summary(text: &mut String, run: &Run) {
    let Run { verdict, rest, tortured, .. } = run;
    let seconds = tortured.as_secs_f64();
    let repeated = verdict.runs.saturating_sub(verdict.jobs);
    let mut line = |what: String| {
        let _ = writeln!(text, "- {what}");
    };
    line(format!(
        "{} jobs in {seconds:.0} s ({:.0}/s), then healed in {:.0} s.",
        verdict.jobs,
        verdict.jobs as f64 / seconds,
        rest.healed_after.as_secs_f64()
    ));
    line(format!(
        "{} attempts were begun, {} ran ({repeated} more than there were jobs: failures, and repetitions after faults), \
         {} were taken over from another process. {} jobs that should succeed used up their attempts.",
        verdict.attempts, verdict.runs, verdict.taken_over, verdict.given_up
    ));
    line(format!("{} processes died unasked, {} of them by SIGKILL.", run.deaths.1, run.deaths.0));
    for (what, recoveries) in
        [("all faults", &verdict.recoveries), ("no other fault of a server or connection", &verdict.calm_recoveries)]
    {
        line(format!(
            "Recovery of the jobs of processes that died, from the death of the last holder, with {what}, at a lease of {} s: \
             {} jobs ({} of them after a next holder had died too), p50 {:.2} s, p99 {:.2} s, max {:.2} s.",
            LEASE.as_secs(),
            recoveries.count(),
            recoveries.died_again,
            recoveries.percentile(50),
            recoveries.percentile(99),
            recoveries.percentile(100)
        ));
        if recoveries.count() > 0 {
            line(format!("The slowest of them: {}.", recoveries.slowest.join("; ")));
        }
    }
    line(format!("The longest time in which no job was done: {:.1} s.", verdict.longest_stall.as_secs_f64()));
    line(format!(
        "{} ticks by {} leaders; {} times a scheduler that had led was told that it does not any more.",
        verdict.ticks, verdict.leaders, rest.refused_leaders
    ));
    line(format!(
        "Fail-over from {} leaders that died: p50 {:.2} s, max {:.2} s.",
        verdict.fail_overs.count(),
        verdict.fail_overs.percentile(50),
        verdict.fail_overs.percentile(100)
    ));
    line(verdict.chats.clone());
    line(format!(
        "Left after healing: {} open jobs, keys in Redis by kind {:?}, {} dead tuples after VACUUM.",
        rest.open, rest.redis_keys, rest.dead_tuples
    ));
    if let Some((warm, most)) = rest.memory {
        line(format!("A worker's memory: {} MB after a minute, {} MB at most later.", warm >> 20, most >> 20));
    }
}

/// The most that the servers kept of jobs in each part of a run.
fn kept(text: &mut String, kept: &[Kept]) {
    let _ = writeln!(
        text,
        "\n## Memory\n\nThe most that was measured in each part of the run: what Redis uses, and the size of `outbox`, \
         `finished_jobs` and `unrelayed_jobs` with their indexes in PostgreSQL.\n\n\
         | jobs finished | Redis, MB | tables, MB |\n|---:|---:|---:|"
    );
    for part in kept.chunks(kept.len().div_ceil(PARTS).max(1)) {
        let most = |bytes: fn(&Kept) -> u64| part.iter().map(bytes).max().unwrap_or_default() >> 20;
        let until = part.last().map_or(0, |last| last.jobs_finished);
        let _ = writeln!(text, "| {until} | {} | {} |", most(|kept| kept.redis), most(|kept| kept.tables));
    }
}
