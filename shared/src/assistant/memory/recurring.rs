//! What a person needs again and again.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::{MAX_MEMORY_CHARS, MemoryKind, NewMemory, unfit};

/// Something that a person asked.
#[derive(Debug, Clone)]
pub(super) struct PastQuestion {
    pub(super) conversation_id: Uuid,
    pub(super) question: String,
    pub(super) asked_at: DateTime<Utc>,
    pub(super) is_refused: bool,
    /// The articles that the answer cites.
    pub(super) cited: Vec<Uuid>,
}

/// What came again: an article that was cited, or a question that was refused, in at least two conversations on different days,
/// at least once among the new ones. `asked` has the latest first.
pub(super) fn issues(asked: &[PastQuestion], is_new: impl Fn(&PastQuestion) -> bool) -> Vec<NewMemory> {
    let mut issues: HashMap<String, Issue<'_>> = HashMap::new();
    for one in asked {
        let mut about: Vec<String> = one.cited.iter().map(|article| format!("article {article}")).collect();
        if one.is_refused {
            about.push(format!("question {}", normalised(&one.question)));
        }
        for about in about {
            let issue = issues.entry(about).or_insert_with(|| Issue::of(one));
            issue.conversations.insert(one.conversation_id);
            issue.days.insert(one.asked_at.date_naive());
            issue.is_new |= is_new(one);
        }
    }
    let mut found: Vec<NewMemory> = issues.into_iter().filter_map(|(about, issue)| issue.into_memory(about)).collect();
    found.sort_by(|a, b| (a.said_at, &a.about).cmp(&(b.said_at, &b.about)));
    found
}

struct Issue<'a> {
    last: &'a PastQuestion,
    conversations: HashSet<Uuid>,
    days: HashSet<NaiveDate>,
    is_new: bool,
}

impl<'a> Issue<'a> {
    fn of(last: &'a PastQuestion) -> Self {
        Self { last, conversations: HashSet::new(), days: HashSet::new(), is_new: false }
    }

    fn into_memory(self, about: String) -> Option<NewMemory> {
        let comes_again = self.conversations.len() >= 2 && self.days.len() >= 2 && self.is_new;
        let times = i32::try_from(self.conversations.len()).unwrap_or(i32::MAX);
        let body: String = self.last.question.split_whitespace().collect::<Vec<_>>().join(" ");
        let body: String = body.chars().take(MAX_MEMORY_CHARS).collect();
        (comes_again && !unfit::is_unfit_question(&body)).then(|| NewMemory {
            kind: MemoryKind::RecurringIssue,
            about,
            body,
            confidence: (1.0 - 0.5_f32.powi(times)).min(0.99),
            said_at: self.last.asked_at,
        })
    }
}

/// Words in lower case: the same question, however it is punctuated.
pub(super) fn normalised(text: &str) -> String {
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(conversation: u128, day: u32, question: &str, cited: &[u128]) -> PastQuestion {
        PastQuestion {
            conversation_id: Uuid::from_u128(conversation),
            question: question.to_owned(),
            asked_at: format!("2026-06-{day:02}T12:00:00Z").parse().unwrap(),
            is_refused: cited.is_empty(),
            cited: cited.iter().map(|id| Uuid::from_u128(*id)).collect(),
        }
    }

    #[test]
    fn an_article_that_was_needed_in_two_conversations_on_two_days_is_an_issue() {
        let twice = [asked(2, 9, "Labels are blank again", &[7]), asked(1, 3, "Why is my label blank?", &[7, 8])];
        let found = issues(&twice, |asked| asked.conversation_id == Uuid::from_u128(2));
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].body.as_str(), found[0].confidence), ("Labels are blank again", 0.75));
        assert!(issues(&twice, |_| false).is_empty(), "it is known already");
        let same_day = [asked(2, 3, "Blank label", &[7]), asked(1, 3, "Why is my label blank?", &[7])];
        assert!(issues(&same_day, |_| true).is_empty());
        let same_conversation = [asked(1, 9, "Blank label", &[7]), asked(1, 3, "Why is my label blank?", &[7])];
        assert!(issues(&same_conversation, |_| true).is_empty());
    }

    #[test]
    fn a_question_that_was_refused_twice_is_an_issue_whatever_its_punctuation() {
        let twice = [asked(2, 9, "is there an  ANDROID app", &[]), asked(1, 3, "Is there an Android app?", &[])];
        assert_eq!(issues(&twice, |_| true).len(), 1);
        let others = [asked(2, 9, "Is there an iPhone app?", &[]), asked(1, 3, "Is there an Android app?", &[])];
        assert!(issues(&others, |_| true).is_empty());
    }

    #[test]
    fn a_question_that_holds_a_secret_is_not_quoted() {
        let twice = [asked(2, 9, "My password hunter2 is refused", &[7]), asked(1, 3, "Why?", &[7])];
        assert!(issues(&twice, |_| true).is_empty());
    }
}
