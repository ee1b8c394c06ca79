//! Characters, by script and by what is special about them.

use std::{iter, ops::RangeInclusive};

use rand::{Rng as _, rngs::StdRng, seq::IndexedRandom as _};

/// A script: its name and its characters.
pub(crate) type Script = (&'static str, &'static [RangeInclusive<char>]);

/// Scripts, some with blocks that hold unassigned characters as well.
pub(crate) const SCRIPTS: &[Script] = &[
    ("Latin", &['a'..='z', 'A'..='Z', '\u{C0}'..='\u{24F}', '\u{1E00}'..='\u{1EFF}']),
    ("Greek", &['\u{370}'..='\u{3FF}', '\u{1F00}'..='\u{1FFF}']),
    ("Cyrillic", &['\u{400}'..='\u{52F}']),
    ("Arabic", &['\u{600}'..='\u{6FF}', '\u{750}'..='\u{77F}', '\u{FB50}'..='\u{FDFF}', '\u{FE70}'..='\u{FEFC}']),
    ("Hebrew", &['\u{591}'..='\u{5F4}', '\u{FB1D}'..='\u{FB4F}']),
    ("Devanagari", &['\u{900}'..='\u{97F}', '\u{A8E0}'..='\u{A8FF}']),
    ("Thai", &['\u{E01}'..='\u{E5B}']),
    ("Lao", &['\u{E81}'..='\u{EDF}']),
    ("Khmer", &['\u{1780}'..='\u{17F9}']),
    ("Burmese", &['\u{1000}'..='\u{109F}']),
    (
        "Chinese",
        &['\u{4E00}'..='\u{9FFF}', '\u{3400}'..='\u{4DBF}', '\u{20000}'..='\u{2A6DF}', '\u{3000}'..='\u{303F}'],
    ),
    ("Japanese", &['\u{3041}'..='\u{3096}', '\u{30A1}'..='\u{30FF}', '\u{4E00}'..='\u{9FFF}', '\u{FF66}'..='\u{FF9F}']),
    ("Korean", &['\u{AC00}'..='\u{D7A3}', '\u{1100}'..='\u{11FF}', '\u{3131}'..='\u{318E}']),
    ("Tibetan", &['\u{F00}'..='\u{FDA}']),
    (
        "digits",
        &['0'..='9', '\u{660}'..='\u{669}', '\u{966}'..='\u{96F}', '\u{2150}'..='\u{218B}', '\u{2460}'..='\u{24FF}'],
    ),
    (
        "mathematical",
        &['\u{1D400}'..='\u{1D7FF}', '\u{2100}'..='\u{214F}', '\u{2200}'..='\u{22FF}', '\u{FF01}'..='\u{FF5E}'],
    ),
];

/// Marks that stand on the character before them, of several scripts.
pub(crate) const MARKS: &[RangeInclusive<char>] = &[
    '\u{300}'..='\u{36F}',
    '\u{1AB0}'..='\u{1ACE}',
    '\u{20D0}'..='\u{20F0}',
    '\u{591}'..='\u{5BD}',
    '\u{64B}'..='\u{65F}',
    '\u{93A}'..='\u{94D}',
    '\u{E34}'..='\u{E3A}',
    '\u{F71}'..='\u{F84}',
    '\u{FE00}'..='\u{FE0F}',
    '\u{1D165}'..='\u{1D169}',
];

/// What turns the direction of text, or says where it may.
pub(crate) const BIDI: &[RangeInclusive<char>] =
    &['\u{200E}'..='\u{200F}', '\u{61C}'..='\u{61C}', '\u{202A}'..='\u{202E}', '\u{2066}'..='\u{2069}'];

/// The ends of what is a character, what is none although it can be encoded, and what has a meaning only in private.
pub(crate) const EDGES: &[RangeInclusive<char>] = &[
    '\u{D7FB}'..='\u{D7FF}',
    '\u{E000}'..='\u{E008}',
    '\u{F8F0}'..='\u{F8FF}',
    '\u{FDD0}'..='\u{FDEF}',
    '\u{FFF0}'..='\u{FFFF}',
    '\u{1FFFE}'..='\u{1FFFF}',
    '\u{2FFFE}'..='\u{2FFFF}',
    '\u{E0000}'..='\u{E007F}',
    '\u{E0100}'..='\u{E01EF}',
    '\u{F0000}'..='\u{F00FF}',
    '\u{10FF00}'..='\u{10FFFF}',
    '\u{378}'..='\u{379}',
];

/// Control characters.
pub(crate) const CONTROLS: &[RangeInclusive<char>] = &['\0'..='\u{1F}', '\u{7F}'..='\u{9F}'];

/// White space of all kinds, and what takes no room.
pub(crate) const SPACES: &[RangeInclusive<char>] = &[
    '\u{A0}'..='\u{A0}',
    '\u{AD}'..='\u{AD}',
    '\u{34F}'..='\u{34F}',
    '\u{1680}'..='\u{1680}',
    '\u{180B}'..='\u{180E}',
    '\u{2000}'..='\u{200D}',
    '\u{2028}'..='\u{202F}',
    '\u{205F}'..='\u{2064}',
    '\u{3000}'..='\u{3000}',
    '\u{3164}'..='\u{3164}',
    '\u{FEFF}'..='\u{FEFF}',
];

/// Pictures, what joins and colours them, flags and tags.
pub(crate) const EMOJI: &[RangeInclusive<char>] = &[
    '\u{1F300}'..='\u{1FAFF}',
    '\u{2600}'..='\u{27BF}',
    '\u{1F3FB}'..='\u{1F3FF}',
    '\u{1F1E6}'..='\u{1F1FF}',
    '\u{E0061}'..='\u{E007F}',
    '\u{1F468}'..='\u{1F469}',
];

/// What becomes several characters, or others, when its case is changed or it is normalised.
pub(crate) const EXPANDING: &str = "ßẞİıŉǰΐΰʼnﬃﬀﬄﬅѦǆǅǄꜲⓐ①㎏㌀㍿№™℀½ſÅΩ\u{FDFA}\u{FDFB}\u{1F82}\u{1FF7}\u{390}\u{1D160}\u{FB2C}\u{1D15E}\u{AC01}\u{2126}ςΣσ";

/// Quotation marks of all languages, primes and brackets.
pub(crate) const QUOTES: &str = "\"'`´‘’‚‛“”„‟«»‹›「」『』〝〞〟＂＇′″()[]{}<>⟨⟩《》〈〉⸂⸃";

/// A character of these ranges, each range as likely as another.
pub(crate) fn one_of(ranges: &[RangeInclusive<char>], random: &mut StdRng) -> char {
    ranges.choose(random).map_or(' ', |range| random.random_range(range.clone()))
}

/// Words of these characters.
pub(crate) fn words(ranges: &[RangeInclusive<char>], length: usize, random: &mut StdRng) -> String {
    let longest = random.random_range(1..=14);
    iter::repeat_with(|| if random.random_ratio(1, longest + 1) { ' ' } else { one_of(ranges, random) })
        .take(length)
        .collect()
}
