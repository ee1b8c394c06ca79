//! Resolves the links and images of raw HTML, and brings its ids and placeholders in order. Safety is the sanitiser's.

use super::anchors::anchor_for_fragment;
use super::destination;
use super::format::{MAX_DEPTH, Resolved, Resolver};
use super::raw_html::{Depth, Piece, Tag, escape_into, pieces};

/// Rewrites the raw HTML of one document; keeps which links are open, since one element may span several fragments.
#[derive(Debug, Default)]
pub(crate) struct Rewriter {
    open_links: Vec<bool>,
    depth: Depth,
}

impl Rewriter {
    /// The fragment with its links and images resolved, its ids prefixed and its placeholders shown as text.
    pub(crate) fn rewrite(&mut self, html: &str, resolver: &Resolver<'_>) -> String {
        let mut out = String::with_capacity(html.len() + 32);
        for piece in pieces(html) {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Literal(source) => escape_into(&mut out, source),
                Piece::Hidden => {}
                Piece::Tag(tag) => self.tag(&tag, resolver, &mut out),
            }
        }
        out
    }

    fn tag(&mut self, tag: &Tag<'_>, resolver: &Resolver<'_>, out: &mut String) {
        if tag.is("a") {
            return self.link(tag, resolver, out);
        }
        if tag.is("img") && !tag.closing {
            return image(tag, resolver, out);
        }
        if !self.depth.admits(tag, MAX_DEPTH) {
            return;
        }
        if tag.closing || tag.value("id").is_none() {
            return out.push_str(tag.source);
        }
        open_tag(tag, &[], out);
    }

    fn link(&mut self, tag: &Tag<'_>, resolver: &Resolver<'_>, out: &mut String) {
        if tag.closing {
            let is_broken = self.open_links.pop().unwrap_or(false);
            return out.push_str(if is_broken { "</span>" } else { "</a>" });
        }
        let target = tag.value("href").map(|href| resolver.link(&href));
        self.open_links.push(matches!(target, Some(Resolved::Broken)));
        match target {
            Some(Resolved::Broken) => out.push_str("<span class=\"broken-link\">"),
            Some(Resolved::Address(href)) => {
                let rel = destination::is_external(&href).then_some(("rel", "noopener nofollow"));
                let set: Vec<_> = [Some(("href", href.as_str())), rel].into_iter().flatten().collect();
                open_tag(tag, &set, out);
            }
            None => open_tag(tag, &[], out),
        }
    }
}

fn image(tag: &Tag<'_>, resolver: &Resolver<'_>, out: &mut String) {
    match tag.value("src").map(|src| resolver.image(&src)) {
        Some(Resolved::Address(src)) => open_tag(tag, &[("src", src.as_str())], out),
        Some(Resolved::Broken) | None => {
            out.push_str("<span class=\"broken-link\">");
            escape_into(out, &tag.value("alt").unwrap_or_default());
            out.push_str("</span>");
        }
    }
}

/// Writes the tag with some attributes set and its id, or an anchor's `name`, turned into a prefixed id.
fn open_tag(tag: &Tag<'_>, set: &[(&str, &str)], out: &mut String) {
    out.push('<');
    out.push_str(tag.name);
    let is_anchor = tag.is("a");
    let mut has_id = false;
    for (name, _) in &tag.attributes {
        let is_id = name.eq_ignore_ascii_case("id") || (is_anchor && name.eq_ignore_ascii_case("name"));
        let is_set = set.iter().any(|(set, _)| name.eq_ignore_ascii_case(set)) || name.eq_ignore_ascii_case("rel");
        if is_set || (is_id && has_id) {
            continue;
        }
        let value = tag.value(name).unwrap_or_default();
        if is_id {
            has_id = true;
            push_attribute(out, "id", &anchor_for_fragment(&value));
        } else {
            push_attribute(out, name, &value);
        }
    }
    for (name, value) in set {
        push_attribute(out, name, value);
    }
    out.push_str(if tag.self_closing { " />" } else { ">" });
}

fn push_attribute(out: &mut String, name: &str, value: &str) {
    out.push(' ');
    out.push_str(name);
    out.push_str("=\"");
    escape_into(out, value);
    out.push('"');
}
