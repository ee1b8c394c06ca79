//! What a document says about itself: its first heading and its first paragraph.

use std::ops::Range;

use comrak::nodes::{AstNode, NodeValue};
use comrak::{Arena, parse_document};

use super::anchors;
use super::text::{TextBlock, inline_text, text_blocks};

/// The first heading of a document.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FirstHeading {
    pub(crate) text: String,
    /// Its bytes in the document, line end included, when nothing visible stands before it.
    pub(crate) leading: Option<Range<usize>>,
}

/// Paragraphs shorter than this are labels, not text.
const MIN_PARAGRAPH_CHARS: usize = 32;

pub(crate) fn first_heading(content: &str) -> Option<FirstHeading> {
    let content = super::lines::limit_nesting(content);
    let arena = Arena::new();
    // Not brought to one dialect first: that would move the lines.
    let root = parse_document(&arena, &content, &super::options());
    let node = root.descendants().find(|node| matches!(node.data.borrow().value, NodeValue::Heading(_)))?;
    let is_leading = root.children().find(|block| !is_silent(block)).is_some_and(|first| first.same_node(node));
    let lines = node.data.borrow().sourcepos.start.line..=node.data.borrow().sourcepos.end.line;
    let text = anchors::collect(root).into_iter().next()?.text;
    let leading = is_leading.then(|| {
        let mut ends = std::iter::once(0).chain(content.split_inclusive('\n').scan(0, |end, line| {
            *end += line.len();
            Some(*end)
        }));
        let start = ends.clone().nth(lines.start() - 1).unwrap_or(0);
        start..ends.nth(*lines.end()).unwrap_or(content.len())
    });
    Some(FirstHeading { text, leading })
}

/// The plain text of the first paragraph that is one: not a label, a picture or a note. One that only announces a list
/// is cut to what it says before, gives way to a section called "Description" and the like, or brings its list along. Failing all that, whatever text
/// comes first; empty when there is none.
pub(crate) fn first_paragraph(content: &str) -> String {
    let paragraph = super::with_document(content, |root| {
        root.children()
            .filter(|block| is_prose(block))
            .map(|block| inline_text(block))
            .find(|text| is_long_enough(text))
    });
    match paragraph {
        Some(text) if text.ends_with(':') => match text.rfind(['.', '!', '?']).map(|end| &text[..=end]) {
            Some(sentences) if is_long_enough(sentences) => sentences.to_owned(),
            _ => description(content).unwrap_or_else(|| with_list(&text, content)),
        },
        Some(text) => text,
        None => {
            let mut texts = text_blocks(content).into_iter().filter_map(words_of).peekable();
            let first = texts.peek().cloned().unwrap_or_default();
            texts.find(|text| is_long_enough(text)).unwrap_or(first)
        }
    }
}

/// The first text under a heading that promises a description.
fn description(content: &str) -> Option<String> {
    const HEADINGS: [&str; 5] = ["description", "overview", "summary", "introduction", "about"];
    let is_description = |block: &TextBlock| match block {
        TextBlock::Heading(heading) => HEADINGS.iter().any(|name| heading.text.eq_ignore_ascii_case(name)),
        _ => false,
    };
    let section = text_blocks(content).into_iter().skip_while(|block| !is_description(block)).skip(1);
    section
        .take_while(|block| !matches!(block, TextBlock::Heading(_)))
        .filter_map(words_of)
        .find(|text| is_long_enough(text) && !text.ends_with(':'))
}

/// A line that announces a list, with the list's items.
fn with_list(lead_in: &str, content: &str) -> String {
    const MAX_ITEMS: usize = 12;
    let is_lead_in = |block: &TextBlock| matches!(block, TextBlock::Paragraph(text) if text.split_whitespace().eq(lead_in.split_whitespace()));
    let blocks = text_blocks(content).into_iter().skip_while(|block| !is_lead_in(block)).skip(1);
    let items: Vec<String> = blocks
        .take_while(|block| matches!(block, TextBlock::Item(_)))
        .take(MAX_ITEMS)
        .filter_map(words_of)
        .map(|item| item.trim_end_matches(['.', ';', ',', ':']).to_owned())
        .collect();
    if items.is_empty() { lead_in.to_owned() } else { format!("{lead_in} {}.", items.join("; ")) }
}

/// The block's text on one line and without the marker of a list item; none for headings and code.
fn words_of(block: TextBlock) -> Option<String> {
    let text = match block {
        TextBlock::Heading(_) | TextBlock::Code(_) => return None,
        TextBlock::Paragraph(text) | TextBlock::Row(text) => text,
        TextBlock::Item(text) => text.trim_start_matches(|c: char| !c.is_alphabetic()).to_owned(),
    };
    Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn is_silent<'a>(block: &'a AstNode<'a>) -> bool {
    match &block.data.borrow().value {
        NodeValue::HtmlBlock(html) => text_blocks(&html.literal).is_empty(),
        NodeValue::Paragraph => {
            let has_image = block.descendants().any(|node| matches!(node.data.borrow().value, NodeValue::Image(_)));
            !has_image && inline_text(block).is_empty()
        }
        NodeValue::ThematicBreak => true,
        _ => false,
    }
}

/// A paragraph that is more than labels and links, such as **Note** with a line break behind, or a way back.
fn is_prose<'a>(block: &'a AstNode<'a>) -> bool {
    if !matches!(block.data.borrow().value, NodeValue::Paragraph) {
        return false;
    }
    let is_strong = |node: &'a AstNode<'a>| matches!(node.data.borrow().value, NodeValue::Strong);
    let opens_note = block.first_child().is_some_and(|first| {
        let breaks = first.next_sibling().is_some_and(|next| matches!(next.data.borrow().value, NodeValue::LineBreak));
        is_strong(first) && breaks
    });
    let has_words = block.children().any(|child| match &child.data.borrow().value {
        NodeValue::Text(text) => text.chars().any(char::is_alphanumeric),
        NodeValue::Emph | NodeValue::Code(_) => true,
        _ => false,
    });
    has_words && !opens_note
}

fn is_long_enough(text: &str) -> bool {
    // A Chinese or Japanese character says about as much as three letters.
    let weight: usize = text.chars().map(|character| if u32::from(character) >= 0x2E80 { 3 } else { 1 }).sum();
    weight >= MIN_PARAGRAPH_CHARS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading(content: &str) -> Option<(String, &str)> {
        let heading = first_heading(content)?;
        Some((heading.text, &content[heading.leading?]))
    }

    #[test]
    fn a_leading_heading_is_found_with_its_lines() {
        assert_eq!(
            leading("\n# A *b*<a name=\"c\"></a>\n\nText\n"),
            Some(("A b".to_owned(), "# A *b*<a name=\"c\"></a>\n"))
        );
        assert_eq!(leading("A\nb\n===\nText\n"), Some(("A b".to_owned(), "A\nb\n===\n")));
        assert_eq!(leading("<a name=\"top\"></a>\n\n## A {#x}"), Some(("A".to_owned(), "## A {#x}")));
    }

    #[test]
    fn a_heading_further_down_leads_nothing() {
        assert_eq!(first_heading("Text\n\n## A\n"), Some(FirstHeading { text: "A".to_owned(), leading: None }));
        assert_eq!(first_heading("> # A\n").and_then(|heading| heading.leading), None);
        assert_eq!(first_heading("Text\n"), None);
    }

    #[test]
    fn the_first_paragraph_is_prose() {
        let text = "This paragraph says what the article is about.";
        for before in [
            "",
            "# Title\n\n",
            "![A picture of something](a.png)\n\n",
            "**Contents of this page**\n\n",
            "Short.\n\n",
            "[Back to the overview page](a.md)\n\n",
            ":::tip\nA tip that is long enough to be text.\n:::\n\n",
            "**Note**  \nSomething long enough to be a text.\n\n",
            "- An item that is long enough to be text\n\n",
            "| a | b |\n|---|---|\n\n",
        ] {
            assert_eq!(first_paragraph(&format!("{before}{text}\n\nMore.\n")), text, "{before}");
        }
    }

    #[test]
    fn other_text_stands_in_for_a_missing_paragraph() {
        assert_eq!(
            first_paragraph("1. **Open** the settings of your account.\n"),
            "Open the settings of your account."
        );
        assert_eq!(first_paragraph("Short.\n"), "Short.");
        assert_eq!(
            first_paragraph("Settings can be changed in two places:\n\n- one.\n- two;\n\nMore.\n"),
            "Settings can be changed in two places: one; two."
        );
        assert_eq!(
            first_paragraph("This paragraph says something first. Then it lists:\n\n- one\n"),
            "This paragraph says something first."
        );
        assert_eq!(
            first_paragraph(
                "## Types\n\nThis can be used in all of these:\n- a\n\n## Description\n\n- It sends a message to all customers.\n"
            ),
            "It sends a message to all customers."
        );
        assert_eq!(first_paragraph("設定を開いてください。\n"), "設定を開いてください。");
        assert_eq!(first_paragraph("```\ncode\n```\n"), "");
    }
}
