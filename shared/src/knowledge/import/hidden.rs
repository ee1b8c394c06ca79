//! Takes out of an imported text what its readers would not see: comments, and characters without a width. What
//! people cannot review must not reach search, citations or a language model.

use crate::markdown::lines::code_ranges;
use crate::markdown::{is_suspect, strip_invisible};

/// The text without HTML comments and invisible characters, written as such or as `&#8203;`. Code loses invisible
/// characters too (they make code lie), but keeps its comments.
#[must_use]
pub(super) fn strip_hidden(text: &str) -> String {
    let visible = strip_invisible(text);
    let without_comments = strip_comments(&visible);
    strip_references(&without_comments)
}

fn strip_comments(text: &str) -> String {
    let last_end = text.rfind("-->").unwrap_or(0);
    outside_code(text, "<!--", |rest, at_line_start| {
        // `<!-->` and `<!--->` are whole comments.
        if rest.starts_with("<!-->") || rest.starts_with("<!--->") {
            return rest.find('>').map(|end| end + 1);
        }
        if text.len() - rest.len() < last_end {
            return rest.find("-->").map(|end| end + 3);
        }
        // Never closed: at the beginning of a line Markdown takes all the rest for a comment.
        at_line_start.then_some(rest.len())
    })
}

fn strip_references(text: &str) -> String {
    outside_code(text, "&", |rest, _| {
        let end = rest.bytes().take(32).position(|byte| byte == b';')?;
        is_invisible(&rest[1..end]).then_some(end + 1)
    })
}

/// A character reference (without `&` and `;`) that stands for an invisible character.
fn is_invisible(name: &str) -> bool {
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16),
            None => number.parse(),
        };
        return code.ok().and_then(char::from_u32).is_some_and(is_suspect);
    }
    matches!(
        name,
        "shy" | "zwj" | "zwnj" | "lrm" | "rlm" | "NoBreak" | "ZeroWidthSpace" | "InvisibleTimes" | "it" | "ic"
    ) || name.ends_with("ThinSpace") && name.starts_with("Negative")
        || matches!(name, "NegativeMediumSpace" | "NegativeThickSpace" | "ApplyFunction" | "af" | "InvisibleComma")
}

/// Removes what `length` measures at each place outside code where `start` stands.
fn outside_code(text: &str, start: &str, length: impl Fn(&str, bool) -> Option<usize>) -> String {
    if !text.contains(start) {
        return text.to_owned();
    }
    let mut code = code_ranges(text, true).into_iter().peekable();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(offset) = text[at..].find(start) {
        let found = at + offset;
        out.push_str(&text[at..found]);
        while code.next_if(|range| range.end <= found).is_some() {}
        let is_code = code.peek().is_some_and(|range| range.start <= found);
        let before = text[..found].trim_end_matches([' ', '\t']);
        let at_line_start = before.is_empty() || before.ends_with('\n');
        let removed = if is_code { None } else { length(&text[found..], at_line_start) };
        if let Some(length) = removed {
            at = found + length;
        } else {
            out.push_str(start);
            at = found + start.len();
        }
    }
    out.push_str(&text[at..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_wherever_they_stand() {
        assert_eq!(strip_hidden("a <!-- b\nc --> d\n<!-- -->e <!-->f"), "a  d\ne f");
        assert_eq!(strip_hidden("a\n<!-- never closed\nb"), "a\n");
        assert_eq!(strip_hidden("a <!-- never closed"), "a <!-- never closed");
    }

    #[test]
    fn comments_in_code_are_code() {
        let source = "`<!-- a -->`\n```html\n<!-- b -->\n```\n";
        assert_eq!(strip_hidden(source), source);
    }

    #[test]
    fn invisible_characters_go_however_they_are_written() {
        assert_eq!(
            strip_hidden("in\u{200b}voice in&#8203;voice in&#x200B;voice in&ZeroWidthSpace;voice"),
            "invoice invoice invoice invoice"
        );
        assert_eq!(strip_hidden("`a\u{202e}b` &amp; &nbsp; &#65;"), "`ab` &amp; &nbsp; &#65;");
    }

    #[test]
    fn hostile_input_does_not_stall() {
        let start = std::time::Instant::now();
        for source in ["<!--".repeat(100_000), "&".repeat(400_000), "a<!--".repeat(80_000)] {
            let _ = strip_hidden(&source);
        }
        assert!(start.elapsed().as_secs() < 30, "{:?}", start.elapsed());
    }
}
