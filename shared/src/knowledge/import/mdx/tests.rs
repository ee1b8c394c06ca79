use proptest::prelude::*;

use super::*;

/// Without the blank lines that removed statements leave.
fn convert(text: &str, dialect: Dialect) -> String {
    let mut lines: Vec<String> = Vec::new();
    for line in to_markdown(text, dialect).lines().map(|line| line.trim_end().to_owned()) {
        if !line.is_empty() || lines.last().is_some_and(|last| !last.is_empty()) {
            lines.push(line);
        }
    }
    lines.join("\n").trim().to_owned()
}

fn both(text: &str, expected: &str) {
    for dialect in [Dialect::Mdx, Dialect::Markdown] {
        assert_eq!(convert(text, dialect), expected, "{dialect:?}");
    }
}

#[test]
fn statements_go_and_prose_about_them_stays() {
    both(
        "import A from './a';\nimport { B,\n  C } from \"@site/b\"\nimport './x.css'\n\nexport const d = {\n  e: 1,\n};\n\nText.\n",
        "Text.",
    );
    let prose =
        "import your data from the old system.\n\nexport default settings are kept here.\n\nText\nimport x from 'y'";
    assert_eq!(convert(prose, Dialect::Markdown), prose);
}

#[test]
fn components_leave_their_content() {
    both(
        "<Box link=\"x\" wide={true}>\n    Some **text**.\n\n    - a\n      - b\n</Box>\n\nEnd\n",
        "Some **text**.\n\n- a\n  - b\n\nEnd",
    );
    both("See <Term id=\"x\">the term</Term> and <Icon name=\"y\" />now.", "See the term and now.");
    both("<Outer>\n  <Inner>\n\n    Text\n\n  </Inner>\n</Outer>", "Text");
}

#[test]
fn components_keep_their_place_in_a_list() {
    both("1. One\n\n   <Box>\n   Inside\n   </Box>\n\n2. Two\n", "1. One\n\n   Inside\n\n2. Two");
}

#[test]
fn labels_of_tabs_and_titles_of_cards_are_shown() {
    both("<Tabs>\n<TabItem value=\"n\" label=\"npm\">\n\nRun it.\n\n</TabItem>\n</Tabs>\n", "**npm**\n\nRun it.");
}

#[test]
fn components_that_are_admonitions_become_one() {
    both("<Callout type=\"warning\" title=\"Mind\">\n  Hot.\n</Callout>\n", ":::warning Mind\nHot.\n:::");
    both("<Note>\nCold.\n</Note>\n", ":::note\nCold.\n:::");
}

#[test]
fn comments_and_expressions_go() {
    both("A{/* not\nthis */} b{' '}c\n", "A b c");
    assert_eq!(convert("Since {props.year}, {\"text\"}.\n", Dialect::Mdx), "Since , text.");
    both("A\n\n<CodeBlock language=\"json\">{example(\"a\", null)}</CodeBlock>\n", "A");
    assert_eq!(convert("Use {id} here.\n", Dialect::Markdown), "Use {id} here.");
}

#[test]
fn images_with_computed_addresses_go_with_their_frame() {
    both("A\n\n<div class=\"frame\">\n  <img alt=\"x\" src={url('a.png')} />\n</div>\n\nB\n", "A\n\nB");
    assert_eq!(convert("<img alt=\"x\" src=\"a.png\" />\n", Dialect::Markdown), "<img alt=\"x\" src=\"a.png\" />");
}

#[test]
fn elements_lose_computed_attributes_only() {
    assert_eq!(
        convert("<kbd style={{color: 'red'}} className=\"key\" title='a \"b\"'>K</kbd>", Dialect::Markdown),
        "<kbd class=\"key\" title=\"a &quot;b&quot;\">K</kbd>"
    );
}

#[test]
fn wrappers_of_mdx_hold_markdown() {
    assert_eq!(convert("<div className=\"row\">\n  Some **text**.\n</div>\n", Dialect::Mdx), "Some **text**.");
    assert_eq!(
        convert("<details>\n<summary>More</summary>\nSome **text**.\n</details>\n", Dialect::Mdx),
        "<details>\n\n<summary>More</summary>\n\nSome **text**.\n\n</details>"
    );
}

#[test]
fn code_is_never_touched() {
    let source = "```jsx\nimport A from 'a'\n<A b={c}>{/* d */}</A>\n```\n\nUse `<A b={c} />` and `{' '}`.\n";
    both(source, source.trim());
    let indented = "Text\n\n    <A>\n    import b from 'c'\n    </A>";
    assert_eq!(convert(indented, Dialect::Markdown), indented);
}

#[test]
fn text_that_is_no_mdx_stays() {
    for text in [
        "a < b and c > d",
        "Vec<T> and <T>",
        "1 <2, {x}",
        "<https://a.example>",
        "if (a<B && c>d) {}",
        "<A b",
        "{/* open",
    ] {
        assert_eq!(convert(text, Dialect::Markdown), text);
    }
}

#[test]
fn broken_mdx_is_read_tolerantly() {
    assert_eq!(convert("<Box>\n\nText <br> { open\n\n<Other>\n", Dialect::Mdx), "Text <br> { open");
}

#[test]
fn a_parser_that_gives_up_is_no_obstacle() {
    assert_eq!(convert("<div>*/}}```\n- a", Dialect::Mdx), "<div>*/}}```\n- a");
}

#[test]
fn html_headings_become_markdown_headings() {
    let source = "A\n<h3 id=\"x\">One</h3>\nB\n\n<h3>\n\n2. Two\n\n</h3>\n\n<p><h2>no</h2></p>\n";
    assert_eq!(convert(source, Dialect::Markdown), "A\n\n### One {#x}\n\nB\n\n### 2. Two\n\n<p><h2>no</h2></p>");
}

#[test]
fn hostile_input_does_not_stall() {
    for source in [
        "<A>".repeat(80_000),
        "<A>".repeat(40_000) + &"</B>".repeat(40_000),
        "<A {".repeat(20_000),
        "{".repeat(250_000),
        "*".repeat(250_000),
        "[".repeat(250_000),
        "> ".repeat(120_000),
        "<div>".repeat(50_000) + &"</div>".repeat(50_000),
        "import {\n".repeat(20_000),
        "{/*".repeat(80_000),
        "<h1>".repeat(20_000),
        "**a ".repeat(60_000),
        "`".repeat(9) + "<A",
        (0..400).flat_map(|n| [" ".repeat(n), "<A>\n".to_owned()]).collect(),
    ] {
        let start = std::time::Instant::now();
        for dialect in [Dialect::Mdx, Dialect::Markdown] {
            let _ = to_markdown(&source, dialect);
        }
        assert!(start.elapsed().as_secs() < 30, "{:?} {:?}", source.get(..20), start.elapsed());
    }
}

proptest! {
    #[test]
    fn any_text_is_converted(text in "\\PC{0,300}") {
        let _ = to_markdown(&text, Dialect::Mdx);
        let _ = to_markdown(&text, Dialect::Markdown);
    }

    #[test]
    fn any_mixture_is_converted(parts in prop::collection::vec(prop::sample::select(vec![
        "<A>", "</A>", "<B c={d} e=\"f\">", "</B>", "<g />", "{", "}", "{/*", "*/}", "import x from 'y'\n", "export const z = {\n",
        "```\n", "`", "\n", "\n\n", "  ", "text", "<div>", "</div>", "<h2>", "</h2>", "- ", "é", "'", "\"", "<", ">",
    ]), 0..40)) {
        let text = parts.concat();
        let _ = to_markdown(&text, Dialect::Mdx);
        let _ = to_markdown(&text, Dialect::Markdown);
    }

    #[test]
    fn prose_is_untouched(text in "([A-Za-z ,.!?:;()\\[\\]*_#0-9]{0,60}\n){0,8}") {
        prop_assert_eq!(to_markdown(&text, Dialect::Markdown), text);
    }
}
