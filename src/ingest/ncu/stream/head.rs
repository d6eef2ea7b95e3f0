//! The beginning of a large export: its header, and whether the rest can be read in chunks.

use super::super::launches::Message;
use super::super::layout::{Columns, Layout, Long, Shape};
use super::super::locale::Locale;
use super::super::table;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::AtomicUsize;

/// How much is looked at for the header and a first idea of the locale.
const HEAD: u64 = 256 << 10;

/// What the threads need to know.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) path: &'a Path,
    /// What messages call the file.
    pub(super) name: &'a str,
    pub(super) layout: Layout<'a>,
    /// How long the byte-order mark is.
    pub(super) mark: u64,
    /// The columns of a wide table that are read, those about the launch included.
    pub(super) wanted: Vec<usize>,
    /// Where the first row begins, and on which line.
    pub(super) start: u64,
    pub(super) line: usize,
    pub(super) size: u64,
    pub(super) chunk: u64,
    pub(super) locale: Locale,
    /// The profiler's messages before the table.
    pub(super) messages: Vec<Message>,
    /// How many shapes of launches have been learnt.
    pub(super) shapes: AtomicUsize,
}

/// The first bytes of a file.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    File::open(path)?.take(HEAD).read_to_end(&mut head)?;
    Ok(head)
}

/// How to read the rest; `None` for a file whose shape is not one that can be read in chunks.
pub(super) fn plan<'a>(path: &'a Path, name: &'a str, head: &'a [u8], size: u64) -> Option<Plan<'a>> {
    let mark = if head.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
    let lines = &head[mark..memchr::memrchr(b'\n', head)? + 1];
    let text = std::str::from_utf8(lines).ok()?;
    let start = table::start(name, text)?;
    let (at, line) = start.position;
    if start.delimiter != b',' || at >= text.len() || !is_regular(&start.layout) {
        return None;
    }
    let mut wanted: Vec<usize> = of_launch(&start.layout.columns).collect();
    if let Shape::Wide(wide) = &start.layout.shape {
        wanted.extend(wide.metrics.iter().map(|metric| metric.column));
        // A row is as wide as its header.
        wanted.push(wide.width - 1);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let locale = table::collect(name, text).ok()?.votes.decide();
    Some(Plan {
        path,
        name,
        layout: start.layout,
        mark: mark as u64,
        wanted,
        start: (mark + at) as u64,
        line,
        size,
        chunk: u64::MAX,
        locale,
        messages: start.messages,
        shapes: AtomicUsize::new(0),
    })
}

/// Whether rows begin with the launch's ID, and everything that tells launches apart comes before the metric.
fn is_regular(layout: &Layout<'_>) -> bool {
    let columns = &layout.columns;
    let metric = match &layout.shape {
        Shape::Long(long) => first_of_metric(long),
        Shape::Wide(wide) => {
            return columns.id == Some(0) && layout.first_cell == "ID" && !wide.metrics.is_empty();
        }
    };
    columns.id == Some(0) && layout.first_cell == "ID" && of_launch(columns).all(|column| column < metric)
}

/// The first column that is about the metric and not about the launch.
pub(super) fn first_of_metric(long: &Long) -> usize {
    let optional = [long.section, long.body, long.rule];
    let columns = [long.name, long.unit, long.value];
    // OK because three columns are there always.
    optional.into_iter().flatten().chain(columns).min().unwrap_or(0)
}

fn of_launch(columns: &Columns) -> impl Iterator<Item = usize> {
    let optional = [
        columns.id,
        columns.process,
        columns.context,
        columns.stream,
        columns.block,
        columns.grid,
        columns.device,
        columns.capability,
        columns.device_name,
        columns.invocations,
    ];
    optional.into_iter().flatten().chain([columns.kernel]).chain(columns.nvtx.iter().copied())
}
