//! What a model is asked.

use super::cost::estimated_tokens;

/// Who says something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions of ours.
    System,
    /// The person, and what was found for them.
    User,
    /// The model, earlier.
    Assistant,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Message {
    /// By whom.
    pub role: Role,
    /// What.
    pub content: String,
}

impl Message {
    /// Instructions of ours.
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: Role::System, content: content.into() }
    }

    /// What a person says.
    pub fn user(content: impl Into<String>) -> Self {
        Self { role: Role::User, content: content.into() }
    }

    /// What the model has said.
    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: Role::Assistant, content: content.into() }
    }
}

/// What a model is asked, and how it shall answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Prompt {
    /// In the order in which they were said.
    pub messages: Vec<Message>,
    /// How long the answer may be; at most [`super::Model::max_output_tokens`], however much more is asked for.
    pub max_output_tokens: u32,
    /// How much is left to chance, 0 to 2. `None`: as the model has it, for models that take no other.
    pub temperature: Option<f32>,
}

/// What a server adds for each message.
const MESSAGE_TOKENS: u32 = 4;

impl Prompt {
    /// About how many tokens a server counts.
    pub fn estimated_tokens(&self) -> u32 {
        self.messages.iter().fold(0, |sum: u32, message| {
            sum.saturating_add(estimated_tokens(&message.content)).saturating_add(MESSAGE_TOKENS)
        })
    }
}

/// What a call is for, in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// An answer to a person.
    Answer,
    /// A question made complete by what was said before it.
    Rewrite,
    /// What is worth remembering of a conversation.
    Memory,
    /// A draft of an article.
    Draft,
}

impl Purpose {
    /// As it stands in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Rewrite => "rewrite",
            Self::Memory => "memory",
            Self::Draft => "draft",
        }
    }
}
