//! Reads one JSX tag.

/// A tag's name and attributes. A fragment (`<>`) has an empty name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) attributes: Vec<(String, Value)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Open,
    Close,
    SelfClosing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    /// An attribute without a value.
    Empty,
    /// As written between the quotes.
    Text(String),
    Expression,
}

/// Longer tags are not looked for; it bounds the time for text that is full of `<`.
const MAX_TAG_BYTES: usize = 4_096;

const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

impl Tag {
    /// A component, as opposed to an HTML element.
    pub(super) fn is_component(&self) -> bool {
        self.name.is_empty() || self.name.contains('.') || self.name.starts_with(|c: char| c.is_ascii_uppercase())
    }

    /// The attribute's value when it is a plain string.
    pub(super) fn text(&self, attribute: &str) -> Option<&str> {
        self.attributes.iter().find_map(|(name, value)| match value {
            Value::Text(text) if name == attribute => Some(text.as_str()),
            _ => None,
        })
    }

    pub(super) fn has_expression(&self) -> bool {
        self.attributes.iter().any(|(_, value)| *value == Value::Expression)
    }
}

/// The tag at the beginning of `text`, and its length in bytes.
pub(super) fn parse(text: &str) -> Option<(Tag, usize)> {
    let text = &text[..text.floor_char_boundary(MAX_TAG_BYTES.min(text.len()))];
    let rest = text.strip_prefix('<')?;
    let is_close = rest.starts_with('/');
    let rest = rest.strip_prefix('/').unwrap_or(rest);
    let is_name_char = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '$');
    let name_length = rest.find(|c: char| !is_name_char(c))?;
    let name = &rest[..name_length];
    if !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        return None;
    }
    let mut rest = &rest[name_length..];
    let mut attributes = Vec::new();
    let kind = loop {
        let trimmed = rest.trim_start_matches(SPACE);
        if let Some(after) = trimmed.strip_prefix("/>") {
            rest = after;
            break Kind::SelfClosing;
        }
        if let Some(after) = trimmed.strip_prefix('>') {
            rest = after;
            break if is_close { Kind::Close } else { Kind::Open };
        }
        if is_close || name.is_empty() {
            return None;
        }
        if trimmed.starts_with('{') {
            rest = &trimmed[expression_length(trimmed)?..];
            continue;
        }
        if trimmed.len() == rest.len() && !attributes.is_empty() && !rest.starts_with(SPACE) {
            return None;
        }
        let (attribute, after) = attribute(trimmed)?;
        attributes.push(attribute);
        rest = after;
    };
    Some((Tag { name: name.to_owned(), kind, attributes }, text.len() - rest.len()))
}

/// The length of the braced expression at the beginning of `text`, its braces included.
pub(super) fn expression_length(text: &str) -> Option<usize> {
    let text = &text[..text.floor_char_boundary(MAX_TAG_BYTES.min(text.len()))];
    if !text.starts_with('{') {
        return None;
    }
    let mut depth = 0_usize;
    let mut quote = None;
    let mut is_escaped = false;
    for (at, character) in text.char_indices() {
        if std::mem::take(&mut is_escaped) {
            continue;
        }
        match (quote, character) {
            (Some(_), '\\') => is_escaped = true,
            (Some(open), close) if open == close => quote = None,
            // An apostrophe in prose inside an expression is not the beginning of a string.
            (Some('\'' | '"'), '\n') => quote = None,
            (None, '"' | '\'' | '`') => quote = Some(character),
            (None, '{') => depth += 1,
            (None, '}') => {
                depth -= 1;
                if depth == 0 {
                    return Some(at + 1);
                }
            }
            _ => {}
        }
    }
    None
}

fn attribute(text: &str) -> Option<((String, Value), &str)> {
    let is_end =
        |c: char| SPACE.contains(&c) || matches!(c, '=' | '/' | '>' | '<' | '{' | '}' | '"' | '\'' | '`' | ',');
    let length = text.find(is_end)?;
    if length == 0 {
        return None;
    }
    let (name, after) = text.split_at(length);
    let Some(value) = after.trim_start_matches(SPACE).strip_prefix('=') else {
        return Some(((name.to_owned(), Value::Empty), after));
    };
    let value = value.trim_start_matches(SPACE);
    let (value, rest) = match value.chars().next()? {
        quote @ ('"' | '\'') => {
            let end = value[1..].find(quote)?;
            (Value::Text(value[1..=end].to_owned()), &value[end + 2..])
        }
        '{' => {
            let length = expression_length(value)?;
            let text = super::literal(&value[1..length - 1]).map(|text| Value::Text(text.to_owned()));
            (text.unwrap_or(Value::Expression), &value[length..])
        }
        _ => {
            let end = value.find(|c: char| SPACE.contains(&c) || matches!(c, '>' | '"' | '\'' | '<' | '`'))?;
            (Value::Text(value[..end].to_owned()), &value[end..])
        }
    };
    Some(((name.to_owned(), value), rest))
}
