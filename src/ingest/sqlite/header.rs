//! The first 100 bytes of a database.

use super::{MAGIC, SqliteError};

/// How long the header is.
pub(super) const LENGTH: usize = 100;

/// How text is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    Utf16Le,
    Utf16Be,
}

/// What the header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) page_size: usize,
    /// The page without what is reserved at its end.
    pub(super) usable: usize,
    /// How many pages the file has.
    pub(super) pages: u32,
    pub(super) encoding: Encoding,
}

impl Header {
    /// Reads the header of a file of `length` bytes, and checks that all its pages are there.
    pub(super) fn parse(head: &[u8; LENGTH], length: u64) -> Result<Self, SqliteError> {
        let damaged = |why: String| Err(SqliteError::Damaged(why));
        if !head.starts_with(MAGIC) {
            return damaged("it does not begin with 'SQLite format 3'".into());
        }
        let page_size = match u16::from_be_bytes([head[16], head[17]]) {
            1 => 65536,
            size if size >= 512 && size.is_power_of_two() => usize::from(size),
            size => return damaged(format!("its pages have {size} bytes, which cannot be")),
        };
        let usable = page_size - usize::from(head[20]);
        if usable < 480 {
            return damaged(format!("its pages have {usable} usable bytes, which cannot be"));
        }
        let whole = u32::try_from(length / page_size as u64).unwrap_or(u32::MAX);
        // The number of pages counts only if the last writer kept it up: bytes 24 and 92 agree.
        let said = word(head, 28);
        let pages = if said > 0 && word(head, 24) == word(head, 92) { said } else { whole };
        if pages > whole {
            let missing = u64::from(pages) * page_size as u64 - length;
            return damaged(format!(
                "{missing} of its {} bytes are missing",
                u64::from(pages) * page_size as u64
            ));
        }
        let encoding = match word(head, 56) {
            0 | 1 => Encoding::Utf8,
            2 => Encoding::Utf16Le,
            3 => Encoding::Utf16Be,
            other => return damaged(format!("its text encoding is {other}, which is none")),
        };
        Ok(Self { page_size, usable, pages, encoding })
    }
}

fn word(head: &[u8; LENGTH], at: usize) -> u32 {
    u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]])
}
