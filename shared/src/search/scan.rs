//! How the nearest passages are found: through the HNSW index, or by comparing all.

use pgvector::HalfVector;
use uuid::Uuid;

use super::{Asked, Search, SearchRequest, query::Query, store};
use crate::{auth::Roles, db::TenantTx};

/// All visible passages are compared where they are fewer than the square root of this and of the number of all passages: the
/// HNSW index has to go through `200 * all / visible` of them, at some ten times the cost of comparing one.
const EXACT_FACTOR: i64 = 2_000;
/// Up to how many passages [`LEAST_EF_SEARCH`] finds nearly all of the nearest.
const SMALL_INDEX: f64 = 100_000.0;
/// How many passages a scan keeps in view at least, …
const LEAST_EF_SEARCH: f64 = 200.0;
/// … and at most: pgvector allows no more.
const MOST_EF_SEARCH: f64 = 1_000.0;

/// How the nearest passages are found: it changes how long that takes, and hardly which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scan {
    /// All that the caller may see are compared.
    Exact,
    /// Through the HNSW index.
    Index {
        /// How many passages are kept in view.
        ef_search: i32,
    },
}

impl Scan {
    fn new(visible: i64, all: i64) -> Self {
        if visible.saturating_mul(visible) < EXACT_FACTOR * all.max(visible) {
            Self::Exact
        } else {
            Self::Index { ef_search: ef_search(all) }
        }
    }
}

/// How many passages a scan of an index of so many keeps in view. With the same number it would find less of the nearest the more
/// there are: of a million, 200 find .92 of them (docs/benchmarks/search.md).
#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "a rough number that is clamped")]
pub fn ef_search(passages: i64) -> i32 {
    let growth = (passages as f64 / SMALL_INDEX).cbrt();
    (LEAST_EF_SEARCH * growth).clamp(LEAST_EF_SEARCH, MOST_EF_SEARCH) as i32
}

impl Search {
    /// The articles of the 200 passages nearest to a vector of this model, of those that the caller may see and that pass the
    /// filters of the request; one for each passage, in no order.
    pub async fn nearest(
        &self,
        tx: &mut TenantTx,
        roles: &Roles,
        request: &SearchRequest,
        model: &str,
        vector: &HalfVector,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let scan = self.scan(tx, roles, request).await?;
        store::semantic_candidates(tx, roles, request, model, vector, scan).await
    }

    /// How passages are scanned for the caller, by how many they could see some minutes ago.
    async fn scan(&self, tx: &mut TenantTx, roles: &Roles, request: &SearchRequest) -> Result<Scan, sqlx::Error> {
        let filters = SearchRequest { query: Query::nothing(), limit: 0, language: None, ..request.clone() };
        let audience = Asked::new(tx.tenant(), roles, filters);
        if let Some(known) = self.scans.get(&audience).await {
            return Ok(known);
        }
        let (visible, all) = store::passage_counts(tx, roles, request).await?;
        let scan = Scan::new(visible, all);
        self.scans.insert(audience, scan).await;
        Ok(scan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_passages_are_compared_and_many_are_looked_up() {
        assert_eq!(Scan::new(0, 1_000_000), Scan::Exact);
        assert_eq!(Scan::new(40_000, 1_000_000), Scan::Exact);
        assert_eq!(Scan::new(50_000, 1_000_000), Scan::Index { ef_search: 430 });
        // The number of all is an estimate, and may be older than the other.
        assert_eq!(Scan::new(1_999, -1), Scan::Exact);
        assert_eq!(Scan::new(2_001, -1), Scan::Index { ef_search: 200 });
    }

    #[test]
    fn the_more_passages_there_are_the_more_are_kept_in_view() {
        assert_eq!([0, 100_000, 800_000, 100_000_000].map(ef_search), [200, 200, 400, 1_000]);
    }
}
