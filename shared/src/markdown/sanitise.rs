//! The last step before a reader's browser: an allow-list of elements, attributes and schemes. Nothing that comes
//! before it is trusted to be safe.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use ammonia::{Builder, UrlRelative};

use super::anchors::ANCHOR_PREFIX;
use super::destination;

/// Safe HTML: what the allow-list does not name is gone, text is kept.
pub(crate) fn sanitise(html: &str) -> String {
    POLICY.clean(html).to_string()
}

/// Elements an article may contain. Neither SVG nor MathML: they are where sanitisers have been broken.
const TAGS: &str = "a abbr b bdi bdo blockquote br caption cite code col colgroup dd del details dfn div dl dt em figcaption figure \
    h1 h2 h3 h4 h5 h6 hr i img input ins kbd li mark ol p pre q rp rt ruby s samp section small span strike strong \
    sub summary sup table tbody td tfoot th thead time tr u ul var";

/// Elements that go with all they contain.
const REMOVED_WITH_CONTENT: &str =
    "applet iframe math noembed noframes noscript object script select style svg template textarea title xmp";

const ATTRIBUTES: [(&str, &[&str]); 17] = [
    ("a", &["href", "rel"]),
    ("bdo", &["dir"]),
    ("col", &["span", "align"]),
    ("colgroup", &["span", "align"]),
    ("details", &["open"]),
    ("div", &["role"]),
    ("img", &["src", "alt", "width", "height", "loading"]),
    ("input", &["type", "checked", "disabled", "aria-label"]),
    ("li", &["value"]),
    ("ol", &["start", "reversed"]),
    ("p", &["align"]),
    ("table", &["align"]),
    ("td", &["align", "colspan", "rowspan", "headers"]),
    ("th", &["align", "colspan", "rowspan", "headers", "scope"]),
    ("time", &["datetime"]),
    ("tr", &["align"]),
    ("ul", &[]),
];

const GENERIC_ATTRIBUTES: &str = "class dir id lang title";

const CLASSES: &str = "admonition admonition-danger admonition-info admonition-note admonition-tip admonition-title admonition-warning \
    broken-link contains-task-list footnote-backref footnote-ref footnotes task-list-item";

static POLICY: LazyLock<Builder<'static>> = LazyLock::new(policy);

fn policy() -> Builder<'static> {
    let mut builder = Builder::empty();
    builder
        .tags(TAGS.split_whitespace().collect())
        .clean_content_tags(REMOVED_WITH_CONTENT.split_whitespace().collect())
        .tag_attributes(ATTRIBUTES.iter().map(|(tag, names)| (*tag, names.iter().copied().collect())).collect())
        .generic_attributes(GENERIC_ATTRIBUTES.split_whitespace().collect())
        .set_tag_attribute_values(HashMap::from([
            ("img", HashMap::from([("loading", "lazy")])),
            // The only form control of an article is the box of a task list, which cannot be used.
            ("input", HashMap::from([("type", "checkbox"), ("disabled", "")])),
        ]))
        .url_schemes(HashSet::from(["http", "https", "mailto", "tel"]))
        .url_relative(UrlRelative::PassThrough)
        .link_rel(None)
        .strip_comments(true)
        .attribute_filter(attribute);
    builder
}

fn attribute<'v>(tag: &str, name: &str, value: &'v str) -> Option<Cow<'v, str>> {
    let is_kept = match (tag, name) {
        (_, "class") => return classes(tag, value),
        (_, "id") => [ANCHOR_PREFIX, "fn-", "fnref-"].iter().any(|prefix| value.starts_with(prefix)),
        ("a", "href") => destination::is_link_allowed(value),
        ("a", "rel") => value == "noopener nofollow",
        ("img", "src") => destination::is_image_allowed(value),
        ("div", "role") => value == "note",
        ("input", "aria-label") => matches!(value, "\u{2610}" | "\u{2611}"),
        (_, "width" | "height" | "colspan" | "rowspan" | "span" | "start" | "value") => {
            value.len() <= 5 && value.trim_end_matches('%').bytes().all(|byte| byte.is_ascii_digit())
        }
        (_, "dir") => matches!(value, "ltr" | "rtl" | "auto"),
        _ => true,
    };
    is_kept.then_some(Cow::Borrowed(value))
}

fn classes<'v>(tag: &str, value: &'v str) -> Option<Cow<'v, str>> {
    let is_allowed = |class: &&str| {
        CLASSES.split_whitespace().any(|known| known == *class)
            || (tag == "code" && class.strip_prefix("language-").is_some_and(is_language))
    };
    if value.split_ascii_whitespace().all(|class| is_allowed(&class)) {
        return (!value.is_empty()).then_some(Cow::Borrowed(value));
    }
    let kept: Vec<&str> = value.split_ascii_whitespace().filter(is_allowed).collect();
    (!kept.is_empty()).then(|| Cow::Owned(kept.join(" ")))
}

fn is_language(name: &str) -> bool {
    let is_name_char = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'+' | b'#' | b'.');
    !name.is_empty() && name.len() <= 40 && name.bytes().all(is_name_char)
}
