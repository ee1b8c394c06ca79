//! The kinds of admonition, whatever tool's word for them an author used.

/// The five looks an admonition can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Note,
    Tip,
    Info,
    Warning,
    Danger,
}

impl Kind {
    pub(crate) fn class(self) -> &'static str {
        match self {
            Kind::Note => "note",
            Kind::Tip => "tip",
            Kind::Info => "info",
            Kind::Warning => "warning",
            Kind::Danger => "danger",
        }
    }
}

/// The look for a word such as `caution` or `keyboard_tip`; words nobody knows look like notes.
pub(crate) fn kind_of(word: &str) -> Kind {
    known(word).unwrap_or(Kind::Note)
}

/// True for the words documentation tools use for admonitions, so that other containers can be told from them.
pub(crate) fn is_known(word: &str) -> bool {
    known(word).is_some()
}

/// The title shown when an author gave none: the word itself, spelled out.
pub(crate) fn default_title(word: &str) -> String {
    match word {
        "warn" => "Warning".to_owned(),
        "" => "Note".to_owned(),
        other => humanise(other),
    }
}

/// `getting_started-guide` → `Getting started guide`.
pub(crate) fn humanise(name: &str) -> String {
    let spaced = name.replace(['-', '_'], " ");
    let mut words = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some(first) = words.chars().next() {
        words.replace_range(..first.len_utf8(), &first.to_uppercase().collect::<String>());
    }
    words
}

fn known(word: &str) -> Option<Kind> {
    Some(match word {
        "note" | "notes" | "abstract" | "seealso" | "quote" | "cite" | "example" | "details" | "secondary" => {
            Kind::Note
        }
        "tip" | "tips" | "hint" | "success" | "check" | "done" => Kind::Tip,
        "info" | "information" | "important" | "question" | "help" | "faq" | "todo" | "summary" | "tldr" => Kind::Info,
        "warning" | "warn" | "caution" | "attention" => Kind::Warning,
        "danger" | "error" | "bug" | "failure" | "fail" | "missing" | "critical" => Kind::Danger,
        other => return other.rsplit_once(['_', '-']).and_then(|(_, last)| known(last)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_several_tools_share_five_looks() {
        for (word, class) in [("warn", "warning"), ("important", "info"), ("keyboard_tip", "tip"), ("error", "danger")]
        {
            assert_eq!(kind_of(word).class(), class);
        }
        assert_eq!(kind_of("whatever"), Kind::Note);
        assert!(!is_known("columns"));
    }

    #[test]
    fn a_title_is_always_there() {
        assert_eq!(default_title("warn"), "Warning");
        assert_eq!(default_title("keyboard_tip"), "Keyboard tip");
        assert_eq!(default_title(""), "Note");
    }
}
