//! A conversation as a document to keep: Markdown in which nothing that was said counts as markup of the document.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use super::{
    conversations::{Exchange, Transcript},
    event::Citation,
};
use crate::markdown::escape;

/// The transcript as Markdown; `url` says where a citation leads.
pub fn to_markdown(transcript: &Transcript, url: impl Fn(&Citation) -> String) -> String {
    let conversation = &transcript.conversation;
    let mut text = format!("# Conversation of {}\n", time(conversation.started_at));
    let left_out =
        usize::try_from(conversation.questions).unwrap_or_default().saturating_sub(transcript.exchanges.len());
    if left_out > 0 {
        let _ = write!(text, "\n{left_out} questions before these are not shown.\n");
    }
    for exchange in &transcript.exchanges {
        let _ = write!(
            text,
            "\n## {}\n\n**Question:**\n\n{}\n",
            time(exchange.asked_at),
            quoted(&escape(&exchange.question))
        );
        let _ = write!(text, "\n**Answer{}:**\n\n{}\n", ending(exchange), quoted(said(exchange)));
        for citation in &exchange.citations {
            let _ = write!(text, "\n- \\[{}\\] [{}]({})", citation.marker, escape(&citation.title), url(citation));
        }
        if !exchange.citations.is_empty() {
            text.push('\n');
        }
        if let Some(is_helpful) = exchange.is_helpful {
            let _ = write!(text, "\nFound {}.\n", if is_helpful { "helpful" } else { "not helpful" });
        }
        if let Some(comment) = &exchange.comment {
            let _ = write!(text, "\n{}\n", quoted(&escape(comment)));
        }
    }
    text
}

/// What the answer is shown as. It is Markdown itself; quoted, it ends where it ends.
fn said(exchange: &Exchange) -> &str {
    match &exchange.answer {
        Some(answer) => answer,
        None if exchange.is_withheld => "*Not shown: it rests on an article that you may not see any more.*",
        None => "*There is none.*",
    }
}

fn ending(exchange: &Exchange) -> String {
    let words = [exchange.outcome.as_deref(), exchange.reason.as_deref()];
    let words: Vec<String> = words.into_iter().flatten().map(|word| word.replace('_', " ")).collect();
    match words.as_slice() {
        [] => format!(" ({})", exchange.status),
        words => format!(" ({})", words.join(": ")),
    }
}

/// Each line behind `>`.
fn quoted(text: &str) -> String {
    let lines: Vec<String> = text.trim_end().lines().map(|line| format!("> {line}").trim_end().to_owned()).collect();
    lines.join("\n")
}

fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        assistant::conversations::Conversation,
        markdown::{LinkTarget, render},
    };

    fn transcript(question: &str, answer: &str) -> Transcript {
        let at = DateTime::UNIX_EPOCH;
        let citation = Citation {
            marker: 1,
            article_id: Uuid::nil(),
            slug: "a".to_owned(),
            title: "A [b](https://evil.example)".to_owned(),
            heading_path: Vec::new(),
            anchor: None,
            quotes: Vec::new(),
        };
        Transcript {
            conversation: Conversation {
                id: Uuid::nil(),
                asker: "person:a".to_owned(),
                session: Some("s".to_owned()),
                started_at: at,
                last_asked_at: at,
                questions: 3,
                last_question: question.to_owned(),
                last_outcome: None,
                is_handed_over: false,
            },
            exchanges: vec![Exchange {
                answer_id: Uuid::nil(),
                question: question.to_owned(),
                page: None,
                asked_at: at,
                finished_at: Some(at),
                status: "done".to_owned(),
                outcome: Some("answered".to_owned()),
                reason: None,
                answer: Some(answer.to_owned()),
                is_withheld: false,
                citations: vec![citation],
                nearest: Vec::new(),
                is_helpful: Some(true),
                comment: Some("# Thanks".to_owned()),
            }],
        }
    }

    #[test]
    fn questions_answers_and_sources_are_there() {
        let text = to_markdown(&transcript("How?", "Like this. [1]\n\nAnd that."), |_| "/articles/a/".to_owned());
        for part in [
            "> How?",
            "> Like this. [1]\n>\n> And that.",
            "](/articles/a/)",
            "**Answer (answered):**",
            "Found helpful.",
            "2 questions before these",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }

    #[test]
    fn what_was_said_makes_no_markup_of_the_document() {
        let hostile =
            "x\n\n# Title\n\n<script>alert(1)</script> [a](https://evil.example) ![i](https://evil.example/i)";
        let text = to_markdown(&transcript(hostile, "fine"), |_| "/articles/a/".to_owned());
        let html = render(&text, &|_| LinkTarget::Keep).html;
        assert!(!html.contains("<script") && !html.contains("<img"), "{html}");
        // An address may lead where it says, and nothing else may lead there.
        assert!(!html.contains(">a</a>") && !html.contains(">b</a>"), "{html}");
        assert_eq!(html.matches("<h2").count() + html.matches("<h3").count(), 2, "{html}");
    }
}
