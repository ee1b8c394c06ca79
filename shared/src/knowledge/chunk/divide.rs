//! Divides a sequence of text atoms into passages at the cheapest places.

use super::MAX_PASSAGE_TOKENS;
use super::tokens::Estimator;

/// A piece of text that is not cut further.
#[derive(Debug, Clone)]
pub(super) struct Atom {
    pub(super) text: String,
    pub(super) tokens: usize,
    /// What stands between it and the atom before, when both are in one passage.
    pub(super) glue: &'static str,
    pub(super) boundary: Boundary,
}

impl Atom {
    /// A line of its own, such as a heading.
    pub(super) fn line(text: String, estimator: Estimator) -> Self {
        Atom { tokens: estimator.tokens(&text), text, glue: "\n\n", boundary: Boundary::LeadIn }
    }
}

/// What ends with an atom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Boundary {
    Paragraph,
    /// A list item, table row or line of code.
    Line,
    Sentence,
    /// Something that announces what follows: a heading, a line ending in a colon.
    LeadIn,
    Word,
}

impl Boundary {
    /// What cutting here costs, in passages: 1 means that one more passage is as bad.
    fn cost(self) -> f32 {
        match self {
            Boundary::Paragraph => 0.0,
            Boundary::Line => 0.2,
            Boundary::Sentence => 0.4,
            Boundary::LeadIn => 0.8,
            Boundary::Word => 1.0,
        }
    }
}

/// The atoms in runs of at most `target` tokens (an atom larger than that stands alone), with the least total cost:
/// one per passage, more for passages that stay short, more for cuts inside a thought. Time grows with the number of
/// atoms times the number that fit into one passage.
pub(super) fn divide(atoms: &[Atom], target: usize) -> Vec<&[Atom]> {
    let total: usize = atoms.iter().map(|atom| atom.tokens).sum();
    if total <= target {
        return if atoms.is_empty() { Vec::new() } else { vec![atoms] };
    }
    // best[end]: the least cost of dividing the first `end` atoms, and where its last passage begins.
    let mut best: Vec<(f32, usize)> = vec![(0.0, 0)];
    for end in 1..=atoms.len() {
        let cut = if end == atoms.len() { 0.0 } else { atoms[end - 1].boundary.cost() };
        let mut tokens = 0;
        let mut cheapest = (f32::INFINITY, end - 1);
        for start in (0..end).rev() {
            tokens += atoms[start].tokens;
            if tokens > target && start + 1 < end {
                break;
            }
            let cost = best[start].0 + cut + passage_cost(tokens, target);
            if cost < cheapest.0 {
                cheapest = (cost, start);
            }
        }
        best.push(cheapest);
    }
    let mut parts = Vec::new();
    let mut end = atoms.len();
    while end > 0 {
        let start = best[end].1;
        parts.push(&atoms[start..end]);
        end = start;
    }
    parts.reverse();
    parts
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred tokens")]
fn passage_cost(tokens: usize, target: usize) -> f32 {
    let empty = 1.0 - tokens.min(target) as f32 / target.min(MAX_PASSAGE_TOKENS) as f32;
    1.0 + 3.0 * empty * empty
}
