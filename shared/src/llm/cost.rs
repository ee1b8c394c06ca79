//! Money and tokens.

use std::{fmt, ops::Add, str::FromStr};

const MICROS: f64 = 1e6;
/// More than anybody means.
const MOST: f64 = 1e6;

/// An amount of US dollars, to a millionth, not negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Usd(i64);

impl Usd {
    /// Millionths of a dollar.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Millionths of a dollar.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// From dollars, rounded; `None` when they are negative, over a million or no number.
    #[expect(clippy::cast_possible_truncation, reason = "at most 10^12")]
    pub fn from_dollars(dollars: f64) -> Option<Self> {
        (0.0..=MOST).contains(&dollars).then(|| Self((dollars * MICROS).round() as i64))
    }

    /// In dollars, for people.
    #[expect(clippy::cast_precision_loss, reason = "exact up to 10^9 dollars")]
    pub fn dollars(self) -> f64 {
        self.0 as f64 / MICROS
    }
}

impl Add for Usd {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} USD", self.dollars())
    }
}

impl FromStr for Usd {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let dollars = text.trim().parse().ok().and_then(Self::from_dollars);
        dollars.ok_or_else(|| format!("`{text}` is no amount of US dollars, such as 0.15"))
    }
}

/// What a model costs: US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prices {
    /// Of what it reads.
    pub input: Usd,
    /// Of what it writes.
    pub output: Usd,
}

impl Prices {
    /// What a call costs, rounded up to a millionth of a dollar.
    pub fn of(&self, usage: Usage) -> Usd {
        let micros = i128::from(self.input.0) * i128::from(usage.input_tokens)
            + i128::from(self.output.0) * i128::from(usage.output_tokens);
        Usd(i64::try_from((micros + 999_999) / 1_000_000).unwrap_or(i64::MAX))
    }
}

/// What may be spent in a day (UTC).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// Money, where prices are known.
    pub usd: Usd,
    /// Tokens, read and written.
    pub tokens: u64,
}

/// How much a model read and wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Read.
    pub input_tokens: u32,
    /// Written.
    pub output_tokens: u32,
    /// The server has not said it: counted by [`estimated_tokens`].
    pub is_estimated: bool,
}

/// About how many tokens a text has: one for four characters of ASCII, one for each other character. Tokenizers of today's models
/// make fewer of most languages.
pub fn estimated_tokens(text: &str) -> u32 {
    let ascii = text.bytes().filter(u8::is_ascii).count();
    let others = text.chars().count() - ascii;
    u32::try_from(ascii.div_ceil(4) + others).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_exact_and_rounded_up() {
        let prices = Prices { input: "0.15".parse().unwrap(), output: "0.6".parse().unwrap() };
        let of = |input_tokens, output_tokens| {
            prices.of(Usage { input_tokens, output_tokens, is_estimated: false }).micros()
        };
        assert_eq!(of(1_000_000, 1_000_000), 750_000);
        assert_eq!(of(100, 0), 15);
        assert_eq!(of(1, 0), 1, "0.15 of a millionth");
        assert_eq!(of(0, 0), 0);
        assert_eq!(of(u32::MAX, u32::MAX), 3_221_225_472);
    }

    #[test]
    fn amounts_are_read_as_people_write_them() {
        assert_eq!("5".parse(), Ok(Usd::from_micros(5_000_000)));
        assert_eq!(" 0.000001 ".parse(), Ok(Usd::from_micros(1)));
        assert_eq!("0".parse(), Ok(Usd::default()));
        for wrong in ["-1", "NaN", "inf", "1000001", "five", "0,15", "$5"] {
            assert!(wrong.parse::<Usd>().is_err(), "{wrong}");
        }
        assert_eq!(Usd::from_micros(150_000).to_string(), "0.15 USD");
    }

    #[test]
    fn tokens_are_estimated_for_every_script() {
        assert_eq!(estimated_tokens(""), 0);
        assert_eq!(estimated_tokens("four"), 1);
        assert_eq!(estimated_tokens("fours"), 2);
        assert_eq!(estimated_tokens("日本語"), 3);
        assert_eq!(estimated_tokens("naïve"), 2);
    }
}
