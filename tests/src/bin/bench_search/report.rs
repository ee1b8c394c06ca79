//! Tables.

use std::collections::BTreeMap;

use tests::judged::measures::Measures;

use crate::{
    corpus::Corpus,
    limit::{Probes, percentile},
    measure::{Latencies, median},
};

/// What was measured of one size.
pub(crate) struct Row {
    passages: i64,
    articles: i64,
    built_seconds: Option<f64>,
    sizes: Vec<(String, i64)>,
    pub(crate) limit: Vec<Latencies>,
    /// Of search that has just been started: nothing is known of articles yet.
    pub(crate) fresh: Latencies,
    pub(crate) search: Vec<Latencies>,
    pub(crate) typing: Vec<Latencies>,
    pub(crate) limit_throughput: Vec<f64>,
    pub(crate) throughput: Vec<f64>,
    pub(crate) probes: Probes,
    /// Who sees how much, the recall of their vectors, and how long their searches take.
    pub(crate) audiences: Vec<(&'static str, f64, Latencies)>,
    /// How well the documents of judged collections are found among all.
    pub(crate) relevance: BTreeMap<String, Measures>,
    /// Latencies and searches a second with queries whose vectors are known.
    pub(crate) without_model: Option<(Latencies, f64)>,
}

impl Row {
    pub(crate) fn new(corpus: &Corpus) -> Self {
        Self {
            passages: corpus.passages,
            articles: corpus.articles,
            built_seconds: corpus.built_seconds,
            sizes: corpus.sizes.clone(),
            limit: Vec::new(),
            fresh: Latencies::default(),
            search: Vec::new(),
            typing: Vec::new(),
            limit_throughput: Vec::new(),
            throughput: Vec::new(),
            probes: Probes::default(),
            audiences: Vec::new(),
            relevance: BTreeMap::new(),
            without_model: None,
        }
    }
}

/// All that is known of one size.
pub(crate) fn print_row(row: &Row) {
    println!("\n## {} passages of {} articles\n", row.passages, row.articles);
    let built = row.built_seconds.map_or("kept from before".to_owned(), |s| format!("built in {s:.0} s"));
    let sizes: Vec<String> = row.sizes.iter().map(|(name, bytes)| format!("{name} {} MB", bytes / 1_000_000)).collect();
    println!("{built}; {}", sizes.join(", "));
    let Probes { embedding, vectors, words } = row.probes;
    println!("alone: embedding {embedding:.1} ms, vectors {vectors:.1} ms, words {words:.1} ms (medians)");
    for (name, runs) in [("limit", &row.limit), ("search", &row.search), ("completions", &row.typing)] {
        let [p50, p95, p99] = [0.5, 0.95, 0.99].map(|share| percentile(runs, share));
        println!("{name}: p50 {p50:.1} ms, p95 {p95:.1} ms, p99 {p99:.1} ms");
    }
    let [p50, p95] = [0.5, 0.95].map(|share| row.fresh.percentile(share));
    println!("search that was just started: p50 {p50:.1} ms, p95 {p95:.1} ms");
    println!(
        "saturated: limit {:.0}/s, search {:.0}/s",
        median(row.limit_throughput.clone()),
        median(row.throughput.clone())
    );
    for (share, recall, latencies) in &row.audiences {
        let [p50, p95] = [0.5, 0.95].map(|share| latencies.percentile(share));
        println!("who sees {share}: recall@100 {recall:.3}, p50 {p50:.1} ms, p95 {p95:.1} ms");
    }
    for (collection, measures) in &row.relevance {
        println!("{collection} among all: nDCG@10 {:.3} over {} queries", measures.ndcg, measures.queries);
    }
    if let Some((latencies, throughput)) = &row.without_model {
        let [p50, p95] = [0.5, 0.95].map(|share| latencies.percentile(share));
        println!("without the model: p50 {p50:.1} ms, p95 {p95:.1} ms, {throughput:.0}/s");
    }
}

/// One row for each size.
pub(crate) fn print(rows: &[Row]) {
    println!("\n| passages | limit p50 | search p50 | ratio | p95 | limit/s | search/s | ratio | index MB | built s |");
    println!("|---|---|---|---|---|---|---|---|---|---|");
    for row in rows {
        let (limit, search) = (percentile(&row.limit, 0.5), percentile(&row.search, 0.5));
        let (limit_rate, rate) = (median(row.limit_throughput.clone()), median(row.throughput.clone()));
        let bytes: i64 = row.sizes.iter().map(|(_, bytes)| bytes).sum();
        println!(
            "| {} | {limit:.1} ms | {search:.1} ms | {:.2} | {:.1} ms | {limit_rate:.0} | {rate:.0} | {:.2} | {} | {} |",
            row.passages,
            search / limit,
            percentile(&row.search, 0.95),
            rate / limit_rate,
            bytes / 1_000_000,
            row.built_seconds.map_or("-".to_owned(), |s| format!("{s:.0}")),
        );
    }
}
