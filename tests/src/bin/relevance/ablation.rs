//! What each part of search is worth: the candidates of every query in the order that fewer parts would give them.
#![expect(clippy::print_stdout, reason = "it prints a table")]

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use shared::search::fusion::{Evidence, Weights, fuse};

use tests::judged::measures::gain;

/// Shuffles of a paired test.
const SHUFFLES: u32 = 10_000;
/// Of reciprocal rank fusion (Cormack, Clarke and Buettcher, 2009).
const RRF_K: f64 = 60.0;

/// The candidates of a query in the order of search, each with its grade, and the gain of the best possible order.
pub(crate) struct Judged {
    pub(crate) candidates: Vec<(u32, Evidence, f64)>,
    pub(crate) ideal: f64,
}

/// What an order is made of.
type Scores = fn(&[Evidence]) -> Vec<f64>;

const ORDERS: &[(&str, Scores)] = &[
    ("keyword: BM25F of the article", |all| all.iter().map(|e| e.bm25).collect()),
    ("keyword: and BM25 of the title", keyword),
    ("semantic: nearest passage", |all| all.iter().map(|e| e.similarity.map_or(0.0, |s| s.body)).collect()),
    ("semantic: and the title's vector", semantic),
    ("reciprocal ranks of both", reciprocal_ranks),
    ("scores, half and half", |all| fused(all, &plain(0.5, 0.0, 0.0))),
    ("scores, 0.7 semantic", |all| fused(all, &plain(0.7, 0.0, 0.0))),
    ("and the title's vector", |all| fused(all, &plain(0.7, 0.15, 0.0))),
    ("and BM25 of the title", |all| fused(all, &plain(0.7, 0.15, 0.2))),
    ("and the lead of the nearest", |all| fused(all, &Weights::default())),
];

/// Prints nDCG@10 of every order by collection, and how likely it is that a difference from search as it is came by chance.
pub(crate) fn print(collections: &[(String, Vec<Judged>)]) {
    println!("\nThe same candidates in other orders: nDCG@10 (p of a paired test against search as it is).");
    print!("{:<34}", "");
    for (name, _) in collections {
        print!(" {name:<18}");
    }
    println!();
    let used: Vec<Vec<f64>> = collections.iter().map(|(_, queries)| queries.iter().map(used).collect()).collect();
    for (name, scores) in ORDERS {
        print!("{name:<34}");
        for ((_, queries), used) in collections.iter().zip(&used) {
            let these: Vec<f64> = queries.iter().map(|query| ndcg(query, *scores)).collect();
            print!(" {:<18}", format!("{:.3} ({:.3})", mean(&these), by_chance(&these, used)));
        }
        println!();
    }
    print!("{:<34}", "search: and identifiers, phrases");
    for used in &used {
        print!(" {:<18}", format!("{:.3}", mean(used)));
    }
    println!();
}

fn used(query: &Judged) -> f64 {
    let grades: Vec<u32> = query.candidates.iter().map(|(grade, ..)| *grade).collect();
    gain(&grades) / query.ideal
}

fn ndcg(query: &Judged, scores: Scores) -> f64 {
    let evidence: Vec<Evidence> = query.candidates.iter().map(|(_, evidence, _)| *evidence).collect();
    let scores = scores(&evidence);
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
    let grades: Vec<u32> = order.into_iter().map(|at| query.candidates[at].0).collect();
    gain(&grades) / query.ideal
}

fn plain(semantic: f64, semantic_title: f64, keyword_title: f64) -> Weights {
    Weights { semantic, semantic_lead: 0.0, semantic_title, keyword_title, ..Weights::default() }
}

/// Without the lift of identifiers, which is no matter of weights.
fn fused(all: &[Evidence], weights: &Weights) -> Vec<f64> {
    let plain = all.iter().map(|e| Evidence { has_identifier: false, ..*e }).enumerate().collect();
    let mut scores = vec![-1.0; all.len()];
    for (at, _, score) in fuse(plain, weights) {
        scores[at] = score;
    }
    scores
}

fn keyword(all: &[Evidence]) -> Vec<f64> {
    fused(all, &Weights { semantic: 0.0, semantic_lead: 0.0, ..Weights::default() })
}

fn semantic(all: &[Evidence]) -> Vec<f64> {
    fused(all, &Weights { semantic: 1.0, semantic_most: 1.0, ..Weights::default() })
}

#[expect(clippy::cast_precision_loss, reason = "ranks are small")]
fn reciprocal_ranks(all: &[Evidence]) -> Vec<f64> {
    let mut sums = vec![0.0; all.len()];
    for scores in [keyword(all), semantic(all)] {
        let mut order: Vec<usize> = (0..all.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        for (rank, at) in order.into_iter().enumerate() {
            sums[at] += 1.0 / (RRF_K + (rank + 1) as f64);
        }
    }
    sums
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The share of random exchanges between the two (Fisher's randomisation test, as Smucker, Allan and Carterette, "A Comparison
/// of Statistical Significance Tests for Information Retrieval Evaluation", 2007) whose means differ at least as much.
fn by_chance(a: &[f64], b: &[f64]) -> f64 {
    let differences: Vec<f64> = a.iter().zip(b).map(|(x, y)| x - y).collect();
    let observed = mean(&differences).abs();
    let mut random = StdRng::seed_from_u64(1);
    let as_extreme = (0..SHUFFLES)
        .filter(|_| {
            let shuffled: Vec<f64> =
                differences.iter().map(|d| if random.random_bool(0.5) { *d } else { -d }).collect();
            mean(&shuffled).abs() >= observed - 1e-12
        })
        .count();
    f64::from(u32::try_from(as_extreme).unwrap_or(SHUFFLES)) / f64::from(SHUFFLES)
}
