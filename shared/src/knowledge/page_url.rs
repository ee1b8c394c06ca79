//! The page of the host application that somebody is on.

use std::str::FromStr;

use percent_encoding::percent_decode_str;
use unicode_normalization::UnicodeNormalization as _;
use url::Url;

/// Most characters of an address.
const MAX_PAGE_URL_CHARS: usize = 2_048;
/// Most bytes of a key: what is longer is cut.
const MAX_KEY_BYTES: usize = 500;
/// What stands for a segment that names one of many.
const ID: &str = ":id";
/// The host of an address that is a path alone; nobody has it (RFC 2606).
const NO_HOST: &str = "page.invalid";

/// The address of a page, absolute or a path from the root of its site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageUrl {
    url: Url,
    key: String,
}

/// Why a text is not the address of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PageUrlError {
    /// It has too many characters.
    #[error("may have at most {MAX_PAGE_URL_CHARS} characters")]
    TooLong,
    /// It is none.
    #[error("must be the address of a page, such as `https://app.example.com/settings` or `/settings`")]
    NotAPage,
}

impl FromStr for PageUrl {
    type Err = PageUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.chars().count() > MAX_PAGE_URL_CHARS {
            return Err(PageUrlError::TooLong);
        }
        let is_path = text.starts_with('/') && !text.starts_with("//") && !text.starts_with("/\\");
        let url = if is_path { Url::parse(&format!("https://{NO_HOST}{text}")) } else { Url::parse(text) };
        let url = url.ok().filter(|url| !url.cannot_be_a_base()).ok_or(PageUrlError::NotAPage)?;
        let host = url.host_str().filter(|host| *host != NO_HOST).unwrap_or_default();
        let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
        let mut key = format!("{host}{port}/{}", segments(&url).collect::<Vec<_>>().join("/"));
        while key.len() > MAX_KEY_BYTES {
            key.pop();
        }
        Ok(Self { url, key })
    }
}

impl PageUrl {
    /// What visits to the same page have in common: host and path, `:id` for segments that name one of many. Holds neither query
    /// nor fragment, nor anything that looks like a secret or names a person. At most 500 bytes.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The whole address.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The words of the path, for a search.
    pub fn words(&self) -> String {
        let mut words = String::new();
        for segment in segments(&self.url).filter(|segment| segment != ID) {
            let name = segment.rsplit_once('.').map_or(segment.as_str(), |(name, _)| name);
            let mut before = ' ';
            for c in name.chars() {
                // `billingSettings` is two words.
                if c.is_uppercase() && before.is_lowercase() {
                    words.push(' ');
                }
                words.push(if c.is_alphanumeric() { c } else { ' ' });
                before = c;
            }
            words.push(' ');
        }
        words.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// The segments of the path as people read them.
fn segments(url: &Url) -> impl Iterator<Item = String> {
    let path = url.path_segments().into_iter().flatten().filter(|segment| !segment.is_empty());
    path.map(|segment| {
        let text: String = percent_decode_str(segment).decode_utf8_lossy().nfc().collect();
        if names_one_of_many(&text) { ID.to_owned() } else { text }
    })
}

/// Whether a segment is an id, a token or a person's address rather than the name of a page.
fn names_one_of_many(segment: &str) -> bool {
    let digits = segment.chars().filter(char::is_ascii_digit).count();
    let is_hex = segment.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let is_number = segment.chars().all(char::is_numeric);
    let has_both_cases = segment.chars().any(char::is_uppercase) && segment.chars().any(char::is_lowercase);
    is_number
        || segment.contains('@')
        || segment.chars().any(char::is_control)
        || uuid::Uuid::try_parse(segment).is_ok()
        || is_hex && digits > 0 && segment.len() >= 16
        || segment.len() >= 20 && (digits >= 4 || digits > 0 && has_both_cases && !segment.contains('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(text: &str) -> PageUrl {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_page_is_known_by_host_and_path_without_ids() {
        for (url, key) in [
            ("https://App.Example.com/settings/", "app.example.com/settings"),
            ("https://app.example.com:443/settings?tab=2#top", "app.example.com/settings"),
            ("http://localhost:3000//projects/42/billing", "localhost:3000/projects/:id/billing"),
            ("https://u:secret@a.example/x/0190aabb-ccdd-7000-8000-000000000001", "a.example/x/:id"),
            ("https://a.example/x/507f1f77bcf86cd799439011/edit", "a.example/x/:id/edit"),
            ("https://a.example/reset/eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0", "a.example/reset/:id"),
            ("https://a.example/people/ada@example.com", "a.example/people/:id"),
            ("https://a.example/x/%00", "a.example/x/:id"),
            ("https://a.example/how-to-use-2fa/step-10", "a.example/how-to-use-2fa/step-10"),
            ("https://a.example/einf%C3%BChrung", "a.example/einführung"),
            ("https://bücher.example/", "xn--bcher-kva.example/"),
            ("/settings/billing?x=1", "/settings/billing"),
            ("app://bundle/index.html", "bundle/index.html"),
            ("file:///opt/app/index.html#/settings", "/opt/app/index.html"),
        ] {
            assert_eq!(page(url).key(), key, "{url}");
        }
    }

    #[test]
    fn keys_are_bounded_and_keep_whole_characters() {
        let long = page(&format!("https://a.example/{}", "ü/".repeat(600)));
        assert!(long.key().len() <= MAX_KEY_BYTES && long.key().starts_with("a.example/ü/ü/"));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        let long = format!("https://a.example/{}", "x".repeat(MAX_PAGE_URL_CHARS));
        assert_eq!(long.parse::<PageUrl>(), Err(PageUrlError::TooLong));
        for text in [
            "",
            "settings",
            "//a.example/x",
            "/\\a.example",
            "https://",
            "javascript:alert(1)",
            "data:,x",
            "http://a b/",
        ] {
            assert_eq!(text.parse::<PageUrl>(), Err(PageUrlError::NotAPage), "{text:?}");
        }
    }

    #[test]
    fn the_words_of_a_path_are_those_that_people_read() {
        for (url, words) in [
            ("https://a.example/projects/42/billing-settings", "projects billing settings"),
            ("https://a.example/app/userRoles/edit.html", "app user Roles edit"),
            ("https://a.example/", ""),
            ("/einf%C3%BChrung/%E8%A8%AD%E5%AE%9A", "einführung 設定"),
        ] {
            assert_eq!(page(url).words(), words, "{url}");
        }
    }
}
