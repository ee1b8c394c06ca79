use std::collections::HashSet;
use std::fmt::Write;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::markdown::{TextBlock, text_blocks};

fn paths(passages: &[Passage]) -> Vec<String> {
    passages.iter().map(|passage| passage.heading_path.join(" > ")).collect()
}

fn sentences(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, number| {
        let _ = write!(text, "Sentence number {number} explains how orders are sent to the warehouse. ");
        text
    })
}

/// The words of a text. Where a word of another script than ours may be cut is the business of Unicode (many are written
/// without spaces, and a mark that stands behind a question mark belongs to it), so each of their letters counts alone.
fn words(text: &str) -> Vec<String> {
    let is_end = |c: char| !c.is_ascii_alphanumeric();
    let words = text.split_inclusive(is_end).flat_map(|part| {
        let (word, end) = part.split_at(part.find(is_end).unwrap_or(part.len()));
        [word, end].map(str::to_owned)
    });
    words.filter(|word| word.starts_with(char::is_alphanumeric)).collect()
}

fn body_words(content: &str) -> Vec<String> {
    let texts = text_blocks(content).into_iter().filter_map(|block| match block {
        TextBlock::Heading(_) => None,
        TextBlock::Paragraph(text) | TextBlock::Item(text) | TextBlock::Row(text) | TextBlock::Code(text) => Some(text),
    });
    texts.flat_map(|text| words(&text)).collect()
}

#[test]
fn a_short_article_is_one_passage() {
    let passages = passages("Refunds", "You can **refund** an order.\n\n1. Open it.\n2. Click [Refund](x.md).\n");
    assert_eq!(passages.len(), 1);
    assert_eq!(passages[0].text, "You can refund an order.\n1. Open it.\n2. Click Refund.");
    assert_eq!(passages[0].contextual_text("Refunds"), format!("Refunds\n{}", passages[0].text));
}

#[test]
fn an_article_without_text_gives_its_title() {
    for content in ["", "\n\n", "<!-- nothing -->", "![](x.png)", "---"] {
        let passages = passages("Only a title", content);
        assert_eq!(passages.len(), 1);
        assert_eq!(passages[0].text, "Only a title");
        assert_eq!(passages[0].contextual_text("Only a title"), "Only a title");
    }
}

#[test]
fn sections_are_cut_at_headings_with_path_and_anchor() {
    let long = sentences(10);
    let content = format!("Intro. {long}\n\n## Set up\n\n{long}\n\n### On Linux\n\n{long}\n\n## Use\n\n{long}\n");
    let passages = passages("Guide", &content);
    assert_eq!(paths(&passages), ["", "Set up", "Set up > On Linux", "Use"]);
    let anchors: Vec<_> = passages.iter().map(|passage| passage.anchor.as_deref()).collect();
    assert_eq!(anchors, [None, Some("h-set-up"), Some("h-on-linux"), Some("h-use")]);
    assert!(passages[2].contextual_text("Guide").starts_with("Guide > Set up > On Linux\nSentence number 0 "));
}

#[test]
fn small_sections_share_a_passage_with_their_headings_inside() {
    let content = "## Colors\n\n### Red\n\nIt is warm.\n\n### Blue\n\nIt is cold.\n\n## Sizes\n\nTwo of them.\n";
    let passages = passages("Style", content);
    assert_eq!(passages.len(), 1);
    assert_eq!(passages[0].text, "Colors\nRed\nIt is warm.\n\nBlue\nIt is cold.\n\nSizes\nTwo of them.");
    assert_eq!(passages[0].anchor.as_deref(), Some("h-red"));
}

#[test]
fn sections_under_different_headings_stay_apart() {
    let long = sentences(12);
    let content = format!("## A\n\n{long}\n\n### A1\n\nTiny.\n\n## B\n\n### B1\n\nTiny too.\n\n### B2\n\n{long}\n");
    assert_eq!(paths(&passages("T", &content)), ["A", "A > A1", "B > B1", "B > B2"]);
}

#[test]
fn long_sections_are_cut_between_sentences_into_even_parts() {
    let passages = passages("T", &sentences(60));
    assert!(passages.len() > 2);
    for passage in &passages {
        assert!(passage.text.ends_with('.'), "{}", passage.text);
        assert!((120..=220).contains(&passage.token_count), "{}", passage.token_count);
    }
}

#[test]
fn a_line_that_announces_a_list_stays_with_it() {
    let items = (0..30).fold(String::new(), |mut items, number| {
        let _ = writeln!(items, "- Item {number} that says a few words about one of the settings");
        items
    });
    let passages = passages("T", &format!("{}\n\nChoose one of these:\n\n{items}", sentences(11)));
    let lead_in = passages.iter().find(|passage| passage.text.contains("Choose one")).map(|p| p.text.clone());
    assert!(lead_in.is_some_and(|text| text.contains("Item 0")));
}

#[test]
fn a_heading_with_nothing_under_it_is_kept() {
    let long = sentences(12);
    let passages = passages("T", &format!("## A\n\n{long}\n\n## Coming soon\n"));
    assert_eq!(passages.last().map(|passage| passage.text.as_str()), Some("Coming soon"));
}

#[test]
fn a_paragraph_that_became_a_heading_is_cut_too() {
    let long = sentences(40);
    let content = format!("{long}\n---\n\n{long}\n\n{}\n---\n", sentences(50));
    for passage in passages("T", &content) {
        assert!(passage.token_count <= 230, "{passage:?}");
        assert!(estimate_tokens(&passage.contextual_text("T")) <= 256, "{passage:?}");
    }
}

#[test]
fn a_long_title_leaves_less_room_for_text() {
    let title = "How to configure everything in the warehouse ".repeat(4);
    let longest = passages(&title, &sentences(60)).iter().map(|p| estimate_tokens(&p.contextual_text(&title))).max();
    assert!(longest.is_some_and(|longest| longest <= 250), "{longest:?}");
}

#[test]
fn languages_without_spaces_are_cut_between_sentences() {
    let passages = passages("設定", &"設定画面を開いて、保存ボタンを押してください。".repeat(60));
    assert!(passages.len() > 4);
    for passage in &passages {
        assert!(passage.text.ends_with('。') && !passage.text.contains(' '), "{}", passage.text);
    }
}

#[test]
fn words_are_not_cut_and_letters_of_other_scripts_stay_in_order() {
    assert_eq!(words("Ab1, c?\u{b01}ਏ設定d"), ["Ab1", "c", "\u{b01}", "ਏ", "設", "定", "d"]);
    let line = "x?\u{b01}ਏ".repeat(60);
    let cut: Vec<String> = passages("T", &line).iter().flat_map(|passage| words(&passage.text)).collect();
    assert_eq!(cut, words(&line));
}

#[test]
fn the_estimate_knows_words_code_and_scripts() {
    for (text, expected) in [
        ("", 0..=0),
        ("Click the button.", 4..=5),
        ("maxRetriesPerRequest", 5..=7),
        ("注文を確認", 5..=5),
        ("Настройки", 9..=9),
        ("2024-01-31", 5..=6),
        ("\u{200b}\u{301}", 0..=0),
    ] {
        assert!(expected.contains(&estimate_tokens(text)), "{text}: {}", estimate_tokens(text));
    }
    let german = "Sie können die Einstellungen ändern, wenn das Konto nicht gesperrt ist und die Rolle es erlaubt.";
    assert!((28..=40).contains(&estimate_tokens(german)), "{}", estimate_tokens(german));
}

#[test]
fn a_megabyte_is_cut_without_delay() {
    for (name, content) in [
        ("prose", sentences(16_000)),
        ("one word", "a".repeat(1 << 20)),
        ("words", "word ".repeat(200_000)),
        ("no spaces", "設定を開く。".repeat(60_000)),
        ("items", "- one item\n".repeat(90_000)),
        ("headings", "## Heading\n\ntext\n\n".repeat(50_000)),
        ("code", format!("```\n{}```\n", "let value = call(argument);\n".repeat(36_000))),
        ("punctuation", ".".repeat(1 << 20)),
    ] {
        let start = Instant::now();
        let passages = passages("T", &content);
        assert!(start.elapsed() < Duration::from_secs(30), "{name} took {:?}", start.elapsed());
        assert!(passages.iter().all(|passage| passage.token_count <= 230), "{name}");
    }
}

fn document() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        3 => "[a-zA-Z ,.]{0,120}",
        2 => Just(sentences(9)),
        2 => "#{1,4} [A-Z][a-z]{0,8}",
        1 => "- [a-z ]{1,40}",
        1 => "\\| [a-z]{1,5} \\| [a-z]{1,5} \\|",
        1 => Just("```".to_owned()),
        1 => Just(":::tip Title words".to_owned()),
        1 => Just(":::".to_owned()),
        1 => "\\PC{0,60}",
        3 => Just(String::new()),
    ];
    prop::collection::vec(line, 0..40).prop_map(|lines| lines.join("\n"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_word_is_in_one_passage_in_order(content in document()) {
        let passages = passages("Title", &content);
        let body = body_words(&content);
        let mut expected = body.iter().peekable();
        for passage in &passages {
            // Headings of joined sections stand between the words of the body; the body's words may not be missing.
            for word in words(&passage.text) {
                if expected.peek() == Some(&&word) {
                    expected.next();
                }
            }
        }
        prop_assert_eq!(expected.next(), None);
        // A heading may stand before several of the texts that are under it.
        let headings: HashSet<String> = text_blocks(&content).iter().filter_map(|block| match block {
            TextBlock::Heading(heading) => Some(words(&heading.text)),
            _ => None,
        }).flatten().chain(words("Title")).collect();
        let in_text = passages.iter().flat_map(|passage| words(&passage.text)).filter(|word| !headings.contains(word));
        let in_body = body.iter().filter(|word| !headings.contains(*word));
        prop_assert_eq!(in_text.count(), in_body.count(), "a word is in two passages");
    }

    #[test]
    fn every_heading_is_in_a_path_or_in_a_text(content in document()) {
        let passages = passages("Title", &content);
        for block in text_blocks(&content) {
            // A longer one is a whole paragraph, which may be cut.
            if let TextBlock::Heading(heading) = block
                && estimate_tokens(&heading.text) <= 60
            {
                let is_kept = passages.iter().any(|passage| {
                    passage.heading_path.contains(&heading.text) || passage.text.contains(&heading.text)
                });
                prop_assert!(is_kept, "{}", heading.text);
            }
        }
    }

    #[test]
    fn limits_hold_and_cutting_is_deterministic(title in "\\PC{0,200}", content in document()) {
        let passages = super::passages(&title, &content);
        prop_assert!(!passages.is_empty());
        for (at, passage) in passages.iter().enumerate() {
            prop_assert_eq!(usize::try_from(passage.ordinal), Ok(at));
            prop_assert!(passage.token_count <= 230 || passage.text == title.trim(), "{:?}", passage);
            prop_assert!(!passage.text.trim().is_empty() || title.trim().is_empty());
        }
        prop_assert_eq!(super::passages(&title, &content), passages);
    }

    #[test]
    fn arbitrary_text_is_cut(content in "\\PC{0,2000}") {
        for passage in passages("T", &content) {
            prop_assert!(passage.token_count <= 230);
        }
    }

    #[test]
    fn the_estimate_of_parts_is_at_least_that_of_the_whole(first in "\\PC{0,80}", second in "\\PC{0,80}") {
        let estimator = Estimator::for_language_of(&first);
        let whole = estimator.tokens(&format!("{first} {second}"));
        prop_assert!(whole <= estimator.tokens(&first) + estimator.tokens(&second));
    }
}
