//! One pass over the text: finds the tables, and collects the launches and cells of each.

use super::launches::{Cell, Collected, Key, Launch, Message};
use super::layout::{self, Columns, Header, Layout, Long, Shape, Wide};
use super::locale::Votes;
use super::metrics;
use super::records::{Record, Records};
use super::{NcuError, resources, transposed};
use std::borrow::Cow;
use std::collections::HashMap;

/// Characters that may separate fields: spreadsheets write the others.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// What headers of the command line's tables begin with.
const FIRST_CELLS: [&str; 3] = ["ID", "Process ID", "Domain"];

/// Collects the launches of every table in `text`.
///
/// # Errors
/// When a table lacks a column it must have.
pub(super) fn collect<'a>(file: &str, text: &'a str) -> Result<Collected<'a>, NcuError> {
    let mut reader = Reader::new(file, text);
    let mut record = reader.records.record();
    while reader.step(&mut record) {}
    if reader.out.tables == 0 {
        transposed::collect(text, &mut reader.out);
    }
    match reader.missing {
        Some(error) if reader.out.tables == 0 => Err(error),
        _ => Ok(reader.out),
    }
}

struct Reader<'a, 'f> {
    file: &'f str,
    records: Records<'a>,
    out: Collected<'a>,
    layout: Option<Layout<'a>>,
    /// What each name that occurred stands for: a file has few names and many rows.
    names: HashMap<(&'a str, &'a str, &'a str), Option<&'a str>>,
    /// The first header that lacks a column: an error only if no better one follows.
    missing: Option<NcuError>,
}

/// Where the rows of a file's first table begin, and what stands before them.
#[derive(Debug)]
pub(super) struct Start<'a> {
    pub(super) layout: Layout<'a>,
    /// Where the first row begins in the text, and on which line.
    pub(super) position: (usize, usize),
    pub(super) delimiter: u8,
    pub(super) messages: Vec<Message>,
}

/// Reads as far as the header of the first table; `None` where there is none.
pub(super) fn start<'a>(file: &str, text: &'a str) -> Option<Start<'a>> {
    let mut reader = Reader::new(file, text);
    let mut record = reader.records.record();
    while reader.layout.is_none() {
        if !reader.step(&mut record) {
            return None;
        }
    }
    let (position, delimiter) = (reader.records.position(), reader.records.delimiter);
    Some(Start { layout: reader.layout?, position, delimiter, messages: reader.out.messages })
}

impl<'a, 'f> Reader<'a, 'f> {
    fn new(file: &'f str, text: &'a str) -> Self {
        Self {
            file,
            records: Records::new(text),
            out: Collected::default(),
            layout: None,
            names: HashMap::new(),
            missing: None,
        }
    }

    /// Takes one line, header or row; false at the end of the text.
    fn step(&mut self, record: &mut Record<'a>) -> bool {
        let Some(line) = self.records.peek_line() else { return false };
        if line.starts_with("==") && self.out.message(self.records.line(), line) {
            self.records.skip_line();
        } else if self.is_candidate(line) && self.header(record) {
            return true;
        } else if let Some(layout) = self.layout.take() {
            self.records.next(record);
            self.row(&layout, record);
            self.layout = Some(layout);
        } else {
            self.records.skip_line();
        }
        true
    }

    /// Before the table any line may be its header; within it, only one that begins as headers do.
    fn is_candidate(&self, line: &str) -> bool {
        let cell = line.strip_prefix('"').unwrap_or(line);
        let begins = |layout: &Layout<'_>| {
            cell.starts_with(layout.first_cell) || FIRST_CELLS.iter().any(|first| cell.starts_with(first))
        };
        self.layout.as_ref().is_none_or(begins) && layout::may_be_header(line)
    }

    /// Reads the next line as a header; false, with nothing consumed, when it is none.
    fn header(&mut self, record: &mut Record<'a>) -> bool {
        let (start, delimiter_before) = (self.records.position(), self.records.delimiter);
        let mut missing = None;
        for delimiter in DELIMITERS {
            self.records.delimiter = delimiter;
            self.records.next(record);
            match layout::header(record) {
                Header::Table(layout) if record.closed => {
                    self.begin(*layout, record);
                    return true;
                }
                Header::Missing(column) => missing = missing.or(Some(column)),
                _ => {}
            }
            self.records.seek(start);
        }
        self.records.delimiter = delimiter_before;
        if let Some(column) = missing.filter(|_| self.missing.is_none()) {
            let (file, row) = (self.file.to_string(), self.records.line());
            let header = shorten(record.first_line());
            self.missing = Some(NcuError::MissingColumn { file, row, column, header });
        }
        false
    }

    fn begin(&mut self, mut layout: Layout<'a>, record: &mut Record<'a>) {
        self.out.tables += 1;
        if let Shape::Wide(wide) = &mut layout.shape {
            wide.units_line = record.line;
            let start = self.records.position();
            if self.records.next(record) && record.closed && layout::is_units_row(&layout.columns, record) {
                wide.units_line = record.line;
                for metric in &mut wide.metrics {
                    metric.unit = record.raw(metric.column);
                }
            } else {
                self.records.seek(start);
            }
        }
        self.layout = Some(layout);
    }

    fn row(&mut self, layout: &Layout<'a>, record: &Record<'a>) {
        let line = record.first_line();
        if line.trim().is_empty() {
            return;
        }
        let accepted = record.closed
            && is_launch_row(&layout.columns, record)
            && match &layout.shape {
                Shape::Long(long) => self.long_row(layout, long, record),
                Shape::Wide(wide) => self.wide_row(layout, wide, record),
            };
        if accepted {
            return;
        }
        if record.closed {
            self.records.rewind_to_second_line(record);
        }
        if looks_cut(layout, line) {
            self.out.damaged.push(record.line);
        }
    }

    fn long_row(&mut self, layout: &Layout<'a>, long: &Long, record: &Record<'a>) -> bool {
        if record.len() <= long.value {
            return false;
        }
        let name = record.raw(long.name);
        if name.is_empty() {
            self.rule(layout, long, record);
            return true;
        }
        let raw = record.get(long.value);
        self.out.votes.see(&raw);
        let field = |column: Option<usize>| column.map_or("", |c| record.raw(c));
        let (section, body) = (field(long.section), field(long.body));
        let metric = *self
            .names
            .entry((section, body, name))
            .or_insert_with(|| metrics::needed(section, body, name, long.extents));
        // What a block takes is no mean: one that differs between the launches of a summary is not known.
        let varies = || long.range.is_some_and(|[least, most]| record.raw(least) != record.raw(most));
        let launch = self.launch(layout, record);
        if let Some(metric) = metric.filter(|metric| !(resources::is_resource(metric) && varies())) {
            let unit_at = (record.line, long.unit + 1);
            launch.cells.push(Cell { metric, shown: name, unit: record.raw(long.unit), raw, unit_at });
        }
        true
    }

    fn rule(&mut self, layout: &Layout<'a>, long: &Long, record: &Record<'a>) {
        let text = long.rule.map(|c| record.get(c)).unwrap_or_default();
        if text.contains("peak performance") {
            self.launch(layout, record).rule = Some(text);
        }
    }

    fn wide_row(&mut self, layout: &Layout<'a>, wide: &Wide<'a>, record: &Record<'a>) -> bool {
        if record.len() < wide.width {
            return false;
        }
        vote(&mut self.out.votes, wide, record, record.start());
        let cells = wide.metrics.iter().map(|metric| Cell {
            metric: metric.name,
            shown: metric.name,
            unit: metric.unit,
            raw: record.get(metric.column),
            unit_at: (wide.units_line, metric.column + 1),
        });
        let key = key(self.out.tables, &layout.columns, record);
        let mut launch = launch(&layout.columns, record, key);
        launch.cells = cells.collect();
        self.out.launches.push(launch);
        true
    }

    fn launch(&mut self, layout: &Layout<'a>, record: &Record<'a>) -> &mut Launch<'a> {
        let columns = &layout.columns;
        let key = key(self.out.tables, columns, record);
        self.out.launch(key, |key| launch(columns, record, key))
    }
}

/// How far into a wide table every cell votes on the locale, in bytes of text; past that only those that are needed
/// do, or most of the time would go into asking the same again.
pub(super) const ALL_VOTE: usize = 1 << 20;

/// Lets the cells of a wide row vote; `at` is where it begins in the file's text.
pub(super) fn vote(votes: &mut Votes, wide: &Wide<'_>, record: &Record<'_>, at: usize) {
    if at < ALL_VOTE {
        (wide.first..wide.width).for_each(|column| votes.see(record.raw(column)));
    } else {
        wide.metrics.iter().for_each(|metric| votes.see(record.raw(metric.column)));
    }
}

pub(super) fn key<'a>(table: usize, columns: &Columns, record: &Record<'a>) -> Key<'a> {
    let get = |column: Option<usize>| column.map(|c| record.get(c)).unwrap_or_default();
    let other = match columns.id {
        Some(_) => Vec::new(),
        None => {
            let distinct = [columns.block, columns.grid, columns.device].into_iter().flatten();
            distinct.chain(columns.nvtx.iter().copied()).map(|c| record.get(c)).collect()
        }
    };
    Key {
        table,
        process: get(columns.process),
        id: get(columns.id),
        kernel: record.get(columns.kernel),
        other,
    }
}

pub(super) fn launch<'a>(columns: &Columns, record: &Record<'a>, key: Key<'a>) -> Launch<'a> {
    let get = |column: Option<usize>| column.map(|c| record.get(c)).unwrap_or_default();
    Launch {
        key,
        block: get(columns.block),
        grid: get(columns.grid),
        context: get(columns.context),
        stream: get(columns.stream),
        capability: get(columns.capability),
        device_name: get(columns.device_name),
        invocations: get(columns.invocations),
        nvtx: columns.nvtx.iter().map(|c| record.get(*c)).filter(|cell| !cell.trim().is_empty()).collect(),
        ranges: Vec::new(),
        cells: Vec::new(),
        rule: None,
    }
}

/// Whether a record is about a launch: its ID is a number. Program output between rows is not.
pub(super) fn is_launch_row(columns: &Columns, record: &Record<'_>) -> bool {
    let number = |column: Option<usize>| {
        column.is_none_or(|c| {
            let cell: Cow<'_, str> = record.get(c);
            let cell = cell.trim();
            !cell.is_empty() && cell.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b','))
        })
    };
    !record.raw(columns.kernel).is_empty() && number(columns.id) && number(columns.invocations)
}

/// Whether a line that is no row begins like one.
fn looks_cut(layout: &Layout<'_>, line: &str) -> bool {
    let quoted = line.starts_with('"');
    let first = line.trim_start_matches('"').bytes().next();
    layout.columns.id == Some(0)
        && first.is_some_and(|b| b.is_ascii_digit())
        && (quoted || line.contains(','))
}

/// A header for a message: its first 120 characters.
pub(super) fn shorten(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{} ...", &text[..end]),
        None => text.to_string(),
    }
}
