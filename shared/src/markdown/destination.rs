//! What may stand in `href` and `src`, judged the way a browser reads it.

/// Everything a browser ignores in front of or inside a scheme is removed before the scheme is read.
fn scheme_of(url: &str) -> Option<String> {
    let mut scheme = String::new();
    for character in url.chars().filter(|c| !c.is_ascii_control() && *c != ' ') {
        match character {
            ':' => return Some(scheme),
            '/' | '\\' | '?' | '#' => return None,
            other => scheme.extend(other.to_lowercase()),
        }
    }
    None
}

/// True for addresses a reader may follow: http, https, mailto, tel, or relative ones.
pub(crate) fn is_link_allowed(url: &str) -> bool {
    scheme_of(url).is_none_or(|scheme| matches!(scheme.as_str(), "http" | "https" | "mailto" | "tel"))
}

/// True for addresses an image may come from: http, https, or relative ones.
pub(crate) fn is_image_allowed(url: &str) -> bool {
    scheme_of(url).is_none_or(|scheme| matches!(scheme.as_str(), "http" | "https"))
}

/// True when following the address leaves this site: a web address with a host of its own.
pub(crate) fn is_external(url: &str) -> bool {
    if let Some(scheme) = scheme_of(url) {
        return matches!(scheme.as_str(), "http" | "https");
    }
    // Browsers read `/\host` and `\\host` as `//host`.
    let mut leading = url.chars().filter(|c| !c.is_ascii_control() && *c != ' ').take(2);
    leading.next().is_some_and(|c| matches!(c, '/' | '\\')) && leading.next().is_some_and(|c| matches!(c, '/' | '\\'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schemes_are_read_as_a_browser_does() {
        for url in ["javascript:x", " JaVaScRiPt:x", "java\tscript:x", "\u{1}data:x", "vbscript:x", "file:///etc"] {
            assert!(!is_link_allowed(url) && !is_image_allowed(url), "{url}");
        }
        for url in ["https://a.example", "a/b.md", "#x", "?q=a:b", "/a:b", "tel:+1", "mailto:a@b.example"] {
            assert!(is_link_allowed(url), "{url}");
        }
        assert!(!is_image_allowed("mailto:a@b.example"));
    }

    #[test]
    fn hosts_hidden_behind_slashes_are_external() {
        for url in ["//a.example", "/\\a.example", "\\\\a.example", "/\t/a.example", "HTTP://a.example"] {
            assert!(is_external(url), "{url}");
        }
        for url in ["/a", "a//b", "#a", "mailto:a@b.example", ""] {
            assert!(!is_external(url), "{url}");
        }
    }
}
