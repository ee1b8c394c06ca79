//! Turns what was found in a document into changes to its text.

use std::ops::Range;

use super::tag::{Kind, Tag, Value};
use super::{Dialect, Element, Findings};
use crate::markdown::lines::{indent_columns, indent_of};

/// The text with everything that was found replaced by what a reader of Markdown should see.
pub(super) fn apply(text: &str, findings: &Findings, dialect: Dialect) -> String {
    let mut edits: Vec<(Range<usize>, String)> = findings.expressions.clone();
    let mut unwrapped: Vec<&Element> = Vec::new();
    for element in &findings.elements {
        let Some((open, close)) = replacement(element, text, dialect) else { continue };
        if open.is_empty() || !open.starts_with('<') {
            unwrapped.push(element);
        }
        edits.push((element.open.clone(), open));
        edits.extend(element.close.clone().map(|range| (range, close)));
    }
    edits.extend(dedents(text, &unwrapped));
    edits.sort_by_key(|(range, _)| (range.start, range.end));

    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    for (range, with) in edits {
        if range.start < at {
            continue;
        }
        out.push_str(&text[at..range.start]);
        out.push_str(&with);
        at = range.end;
    }
    out.push_str(&text[at..]);
    out
}

/// What stands for the opening and the closing tag; `None` to leave the element as it is.
fn replacement(element: &Element, text: &str, dialect: Dialect) -> Option<(String, String)> {
    let tag = &element.tag;
    if tag.is_component() {
        return Some(component(element, text));
    }
    let takes_address = matches!(tag.name.as_str(), "img" | "source" | "iframe" | "embed" | "video" | "audio");
    let has_computed_address = tag
        .attributes
        .iter()
        .any(|(name, value)| matches!(name.as_str(), "src" | "srcSet") && *value == Value::Expression);
    if takes_address && has_computed_address {
        return Some(Default::default());
    }
    let is_jsx = tag.has_expression() || tag.attributes.iter().any(|(name, _)| name == "className");
    match dialect {
        Dialect::Mdx if is_wrapper(&tag.name) => Some(Default::default()),
        Dialect::Mdx if matches!(tag.name.as_str(), "details" | "summary") => {
            // Their content is Markdown here, but in plain Markdown only behind a blank line.
            let (before, after) = if tag.name == "details" { ("\n\n", "\n\n") } else { ("", "") };
            let close = format!("{before}</{}>{}", tag.name, if tag.name == "summary" { "\n\n" } else { "" });
            Some((html(tag) + if tag.name == "details" { "\n" } else { after }, close))
        }
        _ if is_jsx => Some((html(tag), element.close.clone().map(|close| text[close].to_owned()).unwrap_or_default())),
        _ => None,
    }
}

fn component(element: &Element, text: &str) -> (String, String) {
    let tag = &element.tag;
    let Some(close) = &element.close else { return Default::default() };
    let is_block = starts_line(text, element.open.start) && starts_line(text, close.start);
    if let Some(kind) = admonition(tag).filter(|_| is_block) {
        let title = tag.text("title").unwrap_or_default();
        return (format!(":::{kind} {title}").trim_end().to_owned(), ":::".to_owned());
    }
    let label = tag.text("label").or_else(|| tag.text("title")).map(str::trim).filter(|label| !label.is_empty());
    match label {
        Some(label) if starts_line(text, element.open.start) => (format!("**{label}**\n\n"), String::new()),
        _ => Default::default(),
    }
}

/// The admonition a component is in the libraries that documentation is built with.
fn admonition(tag: &Tag) -> Option<String> {
    let kind = match tag.name.as_str() {
        "Note" | "Tip" | "Info" | "Warning" | "Danger" | "Caution" | "Important" | "Check" => &tag.name,
        "Admonition" | "Callout" | "Alert" | "Aside" => tag.text("type").unwrap_or("note"),
        _ => return None,
    };
    kind.bytes().all(|byte| byte.is_ascii_alphabetic()).then(|| kind.to_ascii_lowercase())
}

/// The opening tag as HTML: without computed values.
fn html(tag: &Tag) -> String {
    let mut out = format!("<{}", tag.name);
    for (name, value) in &tag.attributes {
        let name = if name == "className" { "class" } else { name };
        match value {
            Value::Expression => {}
            Value::Empty => out = format!("{out} {name}"),
            Value::Text(text) => out = format!("{out} {name}=\"{}\"", text.replace('"', "&quot;")),
        }
    }
    out + if tag.kind == Kind::SelfClosing { " />" } else { ">" }
}

fn is_wrapper(name: &str) -> bool {
    matches!(name, "div" | "section" | "article" | "main" | "header" | "footer" | "center" | "span" | "p" | "figure")
}

/// Removals of the indentation that the content of unwrapped elements has on account of them: four spaces would make
/// it code.
fn dedents(text: &str, elements: &[&Element]) -> Vec<(Range<usize>, String)> {
    let mut lines: Vec<(usize, &str)> = Vec::new();
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        lines.push((at, line));
        at += line.len();
    }
    let line_of = |offset: usize| lines.partition_point(|(start, _)| *start <= offset).saturating_sub(1);
    let mut change = vec![0_isize; lines.len() + 1];
    for element in elements {
        let Some(close) = &element.close else { continue };
        if !starts_line(text, element.open.start) || !starts_line(text, close.start) {
            continue;
        }
        let inner = line_of(element.open.end.saturating_sub(1)) + 1..line_of(close.start);
        let Some(inner_lines) = lines.get(inner.clone()) else { continue };
        let smallest =
            inner_lines.iter().filter(|(_, line)| !line.trim().is_empty()).map(|(_, line)| indent_columns(line)).min();
        let outer = indent_columns(lines[line_of(element.open.start)].1);
        let shift = smallest.unwrap_or(0).saturating_sub(outer).cast_signed();
        change[inner.start] += shift;
        change[inner.end] -= shift;
    }
    let mut shift = 0_isize;
    let mut edits = Vec::new();
    for (at, (start, line)) in lines.iter().enumerate() {
        shift += change[at];
        let removed = indent_of(line).min(shift.unsigned_abs());
        if removed > 0 {
            edits.push((*start..start + removed, String::new()));
        }
    }
    edits
}

fn starts_line(text: &str, at: usize) -> bool {
    text[..at].rsplit('\n').next().is_some_and(|before| before.trim().is_empty())
}
