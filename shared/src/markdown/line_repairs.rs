//! What a reader would stumble over within a line, left by the tools and habits of other documentation: macros, icons
//! drawn by style sheets (`(<i class="…"></i>)`, which would leave empty parentheses), anchors behind the two spaces of
//! a line break, spaces on the wrong side of `**`, backslashes in bare web addresses. Code spans are left alone.

use std::borrow::Cow;

use super::admonition;
use super::lines::{code_spans, indent_of, list_item_body};

/// The line without macros; `None` when nothing of it is left to show.
pub(crate) fn clean_line(line: &str) -> Option<Cow<'_, str>> {
    if !line.contains(['{', '<']) && !line.contains("**") && !line.contains("://") {
        return Some(Cow::Borrowed(line));
    }
    let trimmed = line.trim();
    let body = list_item_body(trimmed).unwrap_or(trimmed);
    if let Some(name) = body.strip_prefix("{tab|").and_then(|rest| rest.strip_suffix('}')) {
        let indent = &line[..indent_of(line)];
        return Some(Cow::Owned(format!("\n{indent}**{}**\n", tab_label(name))));
    }
    if is_lone_macro(body) {
        return None;
    }
    let mut out = String::with_capacity(line.len());
    for (is_code, piece) in code_spans(line) {
        if is_code {
            out.push_str(piece);
        } else {
            push_without_macros(&mut out, &without_backslashes_in_addresses(&without_icons(piece)));
        }
    }
    keep_line_break(&mut out);
    let out = with_tight_bold(out);
    if out == line {
        Some(Cow::Borrowed(line))
    } else if list_item_body(&out).unwrap_or(out.trim()).is_empty() {
        None
    } else {
        Some(Cow::Owned(out))
    }
}

/// A line that is one macro: `{start_tabs}`, `{end_tabs}`, `{settings_tab|profile}`, `{: .wide }`, `{some_macro}`.
fn is_lone_macro(text: &str) -> bool {
    let Some(inner) = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) else { return false };
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || matches!(byte, b'_' | b'-'));
    inner.starts_with([':', '!'])
        || (inner.contains('_') && !inner.starts_with('_') && is_name(inner))
        || inner.split_once('|').is_some_and(|(name, _)| !name.is_empty() && is_name(name))
}

/// Drops `{!file.md!}`, `{settings_tab|…}`, `{relative|…}`, `{tab|…}` and a trailing `{: .class }`.
fn push_without_macros(out: &mut String, text: &str) {
    const OPENERS: [&str; 7] = ["{!", "{settings_tab|", "{relative|", "{tab|", "{start_tabs}", "{end_tabs}", "{:"];
    let mut rest = text;
    while let Some(at) = rest.find('{') {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let close = OPENERS.iter().any(|opener| from.starts_with(opener)).then(|| from.find('}')).flatten();
        match close {
            Some(close) if !from.starts_with("{!") || from[..close].ends_with('!') => rest = &from[close + 1..],
            _ => {
                out.push('{');
                rest = &from[1..];
            }
        }
    }
    out.push_str(rest);
}

/// Drops icons that only a style sheet would show, with the parentheses around them.
fn without_icons(text: &str) -> Cow<'_, str> {
    if !text.contains("<i class=") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("<i class=") {
        let end = rest[start..].find('>').map(|end| start + end).filter(|end| rest[*end..].starts_with("></i>"));
        let Some(end) = end.map(|end| end + "></i>".len()) else { break };
        let (before, after) = (&rest[..start], &rest[end..]);
        let (before, after) = match (before.strip_suffix('('), after.strip_prefix(')')) {
            (Some(before), Some(after)) => (before.strip_suffix(' ').unwrap_or(before), after),
            _ => (before, after),
        };
        out.push_str(before);
        rest = after;
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// `**Save **the` → `**Save** the`, and nothing for `****`. Lines in which the marks do not pair up stay.
fn with_tight_bold(line: String) -> String {
    let parts: Vec<&str> = line.split("**").collect();
    let is_rule = line.trim().bytes().all(|byte| matches!(byte, b'*' | b' '));
    let is_code = |(is_code, piece): &(bool, &str)| *is_code && piece.contains("**");
    if parts.len() < 3
        || parts.len().is_multiple_of(2)
        || is_rule
        || line.contains("\\*")
        || code_spans(&line).iter().any(is_code)
    {
        return line;
    }
    let mut out = String::with_capacity(line.len());
    for (at, part) in parts.iter().enumerate() {
        let text = part.trim();
        let is_word = text.starts_with(|c: char| c.is_alphabetic() || matches!(c, '[' | '`' | '/'))
            && text.ends_with(|c: char| c.is_alphanumeric() || matches!(c, ':' | '.' | ')' | ']' | '`' | '#'));
        if at.is_multiple_of(2) || (text.is_empty() && part.is_empty()) {
            out.push_str(part);
        } else if is_word && part.starts_with(' ') != part.ends_with(' ') {
            let before = if part.starts_with(' ') && !out.ends_with(' ') { " " } else { "" };
            let after = if part.ends_with(' ') { " " } else { "" };
            out.extend([before, "**", text, "**", after]);
        } else {
            out.extend(["**", part, "**"]);
        }
    }
    out
}

/// `https://a\.example/b\-c` → `https://a.example/b-c`: in a bare address the escapes would stay visible, and break it.
fn without_backslashes_in_addresses(text: &str) -> Cow<'_, str> {
    if !text.contains("://") || !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let end = rest[at..].find(|c: char| c.is_whitespace() || c == '<').map_or(rest.len(), |end| at + end);
        let before = rest[..at].trim_end_matches(|c: char| c.is_ascii_alphanumeric());
        out.push_str(&rest[..at]);
        let is_destination = before.ends_with(['(', '<', '"']) && !before.ends_with("\\(");
        let address = &rest[at..end];
        if is_destination {
            out.push_str(address);
        } else {
            let mut characters = address.chars().peekable();
            while let Some(character) = characters.next() {
                let is_escape = character == '\\'
                    && characters.peek().is_some_and(|next| next.is_ascii_punctuation() && *next != '*');
                if !is_escape {
                    out.push(character);
                }
            }
        }
        rest = &rest[end..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// `Term  <a name="term"></a>`: the two spaces ask for a line break, which the anchor behind them takes away.
fn keep_line_break(line: &mut String) {
    let text = line.trim_end();
    let Some(start) = text.rfind("<a ").filter(|_| text.ends_with("\"></a>")) else { return };
    if line[..start].ends_with("  ") && !line[..start].trim().is_empty() {
        line.truncate(text.len());
        line.push_str("  ");
    }
}

/// `desktop-web` → `Desktop/Web`, `ios` → `iOS`, `via-user-profile` → `Via user profile`.
fn tab_label(name: &str) -> String {
    match name.trim() {
        "desktop-web" => "Desktop/Web".to_owned(),
        "ios" => "iOS".to_owned(),
        "macos" => "macOS".to_owned(),
        other => admonition::humanise(other),
    }
}

#[cfg(test)]
mod tests {
    use super::super::dialect::normalise;

    #[test]
    fn icons_leave_no_empty_parentheses() {
        assert_eq!(
            normalise("Click **gear** (<i class=\"fa fa-cog\"></i>), then <i class=\"fa\"></i>ok\n").as_ref(),
            "Click **gear**, then ok\n"
        );
        assert_eq!(
            normalise("<i>kept</i> `(<i class=\"fa\"></i>)`\n").as_ref(),
            "<i>kept</i> `(<i class=\"fa\"></i>)`\n"
        );
    }

    #[test]
    fn spaces_inside_bold_move_out() {
        for (source, expected) in [
            ("The **Set queue **block and **B**.\n", "The **Set queue** block and **B**.\n"),
            ("The** gear** menu\n", "The **gear** menu\n"),
            ("such as ****Success.\n", "such as Success.\n"),
        ] {
            assert_eq!(normalise(source).as_ref(), expected);
        }
        for source in
            ["2 ** 3 ** 4\n", "f(**a, **b)\n", "`**a **`\n", "****\n", "** a\n", "**a\nb **c\n", "***a** b*\n"]
        {
            assert_eq!(normalise(source).as_ref(), source);
        }
    }

    #[test]
    fn bare_addresses_lose_their_escapes() {
        let source = "Open https://a\\.example/b\\-c\\) or [x](https://a.example/\\(b) `https://a\\.b`\n";
        assert_eq!(
            normalise(source).as_ref(),
            "Open https://a.example/b-c) or [x](https://a.example/\\(b) `https://a\\.b`\n"
        );
    }

    #[test]
    fn an_anchor_does_not_take_away_a_line_break() {
        assert_eq!(normalise("**T**  <a name=\"t\"></a>\nx\n").as_ref(), "**T**  <a name=\"t\"></a>  \nx\n");
        assert_eq!(normalise("T <a name=\"t\"></a>\nx\n").as_ref(), "T <a name=\"t\"></a>\nx\n");
    }

    #[test]
    fn braces_that_mean_something_to_a_reader_stay() {
        for source in ["Use `{id}` or {id} here {x|y}.\n", "{name}\n", "a {} b\n"] {
            assert_eq!(normalise(source).as_ref(), source);
        }
    }
}
