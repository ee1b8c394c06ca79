//! The table.
#![expect(clippy::print_stdout, reason = "it prints a table")]

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use uuid::Uuid;

use crate::ask::{Answer, Quote};

/// What came of the questions to a collection.
pub(crate) struct Report {
    collection: String,
    answerable: usize,
    cited: usize,
    cited_first: usize,
    refused: usize,
    off_topic: usize,
    off_topic_refused: usize,
    unanswered: usize,
    unanswered_refused: usize,
    quotes: usize,
    verbatim: usize,
    answered: usize,
    /// Shares of the expected answers' words that the quotes say, …
    recalls: Vec<f64>,
    /// … and how much like them the best single quote is: F1 of its words.
    likeness: Vec<f64>,
    supported: usize,
    withheld: usize,
    retrieval: Vec<Duration>,
    writing: Vec<Duration>,
    whole: Vec<Duration>,
}

/// Prints what the columns are.
pub(crate) fn print_head() {
    println!(
        "{:<18} {:>16} {:>12} {:>16} {:>16} {:>12} {:>14} {:>7} {:>13} {:>15} {:>13} {:>11} {:>9}",
        "collection",
        "cite a relevant",
        "first source",
        "answerable",
        "off-topic",
        "unanswered",
        "word for word",
        "quotes",
        "recall / F1",
        "claims",
        "retrieval ms",
        "writing ms",
        "whole ms"
    );
    println!(
        "{:<18} {:>16} {:>12} {:>16} {:>16} {:>12} {:>14} {:>7} {:>13} {:>15} {:>13} {:>11} {:>9}",
        "",
        "of answerable",
        "is relevant",
        "refused",
        "refused",
        "refused",
        "",
        "each",
        "of answer",
        "supported",
        "p50 p95",
        "p50 p95",
        "p50 p95"
    );
}

impl Report {
    pub(crate) fn new(collection: &str) -> Self {
        Self {
            collection: collection.to_owned(),
            answerable: 0,
            cited: 0,
            cited_first: 0,
            refused: 0,
            off_topic: 0,
            off_topic_refused: 0,
            unanswered: 0,
            unanswered_refused: 0,
            quotes: 0,
            verbatim: 0,
            answered: 0,
            recalls: Vec::new(),
            likeness: Vec::new(),
            supported: 0,
            withheld: 0,
            retrieval: Vec::new(),
            writing: Vec::new(),
            whole: Vec::new(),
        }
    }

    pub(crate) fn add_answerable(
        &mut self,
        answer: &Answer,
        ids: &HashMap<Uuid, String>,
        judged: &HashMap<String, u32>,
        expected: Option<&str>,
    ) {
        self.add(answer);
        self.answerable += 1;
        self.refused += usize::from(is_refused(answer));
        let relevant = |quote: &Quote| judged.get(&ids[&quote.article]).is_some_and(|grade| *grade > 0);
        self.cited += usize::from(answer.quotes.iter().any(relevant));
        self.cited_first += usize::from(answer.quotes.first().is_some_and(relevant));
        if let Some(expected) = expected {
            let expected = words(expected);
            let quoted: Vec<HashSet<String>> = answer.quotes.iter().map(|quote| words(&quote.text)).collect();
            let said: HashSet<String> = quoted.iter().flatten().cloned().collect();
            self.recalls.push(share(expected.intersection(&said).count(), expected.len()));
            self.likeness.push(quoted.iter().map(|quote| f1(quote, &expected)).fold(0.0, f64::max));
        }
    }

    pub(crate) fn add_off_topic(&mut self, answer: &Answer) {
        self.add(answer);
        self.off_topic += 1;
        self.off_topic_refused += usize::from(is_refused(answer));
    }

    pub(crate) fn add_unanswered(&mut self, answer: &Answer) {
        self.add(answer);
        self.unanswered += 1;
        self.unanswered_refused += usize::from(is_refused(answer));
    }

    fn add(&mut self, answer: &Answer) {
        self.retrieval.push(answer.retrieval);
        self.whole.push(answer.whole);
        self.supported += answer.supported;
        self.withheld += answer.withheld;
        if is_refused(answer) {
            return;
        }
        self.writing.push(answer.writing);
        self.answered += 1;
        for quote in &answer.quotes {
            self.quotes += 1;
            self.verbatim += usize::from(one_spaced(&quote.passage).contains(&one_spaced(&quote.text)));
        }
    }

    pub(crate) fn print(mut self) {
        let of = |count: usize, all: usize| format!("{:.1}% {count}/{all}", 100.0 * share(count, all));
        let some = |count, all: usize| if all == 0 { "-".to_owned() } else { of(count, all) };
        let expected = if self.recalls.is_empty() {
            "-".to_owned()
        } else {
            format!("{:.3} / {:.3}", mean(&self.recalls), mean(&self.likeness))
        };
        println!(
            "{:<18} {:>16} {:>12} {:>16} {:>16} {:>12} {:>14} {:>7.1} {:>13} {:>15} {:>13} {:>11} {:>9}",
            self.collection,
            of(self.cited, self.answerable),
            format!("{:.1}%", 100.0 * share(self.cited_first, self.answerable)),
            of(self.refused, self.answerable),
            of(self.off_topic_refused, self.off_topic),
            some(self.unanswered_refused, self.unanswered),
            of(self.verbatim, self.quotes),
            share(self.quotes, self.answered),
            expected,
            some(self.supported, self.supported + self.withheld),
            percentiles(&mut self.retrieval),
            percentiles(&mut self.writing),
            percentiles(&mut self.whole),
        );
    }
}

fn is_refused(answer: &Answer) -> bool {
    !answer.is_answered
}

fn words(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase).collect()
}

fn f1(quote: &HashSet<String>, expected: &HashSet<String>) -> f64 {
    2.0 * share(quote.intersection(expected).count(), quote.len() + expected.len())
}

fn one_spaced(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn share(part: usize, all: usize) -> f64 {
    part as f64 / all.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "counts are small")]
fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

fn percentiles(times: &mut [Duration]) -> String {
    times.sort_unstable();
    let at = |share: usize| times.get(times.len() * share / 100).map_or(0.0, Duration::as_secs_f64);
    format!("{:.0} {:.0}", 1e3 * at(50), 1e3 * at(95))
}
