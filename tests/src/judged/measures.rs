//! nDCG, recall and reciprocal rank, each of the first ten.

use std::collections::HashMap;

/// How many results are looked at.
pub const DEPTH: usize = 10;

/// Sums over queries, or their means.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measures {
    /// Discounted cumulative gain over that of the best possible order.
    pub ndcg: f64,
    /// Share of the relevant documents that were found.
    pub recall: f64,
    /// One over the rank of the first relevant document.
    pub reciprocal_rank: f64,
    /// How many queries it is of.
    pub queries: usize,
}

impl Measures {
    /// Adds a query: the documents that were found, best first, and the grades of those that were judged.
    #[expect(clippy::cast_precision_loss, reason = "ranks and counts are small")]
    pub fn add(&mut self, found: &[&str], judged: &HashMap<String, u32>) {
        let grades: Vec<u32> = found.iter().map(|id| judged.get(*id).copied().unwrap_or(0)).collect();
        let relevant = judged.values().filter(|grade| **grade > 0).count();
        self.ndcg += gain(&grades) / ideal(judged);
        self.recall += grades.iter().filter(|grade| **grade > 0).count() as f64 / relevant as f64;
        self.reciprocal_rank += grades.iter().position(|grade| *grade > 0).map_or(0.0, |rank| 1.0 / (rank + 1) as f64);
        self.queries += 1;
    }

    /// The means over the queries.
    #[expect(clippy::cast_precision_loss, reason = "counts are small")]
    #[must_use]
    pub fn mean(self) -> Self {
        let n = self.queries.max(1) as f64;
        Self {
            ndcg: self.ndcg / n,
            recall: self.recall / n,
            reciprocal_rank: self.reciprocal_rank / n,
            queries: self.queries,
        }
    }
}

/// Discounted cumulative gain of the first ten: 2^grade - 1 each, over log2 of the rank.
#[expect(clippy::cast_precision_loss, reason = "ranks are small")]
pub fn gain(grades: &[u32]) -> f64 {
    let gain = |(rank, grade): (usize, &u32)| f64::from(2_u32.pow(*grade) - 1) / ((rank + 2) as f64).log2();
    grades.iter().take(DEPTH).enumerate().map(gain).sum()
}

/// The gain of the best possible order.
pub fn ideal<S: std::hash::BuildHasher>(judged: &HashMap<String, u32, S>) -> f64 {
    let mut grades: Vec<u32> = judged.values().copied().collect();
    grades.sort_unstable_by(|a, b| b.cmp(a));
    gain(&grades)
}
