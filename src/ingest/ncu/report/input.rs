//! The bytes of a report, read in pieces: no length in the file makes it read or allocate more than there is.

use super::wire::{Break, Message};
use std::io::{self, BufReader, Read, Seek, SeekFrom};

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// The system failed.
    Io(io::Error),
    /// The bytes make no sense.
    Break(Break),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Stop::Io(error)
    }
}

impl From<Break> for Stop {
    fn from(broken: Break) -> Self {
        Stop::Break(broken)
    }
}

/// A file, its length, and where reading is.
#[derive(Debug)]
pub(super) struct Input<R> {
    reader: BufReader<R>,
    length: u64,
    at: u64,
}

impl<R: Read + Seek> Input<R> {
    /// Reads from the start of `source`.
    pub(super) fn new(mut source: R) -> io::Result<Self> {
        let length = source.seek(SeekFrom::End(0))?;
        source.rewind()?;
        Ok(Self { reader: BufReader::new(source), length, at: 0 })
    }

    /// Where the next byte stands.
    pub(super) fn at(&self) -> u64 {
        self.at
    }

    /// How long the file is.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Goes to a byte, which may be the end of the file.
    pub(super) fn seek(&mut self, at: u64) -> io::Result<()> {
        let at = at.min(self.length);
        match (i64::try_from(at), i64::try_from(self.at)) {
            (Ok(to), Ok(from)) => self.reader.seek_relative(to - from)?,
            _ => {
                self.reader.seek(SeekFrom::Start(at))?;
            }
        }
        self.at = at;
        Ok(())
    }

    /// A length of four bytes, little endian, that must end before `end`, and what it measures too.
    pub(super) fn length_of(&mut self, what: &'static str, end: u64) -> Result<u64, Stop> {
        let end = end.min(self.length);
        let start = self.at;
        if end.saturating_sub(start) < 4 {
            let found = format!("{} bytes and the end of the {}", end - start.min(end), self.enclosing(end));
            return Err(Break::new(start, what, found).into());
        }
        let mut bytes = [0; 4];
        self.reader.read_exact(&mut bytes)?;
        self.at += 4;
        let length = u64::from(u32::from_le_bytes(bytes));
        let left = end - self.at;
        if length > left {
            let found = format!("{length} bytes, of which the {} has {left}", self.enclosing(end));
            return Err(Break::new(start, what, found).into());
        }
        Ok(length)
    }

    fn enclosing(&self, end: u64) -> &'static str {
        if end == self.length { "file" } else { "block" }
    }

    /// The next `length` bytes as a message in `buffer`; `length` was checked against the file.
    pub(super) fn message<'b>(&mut self, length: u64, buffer: &'b mut Vec<u8>) -> Result<Message<'b>, Stop> {
        let at = self.at;
        buffer.clear();
        let read = self.reader.by_ref().take(length).read_to_end(buffer)? as u64;
        self.at += read;
        if read < length {
            // The file shrank while it was read.
            return Err(Break::new(self.at, "the rest of a message", "the end of the file").into());
        }
        Ok(Message::new(buffer, at))
    }
}
