//! The kinds of queries.

use std::iter;

use rand::{
    Rng as _,
    rngs::StdRng,
    seq::{IndexedRandom as _, SliceRandom as _},
};

use super::{LONGEST, Material, pieces};
use crate::scripts::{self, BIDI, CONTROLS, EDGES, EMOJI, EXPANDING, MARKS, QUOTES, SCRIPTS, SPACES, one_of};

/// The kind whose JSON is no Unicode.
pub(super) const LONE_SURROGATES: &str = "lone surrogates";

/// A kind of queries, and how they are made.
#[derive(Clone, Copy)]
pub(super) struct Kind {
    pub(super) name: &'static str,
    make: Make,
}

#[derive(Clone, Copy)]
enum Make {
    /// Words of a script.
    Words(scripts::Script),
    /// Anything.
    Text(fn(&mut StdRng) -> String),
    /// Something of ordinary queries.
    Of(fn(&Material, &mut StdRng) -> String),
}

const MADE: &[(&str, Make)] = &[
    ("any scalar value", Make::Text(any_scalar)),
    ("emoji", Make::Text(emoji)),
    ("combining marks", Make::Text(combining)),
    ("bidi controls", Make::Of(|material, random| strewn(&material.one(random), BIDI, random))),
    ("edges of Unicode", Make::Of(|material, random| strewn(&material.one(random), EDGES, random))),
    ("control characters", Make::Of(|material, random| strewn(&material.one(random), CONTROLS, random))),
    ("odd white space", Make::Of(|material, random| strewn(&material.one(random), SPACES, random))),
    ("only edges", Make::Text(|random| repeated(random, |random| one_of(EDGES, random)))),
    ("only white space", Make::Text(|random| repeated(random, |random| one_of(SPACES, random)))),
    ("only control characters", Make::Text(|random| repeated(random, |random| one_of(CONTROLS, random)))),
    ("only marks", Make::Text(|random| repeated(random, |random| one_of(MARKS, random)))),
    ("expanding", Make::Text(|random| repeated(random, |random| letter_of(EXPANDING, random)))),
    ("quotation marks", Make::Of(quoted)),
    ("only quotation marks", Make::Text(|random| repeated(random, |random| letter_of(QUOTES, random)))),
    ("operators", Make::Of(|material, random| joined(pieces::OPERATORS, material, random))),
    ("identifiers", Make::Of(|material, random| joined(pieces::IDENTIFIERS, material, random))),
    ("made identifiers", Make::Text(identifiers)),
    ("addresses", Make::Of(|material, random| joined(pieces::ADDRESSES, material, random))),
    ("markup", Make::Of(|material, random| joined(pieces::MARKUP, material, random))),
    ("one long word", Make::Text(long_word)),
    ("one character", Make::Text(one_character)),
    ("many short words", Make::Text(short_words)),
    ("ordinary", Make::Of(Material::one)),
    ("mutated", Make::Of(|material, random| mutated(&material.one(random), material, random))),
    ("mixed", Make::Of(mixed)),
    ("too short or too long", Make::Of(ill_fitting)),
    (LONE_SURROGATES, Make::Of(|material, random| material.one(random).chars().take(80).collect())),
];

/// How many kinds there are.
#[cfg(test)]
pub(super) fn count() -> usize {
    MADE.len() + SCRIPTS.len()
}

/// A kind, each as likely as another.
pub(super) fn any(random: &mut StdRng) -> Kind {
    let at = random.random_range(0..MADE.len() + SCRIPTS.len());
    match MADE.get(at) {
        Some(&(name, make)) => Kind { name, make },
        None => Kind { name: SCRIPTS[at - MADE.len()].0, make: Make::Words(SCRIPTS[at - MADE.len()]) },
    }
}

impl Kind {
    /// A text of this kind.
    pub(super) fn text(self, material: &Material, random: &mut StdRng) -> String {
        let text = match self.make {
            Make::Words((_, ranges)) => scripts::words(ranges, length(random), random),
            Make::Text(make) => make(random),
            Make::Of(make) => make(material, random),
        };
        // Some of them were made too long by chance; that is a kind of its own.
        let longest = if self.name == "too short or too long" { usize::MAX } else { LONGEST };
        text.chars().take(longest).collect()
    }
}

/// Short, ordinary and long ones.
fn length(random: &mut StdRng) -> usize {
    match random.random_range(0..4) {
        0 => random.random_range(2..=6),
        1 | 2 => random.random_range(6..=60),
        _ => random.random_range(60..=LONGEST),
    }
}

fn repeated(random: &mut StdRng, mut character: impl FnMut(&mut StdRng) -> char) -> String {
    let length = length(random);
    iter::repeat_with(|| character(random)).take(length).collect()
}

fn letter_of(text: &str, random: &mut StdRng) -> char {
    let letters: Vec<char> = text.chars().collect();
    letters.choose(random).copied().unwrap_or(' ')
}

fn any_scalar(random: &mut StdRng) -> String {
    repeated(random, StdRng::random)
}

fn emoji(random: &mut StdRng) -> String {
    let mut text = String::new();
    for _ in 0..length(random) / 2 {
        text.push(one_of(EMOJI, random));
        text.push_str(["", "\u{200D}", "\u{FE0F}", "\u{20E3}", "\u{FE0F}\u{200D}", " "].choose(random).unwrap_or(&""));
    }
    text.push_str(
        ["👩🏽\u{200D}💻", "👨\u{200D}👩\u{200D}👧\u{200D}👦", "🇰🇭🇱🇦", "🏴\u{E0067}\u{E0062}\u{E007F}", "1️⃣"]
            .choose(random)
            .unwrap_or(&""),
    );
    text
}

fn combining(random: &mut StdRng) -> String {
    let (mut text, length) = (String::new(), length(random));
    while text.chars().count() < length {
        text.push(SCRIPTS.choose(random).map_or('a', |(_, ranges)| one_of(ranges, random)));
        let piled = if random.random_bool(0.2) { 100 } else { 5 };
        text.extend(iter::repeat_with(|| one_of(MARKS, random)).take(piled));
    }
    text
}

/// A text with some of these characters in it.
fn strewn(text: &str, ranges: &[std::ops::RangeInclusive<char>], random: &mut StdRng) -> String {
    let share = *[0.05, 0.3, 0.9].choose(random).unwrap_or(&0.3);
    let mut strewn = String::new();
    for character in text.chars() {
        if random.random_bool(share) {
            strewn.push(one_of(ranges, random));
        }
        strewn.push(character);
    }
    strewn.push(one_of(ranges, random));
    strewn
}

fn quoted(material: &Material, random: &mut StdRng) -> String {
    let mut text = String::new();
    for word in material.one(random).split_whitespace() {
        for side in ["", word, " "] {
            text.push_str(side);
            if random.random_bool(0.3) {
                text.push(letter_of(QUOTES, random));
            }
        }
    }
    text
}

/// Pieces, alone, one after the other, and among words.
fn joined(pieces: &[&str], material: &Material, random: &mut StdRng) -> String {
    let mut parts: Vec<&str> = (0..random.random_range(1..=8)).filter_map(|_| pieces.choose(random)).copied().collect();
    let ordinary = material.one(random);
    if random.random_bool(0.5) {
        parts.extend(ordinary.split_whitespace());
        parts.shuffle(random);
    }
    parts.join(["", " ", " ", "\n"].choose(random).unwrap_or(&" "))
}

fn identifiers(random: &mut StdRng) -> String {
    let mut one = || {
        let mut part = |letters: &str| -> String {
            let length = random.random_range(1..=8);
            iter::repeat_with(|| letter_of(letters, random)).take(length).collect()
        };
        let (upper, digits, hex) = (part("ABCDEFGHIJKLMNOPQRSTUVWXYZ"), part("0123456789"), part("0123456789abcdef"));
        let separator = letter_of("-_.:/#@ ", random);
        match random.random_range(0..5) {
            0 => format!("{upper}{separator}{digits}"),
            1 => format!("0x{hex}"),
            2 => format!("{upper}_{upper}{separator}{digits}"),
            3 => format!("{digits}.{digits}.{digits}{separator}{hex}"),
            _ => format!("{hex}{hex}{hex}{hex}"),
        }
    };
    let many: Vec<String> = (0..4).map(|_| one()).collect();
    many[..random.random_range(1..=many.len())].join(" ")
}

fn long_word(random: &mut StdRng) -> String {
    let length = random.random_range(100..=LONGEST);
    let letters =
        ["abcdefghijklmnopqrstuvwxyz", "aA1_", "ab-", "a.b", "äß", "あア", "ก", "ក្", "0123456789", "字"].choose(random);
    let letters = letters.copied().unwrap_or("a");
    iter::repeat_with(|| letter_of(letters, random)).take(length).collect()
}

fn one_character(random: &mut StdRng) -> String {
    let character = match random.random_range(0..6) {
        0 => random.random_range(' '..='~'),
        1 => SCRIPTS.choose(random).map_or('a', |(_, ranges)| one_of(ranges, random)),
        2 => one_of(EMOJI, random),
        3 => letter_of(EXPANDING, random),
        4 => letter_of(QUOTES, random),
        _ => random.random(),
    };
    let length = *[2, 50, LONGEST].choose(random).unwrap_or(&LONGEST);
    iter::repeat_n(character, length).collect()
}

/// As many as fit: 250 of one letter, 167 of two.
fn short_words(random: &mut StdRng) -> String {
    let (_, ranges) = SCRIPTS.choose(random).copied().unwrap_or(SCRIPTS[0]);
    let letters = random.random_range(1..=2);
    let word = |random: &mut StdRng| iter::repeat_with(|| one_of(ranges, random)).take(letters).collect::<String>();
    iter::repeat_with(|| word(random)).take((LONGEST + 1) / (letters + 1)).collect::<Vec<_>>().join(" ")
}

fn mutated(text: &str, material: &Material, random: &mut StdRng) -> String {
    let mut letters: Vec<char> = text.chars().collect();
    for _ in 0..random.random_range(1..=10) {
        let Some(last) = letters.len().checked_sub(1) else { break };
        let (at, other) = (random.random_range(0..=last), random.random_range(0..=last));
        match random.random_range(0..7) {
            0 => letters.swap(at, other),
            1 => drop(letters.remove(at)),
            2 => letters.insert(at, letters[other]),
            3 => letters.insert(at, random.random_range(' '..='~')),
            4 => letters.insert(at, random.random()),
            5 => {
                let turned: Vec<char> = if letters[at].is_lowercase() {
                    letters[at].to_uppercase().collect()
                } else {
                    letters[at].to_lowercase().collect()
                };
                letters.splice(at..=at, turned);
            }
            _ => match random.random_range(0..3) {
                0 => letters.retain(|letter| *letter != ' '),
                1 => letters.truncate(at),
                _ => letters.extend(material.one(random).chars()),
            },
        }
    }
    letters.into_iter().collect()
}

/// Pieces of several kinds in one query.
fn mixed(material: &Material, random: &mut StdRng) -> String {
    let mut text = String::new();
    for _ in 0..random.random_range(2..=6) {
        let kind = any(random);
        // Not itself: that might go on for ever.
        let piece = if kind.name == "mixed" { any_scalar(random) } else { kind.text(material, random) };
        text.extend(piece.chars().take(random.random_range(1..=100)));
        text.push_str(["", " "].choose(random).unwrap_or(&""));
    }
    text
}

fn ill_fitting(material: &Material, random: &mut StdRng) -> String {
    match random.random_range(0..4) {
        0 => String::new(),
        1 => random.random::<char>().to_string(),
        2 => format!("  {}\u{0}\t\u{3000}", letter_of("aあ💥", random)),
        _ => {
            let length = LONGEST + *[0, 1, 2, 1_000, 10_000].choose(random).unwrap_or(&1);
            format!("{}{}", material.one(random), "a b".repeat(length)).chars().take(length).collect()
        }
    }
}
