//! Records: the values of a row.

use super::SqliteError;
use super::header::Encoding;
use super::tree::varint;
use std::borrow::Cow;

/// A value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::ingest) enum Value<'a> {
    Null,
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
    Blob,
}

impl Value<'_> {
    /// A whole number.
    pub(in crate::ingest) fn integer(&self) -> Option<i64> {
        match self {
            Self::Integer(value) => Some(*value),
            // nsys stores some counts of old schemas as text.
            Self::Text(text) => text.parse().ok(),
            _ => None,
        }
    }

    /// Text.
    pub(in crate::ingest) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The values of the `wanted` columns of a record. `rowid` is the column that the row's ID stands for, where the
/// record itself holds NULL, and that ID.
pub(super) fn values<'a>(
    payload: &'a [u8],
    wanted: &[Option<usize>],
    encoding: Encoding,
    rowid: Option<(usize, i64)>,
) -> Result<Vec<Value<'a>>, SqliteError> {
    let wrong = || SqliteError::Damaged("a record is longer than it says".into());
    let (head, used) = varint(payload).ok_or_else(wrong)?;
    let head = usize::try_from(head).ok().filter(|h| *h <= payload.len() && *h >= used).ok_or_else(wrong)?;
    let mut types = &payload[used..head];
    let mut at = head;
    let mut values = vec![Value::Null; wanted.len()];
    let last = wanted.iter().flatten().max().copied();
    for column in 0.. {
        if types.is_empty() || last.is_none_or(|last| column > last) {
            break;
        }
        let (kind, used) = varint(types).ok_or_else(wrong)?;
        types = &types[used..];
        let length = length_of(kind).ok_or_else(wrong)?;
        let bytes = payload.get(at..at.checked_add(length).ok_or_else(wrong)?).ok_or_else(wrong)?;
        at += length;
        for (value, wanted) in values.iter_mut().zip(wanted) {
            if *wanted == Some(column) {
                *value = decoded(kind, bytes, encoding);
            }
        }
    }
    if let Some((alias, id)) = rowid {
        for (value, wanted) in values.iter_mut().zip(wanted) {
            if *wanted == Some(alias) && *value == Value::Null {
                *value = Value::Integer(id);
            }
        }
    }
    Ok(values)
}

/// How many bytes a value of serial type `kind` has (section 2.1 of the format).
fn length_of(kind: i64) -> Option<usize> {
    Some(match kind {
        0 | 8 | 9 => 0,
        1..=4 => usize::try_from(kind).ok()?,
        5 => 6,
        6 | 7 => 8,
        12.. => usize::try_from((kind - 12) / 2).ok()?,
        _ => return None,
    })
}

fn decoded(kind: i64, bytes: &[u8], encoding: Encoding) -> Value<'_> {
    match kind {
        0 => Value::Null,
        8 => Value::Integer(0),
        9 => Value::Integer(1),
        7 => Value::Real(f64::from_bits(integer(bytes) as u64)),
        1..=6 => Value::Integer(integer(bytes)),
        _ if kind % 2 == 0 => Value::Blob,
        _ => Value::Text(text(bytes, encoding)),
    }
}

/// A big-endian number of one to eight bytes in two's complement.
fn integer(bytes: &[u8]) -> i64 {
    let sign = if bytes.first().is_some_and(|b| b & 0x80 != 0) { -1 } else { 0 };
    bytes.iter().fold(sign, |value, byte| value << 8 | i64::from(*byte))
}

/// What is no text of its encoding shows the replacement character.
fn text(bytes: &[u8], encoding: Encoding) -> Cow<'_, str> {
    let wide = |word: fn([u8; 2]) -> u16| {
        let words: Vec<u16> = bytes.chunks_exact(2).map(|pair| word([pair[0], pair[1]])).collect();
        Cow::Owned(String::from_utf16_lossy(&words))
    };
    match encoding {
        Encoding::Utf8 => String::from_utf8_lossy(bytes),
        Encoding::Utf16Le => wide(u16::from_le_bytes),
        Encoding::Utf16Be => wide(u16::from_be_bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_the_columns_asked_for() {
        // Header of 6 bytes; types: NULL, 1-byte integer, text of 2, 6-byte integer, the constant 1.
        let payload = [6, 0, 1, 17, 5, 9, 0xff, b'h', b'i', 0, 0, 0, 1, 0, 2];
        let all: Vec<Option<usize>> = vec![Some(4), Some(3), None, Some(2), Some(0), Some(1), Some(9)];
        let values = values(&payload, &all, Encoding::Utf8, Some((0, 77))).unwrap();
        assert_eq!(
            values,
            [
                Value::Integer(1),
                Value::Integer(65_538),
                Value::Null,
                Value::Text("hi".into()),
                Value::Integer(77),
                Value::Integer(-1),
                Value::Null
            ]
        );
    }

    #[test]
    fn a_record_that_claims_more_than_it_has_is_an_error() {
        for payload in [&[9, 1][..], &[2, 6, 1, 2], &[2, 10], &[], &[2, 0xff]] {
            assert!(values(payload, &[Some(0)], Encoding::Utf8, None).is_err(), "{payload:?}");
        }
    }

    #[test]
    fn text_is_read_in_its_encoding() {
        assert_eq!(text(&[b'a', 0, 0xb5, 0], Encoding::Utf16Le), "aµ");
        assert_eq!(text(&[0, b'a', 0, 0xb5], Encoding::Utf16Be), "aµ");
        assert_eq!(text(&[b'a', 0xff], Encoding::Utf8), "a\u{fffd}");
    }
}
