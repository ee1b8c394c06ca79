//! From a page of HTML to Markdown: the page's own content, without the site around it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use htmd::element_handler::Handlers;
use htmd::options::{BulletListMarker, Options};
use htmd::{Element, HtmlToMarkdown};

use super::document::ParseError;
use crate::markdown::raw_html::{Depth, Piece, pieces};

/// The converter works by recursion, a few frames for each level.
const MAX_DEPTH: usize = 100;

/// What a page says.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) language: Option<String>,
    pub(super) markdown: String,
}

/// Reads a page: the content of `main`, else of its longest `article`, else of the whole body.
pub(super) fn read(html: &str) -> Result<Page, ParseError> {
    let mut depth = Depth::default();
    let is_flat = pieces(html).all(|piece| !matches!(piece, Piece::Tag(tag) if !depth.admits(&tag, MAX_DEPTH)));
    if !is_flat {
        return Err(ParseError::Nesting);
    }
    let found = Arc::new(Mutex::new(Found::default()));
    let body = converter(&found).convert(html).map_err(|error| ParseError::Html(error.to_string()))?;
    let found = std::mem::take(&mut *lock(&found));
    let markdown = found.main.or(found.article).filter(|content| !content.trim().is_empty()).unwrap_or(body);
    Ok(Page {
        title: title(found.title, found.heading),
        description: found.description,
        language: found.language,
        markdown: format!("{}\n", markdown.trim_matches('\n')),
    })
}

#[derive(Debug, Default)]
struct Found {
    title: Option<String>,
    heading: Option<String>,
    description: Option<String>,
    language: Option<String>,
    main: Option<String>,
    article: Option<String>,
}

/// Page titles often carry the site's name; then the heading that they begin or end with is the article's title.
fn title(title: Option<String>, heading: Option<String>) -> Option<String> {
    match (title, heading) {
        (Some(title), Some(heading)) if !title.to_lowercase().contains(&heading.to_lowercase()) => Some(title),
        (_, Some(heading)) => Some(heading),
        (title, None) => title,
    }
}

fn converter(found: &Arc<Mutex<Found>>) -> HtmlToMarkdown {
    let options = Options {
        bullet_list_marker: BulletListMarker::Dash,
        ul_bullet_spacing: 1,
        ol_number_spacing: 1,
        ..Options::default()
    };
    let record = || Arc::clone(found);
    let (title, heading, meta, root, main, article) = (record(), record(), record(), record(), record(), record());
    HtmlToMarkdown::builder()
        .options(options)
        .scripting_enabled(false)
        .skip_tags(SKIPPED.split_whitespace().collect())
        .add_handler(vec!["title"], move |handlers: &dyn Handlers, element: Element| {
            let text = words(&handlers.walk_children(element.node).content);
            keep_first(&mut lock(&title).title, text);
            None
        })
        .add_handler(vec!["meta"], move |_: &dyn Handlers, element: Element| {
            if attribute(&element, "name").is_some_and(|name| name.eq_ignore_ascii_case("description")) {
                keep_first(&mut lock(&meta).description, words(attribute(&element, "content").unwrap_or_default()));
            }
            None
        })
        .add_handler(vec!["html"], move |handlers: &dyn Handlers, element: Element| {
            keep_first(&mut lock(&root).language, attribute(&element, "lang").unwrap_or_default().trim().to_owned());
            handlers.fallback(element)
        })
        .add_handler(vec!["h1"], move |handlers: &dyn Handlers, element: Element| {
            if is_hidden(&element) {
                return None;
            }
            let result = handlers.fallback(element)?;
            let text = crate::markdown::plain_text(&result.content);
            keep_first(&mut lock(&heading).heading, words(&text));
            Some(result)
        })
        .add_handler(vec!["main"], move |handlers: &dyn Handlers, element: Element| {
            let content = handlers.walk_children(element.node).content;
            keep_longest(&mut lock(&main).main, &content);
            Some(content.into())
        })
        .add_handler(vec!["article"], move |handlers: &dyn Handlers, element: Element| {
            let content = handlers.walk_children(element.node).content;
            keep_longest(&mut lock(&article).article, &content);
            Some(content.into())
        })
        .add_handler(vec!["header"], |handlers: &dyn Handlers, element: Element| {
            let content = handlers.walk_children(element.node).content;
            // The header of an article holds its heading; that of a site holds its menu.
            let has_heading = content.lines().any(|line| line.starts_with('#'));
            has_heading.then(|| content.into())
        })
        .add_handler(MAY_BE_HIDDEN.split_whitespace().collect(), |handlers: &dyn Handlers, element: Element| {
            if is_hidden(&element) { None } else { handlers.fallback(element) }
        })
        .build()
}

/// Not shown to a reader, or not part of what the page says.
fn is_hidden(element: &Element) -> bool {
    let style = attribute(element, "style").unwrap_or_default().to_ascii_lowercase().replace([' ', '\t'], "");
    let role = attribute(element, "role").unwrap_or_default();
    attribute(element, "hidden").is_some()
        || ["display:none", "visibility:hidden", "font-size:0", "opacity:0;"].iter().any(|rule| style.contains(rule))
        || style.ends_with("opacity:0")
        || matches!(role, "navigation" | "banner" | "contentinfo" | "search" | "complementary")
}

fn attribute<'e>(element: &'e Element, name: &str) -> Option<&'e str> {
    element.attrs.iter().find(|attribute| &*attribute.name.local == name).map(|attribute| &*attribute.value)
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn keep_first(kept: &mut Option<String>, text: String) {
    if kept.is_none() && !text.is_empty() {
        *kept = Some(text);
    }
}

fn keep_longest(kept: &mut Option<String>, text: &str) {
    if kept.as_ref().is_none_or(|kept| kept.len() < text.len()) {
        *kept = Some(text.to_owned());
    }
}

fn lock(found: &Mutex<Found>) -> MutexGuard<'_, Found> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

const SKIPPED: &str = "applet aside audio button canvas dialog embed fieldset footer form iframe input math nav noscript object script \
    search select style svg template textarea track video";

const MAY_BE_HIDDEN: &str =
    "a b blockquote center div dl em figure font h2 h3 h4 h5 h6 i ol p section small span strong table u ul";

#[cfg(test)]
mod tests {
    use super::*;

    fn page(html: &str) -> Page {
        read(html).expect("a page")
    }

    #[test]
    fn only_the_content_of_a_page_is_read() {
        let page = page(
            "<!doctype html><html lang='en'><head><title>Refunds | Shop help</title><style>a{}</style>\
             <meta name=description content='How refunds work.'></head><body><header><a href=/>Shop</a></header>\
             <nav><a href=/a>Menu</a></nav><main><h1>Refunds</h1><p>Click <b>Refund</b>, see <a href='b.html#c'>more</a>.</p>\
             <ul><li>One</li><li>Two</li></ul><table><tr><th>A</th></tr><tr><td>1</td></tr></table>\
             <pre><code class='language-sh'>ls *</code></pre><script>x()</script></main><footer>Imprint</footer></body></html>",
        );
        assert_eq!(page.title.as_deref(), Some("Refunds"));
        assert_eq!(page.description.as_deref(), Some("How refunds work."));
        assert_eq!(page.language.as_deref(), Some("en"));
        assert!(
            page.markdown.starts_with("# Refunds\n\nClick **Refund**, see [more](b.html#c).\n\n- One\n- Two\n\n| A"),
            "{}",
            page.markdown
        );
        assert!(page.markdown.contains("```sh\nls *\n```"), "{}", page.markdown);
        for gone in ["Shop", "Menu", "Imprint", "x()", "a{}"] {
            assert!(!page.markdown.contains(gone), "{gone} in {}", page.markdown);
        }
    }

    #[test]
    fn pages_without_main_or_title_are_read_too() {
        assert_eq!(
            page("<p>Menu</p><article><header><h1>A</h1></header><p>Text</p></article>").markdown,
            "# A\n\nText\n"
        );
        assert_eq!(page("<h1>A</h1><p>Text").title.as_deref(), Some("A"));
        assert_eq!(page("<title>T</title><h1>Other</h1>").title.as_deref(), Some("T"));
        assert_eq!(page("<p>Text").title, None);
    }

    #[test]
    fn text_that_a_reader_does_not_see_is_left_out() {
        let page = page(
            "<p>Seen</p><div style='display: none'>a</div><span hidden>b</span><p style=\"FONT-SIZE:0\">c</p><!-- d -->",
        );
        assert_eq!(page.markdown, "Seen\n");
    }

    #[test]
    fn pages_nested_too_deeply_are_refused() {
        for html in ["<div>".repeat(400_000), "<div></b>".repeat(200_000), "<b><p>".repeat(100_000)] {
            assert!(matches!(read(&html), Err(ParseError::Nesting)));
        }
        assert!(read(&"<p>one<li>two".repeat(1_000)).is_ok());
    }
}
