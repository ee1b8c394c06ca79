//! Finds MDX in a text without a grammar for it: tolerant of anything, and cautious where a text may be plain Markdown.

use std::ops::Range;

use super::tag::{self, Kind, Tag};
use super::{Dialect, Element, Findings, literal};
use crate::markdown::lines::code_ranges;

/// Deeper nesting is not followed; it bounds the search for the partner of a closing tag.
const MAX_OPEN: usize = 256;

pub(super) fn find(text: &str, dialect: Dialect) -> Findings {
    let code = code_ranges(text, dialect == Dialect::Markdown);
    let mut findings = Findings::default();
    statements(text, &code, &mut findings);
    let mut taken = findings.expressions.iter().map(|(range, _)| range.clone()).chain(code).collect::<Vec<_>>();
    taken.sort_by_key(|range| range.start);

    let mut taken = taken.into_iter().peekable();
    let mut open: Vec<(Tag, Range<usize>)> = Vec::new();
    let last_comment_end = text.rfind("*/}").unwrap_or(0);
    let mut at = 0;
    while let Some(offset) = text[at..].find(['<', '{']) {
        let start = at + offset;
        while taken.next_if(|range| range.end <= start).is_some() {}
        if let Some(range) = taken.peek().filter(|range| range.start <= start) {
            at = range.end;
            continue;
        }
        at = match text.as_bytes()[start] {
            b'{' if text[start..].starts_with("{/*") && start < last_comment_end => comment(text, start, &mut findings),
            b'{' => expression(text, start, dialect, &mut findings),
            _ => element(text, start, &mut open, &mut findings),
        };
    }
    if dialect == Dialect::Mdx {
        // A component that is never closed still is no text.
        let unclosed = open.into_iter().filter(|(tag, _)| tag.is_component());
        findings.expressions.extend(unclosed.map(|(_, range)| (range, String::new())));
    }
    findings
}

/// `import …` and `export …` at the beginning of a block.
fn statements(text: &str, code: &[Range<usize>], findings: &mut Findings) {
    let mut code = code.iter().peekable();
    let mut block_start = true;
    let mut at = 0;
    while at < text.len() {
        while code.next_if(|range| range.end <= at).is_some() {}
        let line_end = text[at..].find('\n').map_or(text.len(), |end| at + end + 1);
        let is_code = code.peek().is_some_and(|range| range.start <= at);
        if block_start
            && !is_code
            && let Some(length) = statement_length(&text[at..])
        {
            findings.expressions.push((at..at + length, String::new()));
            at += length;
            continue;
        }
        block_start = text[at..line_end].trim().is_empty();
        at = line_end;
    }
}

/// The length of the statement that begins a text, with the end of its last line.
fn statement_length(text: &str) -> Option<usize> {
    const MAX_LINES: usize = 200;
    let is_import = text.starts_with("import ") || text.starts_with("import{");
    let is_export = text.strip_prefix("export ").is_some_and(begins_declaration);
    if !is_import && !is_export {
        return None;
    }
    let mut depth = 0_i32;
    let mut length = 0;
    for line in text.split_inclusive('\n').take(MAX_LINES) {
        if line.trim().is_empty() && depth <= 0 {
            break;
        }
        length += line.len();
        for character in line.chars() {
            match character {
                '{' | '(' | '[' => depth += 1,
                '}' | ')' | ']' => depth -= 1,
                _ => {}
            }
        }
        let statement = text[..length].trim_end();
        if depth <= 0 && is_import && is_import_statement(statement) {
            return Some(length);
        }
        if depth <= 0 && is_export && statement.ends_with([';', '}', ')']) {
            return Some(length);
        }
    }
    (is_export && depth <= 0).then_some(length)
}

fn begins_declaration(rest: &str) -> bool {
    let keyword = rest.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    match keyword {
        "const" | "let" | "var" | "function" | "class" | "async" | "type" | "interface" => {
            rest[keyword.len()..].starts_with(' ')
                && rest.lines().next().is_some_and(|line| line.contains(['=', '(', '{']))
        }
        "default" => {
            let value = rest["default".len()..].trim_start();
            let name = value.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).next().unwrap_or_default();
            let after = value[name.len()..].lines().next().unwrap_or_default().trim();
            matches!(name, "function" | "class" | "async")
                || after.is_empty()
                || after.starts_with([';', '(', '{', '='])
        }
        "" => rest.starts_with(['{', '*']),
        _ => false,
    }
}

/// `import … from "module"` or `import "module"`, and nothing after it.
fn is_import_statement(statement: &str) -> bool {
    let statement = statement.trim_end_matches(';').trim_end();
    let Some(quote) = statement.chars().next_back().filter(|quote| matches!(quote, '"' | '\'')) else { return false };
    let body = &statement[..statement.len() - 1];
    let Some(open) = body.rfind(quote) else { return false };
    let before = body[..open].trim_end();
    before == "import" || before.ends_with(" from") || before.ends_with("}from")
}

fn comment(text: &str, start: usize, findings: &mut Findings) -> usize {
    let end = text[start..].find("*/}").map_or(text.len(), |end| start + end + 3);
    findings.expressions.push((start..end, String::new()));
    end
}

fn expression(text: &str, start: usize, dialect: Dialect, findings: &mut Findings) -> usize {
    let rest = &text[start..];
    if rest[1..].trim_start().starts_with(['"', '\'', '`'])
        && let Some(length) = tag::expression_length(rest)
        && let Some(literal) = literal(&rest[1..length - 1])
        && (dialect == Dialect::Mdx || literal.trim().is_empty())
    {
        findings.expressions.push((start..start + length, literal.to_owned()));
        return start + length;
    }
    start + 1
}

fn element(text: &str, start: usize, open: &mut Vec<(Tag, Range<usize>)>, findings: &mut Findings) -> usize {
    let Some((tag, length)) = tag::parse(&text[start..]) else { return start + 1 };
    let range = start..start + length;
    let end = range.end;
    match tag.kind {
        Kind::SelfClosing => findings.elements.push(Element { tag, open: range, close: None }),
        Kind::Open if is_void(&tag.name) => findings.elements.push(Element { tag, open: range, close: None }),
        Kind::Open if open.len() < MAX_OPEN => open.push((tag, range)),
        Kind::Open => {}
        Kind::Close => {
            if let Some(partner) = open.iter().rposition(|(candidate, _)| candidate.name == tag.name) {
                open.truncate(partner + 1);
                if let Some((tag, opened)) = open.pop() {
                    let inner = &text[opened.end..range.start];
                    let expression = inner.trim();
                    if tag.is_component() && tag::expression_length(expression) == Some(expression.len()) {
                        findings.expressions.push((opened.end..range.start, String::new()));
                    }
                    findings.elements.push(Element { tag, open: opened, close: Some(range) });
                }
            }
        }
    }
    end
}

fn is_void(name: &str) -> bool {
    matches!(
        name,
        "img" | "br" | "hr" | "source" | "input" | "embed" | "track" | "wbr" | "col" | "link" | "meta" | "area"
    )
}
