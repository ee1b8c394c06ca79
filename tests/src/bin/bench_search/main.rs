//! `make bench-search DATA=folder`: how fast search is, beside the limit that its parts set, as the help center grows.
//!
//! The help centers below `DATA/helpcenters` are imported and embedded; articles recombined of their passages, with vectors
//! that are perturbed copies of theirs, fill databases of every size ([`corpus`]). Each is searched with distinct queries
//! ([`measure`]) through the product's own search. The limit is measured in the same run: one query embedding, and the slower
//! of the two bare index probes.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints tables and its progress")]

mod corpus;
mod limit;
mod measure;
mod report;

use std::{path::PathBuf, sync::Arc};

use clap::Parser;
use shared::{
    auth::Roles,
    config::EmbeddingConfig,
    embedding,
    search::{Search, SearchRequest},
};

use corpus::Corpus;
use limit::Limit;
use measure::{at_rate, saturated};
use report::Row;

/// What to measure.
#[derive(Debug, Parser)]
struct Options {
    /// Where `helpcenters` is.
    data: PathBuf,
    /// How many passages.
    #[arg(long, value_delimiter = ',', default_value = "1000,10000,100000")]
    sizes: Vec<usize>,
    /// How long each measurement takes, in seconds.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Searches a second while latencies are measured.
    #[arg(long, default_value_t = 10)]
    rate: u32,
    /// How often; the median counts.
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Keeps the databases, and uses those that are there.
    #[arg(long)]
    keep: bool,
    /// Writes passages, vectors and queries of the largest size there, for other search engines.
    #[arg(long)]
    export: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let embedder = embedding::from_config(&EmbeddingConfig::from_env()?)?;
    let base = corpus::base(&options.data, &embedder).await?;
    let queries = base.queries()?;
    eprintln!("{} passages to recombine, {} distinct queries", base.passages.len(), queries.len());
    let mut rows = Vec::new();
    for &size in &options.sizes {
        let corpus = Corpus::of(&base, size, options.keep).await?;
        let mut row = Row::new(&corpus);
        let mut next = queries.iter().cycle().cloned();
        let limit = Limit::new(&corpus, Arc::clone(&embedder)).await?;
        for _ in 0..options.runs {
            let probe = |query: String| {
                let limit = limit.clone();
                async move { limit.once(&query).await }
            };
            // An engine of its own for each measurement: nothing is answered from memory.
            let searching = |roles: Roles| {
                let search = Search::new(corpus.database.clone(), Some(Arc::clone(&embedder)));
                let tenant = corpus.tenant;
                move |query: String| {
                    let (search, roles) = (search.clone(), roles.clone());
                    async move {
                        let request = SearchRequest::new(query.parse()?, 20);
                        search.run(tenant, &roles, &request).await?;
                        Ok(())
                    }
                }
            };
            row.limit.push(at_rate(options.rate, options.seconds, &mut next, probe).await?);
            row.search.push(at_rate(options.rate, options.seconds, &mut next, searching(corpus::staff())).await?);
            row.limit_throughput.push(saturated(options.seconds, &mut next, probe).await?);
            row.throughput.push(saturated(options.seconds, &mut next, searching(corpus::staff())).await?);
            row.typing.push(
                at_rate(options.rate, options.seconds, &mut next, |query: String| {
                    let (database, tenant) = (corpus.database.clone(), corpus.tenant);
                    async move {
                        let typed: String = query.chars().take(12).collect();
                        let mut tx = database.tenant(tenant).await?;
                        shared::search::complete(&mut tx, &corpus::staff(), &typed).await?;
                        Ok(())
                    }
                })
                .await?,
            );
        }
        row.probes = limit.probes(queries.iter().take(200)).await?;
        for (share, roles) in corpus::audiences() {
            let recall = corpus.recall(&embedder, &roles, queries.iter().take(100)).await?;
            let search = Search::new(corpus.database.clone(), Some(Arc::clone(&embedder)));
            let tenant = corpus.tenant;
            let latencies = at_rate(options.rate, options.seconds, &mut next, |query: String| {
                let (search, roles) = (search.clone(), roles.clone());
                async move {
                    let request = SearchRequest::new(query.parse()?, 20);
                    search.run(tenant, &roles, &request).await?;
                    Ok(())
                }
            })
            .await?;
            row.audiences.push((share, recall, latencies));
        }
        report::print_row(&row);
        rows.push(row);
        if let Some(folder) = options.export.as_ref().filter(|_| size == *options.sizes.iter().max().unwrap_or(&0)) {
            corpus.export(folder, &queries).await?;
        }
        corpus.close(options.keep).await?;
    }
    report::print(&rows);
    Ok(())
}
