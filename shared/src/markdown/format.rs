//! Writes the parsed document as HTML: the parser's own formatter, except for what this product shows differently.

use std::fmt::{self, Write};

use comrak::html::{ChildRendering, Context, format_document_with_formatter, format_node_default};
use comrak::nodes::{AstNode, NodeCallout, NodeValue};
use comrak::options::Plugins;

use super::anchors::{Heading, anchor_for_fragment};
use super::rewrite::Rewriter;
use super::text::is_description;
use super::{LinkTarget, admonition, destination};

/// Decides what becomes of the destinations an author wrote.
pub(crate) struct Resolver<'l> {
    pub(crate) links: &'l dyn Fn(&str, Use) -> LinkTarget,
}

/// What a destination is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Use {
    Link,
    Image,
}

/// A destination after resolution.
pub(crate) enum Resolved {
    Address(String),
    Broken,
}

impl Resolver<'_> {
    pub(crate) fn link(&self, written: &str) -> Resolved {
        let address = match (self.links)(written, Use::Link) {
            LinkTarget::Broken => return Resolved::Broken,
            LinkTarget::Keep if written.starts_with('#') => with_anchor(written),
            LinkTarget::Keep => written.to_owned(),
            LinkTarget::Replace(address) if destination::is_external(&address) => address,
            LinkTarget::Replace(address) => with_anchor(&address),
        };
        if destination::is_link_allowed(&address) { Resolved::Address(address) } else { Resolved::Broken }
    }

    pub(crate) fn image(&self, written: &str) -> Resolved {
        let address = match (self.links)(written, Use::Image) {
            LinkTarget::Broken => return Resolved::Broken,
            LinkTarget::Keep => written.to_owned(),
            LinkTarget::Replace(address) => address,
        };
        if destination::is_image_allowed(&address) { Resolved::Address(address) } else { Resolved::Broken }
    }
}

/// Articles refer to headings by their bare names; on the page they carry the prefix.
fn with_anchor(address: &str) -> String {
    match address.split_once('#') {
        Some((page, fragment)) if !fragment.is_empty() && fragment != "top" => {
            format!("{page}#{}", anchor_for_fragment(fragment))
        }
        _ => address.to_owned(),
    }
}

/// Elements nested deeper than this lose their tags, not their text: a browser (and the sanitiser) takes time that
/// grows with the square of the depth.
pub(super) const MAX_DEPTH: usize = 128;

struct State<'s> {
    resolver: &'s Resolver<'s>,
    headings: std::slice::Iter<'s, Heading>,
    raw: Rewriter,
    open_links: Vec<bool>,
    depth: usize,
    in_empty_heading: bool,
}

/// The document as HTML, not yet sanitised. `headings` are those of this document, in order.
pub(crate) fn to_html<'a>(root: &'a AstNode<'a>, headings: &[Heading], resolver: &Resolver<'_>) -> String {
    let state = State {
        resolver,
        headings: headings.iter(),
        raw: Rewriter::default(),
        open_links: Vec::new(),
        depth: 0,
        in_empty_heading: false,
    };
    let mut html = String::new();
    let options = super::options();
    // Writing to a string cannot fail, and the formatter itself returns no error of its own.
    let _ = format_document_with_formatter(root, &options, &mut html, &Plugins::default(), format_node, state);
    html
}

fn format_node<'a>(
    context: &mut Context<'_, '_, State<'_>>,
    node: &'a AstNode<'a>,
    entering: bool,
) -> Result<ChildRendering, fmt::Error> {
    let value = &node.data.borrow().value;
    if can_nest(value) {
        let state = &mut context.user;
        state.depth = if entering { state.depth + 1 } else { state.depth - 1 };
        if state.depth + usize::from(!entering) > MAX_DEPTH {
            return Ok(ChildRendering::HTML);
        }
    }
    match value {
        NodeValue::Heading(heading) => heading_tag(context, heading.level, entering),
        NodeValue::Link(link) => link_tag(context, &link.url, &link.title, entering),
        NodeValue::Image(image) => image_tag(context, node, &image.url, &image.title, entering),
        NodeValue::HtmlBlock(block) if entering => {
            context.cr()?;
            raw_html(context, &block.literal)?;
            context.cr()?;
            Ok(ChildRendering::HTML)
        }
        NodeValue::HtmlInline(html) if entering => raw_html(context, html),
        NodeValue::HtmlBlock(_) | NodeValue::HtmlInline(_) => Ok(ChildRendering::HTML),
        NodeValue::Callout(callout) => callout_tag(context, node, callout, entering),
        NodeValue::CalloutTitle => callout_title_tag(context, entering),
        NodeValue::TaskItem(item) => {
            let mark = if item.symbol.is_some() {
                " checked=\"\" aria-label=\"\u{2611}\""
            } else {
                " aria-label=\"\u{2610}\""
            };
            if entering {
                context.cr()?;
                write!(context, "<li class=\"task-list-item\"><input type=\"checkbox\" disabled=\"\"{mark} /> ")?;
            } else {
                context.write_str("</li>\n")?;
            }
            Ok(ChildRendering::HTML)
        }
        _ => format_node_default(context, node, entering),
    }
}

fn can_nest(value: &NodeValue) -> bool {
    matches!(
        value,
        NodeValue::BlockQuote
            | NodeValue::List(_)
            | NodeValue::Item(_)
            | NodeValue::TaskItem(_)
            | NodeValue::Callout(_)
            | NodeValue::Emph
            | NodeValue::Strong
            | NodeValue::Strikethrough
    )
}

fn heading_tag(
    context: &mut Context<'_, '_, State<'_>>,
    level: u8,
    entering: bool,
) -> Result<ChildRendering, fmt::Error> {
    if entering {
        let heading = context.user.headings.next();
        let anchor = heading.map_or("", |heading| heading.anchor.as_str());
        // A heading without words would be announced as one; only its name is kept, for links to it.
        context.user.in_empty_heading = heading.is_some_and(|heading| heading.text.is_empty());
        context.cr()?;
        if context.user.in_empty_heading {
            write!(context, "<p><a")?;
        } else {
            write!(context, "<h{level}")?;
        }
        if !anchor.is_empty() {
            context.write_str(" id=\"")?;
            context.escape(anchor)?;
            context.write_str("\"")?;
        }
        context.write_str(if context.user.in_empty_heading { "></a>" } else { ">" })?;
    } else {
        if context.user.in_empty_heading {
            write!(context, "</p>")?;
        } else {
            write!(context, "</h{level}>")?;
        }
        context.lf()?;
    }
    Ok(ChildRendering::HTML)
}

fn link_tag(
    context: &mut Context<'_, '_, State<'_>>,
    url: &str,
    title: &str,
    entering: bool,
) -> Result<ChildRendering, fmt::Error> {
    if !entering {
        let is_broken = context.user.open_links.pop().unwrap_or(false);
        context.write_str(if is_broken { "</span>" } else { "</a>" })?;
        return Ok(ChildRendering::HTML);
    }
    let resolved = context.user.resolver.link(url);
    context.user.open_links.push(matches!(resolved, Resolved::Broken));
    match resolved {
        Resolved::Broken => context.write_str("<span class=\"broken-link\">")?,
        Resolved::Address(address) => {
            context.write_str("<a href=\"")?;
            context.escape_href(&address)?;
            if !title.is_empty() {
                context.write_str("\" title=\"")?;
                context.escape(title)?;
            }
            let is_external = destination::is_external(&address);
            context.write_str(if is_external { "\" rel=\"noopener nofollow\">" } else { "\">" })?;
        }
    }
    Ok(ChildRendering::HTML)
}

fn image_tag<'a>(
    context: &mut Context<'_, '_, State<'_>>,
    node: &'a AstNode<'a>,
    url: &str,
    title: &str,
    entering: bool,
) -> Result<ChildRendering, fmt::Error> {
    if !entering {
        return Ok(ChildRendering::HTML);
    }
    // What converters leave where a description should be says less than none.
    let alt = Some(node.collect_text()).filter(|alt| is_description(alt)).unwrap_or_default();
    match context.user.resolver.image(url) {
        Resolved::Broken => {
            context.write_str("<span class=\"broken-link\">")?;
            context.escape(&alt)?;
            context.write_str("</span>")?;
        }
        Resolved::Address(address) => {
            context.write_str("<img src=\"")?;
            context.escape_href(&address)?;
            context.write_str("\" alt=\"")?;
            context.escape(&alt)?;
            if !title.is_empty() {
                context.write_str("\" title=\"")?;
                context.escape(title)?;
            }
            context.write_str("\" />")?;
        }
    }
    Ok(ChildRendering::Skip)
}

fn raw_html(context: &mut Context<'_, '_, State<'_>>, html: &str) -> Result<ChildRendering, fmt::Error> {
    let resolver = context.user.resolver;
    let html = context.user.raw.rewrite(html, resolver);
    context.write_str(&html)?;
    Ok(ChildRendering::HTML)
}

fn callout_tag<'a>(
    context: &mut Context<'_, '_, State<'_>>,
    node: &'a AstNode<'a>,
    callout: &NodeCallout,
    entering: bool,
) -> Result<ChildRendering, fmt::Error> {
    context.cr()?;
    if entering {
        let word = callout.callout_type.as_str();
        // Not an `aside`: inside an article that would add a landmark for every note.
        let class = admonition::kind_of(word).class();
        writeln!(context, "<div class=\"admonition admonition-{class}\" role=\"note\">")?;
        let first = node.first_child();
        if !first.is_some_and(|first| matches!(first.data.borrow().value, NodeValue::CalloutTitle)) {
            context.write_str("<div class=\"admonition-title\">")?;
            context.escape(&admonition::default_title(word))?;
            context.write_str("</div>\n")?;
        }
    } else {
        context.write_str("</div>\n")?;
    }
    Ok(ChildRendering::HTML)
}

fn callout_title_tag(context: &mut Context<'_, '_, State<'_>>, entering: bool) -> Result<ChildRendering, fmt::Error> {
    context.write_str(if entering { "<div class=\"admonition-title\">" } else { "</div>\n" })?;
    Ok(ChildRendering::HTML)
}
