//! Patterns of addresses (WHATWG URL Pattern Standard), without regular expressions of the tenant's own.

use std::{str::FromStr, sync::OnceLock};

use regex::Regex;
use url::Url;
use urlpattern::{RegexSyntax, UrlPattern, UrlPatternInit, UrlPatternMatchInput, UrlPatternOptions, regexp::RegExp};

use crate::knowledge::PageUrl;

/// Most characters of a pattern.
const MAX_CHARS: usize = 500;

/// A pattern such as `/settings/*`, `/projects/:id/billing` or `app.example.com/settings/*`. What it does not name, host, query or
/// fragment, may be anything. Matching takes time that is linear in the length of the address.
#[derive(Debug)]
pub struct Pattern {
    text: String,
    compiled: UrlPattern<Lazy>,
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// Its length.
    #[error("must have 1 to {MAX_CHARS} characters")]
    Length,
    /// A regular expression of its own.
    #[error("may not hold parentheses: use `*` for anything and `:name` for one part of a path")]
    Parentheses,
    /// Its form.
    #[error("is no pattern of an address, such as `/settings/*`, `/projects/:id/billing` or `app.example.com/*`: {0}")]
    Form(String),
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if !(1..=MAX_CHARS).contains(&text.chars().count()) {
            return Err(PatternError::Length);
        }
        if text.contains(['(', ')']) {
            return Err(PatternError::Parentheses);
        }
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(PatternError::Form("an address has no spaces".to_owned()));
        }
        let form = |error: urlpattern::Error| PatternError::Form(error.to_string());
        let is_path = text.starts_with(['/', '*', '?', '#']);
        let has_scheme = text.find("://").is_some_and(|at| text.find('/') == Some(at + 1));
        let whole = match (is_path, has_scheme) {
            (_, true) => text.to_owned(),
            (true, false) if text.starts_with('/') => format!("https://host{text}"),
            (true, false) => format!("https://host/{text}"),
            (false, false) => format!("https://{text}"),
        };
        let mut init = UrlPatternInit::parse_constructor_string::<Lazy>(&whole, None).map_err(form)?;
        if !has_scheme {
            init.protocol = None;
            if is_path {
                (init.hostname, init.port) = (None, None);
            }
        }
        let compiled = UrlPattern::parse(init, UrlPatternOptions::default()).map_err(form)?;
        Ok(Self { text: text.to_owned(), compiled })
    }
}

impl Pattern {
    /// As it was entered.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether a page has such an address; a slash at the end of its path does not matter.
    pub fn matches(&self, page: &PageUrl) -> bool {
        let mut other = page.url().clone();
        let path = match other.path().strip_suffix('/') {
            Some(path) => path.to_owned(),
            None => format!("{}/", other.path()),
        };
        other.set_path(&path);
        self.is_of(page.url().clone()) || self.is_of(other)
    }

    fn is_of(&self, url: Url) -> bool {
        self.compiled.test(UrlPatternMatchInput::Url(url)).unwrap_or(false)
    }

    /// How many characters of it stand for themselves: the more, the more specific it is.
    pub fn fixed_chars(&self) -> usize {
        let mut fixed = 0;
        let mut rest = self.text.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '*' | '{' | '}' | '?' | '+' | '\\' => {}
                ':' if rest.peek().is_some_and(|c| c.is_alphabetic()) => {
                    while rest.next_if(|c| c.is_alphanumeric() || *c == '_').is_some() {}
                }
                _ => fixed += 1,
            }
        }
        fixed
    }
}

/// A regular expression that is compiled when it is needed first: most parts of a pattern never need theirs.
#[derive(Debug)]
struct Lazy {
    text: String,
    compiled: OnceLock<Option<Regex>>,
}

impl RegExp for Lazy {
    fn syntax() -> RegexSyntax {
        RegexSyntax::Rust
    }

    fn parse(pattern: &str, _flags: &str, _force_eval: bool) -> Result<Self, ()> {
        Ok(Self { text: pattern.to_owned(), compiled: OnceLock::new() })
    }

    fn matches<'a>(&self, text: &'a str) -> Option<Vec<Option<&'a str>>> {
        let regex = self.compiled.get_or_init(|| Regex::new(&self.text).ok()).as_ref()?;
        let captures = regex.captures(text)?;
        Some(captures.iter().skip(1).map(|capture| capture.map(|found| found.as_str())).collect())
    }

    fn pattern_string(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn matches(pattern: &str, url: &str) -> bool {
        let pattern: Pattern = pattern.parse().unwrap_or_else(|error| panic!("{pattern}: {error}"));
        pattern.matches(&url.parse().unwrap_or_else(|error| panic!("{url}: {error}")))
    }

    #[test]
    fn patterns_are_of_paths_unless_they_name_more() {
        for (pattern, url, expected) in [
            ("/settings", "https://app.example.com/settings", true),
            ("/settings", "http://localhost:3000/settings/?tab=2#top", true),
            ("/settings", "/settings", true),
            ("/settings", "https://app.example.com/settings/billing", false),
            ("/settings/*", "https://app.example.com/settings/billing/cards", true),
            ("/settings/*", "https://app.example.com/settings", true),
            ("/settings/*", "https://app.example.com/settingsx", false),
            ("/projects/:id/billing", "https://app.example.com/projects/42/billing", true),
            ("/projects/:id/billing", "https://app.example.com/projects/4/2/billing", false),
            ("/projects/:id{/billing}?", "https://app.example.com/projects/42", true),
            ("/projects/:id{/billing}?", "https://app.example.com/projects/42/billing", true),
            ("/projects/:id{/billing}?", "https://app.example.com/projects/42/people", false),
            ("*", "https://app.example.com/anything?x#y", true),
            ("*/billing", "https://app.example.com/a/b/billing", true),
            ("/einführung", "https://a.example/einf%C3%BChrung", true),
            ("app.example.com/settings/*", "https://app.example.com/settings/x", true),
            ("app.example.com/settings/*", "https://other.example.com/settings/x", false),
            ("app.example.com", "https://app.example.com/settings/x", true),
            ("*.example.com/settings", "/settings", false),
            ("https://*.example.com/settings", "https://eu.example.com/settings?x", true),
            ("https://*.example.com/settings", "http://eu.example.com/settings", false),
            ("http{s}?://app.example.com/x", "http://app.example.com/x", true),
            ("/redirect?to=https\\://x.example/", "https://app.example.com/redirect?to=https://x.example/", true),
            ("localhost:3000/x", "http://localhost:3000/x", true),
            ("localhost:3000/x", "http://localhost:4000/x", false),
            ("/search?tab=people", "https://app.example.com/search?tab=people", true),
            ("/search?tab=people", "https://app.example.com/search?tab=teams", false),
            ("/app#/settings/*", "https://app.example.com/app#/settings/x", true),
            ("/app#/settings/*", "https://app.example.com/app#/people", false),
        ] {
            assert_eq!(matches(pattern, url), expected, "{pattern} and {url}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_refused_with_the_reason() {
        let error = |text: &str| text.parse::<Pattern>().map(|_| ()).unwrap_err();
        assert_eq!(error("  "), PatternError::Length);
        assert_eq!(error(&"x".repeat(501)), PatternError::Length);
        assert_eq!(error("/x/(a+)+b"), PatternError::Parentheses);
        for text in ["/settings /x", "/x/{a", "/x/:", "/:a/:a", "https://[", "http://a b"] {
            assert!(matches!(error(text), PatternError::Form(_)), "{text}");
        }
    }

    #[test]
    fn more_fixed_text_is_more_specific() {
        let fixed = |text: &str| text.parse::<Pattern>().map(|pattern| pattern.fixed_chars()).unwrap_or_default();
        assert_eq!([fixed("*"), fixed("/a/*"), fixed("/a/:id/b"), fixed("/a/:id/b/c")], [0, 3, 5, 7]);
    }

    #[test]
    fn matching_takes_no_time_that_a_pattern_chooses() {
        let url = format!("https://a.example/{}", "b".repeat(2_000)).parse().unwrap();
        let started = std::time::Instant::now();
        for pattern in ["/*b*b*b*b*b*b*b*b*b*b*b*b*c".to_owned(), format!("/{}c", "{b}*".repeat(100))] {
            let pattern: Pattern = pattern.parse().unwrap();
            assert!(!pattern.matches(&url));
        }
        assert!(started.elapsed() < std::time::Duration::from_secs(2), "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn no_text_makes_a_pattern_panic(text in "[/:*?+{}#\\\\a-c.\\[\\]@!%$|^ äЖ-]{0,40}", url in "[/:?#a-c.%@-]{0,20}") {
            let page = format!("https://a.example/{url}");
            if let (Ok(pattern), Ok(page)) = (text.parse::<Pattern>(), page.parse()) {
                let _ = (pattern.matches(&page), pattern.fixed_chars());
            }
        }
    }
}
