//! From the bytes of a file to text.

use super::document::ParseError;

/// Larger files are refused: no article is that long, and one file must not fill a worker's memory.
pub(super) const MAX_FILE_BYTES: usize = 2 * 1024 * 1024;

/// The text of a file with `\n` line ends, and what was changed to get there.
pub(super) fn decode(bytes: &[u8]) -> Result<(String, Vec<String>), ParseError> {
    if bytes.len() > MAX_FILE_BYTES {
        return Err(ParseError::TooLarge { bytes: bytes.len() });
    }
    let text = match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest, 3)?,
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes)?,
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes)?,
        _ => utf8(bytes, 0)?,
    };
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let controls = text.chars().filter(|character| is_stray_control(*character)).count();
    if controls == 0 {
        return Ok((text, Vec::new()));
    }
    let cleaned = text.chars().filter(|character| !is_stray_control(*character)).collect();
    Ok((cleaned, vec![format!("{controls} control characters were removed")]))
}

fn is_stray_control(character: char) -> bool {
    character.is_control() && !matches!(character, '\n' | '\t')
}

fn utf8(bytes: &[u8], before: usize) -> Result<String, ParseError> {
    std::str::from_utf8(bytes)
        .map(str::to_owned)
        .map_err(|error| ParseError::Encoding { offset: before + error.valid_up_to() })
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Result<String, ParseError> {
    let (pairs, rest) = bytes.as_chunks::<2>();
    let mut text = String::with_capacity(bytes.len());
    let mut offset = 2;
    for decoded in char::decode_utf16(pairs.iter().map(|pair| unit(*pair))) {
        let character = decoded.map_err(|_| ParseError::Encoding { offset })?;
        offset += 2 * character.len_utf16();
        text.push(character);
    }
    if rest.is_empty() { Ok(text) } else { Err(ParseError::Encoding { offset }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        decode(bytes).map_or_else(|error| format!("error: {error}"), |(text, _)| text)
    }

    #[test]
    fn utf_8_and_utf_16_are_read() {
        assert_eq!(text("Größe\r\n\rx".as_bytes()), "Größe\n\nx");
        assert_eq!(text(b"\xEF\xBB\xBFa"), "a");
        assert_eq!(text(b"\xFF\xFEa\0\x3D\xD8\x00\xDE"), "a😀");
        assert_eq!(text(b"\xFE\xFF\0a"), "a");
    }

    #[test]
    fn other_encodings_are_refused_with_their_place() {
        for (bytes, offset) in
            [(&b"abc\xE9"[..], 3), (b"\xEF\xBB\xBFab\xFF", 5), (b"\xFF\xFEa\0b", 4), (b"\xFE\xFF\xD8\0\0a", 2)]
        {
            assert!(text(bytes).contains(&format!("byte {offset}")), "{}", text(bytes));
        }
    }

    #[test]
    fn control_characters_go_with_a_warning() {
        let decoded = decode(b"a\x00b\x1b[1m\tc\n\xC2\x85");
        assert_eq!(decoded.ok(), Some(("ab[1m\tc\n".to_owned(), vec!["3 control characters were removed".to_owned()])));
    }

    #[test]
    fn huge_files_are_refused() {
        assert!(text(&vec![b'a'; MAX_FILE_BYTES + 1]).contains("2 MB"));
        assert!(decode(&vec![b'a'; MAX_FILE_BYTES]).is_ok());
    }
}
