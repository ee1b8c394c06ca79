//! Names for headings, so that links can point into an article.
//!
//! An anchor is the heading's text the way GitHub and Docusaurus write it (so that `page.md#some-heading` in imported
//! content keeps working), or the name its author gave it (`## Title {#name}`, `## Title<a name="name"></a>`), with a
//! prefix: without it a heading called "Search" would take the id of the page's own search field.

use std::collections::{HashMap, HashSet};

use comrak::nodes::{AstNode, NodeValue};
use percent_encoding::percent_decode_str;
use unicode_normalization::char::is_combining_mark;

use super::raw_html::{Piece, pieces};
use super::text::inline_text;

/// Stands in front of every id that comes from an article.
pub const ANCHOR_PREFIX: &str = "h-";

const MAX_ANCHOR_CHARS: usize = 120;

/// A heading of an article.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heading {
    /// 1 to 6, as shown (see [`render`](super::render) on level 1).
    pub level: u8,
    /// Plain text.
    pub text: String,
    /// The id of the heading's element, prefix included; unique in the article.
    pub anchor: String,
}

/// The id that a fragment as written (`some-heading`, with or without `#`, percent-encoded or not) stands for.
#[must_use]
pub fn anchor_for_fragment(fragment: &str) -> String {
    let fragment = fragment.strip_prefix('#').unwrap_or(fragment);
    let decoded = percent_decode_str(fragment).decode_utf8_lossy();
    if decoded.starts_with(ANCHOR_PREFIX) {
        return decoded.into_owned();
    }
    format!("{ANCHOR_PREFIX}{decoded}")
}

/// The headings in reading order. Takes the author's own names out of the tree, so that they are not shown.
pub(crate) fn collect<'a>(root: &'a AstNode<'a>) -> Vec<Heading> {
    let nodes: Vec<_> = root.descendants().filter(|node| level_of(node).is_some()).collect();
    let given: Vec<_> = nodes.iter().map(|node| take_name(node)).collect();
    let mut names = Names::default();
    let claimed: Vec<_> = given.into_iter().map(|name| name.filter(|name| names.used.insert(name.clone()))).collect();
    nodes
        .iter()
        .zip(claimed)
        .map(|(node, name)| {
            let text = inline_text(node);
            let anchor = name.unwrap_or_else(|| names.unique(&anchor_text(&text)));
            Heading { level: level_of(node).unwrap_or(1), text, anchor: format!("{ANCHOR_PREFIX}{anchor}") }
        })
        .collect()
}

fn level_of(node: &AstNode<'_>) -> Option<u8> {
    match node.data.borrow().value {
        NodeValue::Heading(ref heading) => Some(heading.level),
        _ => None,
    }
}

/// GitHub's rule: lower case; letters, marks, digits, `_` and `-` stay, spaces become `-`, the rest goes.
fn anchor_text(text: &str) -> String {
    let anchor: String = text
        .to_lowercase()
        .chars()
        .filter_map(|character| match character {
            ' ' | '\n' => Some('-'),
            '-' | '_' => Some(character),
            other => (other.is_alphanumeric() || is_combining_mark(other)).then_some(other),
        })
        .take(MAX_ANCHOR_CHARS)
        .collect();
    if anchor.is_empty() { "section".to_owned() } else { anchor }
}

#[derive(Default)]
struct Names {
    used: HashSet<String>,
    next_suffix: HashMap<String, u32>,
}

impl Names {
    /// `wanted`, or `wanted-1`, `wanted-2`, … when it is taken.
    fn unique(&mut self, wanted: &str) -> String {
        if self.used.insert(wanted.to_owned()) {
            return wanted.to_owned();
        }
        let suffix = self.next_suffix.entry(wanted.to_owned()).or_default();
        loop {
            *suffix += 1;
            let anchor = format!("{wanted}-{suffix}");
            if self.used.insert(anchor.clone()) {
                return anchor;
            }
        }
    }
}

fn take_name<'a>(heading: &'a AstNode<'a>) -> Option<String> {
    take_braced_name(heading).or_else(|| take_anchor_element(heading))
}

/// `{#name}` or `{: #name }` at the end of the heading's text.
fn take_braced_name<'a>(heading: &'a AstNode<'a>) -> Option<String> {
    let last = heading.last_child()?;
    let mut data = last.data.borrow_mut();
    let NodeValue::Text(ref mut text) = data.value else { return None };
    let open = text.rfind('{')?;
    let inner = text[open..].trim_end().strip_prefix('{')?.strip_suffix('}')?;
    let name = inner.trim_start_matches(':').trim().strip_prefix('#')?.split_whitespace().next()?.to_owned();
    let kept = text[..open].trim_end().to_owned();
    *text = kept.into();
    is_name(&name).then_some(name)
}

/// The first `<a name="name"></a>` inside the heading.
fn take_anchor_element<'a>(heading: &'a AstNode<'a>) -> Option<String> {
    for child in heading.children() {
        let name = match child.data.borrow().value {
            NodeValue::HtmlInline(ref html) => pieces(html).find_map(|piece| match piece {
                Piece::Tag(tag)
                    if !tag.closing && tag.name.eq_ignore_ascii_case("a") && tag.value("href").is_none() =>
                {
                    tag.value("id").or_else(|| tag.value("name"))
                }
                _ => None,
            }),
            _ => None,
        };
        let Some(name) = name.filter(|name| is_name(name)) else { continue };
        let closing = child.next_sibling().filter(
            |next| matches!(next.data.borrow().value, NodeValue::HtmlInline(ref html) if html.starts_with("</")),
        );
        if let Some(closing) = closing {
            closing.detach();
        }
        child.detach();
        return Some(name);
    }
    None
}

fn is_name(name: &str) -> bool {
    let is_name_char = |c: char| c.is_alphanumeric() || is_combining_mark(c) || matches!(c, '-' | '_' | '.' | ':');
    !name.is_empty() && name.chars().count() <= MAX_ANCHOR_CHARS && name.chars().all(is_name_char)
}

#[cfg(test)]
mod tests {
    use super::super::{LinkTarget, render};
    use super::*;

    fn anchors(source: &str) -> Vec<String> {
        render(source, &|_| LinkTarget::Keep).headings.into_iter().map(|heading| heading.anchor).collect()
    }

    #[test]
    fn anchors_are_written_as_github_writes_them() {
        assert_eq!(anchors("## What's *new* in 2.0?\n## 1. Set `up_it`\n"), ["h-whats-new-in-20", "h-1-set-up_it"]);
    }

    #[test]
    fn every_script_keeps_its_letters_and_marks() {
        assert_eq!(anchors("## การตั้งค่า\n## क्षमता\n## 設定 方法\n"), ["h-การตั้งค่า", "h-क्षमता", "h-設定-方法"]);
    }

    #[test]
    fn equal_and_empty_headings_get_different_anchors() {
        assert_eq!(
            anchors("## A\n## A\n## A 1\n## !\n## ?\n"),
            ["h-a", "h-a-1", "h-a-1-1", "h-section", "h-section-1"]
        );
    }

    #[test]
    fn names_given_by_authors_win_and_are_not_shown() {
        let source = "## Metrics {#kpi.all}\n## Kpi.all\n## Old<a name=\"Old-Name\"></a>\n## Set {: #set }\n";
        let rendered = render(source, &|_| LinkTarget::Keep);
        let anchors: Vec<_> = rendered.headings.iter().map(|heading| heading.anchor.as_str()).collect();
        assert_eq!(anchors, ["h-kpi.all", "h-kpiall", "h-Old-Name", "h-set"]);
        let texts: Vec<_> = rendered.headings.iter().map(|heading| heading.text.as_str()).collect();
        assert_eq!(texts, ["Metrics", "Kpi.all", "Old", "Set"]);
    }

    #[test]
    fn a_fragment_leads_to_the_anchor() {
        assert_eq!(anchor_for_fragment("#set-up"), "h-set-up");
        assert_eq!(anchor_for_fragment("%E8%A8%AD%E5%AE%9A"), "h-設定");
        assert_eq!(anchor_for_fragment("h-set-up"), "h-set-up");
    }
}
