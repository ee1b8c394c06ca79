use proptest::prelude::*;

use super::*;
use crate::knowledge::import::yaml;

fn read(file: &str) -> Result<ArticleFile, String> {
    ArticleFile::read(file.as_bytes(), yaml).expect("it is one of ours")
}

fn article() -> ArticleFile {
    ArticleFile {
        title: "Refund: how?".to_owned(),
        slug: "refund".to_owned(),
        summary: "Money \"back\".".to_owned(),
        tags: vec!["two words".to_owned()],
        difficulty: Some("BEGINNER".to_owned()),
        target_roles: Some(vec!["all".to_owned()]),
        locale: Some("no".to_owned()),
        status: Some("PUBLISHED".to_owned()),
        review_due: NaiveDate::from_ymd_opt(2027, 1, 31),
        helpcenter: Some(ArticleBlock {
            format: FORMAT,
            id: Uuid::from_u128(1),
            is_draft: false,
            translation_group: None,
            related: vec![],
            former_slugs: vec![],
            source: None,
            source_path: None,
            published_at: None,
            last_reviewed_at: None,
            links: BTreeMap::from([("x.md".to_owned(), Destination::Broken)]),
            other_keys: Map::new(),
        }),
        other_keys: Map::from_iter([("weight".to_owned(), json!(3)), ("on".to_owned(), json!({ "a b": [1.5, null] }))]),
        content: "---\ntitle: not this one\n---\n\n\nText".to_owned(),
    }
}

#[test]
fn a_file_can_be_read_by_people() {
    let expected = r#"---
title: "Refund: how?"
slug: "refund"
summary: "Money \"back\"."
tags: ["two words"]
difficulty: BEGINNER
target_roles: ["all"]
locale: "no"
status: PUBLISHED
review_due: "2027-01-31"
helpcenter:
  format: 1
  id: "00000000-0000-0000-0000-000000000001"
  links: {"x.md": "broken"}
"on": {"a b": [1.5, null]}
weight: 3
---

---
title: not this one
---


Text"#;
    assert_eq!(article().write().ok().as_deref(), Some(expected));
    assert_eq!(read(expected), Ok(article()));
}

#[test]
fn what_tools_do_to_files_does_no_harm() {
    let article = ArticleFile { content: "Text\n\nMore\n".to_owned(), ..article() };
    let written = article.write().expect("written");
    for changed in [
        written.replace('\n', "\r\n"),
        format!("\u{feff}{written}"),
        written.replace("\n  format: 1\n  id", "\n    'id'").replace("\n  links", "\n    \"format\": 1\n    links"),
    ] {
        assert_eq!(read(&changed), Ok(article.clone()), "{changed}");
    }
}

#[test]
fn files_of_others_are_none_of_ours() {
    for text in
        ["", "Text\n", "---\ntitle: a\n---\n\nText\n", "---\nhelpcenter: yes\n---\n", "---\nx: 'helpcenter:\n---\n"]
    {
        assert!(ArticleFile::read(text.as_bytes(), yaml).is_none(), "{text}");
    }
    let newer = article().write().expect("written").replace("format: 1", "format: 2");
    assert_eq!(read(&newer), Err("it was exported in format 2; this release reads format 1".to_owned()));
    let wrong = article().write().expect("written").replace("tags: [", "tags: [[1], ");
    assert!(read(&wrong).is_err_and(|wrong| wrong.starts_with("`tags`: ")), "{:?}", read(&wrong));
    let untitled = article().write().expect("written").replace("title: \"", "heading: \"");
    assert!(read(&untitled).is_err_and(|wrong| wrong.contains("title")), "{:?}", read(&untitled));
}

#[test]
fn what_authors_write_about_folders_is_understood() {
    let category = CategoryFile::read("label: Guides # ours\nposition: 2\n", yaml).expect("valid");
    assert_eq!((category.name.as_deref(), category.order), (Some("Guides"), Some(2)));
    assert_eq!(
        CategoryFile::read("{\"label\": \"Guides\", \"collapsed\": true}", yaml).map(|c| c.name),
        Ok(Some("Guides".to_owned()))
    );
    assert_eq!(CategoryFile::read("# nothing yet\n", yaml), Ok(CategoryFile::default()));
    let wrong = CategoryFile::read("name: A\norder: first\n", yaml);
    assert!(wrong.as_ref().is_err_and(|wrong| wrong.starts_with("`order`: ")), "{wrong:?}");
}

/// Texts that a careless writer or reader of YAML would change.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "\\PC{0,40}",
        2 => "(\\PC|[\n\r\t\u{7f}\u{85}\u{a0}\u{2028}\u{feff}\u{202e}\"'#:,\\[\\]{}&*!|>%@`\\\\-]){0,30}",
        1 => prop::sample::select(vec![
            "", " ", "null", "~", "true", "no", "1.10", "007", "1e3", "0x1F", "2027-01-31", "- a", "a: b", "#x", "...", "---",
            "\n---\n", "%YAML 1.2", "!!str x", "&a", "*a", ".inf", "=", "<<",
        ])
        .prop_map(str::to_owned),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::String),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        (-1e9..1e9_f64).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            prop::collection::vec(prop_oneof![9 => inner.clone(), 1 => Just(Value::Null)], 0..4).prop_map(Value::from),
            prop::collection::vec((text(), inner), 0..4).prop_map(|keys| Value::Object(keys.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(
        texts in prop::collection::vec(text(), 8),
        lists in prop::collection::vec(prop::collection::vec(text(), 0..4), 2),
        keys in prop::collection::vec((prop_oneof![text(), Just("helpcenter".to_owned()), Just("title".to_owned())], value()), 0..5),
        links in prop::collection::vec((text(), 0..3), 0..4),
        seconds in 0..4_000_000_000_i64,
    ) {
        let [title, slug, summary, locale, content, source, path, former] = &texts[..] else { unreachable!() };
        let links = links.into_iter().map(|(written, to)| (written.clone(), match to {
            0 => Destination::File(written),
            1 => Destination::Broken,
            _ => Destination::Foreign,
        }));
        let mut file = ArticleFile {
            title: title.clone(),
            slug: slug.clone(),
            summary: summary.clone(),
            tags: lists[0].clone(),
            target_roles: Some(lists[1].clone()),
            locale: Some(locale.clone()),
            content: content.clone(),
            other_keys: keys.into_iter().collect(),
            ..article()
        };
        if let Some(block) = &mut file.helpcenter {
            block.links = links.collect();
            block.source = Some(source.clone());
            block.source_path = Some(path.clone());
            block.former_slugs = vec![former.clone()];
            block.published_at = DateTime::from_timestamp(seconds, 123_456_000);
            block.related = vec![Uuid::from_u128(7)];
        }
        let written = file.write().expect("written");
        let read = read(&written);
        prop_assert_eq!(read.as_ref(), Ok(&file), "{}", written);
        prop_assert_eq!(read.expect("read").write().expect("written"), written);
    }
}
