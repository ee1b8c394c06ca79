//! `make bench-search DATA=folder`: how fast search is, beside the limit that its parts set, as the help center grows.
//!
//! What is below `DATA/helpcenters` and `DATA/ir` is imported and embedded ([`base`]); articles recombined of its passages,
//! with vectors near theirs, fill databases of every size ([`fill`]). Each is searched with distinct queries ([`measure`])
//! through the product's own search. The limit is measured in the same run: one query embedding, and the slower of the two
//! bare index probes. Large ones hold the judged collections as they are, and say how well their documents are still found.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program that prints tables and its progress")]

mod base;
mod corpus;
mod fill;
mod limit;
mod measure;
mod report;

use std::{path::PathBuf, sync::Arc};

use clap::Parser;
use shared::{
    auth::Roles,
    config::EmbeddingConfig,
    embedding::{self, Embedder},
    search::{Search, SearchRequest},
};

use base::Base;
use corpus::{Corpus, Known};
use limit::Limit;
use measure::{at_rate, saturated};
use report::Row;

/// How many queries recall is the mean of.
const RECALLED: usize = 200;
/// How many queries search without the model is measured with.
const KNOWN: usize = 8_000;
/// How long search is asked, in seconds, before anything counts.
const WARM_UP: u64 = 20;

/// What to measure.
#[derive(Debug, Parser)]
struct Options {
    /// Where `helpcenters` and `ir` are.
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
    let embedder = Arc::clone(embedding::from_config(&EmbeddingConfig::from_env()?)?.current());
    let base = Base::load(&options.data, &embedder).await?;
    let queries = base.queries();
    eprintln!("{} passages to recombine, {} distinct queries", base.parts.len(), queries.len());
    let mut rows = Vec::new();
    for &size in &options.sizes {
        let corpus = Corpus::of(&base, size, options.keep).await?;
        let row = measured(&options, &base, &corpus, &queries, &embedder).await?;
        report::print_row(&row);
        rows.push(row);
        if let Some(folder) = options.export.as_ref().filter(|_| size == *options.sizes.iter().max().unwrap_or(&0)) {
            corpus.export(folder, &queries[..KNOWN.min(queries.len())], &base.judged, &embedder).await?;
        }
        corpus.close(options.keep).await?;
    }
    report::print(&rows);
    Ok(())
}

async fn measured(
    options: &Options,
    base: &Base,
    corpus: &Corpus,
    queries: &[String],
    embedder: &Arc<dyn Embedder>,
) -> anyhow::Result<Row> {
    let &Options { rate, seconds, .. } = options;
    let mut row = Row::new(corpus);
    let mut next = queries.iter().cycle().cloned();
    let limit = Limit::new(corpus, Arc::clone(embedder), &queries[..50]).await?;
    let probe = |query: String| {
        let limit = limit.clone();
        async move { limit.once(&query).await }
    };
    // The queries are all different: nothing is answered from memory, but what is known of articles is.
    let searching = |search: &Search, roles: Roles| {
        let (search, tenant) = (search.clone(), corpus.tenant);
        move |query: String| {
            let (search, roles) = (search.clone(), roles.clone());
            async move {
                let request = SearchRequest::new(query.parse()?, 20);
                search.run(tenant, &roles, &request).await?;
                Ok(())
            }
        }
    };
    let typing = |query: String| {
        let (database, tenant) = (corpus.database.clone(), corpus.tenant);
        async move {
            let typed: String = query.chars().take(12).collect();
            let mut tx = database.tenant_with_generic_plans(tenant).await?;
            shared::search::complete(&mut tx, &corpus::staff(), &typed).await?;
            Ok(())
        }
    };
    // Connections, plans that are made with the first queries of each, and what PostgreSQL reads are there before anything
    // counts, and what search remembers of articles but where it has just been started.
    let search = corpus.search(embedder);
    saturated(WARM_UP, &mut next, searching(&search, corpus::staff())).await?;
    row.fresh = at_rate(rate, seconds, &mut next, searching(&corpus.search(embedder), corpus::staff())).await?;
    for _ in 0..options.runs {
        row.limit.push(at_rate(rate, seconds, &mut next, probe).await?);
        row.search.push(at_rate(rate, seconds, &mut next, searching(&search, corpus::staff())).await?);
        row.limit_throughput.push(saturated(seconds, &mut next, probe).await?);
        row.throughput.push(saturated(seconds, &mut next, searching(&search, corpus::staff())).await?);
        row.typing.push(at_rate(rate, seconds, &mut next, typing).await?);
    }
    row.probes = limit.probes(queries.iter().take(RECALLED)).await?;
    for (share, roles) in corpus::audiences() {
        let asked = base.judged.iter().step_by(base.judged.len().div_ceil(RECALLED)).map(|query| query.text.as_str());
        let recall = corpus.recall(embedder, &roles, asked).await?;
        let latencies = at_rate(rate, seconds, &mut next, searching(&search, roles)).await?;
        row.audiences.push((share, recall, latencies));
    }
    row.relevance = corpus.relevance(embedder, &base.judged).await?;
    if options.export.is_some() {
        let known = &queries[..KNOWN.min(queries.len())];
        let memory: Arc<dyn Embedder> = Arc::new(Known::of(known, &**embedder).await?);
        let search = corpus.search(&memory);
        let mut next = known.iter().cycle().cloned();
        saturated(WARM_UP / 2, &mut next, searching(&search, corpus::staff())).await?;
        let latencies = at_rate(rate, seconds, &mut next, searching(&search, corpus::staff())).await?;
        let throughput = saturated(seconds, &mut next, searching(&search, corpus::staff())).await?;
        row.without_model = Some((latencies, throughput));
    }
    Ok(row)
}
