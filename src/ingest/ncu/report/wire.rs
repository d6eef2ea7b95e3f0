//! The protobuf wire format, borrowed from one buffer: fields of a message, nothing of what they mean.
//!
//! A message never reaches beyond its own bytes, whatever its lengths say, and a reader descends only into the
//! fields that it knows, so that nesting in a file cannot become recursion here.

use std::fmt;

/// Where a file stops making sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Break {
    /// The byte, from the start of the file.
    pub(super) at: u64,
    /// What should stand there.
    pub(super) expected: &'static str,
    /// What does.
    pub(super) found: String,
}

impl Break {
    pub(super) fn new(at: u64, expected: &'static str, found: impl Into<String>) -> Self {
        Self { at, expected, found: found.into() }
    }
}

impl fmt::Display for Break {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {}: expected {}, found {}", self.at, self.expected, self.found)
    }
}

/// The bytes of a message, and where in the file they stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Message<'a> {
    bytes: &'a [u8],
    at: u64,
}

/// A field's value, by wire type.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(Message<'a>),
    Fixed32([u8; 4]),
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
}

impl<'a> Value<'a> {
    /// The number, where the field is one.
    pub(super) fn integer(self) -> Option<u64> {
        if let Value::Varint(value) = self { Some(value) } else { None }
    }

    /// The message or text, where the field is one.
    pub(super) fn message(self) -> Option<Message<'a>> {
        if let Value::Bytes(message) = self { Some(message) } else { None }
    }
}

impl<'a> Message<'a> {
    /// A message whose first byte is at `at` in the file.
    pub(super) fn new(bytes: &'a [u8], at: u64) -> Self {
        Self { bytes, at }
    }

    /// Where it begins in the file.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// Its fields in order; after a break there are no more.
    pub(super) fn fields(self) -> Fields<'a> {
        Fields { message: self, position: 0 }
    }

    /// The first field of a number; a break before it counts as absent.
    pub(super) fn first(self, number: u64) -> Option<Value<'a>> {
        self.all(number).next()
    }

    /// Every field of a number, up to a break.
    pub(super) fn all(self, number: u64) -> impl Iterator<Item = Value<'a>> {
        self.fields().map_while(Result::ok).filter(move |f| f.number == number).map(|f| f.value)
    }

    /// Every message in a field of this number, up to a break.
    pub(super) fn messages(self, number: u64) -> impl Iterator<Item = Message<'a>> {
        self.all(number).filter_map(Value::message)
    }

    /// Its bytes as text; names may hold any byte.
    pub(super) fn text(self) -> String {
        String::from_utf8_lossy(self.bytes).into_owned()
    }

    /// The text in a field, `None` where it is absent or empty.
    pub(super) fn text_of(self, number: u64) -> Option<String> {
        self.first(number)?.message().map(Message::text).filter(|t| !t.is_empty())
    }
}

/// Iterates over the fields of a message.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    message: Message<'a>,
    position: usize,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Break>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.message.bytes.len() {
            return None;
        }
        let field = self.field();
        if field.is_err() {
            self.position = self.message.bytes.len();
        }
        Some(field)
    }
}

impl<'a> Fields<'a> {
    fn field(&mut self) -> Result<Field<'a>, Break> {
        let start = self.position;
        let key = self.varint()?;
        let number = key >> 3;
        if number == 0 {
            return Err(self.broken(start, "the number of a field", "0"));
        }
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed()?),
            2 => Value::Bytes(self.nested()?),
            5 => Value::Fixed32(self.fixed()?),
            other => return Err(self.broken(start, "wire type 0, 1, 2 or 5", format!("{other}"))),
        };
        Ok(Field { number, value })
    }

    fn broken(&self, position: usize, expected: &'static str, found: impl Into<String>) -> Break {
        Break::new(self.message.at + position as u64, expected, found)
    }

    fn varint(&mut self) -> Result<u64, Break> {
        let start = self.position;
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let Some(byte) = self.message.bytes.get(self.position) else {
                return Err(self.broken(self.position, "the rest of a number", "the end of its message"));
            };
            self.position += 1;
            value |= u64::from(byte & 0x7F).checked_shl(shift).unwrap_or(0);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.broken(start, "a number of at most 10 bytes", "a longer one"))
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Break> {
        let rest = &self.message.bytes[self.position..];
        match rest.first_chunk::<N>() {
            Some(bytes) => {
                self.position += N;
                Ok(*bytes)
            }
            None => Err(self.broken(self.position, "a fixed-size number", "the end of its message")),
        }
    }

    fn nested(&mut self) -> Result<Message<'a>, Break> {
        let start = self.position;
        let length = self.varint()?;
        let rest = &self.message.bytes[self.position..];
        let bytes = usize::try_from(length).ok().and_then(|n| rest.get(..n));
        let Some(bytes) = bytes else {
            let found = format!("{length} of {} left", rest.len());
            return Err(self.broken(start, "a length within the enclosing message", found));
        };
        let at = self.message.at + self.position as u64;
        self.position += bytes.len();
        Ok(Message { bytes, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Vec<Result<Field<'_>, Break>> {
        Message::new(bytes, 100).fields().collect()
    }

    #[test]
    fn each_wire_type_is_read() {
        let bytes = [0x08, 0x96, 0x01, 0x11, 1, 0, 0, 0, 0, 0, 0, 0, 0x1A, 1, b'x', 0x25, 1, 0, 0, 0];
        let all = fields(&bytes);
        let numbers: Vec<u64> = all.iter().map(|f| f.as_ref().unwrap().number).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
        // 0x96 0x01 = 0x16 + (1 << 7) = 150.
        assert_eq!(all[0].as_ref().unwrap().value.integer(), Some(150));
        assert_eq!(all[2].as_ref().unwrap().value.message().unwrap().text(), "x");
        assert_eq!(all[2].as_ref().unwrap().value.message().unwrap().at(), 114);
    }

    #[test]
    fn a_break_names_its_byte_and_ends_the_message() {
        let broken = |bytes: &[u8]| {
            let all = fields(bytes);
            assert!(all.iter().rev().skip(1).all(Result::is_ok));
            all.last().unwrap().clone().unwrap_err()
        };
        assert_eq!(broken(&[0x08, 1, 0x0A, 5, 1]).at, 103);
        assert_eq!(broken(&[0x08]).at, 101);
        assert_eq!(broken(&[0x0B]).expected, "wire type 0, 1, 2 or 5");
        assert_eq!(broken(&[0x00, 0x00]).expected, "the number of a field");
        assert_eq!(broken(&[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).at, 101);
        assert_eq!(
            broken(&[0x0A, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1]).found,
            "18446744073709551615 of 0 left"
        );
    }
}
