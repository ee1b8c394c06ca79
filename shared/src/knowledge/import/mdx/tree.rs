//! Finds MDX with the parser made for it. Only documents it accepts as a whole are read this way.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use markdown::mdast::Node;
use markdown::{Constructs, MdxSignal, ParseOptions};

use super::tag::{self, Kind};
use super::{Dialect, Element, Findings, literal, scan};
use crate::markdown::lines::limit_nesting;

/// The parser's tree is walked and freed by recursion: documents that nest deeper are read line by line instead.
const MAX_ELEMENT_DEPTH: usize = 64;
const MAX_MARKS_PER_BLOCK: usize = 1_000;

/// None when the document is no valid MDX.
pub(super) fn find(text: &str) -> Option<Findings> {
    if nests_deeply(text) {
        return None;
    }
    // The parser panics on some of what it should refuse (a list that begins behind a stray brace and an open fence,
    // in 1.0.0). Nothing it has touched is used afterwards.
    let parse = AssertUnwindSafe(|| markdown::to_mdast(text, &options()));
    let tree = catch_unwind(parse).ok()?.ok()?;
    let mut findings = Findings::default();
    visit(&tree, text, &mut findings);
    Some(findings)
}

fn options() -> ParseOptions {
    ParseOptions {
        constructs: Constructs {
            gfm_table: true,
            gfm_task_list_item: true,
            gfm_footnote_definition: true,
            gfm_label_start_footnote: true,
            gfm_strikethrough: true,
            ..Constructs::mdx()
        },
        // A statement ends with the block it is in, unless a bracket is still open.
        mdx_esm_parse: Some(Box::new(|statement| {
            let depth = statement.chars().fold(0_i32, |depth, character| match character {
                '{' | '(' | '[' => depth + 1,
                '}' | ')' | ']' => depth - 1,
                _ => depth,
            });
            if depth > 0 {
                MdxSignal::Eof(
                    "a bracket is open".to_owned(),
                    Box::new("mdx".to_owned()),
                    Box::new("bracket".to_owned()),
                )
            } else {
                MdxSignal::Ok
            }
        })),
        ..ParseOptions::default()
    }
}

fn nests_deeply(text: &str) -> bool {
    let is_mark = |c: char| matches!(c, '*' | '_' | '[' | '~' | '<');
    let mut marks = 0;
    for line in text.lines() {
        marks = if line.trim().is_empty() { 0 } else { marks + line.matches(is_mark).count() };
        if marks > MAX_MARKS_PER_BLOCK {
            return true;
        }
    }
    let mut ends: Vec<usize> = Vec::new();
    let mut elements = scan::find(text, Dialect::Mdx).elements;
    elements.sort_by_key(|element| element.open.start);
    let too_deep = elements.iter().any(|element| {
        ends.retain(|end| *end > element.open.start);
        ends.extend(element.close.as_ref().map(|close| close.end));
        ends.len() > MAX_ELEMENT_DEPTH
    });
    too_deep || matches!(limit_nesting(text), std::borrow::Cow::Owned(_))
}

fn visit(node: &Node, text: &str, findings: &mut Findings) {
    let range = node.position().map(|position| position.start.offset..position.end.offset);
    match (node, range) {
        (Node::MdxjsEsm(_), Some(range)) => findings.expressions.push((range, String::new())),
        (Node::MdxFlowExpression(expression), Some(range)) => {
            findings.expressions.push((range, literal(&expression.value).unwrap_or_default().to_owned()));
        }
        (Node::MdxTextExpression(expression), Some(range)) => {
            findings.expressions.push((range, literal(&expression.value).unwrap_or_default().to_owned()));
        }
        (Node::MdxJsxFlowElement(_) | Node::MdxJsxTextElement(_), Some(range)) => {
            findings.elements.extend(element(text, range));
        }
        _ => {}
    }
    for child in node.children().into_iter().flatten() {
        visit(child, text, findings);
    }
}

fn element(text: &str, range: Range<usize>) -> Option<Element> {
    let source = text.get(range.clone())?;
    let (tag, length) = tag::parse(source)?;
    let open = range.start..range.start + length;
    let close = match tag.kind {
        Kind::SelfClosing => None,
        Kind::Open | Kind::Close => Some(range.start + source.rfind("</")?..range.end),
    };
    Some(Element { tag, open, close })
}
