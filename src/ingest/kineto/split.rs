//! Cutting a JSON text of any length into its parts, of which only one is in memory at a time.
//!
//! A trace is `{"key": value, ..., "traceEvents": [event, ...], ...}` or `[event, ...]`. [`Splitter`] walks over the
//! outer structure, checks it, and hands out each inner value as bytes; what is inside them is not looked at beyond
//! strings and brackets.

use memchr::memchr2;
use std::io::{self, Read};

/// No event is longer than this: what is longer is no event.
pub(super) const MAX_VALUE: usize = 64 << 20;

/// How much is read at once.
const CHUNK: usize = 1 << 18;

/// Why a text could not be split.
#[derive(Debug)]
pub(super) enum SplitError {
    Read(io::Error),
    /// It ends too early.
    End,
    /// Something else stands at this byte than should.
    Syntax {
        at: u64,
        why: String,
    },
}

impl From<io::Error> for SplitError {
    fn from(error: io::Error) -> Self {
        Self::Read(error)
    }
}

/// A reader with what was read and not used.
#[derive(Debug)]
pub(super) struct Splitter<R> {
    reader: R,
    buffer: Vec<u8>,
    start: usize,
    /// The position of `buffer[start]` in the text.
    position: u64,
    at_end: bool,
}

/// Where a scan over a value stands.
#[derive(Clone, Copy, Debug, Default)]
struct Scan {
    depth: u32,
    in_string: bool,
    escaped: bool,
    /// Whether anything of the value was seen.
    begun: bool,
}

impl Scan {
    /// Looks at `bytes`, which follow what was seen; gives how many of them belong to the value if it ends here.
    fn feed(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut i = 0;
        while i < bytes.len() {
            if self.in_string {
                if self.escaped {
                    self.escaped = false;
                    i += 1;
                    continue;
                }
                let at = memchr2(b'"', b'\\', &bytes[i..])?;
                i += at + 1;
                if bytes[i - 1] == b'\\' {
                    self.escaped = true;
                } else {
                    self.in_string = false;
                    if self.depth == 0 {
                        return Some(i);
                    }
                }
                continue;
            }
            match bytes[i] {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth == 0 => return Some(i),
                b'}' | b']' => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Some(i + 1);
                    }
                }
                b',' if self.depth == 0 => return Some(i),
                byte if self.depth == 0 && self.begun && byte.is_ascii_whitespace() => return Some(i),
                _ => {}
            }
            self.begun = true;
            i += 1;
        }
        None
    }
}

impl<R: Read> Splitter<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader, buffer: Vec::new(), start: 0, position: 0, at_end: false }
    }

    /// How much text there was, once it has ended.
    pub(super) fn length(&self) -> u64 {
        self.position + (self.buffer.len() - self.start) as u64
    }

    fn unread(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.position += count as u64;
    }

    /// Reads more; false at the end of the text.
    fn fill(&mut self) -> Result<bool, SplitError> {
        if self.at_end {
            return Ok(false);
        }
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let length = self.buffer.len();
        self.buffer.resize(length + CHUNK, 0);
        let read = loop {
            match self.reader.read(&mut self.buffer[length..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(length + *read.as_ref().unwrap_or(&0));
        self.at_end = read? == 0;
        Ok(!self.at_end)
    }

    /// The next byte that is no white space, not consumed; `None` at the end of the text.
    pub(super) fn peek(&mut self) -> Result<Option<u8>, SplitError> {
        loop {
            let blank = self.unread().iter().take_while(|b| b.is_ascii_whitespace()).count();
            self.consume(blank);
            if let Some(byte) = self.unread().first() {
                return Ok(Some(*byte));
            }
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Consumes the next byte that is no white space, which must be one of `wanted`.
    pub(super) fn expect(&mut self, wanted: &[u8]) -> Result<u8, SplitError> {
        let byte = self.peek()?.ok_or(SplitError::End)?;
        if !wanted.contains(&byte) {
            let names: Vec<String> = wanted.iter().map(|b| format!("'{}'", char::from(*b))).collect();
            let why = format!("found '{}', not {}", byte.escape_ascii(), names.join(" or "));
            return Err(SplitError::Syntax { at: self.position, why });
        }
        self.consume(1);
        Ok(byte)
    }

    /// The next value, whole, and where it begins.
    pub(super) fn value(&mut self) -> Result<(u64, &[u8]), SplitError> {
        self.peek()?;
        let at = self.position;
        let mut scan = Scan::default();
        let mut seen = 0;
        loop {
            if let Some(more) = scan.feed(&self.unread()[seen..]) {
                let length = seen + more;
                let from = self.start;
                self.consume(length);
                return Ok((at, &self.buffer[from..from + length]));
            }
            seen = self.unread().len();
            if seen > MAX_VALUE {
                let why = format!("a value of more than {} MiB", MAX_VALUE >> 20);
                return Err(SplitError::Syntax { at, why });
            }
            if !self.fill()? {
                // A number may be the last of the text; anything else is cut short.
                return Err(SplitError::End);
            }
        }
    }

    /// Passes over the next value, however long.
    pub(super) fn skip(&mut self) -> Result<(), SplitError> {
        self.peek()?;
        let mut scan = Scan::default();
        loop {
            if let Some(more) = scan.feed(self.unread()) {
                self.consume(more);
                return Ok(());
            }
            self.consume(self.unread().len());
            if !self.fill()? {
                return Err(SplitError::End);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives one byte at a time, so that every boundary falls between two reads.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(1);
            out[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn values(text: &str) -> Vec<String> {
        let mut split = Splitter::new(Drip(text.as_bytes()));
        split.expect(b"[").unwrap();
        let mut values = Vec::new();
        loop {
            values.push(String::from_utf8(split.value().unwrap().1.to_vec()).unwrap());
            if split.expect(b",]").unwrap() == b']' {
                return values;
            }
        }
    }

    #[test]
    fn values_are_cut_at_their_ends_whatever_is_in_their_strings() {
        let text = r#" [ {"a": "}]\"[", "b": [1, {"c": "\\"}]} , "x,]\\", 12.5 ,true,null] "#;
        assert_eq!(
            values(text),
            [r#"{"a": "}]\"[", "b": [1, {"c": "\\"}]}"#, r#""x,]\\""#, "12.5", "true", "null"]
        );
    }

    #[test]
    fn a_text_cut_short_says_so_and_skipping_keeps_the_position() {
        let mut split = Splitter::new(&b"{\"a\": [1, 2"[..]);
        split.expect(b"{").unwrap();
        split.value().unwrap();
        split.expect(b":").unwrap();
        assert!(matches!(split.skip(), Err(SplitError::End)));
        assert_eq!(split.length(), 11);
        let mut split = Splitter::new(&b"[[1,2,[3]],4]"[..]);
        split.expect(b"[").unwrap();
        split.skip().unwrap();
        assert_eq!((split.position, split.expect(b",").unwrap()), (10, b','));
        assert!(
            matches!(split.expect(b"]"), Err(SplitError::Syntax { at: 11, why }) if why.contains("found '4'"))
        );
    }
}
