//! Which memories have to do with a question: by the words that both have, and what is said of answers as such.

use std::collections::HashSet;

use super::{Memory, MemoryKind};

/// Words of fewer characters say little.
const SHORTEST: usize = 3;
/// Words that agree in so many first characters are forms of the same word.
const STEM: usize = 5;
/// How many preferences are told with every question, those of which most is known first.
const PREFERENCES: usize = 2;

/// Frequent words that say nothing about what a text is about.
const EMPTY: &[&str] = &[
    "the", "and", "for", "are", "was", "with", "you", "your", "our", "how", "what", "where", "when", "why", "who",
    "which", "can", "could", "does", "did", "have", "has", "had", "not", "but", "all", "any", "use", "using", "used",
    "need", "want", "prefer", "call", "from", "into", "this", "that", "there", "these", "those", "they", "them",
    "their", "about", "would", "should", "will", "please", "der", "die", "das", "und", "ist", "wie", "wir", "ich",
    "mit", "les", "des", "une", "est", "que", "los", "las", "para", "con",
];

/// The memories that have to do with a question, the most relevant first, at most so many.
pub(super) fn relevant(memories: Vec<Memory>, question: &str, most: usize) -> Vec<Memory> {
    let asked = stems(question);
    let mut scored: Vec<(f64, Memory)> = memories
        .into_iter()
        .map(|memory| (overlap(&stems(&memory.body), &asked) * f64::from(memory.confidence), memory))
        .collect();
    // Stable: of equal ones that which was said last stays first.
    scored.sort_by(|(a, x), (b, y)| b.total_cmp(a).then(y.confidence.total_cmp(&x.confidence)));
    let mut preferences = 0;
    scored.retain(|(score, memory)| {
        let is_told = *score > 0.0 || memory.kind == MemoryKind::Preference && preferences < PREFERENCES;
        preferences += usize::from(is_told && memory.kind == MemoryKind::Preference);
        is_told
    });
    scored.into_iter().map(|(_, memory)| memory).take(most).collect()
}

/// The share of a memory's words that the question has.
#[expect(clippy::cast_precision_loss, reason = "memories have a few dozen words")]
fn overlap(memory: &HashSet<String>, asked: &HashSet<String>) -> f64 {
    if memory.is_empty() {
        return 0.0;
    }
    memory.intersection(asked).count() as f64 / memory.len() as f64
}

fn stems(text: &str) -> HashSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .map(str::to_lowercase)
        .filter(|word| word.chars().count() >= SHORTEST && !EMPTY.contains(&word.as_str()))
        .map(|word| word.chars().take(STEM).collect())
        .collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;

    fn memory(kind: MemoryKind, body: &str, confidence: f32) -> Memory {
        let at = DateTime::UNIX_EPOCH;
        let body = body.to_owned();
        Memory { id: Uuid::nil(), kind, body, confidence, created_at: at, confirmed_at: at, expires_at: None }
    }

    fn recalled(question: &str, most: usize) -> Vec<String> {
        let memories = vec![
            memory(MemoryKind::Fact, "We use a Zebra printer for labels", 0.5),
            memory(MemoryKind::Fact, "I am a warehouse manager", 0.5),
            memory(MemoryKind::RecurringIssue, "Why is my label blank?", 0.75),
            memory(MemoryKind::Preference, "I prefer short answers", 0.9),
            memory(MemoryKind::Preference, "Call me Ada", 0.5),
            memory(MemoryKind::Preference, "I prefer the metric system", 0.5),
        ];
        relevant(memories, question, most).into_iter().map(|memory| memory.body).collect()
    }

    #[test]
    fn what_shares_words_with_the_question_comes_first_and_how_people_want_things_after() {
        assert_eq!(
            recalled("How do I print labels again?", 5),
            ["Why is my label blank?", "We use a Zebra printer for labels", "I prefer short answers", "Call me Ada"]
        );
        assert_eq!(recalled("Where are invoices?", 5), ["I prefer short answers", "Call me Ada"]);
        assert_eq!(recalled("How do I print labels again?", 1).len(), 1);
    }
}
