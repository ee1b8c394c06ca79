//! Tables of figures: a row for each measurement, a column for each queue, medians of the runs.

use std::collections::BTreeMap;

use crate::{measure::Side, servers::OURS};

/// The queue that ours is compared with.
const COMPARED: &str = "bullmq";

/// Which figures are the better ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    More,
    Less,
}

/// A table in Markdown.
#[derive(Debug)]
pub(crate) struct Table {
    title: &'static str,
    better: Better,
    sides: Vec<String>,
    /// In the order in which they came first.
    labels: Vec<String>,
    figures: BTreeMap<(String, String), Vec<f64>>,
}

impl Table {
    pub(crate) fn new(title: &'static str, better: Better, sides: &[Side]) -> Self {
        let sides = sides.iter().map(|side| side.name.clone()).collect();
        Self { title, better, sides, labels: Vec::new(), figures: BTreeMap::new() }
    }

    /// Adds the figure of one run.
    pub(crate) fn add(&mut self, label: &str, side: &str, figure: f64) {
        if !self.labels.iter().any(|known| known == label) {
            self.labels.push(label.to_owned());
        }
        self.figures.entry((label.to_owned(), side.to_owned())).or_default().push(figure);
    }

    #[expect(clippy::print_stdout, reason = "the result of the program")]
    pub(crate) fn print(&self) {
        let is_compared = self.sides.iter().any(|side| side == COMPARED);
        let mut heads: Vec<&str> = vec![self.title];
        heads.extend(self.sides.iter().map(String::as_str));
        if is_compared {
            heads.push(match self.better {
                Better::More => "ours / BullMQ",
                Better::Less => "ours / BullMQ (less is better)",
            });
        }
        println!("| {} |", heads.join(" | "));
        println!("|---|{}", "--:|".repeat(heads.len() - 1));
        for label in &self.labels {
            let mut cells = vec![label.clone()];
            cells.extend(self.sides.iter().map(|side| self.median(label, side).map_or_else(|| "-".to_owned(), shown)));
            if is_compared {
                let ratio =
                    self.median(label, OURS).zip(self.median(label, COMPARED)).map(|(ours, theirs)| ours / theirs);
                cells.push(ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}")));
            }
            println!("| {} |", cells.join(" | "));
        }
        println!();
    }

    fn median(&self, label: &str, side: &str) -> Option<f64> {
        let mut figures = self.figures.get(&(label.to_owned(), side.to_owned()))?.clone();
        figures.sort_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied()
    }
}

fn shown(figure: f64) -> String {
    if figure < 100.0 { format!("{figure:.2}") } else { format!("{figure:.0}") }
}
