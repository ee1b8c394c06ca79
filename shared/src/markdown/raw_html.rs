//! HTML that authors wrote inside Markdown, read tag by tag. What it may finally contain is not decided here but by the
//! sanitiser.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

/// A part of a raw HTML fragment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    /// HTML text, entities undecoded.
    Text(&'a str),
    Tag(Tag<'a>),
    /// Source to show as it is: a placeholder such as `<username>`, or `<script>` named in a sentence.
    Literal(&'a str),
    /// A comment, declaration or processing instruction, or an element like `script` with all it holds.
    Hidden,
}

/// One tag. Values of attributes are as written, entities undecoded.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tag<'a> {
    pub(crate) name: &'a str,
    pub(crate) closing: bool,
    pub(crate) self_closing: bool,
    pub(crate) attributes: Vec<(&'a str, &'a str)>,
    pub(crate) source: &'a str,
}

impl Tag<'_> {
    /// The attribute's value with its entities decoded.
    pub(crate) fn value(&self, attribute: &str) -> Option<String> {
        let (_, value) = self.attributes.iter().find(|(name, _)| name.eq_ignore_ascii_case(attribute))?;
        Some(decode_entities(value))
    }

    /// The element's name is `name`, in whatever case.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn is_html(&self) -> bool {
        self.name.contains('-') || HTML_NAMES.contains(self.name.to_ascii_lowercase().as_str())
    }
}

/// Splits a fragment into its pieces. Text that only looks like a tag comes back as text.
pub(crate) fn pieces(html: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = html;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, length) = next_piece(rest);
        rest = &rest[length..];
        Some(piece)
    })
}

/// Decodes `&amp;`, `&#39;`, `&eacute;` and the like.
pub(crate) fn decode_entities(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = rest.bytes().take(34).position(|byte| byte == b';').map(|end| end + 1);
        if let Some((decoded, end)) = end.and_then(|end| Some((decode_entity(&rest[..end])?, end))) {
            out.push_str(&decoded);
            rest = &rest[end..];
        } else {
            out.push('&');
            rest = &rest[1..];
        }
    }
    out.push_str(rest);
    out
}

/// Writes `text` so that it can stand in HTML text or in a quoted attribute.
pub(crate) fn escape_into(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            other => out.push(other),
        }
    }
}

/// How deep the elements of a document are nested, closing tags without a partner disregarded.
#[derive(Debug, Default)]
pub(crate) struct Depth {
    open: HashMap<String, usize>,
    left_out: HashMap<String, usize>,
    total: usize,
}

impl Depth {
    /// Takes the next tag; false when it belongs to an element deeper than `limit` and is to be left out.
    pub(crate) fn admits(&mut self, tag: &Tag<'_>, limit: usize) -> bool {
        let name = tag.name.to_ascii_lowercase();
        if tag.self_closing || NEVER_DEEP.contains(&name.as_str()) {
            return true;
        }
        if tag.closing {
            if let Some(count) = self.left_out.get_mut(&name).filter(|count| **count > 0) {
                *count -= 1;
                return false;
            }
            if let Some(count) = self.open.get_mut(&name).filter(|count| **count > 0) {
                *count -= 1;
                self.total -= 1;
            }
            return true;
        }
        let is_admitted = self.total < limit;
        let counts = if is_admitted { &mut self.open } else { &mut self.left_out };
        *counts.entry(name).or_default() += 1;
        self.total += usize::from(is_admitted);
        is_admitted
    }
}

fn next_piece(html: &str) -> (Piece<'_>, usize) {
    if let Some(rest) = html.strip_prefix('<') {
        if let Some(body) = rest.strip_prefix("!--") {
            let length = body.find("-->").map_or(html.len(), |end| end + 7);
            return (Piece::Hidden, length);
        }
        if rest.starts_with(['!', '?']) {
            return (Piece::Hidden, html.find('>').map_or(html.len(), |end| end + 1));
        }
        if let Some((tag, length)) = parse_tag(html) {
            return classify(html, tag, length);
        }
    }
    let first = html.chars().next().map_or(0, char::len_utf8);
    let length = html[first..].find('<').map_or(html.len(), |next| first + next);
    (Piece::Text(&html[..length]), length)
}

/// Elements whose content a browser takes as text, up to the closing tag. Without one they would swallow the rest of
/// the article, so a lone `<title>` or `<script>` is taken for what its author meant: a word in a sentence.
fn classify<'a>(html: &'a str, tag: Tag<'a>, length: usize) -> (Piece<'a>, usize) {
    let name = tag.name.to_ascii_lowercase();
    if SWALLOWING.contains(&name.as_str()) {
        let end = if tag.closing { None } else { end_of_element(&html[length..], &name) };
        return match end {
            Some(end) => (Piece::Hidden, length + end),
            None => (Piece::Literal(tag.source), length),
        };
    }
    if tag.is_html() { (Piece::Tag(tag), length) } else { (Piece::Literal(tag.source), length) }
}

fn end_of_element(html: &str, name: &str) -> Option<usize> {
    let mut at = 0;
    while let Some(found) = html[at..].find("</") {
        at += found + 2;
        let is_end = html.get(at..at + name.len()).is_some_and(|end| end.eq_ignore_ascii_case(name));
        if is_end {
            return html[at..].find('>').map(|close| at + close + 1);
        }
    }
    None
}

fn parse_tag(html: &str) -> Option<(Tag<'_>, usize)> {
    let closing = html.starts_with("</");
    let name_start = if closing { 2 } else { 1 };
    let after = &html[name_start..];
    if !after.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    let name_length =
        after.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.'))).unwrap_or(after.len());
    let name = &after[..name_length];
    let mut at = name_start + name_length;
    let mut attributes = Vec::new();
    let mut self_closing = false;
    loop {
        let rest = &html[at..];
        let skipped = rest.len() - rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}', '/']).len();
        self_closing = rest[..skipped].ends_with('/') || (skipped == 0 && self_closing);
        at += skipped;
        let rest = &html[at..];
        if rest.starts_with('>') {
            let source = &html[..=at];
            return Some((Tag { name, closing, self_closing, attributes, source }, at + 1));
        }
        if rest.is_empty() || rest.starts_with('<') {
            return None;
        }
        let (attribute, length) = parse_attribute(rest)?;
        attributes.push(attribute);
        at += length;
    }
}

fn parse_attribute(text: &str) -> Option<((&str, &str), usize)> {
    const SPACE: [char; 5] = [' ', '\t', '\n', '\r', '\u{c}'];
    let first = text.chars().next()?.len_utf8();
    let name_end = text[first..]
        .find(|c: char| SPACE.contains(&c) || matches!(c, '=' | '>' | '/'))
        .map_or(text.len(), |end| first + end);
    let name = &text[..name_end];
    let Some(value) = text[name_end..].trim_start_matches(SPACE).strip_prefix('=') else {
        return Some(((name, ""), name_end));
    };
    let value = value.trim_start_matches(SPACE);
    let value_at = text.len() - value.len();
    if let Some(quote @ ('"' | '\'')) = value.chars().next() {
        let end = value[1..].find(quote)?;
        return Some(((name, &value[1..=end]), value_at + end + 2));
    }
    let end = value.find(|c: char| SPACE.contains(&c) || c == '>').unwrap_or(value.len());
    Some(((name, &value[..end]), value_at + end))
}

fn decode_entity(entity: &str) -> Option<String> {
    match entity {
        "&amp;" => return Some("&".to_owned()),
        "&lt;" => return Some("<".to_owned()),
        "&gt;" => return Some(">".to_owned()),
        "&quot;" => return Some("\"".to_owned()),
        "&nbsp;" => return Some("\u{a0}".to_owned()),
        _ => {}
    }
    let name = entity.strip_prefix('&')?.strip_suffix(';')?;
    let is_plausible = name.strip_prefix('#').unwrap_or(name).bytes().all(|byte| byte.is_ascii_alphanumeric());
    if name.is_empty() || !is_plausible {
        return None;
    }
    // The parser knows the full table of names; a paragraph of one entity is the way to ask it.
    let arena = comrak::Arena::new();
    let root = comrak::parse_document(&arena, entity, &comrak::Options::default());
    let text = super::text::inline_text(root.first_child()?);
    (text != entity).then_some(text)
}

/// Elements that are empty or that a second of their kind closes; unclosed ones do not nest.
const NEVER_DEEP: [&str; 24] = [
    "a", "area", "base", "br", "col", "dd", "dt", "embed", "hr", "img", "input", "li", "link", "meta", "option", "p",
    "param", "rp", "rt", "source", "td", "th", "tr", "wbr",
];

/// Elements that hide what follows them until they are closed.
const SWALLOWING: [&str; 14] = [
    "applet",
    "iframe",
    "noembed",
    "noframes",
    "noscript",
    "object",
    "plaintext",
    "script",
    "select",
    "style",
    "template",
    "textarea",
    "title",
    "xmp",
];

/// Element names of HTML, its obsolete ones, and of SVG and MathML.
static HTML_NAMES: LazyLock<HashSet<&str>> = LazyLock::new(|| HTML_NAME_LIST.split_whitespace().collect());

const HTML_NAME_LIST: &str = "a abbr acronym address animate annotation applet area article aside audio b base basefont bdi bdo bgsound big \
    blink blockquote body br button canvas caption center circle cite code col colgroup data datalist dd del desc \
    details dfn dialog dir div dl dt ellipse em embed fieldset figcaption figure font footer foreignobject form \
    frame frameset g h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe image img input ins isindex kbd keygen \
    label legend li line link listing main map mark marquee math menu menuitem meta meter mglyph mi mn mo ms mtext \
    multicol nav nextid nobr noembed noframes noscript object ol optgroup option output p param path picture \
    plaintext polygon polyline portal pre progress q rb rect rp rt rtc ruby s samp script search section select \
    semantics shadow slot small source spacer span strike strong style sub summary sup svg table tbody td template \
    textarea tfoot th thead time title tr track tt u ul use var video wbr xml";
