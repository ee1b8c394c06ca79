//! When an answer may be given again: to the same question, asked by the same audience, of the same passages.
//!
//! The passages are found anew each time, with what the asker may see now. Their texts are part of the key, so an edit, an
//! article that comes or goes and a change of who may see it lead to another key: nothing has to be invalidated.

use sha2::{Digest as _, Sha256};

use super::{passage::Passage, store::Open};

/// Changes when answers would be written otherwise.
const VERSION: &str = "1";

/// The key of an answer.
pub(super) fn key(searched_for: &str, open: &Open, writer: &str, memories: &[String], passages: &[Passage]) -> Vec<u8> {
    let mut roles = open.roles.as_slice().to_vec();
    roles.sort_unstable();
    let mut hash = Sha256::new();
    let mut add = |part: &str| {
        // With its length before it, no part can be taken for the end of another.
        hash.update(part.len().to_le_bytes());
        hash.update(part.as_bytes());
    };
    add(VERSION);
    add(writer);
    add(&normalised(searched_for));
    add(open.locale.as_deref().unwrap_or_default());
    add(&roles.len().to_string());
    for role in &roles {
        add(role);
    }
    add(&memories.len().to_string());
    for memory in memories {
        add(memory);
    }
    for passage in passages {
        add(&passage.article_id.to_string());
        add(&passage.slug);
        add(&passage.title);
        add(passage.anchor.as_deref().unwrap_or_default());
        add(&passage.heading_path.join("\n"));
        add(&passage.text);
    }
    hash.finalize().to_vec()
}

/// Lower case, one space between words, without what ends a sentence.
fn normalised(question: &str) -> String {
    let words = question.to_lowercase();
    let words: Vec<&str> = words.split_whitespace().collect();
    words.join(" ").trim_end_matches(|c: char| c.is_ascii_punctuation() || c == '？' || c == '。').to_owned()
}
