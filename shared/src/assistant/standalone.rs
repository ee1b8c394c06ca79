//! What a question leaves out because it was said before: a follow-up becomes a question that a search understands.
//!
//! Without a language model, by rules: a question that goes on from another ("and for vendors?"), that speaks of what was named
//! before ("how do I turn it off?"), or that is too short to stand alone is searched for together with the question before.

use std::collections::HashSet;

use super::store::Turn;
use crate::knowledge::PageUrl;

/// Most characters of what is searched for: those of a query.
const MAX_CHARS: usize = 500;
/// Most characters that are taken over from before.
const MAX_CHARS_BEFORE: usize = 250;
/// A question of so few words goes on from the one before, if there is one.
const SHORT: usize = 2;
/// A question with a pronoun of so many words or more says what it means.
const LONG: usize = 12;

/// How follow-ups begin.
const OPENINGS: &[&str] = &[
    "and",
    "or",
    "but",
    "also",
    "then",
    "what about",
    "how about",
    "what if",
    "same for",
    "und",
    "oder",
    "aber",
    "et",
    "ou",
    "mais",
    "y",
    "o",
    "pero",
    "e",
    "ma",
    "en",
    "of",
    "maar",
];
/// Words that stand for what was named before.
const PRONOUNS: &[&str] = &[
    "it", "its", "that", "this", "these", "those", "they", "them", "their", "there", "one", "ones", "er", "sie", "es",
    "das", "diese", "dieses", "dort", "il", "elle", "cela", "ça", "ce", "cette", "ello", "eso", "esto", "esta",
    "questo", "quello",
];
/// Words that stand for the page that somebody is on.
const HERE: &[&str] = &[
    "here",
    "this page",
    "this screen",
    "this form",
    "hier",
    "diese seite",
    "ici",
    "cette page",
    "aquí",
    "esta página",
];

/// The question as it is searched for.
pub(super) fn standalone(question: &str, turns: &[Turn], page: Option<&str>) -> String {
    let words = Words::of(question);
    let mut parts: Vec<String> = Vec::new();
    if let Some(before) = turns.last().filter(|_| words.goes_on()) {
        let asked = before.searched_for.as_deref().unwrap_or(&before.question);
        parts.push(cut(asked, MAX_CHARS_BEFORE).to_owned());
    }
    parts.push(question.split_whitespace().collect::<Vec<_>>().join(" "));
    if parts.len() == 1 && words.is_about_here() {
        parts.extend(page.and_then(page_words));
    }
    cut(parts.join(" ").trim(), MAX_CHARS).to_owned()
}

/// The words of a page that is known by host and path, or by the path alone.
fn page_words(page: &str) -> Option<String> {
    let address = if page.starts_with('/') { page.to_owned() } else { format!("https://{page}") };
    address.parse().ok().map(|page: PageUrl| page.words())
}

struct Words {
    text: String,
    count: usize,
    set: HashSet<String>,
}

impl Words {
    fn of(question: &str) -> Self {
        let words: Vec<String> = question
            .split(|c: char| !c.is_alphanumeric() && c != '\'')
            .filter(|word| !word.is_empty())
            .map(str::to_lowercase)
            .collect();
        Self { text: format!(" {} ", words.join(" ")), count: words.len(), set: words.into_iter().collect() }
    }

    fn goes_on(&self) -> bool {
        let begins = OPENINGS.iter().any(|opening| self.text.starts_with(&format!(" {opening} ")));
        let points_back = self.count < LONG && PRONOUNS.iter().any(|pronoun| self.set.contains(*pronoun));
        self.count <= SHORT || begins || points_back
    }

    fn is_about_here(&self) -> bool {
        HERE.iter().any(|here| self.text.contains(&format!(" {here} ")))
    }
}

/// The beginning of a text, at most so many characters, no word cut in two where there are several.
fn cut(text: &str, chars: usize) -> &str {
    let Some((end, _)) = text.char_indices().nth(chars) else { return text };
    let fitting = &text[..end];
    fitting.rfind(char::is_whitespace).filter(|at| *at > 0).map_or(fitting, |at| fitting[..at].trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(before: &str, question: &str) -> String {
        let turn = Turn { question: before.to_owned(), searched_for: None, answer: None };
        standalone(question, &[turn], None)
    }

    #[test]
    fn follow_ups_take_over_what_they_leave_out() {
        let before = "How do I invite people?";
        assert_eq!(after(before, "and for vendors?"), "How do I invite people? and for vendors?");
        assert_eq!(after(before, "How do I undo it?"), "How do I invite people? How do I undo it?");
        assert_eq!(after(before, "Vendors?"), "How do I invite people? Vendors?");
        let other = "How do I change the time zone of my account?";
        assert_eq!(after(before, other), other);
    }

    #[test]
    fn what_is_here_is_said_by_the_page() {
        let page = Some("app.example.com/settings/time-zone/:id");
        assert_eq!(standalone("What can I do here?", &[], page), "What can I do here? settings time zone");
        assert_eq!(standalone("What is a time zone?", &[], page), "What is a time zone?");
    }

    #[test]
    fn it_never_grows_longer_than_a_query() {
        let long = "word ".repeat(400);
        assert!(after(&long, "and that?").chars().count() <= MAX_CHARS_BEFORE + 12);
        assert_eq!(standalone(&"é".repeat(900), &[], None).chars().count(), MAX_CHARS);
    }
}
