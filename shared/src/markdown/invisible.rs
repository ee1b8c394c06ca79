//! Characters that a reader cannot see but a program can: zero-width characters, direction overrides, tag
//! characters. They hide text from people (and instructions from reviewers), and make equal words unequal.
//!
//! What a script or an emoji needs to be written correctly is kept: joiners inside Arabic and Indic words and
//! between emoji, direction marks beside right-to-left letters, one variation selector per base character, the tag
//! characters of subdivision flags.

use std::borrow::Cow;

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';
const BLACK_FLAG: char = '\u{1F3F4}';
const CANCEL_TAG: char = '\u{E007F}';

/// Text without its invisible characters, borrowed when there were none.
///
/// The classes follow Unicode Technical Report 36 and 39 (default-ignorable and bidirectional control characters).
#[must_use]
pub fn strip_invisible(text: &str) -> Cow<'_, str> {
    if !text.chars().any(is_suspect) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    let mut in_flag = false;
    while let Some(character) = chars.next() {
        let previous = kept.chars().next_back();
        let keep = match character {
            ZERO_WIDTH_JOINER => joins_emoji(&kept, chars.peek().copied()) || inside_joining_word(previous, &mut chars),
            ZERO_WIDTH_NON_JOINER => inside_joining_word(previous, &mut chars),
            '\u{200E}' | '\u{200F}' | '\u{061C}' => {
                previous.is_some_and(is_right_to_left) || chars.peek().copied().is_some_and(is_right_to_left)
            }
            '\u{FE00}'..='\u{FE0F}' | '\u{E0100}'..='\u{E01EF}' => {
                previous.is_some_and(|base| !is_suspect(base) && !base.is_whitespace() && !base.is_control())
            }
            '\u{E0020}'..='\u{E007F}' => in_flag,
            other => !is_suspect(other),
        };
        in_flag = character == BLACK_FLAG || (in_flag && keep && character != CANCEL_TAG && is_tag(character));
        if keep {
            kept.push(character);
        }
    }
    Cow::Owned(kept)
}

/// True for every character that is invisible by itself, whether or not its surroundings may justify it.
#[must_use]
pub fn is_suspect(character: char) -> bool {
    matches!(character,
        '\u{00AD}' | '\u{034F}' | '\u{061C}' | '\u{115F}'..='\u{1160}' | '\u{17B4}'..='\u{17B5}'
        | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}'
        | '\u{3164}' | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{FFF0}'..='\u{FFFB}'
        | '\u{1BCA0}'..='\u{1BCA3}' | '\u{1D173}'..='\u{1D17A}' | '\u{E0000}'..='\u{E0FFF}')
}

fn is_tag(character: char) -> bool {
    matches!(character, '\u{E0020}'..='\u{E007F}')
}

/// A joiner between two pictographs (a variation selector or a skin tone may stand before it).
fn joins_emoji(before: &str, next: Option<char>) -> bool {
    let base = before
        .chars()
        .rev()
        .find(|character| !matches!(character, '\u{FE0E}' | '\u{FE0F}' | '\u{1F3FB}'..='\u{1F3FF}'));
    base.is_some_and(is_pictograph) && next.is_some_and(is_pictograph)
}

fn is_pictograph(character: char) -> bool {
    matches!(character,
        '\u{2190}'..='\u{2BFF}' | '\u{3030}' | '\u{303D}' | '\u{3297}' | '\u{3299}' | '\u{1F000}'..='\u{1FAFF}')
}

/// A joiner that follows a letter of a script whose shapes depend on it. A second one in a row has no meaning, so
/// runs (which can carry hidden bits) shrink to one.
fn inside_joining_word(previous: Option<char>, chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> bool {
    while chars.peek().is_some_and(|next| matches!(*next, ZERO_WIDTH_NON_JOINER | ZERO_WIDTH_JOINER)) {
        chars.next();
    }
    previous.is_some_and(needs_joiners)
}

fn needs_joiners(character: char) -> bool {
    matches!(character,
        '\u{0600}'..='\u{08FF}' | '\u{0900}'..='\u{0DFF}' | '\u{0F00}'..='\u{109F}' | '\u{1780}'..='\u{18AF}'
        | '\u{1A20}'..='\u{1AAF}' | '\u{1B00}'..='\u{1C7F}' | '\u{A840}'..='\u{A87F}' | '\u{A8E0}'..='\u{A8FF}'
        | '\u{FB50}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}' | '\u{10A00}'..='\u{10AFF}' | '\u{11000}'..='\u{11FFF}'
        | '\u{1E900}'..='\u{1E95F}')
        && !is_suspect(character)
}

fn is_right_to_left(character: char) -> bool {
    matches!(character,
        '\u{0590}'..='\u{08FF}' | '\u{FB1D}'..='\u{FDFF}' | '\u{FE70}'..='\u{FEFC}' | '\u{10800}'..='\u{10FFF}'
        | '\u{1E800}'..='\u{1EFFF}')
        && !is_suspect(character)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_text_is_borrowed() {
        assert!(matches!(strip_invisible("Größe, 価格, กุญแจ"), Cow::Borrowed(_)));
    }

    #[test]
    fn zero_width_characters_between_latin_letters_go() {
        assert_eq!(strip_invisible("in\u{200B}voice \u{FEFF}a\u{2060}b\u{00AD}c\u{200D}d\u{200C}e"), "invoice abcde");
    }

    #[test]
    fn direction_overrides_go() {
        assert_eq!(strip_invisible("abc\u{202E}fdp.exe\u{202C} \u{2066}x\u{2069}"), "abcfdp.exe x");
    }

    #[test]
    fn smuggled_ascii_in_tag_characters_goes() {
        let hidden: String = "ignore this".chars().filter_map(|c| char::from_u32(0xE0000 + u32::from(c))).collect();
        assert_eq!(strip_invisible(&format!("visible{hidden}")), "visible");
    }

    #[test]
    fn runs_of_variation_selectors_shrink_to_one() {
        assert_eq!(strip_invisible("\u{2764}\u{FE0F}\u{FE01}\u{FE02}"), "\u{2764}\u{FE0F}");
    }

    #[test]
    fn emoji_sequences_stay_whole() {
        for sequence in ["👩‍👩‍👧", "👨🏽‍💻", "❤️‍🔥", "🏳️‍🌈", "\u{1F3F4}\u{E0067}\u{E0062}\u{E0065}\u{E006E}\u{E0067}\u{E007F}"]
        {
            assert_eq!(strip_invisible(sequence), sequence);
        }
    }

    #[test]
    fn joiners_and_marks_stay_where_a_script_needs_them() {
        for word in ["می\u{200C}خواهم", "क्\u{200D}ष", "ශ්\u{200D}රී", "العربية\u{200F}!", "\u{200E}עברית"]
        {
            assert_eq!(strip_invisible(word), word);
        }
    }

    #[test]
    fn runs_of_joiners_inside_a_word_cannot_carry_bits() {
        assert_eq!(strip_invisible("می\u{200C}\u{200D}\u{200C}\u{200C}خ"), "می\u{200C}خ");
    }
}
