//! What unwrapping leaves behind: wrappers around nothing, and headings written as HTML.

use crate::markdown::lines::code_ranges;

/// The text without HTML elements that have lost all their content, such as a frame around an image that went.
pub(super) fn empty_wrappers(text: &str) -> String {
    let mut code = code_ranges(text, true).into_iter().peekable();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(offset) = text[at..].find("</") {
        let start = at + offset;
        while code.next_if(|range| range.end <= start).is_some() {}
        let is_code = code.peek().is_some_and(|range| range.start <= start);
        let name = ["div", "figure", "picture", "video", "center", "p"]
            .into_iter()
            .find(|name| !is_code && text[start + 2..].starts_with(&format!("{name}>")));
        let Some(name) = name else {
            out.push_str(&text[at..start + 2]);
            at = start + 2;
            continue;
        };
        out.push_str(&text[at..start]);
        at = start + "</>".len() + name.len();
        match empty_element_start(&out, name) {
            Some(opened) => out.truncate(opened),
            None => out.push_str(&text[start..at]),
        }
    }
    out.push_str(&text[at..]);
    out
}

/// Where the element begins when nothing but space follows its opening tag.
fn empty_element_start(before: &str, name: &str) -> Option<usize> {
    let before = before.trim_end();
    if !before.ends_with('>') {
        return None;
    }
    let open = before.rfind('<')?;
    let tag = before[open + 1..].strip_prefix(name)?;
    (tag.starts_with([' ', '>', '\n', '\t']) && tag.find('>') == Some(tag.len() - 1)).then_some(open)
}

/// The text with headings written as HTML (`<h3>…</h3>` alone in their lines) as Markdown headings, so that they get
/// anchors and divide the article like any other.
pub(super) fn headings(text: &str) -> String {
    let mut code = code_ranges(text, true).into_iter().peekable();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(offset) = text[at..].find("<h") {
        let start = at + offset;
        while code.next_if(|range| range.end <= start).is_some() {}
        let is_code = code.peek().is_some_and(|range| range.start <= start);
        if let Some((markdown, end)) = heading(text, start).filter(|_| !is_code) {
            out.push_str(text[at..start].trim_end_matches([' ', '\t']));
            out.push_str(&markdown);
            at = end;
        } else {
            out.push_str(&text[at..start + 2]);
            at = start + 2;
        }
    }
    out.push_str(&text[at..]);
    out
}

fn heading(text: &str, start: usize) -> Option<(String, usize)> {
    const MAX_BYTES: usize = 2_000;
    let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
    if !text[line_start..start].trim().is_empty() {
        return None;
    }
    let rest = &text[start..text.floor_char_boundary((start + MAX_BYTES).min(text.len()))];
    let level = rest.as_bytes().get(2).filter(|level| (b'1'..=b'6').contains(level))? - b'0';
    let open_end = rest.find('>')?;
    if !rest[3..=open_end].starts_with([' ', '>']) {
        return None;
    }
    let close = format!("</h{level}>");
    let close_start = rest.find(&close)?;
    let content = rest.get(open_end + 1..close_start)?.trim();
    let after = &rest[close_start + close.len()..];
    let line_rest = after.split('\n').next().unwrap_or_default();
    if content.is_empty() || content.contains(['\n', '{']) || content.contains("<h") || !line_rest.trim().is_empty() {
        return None;
    }
    let id = rest[3..open_end].split_once("id=\"").and_then(|(_, id)| id.split_once('"')).map(|(id, _)| id);
    let name = id.map(|id| format!(" {{#{id}}}")).unwrap_or_default();
    let marks = "#".repeat(usize::from(level));
    Some((format!("\n{marks} {content}{name}\n\n"), start + close_start + close.len() + line_rest.len()))
}
