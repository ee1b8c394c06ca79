//! Brings the spellings of several documentation tools to one: admonition containers (`:::tip`, `!!! tip`) become
//! callouts (`> [!tip]`), which the parser knows; tab markers and macros of Zulip's help center, which have no
//! meaning here, become labels or go. Working on lines before the parser runs keeps one document, so that reference
//! links and footnotes work across container borders.
//!
//! Inside its lines, [`line_repairs`](super::line_repairs) does the rest.

use std::borrow::Cow;

use super::admonition;
use super::line_repairs::clean_line;
use super::lines::{Fences, indent_columns, indent_of, list_item_body, strip_indent};

/// Nested containers beyond this depth are shown as text; it bounds the length of the line prefixes.
const MAX_CONTAINERS: usize = 8;

/// The document in the one spelling the parser understands. Code is left alone.
pub(crate) fn normalise(content: &str) -> Cow<'_, str> {
    if !["!!!", ":::", "{", "></i>", "></a>", "** ", " **", "****", "://"].iter().any(|mark| content.contains(mark)) {
        return Cow::Borrowed(content);
    }
    let lines: Vec<&str> = content.lines().collect();
    let mut writer = Writer { out: String::with_capacity(content.len() + 256), ..Writer::default() };
    for at in 0..lines.len() {
        writer.line(&lines, at);
    }
    Cow::Owned(writer.out)
}

#[derive(Debug)]
enum Container {
    /// Opened by colons; closed by at least as many. `quoted` is false for containers that are no admonition.
    Fenced { colons: usize, indent: usize, quoted: bool },
    /// Opened by `!!!`; lasts while lines are indented by `body` columns or more.
    Indented { indent: usize, body: usize },
}

#[derive(Debug, Default)]
struct Writer {
    out: String,
    containers: Vec<Container>,
    fences: Fences,
    fence_depth: usize,
    in_list: bool,
    after_blank: bool,
}

impl Writer {
    fn line(&mut self, lines: &[&str], at: usize) {
        let mut line = self.leave_indented(lines[at]);
        if self.fences.is_open() {
            self.fences.is_code(line);
            return self.emit(line);
        }
        self.follow_list(line);
        let is_indented_code = !self.in_list && indent_columns(line) >= 4;
        if is_indented_code {
            return self.emit(line);
        }
        if self.fences.is_code(line) {
            self.fence_depth = self.containers.len();
            return self.emit(line);
        }
        let text = line.trim();
        if let Some(colons) = text.strip_prefix(":::").map(|rest| 3 + rest.len() - rest.trim_start_matches(':').len()) {
            return self.fenced_marker(line, colons);
        }
        if let Some(head) = text.strip_prefix("!!!").or_else(|| text.strip_prefix("???"))
            && let Some((kind, title)) = python_head(head)
        {
            return self.open_indented(lines, at, line, &kind, &title);
        }
        let cleaned = clean_line(line);
        match &cleaned {
            Some(Cow::Borrowed(_)) => {}
            Some(Cow::Owned(text)) => line = text,
            None => return self.blank(),
        }
        self.emit(line);
    }

    /// Ends the `!!!` blocks this line is no longer part of, and returns the line as their content sees it.
    fn leave_indented<'l>(&mut self, line: &'l str) -> &'l str {
        let mut rest = line;
        for depth in 0..self.containers.len() {
            let strip = match self.containers[depth] {
                Container::Fenced { indent, .. } => indent,
                Container::Indented { body, .. } => {
                    if !rest.trim().is_empty() && indent_columns(rest) < body {
                        self.close_to(depth);
                        return rest;
                    }
                    body
                }
            };
            rest = strip_indent(rest, strip);
        }
        rest
    }

    fn close_to(&mut self, depth: usize) {
        self.containers.truncate(depth);
        if self.fence_depth > depth {
            self.fences.reset();
        }
        self.blank();
    }

    fn follow_list(&mut self, line: &str) {
        if line.trim().is_empty() {
            self.after_blank = true;
            return;
        }
        if list_item_body(line).is_some() && (self.in_list || indent_columns(line) < 4) {
            self.in_list = true;
        } else if indent_of(line) == 0 && self.after_blank {
            self.in_list = false;
        }
        self.after_blank = false;
    }

    fn fenced_marker(&mut self, line: &str, colons: usize) {
        let rest = line.trim().trim_start_matches(':').trim();
        if rest.is_empty() {
            let open = self.containers.iter().rposition(
                |container| matches!(container, Container::Fenced { colons: opened, .. } if *opened <= colons),
            );
            return match open {
                Some(depth) => self.close_to(depth),
                None => self.blank(),
            };
        }
        let Some((kind, title)) = docusaurus_head(rest) else { return self.emit(line) };
        if self.containers.len() >= MAX_CONTAINERS {
            return self.emit(line);
        }
        let indent = indent_columns(line);
        self.blank();
        let quoted = admonition::is_known(&kind);
        if quoted {
            self.head(indent, &kind, &title);
        } else if !title.is_empty() {
            self.emit(&format!("{}**{title}**", " ".repeat(indent)));
            self.blank();
        }
        self.containers.push(Container::Fenced { colons, indent, quoted });
    }

    fn open_indented(&mut self, lines: &[&str], at: usize, line: &str, kind: &str, title: &str) {
        if self.containers.len() >= MAX_CONTAINERS {
            return self.emit(line);
        }
        let indent = indent_columns(line);
        let outer: usize = indent_columns(lines[at]).saturating_sub(indent);
        // Authors indent by more than the required four; without code's further four that is still text.
        let smallest = lines[at + 1..]
            .iter()
            .map(|next| (next.trim().is_empty(), indent_columns(next).saturating_sub(outer)))
            .take_while(|(is_blank, columns)| *is_blank || *columns >= indent + 4)
            .filter(|(is_blank, _)| !is_blank)
            .map(|(_, columns)| columns)
            .min();
        self.blank();
        self.head(indent, kind, title);
        let Some(smallest) = smallest else { return self.blank() };
        let body = if smallest < indent + 8 { smallest } else { indent + 4 };
        self.containers.push(Container::Indented { indent, body });
    }

    fn head(&mut self, indent: usize, kind: &str, title: &str) {
        self.emit(format!("{}> [!{kind}] {title}", " ".repeat(indent)).trim_end());
    }

    fn blank(&mut self) {
        self.emit("");
    }

    fn emit(&mut self, line: &str) {
        for container in &self.containers {
            match *container {
                Container::Fenced { indent, quoted: true, .. } | Container::Indented { indent, .. } => {
                    self.out.extend(std::iter::repeat_n(' ', indent));
                    self.out.push_str("> ");
                }
                Container::Fenced { indent, .. } => self.out.extend(std::iter::repeat_n(' ', indent)),
            }
        }
        self.out.push_str(line);
        self.out.push('\n');
    }
}

/// ` tip Title`, `tip[Title]`, `tip{.class}`: the kind in lower case and the title, which may be empty.
fn docusaurus_head(rest: &str) -> Option<(String, String)> {
    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(rest.len());
    let (kind, after) = rest.split_at(length);
    if !kind.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let title = match after.strip_prefix('[').and_then(|title| title.split_once(']')) {
        Some((title, _)) => title,
        None if after.starts_with('{') => after.split_once('}').map_or("", |(_, title)| title),
        None if after.is_empty() || after.starts_with([' ', '\t']) => after,
        None => return None,
    };
    Some((kind.to_ascii_lowercase(), title.trim().to_owned()))
}

/// ` warn "Title"`, ` tip inline end`, `+ note`: the kind in lower case and the title, which may be empty.
fn python_head(head: &str) -> Option<(String, String)> {
    let head = head.strip_prefix('+').unwrap_or(head).trim_start();
    let length = head.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_')).unwrap_or(head.len());
    let (kind, after) = head.split_at(length);
    if !kind.starts_with(|c: char| c.is_ascii_alphabetic()) || !(after.is_empty() || after.starts_with(' ')) {
        return None;
    }
    let title = match after.split_once('"') {
        Some((_, quoted)) => quoted.trim_end().strip_suffix('"')?,
        None if after.split_whitespace().all(|word| matches!(word, "inline" | "end")) => "",
        None => return None,
    };
    Some((kind.to_ascii_lowercase(), title.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_without_markers_is_borrowed() {
        assert!(matches!(normalise("# Hi\n\ntext"), Cow::Borrowed(_)));
    }

    #[test]
    fn colon_containers_become_callouts() {
        assert_eq!(
            normalise(":::tip Save early\nBody\n\n- a\n:::\nafter\n").as_ref(),
            "\n> [!tip] Save early\n> Body\n> \n> - a\n\nafter\n"
        );
        assert_eq!(normalise("::: warning[Mind]\nx\n:::").as_ref(), "\n> [!warning] Mind\n> x\n\n");
    }

    #[test]
    fn nested_and_indented_containers_keep_their_place() {
        assert_eq!(
            normalise("::::note\n:::tip\nin\n:::\nout\n::::").as_ref(),
            "\n> [!note]\n> \n> > [!tip]\n> > in\n> \n> out\n\n"
        );
        assert_eq!(normalise("1. a\n\n   :::tip\n   b\n   :::\n").as_ref(), "1. a\n\n\n   > [!tip]\n   > b\n\n");
    }

    #[test]
    fn containers_that_are_no_admonition_are_opened() {
        assert_eq!(normalise(":::columns\na\n:::\n").as_ref(), "\na\n\n");
        assert_eq!(normalise(":::\nstray\n").as_ref(), "\nstray\n");
    }

    #[test]
    fn python_markdown_bodies_may_be_indented_deeper() {
        assert_eq!(
            normalise("!!! warn \"\"\n\n      One\n      two\n\n    odd\nAfter `{x}`\n").as_ref(),
            "\n> [!warn]\n> \n>   One\n>   two\n> \n> odd\n\nAfter `{x}`\n"
        );
        assert_eq!(
            normalise("!!! keyboard_tip \"Keys\"\n     Press\nAfter\n").as_ref(),
            "\n> [!keyboard_tip] Keys\n> Press\n\nAfter\n"
        );
    }

    #[test]
    fn code_in_an_admonition_stays_code() {
        let source = "!!! tip \"\"\n\n    ```\n    :::note\n    ```\n\n        indented\n";
        assert_eq!(normalise(source).as_ref(), "\n> [!tip]\n> \n> ```\n> :::note\n> ```\n> \n>     indented\n");
    }

    #[test]
    fn code_is_left_alone() {
        for source in ["```\n:::tip\n{tab|ios}\n```\n", "    :::tip\n    {start_tabs}\n", "`{!a.md!}` and `{tab|x}`\n"]
        {
            assert_eq!(normalise(source).as_ref(), source);
        }
    }

    #[test]
    fn tab_markers_become_labels_and_macros_go() {
        assert_eq!(
            normalise("{start_tabs}\n{tab|desktop-web}\n\n1. {settings_tab|profile}\n1. Click {!icon.md!} **Save**.\n\n{end_tabs}\n")
                .as_ref(),
            "\n\n**Desktop/Web**\n\n\n\n1. Click  **Save**.\n\n\n"
        );
    }

    #[test]
    fn exclamation_in_prose_is_no_admonition() {
        for source in ["!!! wow that was \"great\" fun\n", "!!! stop shouting\n"] {
            assert_eq!(normalise(source).as_ref(), source);
        }
    }
}
