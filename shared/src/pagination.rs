//! Cursors: where a list goes on, opaque to the caller.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// Encodes the sort key of a page's last row.
pub fn encode<K: Serialize>(key: &K) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(key).unwrap_or_default())
}

/// Decodes a cursor; `None`: it was not made by [`encode`] for this list.
pub fn decode<K: DeserializeOwned>(cursor: &str) -> Option<K> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()
}

/// A short name for a list, by what makes it this list: its order and its filters. A cursor that holds it can be told from one
/// of another list.
pub fn list_name(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    URL_SAFE_NO_PAD.encode(&hash.finalize()[..6])
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_cursor_comes_back_and_nonsense_does_not() {
        let key = ("2026-01-01".to_owned(), 7);
        assert_eq!(super::decode(&super::encode(&key)), Some(key));
        assert_eq!(super::decode::<(String, i32)>("!!!"), None);
        assert_eq!(super::decode::<(String, i32)>(&super::encode(&"other")), None);
    }

    #[test]
    fn lists_with_other_parts_have_other_names() {
        assert_eq!(super::list_name(&["a", ""]), super::list_name(&["a", ""]));
        assert_ne!(super::list_name(&["a", ""]), super::list_name(&["", "a"]));
    }
}
