//! What must be quoted together: a list with the sentence that introduces it, a row with the first one of its table, a line that ends in a colon with what it announces.

use super::{Block, Line};

/// Most steps of a list.
const MOST_STEPS: usize = 10;
/// Most items of a list without numbers.
const MOST_ITEMS: usize = 6;
/// Longest block of code, in lines.
const MOST_CODE_LINES: usize = 15;
/// How many other units may stand between two steps.
const BETWEEN_STEPS: usize = 6;

/// The lines of an article in the order of its text.
pub(super) struct Layout<'a> {
    lines: &'a [Line<'a>],
}

impl<'a> Layout<'a> {
    pub(super) fn new(lines: &'a [Line<'a>]) -> Self {
        Self { lines }
    }

    /// A line and what belongs to it.
    pub(super) fn with_company(&self, at: usize) -> Vec<usize> {
        match self.lines[at].unit.block {
            Block::Step(_) => self.steps(at),
            Block::Item => {
                let first = self.run_start(at);
                self.lead_in(first).into_iter().chain([at]).collect()
            }
            // A row says little without the names of its columns, and these nothing without a row.
            Block::Row => self.lead_in(self.run_start(at)).into_iter().chain([self.run_start(at), at]).collect(),
            Block::Head => self.lead_in(at).into_iter().chain(self.announced(at)).collect(),
            Block::Sentence if self.lines[at].unit.is_lead_in() => {
                let announced = self.follower(at).map(|next| self.announced(next)).unwrap_or_default();
                [at].into_iter().chain(announced).collect()
            }
            Block::Sentence | Block::Code => vec![at],
        }
    }

    fn announced(&self, at: usize) -> Vec<usize> {
        match self.lines[at].unit.block {
            Block::Step(_) => self.steps(at),
            Block::Item | Block::Head => {
                (at..self.lines.len()).take_while(|next| self.is_of_run(at, *next)).take(MOST_ITEMS).collect()
            }
            Block::Code if self.lines[at].unit.text.lines().count() <= MOST_CODE_LINES => vec![at],
            Block::Code | Block::Sentence | Block::Row => Vec::new(),
        }
    }

    /// The steps of the list that a step is of, with what introduces them. The list may begin in the passage before and go on in
    /// the next one.
    fn steps(&self, at: usize) -> Vec<usize> {
        let mut steps = vec![at];
        while let Some(before) = self.step_beside(steps[0], true) {
            steps.insert(0, before);
        }
        let mut last = at;
        while let Some(next) = self.step_beside(last, false) {
            steps.push(next);
            last = next;
        }
        let position = steps.iter().position(|step| *step == at).unwrap_or_default();
        let start = (position + 1).saturating_sub(MOST_STEPS);
        let shown = &steps[start..steps.len().min(start + MOST_STEPS)];
        let (first, last) = (shown[0], shown[shown.len() - 1]);
        let belongs = |at: &usize| shown.contains(at) || matches!(self.lines[*at].unit.block, Block::Item);
        let lead_in = if start == 0 { self.lead_in(first) } else { None };
        lead_in.into_iter().chain((first..=last).filter(belongs)).collect()
    }

    /// The step before or after one, by their numbers.
    fn step_beside(&self, at: usize, before: bool) -> Option<usize> {
        let Block::Step(number) = self.lines[at].unit.block else { return None };
        let wanted = if before { number.checked_sub(1)? } else { number.checked_add(1)? };
        let mut place = at;
        for _ in 0..=BETWEEN_STEPS {
            let next = if before { place.checked_sub(1)? } else { place + 1 };
            if next >= self.lines.len() || !self.is_beside(place, next) {
                return None;
            }
            place = next;
            if let Block::Step(number) = self.lines[place].unit.block {
                return (number == wanted).then_some(place);
            }
        }
        None
    }

    /// Whether nothing of the article is missing between two lines that follow each other here.
    fn is_beside(&self, a: usize, b: usize) -> bool {
        self.lines[a].passage.first_ordinal.abs_diff(self.lines[b].passage.first_ordinal) <= 1
    }

    fn run_start(&self, at: usize) -> usize {
        at - (0..at).rev().take_while(|other| self.is_of_run(at, *other)).count()
    }

    fn is_of_run(&self, a: usize, b: usize) -> bool {
        let (a, b) = (&self.lines[a], &self.lines[b]);
        a.unit.run == b.unit.run && a.passage.first_ordinal == b.passage.first_ordinal
    }

    /// The sentence before a list, if it introduces it.
    fn lead_in(&self, first: usize) -> Option<usize> {
        let before = first.checked_sub(1).filter(|before| self.is_beside(*before, first))?;
        let unit = &self.lines[before].unit;
        (unit.block == Block::Sentence && !unit.is_fragment()).then_some(before)
    }

    fn follower(&self, at: usize) -> Option<usize> {
        let next = at + 1;
        (next < self.lines.len() && self.is_beside(at, next)).then_some(next)
    }
}
