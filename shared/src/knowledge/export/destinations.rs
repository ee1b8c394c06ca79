//! Writes other destinations into the text of an article: where its links and images are in the exported tree.
//!
//! The text is the author's, and nothing else in it may change. So destinations are looked for as text and replaced, and the
//! rendered article tells whether that was right: it must be what it would be if the destinations led there without a change
//! of the text. A path that stands in an example of code as well is told from the link that way. What cannot be replaced stays.

use std::collections::{BTreeMap, BTreeSet};

use crate::markdown::{self, LinkTarget};

/// Stands for a destination while one occurrence of it is tried out.
const PROBE: &str = "helpcenter-probe-5f0c";

/// The text with new destinations in place of old ones where that is possible, and the old ones that are still in it.
pub(super) fn replaced(content: &str, new: &BTreeMap<String, String>) -> (String, BTreeSet<String>) {
    let new: BTreeMap<&str, &str> =
        new.iter().map(|(old, new)| (old.as_str(), new.as_str())).filter(|(old, new)| old != new).collect();
    let all: BTreeSet<String> = new.keys().map(|old| (*old).to_owned()).collect();
    if new.is_empty() {
        return (content.to_owned(), all);
    }
    let wanted = html(content, &|written| new.get(written).copied());
    let mut places = places(content, &new);
    let text = with(content, &places, None);
    if html(&text, &|_| None) == wanted {
        return (text, BTreeSet::new());
    }
    places.retain(|place| {
        let tried = with(content, std::slice::from_ref(place), Some(PROBE));
        let as_probe = |written: &str| (written == place.old || written == PROBE).then_some(PROBE);
        html(content, &as_probe) == html(&tried, &as_probe)
    });
    let text = with(content, &places, None);
    if html(&text, &|_| None) == wanted {
        return (text, BTreeSet::new());
    }
    // What is left, by its old name, which must not have become the new name of another one.
    let found = markdown::destinations(&text);
    let left: BTreeSet<String> =
        found.links.into_iter().chain(found.images).filter(|written| new.contains_key(written.as_str())).collect();
    let is_same = html(&text, &|written| left.contains(written).then(|| new.get(written).copied()).flatten()) == wanted;
    if is_same { (text, left) } else { (content.to_owned(), all) }
}

/// Where a destination may stand in a text.
struct Place<'a> {
    start: usize,
    /// As it stands there.
    written: String,
    old: &'a str,
    new: &'a str,
}

/// Every place where the text of a destination stands between what can stand around one.
fn places<'a>(content: &str, new: &BTreeMap<&'a str, &'a str>) -> Vec<Place<'a>> {
    let mut places: Vec<Place<'a>> = Vec::new();
    for (old, new) in new {
        let mut spellings = vec![(*old).to_owned()];
        if old.contains('&') {
            spellings.push(old.replace('&', "&amp;"));
        }
        for written in spellings {
            for (start, _) in content.match_indices(&written) {
                let before = content[..start].chars().next_back();
                let behind = content[start + written.len()..].chars().next();
                let opens =
                    before.is_some_and(|c| matches!(c, '(' | '<' | '"' | '\'' | '=' | ':') || c.is_whitespace());
                let closes = behind.is_none_or(|c| matches!(c, ')' | '>' | '"' | '\'' | '/') || c.is_whitespace());
                if opens && closes {
                    places.push(Place { start, written: written.clone(), old, new });
                }
            }
        }
    }
    places.sort_by_key(|place| (place.start, std::cmp::Reverse(place.written.len())));
    let mut end = 0;
    places.retain(|place| {
        let is_free = place.start >= end;
        if is_free {
            end = place.start + place.written.len();
        }
        is_free
    });
    places
}

/// The text with what is new, or something else, in these places.
fn with(content: &str, places: &[Place<'_>], instead: Option<&str>) -> String {
    let mut out = String::with_capacity(content.len() + 64);
    let mut at = 0;
    for place in places {
        out.push_str(&content[at..place.start]);
        out.push_str(instead.unwrap_or(place.new));
        at = place.start + place.written.len();
    }
    out.push_str(&content[at..]);
    out
}

/// The article as a page shows it when destinations lead elsewhere.
fn html<'n>(content: &str, new: &dyn Fn(&str) -> Option<&'n str>) -> String {
    markdown::render(content, &|written| LinkTarget::Replace(new(written).unwrap_or(written).to_owned())).html
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rewritten(content: &str) -> (String, Vec<String>) {
        let new = [
            ("../a.md", "new/a.md"),
            ("../a.md#part", "new/a.md#part"),
            ("x y.md", "new/x.md"),
            ("img.png?a=1&b=2", "_images/1/img.png"),
            ("b.md", "c.md"),
            ("c.md", "d.md"),
        ];
        let new = new.map(|(old, new)| (old.to_owned(), new.to_owned())).into_iter().collect();
        let (text, left) = replaced(content, &new);
        (text, left.into_iter().collect())
    }

    #[test]
    fn destinations_are_replaced_in_every_notation() {
        for (content, expected) in [
            ("[a](../a.md)", "[a](new/a.md)"),
            ("[a](<x y.md> \"title\")", "[a](<new/x.md> \"title\")"),
            ("![a](img.png?a=1&amp;b=2) ![b](img.png?a=1&b=2)", "![a](_images/1/img.png) ![b](_images/1/img.png)"),
            ("[a][1]\n\n[1]: ../a.md#part 'T'\n", "[a][1]\n\n[1]: new/a.md#part 'T'\n"),
            ("[a][1]\n\n[1]:../a.md\n", "[a][1]\n\n[1]:new/a.md\n"),
            (
                "<a href=\"../a.md\">a</a> <img src='img.png?a=1&b=2'>",
                "<a href=\"new/a.md\">a</a> <img src='_images/1/img.png'>",
            ),
            ("[a](../a.md) and [b](../a.md#part)", "[a](new/a.md) and [b](new/a.md#part)"),
            ("[b](b.md) [c](c.md)", "[b](c.md) [c](d.md)"),
            ("| a |\n| - |\n| [a](../a.md) |\n", "| a |\n| - |\n| [a](new/a.md) |\n"),
        ] {
            assert_eq!(rewritten(content), (expected.to_owned(), vec![]), "{content}");
        }
    }

    #[test]
    fn nothing_else_is_changed() {
        for content in [
            "Text (../a.md) and ../a.md\n",
            "`[a](../a.md)`",
            "```\n[a](../a.md)\n```\n",
            "[a](../a.md/b)",
            "\\[a](../a.md)",
        ] {
            assert_eq!(rewritten(content), (content.to_owned(), vec![]), "{content}");
        }
        let (text, left) = rewritten("Write `[a](../a.md)` for [a](../a.md), (../a.md).\n\n    [a](../a.md)\n");
        assert_eq!(text, "Write `[a](../a.md)` for [a](new/a.md), (../a.md).\n\n    [a](../a.md)\n");
        assert!(left.is_empty());
    }

    #[test]
    fn what_cannot_be_replaced_is_told() {
        let (text, left) = rewritten("[a](\\.\\./a.md) [b](../a.md#part)");
        assert_eq!((text.as_str(), left), ("[a](\\.\\./a.md) [b](new/a.md#part)", vec!["../a.md".to_owned()]));
        // It would be taken for the one that has become its name.
        let (text, left) = rewritten("[b](b.md) [c](\\c.md) [c](c\\.md)");
        assert_eq!(text, "[b](b.md) [c](\\c.md) [c](c\\.md)");
        assert!(left.contains(&"b.md".to_owned()) && left.contains(&"c.md".to_owned()));
    }
}
