//! What a reader sees of each construct an author may use.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::{LinkTarget, destinations, plain_text, render};

fn html(source: &str) -> String {
    render(source, &|_| LinkTarget::Keep).html
}

#[test]
fn tables_lists_and_code_are_rendered() {
    let html = html("| a | b |\n|:--|--:|\n| 1 | 2 |\n\n~~old~~\n\n```rust,ignore\nfn x() {}\n```\n");
    assert!(html.contains("<th align=\"left\">a</th>") && html.contains("<td align=\"right\">2</td>"), "{html}");
    assert!(html.contains("<del>old</del>"), "{html}");
    assert!(html.contains("<pre><code class=\"language-rust,ignore\">") || html.contains("<pre><code>"), "{html}");
    assert!(self::html("```c++\nx\n```").contains("<code class=\"language-c++\">"));
}

#[test]
fn task_lists_have_boxes_that_cannot_be_used() {
    let html = html("- [x] done\n- [ ] open\n");
    assert!(html.contains("<ul class=\"contains-task-list\">"), "{html}");
    assert!(html.contains("<input type=\"checkbox\" disabled=\"\" checked=\"\" aria-label=\"☑\"> done"), "{html}");
    assert!(html.contains("<input type=\"checkbox\" disabled=\"\" aria-label=\"☐\"> open"), "{html}");
}

#[test]
fn footnotes_lead_there_and_back() {
    let html = html("Text[^n].\n\n[^n]: Note.\n");
    for part in ["href=\"#fn-n\"", "id=\"fnref-n\"", "id=\"fn-n\"", "href=\"#fnref-n\"", "class=\"footnotes\""] {
        assert!(html.contains(part), "{part} in {html}");
    }
}

#[test]
fn admonitions_look_alike_in_every_spelling() {
    let expected = "<div class=\"admonition admonition-warning\" role=\"note\">\n\
        <div class=\"admonition-title\">Mind the <code>gap</code></div>\n<p>Body</p>\n</div>\n";
    for source in [
        "> [!WARNING] Mind the `gap`\n> Body\n",
        ":::warning Mind the `gap`\nBody\n:::\n",
        ":::warning[Mind the `gap`]\n\nBody\n\n:::\n",
        "!!! warn \"Mind the `gap`\"\n    Body\n",
        "!!! warning \"Mind the `gap`\"\n\n      Body\n",
    ] {
        assert_eq!(html(source), expected, "{source}");
    }
}

#[test]
fn an_admonition_without_title_shows_its_kind() {
    for (source, class, title) in [
        ("> [!NOTE]\n> x", "note", "Note"),
        ("> [!CAUTION]\n> x", "warning", "Caution"),
        ("> [!IMPORTANT]\n> x", "info", "Important"),
        (":::danger\nx\n:::", "danger", "Danger"),
        ("!!! warn \"\"\n    x", "warning", "Warning"),
        ("!!! keyboard_tip \"\"\n    x", "tip", "Keyboard tip"),
    ] {
        let html = html(source);
        assert!(html.contains(&format!("admonition-{class}")), "{html}");
        assert!(html.contains(&format!("<div class=\"admonition-title\">{title}</div>")), "{html}");
    }
}

#[test]
fn lists_and_code_live_inside_admonitions() {
    let html = html("1. Do\n\n    !!! tip \"\"\n\n        - a\n\n        ```sh\n        ls\n        ```\n\n1. Next\n");
    assert!(html.contains("<li>\n<p>Do</p>\n<div class=\"admonition admonition-tip\""), "{html}");
    assert!(html.contains("<code class=\"language-sh\">ls\n</code>"), "{html}");
    assert_eq!(html.matches("<ol>").count(), 1, "{html}");
}

#[test]
fn reference_links_work_across_an_admonition() {
    assert!(html(":::tip\n[a][b]\n:::\n\n[b]: /c\n").contains("<a href=\"/c\">a</a>"));
}

#[test]
fn the_page_keeps_the_only_top_level_heading() {
    let rendered = render("# A\n## B\n###### C\n", &|_| LinkTarget::Keep);
    assert!(
        rendered.html.starts_with("<h2 id=\"h-a\">A</h2>\n<h3 id=\"h-b\">B</h3>\n<h6 id=\"h-c\">"),
        "{}",
        rendered.html
    );
    assert_eq!(rendered.headings.iter().map(|heading| heading.level).collect::<Vec<_>>(), [2, 3, 6]);
    assert!(html("## A\n").starts_with("<h2 "));
}

#[test]
fn links_are_asked_for_as_written() {
    let asked = RefCell::new(Vec::new());
    let source = "[a](b%20c.md#d) ![e](<f g.png>) <https://h.example> https://i.example [j][k] <a href=\"l?m&amp;n\">o</a>\n\n[k]: p\\_q.md\n";
    let _ = render(source, &|url| {
        asked.borrow_mut().push(url.to_owned());
        LinkTarget::Keep
    });
    let expected = ["b%20c.md#d", "f g.png", "https://h.example", "https://i.example", "p_q.md", "l?m&n"];
    assert_eq!(asked.into_inner(), expected);
    let found = destinations(source);
    assert_eq!(found.links, [expected[0], expected[2], expected[3], expected[4], expected[5]]);
    assert_eq!(found.images, [expected[1]]);
}

#[test]
fn broken_links_show_their_text_only() {
    let html =
        render("[gone *now*](x.md) ![A cat](y.png) <a href=z>raw</a> <img src=q alt='A dog'>", &|_| LinkTarget::Broken)
            .html;
    assert_eq!(
        html,
        "<p><span class=\"broken-link\">gone <em>now</em></span> <span class=\"broken-link\">A cat</span> \
         <span class=\"broken-link\">raw</span> <span class=\"broken-link\">A dog</span></p>\n"
    );
}

#[test]
fn external_links_pass_no_credit_and_no_opener() {
    let rel = " rel=\"noopener nofollow\"";
    for source in [
        "[a](https://b.example)",
        "[a](//b.example)",
        "<a href='/\\b.example'>a</a>",
        "<a href=https://b.example rel=x>a</a>",
    ] {
        assert!(html(source).contains(rel), "{source}");
    }
    for source in ["[a](/b)", "[a](#b)", "[a](mailto:b@c.example)", "<a href='b'>a</a>"] {
        assert!(!html(source).contains("rel="), "{source}");
    }
}

#[test]
fn fragments_lead_to_prefixed_anchors() {
    assert!(html("[a](#Some-Part)").contains("href=\"#h-Some-Part\""));
    assert!(html("<a href='#x'>a</a> <a name='x'></a>").contains("<a id=\"h-x\">"));
    let replaced = render("[a](b.md#c)", &|_| LinkTarget::Replace("/articles/b#c".to_owned())).html;
    assert!(replaced.contains("href=\"/articles/b#h-c\""), "{replaced}");
    assert!(html("[a](https://b.example/#c)").contains("href=\"https://b.example/#c\""));
}

#[test]
fn headings_without_words_are_no_headings() {
    let rendered = render("## <a name=\"x\"></a>\n\n## ![](y.png)\n", &|_| LinkTarget::Keep);
    assert!(
        rendered.html.starts_with("<p><a id=\"h-x\"></a></p>\n<p><a id=\"h-section\"></a><img "),
        "{}",
        rendered.html
    );
    assert_eq!(rendered.headings, []);
}

#[test]
fn images_load_lazily() {
    assert!(html("![\\[Image NOT FOUND\\]](b.png)").contains("alt=\"\""));
    assert_eq!(html("![a](b.png \"c\")"), "<p><img src=\"b.png\" alt=\"a\" title=\"c\" loading=\"lazy\"></p>\n");
}

#[test]
fn placeholders_in_prose_stay_readable() {
    assert_eq!(
        html("Mention @<username> or put <title> first."),
        "<p>Mention @&lt;username&gt; or put &lt;title&gt; first.</p>\n"
    );
    assert!(html("The <script> tag.\n\nNext paragraph.\n").contains("<p>Next paragraph.</p>"));
}

#[test]
fn tab_markers_of_other_tools_are_no_text() {
    let html =
        html("{start_tabs}\n{tab|desktop-web}\n\n1. Click\n\n{tab|ios}\n\n{!include.md!}\n\n1. Tap\n\n{end_tabs}\n");
    assert!(!html.contains(['{', '}']), "{html}");
    assert!(
        html.contains("<p><strong>Desktop/Web</strong></p>") && html.contains("<p><strong>iOS</strong></p>"),
        "{html}"
    );
}

#[test]
fn plain_text_has_no_markup() {
    assert_eq!(
        plain_text("# T\n\nSome **bold** [link](x.md) &amp; `code`.\n\n- a\n- b\n\n:::tip\nc\n:::\n"),
        "T\nSome bold link & code.\n- a\n- b\nc"
    );
}

/// A guard against work that grows with the square of the input, not a benchmark: such input takes minutes.
#[test]
fn hostile_input_does_not_stall() {
    let million = 1 << 18;
    for (name, source) in [
        ("quotes", ">".repeat(million)),
        ("nested lists", "- ".repeat(million / 2)),
        ("nested list and blank lines", "- ".repeat(million / 4) + &"\n".repeat(million / 2)),
        (
            "stairs",
            (0..1000).flat_map(|n| ["  ".repeat(n), "- a\n".to_owned()]).collect::<String>() + &"\n".repeat(10_000),
        ),
        ("nested divs", "<div>".repeat(million / 5)),
        ("nested bold tags", "<b>".repeat(million / 3)),
        ("brackets", "[".repeat(million)),
        ("images", "![".repeat(million / 2)),
        ("emphasis", "*a **a ".repeat(million / 7)),
        ("backticks", (1..1400).map(|n| "`".repeat(n) + " ").collect()),
        ("containers", ":::tip\n".repeat(million / 7)),
        ("admonitions", (0..700).flat_map(|n| ["    ".repeat(n % 300), "!!! tip \"\"\n".to_owned()]).collect()),
        ("tables", "|a|\n|-|\n".repeat(million / 8)),
        ("footnotes", "[^a]".repeat(million / 4)),
        ("entities", "&a".repeat(million / 8)),
        ("open tags", "<a ".repeat(million / 3)),
        ("tags", "<a href=b>".repeat(million / 10)),
        ("headings", "# a\n".repeat(million / 4)),
        ("icons", "(<i class=\"a\"></i>) ".repeat(million / 20)),
        ("bold", "**a **".repeat(million / 6)),
        ("addresses", "a://\\.".repeat(million / 6)),
        ("braces", "{".repeat(million)),
        ("unclosed icons", "<i class=".repeat(million / 9)),
        ("tabs", "\t".repeat(million)),
    ] {
        let start = Instant::now();
        let _ = html(&source);
        let _ = plain_text(&source);
        assert!(start.elapsed() < Duration::from_secs(30), "{name}: {:?}", start.elapsed());
    }
}
