//! Walking over the pages of a table: its rows in order, each with its payload put together.

use super::{Database, SqliteError};

/// No tree is deeper: each level has at least two children, and there are less than 2^32 pages.
const MAX_DEPTH: usize = 40;

const INTERIOR: u8 = 0x05;
const LEAF: u8 = 0x0d;

/// A page being walked over.
struct Level {
    number: u32,
    page: Vec<u8>,
    /// The next cell, or child, to visit.
    next: usize,
}

/// What takes a row: its ID and its payload.
pub(super) type RowSink<'a> = &'a mut dyn FnMut(i64, &[u8]) -> Result<(), SqliteError>;

/// Gives every row of the table whose tree begins at page `root` to `row`.
pub(super) fn scan(database: &mut Database, root: u32, row: RowSink<'_>) -> Result<(), SqliteError> {
    let mut levels = vec![read(database, root)?];
    let mut visited: u32 = 1;
    let mut payload = Vec::new();
    let mut spare: Vec<Vec<u8>> = Vec::new();
    while let Some(level) = levels.last_mut() {
        match child_or_cell(level)? {
            Step::Child(child) => {
                visited += 1;
                if levels.len() >= MAX_DEPTH || visited > database.header.pages {
                    let why = format!("page {child} belongs to a tree without end");
                    return Err(SqliteError::Damaged(why));
                }
                let mut page = spare.pop().unwrap_or_default();
                database.page(child, &mut page)?;
                levels.push(Level { number: child, page, next: 0 });
            }
            Step::Cell(at) => {
                let (number, usable) = (level.number, database.header.usable);
                let cell = Cell::parse(&level.page[..usable.min(level.page.len())], at, usable, number)?;
                payload.clear();
                payload.extend_from_slice(&level.page[cell.local]);
                if let Some(first) = cell.overflow {
                    overflow(database, first, cell.size, &mut payload)?;
                }
                row(cell.rowid, &payload)?;
            }
            Step::Done => spare.extend(levels.pop().map(|l| l.page)),
        }
    }
    Ok(())
}

fn read(database: &mut Database, number: u32) -> Result<Level, SqliteError> {
    let mut page = Vec::new();
    database.page(number, &mut page)?;
    Ok(Level { number, page, next: 0 })
}

enum Step {
    Child(u32),
    /// Where on its page a cell begins.
    Cell(usize),
    Done,
}

/// What to do next on a page. The header is at byte 100 of page 1, at byte 0 of others.
fn child_or_cell(level: &mut Level) -> Result<Step, SqliteError> {
    let page = &level.page;
    let head = if level.number == 1 { 100 } else { 0 };
    let kind = page[head];
    let cells = usize::from(short(page, head + 3)?);
    let next = level.next;
    level.next += 1;
    match kind {
        LEAF if next < cells => Ok(Step::Cell(usize::from(short(page, head + 8 + 2 * next)?))),
        INTERIOR if next < cells => {
            let at = usize::from(short(page, head + 12 + 2 * next)?);
            Ok(Step::Child(word(page, at)?))
        }
        INTERIOR if next == cells => Ok(Step::Child(word(page, head + 8)?)),
        LEAF | INTERIOR => Ok(Step::Done),
        other => {
            let why = format!("page {} is no table page (type {other})", level.number);
            Err(SqliteError::Damaged(why))
        }
    }
}

/// A row as it stands on a leaf.
struct Cell {
    rowid: i64,
    /// The payload's whole size.
    size: usize,
    /// The part of it on this page.
    local: std::ops::Range<usize>,
    /// The page where the rest begins.
    overflow: Option<u32>,
}

impl Cell {
    fn parse(page: &[u8], at: usize, usable: usize, number: u32) -> Result<Self, SqliteError> {
        let wrong = || SqliteError::Damaged(format!("a row of page {number} does not fit on it"));
        let (size, used) = varint(page.get(at..).ok_or_else(wrong)?).ok_or_else(wrong)?;
        let at = at + used;
        let (rowid, used) = varint(page.get(at..).ok_or_else(wrong)?).ok_or_else(wrong)?;
        let at = at + used;
        let size = usize::try_from(size).map_err(|_| wrong())?;
        let local = local_size(size, usable);
        if at + local > page.len() {
            return Err(wrong());
        }
        let overflow = if local < size { Some(word(page, at + local)?) } else { None };
        Ok(Self { rowid, size, local: at..at + local, overflow })
    }
}

/// How much of a payload of `size` bytes stands on the leaf itself (section 1.6 of the format).
fn local_size(size: usize, usable: usize) -> usize {
    let most = usable - 35;
    if size <= most {
        return size;
    }
    let least = (usable - 12) * 32 / 255 - 23;
    let fitting = least + (size - least) % (usable - 4);
    if fitting <= most { fitting } else { least }
}

/// Appends the rest of a payload of `size` bytes from its chain of overflow pages.
fn overflow(
    database: &mut Database,
    first: u32,
    size: usize,
    payload: &mut Vec<u8>,
) -> Result<(), SqliteError> {
    let header = database.header;
    if size as u64 > u64::from(header.pages) * header.page_size as u64 {
        return Err(SqliteError::Damaged(format!("a row of {size} bytes is larger than the file")));
    }
    let mut next = first;
    let mut page = Vec::new();
    while payload.len() < size {
        database.page(next, &mut page)?;
        let take = (size - payload.len()).min(header.usable - 4);
        payload.extend_from_slice(&page[4..4 + take]);
        next = word(&page, 0)?;
    }
    Ok(())
}

fn short(page: &[u8], at: usize) -> Result<u16, SqliteError> {
    let bytes =
        page.get(at..at + 2).ok_or_else(|| SqliteError::Damaged("a page points behind its end".into()))?;
    Ok(u16::from_be_bytes([bytes[0], bytes[1]]))
}

fn word(page: &[u8], at: usize) -> Result<u32, SqliteError> {
    let bytes =
        page.get(at..at + 4).ok_or_else(|| SqliteError::Damaged("a page points behind its end".into()))?;
    Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
}

/// A number of one to nine bytes, seven bits each, eight of the ninth; and how many bytes it took.
pub(super) fn varint(bytes: &[u8]) -> Option<(i64, usize)> {
    let mut value: u64 = 0;
    for (i, byte) in bytes.iter().take(9).enumerate() {
        if i == 8 {
            return Some(((value << 8 | u64::from(*byte)) as i64, 9));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            return Some((value as i64, i + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_one_to_nine_bytes() {
        assert_eq!(varint(&[0x7f]), Some((127, 1)));
        assert_eq!(varint(&[0x81, 0x00]), Some((128, 2)));
        assert_eq!(varint(&[0xff; 9]), Some((-1, 9)));
        assert_eq!(varint(&[0x80, 0x80]), None);
        assert_eq!(varint(&[]), None);
    }

    #[test]
    fn a_payload_spills_as_the_format_says() {
        // Pages of 4096: at most 4061 bytes stay; least = 4084 * 32 / 255 - 23 = 489.
        assert_eq!(local_size(4061, 4096), 4061);
        // 489 + (4062 - 489) % 4092 = 4062 > 4061, so the least.
        assert_eq!(local_size(4062, 4096), 489);
        // 489 + (5000 - 489) % 4092 = 489 + 419 = 908.
        assert_eq!(local_size(5000, 4096), 908);
    }
}
