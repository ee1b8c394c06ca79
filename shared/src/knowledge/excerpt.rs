//! What is said of an article whose author wrote no summary, and cutting texts to a length.

use crate::markdown::outline::first_paragraph;

/// What a summary taken from the text is cut to.
const MAX_CHARS: usize = 300;

/// The beginning of a Markdown text, without markup: at most [`MAX_CHARS`] characters of its first paragraph, in whole
/// sentences if it has some. Empty when there is no prose.
pub(super) fn excerpt(content: &str) -> String {
    cut_at_sentence(&first_paragraph(content), MAX_CHARS)
}

/// At most `max_chars` characters, ending with a sentence if one ends in the second half, else with a word and `…`.
pub(super) fn cut_at_sentence(text: &str, max_chars: usize) -> String {
    // What announces a list that is not shown ends in the air.
    if let Some(open) = text.strip_suffix(':').filter(|open| open.chars().count() < max_chars) {
        return format!("{open}…");
    }
    let Some((end, _)) = text.char_indices().nth(max_chars) else { return text.to_owned() };
    let head = &text[..end];
    let sentence_end = head
        .char_indices()
        .rfind(|(at, character)| {
            let after = &text[at + character.len_utf8()..];
            matches!(character, '。' | '！' | '？') || (matches!(character, '.' | '!' | '?') && after.starts_with(' '))
        })
        .map(|(at, character)| at + character.len_utf8());
    match sentence_end {
        Some(sentence_end) if head[..sentence_end].chars().count() * 2 >= max_chars => head[..sentence_end].to_owned(),
        _ => cut_at_word(text, max_chars),
    }
}

/// At most `max_chars` characters, the last of them `…`.
pub(super) fn cut_at_word(text: &str, max_chars: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(max_chars - 1) else { return text.to_owned() };
    let head = &text[..end];
    let is_between_words = text[end..].starts_with(' ');
    let cut = if is_between_words { head } else { head.rsplit_once(' ').map_or(head, |(words, _)| words) };
    format!("{}…", cut.trim_end_matches([' ', ',', ';', ':', '-', '–', '(']))
}
