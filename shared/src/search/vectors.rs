//! Vectors of articles as they are kept in memory and compared.

use half::{f16, slice::HalfFloatSliceExt as _};
use pgvector::HalfVector;

use crate::embedding::DIMENSIONS;

/// What an article takes beside its numbers, in bytes, about.
const ENTRY_BYTES: usize = 150;
/// Products that are summed at once: as many as fit a register of any processor of today.
const LANES: usize = 16;

/// The cosine similarities of the passages of an article with a query, by ordinal; 0 is the title. As all vectors have length 1,
/// these are the dot products.
pub(super) type Similarities = Vec<(i32, f64)>;

/// The vectors of an article, all of one model.
#[derive(Debug, Default)]
pub(super) struct Vectors {
    /// Of the passages that have a vector; 0 is the title.
    ordinals: Vec<i32>,
    /// [`DIMENSIONS`] for each of them, in half precision.
    numbers: Vec<f16>,
}

impl Vectors {
    /// Adds the vector of a passage.
    pub(super) fn push(&mut self, ordinal: i32, vector: &HalfVector) {
        if vector.as_slice().len() == DIMENSIONS {
            self.ordinals.push(ordinal);
            self.numbers.extend_from_slice(vector.as_slice());
        }
    }

    /// The memory that they take.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = ENTRY_BYTES + size_of_val(self.ordinals.as_slice()) + size_of_val(self.numbers.as_slice());
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// The similarities of the passages with a query, which has [`DIMENSIONS`].
    pub(super) fn similarities(&self, query: &HalfVector) -> Similarities {
        let (mut asked, mut vector) = ([0.0; DIMENSIONS], [0.0; DIMENSIONS]);
        query.as_slice().convert_to_f32_slice(&mut asked);
        let similarity = |numbers: &[f16]| {
            numbers.convert_to_f32_slice(&mut vector);
            dot(&vector, &asked)
        };
        self.ordinals.iter().copied().zip(self.numbers.chunks_exact(DIMENSIONS).map(similarity)).collect()
    }
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    let mut sums = [0.0; LANES];
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
            *sum += a * b;
        }
    }
    f64::from(sums.iter().sum::<f32>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedding::Embedding;

    #[test]
    fn similarities_are_cosines() {
        let embedding = |seed: u16| {
            Embedding::new((0..DIMENSIONS).map(|n| f32::from(u16::try_from(n).unwrap() * seed % 97) - 40.0).collect())
                .unwrap()
        };
        let (query, title, passage) = (embedding(3), embedding(5), embedding(7));
        let mut vectors = Vectors::default();
        vectors.push(0, &title.to_half());
        vectors.push(4, &passage.to_half());
        vectors.push(9, &HalfVector::from_f32_slice(&[1.0]));
        let similarities = vectors.similarities(&query.to_half());
        assert_eq!(similarities.iter().map(|(ordinal, _)| *ordinal).collect::<Vec<_>>(), [0, 4]);
        for ((_, similarity), other) in similarities.iter().zip([title, passage]) {
            assert!((similarity - f64::from(query.cosine(&other))).abs() < 1e-3);
        }
        assert!(vectors.bytes() > 2 * 2 * 384);
    }
}
