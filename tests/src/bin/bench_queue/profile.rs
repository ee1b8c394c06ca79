//! Where the time of the product's queue goes: the processor's time for each job, by program, statement and script.

use std::collections::BTreeMap;

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Row as _};

use crate::{
    Options,
    measure::Side,
    servers::{OURS, Servers},
};

/// Ticks a second of `/proc/PID/stat`, the same on every Linux.
const TICKS: f64 = 100.0;

/// Processor time so far, in seconds.
#[derive(Debug, Clone, Copy)]
struct Spent {
    workers: f64,
    adder: f64,
    postgres: f64,
    redis: f64,
}

/// Profiles enqueueing from 64 callers and in bulk, and working off the first backlog with the first number of workers.
pub(crate) async fn run(options: &Options, servers: &Servers) -> anyhow::Result<()> {
    println!("{}", servers.about().await?);
    let program = servers.sides.iter().find(|(name, _)| name == OURS).map(|(_, program)| program).context("no side")?;
    let workers = options.workers.first().copied().unwrap_or(1);
    let backlog = options.backlogs.first().copied().unwrap_or(100_000);
    sqlx::query("create extension pg_stat_statements").execute(&servers.owner).await?;
    // For sessions that begin from here on, which those of the side are.
    let database: String = sqlx::query_scalar("select current_database()").fetch_one(&servers.owner).await?;
    let track = format!("alter database {database} set pg_stat_statements.track = top");
    sqlx::query(AssertSqlSafe(track)).execute(&servers.owner).await?;
    let mut side = Side::start(OURS, program, workers).await?;

    let jobs = options.window / 5;
    let command = format!("add {jobs} 64");
    let mut rate = 0.0;
    observe(servers, &mut side, &command, async |side| {
        let added = side.adder.add(&command).await?;
        rate = added.rate();
        Ok(added.jobs)
    })
    .await?;
    println!("{rate:.0} jobs a second\n");
    side.clear().await?;

    observe(servers, &mut side, "add_many", async |side| {
        let added = side.adder.add(&format!("add_many {}", options.window)).await?;
        rate = added.rate();
        Ok(added.jobs)
    })
    .await?;
    println!("{rate:.0} jobs a second\n");
    side.clear().await?;

    for kind in &options.jobs {
        let what = format!("enqueue in bulk, relay and process {backlog} {kind} jobs, {workers} workers");
        observe(servers, &mut side, &what, async |side| {
            let drained = side.drain(options, kind, workers, backlog).await?;
            rate = drained.rate;
            Ok(drained.jobs)
        })
        .await?;
        println!("{rate:.0} jobs a second processed\n");
        side.clear().await?;
    }
    Ok(())
}

async fn observe(
    servers: &Servers,
    side: &mut Side,
    what: &str,
    act: impl AsyncFnOnce(&mut Side) -> anyhow::Result<u64>,
) -> anyhow::Result<()> {
    sqlx::query("select pg_stat_statements_reset()").execute(&servers.owner).await?;
    let mut redis = servers.redis.clone();
    let _: () = redis::cmd("CONFIG").arg("RESETSTAT").query_async(&mut redis).await?;
    let before = spent(servers, side).await?;
    let jobs = act(side).await?;
    let after = spent(servers, side).await?;
    #[expect(clippy::cast_precision_loss, reason = "counts of jobs are small")]
    let jobs = jobs as f64;
    let each = |seconds: f64| seconds * 1e6 / jobs;
    println!("== {what}");
    println!(
        "processor time for each job, µs: workers {:.1}, adder {:.1}, PostgreSQL {:.1}, Redis {:.1}",
        each(after.workers - before.workers),
        each(after.adder - before.adder),
        each(after.postgres - before.postgres),
        each(after.redis - before.redis)
    );
    let rows = sqlx::query(
        "select calls, total_exec_time as ms, rows, wal_bytes::float8 as wal, left(regexp_replace(query, '\\s+', ' ', 'g'), 110) as query
         from pg_stat_statements order by total_exec_time desc limit 12",
    )
    .fetch_all(&servers.owner)
    .await?;
    println!("{:>9} {:>9} {:>9} {:>9}  statement", "calls", "µs/job", "µs/call", "WAL B/job");
    for row in rows {
        let (calls, ms): (i64, f64) = (row.get("calls"), row.get("ms"));
        #[expect(clippy::cast_precision_loss, reason = "counts of calls are small")]
        let per_call = ms * 1000.0 / calls as f64;
        println!(
            "{calls:>9} {:>9.2} {per_call:>9.1} {:>9.1}  {}",
            ms * 1000.0 / jobs,
            row.get::<f64, _>("wal") / jobs,
            row.get::<&str, _>("query")
        );
    }
    let stats: String = redis::cmd("INFO").arg("commandstats").query_async(&mut redis).await?;
    let mut commands: Vec<(f64, f64, &str)> = stats.lines().filter_map(command_stat).collect();
    commands.sort_by(|a, b| b.0.total_cmp(&a.0));
    println!("{:>9} {:>9}  command (those inside of scripts are in evalsha as well)", "calls/job", "µs/job");
    for (us, calls, name) in commands.iter().take(14) {
        println!("{:>9.3} {:>9.2}  {name}", calls / jobs, us / jobs);
    }
    Ok(())
}

/// µs, calls and name from a line such as `cmdstat_get:calls=1,usec=2,…`.
fn command_stat(line: &str) -> Option<(f64, f64, &str)> {
    let (name, fields) = line.strip_prefix("cmdstat_")?.split_once(':')?;
    let fields: BTreeMap<&str, &str> = fields.split(',').filter_map(|field| field.split_once('=')).collect();
    Some((fields.get("usec")?.parse().ok()?, fields.get("calls")?.parse().ok()?, name))
}

async fn spent(servers: &Servers, side: &Side) -> anyhow::Result<Spent> {
    let mut redis = servers.redis.clone();
    let info: redis::InfoDict = redis::cmd("INFO").arg("all").query_async(&mut redis).await?;
    let redis = info.get("process_id").and_then(of_process).unwrap_or_default();
    let data: String = sqlx::query_scalar("show data_directory").fetch_one(&servers.owner).await?;
    let postmaster: u32 =
        std::fs::read_to_string(format!("{data}/postmaster.pid"))?.lines().next().context("no pid")?.parse()?;
    Ok(Spent {
        workers: side.workers.iter().filter_map(|worker| of_process(worker.id()?)).sum(),
        adder: side.adder.id().and_then(of_process).unwrap_or_default(),
        postgres: of_process_and_children(postmaster),
        redis,
    })
}

/// Of the process, and of its children that ended.
fn of_process(pid: u32) -> Option<f64> {
    let fields = stat(pid)?;
    let ticks: f64 = fields.get(11..15)?.iter().filter_map(|field| field.parse::<f64>().ok()).sum();
    Some(ticks / TICKS)
}

fn of_process_and_children(parent: u32) -> f64 {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let children = processes
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| stat(*pid).is_some_and(|fields| fields.get(1).is_some_and(|field| *field == parent.to_string())));
    children.chain([parent]).filter_map(of_process).sum()
}

/// The fields after the name, from the state on.
fn stat(pid: u32) -> Option<Vec<String>> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}
