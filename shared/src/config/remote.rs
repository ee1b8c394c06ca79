//! What can be said of a model on a server.

use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// An address that a path is added to. The message does not repeat it: it may have a password.
pub(crate) fn base_address(text: &str, added: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim().trim_end_matches('/')).map_err(|error| error.to_string())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("it must begin with http:// or https://".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("it must have no user and password; the key has a variable of its own".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it must end with a path, such as /v1".to_owned());
    }
    if url.path().ends_with(added) {
        return Err(format!("leave out {added}, which is added"));
    }
    Ok(url)
}

/// A key that can stand in a header.
pub(crate) fn bearer_token(key: &str) -> Result<SecretString, String> {
    let key = SecretString::from(key.trim());
    if !key.expose_secret().bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err("it has characters that no key has, such as blanks".to_owned());
    }
    Ok(key)
}

/// Something that can stand in the id of a model.
pub(crate) fn one_word(text: &str) -> Result<String, String> {
    let word = text.trim();
    if word.len() > 200 || word.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("it must be one word of at most 200 bytes".to_owned());
    }
    Ok(word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_address_is_one_that_paths_can_be_added_to() {
        for good in ["https://api.openai.com/v1", "http://localhost:11434/v1/", "http://[::1]:8080"] {
            let url = base_address(good, "/embeddings").unwrap();
            assert_eq!(url.as_str().trim_end_matches('/'), good.trim_end_matches('/'));
        }
        for (bad, told) in [
            ("localhost:11434", "http://"),
            ("nonsense", "relative"),
            ("ftp://example.com", "http://"),
            ("https://user:hidden@example.com/v1", "variable of its own"),
            ("https://example.com/v1?key=hidden", "path"),
            ("https://example.com/v1/embeddings", "leave out"),
        ] {
            let error = base_address(bad, "/embeddings").unwrap_err();
            assert!(error.contains(told) && !error.contains("hidden"), "{bad}: {error}");
        }
    }

    #[test]
    fn keys_and_names_are_single_words() {
        assert_eq!(bearer_token(" sk-123\n").unwrap().expose_secret(), "sk-123");
        let error = bearer_token("sk-hidden and more").unwrap_err();
        assert!(!error.contains("hidden"), "{error}");
        assert_eq!(one_word(" BAAI/bge-small-en-v1.5 ").unwrap(), "BAAI/bge-small-en-v1.5");
        assert!(one_word("two words").is_err());
    }
}
