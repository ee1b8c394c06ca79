//! The words of an article without its markup, block by block, in reading order.

use comrak::arena_tree::NodeEdge;
use comrak::nodes::{AstNode, ListType, NodeValue};

use super::anchors::{self, Heading};
use super::invisible::strip_invisible;
use super::raw_html::{Piece, decode_entities, pieces};

/// A block of visible text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextBlock {
    /// A heading.
    Heading(Heading),
    /// A paragraph, or a line of raw HTML.
    Paragraph(String),
    /// A list item with its marker (`- ` or `3. `).
    Item(String),
    /// A table row, its cells separated by ` | `.
    Row(String),
    /// Code as written, line breaks included.
    Code(String),
}

/// The visible text of a Markdown document. Link addresses, image addresses, comments and the default titles of
/// admonitions are not part of it; an image counts with its alternative text.
#[must_use]
pub fn text_blocks(content: &str) -> Vec<TextBlock> {
    super::with_document(content, |root| {
        let headings = anchors::collect(root);
        let mut collector = Collector { headings: headings.into_iter(), ..Collector::default() };
        for edge in root.traverse() {
            match edge {
                NodeEdge::Start(node) => collector.enter(node),
                NodeEdge::End(node) => collector.leave(node),
            }
        }
        collector.flush_paragraph();
        collector.blocks
    })
}

/// The text of an inline container (heading, paragraph, cell), on one line.
pub(crate) fn inline_text<'a>(node: &'a AstNode<'a>) -> String {
    let mut text = String::new();
    let mut images = 0_usize;
    for edge in node.traverse() {
        match edge {
            NodeEdge::Start(child) => {
                images += usize::from(is_image(child));
                push_inline(&mut text, child, images > 0);
            }
            NodeEdge::End(child) => images -= usize::from(is_image(child)),
        }
    }
    tidy(&text, ' ')
}

#[derive(Default)]
struct Collector {
    blocks: Vec<TextBlock>,
    headings: std::vec::IntoIter<Heading>,
    text: String,
    cells: Vec<String>,
    lists: Vec<Option<usize>>,
    marker: Option<String>,
    open_images: usize,
}

impl Collector {
    fn enter<'a>(&mut self, node: &'a AstNode<'a>) {
        match &node.data.borrow().value {
            NodeValue::List(list) => {
                self.lists.push((list.list_type == ListType::Ordered).then_some(list.start));
            }
            NodeValue::Item(_) | NodeValue::TaskItem(_) => {
                self.marker = Some(match self.lists.last_mut() {
                    Some(Some(number)) => {
                        *number += 1;
                        format!("{}. ", *number - 1)
                    }
                    _ => "- ".to_owned(),
                });
            }
            NodeValue::CodeBlock(code) => {
                let literal = strip_invisible(code.literal.trim_end()).into_owned();
                self.push(literal, TextBlock::Code);
            }
            NodeValue::HtmlBlock(block) => self.html_block(&block.literal),
            NodeValue::Image(_) => self.open_images += 1,
            _ => push_inline(&mut self.text, node, self.open_images > 0),
        }
    }

    fn leave<'a>(&mut self, node: &'a AstNode<'a>) {
        match &node.data.borrow().value {
            NodeValue::Image(_) => self.open_images -= 1,
            NodeValue::List(_) => drop(self.lists.pop()),
            NodeValue::Item(_) | NodeValue::TaskItem(_) => self.marker = None,
            NodeValue::Paragraph | NodeValue::CalloutTitle => self.flush_paragraph(),
            NodeValue::Heading(_) => {
                self.text.clear();
                self.blocks.extend(self.headings.next().map(TextBlock::Heading));
            }
            NodeValue::TableCell => {
                let cell = tidy(&std::mem::take(&mut self.text), ' ');
                self.cells.push(cell);
            }
            NodeValue::TableRow(_) => {
                let cells = std::mem::take(&mut self.cells);
                let row = cells.into_iter().filter(|cell| !cell.is_empty()).collect::<Vec<_>>().join(" | ");
                self.push(row, TextBlock::Row);
            }
            _ => {}
        }
    }

    fn flush_paragraph(&mut self) {
        let text = tidy(&std::mem::take(&mut self.text), '\n');
        self.push(text, TextBlock::Paragraph);
    }

    fn html_block(&mut self, html: &str) {
        for line in html_lines(html) {
            self.push(line, TextBlock::Paragraph);
        }
    }

    fn push(&mut self, text: String, kind: fn(String) -> TextBlock) {
        if text.trim().is_empty() {
            return;
        }
        self.blocks.push(match self.marker.take() {
            Some(marker) => TextBlock::Item(marker + &text),
            None => kind(text),
        });
    }
}

fn push_inline<'a>(text: &mut String, node: &'a AstNode<'a>, in_image: bool) {
    match &node.data.borrow().value {
        NodeValue::Text(literal) if in_image && !is_description(literal) => {}
        NodeValue::Text(literal) => text.push_str(literal),
        NodeValue::Code(code) => text.push_str(&code.literal),
        NodeValue::SoftBreak => text.push(' '),
        NodeValue::LineBreak => text.push('\n'),
        NodeValue::HtmlInline(html) => push_html(text, html),
        _ => {}
    }
}

fn is_image<'a>(node: &'a AstNode<'a>) -> bool {
    matches!(node.data.borrow().value, NodeValue::Image(_))
}

/// Alternative texts that say nothing about the image: file names and what converters leave when one was missing.
pub(super) fn is_description(alt: &str) -> bool {
    let alt = alt.trim_matches(|c: char| !c.is_alphanumeric());
    let is_placeholder =
        ["image", "img", "picture", "screenshot", "image not found"].iter().any(|word| alt.eq_ignore_ascii_case(word));
    let is_file_name = !alt.contains(char::is_whitespace)
        && alt.rsplit_once('.').is_some_and(|(_, extension)| {
            ["png", "jpg", "jpeg", "gif", "svg", "webp"].iter().any(|known| extension.eq_ignore_ascii_case(known))
        });
    !is_placeholder && !is_file_name
}

fn html_lines(html: &str) -> Vec<String> {
    let mut text = String::new();
    push_html(&mut text, html);
    text.lines()
        .map(|line| tidy(line, ' ').trim_matches(['|', ' ']).to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

fn push_html(text: &mut String, html: &str) {
    for piece in pieces(html) {
        match piece {
            Piece::Text(raw) => text.push_str(&decode_entities(raw).replace('\n', " ")),
            Piece::Literal(source) => text.push_str(source),
            Piece::Hidden => {}
            Piece::Tag(tag) if tag.is("br") => text.push('\n'),
            Piece::Tag(tag) if tag.is("img") => {
                let alt = tag.value("alt").unwrap_or_default();
                if is_description(&alt) {
                    text.push_str(&alt);
                }
            }
            Piece::Tag(tag) if tag.is("td") || tag.is("th") => {
                if tag.closing {
                    text.push_str(" | ");
                }
            }
            Piece::Tag(tag) => {
                if BLOCK_NAMES.split_whitespace().any(|name| tag.is(name)) {
                    text.push('\n');
                }
            }
        }
    }
}

/// One space between words, and `line_break` where the author broke a line on purpose; no invisible characters.
fn tidy(text: &str, line_break: char) -> String {
    let text = strip_invisible(text);
    let mut out = String::with_capacity(text.len());
    for line in text.split('\n') {
        let mut words = line.split_whitespace().peekable();
        if words.peek().is_some() && !out.is_empty() {
            out.push(line_break);
        }
        for (at, word) in words.enumerate() {
            if at > 0 {
                out.push(' ');
            }
            out.push_str(word);
        }
    }
    out
}

const BLOCK_NAMES: &str = "address article aside blockquote caption center dd details div dl dt figcaption figure footer h1 h2 h3 h4 h5 h6 \
    header hr li ol p pre section summary tr ul";

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(source: &str) -> Vec<String> {
        text_blocks(source)
            .into_iter()
            .map(|block| match block {
                TextBlock::Heading(heading) => format!("{}# {}", heading.level, heading.text),
                TextBlock::Paragraph(text) | TextBlock::Item(text) | TextBlock::Row(text) | TextBlock::Code(text) => {
                    text
                }
            })
            .collect()
    }

    #[test]
    fn lists_tables_and_code_keep_their_lines() {
        let source =
            "3. one\n4. two\n   - deep\n\n| A | B |\n|---|---|\n| `x` | [y](z.md) |\n\n```\nlet a;\n  b\n```\n";
        assert_eq!(lines(source), ["3. one", "4. two", "- deep", "A | B", "x | y", "let a;\n  b"]);
    }

    #[test]
    fn addresses_go_and_descriptions_of_images_stay() {
        let source =
            "See [the *guide*](https://x.example/y) ![A chart](c.png) ![\\[Image NOT FOUND\\]](d.png) ![c.png](c.png)";
        assert_eq!(lines(source), ["See the guide A chart"]);
    }

    #[test]
    fn raw_html_gives_its_text() {
        let source = "<table><tr><td>A</td><td>B &amp; C</td></tr></table>\n\nPress <kbd>Ctrl</kbd><br>now <!-- no --> @<user>\n";
        assert_eq!(lines(source), ["A | B & C", "Press Ctrl\nnow @<user>"]);
    }

    #[test]
    fn scripts_and_comments_are_no_text() {
        assert_eq!(lines("<script>\nlet secret;\n</script>\n\nseen\n\n<!-- a\n\nb -->\n"), ["seen"]);
    }

    #[test]
    fn admonitions_give_their_own_title_only() {
        assert_eq!(
            lines(":::tip Save `early`\nBody\n:::\n!!! note \"\"\n\n    Text\n"),
            ["Save early", "Body", "Text"]
        );
    }

    #[test]
    fn hidden_characters_do_not_come_back_through_entities() {
        assert_eq!(lines("in&#8203;voice &#x202E;abc"), ["invoice abc"]);
    }
}
