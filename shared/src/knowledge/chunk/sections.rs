//! The sections of an article as atoms of text, small neighbours put together.

use std::ops::Range;

use text_splitter::{ChunkConfig, ChunkSizer, TextSplitter};

use super::divide::{Atom, Boundary};
use super::tokens::Estimator;
use crate::markdown::{TextBlock, text_blocks};

/// Sections shorter than this are put together with their neighbours.
const TINY_TOKENS: usize = 70;

/// What a tiny section and one that is not may make together, so that joining does not blur what is good on its own.
const JOINED_TOKENS: usize = 160;

/// Paragraphs longer than this may be cut between sentences.
const WHOLE_PARAGRAPH_TOKENS: usize = 60;

/// A sentence longer than this is cut at words.
const MAX_ATOM_TOKENS: usize = 110;

/// One section, or several small ones under a common heading.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) path: Vec<String>,
    pub(super) anchor: Option<String>,
    pub(super) atoms: Vec<Atom>,
    tokens: usize,
    /// Consists of tiny sections only.
    is_tiny: bool,
}

/// The article's groups in order; `limit` says how many tokens fit into a passage under a heading path.
pub(super) fn groups(content: &str, estimator: Estimator, limit: impl Fn(&[String]) -> usize) -> Vec<Group> {
    let splitter = TextSplitter::new(ChunkConfig::new(8..=MAX_ATOM_TOKENS).with_sizer(estimator));
    let mut merged: Vec<Group> = Vec::new();
    for group in sections(content, &splitter, estimator) {
        match merged.last_mut() {
            Some(last) if belong_together(last, &group, estimator, &limit) => join(last, group, estimator),
            _ => merged.push(group),
        }
    }
    merged.retain_mut(|group| {
        // A heading with nothing under it is still something the article says.
        if group.atoms.is_empty()
            && let Some(heading) = group.path.pop()
        {
            push_text(&mut group.atoms, &heading, "\n\n", Boundary::Paragraph, &splitter, estimator);
        }
        !group.atoms.is_empty()
    });
    merged
}

fn sections(content: &str, splitter: &TextSplitter<Estimator>, estimator: Estimator) -> Vec<Group> {
    let mut headings: Vec<(u8, String)> = Vec::new();
    let mut sections = vec![Group { path: Vec::new(), anchor: None, atoms: Vec::new(), tokens: 0, is_tiny: true }];
    for block in text_blocks(content) {
        if let TextBlock::Heading(heading) = block {
            while headings.last().is_some_and(|(level, _)| *level >= heading.level) {
                headings.pop();
            }
            let is_parent_said = |section: &mut Group| {
                section.atoms.is_empty() && section.path.len() == headings.len() && !section.path.is_empty()
            };
            // A heading followed at once by one of its sub-headings stays visible in their paths.
            if sections.last_mut().is_some_and(is_parent_said) {
                sections.pop();
            }
            headings.push((heading.level, heading.text));
            let path = headings.iter().map(|(_, text)| text.clone()).filter(|text| !text.is_empty()).collect();
            sections.push(Group { path, anchor: Some(heading.anchor), atoms: Vec::new(), tokens: 0, is_tiny: true });
            continue;
        }
        if let Some(section) = sections.last_mut() {
            push_block(section, block, splitter, estimator);
        }
    }
    sections.retain(|section| !section.atoms.is_empty() || !section.path.is_empty());
    sections
}

fn push_block(section: &mut Group, block: TextBlock, splitter: &TextSplitter<Estimator>, estimator: Estimator) {
    let before = section.atoms.len();
    match block {
        TextBlock::Heading(_) => {}
        TextBlock::Paragraph(text) => {
            push_text(&mut section.atoms, &text, "\n\n", Boundary::Paragraph, splitter, estimator);
        }
        TextBlock::Item(text) | TextBlock::Row(text) => {
            push_text(&mut section.atoms, &text, "\n", Boundary::Line, splitter, estimator);
        }
        TextBlock::Code(text) => {
            for (at, line) in text.lines().filter(|line| !line.trim().is_empty()).enumerate() {
                let glue = if at == 0 { "\n\n" } else { "\n" };
                push_text(&mut section.atoms, line, glue, Boundary::Line, splitter, estimator);
            }
            if let Some(last) = section.atoms.last_mut() {
                last.boundary = Boundary::Paragraph;
            }
        }
    }
    section.tokens += section.atoms[before..].iter().map(|atom| atom.tokens).sum::<usize>();
    section.is_tiny = section.tokens < TINY_TOKENS;
}

/// The text as one atom, or as its sentences when it is long.
fn push_text(
    atoms: &mut Vec<Atom>,
    text: &str,
    glue: &'static str,
    boundary: Boundary,
    splitter: &TextSplitter<Estimator>,
    estimator: Estimator,
) {
    let tokens = estimator.tokens(text);
    if tokens <= WHOLE_PARAGRAPH_TOKENS {
        let boundary = if text.ends_with(':') { Boundary::LeadIn } else { boundary };
        return atoms.push(Atom { text: text.to_owned(), tokens, glue, boundary });
    }
    let mut end = 0;
    let mut glue = glue;
    for window in windows(text) {
        for (start, sentence) in splitter.chunk_indices(&text[window.clone()]) {
            let start = window.start + start;
            if end > 0 {
                glue = glue_of(&text[end..start]);
            }
            let boundary = if ends_sentence(sentence) { Boundary::Sentence } else { Boundary::Word };
            atoms.push(Atom { text: sentence.to_owned(), tokens: estimator.tokens(sentence), glue, boundary });
            end = start + sentence.len();
        }
    }
    if let Some(last) = atoms.last_mut() {
        last.boundary = boundary;
    }
}

/// Parts of a long text that end with a sentence, or a word, or anywhere. The splitter looks at all that is left for
/// each cut it makes, which would take time that grows with the square of the length.
fn windows(text: &str) -> Vec<Range<usize>> {
    const WINDOW_BYTES: usize = 1_000;
    let mut windows = Vec::new();
    let mut start = 0;
    while text.len() - start > WINDOW_BYTES {
        let window = &text[start..text.floor_char_boundary(start + WINDOW_BYTES)];
        let end_of = |ends: &[&str]| ends.iter().filter_map(|end| window.rfind(end).map(|at| at + end.len())).max();
        let end =
            end_of(&[". ", "? ", "! ", "\n", "。", "！", "？"]).or_else(|| end_of(&[" "])).unwrap_or(window.len());
        windows.push(start..start + end);
        start += end;
    }
    windows.push(start..text.len());
    windows
}

fn glue_of(gap: &str) -> &'static str {
    if gap.contains('\n') {
        "\n"
    } else if gap.is_empty() {
        ""
    } else {
        " "
    }
}

fn ends_sentence(text: &str) -> bool {
    let text = text.trim_end_matches(['"', '\'', ')', ']', '”', '’', '»', '」', '』']);
    text.ends_with(['.', '!', '?', '。', '！', '？', '…', '؟', '۔', '।', '।', ';'])
}

fn belong_together(first: &Group, second: &Group, estimator: Estimator, limit: &impl Fn(&[String]) -> usize) -> bool {
    if !first.is_tiny && !second.is_tiny {
        return false;
    }
    let Some((second_heading, second_parent)) = second.path.split_last() else { return false };
    let (common, extra) = match first.path.split_last() {
        _ if second_parent == first.path => (second_parent, 0),
        Some((heading, parent)) if second_parent == parent => (parent, estimator.tokens(heading)),
        _ => return false,
    };
    let limit = if first.is_tiny && second.is_tiny { limit(common) } else { limit(common).min(JOINED_TOKENS) };
    first.tokens + second.tokens + extra + estimator.tokens(second_heading) <= limit
}

/// Puts the second group behind the first, under their common heading; the others' headings become lines of text.
fn join(first: &mut Group, mut second: Group, estimator: Estimator) {
    let Some(second_heading) = second.path.pop() else { return };
    if first.path != second.path
        && let Some(heading) = first.path.pop()
    {
        if let Some(atom) = first.atoms.first_mut() {
            atom.glue = "\n";
        }
        first.atoms.insert(0, Atom::line(heading, estimator));
    }
    if let Some(atom) = second.atoms.first_mut() {
        atom.glue = "\n";
    }
    first.atoms.push(Atom::line(second_heading, estimator));
    first.atoms.append(&mut second.atoms);
    first.tokens = first.atoms.iter().map(|atom| atom.tokens).sum();
    first.is_tiny &= second.is_tiny;
}

impl ChunkSizer for Estimator {
    fn size(&self, chunk: &str) -> usize {
        self.tokens(chunk)
    }
}
