//! The blocks of a report: which there are, what their headers say, and the entries of their payloads.

use super::input::{Input, Stop};
use super::session::Session;
use super::strings::Strings;
use super::wire::{Break, Message};
use std::io::{Read, Seek};

/// What a report begins with.
pub(in crate::ingest::ncu) const MAGIC: &[u8] = b"NVR\0";
/// The only version of the format since 2019.
const VERSION: u64 = 7;

/// What an entry of a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Launch,
    Range,
}

/// A block with results.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Block {
    payload_at: u64,
    /// Where the payload ends, or the file, if that is sooner.
    payload_end: u64,
    sources: u64,
    results: u64,
    ranges: u64,
    /// The profiled process, where the header names it.
    pub(super) process: Option<u64>,
}

/// What one pass over the headers finds: everything but the results, which stay in the file.
#[derive(Debug, Default)]
pub(super) struct Index {
    pub(super) strings: Strings,
    pub(super) session: Session,
    pub(super) blocks: Vec<Block>,
    /// Where the headers stop making sense, if they do.
    pub(super) broken: Option<Break>,
}

/// Reads every header; payloads are skipped.
pub(super) fn index<R: Read + Seek>(input: &mut Input<R>) -> Result<Index, std::io::Error> {
    let mut index = Index::default();
    let mut buffer = Vec::new();
    match walk(input, &mut index, &mut buffer) {
        Ok(()) => {}
        Err(Stop::Break(broken)) => index.broken = Some(broken),
        Err(Stop::Io(error)) => return Err(error),
    }
    Ok(index)
}

fn walk<R: Read + Seek>(input: &mut Input<R>, index: &mut Index, buffer: &mut Vec<u8>) -> Result<(), Stop> {
    input.seek(MAGIC.len() as u64)?;
    let length = input.length_of("the length of the file header", u64::MAX)?;
    let header = input.message(length, buffer)?;
    let version = header.first(1).and_then(|v| v.integer());
    if version != Some(VERSION) {
        let found = version.map_or_else(|| "none".to_string(), |v| v.to_string());
        return Err(Break::new(header.at(), "version 7 of the report format", found).into());
    }
    while input.at() < input.length() {
        block(input, index, buffer)?;
    }
    Ok(())
}

fn block<R: Read + Seek>(input: &mut Input<R>, index: &mut Index, buffer: &mut Vec<u8>) -> Result<(), Stop> {
    let length = input.length_of("the length of a block's header", u64::MAX)?;
    let header = input.message(length, buffer)?;
    let at = header.at();
    let mut block = Block::default();
    let mut size = 0;
    for field in header.fields() {
        let field = field?;
        match (field.number, field.value.integer(), field.value.message()) {
            (1, Some(count), _) => block.sources = count,
            (2, Some(count), _) => block.results = count,
            (7, Some(count), _) => block.ranges = count,
            (5, Some(bytes), _) => size = bytes,
            (3, _, Some(details)) => index.session.merge(details)?,
            (4, _, Some(table)) => index.strings.append(table)?,
            (6, _, Some(process)) => {
                block.process = process.first(1).and_then(|v| v.integer());
                index.session.process(process);
            }
            _ => {}
        }
    }
    block.payload_at = input.at();
    let end = block.payload_at.checked_add(size).filter(|end| *end <= input.length());
    block.payload_end = end.unwrap_or(input.length());
    if block.results > 0 || block.ranges > 0 {
        index.blocks.push(block);
    }
    match end {
        Some(end) => Ok(input.seek(end)?),
        None => {
            let left = input.length() - block.payload_at;
            let found = format!("{size} bytes, of which the file has {left}");
            Err(Break::new(at, "a block with its payload", found).into())
        }
    }
}

/// Calls `take` with every result of a block, skipping its sources.
pub(super) fn results<R: Read + Seek>(
    input: &mut Input<R>,
    block: &Block,
    mut take: impl FnMut(Entry, Message<'_>),
) -> Result<(), Stop> {
    input.seek(block.payload_at)?;
    for _ in 0..block.sources {
        let length = input.length_of("the length of a source", block.payload_end)?;
        input.seek(input.at() + length)?;
    }
    let mut buffer = Vec::new();
    for (count, entry) in [(block.results, Entry::Launch), (block.ranges, Entry::Range)] {
        for _ in 0..count {
            let length = input.length_of("the length of a result", block.payload_end)?;
            take(entry, input.message(length, &mut buffer)?);
        }
    }
    Ok(())
}
