use proptest::prelude::*;

use super::*;
use crate::knowledge::Status;

fn document(path: &str, text: &str) -> Document {
    parse(path, text.as_bytes()).expect("the file is valid")
}

#[test]
fn front_matter_says_what_an_article_is() {
    let document = document(
        "guides/orders/refund.md",
        "---\ntitle: \"Refund  an order\"\nslug: /help/Refund-Order/\ndescription: How to give money back.\nstatus: draft\n---\n\nText.\n",
    );
    assert_eq!(document.title, "Refund an order");
    assert_eq!(document.slug_hint.as_str(), "refund-order");
    assert_eq!(document.summary, "How to give money back.");
    assert_eq!(document.content, "Text.\n");
    assert_eq!(document.front_matter.status, Some(Status::Draft));
    assert!(document.warnings.is_empty());
}

#[test]
fn the_first_heading_is_a_title_and_not_shown_twice() {
    let document =
        document("a.md", "# Refund *an* order<a name=\"refund\"></a>\n\nSome text that explains it.\n\n## More\n");
    assert_eq!(document.title, "Refund an order");
    assert_eq!(document.content, "Some text that explains it.\n\n## More\n");
    assert_eq!(document.summary, "Some text that explains it.");
}

#[test]
fn a_heading_that_repeats_the_given_title_is_dropped() {
    assert_eq!(document("a.md", "---\ntitle: Refunds\n---\n# Refunds\n\nText.\n").content, "Text.\n");
    assert_eq!(document("a.md", "---\ntitle: Refunds\n---\n# Overview\n\nText.\n").content, "# Overview\n\nText.\n");
    assert_eq!(document("a.md", "Text.\n\n## Later\n").content, "Text.\n\n## Later\n");
    assert_eq!(document("a.md", "Text.\n\n## Later\n").title, "Later");
}

#[test]
fn the_file_name_is_the_last_resort() {
    let document = document("guides/how_to-pay.v2.md", "Just a text without headings.\n");
    assert_eq!((document.title.as_str(), document.slug_hint.as_str()), ("How to pay v2", "how-to-pay-v2"));
}

#[test]
fn index_files_are_named_after_their_folder() {
    assert_eq!(document("guides/Getting started/index.md", "Text.").slug_hint.as_str(), "getting-started");
    assert_eq!(document("guides/README.md", "Text.").title, "Guides");
    assert_eq!(document("README.md", "Text.").slug_hint.as_str(), "readme");
}

#[test]
fn names_without_letters_still_get_a_slug() {
    assert_eq!(document("---.md", "# 設定\n\nText.").slug_hint.as_str(), "設定");
    assert_eq!(document("---.md", "# !!!\n\nText.").slug_hint.as_str(), "article");
    let document = document("a.md", "---\nslug: '!!'\n---\nText.");
    assert_eq!(document.slug_hint.as_str(), "a");
    assert_eq!(document.warnings.len(), 1);
}

#[test]
fn a_list_of_roles_without_roles_is_nobody_and_is_pointed_out() {
    for roles in ["[]", "''"] {
        let document = document("a.md", &format!("---\ntarget_roles: {roles}\n---\nText."));
        assert_eq!(document.front_matter.target_roles, Some(vec![]), "{roles}");
        assert_eq!(document.warnings.len(), 1, "{:?}", document.warnings);
    }
    let document = document("a.md", "---\ntarget_roles:\n---\nText.");
    assert_eq!((document.front_matter.target_roles, document.warnings.len()), (None, 0));
}

#[test]
fn long_titles_and_summaries_are_cut_between_words() {
    let source =
        format!("---\ntitle: {}\nsummary: {}\n---\nText.", "word ".repeat(60), "One sentence here. ".repeat(40));
    let document = document("a.md", &source);
    assert!(document.title.chars().count() <= 200 && document.title.ends_with("word…"), "{}", document.title);
    assert!(document.summary.chars().count() <= 500 && document.summary.ends_with("here."), "{}", document.summary);
    assert_eq!(document.warnings.len(), 2, "{:?}", document.warnings);
}

#[test]
fn a_summary_is_found_in_the_text() {
    let long = "A sentence of some length that says what this is about. ".repeat(8);
    let summary = document("a.md", &long).summary;
    assert!(summary.chars().count() <= 300 && summary.ends_with("about."), "{summary}");
    assert_eq!(document("a.md", "Choose one of these ways:\n\n- a\n").summary, "Choose one of these ways…");
    let endless = document("a.md", &"word ".repeat(100)).summary;
    assert!(endless.chars().count() <= 300 && endless.ends_with("word…"), "{endless}");
}

#[test]
fn pages_of_html_are_read() {
    let document = document(
        "a.html",
        "<html lang=de><title>Konto – Hilfe</title><meta name=description content='Zum Konto.'><main><h1>Konto</h1><p>Text.</p></main>",
    );
    assert_eq!((document.title.as_str(), document.content.as_str()), ("Konto", "Text.\n"));
    assert_eq!((document.summary.as_str(), document.front_matter.locale.as_deref()), ("Zum Konto.", Some("de")));
}

#[test]
fn mdx_and_hidden_text_are_gone_before_anything_is_read() {
    let document = document(
        "a.mdx",
        "import A from 'a'\n\n{/* b */}\n<!-- c -->\n# Ti\u{200b}tle\n\n<A>\n  Some text of the page.\n</A>\n",
    );
    assert_eq!(document.title, "Title");
    assert_eq!(document.content, "Some text of the page.\n");
}

#[test]
fn links_and_images_are_listed_once() {
    let document = document("a.md", "[a](b.md) [c](b.md) ![d](e.png) <img src=\"f.png\"> [g][h]\n\n[h]: /i#j\n");
    assert_eq!(document.links, ["b.md", "/i#j"]);
    assert_eq!(document.images, ["e.png", "f.png"]);
}

#[test]
fn nothing_to_import_is_an_error() {
    for (path, bytes) in [
        ("a.md", ""),
        ("a.md", "\n \n"),
        ("a.md", "<!-- later -->"),
        ("a.md", "---\ntags: [a]\n---\n"),
        ("a.html", "<nav>x</nav>"),
    ] {
        assert_eq!(parse(path, bytes.as_bytes()), Err(ParseError::Empty), "{bytes}");
    }
    assert_eq!(document("a.md", "---\ntitle: Only this\n---\n").warnings.len(), 1);
}

#[test]
fn errors_are_sentences() {
    assert_eq!(
        parse("a.md", b"---\nstatus: live\n---\n").map_err(|error| error.to_string()),
        Err("the front matter key `status` is \"live\"; expected is draft, review, published or archived".to_owned())
    );
    assert_eq!(
        parse("a.md", b"ab\xff").map_err(|error| error.to_string()),
        Err("the file is not UTF-8 (or UTF-16 with a byte order mark): byte 2 fits neither".to_owned())
    );
    assert!(parse("a.pdf", b"x").is_err_and(|error| error.to_string().contains("a.pdf")));
}

proptest! {
    #[test]
    fn any_bytes_give_a_document_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300), extension in "md|mdx|html") {
        let _ = parse(&format!("a.{extension}"), &bytes);
    }

    #[test]
    fn any_text_keeps_the_limits(text in "(---\n(title|tags|slug|summary): \\PC{0,40}\n---\n)?\\PC{0,400}", extension in "md|mdx|html") {
        if let Ok(document) = parse(&format!("folder/a.{extension}"), text.as_bytes()) {
            prop_assert!(document.title.chars().count() <= 200 && !document.title.is_empty());
            prop_assert!(document.summary.chars().count() <= 500);
            prop_assert!(document.slug_hint.as_str().parse::<Slug>().is_ok());
        }
    }
}
