//! From bytes to text: byte-order marks, UTF-16, and bytes that are no UTF-8.

use std::borrow::Cow;

/// The text of an export.
///
/// A UTF-8 mark is dropped; UTF-16 (what PowerShell 5 writes with `>`) is recognised by its mark. Kernel names
/// may hold any byte: what is no UTF-8 becomes U+FFFD instead of failing the file.
pub(super) fn decode(bytes: &[u8]) -> Cow<'_, str> {
    match bytes {
        [0xEF, 0xBB, 0xBF, rest @ ..] => utf8(rest),
        [0xFF, 0xFE, rest @ ..] => Cow::Owned(utf16(rest, u16::from_le_bytes)),
        [0xFE, 0xFF, rest @ ..] => Cow::Owned(utf16(rest, u16::from_be_bytes)),
        _ => utf8(bytes),
    }
}

/// Checking first is several times as fast as looking for what to replace.
fn utf8(bytes: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(bytes).map_or_else(|_| String::from_utf8_lossy(bytes), Cow::Borrowed)
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> String {
    let units = bytes.chunks_exact(2).map(|pair| unit([pair[0], pair[1]]));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_dropped_and_utf16_is_transcoded() {
        assert_eq!(decode(b"\xEF\xBB\xBFID"), "ID");
        assert_eq!(decode(b"\xFF\xFEI\0D\0"), "ID");
        assert_eq!(decode(b"\xFE\xFF\0I\0D"), "ID");
        assert_eq!(decode(b"ID"), "ID");
    }

    #[test]
    fn bytes_that_are_no_text_do_not_fail() {
        assert_eq!(decode(b"a\xFFb"), "a\u{FFFD}b");
        assert_eq!(decode(b"\xFF\xFEI"), "");
    }
}
