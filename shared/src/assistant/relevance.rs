//! tmp
use crate::search::Found;
pub(super) const FLOOR: f64 = 0.3;
pub(super) fn relevance(found: &Found) -> f64 {
    found.passages.iter().filter_map(|p| p.similarity).fold(0.0, f64::max)
}
