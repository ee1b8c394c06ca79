//! The assistant: answers made of what the help center says, quoted and cited, or none.

pub mod extractive;
pub mod relevance;
pub mod sentences;
