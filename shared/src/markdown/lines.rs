//! Reads Markdown line by line without mistaking code for text.

use std::borrow::Cow;
use std::ops::Range;

/// Follows fenced code blocks through a document, one line at a time.
#[derive(Debug, Default)]
pub(crate) struct Fences {
    open: Option<(u8, usize)>,
}

impl Fences {
    /// Takes the next line; true when it belongs to a fenced block, its fences included.
    pub(crate) fn is_code(&mut self, line: &str) -> bool {
        if let Some((character, length)) = self.open {
            let body = line.trim_start_matches([' ', '\t', '>']).trim_end();
            if run_of(body, character) >= length && run_of(body, character) == body.len() {
                self.open = None;
            }
            return true;
        }
        self.open = opening_fence(line);
        self.open.is_some()
    }

    /// Forgets an open fence, because the block that holds it ended.
    pub(crate) fn reset(&mut self) {
        self.open = None;
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }
}

/// Deeper nesting than this means nothing to a reader and costs a parser time that grows with its square.
const MAX_NESTING: usize = 48;

/// The document with at most [`MAX_NESTING`] quote and list markers in front of any line.
pub(crate) fn limit_nesting(content: &str) -> Cow<'_, str> {
    if content.lines().all(|line| nesting_excess(line).is_none()) {
        return Cow::Borrowed(content);
    }
    let mut limited = String::with_capacity(content.len());
    for line in content.lines() {
        match nesting_excess(line) {
            Some(excess) => {
                limited.push_str(&line[..excess.start]);
                limited.push_str(&line[excess.end..]);
            }
            None => limited.push_str(line),
        }
        limited.push('\n');
    }
    Cow::Owned(limited)
}

/// The bytes of the markers that are too many.
fn nesting_excess(line: &str) -> Option<Range<usize>> {
    if line.len() < MAX_NESTING {
        return None;
    }
    let mut rest = line;
    let mut start = None;
    for count in 0_usize.. {
        let text = rest.trim_start_matches([' ', '\t']);
        let at = line.len() - text.len();
        if count == MAX_NESTING {
            start = Some(at);
        }
        rest = match text.strip_prefix('>').or_else(|| list_item_body(text).filter(|body| !body.is_empty())) {
            Some(body) => body,
            None => return start.map(|start| start..at),
        };
    }
    None
}

/// The byte length of the whitespace in front of a line, a tab counting as one.
pub(crate) fn indent_of(line: &str) -> usize {
    line.len() - line.trim_start_matches([' ', '\t']).len()
}

/// The columns of whitespace in front of a line, a tab reaching to the next multiple of four.
pub(crate) fn indent_columns(line: &str) -> usize {
    let mut columns = 0;
    for byte in line.bytes() {
        match byte {
            b' ' => columns += 1,
            b'\t' => columns += 4 - columns % 4,
            _ => break,
        }
    }
    columns
}

/// A line without up to `columns` columns of leading whitespace.
pub(crate) fn strip_indent(line: &str, columns: usize) -> &str {
    let mut seen = 0;
    for (at, byte) in line.bytes().enumerate() {
        if seen >= columns {
            return &line[at..];
        }
        match byte {
            b' ' => seen += 1,
            b'\t' => seen += 4 - seen % 4,
            _ => return &line[at..],
        }
    }
    ""
}

/// What follows the marker (`-`, `*`, `+`, `1.`, `1)`) of a list item, when the line begins one.
pub(crate) fn list_item_body(line: &str) -> Option<&str> {
    let line = line.trim_start_matches([' ', '\t']);
    let after = match line.as_bytes().first()? {
        b'-' | b'*' | b'+' => &line[1..],
        b'0'..=b'9' => {
            let digits = line.bytes().take_while(u8::is_ascii_digit).count();
            if digits > 9 || !matches!(line.as_bytes().get(digits), Some(b'.' | b')')) {
                return None;
            }
            &line[digits + 1..]
        }
        _ => return None,
    };
    (after.is_empty() || after.starts_with([' ', '\t'])).then(|| after.trim_start_matches([' ', '\t']))
}

/// Where code stands in a document: fenced blocks, code spans and, where the dialect knows them, indented blocks.
/// Sorted, without overlaps.
pub(crate) fn code_ranges(text: &str, has_indented_code: bool) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let mut fences = Fences::default();
    let (mut in_list, mut after_blank, mut at) = (false, true, 0);
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let is_blank = line.trim().is_empty();
        if fences.is_code(line) {
            ranges.push(start..at);
        } else if has_indented_code && !in_list && after_blank && !is_blank && indent_columns(line) >= 4 {
            ranges.push(start..at);
            continue;
        } else {
            let mut from = start;
            for (is_code, piece) in code_spans(line) {
                if is_code {
                    ranges.push(from..from + piece.len());
                }
                from += piece.len();
            }
        }
        if is_blank {
            after_blank = true;
            continue;
        }
        in_list = list_item_body(line).is_some() || (in_list && (indent_of(line) > 0 || !after_blank));
        after_blank = false;
    }
    ranges
}

/// Splits a line into its code spans and the text between them: `(is_code, piece)`, in order, nothing lost.
pub(crate) fn code_spans(line: &str) -> Vec<(bool, &str)> {
    let mut pieces = Vec::new();
    let mut text_start = 0;
    let mut at = 0;
    while let Some(offset) = line[at..].find('`') {
        let start = at + offset;
        let length = run_of(&line[start..], b'`');
        let body = start + length;
        match closing_backticks(&line[body..], length) {
            Some(close) if !line[..start].ends_with('\\') => {
                let end = body + close + length;
                if start > text_start {
                    pieces.push((false, &line[text_start..start]));
                }
                pieces.push((true, &line[start..end]));
                text_start = end;
                at = end;
            }
            _ => at = body,
        }
    }
    if text_start < line.len() {
        pieces.push((false, &line[text_start..]));
    }
    pieces
}

fn closing_backticks(text: &str, length: usize) -> Option<usize> {
    let mut at = 0;
    while let Some(offset) = text[at..].find('`') {
        let found = run_of(&text[at + offset..], b'`');
        if found == length {
            return Some(at + offset);
        }
        at += offset + found;
    }
    None
}

fn opening_fence(line: &str) -> Option<(u8, usize)> {
    let mut rest = line;
    loop {
        rest = rest.trim_start_matches([' ', '\t', '>']);
        match list_item_body(rest) {
            Some(body) if body.len() < rest.len() => rest = body,
            _ => break,
        }
    }
    let character = *rest.as_bytes().first().filter(|byte| matches!(byte, b'`' | b'~'))?;
    let length = run_of(rest, character);
    let info = &rest[length..];
    (length >= 3 && !(character == b'`' && info.contains('`'))).then_some((character, length))
}

fn run_of(text: &str, byte: u8) -> usize {
    text.bytes().take_while(|found| *found == byte).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_lines(text: &str) -> Vec<bool> {
        let mut fences = Fences::default();
        text.lines().map(|line| fences.is_code(line)).collect()
    }

    #[test]
    fn a_fence_closes_with_its_own_character_and_length() {
        assert_eq!(code_lines("a\n~~~\n```\n~~\n~~~~\nb"), [false, true, true, true, true, false]);
    }

    #[test]
    fn fences_are_seen_in_lists_and_quotes() {
        assert_eq!(code_lines("- ```js\n  x\n  ```\ny"), [true, true, true, false]);
        assert_eq!(code_lines("> ~~~\n> x\n> ~~~\ny"), [true, true, true, false]);
    }

    #[test]
    fn backticks_in_the_info_string_are_inline_code() {
        assert_eq!(code_lines("``` a`b\nx"), [false, false]);
    }

    #[test]
    fn code_spans_need_a_partner_of_equal_length() {
        assert_eq!(
            code_spans("a `b` ``c`d`` `e"),
            [(false, "a "), (true, "`b`"), (false, " "), (true, "``c`d``"), (false, " `e")]
        );
        assert_eq!(code_spans("no code"), [(false, "no code")]);
    }

    #[test]
    fn indentation_is_counted_and_cut_in_columns() {
        assert_eq!(indent_columns("\t x"), 5);
        assert_eq!(strip_indent("\t  x", 4), "  x");
        assert_eq!(strip_indent("  x", 4), "x");
        assert_eq!(strip_indent("  ", 4), "");
    }

    #[test]
    fn code_is_found_wherever_it_stands() {
        let text = "a `b`\n\n    c\n    d\n\n- e\n\n    f\n\ng\n```\nh\n```\n";
        let found = |has_indented_code| {
            code_ranges(text, has_indented_code).into_iter().map(|range| text[range].to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found(true), ["`b`", "    c\n", "    d\n", "```\n", "h\n", "```\n"]);
        assert_eq!(found(false), ["`b`", "```\n", "h\n", "```\n"]);
    }

    #[test]
    fn absurd_nesting_is_cut() {
        assert!(matches!(limit_nesting("> - 1. a\n"), Cow::Borrowed(_)));
        assert_eq!(limit_nesting(&format!("{}x\ny", "> ".repeat(90))).as_ref(), format!("{}x\ny\n", "> ".repeat(48)));
        assert_eq!(limit_nesting(&"- ".repeat(90)).as_ref(), "- ".repeat(48) + "- \n");
    }

    #[test]
    fn list_items_are_told_from_text() {
        assert_eq!(list_item_body("  12) b"), Some("b"));
        assert_eq!(list_item_body("-x"), None);
        assert_eq!(list_item_body("2024 was"), None);
    }
}
