//! An answer as HTML.

use super::event::Citation;
use crate::markdown::{self, LinkTarget};

/// What stands for the address of a citation until the text is rendered. No text can lead there: addresses in it are dropped.
const SCHEME: &str = "citation:";

/// An answer as safe HTML: no image, and no link but those of its markers, which lead where `url` says.
pub fn html(text: &str, citations: &[Citation], url: impl Fn(&Citation) -> String) -> String {
    let cited = |marker: &str| citations.iter().find(|citation| citation.marker.to_string() == marker);
    let resolve = |written: &str| {
        let citation = written.strip_prefix(SCHEME).and_then(cited);
        citation.map_or(LinkTarget::Broken, |citation| LinkTarget::Replace(url(citation)))
    };
    markdown::render(&with_links(text, citations), &resolve).html
}

/// The markers of citations as links; what an author or a model wrote as such a link leads nowhere.
fn with_links(text: &str, citations: &[Citation]) -> String {
    let mut linked = String::with_capacity(text.len());
    let mut fence = None;
    for line in text.split_inclusive('\n') {
        let ticks = line.trim().len() - line.trim().trim_start_matches('`').len();
        match fence {
            // Code is shown as it is.
            Some(open) => {
                linked.push_str(line);
                fence = Some(open).filter(|open| ticks < *open);
            }
            None if ticks >= 3 => {
                linked.push_str(line);
                fence = Some(ticks);
            }
            None => linked.push_str(&line_with_links(line, citations)),
        }
    }
    linked
}

fn line_with_links(line: &str, citations: &[Citation]) -> String {
    let mut linked = line.replace(SCHEME, "");
    for Citation { marker, .. } in citations {
        linked = linked.replace(&format!("[{marker}]"), &format!("[\\[{marker}\\]]({SCHEME}{marker})"));
    }
    linked
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn rendered(text: &str) -> String {
        let citation = Citation {
            marker: 1,
            article_id: Uuid::nil(),
            slug: "a".to_owned(),
            title: "A".to_owned(),
            heading_path: Vec::new(),
            anchor: None,
            quotes: Vec::new(),
        };
        html(text, &[citation], |citation| format!("/articles/{}/", citation.slug))
    }

    #[test]
    fn markers_lead_to_articles_and_nothing_else_leads_anywhere() {
        let html = rendered(
            "Open it. [1] [2]\n\n[x](https://evil.example) ![y](https://evil.example/y.png) <https://evil.example>",
        );
        assert!(html.contains("href=\"/articles/a/\""), "{html}");
        assert!(html.contains("[2]"), "{html}");
        assert!(!html.contains("evil.example\"") && !html.contains("<img"), "{html}");
    }

    #[test]
    fn no_spelling_of_a_link_survives() {
        for text in [
            "[x][r]\n\n[r]: https://evil.example",
            "[x]\n\n[x]: https://evil.example",
            "[1]: https://evil.example\n\n[1]",
            "[x](citation:1)",
            "[x](citcitation:ation:1)",
            "<a href=\"https://evil.example\">x</a>",
            "https://evil.example",
            "www.evil.example",
            "a@evil.example",
        ] {
            let html = rendered(text);
            let links: Vec<&str> = html.split("href=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            assert!(links.iter().all(|link| *link == "/articles/a/"), "{text:?}: {html}");
        }
    }
}
