//! What an article was before, what changed, and going back.

use chrono::{DateTime, Utc};
use similar::{ChangeTag, TextDiff};
use uuid::Uuid;

use super::{ArticleChange, WriteError, Writer, change};
use crate::{db::TenantTx, knowledge::article::ArticleText};

/// How many unchanged lines are shown around a change.
const CONTEXT_LINES: usize = 3;

/// A saved text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revision {
    /// From 1, without gaps.
    pub number: i32,
    /// The text; in a list without its content.
    pub text: ArticleText,
    /// Who wrote it.
    pub author: String,
    /// What they said of it.
    pub note: String,
    /// When.
    pub created_at: DateTime<Utc>,
    /// Whether readers see it.
    pub is_published: bool,
}

/// The revisions of an article, the latest first, without their content: those before `before`, at most `limit`.
pub async fn revisions(
    tx: &mut TenantTx,
    article: Uuid,
    before: Option<i32>,
    limit: i64,
) -> Result<Vec<Revision>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let rows = sqlx::query!(
        r#"select r.number, r.title, r.summary, r.author, r.note, r.created_at,
                  (a.status = 'PUBLISHED' and a.published_revision_id = r.id) is true as "is_published!"
           from revisions r join articles a on a.tenant_id = r.tenant_id and a.id = r.article_id
           where r.tenant_id = $1 and r.article_id = $2 and ($3::integer is null or r.number < $3)
           order by r.number desc limit $4"#,
        tenant,
        article,
        before,
        limit
    )
    .fetch_all(tx.connection())
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| Revision {
            number: r.number,
            text: ArticleText { title: r.title, summary: r.summary, content: String::new() },
            author: r.author,
            note: r.note,
            created_at: r.created_at,
            is_published: r.is_published,
        })
        .collect())
}

/// One revision with its content.
pub async fn revision(tx: &mut TenantTx, article: Uuid, number: i32) -> Result<Option<Revision>, sqlx::Error> {
    let tenant = tx.tenant().uuid();
    let row = sqlx::query!(
        r#"select r.number, r.title, r.summary, r.content, r.author, r.note, r.created_at,
                  (a.status = 'PUBLISHED' and a.published_revision_id = r.id) is true as "is_published!"
           from revisions r join articles a on a.tenant_id = r.tenant_id and a.id = r.article_id
           where r.tenant_id = $1 and r.article_id = $2 and r.number = $3"#,
        tenant,
        article,
        number
    )
    .fetch_optional(tx.connection())
    .await?;
    Ok(row.map(|r| Revision {
        number: r.number,
        text: ArticleText { title: r.title, summary: r.summary, content: r.content },
        author: r.author,
        note: r.note,
        created_at: r.created_at,
        is_published: r.is_published,
    }))
}

/// Makes the text of an earlier revision the latest one; the one between stays in the history.
pub async fn restore(tx: &mut TenantTx, writer: &Writer, id: Uuid, seen: i32, number: i32) -> Result<(), WriteError> {
    let Some(earlier) = revision(tx, id, number).await? else {
        return Err(WriteError::Invalid(format!("The article has no revision {number}.")));
    };
    let ArticleText { title, summary, content } = earlier.text;
    let restored = ArticleChange {
        title: Some(title),
        summary: Some(summary),
        content: Some(content),
        note: format!("Restored from revision {number}"),
        ..ArticleChange::default()
    };
    change(tx, writer, id, seen, &restored).await
}

/// What differs between two texts.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Comparison {
    /// Words of the titles, in order.
    pub title: Vec<Piece>,
    /// Words of the summaries, in order.
    pub summary: Vec<Piece>,
    /// The places where the contents differ, each with some lines around it.
    pub content: Vec<Hunk>,
}

/// A piece of text.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Piece {
    /// Where it is.
    pub kind: Kind,
    /// The text.
    pub text: String,
}

/// Where a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// In both.
    Same,
    /// In the former only.
    Removed,
    /// In the latter only.
    Added,
}

/// A place where two contents differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Hunk {
    /// Its first line in the former, from 1.
    pub from_line: usize,
    /// Its first line in the latter, from 1.
    pub to_line: usize,
    /// Its lines.
    pub lines: Vec<Line>,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Line {
    /// Where it is.
    pub kind: Kind,
    /// Its parts; those that are not the same as in its counterpart have the line's kind.
    pub pieces: Vec<Piece>,
}

/// Compares two texts: contents line by line and, within lines, word by word.
pub fn compare(former: &ArticleText, latter: &ArticleText) -> Comparison {
    let contents = TextDiff::from_lines(&former.content, &latter.content);
    let mut hunks = Vec::new();
    for group in contents.grouped_ops(CONTEXT_LINES) {
        let Some(first) = group.first() else { continue };
        let mut lines = Vec::new();
        for op in &group {
            for change in contents.iter_inline_changes(op) {
                let kind = kind(change.tag());
                let pieces = change
                    .iter_strings_lossy()
                    .map(|(is_changed, text)| Piece {
                        kind: if is_changed { kind } else { Kind::Same },
                        text: text.trim_end_matches(['\n', '\r']).to_owned(),
                    })
                    .filter(|piece| !piece.text.is_empty())
                    .collect();
                lines.push(Line { kind, pieces });
            }
        }
        hunks.push(Hunk { from_line: first.old_range().start + 1, to_line: first.new_range().start + 1, lines });
    }
    Comparison {
        title: words(&former.title, &latter.title),
        summary: words(&former.summary, &latter.summary),
        content: hunks,
    }
}

fn words(former: &str, latter: &str) -> Vec<Piece> {
    let mut pieces: Vec<Piece> = Vec::new();
    for change in TextDiff::from_words(former, latter).iter_all_changes() {
        let kind = kind(change.tag());
        match pieces.last_mut() {
            Some(last) if last.kind == kind => last.text.push_str(change.value()),
            _ => pieces.push(Piece { kind, text: change.value().to_owned() }),
        }
    }
    pieces
}

fn kind(tag: ChangeTag) -> Kind {
    match tag {
        ChangeTag::Equal => Kind::Same,
        ChangeTag::Delete => Kind::Removed,
        ChangeTag::Insert => Kind::Added,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(title: &str, content: &str) -> ArticleText {
        ArticleText { title: title.to_owned(), summary: String::new(), content: content.to_owned() }
    }

    #[test]
    fn a_changed_word_is_shown_in_its_line_with_the_lines_around() {
        let before = "one\ntwo\nthree\nfour\nfive\nSend the red form.\nseven\n";
        let after = "one\ntwo\nthree\nfour\nfive\nSend the green form.\nseven\n";
        let comparison = compare(&text("Old forms", before), &text("New forms", after));
        let [hunk] = &comparison.content[..] else { panic!("{comparison:?}") };
        assert_eq!((hunk.from_line, hunk.to_line), (3, 3));
        let shown: Vec<(Kind, String)> =
            hunk.lines.iter().map(|line| (line.kind, line.pieces.iter().map(|p| p.text.as_str()).collect())).collect();
        assert!(shown.contains(&(Kind::Removed, "Send the red form.".to_owned())), "{shown:?}");
        assert!(shown.contains(&(Kind::Added, "Send the green form.".to_owned())), "{shown:?}");
        let emphasised: Vec<&str> = hunk
            .lines
            .iter()
            .flat_map(|line| &line.pieces)
            .filter(|piece| piece.kind != Kind::Same)
            .map(|piece| piece.text.trim())
            .collect();
        assert_eq!(emphasised, ["red", "green"]);
        assert_eq!(comparison.title[0], Piece { kind: Kind::Removed, text: "Old".to_owned() });
    }

    #[test]
    fn equal_texts_have_no_differences() {
        let same = text("Title", "content\n");
        assert!(compare(&same, &same).content.is_empty());
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_out_of_a_comparison(former in "[ab\n ]{0,60}", latter in "[ab\n ]{0,60}") {
            // The title is compared whole.
            let pieces = words(&former, &latter);
            let read = |without: Kind| -> String {
                pieces.iter().filter(|p| p.kind != without).map(|p| p.text.as_str()).collect()
            };
            prop_assert_eq!(read(Kind::Added), former);
            prop_assert_eq!(read(Kind::Removed), latter);
        }
    }
}
