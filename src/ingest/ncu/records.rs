//! CSV records out of text that is not only CSV.
//!
//! A profiler's output mixes its table with log lines and whatever the program printed, so a record begins at
//! every line, and a quote left open costs that line only, never the rest of the file. Records are ragged: no
//! width is enforced here.

use super::super::scan;
use memchr::memchr;
use std::borrow::Cow;

/// How far past its first line a quoted field may reach. Rule texts with line breaks are short; without a bound,
/// each stray quote would be searched to the end of the file.
const MULTILINE_LIMIT: usize = 64 * 1024;

#[derive(Clone, Copy, Debug)]
struct Span {
    start: usize,
    end: usize,
    /// Whether doubled quotes are inside.
    escaped: bool,
}

/// One record: the fields of a line, or of several when a quoted field spans them.
#[derive(Debug)]
pub(super) struct Record<'a> {
    text: &'a str,
    /// The physical line it begins on, from 1.
    pub(super) line: usize,
    /// Where its first line lies in the text.
    start: usize,
    first_line_end: usize,
    spans: Vec<Span>,
    /// Whether only some fields were looked at.
    sparse: bool,
    /// Whether every quote was closed.
    pub(super) closed: bool,
}

impl<'a> Record<'a> {
    /// The number of fields.
    pub(super) fn len(&self) -> usize {
        self.spans.len()
    }

    /// The field at `index` without its quotes; empty when the record is too short.
    pub(super) fn get(&self, index: usize) -> Cow<'a, str> {
        match self.spans.get(index) {
            None => Cow::Borrowed(""),
            Some(span) if span.escaped => Cow::Owned(self.text[span.start..span.end].replace("\"\"", "\"")),
            Some(span) => Cow::Borrowed(&self.text[span.start..span.end]),
        }
    }

    /// The field as written, doubled quotes and all: for fields that hold none.
    pub(super) fn raw(&self, index: usize) -> &'a str {
        self.spans.get(index).map_or("", |span| &self.text[span.start..span.end])
    }

    /// Where it begins in the text.
    pub(super) fn start(&self) -> usize {
        self.start
    }

    /// Where the field at `index` begins in the text, its quote included.
    pub(super) fn field_start(&self, index: usize) -> Option<usize> {
        let start = self.spans.get(index)?.start;
        let quoted = start > self.start && self.text.as_bytes()[start - 1] == b'"';
        Some(if quoted { start - 1 } else { start })
    }

    /// Its first line as written, without the line end.
    pub(super) fn first_line(&self) -> &'a str {
        &self.text[self.start..self.first_line_end]
    }
}

/// Reads records one after the other.
#[derive(Debug)]
pub(super) struct Records<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// What separates fields: a comma, unless a spreadsheet wrote the file again.
    pub(super) delimiter: u8,
}

impl<'a> Records<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1, delimiter: b',' }
    }

    /// An empty record to read into.
    pub(super) fn record(&self) -> Record<'a> {
        Record {
            text: self.text,
            line: 0,
            start: 0,
            first_line_end: 0,
            spans: Vec::new(),
            sparse: false,
            closed: true,
        }
    }

    /// The next line without consuming it, or `None` at the end.
    pub(super) fn peek_line(&self) -> Option<&'a str> {
        (self.at < self.text.len()).then(|| &self.text[self.at..self.line_end(self.at).0])
    }

    /// Steps over one physical line.
    pub(super) fn skip_line(&mut self) {
        if self.at < self.text.len() {
            self.at = self.line_end(self.at).1;
            self.line += 1;
        }
    }

    /// The physical line that the next record begins on.
    pub(super) fn line(&self) -> usize {
        self.line
    }

    /// Where the line at `from` ends without its line end, and where the next begins.
    fn line_end(&self, from: usize) -> (usize, usize) {
        let bytes = self.text.as_bytes();
        let newline = memchr(b'\n', &bytes[from..]).map_or(bytes.len(), |i| from + i);
        let next = (newline + 1).min(bytes.len());
        let end = if newline > from && bytes[newline - 1] == b'\r' { newline - 1 } else { newline };
        (end, next)
    }

    /// Reads the next record; false at the end of the text.
    ///
    /// A record whose quotes do not close is its first line with `closed` false.
    pub(super) fn next(&mut self, record: &mut Record<'a>) -> bool {
        if self.at >= self.text.len() {
            return false;
        }
        let (line_end, next_line) = self.line_end(self.at);
        record.line = self.line;
        record.start = self.at;
        record.first_line_end = line_end;
        record.sparse = false;
        record.spans.clear();
        match self.split(line_end, &mut record.spans) {
            Some(end) => {
                record.closed = true;
                let (_, after) = if end <= line_end { (line_end, next_line) } else { self.line_end(end) };
                self.line += memchr::memchr_iter(b'\n', &self.text.as_bytes()[self.at..after]).count();
                self.at = after;
            }
            None => {
                record.closed = false;
                self.at = next_line;
                self.line += 1;
            }
        }
        true
    }

    /// Reads the next record, of which only the `wanted` fields are looked at and the others are empty; false, with
    /// nothing consumed, for one that is not plain. `found` is room to work in.
    pub(super) fn next_of(
        &mut self,
        record: &mut Record<'a>,
        wanted: &[usize],
        found: &mut Vec<(usize, usize)>,
    ) -> bool {
        let bytes = self.text.as_bytes();
        let scanned = (self.delimiter == b',').then(|| scan::fields(bytes, self.at, wanted, found)).flatten();
        let Some(scan::Line { next, fields: count, doubled }) = scanned else { return false };
        if !record.sparse || record.spans.len() != count {
            record.spans.clear();
            record.spans.resize(count, Span { start: self.at, end: self.at, escaped: false });
        }
        for (column, (start, end)) in wanted.iter().zip(&*found) {
            let escaped = doubled && bytes[*start..*end].contains(&b'"');
            record.spans[*column] = Span { start: *start, end: *end, escaped };
        }
        record.line = self.line;
        record.start = self.at;
        record.first_line_end = next - 1;
        record.closed = true;
        record.sparse = true;
        self.at = next;
        self.line += 1;
        true
    }

    /// Where the next record begins, to [`seek`](Self::seek) back to.
    pub(super) fn position(&self) -> (usize, usize) {
        (self.at, self.line)
    }

    /// Goes back to a position.
    pub(super) fn seek(&mut self, (at, line): (usize, usize)) {
        self.at = at;
        self.line = line;
    }

    /// Goes back to the line after the first of `record`: what looked like one record of several lines was not.
    pub(super) fn rewind_to_second_line(&mut self, record: &Record<'a>) {
        self.at = self.line_end(record.start).1;
        self.line = record.line + 1;
    }

    /// Splits the record at the current position; gives where its last field ends, `None` when a quote stays open.
    fn split(&self, mut line_end: usize, spans: &mut Vec<Span>) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let limit = (line_end + MULTILINE_LIMIT).min(bytes.len());
        let mut at = self.at;
        loop {
            let (span, mut end) = if at < line_end && bytes[at] == b'"' {
                self.quoted(at + 1, limit)?
            } else {
                let end = memchr(self.delimiter, &bytes[at..line_end]).map_or(line_end, |i| at + i);
                (Span { start: at, end, escaped: false }, end)
            };
            spans.push(span);
            if end > line_end {
                line_end = self.line_end(end).0;
            }
            // Text after a closing quote and before the next comma is dropped.
            if end < line_end && bytes[end] != self.delimiter {
                end = memchr(self.delimiter, &bytes[end..line_end]).map_or(line_end, |i| end + i);
            }
            if end >= line_end {
                return Some(end);
            }
            at = end + 1;
        }
    }

    /// The quoted field whose text begins at `start`, and where it ends after its quote.
    fn quoted(&self, start: usize, limit: usize) -> Option<(Span, usize)> {
        let bytes = self.text.as_bytes();
        let mut at = start;
        let mut escaped = false;
        loop {
            let quote = at + memchr(b'"', bytes.get(at..limit)?)?;
            if bytes.get(quote + 1) == Some(&b'"') {
                escaped = true;
                at = quote + 2;
            } else {
                return Some((Span { start, end: quote, escaped }, quote + 1));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &str) -> Vec<(usize, Vec<String>)> {
        let mut records = Records::new(text);
        let mut record = records.record();
        let mut out = Vec::new();
        while records.next(&mut record) {
            out.push((record.line, (0..record.len()).map(|i| record.get(i).into_owned()).collect()));
        }
        out
    }

    #[test]
    fn fields_may_hold_commas_quotes_and_line_breaks() {
        let rows = all("a,\"b,c\",\"d\"\"e\"\r\n\"x\ny\",z\nlast,");
        assert_eq!(rows[0], (1, vec!["a".into(), "b,c".into(), "d\"e".into()]));
        assert_eq!(rows[1], (2, vec!["x\ny".into(), "z".into()]));
        assert_eq!(rows[2], (4, vec!["last".into(), String::new()]));
    }

    #[test]
    fn an_open_quote_costs_its_own_line_only() {
        let mut records = Records::new("\"open,1\nnext,2\n");
        let mut record = records.record();
        assert!(records.next(&mut record) && !record.closed);
        assert!(records.next(&mut record) && record.closed);
        assert_eq!((record.line, record.raw(0)), (2, "next"));
        assert!(!records.next(&mut record));
    }

    #[test]
    fn a_record_of_several_lines_can_be_taken_back() {
        let mut records = Records::new("junk,\"say\n\"0\",\"1\"\n");
        let mut record = records.record();
        assert!(records.next(&mut record));
        records.rewind_to_second_line(&record);
        assert!(records.next(&mut record));
        assert_eq!((record.line, record.raw(0), record.raw(1)), (2, "0", "1"));
    }

    #[test]
    fn empty_lines_and_short_records_are_no_failure() {
        let rows = all("\n\r\n,\n");
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[2].1, ["", ""]);
    }
}
