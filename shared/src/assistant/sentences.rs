//! A passage's text cut into what can be quoted: sentences, steps, list items and code.
//!
//! Sentences end where Unicode says so (UAX #29, which knows the full stops of all scripts and that `3.14` and `example.com` have
//! none), except after abbreviations: the standard takes `e.g. Berlin` for two.

use std::{ops::Range, sync::LazyLock};

use icu_segmenter::{SentenceSegmenter, SentenceSegmenterBorrowed, options::SentenceBreakInvariantOptions};

/// Longest text of a unit, in characters: what is longer is cut after a sentence or, where there is none, a word.
const MAX_CHARACTERS: usize = 600;
/// What stands between the cells of a table's row.
pub(super) const BETWEEN_CELLS: &str = " | ";

/// What a unit is, and so how it is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Block {
    /// A sentence of running text.
    Sentence,
    /// A numbered list item.
    Step(u32),
    /// An item of a list without numbers.
    Item,
    /// The first row of a table, …
    Head,
    /// … and any other.
    Row,
    /// Lines of code.
    Code,
}

/// What can be quoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unit<'a> {
    /// A part of the passage, without the marker of a list item.
    pub(super) text: &'a str,
    /// What it is.
    pub(super) block: Block,
    /// Units of one paragraph, one list or one block of code have the same number.
    pub(super) run: usize,
}

impl Unit<'_> {
    /// It announces what follows.
    #[must_use]
    pub(super) fn is_lead_in(&self) -> bool {
        self.block == Block::Sentence && self.text.ends_with([':', '：'])
    }

    /// A line that is no sentence, such as a heading or a label.
    #[must_use]
    pub(super) fn is_fragment(&self) -> bool {
        self.block == Block::Sentence && !ends_sentence(self.text)
    }
}

/// The units of a passage in their order. No letter is in two of them, and what is left out is white space, markers of lists, and
/// what a unit is too long for.
#[must_use]
pub(super) fn units(passage: &str) -> Vec<Unit<'_>> {
    let mut units: Vec<Unit<'_>> = Vec::new();
    let mut run = 0;
    let mut last: Option<Line> = None;
    for line in passage.lines() {
        let text = line.trim();
        if text.is_empty() {
            last = None;
            continue;
        }
        let kind = Line::of(line);
        // A list goes on over blank lines, running text and code do not.
        let goes_on = last == Some(kind) || (kind.is_list() && units.last().is_some_and(|unit| kind.has(unit.block)));
        run += usize::from(!goes_on);
        last = Some(kind);
        match kind {
            Line::Code => push_code(&mut units, passage, line, run),
            Line::Step | Line::Item => {
                let block = kind.block(text);
                let content = text[marker(text).map_or(0, |(_, length)| length)..].trim();
                push(&mut units, Unit { text: shortened(content), block, run });
            }
            Line::Row => {
                let is_first = units.last().is_none_or(|unit| unit.run != run);
                let block = if is_first { Block::Head } else { Block::Row };
                push(&mut units, Unit { text: shortened(text), block, run });
            }
            Line::Text => {
                for sentence in sentences(text) {
                    push(&mut units, Unit { text: shortened(&text[sentence]), block: Block::Sentence, run });
                }
            }
        }
    }
    take_ragged_tables_apart(&mut units);
    units
}

/// Empty cells are not in a passage: where rows have different numbers of cells, it cannot be told which columns these are of.
fn take_ragged_tables_apart(units: &mut [Unit<'_>]) {
    let cells = |unit: &Unit<'_>| unit.text.matches(BETWEEN_CELLS).count();
    for run in units.chunk_by_mut(|a, b| a.run == b.run).filter(|run| run[0].block == Block::Head) {
        if run.len() == 1 || run.iter().any(|row| cells(row) != cells(&run[0])) {
            for row in run {
                row.block = Block::Item;
            }
        }
    }
}

/// What a line of a passage is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    Text,
    Step,
    Item,
    Row,
    Code,
}

impl Line {
    fn of(line: &str) -> Self {
        let text = line.trim();
        match marker(text) {
            Some((Some(_), _)) => Self::Step,
            Some((None, _)) => Self::Item,
            None if is_code(line) => Self::Code,
            None if text.contains(BETWEEN_CELLS) => Self::Row,
            None => Self::Text,
        }
    }

    fn is_list(self) -> bool {
        matches!(self, Self::Step | Self::Item | Self::Row)
    }

    fn has(self, block: Block) -> bool {
        match self {
            Self::Step => matches!(block, Block::Step(_)),
            Self::Item => block == Block::Item,
            Self::Row => matches!(block, Block::Head | Block::Row),
            Self::Text | Self::Code => false,
        }
    }

    fn block(self, text: &str) -> Block {
        match (self, marker(text)) {
            (Self::Step, Some((Some(number), _))) => Block::Step(number),
            (Self::Step | Self::Item, _) => Block::Item,
            (Self::Row, _) => Block::Row,
            (Self::Text, _) => Block::Sentence,
            (Self::Code, _) => Block::Code,
        }
    }
}

fn push<'a>(units: &mut Vec<Unit<'a>>, unit: Unit<'a>) {
    if unit.text.chars().any(char::is_alphanumeric) {
        units.push(unit);
    }
}

/// Lines of code that follow each other are one unit.
fn push_code<'a>(units: &mut Vec<Unit<'a>>, passage: &'a str, line: &'a str, run: usize) {
    let start = offset(passage, line);
    match units.last_mut().filter(|unit| unit.block == Block::Code && unit.run == run) {
        Some(unit) => unit.text = &passage[offset(passage, unit.text)..start + line.len()],
        None => units.push(Unit { text: line, block: Block::Code, run }),
    }
}

/// Where a part of a text begins in it.
fn offset(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// The number of a list item, if it has one, and how many bytes the marker takes.
fn marker(text: &str) -> Option<(Option<u32>, usize)> {
    if text.starts_with("- ") {
        return Some((None, 2));
    }
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok().filter(|_| digits <= 4)?;
    text[digits..].starts_with(". ").then_some((Some(number), digits + 2))
}

/// Whether a line is rather code than prose: it is indented, or has more signs that prose has not than it has words.
fn is_code(line: &str) -> bool {
    let is_sign = |c: char| {
        matches!(c, '{' | '}' | '[' | ']' | '<' | '>' | '=' | ';' | '$' | '|' | '\\' | '`' | '@' | '_' | '#' | '*')
    };
    let text = line.trim();
    if text.contains(BETWEEN_CELLS) && !line.starts_with([' ', '\t']) {
        return false;
    }
    let signs = text.chars().filter(|c| is_sign(*c)).count();
    let words = text
        .split_whitespace()
        .filter(|word| word.chars().all(|c| c.is_alphabetic() || ".,:;!?'’\"()".contains(c)))
        .count();
    line.starts_with("  ")
        || line.starts_with('\t')
        || text.ends_with(['{', '}'])
        || (text.ends_with(';') && text.contains(['=', '(', ')', '"']))
        || text.starts_with(['{', '}', '$', '<', '#'])
        || text.starts_with("//")
        || text.starts_with("--")
        || signs > words
}

/// The sentences of a line, as ranges without the white space around them.
fn sentences(line: &str) -> Vec<Range<usize>> {
    static SEGMENTER: LazyLock<SentenceSegmenterBorrowed<'static>> =
        LazyLock::new(|| SentenceSegmenter::new(SentenceBreakInvariantOptions::default()));
    let mut sentences = Vec::new();
    let mut start = 0;
    for end in SEGMENTER.segment_str(line).filter(|end| *end > 0) {
        let goes_on = is_inside_a_word(&line[start..end]) || ends_with_abbreviation(line[start..end].trim_end());
        if end < line.len() && goes_on {
            continue;
        }
        let trimmed = line[start..end].trim();
        if !trimmed.is_empty() {
            let from = offset(line, trimmed);
            sentences.push(from..from + trimmed.len());
        }
        start = end;
    }
    sentences
}

/// The question mark of an address, which nothing but white space would end: full stops of scripts that have no spaces do so alone.
fn is_inside_a_word(sentence: &str) -> bool {
    sentence.ends_with(|c: char| c.is_ascii() && !c.is_whitespace())
}

/// Abbreviations that stand before capital letters and numbers, of languages that many help centers are written in. A sentence
/// that ends with one is joined to the next, which does no harm.
const ABBREVIATIONS: &[&str] = &[
    "e.g", "i.e", "vs", "cf", "approx", "incl", "excl", "no", "nr", "fig", "dr", "mr", "mrs", "ms", "prof", "st",
    "inc", "ltd", "z.b", "d.h", "u.a", "bzw", "ca", "vgl", "evtl", "ggf", "inkl", "abs", "art", "p.ex", "sr", "sra",
    "ej", "pág", "p.es", "т.е", "т.к", "напр",
];

fn ends_with_abbreviation(sentence: &str) -> bool {
    let Some(word) = sentence.strip_suffix('.') else { return false };
    let word =
        word.rsplit(|c: char| c.is_whitespace() || matches!(c, '(' | '[' | '"' | '“' | '«')).next().unwrap_or_default();
    let is_single_letter = || {
        let mut letters = word.chars();
        letters.next().is_some_and(char::is_alphabetic) && letters.next().is_none()
    };
    is_single_letter() || ABBREVIATIONS.contains(&word.to_lowercase().as_str())
}

/// Whether a text ends like a sentence, whatever the script.
fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end_matches(['"', '\'', ')', ']', '”', '’', '»', '」', '』', '）']);
    text.ends_with([
        '.', '!', '?', '。', '！', '？', '．', '…', '؟', '۔', '।', '॥', '։', '።', '።', '၊', '။', ':', '：', ';', '；',
    ])
}

/// The beginning of a text that is not too long.
fn shortened(text: &str) -> &str {
    let Some((limit, _)) = text.char_indices().nth(MAX_CHARACTERS) else { return text };
    let last_sentence = sentences(text).into_iter().take_while(|sentence| sentence.end <= limit).last();
    let end = last_sentence.map(|sentence| sentence.end).or_else(|| text[..limit].rfind(char::is_whitespace));
    text[..end.unwrap_or(limit)].trim_end()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn texts(passage: &str) -> Vec<&str> {
        units(passage).into_iter().map(|unit| unit.text).collect()
    }

    #[test]
    fn sentences_end_where_readers_think_so() {
        assert_eq!(
            texts("Upgrade to version 3.14.1 first. See e.g. Settings on https://example.com/a.b?c=d. It costs $5.00!"),
            [
                "Upgrade to version 3.14.1 first.",
                "See e.g. Settings on https://example.com/a.b?c=d.",
                "It costs $5.00!"
            ]
        );
        assert_eq!(texts("Ask Dr. J. Doe (No. 5). Done?"), ["Ask Dr. J. Doe (No. 5).", "Done?"]);
        assert_eq!(texts("Das gilt z. B. Montags. Sonst nicht."), ["Das gilt z. B. Montags.", "Sonst nicht."]);
        assert_eq!(
            texts("設定を開きます。次に「保存」を押します！終わり"),
            ["設定を開きます。", "次に「保存」を押します！", "終わり"]
        );
        assert_eq!(texts("यह पहला है। यह दूसरा है।"), ["यह पहला है।", "यह दूसरा है।"]);
    }

    #[test]
    fn lists_code_and_tables_are_told_apart() {
        let found = units(
            "To reset it:\n1. Open Settings.\n2. Press Reset. Wait.\n\n3. Done\n- a thing\n\nRun this:\n\nlet a = b;\n  foo(a)\nbar();\n\nSize | Price\n1 GB | $2\n",
        );
        let kinds: Vec<(Block, usize)> = found.iter().map(|unit| (unit.block, unit.run)).collect();
        assert_eq!(
            kinds,
            [
                (Block::Sentence, 1),
                (Block::Step(1), 2),
                (Block::Step(2), 2),
                (Block::Step(3), 2),
                (Block::Item, 3),
                (Block::Sentence, 4),
                (Block::Code, 5),
                (Block::Head, 6),
                (Block::Row, 6),
            ]
        );
        assert_eq!(found[2].text, "Press Reset. Wait.");
        assert_eq!(found[6].text, "let a = b;\n  foo(a)\nbar();");
        assert!(found[0].is_lead_in() && !found[1].is_lead_in());
    }

    #[test]
    fn a_table_with_cells_missing_is_none() {
        let blocks = |passage: &str| units(passage).iter().map(|unit| unit.block).collect::<Vec<_>>();
        assert_eq!(blocks("Plan | Seats | Price\nFree | 3 | $0\nTeam | $9"), [Block::Item; 3]);
        assert_eq!(blocks("this | that"), [Block::Item]);
    }

    #[test]
    fn headings_are_fragments_and_sentences_are_not() {
        let found = units("Billing\nYou can pay by card.");
        assert_eq!(found.iter().map(Unit::is_fragment).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn what_is_too_long_ends_with_a_sentence_or_a_word() {
        let long = format!("1. {}", "Press the button. ".repeat(100));
        let text = texts(&long)[0];
        assert!(text.len() <= MAX_CHARACTERS && text.ends_with("button."), "{text}");
        let words = "word ".repeat(300);
        assert!(texts(&words)[0].ends_with(" word"));
        assert_eq!(texts(&"字".repeat(2_000))[0].chars().count(), MAX_CHARACTERS);
    }

    proptest! {
        #[test]
        fn any_text_is_cut_into_parts_of_it_in_order(passage in "(\\PC|[\n\t .:|1-]){0,200}") {
            let mut from = 0;
            for unit in units(&passage) {
                let at = offset(&passage, unit.text);
                prop_assert!(at >= from && at + unit.text.len() <= passage.len());
                from = at + unit.text.len();
                prop_assert!(unit.text.chars().any(char::is_alphanumeric) || unit.block == Block::Code);
            }
        }
    }
}
