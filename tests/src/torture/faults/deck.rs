//! What comes next, decided by the seed.

use std::time::Duration;

use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};

/// One kind of faults after another, each drawn from a shuffled deck, so that none is left out for long.
pub(super) struct Deck<T> {
    pub(super) random: StdRng,
    all: Vec<T>,
    left: Vec<T>,
}

impl<T: Copy> Deck<T> {
    pub(super) fn new(seed: u64, stream: u64, all: &[T]) -> Self {
        let random = StdRng::seed_from_u64(seed ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        Self { random, all: all.to_vec(), left: Vec::new() }
    }

    pub(super) fn draw(&mut self) -> T {
        if self.left.is_empty() {
            self.left.clone_from(&self.all);
            self.left.shuffle(&mut self.random);
        }
        self.left.pop().expect("a deck has cards")
    }

    /// Between half and one and a half of a time.
    pub(super) fn about(&mut self, mean: Duration) -> Duration {
        mean.mul_f64(self.random.random_range(0.5..1.5))
    }
}
