//! Highlighted snippets that are safe to put into a page.

/// Marks a hit's beginning and end inside PostgreSQL's `ts_headline`, which does not escape HTML. Private-use characters
/// that are taken out of the text before.
pub(super) const START: char = '\u{E000}';
/// See [`START`].
pub(super) const STOP: char = '\u{E001}';

/// Stand in for `<` and `>`, since `ts_headline` leaves out what looks like markup to it.
pub(super) const LESS: char = '\u{E002}';
/// See [`LESS`].
pub(super) const GREATER: char = '\u{E003}';

/// Escapes the text and turns the marks into `<mark>`; nothing else becomes markup, and every mark is closed.
pub(super) fn to_html(headline: &str) -> String {
    let mut html = String::with_capacity(headline.len() + 32);
    let mut open = false;
    for character in headline.chars() {
        match character {
            START if !open => {
                html.push_str("<mark>");
                open = true;
            }
            STOP if open => {
                html.push_str("</mark>");
                open = false;
            }
            START | STOP => {}
            // A passage has lines; a snippet is one.
            '\n' => html.push(' '),
            '&' => html.push_str("&amp;"),
            '<' | LESS => html.push_str("&lt;"),
            '>' | GREATER => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            other => html.push(other),
        }
    }
    if open {
        html.push_str("</mark>");
    }
    html
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_is_escaped_and_hits_are_marked() {
        let headline = format!("<b>{START}reset{STOP}</b> & \"go\"");
        assert_eq!(to_html(&headline), "&lt;b&gt;<mark>reset</mark>&lt;/b&gt; &amp; &quot;go&quot;");
        assert_eq!(to_html(&format!("{LESS}i{GREATER}")), "&lt;i&gt;");
    }

    proptest! {
        #[test]
        fn only_balanced_marks_are_markup(text in "[\u{E000}\u{E001}<>a&]{0,40}") {
            let html = to_html(&text);
            let rest = html.replace("<mark>", "").replace("</mark>", "");
            prop_assert!(!rest.contains(['<', '>']));
            prop_assert_eq!(html.matches("<mark>").count(), html.matches("</mark>").count());
        }
    }
}
