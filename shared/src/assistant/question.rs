//! What is asked, and by whom.

use std::str::FromStr;

use crate::{
    auth::{Identity, Pepper, Principal, Roles},
    knowledge::{
        PageUrl,
        feedback::{ReaderKey, session_name},
    },
    markdown::strip_invisible,
};

/// Fewest characters of a question.
pub const MIN_QUESTION_CHARS: usize = 2;
/// Most.
pub const MAX_QUESTION_CHARS: usize = 2_000;
/// Most characters in a session's name.
pub const MAX_SESSION_CHARS: usize = 200;

/// A question of 2 to 2000 characters, any Unicode but control characters and what cannot be seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question(String);

/// Why a text is not a question.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuestionError {
    /// Too short, white space at both ends not counted.
    #[error("ask with at least {MIN_QUESTION_CHARS} characters")]
    TooShort,
    /// Too long.
    #[error("a question may have at most {MAX_QUESTION_CHARS} characters; this one has {0}")]
    TooLong(usize),
}

impl Question {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Question {
    type Err = QuestionError;

    fn from_str(text: &str) -> Result<Self, QuestionError> {
        let length = text.chars().count();
        if length > MAX_QUESTION_CHARS {
            return Err(QuestionError::TooLong(length));
        }
        let visible: String = text.chars().map(|c| if c.is_control() && c != '\n' { ' ' } else { c }).collect();
        let visible = strip_invisible(&visible).trim().to_owned();
        if visible.chars().count() < MIN_QUESTION_CHARS {
            return Err(QuestionError::TooShort);
        }
        Ok(Self(visible))
    }
}

/// Who asks, the same one each time: a person, a visitor by the session that their browser keeps, or a machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asker(String);

impl Asker {
    /// `person:SUBJECT`, `visitor:HASH` or `key:ID`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `None`: a visitor without a session that nobody guesses.
    pub fn of(caller: &Principal, session: Option<&str>, pepper: &Pepper) -> Option<Self> {
        match &caller.identity {
            Identity::Machine { key, .. } => Some(Self(format!("key:{key}"))),
            _ => ReaderKey::of(caller, session, pepper).map(|reader| Self(reader.as_str().to_owned())),
        }
    }

    /// A person, by the host application's subject or the id of a local account.
    pub fn person(subject: &str) -> Self {
        Self(format!("person:{subject}"))
    }

    /// Whether it is a person, of whom something may be remembered.
    pub fn is_person(&self) -> bool {
        self.0.starts_with("person:")
    }

    /// Under which name a session of theirs is kept.
    pub(super) fn session_name<'a>(&'a self, session: &'a str) -> &'a str {
        session_name(&self.0, session)
    }

    pub(super) fn from_row(asker: String) -> Self {
        Self(asker)
    }
}

/// Something to be answered.
#[derive(Debug, Clone)]
pub struct Asked {
    /// Who asks.
    pub asker: Asker,
    /// With which roles: what the answer may rest on.
    pub roles: Roles,
    /// The session, as the client names it, of 1 to [`MAX_SESSION_CHARS`] characters.
    pub session: String,
    /// The question.
    pub question: Question,
    /// The page of the host application that the asker is on.
    pub page: Option<PageUrl>,
    /// The asker's language.
    pub locale: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_of_fitting_length_is_a_question() {
        assert_eq!("  how?\u{0}\n ".parse(), Ok(Question("how?".to_owned())));
        assert_eq!("a\u{200b}\u{202e}b".parse(), Ok(Question("ab".to_owned())));
        assert_eq!("\u{200b}\u{200b}x".parse::<Question>(), Err(QuestionError::TooShort));
        assert_eq!("é".repeat(2_001).parse::<Question>(), Err(QuestionError::TooLong(2_001)));
    }
}
