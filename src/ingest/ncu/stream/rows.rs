//! The rows of one chunk, made into launches.
//!
//! The rows of a long export repeat themselves: the columns about the launch are the same in every row of it, and
//! the metrics come in the same order in every launch. So a row is first compared with what it should be, which
//! runs at the speed of memory, and taken apart only where it differs. Equal bytes from the beginning of a field on
//! mean equal fields, so that comparing gives what parsing would.

use super::super::checks;
use super::super::kernel_record;
use super::super::launches::{Cell, Collected, Launch};
use super::super::layout::{Long, Shape, Wide};
use super::super::metrics;
use super::super::readings::Scaling;
use super::super::records::{Record, Records};
use super::super::table;
use super::chunk::{Chunk, Launched, Stop};
use super::head::{Plan, first_of_metric};
use super::shape::Shapes;
use foldhash::fast::RandomState;
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

/// More rows than any export has kinds of: what is remembered stays bounded.
const MOST_TEMPLATES: usize = 1 << 14;

/// The part of a long row between the launch and the value, and what it says.
#[derive(Debug)]
struct Template {
    head: Box<[u8]>,
    /// The metric's own name, if it is needed.
    metric: Option<String>,
    shown: String,
    unit: String,
    /// How its values are scaled, if its metric is needed and its unit known.
    scaling: Option<Scaling>,
    /// The template that followed this one last time.
    next: usize,
}

/// The templates seen so far by one thread.
#[derive(Debug, Default)]
pub(super) struct Templates {
    all: Vec<Template>,
    index: HashMap<Box<[u8]>, usize, RandomState>,
    last: usize,
    /// How the columns of a wide table are scaled.
    columns: Vec<Option<Scaling>>,
    shapes: Shapes,
}

impl Templates {
    fn expected(&self) -> Option<usize> {
        let next = self.all.get(self.last)?.next;
        (next < self.all.len()).then_some(next)
    }

    /// The template with this head, made by `new` when it is seen first.
    fn find(&mut self, head: &[u8], new: impl FnOnce() -> Template) -> usize {
        let at = match self.index.get(head) {
            Some(at) => *at,
            None => {
                self.index.insert(head.into(), self.all.len());
                self.all.push(new());
                self.all.len() - 1
            }
        };
        if let Some(last) = self.all.get_mut(self.last) {
            last.next = at;
        }
        at
    }
}

/// The launch whose rows are being read.
#[derive(Debug)]
struct Current<'t> {
    launch: Launch<'t>,
    /// The bytes of the columns about the launch; `None` where they cannot be compared.
    prefix: Option<&'t [u8]>,
    /// Template, line, value.
    cells: Vec<(usize, usize, Cow<'t, str>)>,
    /// The cells of a wide row.
    wide: Vec<Cell<'t>>,
}

/// What a step over the rows came to.
enum Step {
    Next,
    /// The chunk's last launch is complete.
    End,
    /// The text ends within a record that goes on in the file.
    More,
}

/// Parses the rows of one chunk.
pub(super) struct Rows<'t, 'w> {
    plan: &'t Plan<'t>,
    templates: &'w mut Templates,
    text: &'t str,
    /// Whether the file ends where the text does.
    whole: bool,
    records: Records<'t>,
    first_of_metric: usize,
    chunk: Chunk,
    current: Option<Current<'t>>,
    /// Where wanted fields are, kept to use its memory again.
    found: Vec<(usize, usize)>,
    /// Rows of a launch that began in the chunk before are passed over.
    skipping: bool,
    /// A row at or after the chunk's end was seen: its launch is the last.
    closing: bool,
}

impl<'t, 'w> Rows<'t, 'w> {
    pub(super) fn new(plan: &'t Plan<'t>, templates: &'w mut Templates, text: &'t str, whole: bool) -> Self {
        if templates.all.len() > MOST_TEMPLATES {
            *templates = Templates::default();
        }
        let first_of_metric = match &plan.layout.shape {
            Shape::Long(long) => first_of_metric(long),
            Shape::Wide(_) => 0,
        };
        Self {
            plan,
            templates,
            text,
            whole,
            records: Records::new(text),
            first_of_metric,
            chunk: Chunk::default(),
            current: None,
            found: Vec::new(),
            skipping: false,
            closing: false,
        }
    }

    /// The launches that begin in the text before `end`, a place in the file like `begin`, where the text begins;
    /// `None` when more text is needed.
    pub(super) fn parse(mut self, begin: u64, exact: bool, end: u64) -> Result<Option<Chunk>, Stop> {
        self.skipping = !exact;
        self.chunk.start = begin;
        let mut record = self.records.record();
        loop {
            let at = self.records.position().0;
            if at >= self.text.len() {
                break;
            }
            match self.step(&mut record, begin, end)? {
                Step::Next => {}
                Step::End => {
                    self.chunk.end = begin + at as u64;
                    if self.skipping {
                        self.begin_at(begin, at);
                    }
                    return self.finish().map(Some);
                }
                Step::More => return Ok(None),
            }
        }
        if !self.whole {
            return Ok(None);
        }
        self.chunk.end = begin + self.text.len() as u64;
        if self.skipping {
            self.begin_at(begin, self.text.len());
        }
        self.finish().map(Some)
    }

    /// The chunk's own rows begin at `at`; what was passed over does not count.
    fn begin_at(&mut self, begin: u64, at: usize) {
        let end = self.chunk.end;
        self.chunk = Chunk { start: begin + at as u64, end, ..Chunk::default() };
        self.records.seek((at, 1));
        self.current = None;
        self.skipping = false;
    }

    fn finish(mut self) -> Result<Chunk, Stop> {
        self.chunk.lines = self.records.line() - 1;
        self.complete()?;
        Ok(self.chunk)
    }

    fn step(&mut self, record: &mut Record<'t>, begin: u64, end: u64) -> Result<Step, Stop> {
        let at = self.records.position().0;
        if self.expected_row(at) {
            self.closing |= begin + at as u64 >= end;
            return Ok(Step::Next);
        }
        // A row, unless it ends with the text, which `row` finds out itself: the line's end need not be looked for.
        if let [b'0'..=b'9', ..] | [b'"', b'0'..=b'9', ..] = &self.text.as_bytes()[at..] {
            return self.row(record, begin, end);
        }
        let Some(line) = self.records.peek_line() else { return Ok(Step::Next) };
        let unended = at + line.len() == self.text.len();
        if unended && !self.whole {
            return Ok(Step::More);
        }
        match line.trim_start_matches('"').bytes().next() {
            Some(b'0'..=b'9') => self.row(record, begin, end),
            _ if line.trim().is_empty() => {
                self.records.skip_line();
                Ok(Step::Next)
            }
            Some(b'=') if line.starts_with("==") => self.message(line),
            _ => Err(Stop::Irregular),
        }
    }

    fn message(&mut self, line: &str) -> Result<Step, Stop> {
        let mut collected = Collected::default();
        if !collected.message(self.records.line(), line) {
            return Err(Stop::Irregular);
        }
        self.chunk.messages.append(&mut collected.messages);
        self.records.skip_line();
        Ok(Step::Next)
    }

    /// Takes a row that is what it should be: the same launch, and mostly the metric that followed last time.
    fn expected_row(&mut self, at: usize) -> bool {
        let bytes = self.text.as_bytes();
        let Some(current) = &mut self.current else { return false };
        let Some(prefix) = current.prefix.filter(|p| bytes[at..].starts_with(p)) else { return false };
        let from = at + prefix.len();
        let Some(expected) = self.templates.expected() else { return false };
        let template = &self.templates.all[expected];
        if !bytes[from..].starts_with(&template.head) {
            return false;
        }
        let Some((value, next)) = value(self.text, from + template.head.len()) else { return false };
        self.templates.last = expected;
        if !self.skipping {
            self.chunk.votes.see(value);
            if template.metric.is_some() {
                current.cells.push((expected, self.records.line(), Cow::Borrowed(value)));
            }
        }
        self.records.seek((next, self.records.line() + 1));
        true
    }

    /// Reads the next record: of a wide one only the fields that are needed, where not all of them vote.
    fn next(&mut self, record: &mut Record<'t>, begin: u64) {
        let at = begin + self.records.position().0 as u64;
        let all_vote = at < self.plan.mark + table::ALL_VOTE as u64;
        let wide = matches!(self.plan.layout.shape, Shape::Wide(_));
        if !wide || all_vote || !self.records.next_of(record, &self.plan.wanted, &mut self.found) {
            self.records.next(record);
        }
    }

    /// Takes any other row.
    fn row(&mut self, record: &mut Record<'t>, begin: u64, end: u64) -> Result<Step, Stop> {
        let start = self.records.position();
        self.next(record, begin);
        let ends_here = self.records.position().0 >= self.text.len();
        if !self.whole && (ends_here || !record.closed) {
            return Ok(Step::More);
        }
        let plan = self.plan;
        let columns = &plan.layout.columns;
        if !record.closed || !table::is_launch_row(columns, record) {
            return Err(Stop::Irregular);
        }
        if let Shape::Long(long) = &plan.layout.shape {
            if record.len() <= long.value {
                return Err(Stop::Irregular);
            }
            let rule = long.rule.filter(|_| record.raw(long.name).is_empty());
            let says_peak = rule.is_some_and(|rule| record.get(rule).contains("peak performance"));
            if record.raw(long.name).is_empty() && !says_peak {
                return Ok(Step::Next);
            }
        }
        let key = table::key(1, columns, record);
        let same = self.current.as_ref().is_some_and(|c| c.launch.key == key);
        if !same && self.current.is_some() {
            if self.closing {
                self.records.seek(start);
                return Ok(Step::End);
            }
            if self.skipping {
                self.begin_at(begin, start.0);
                self.next(record, begin);
            }
        }
        if !same {
            self.complete()?;
            let launch = table::launch(columns, record, key);
            self.current = Some(Current { launch, prefix: None, cells: Vec::new(), wide: Vec::new() });
        }
        self.closing |= begin + start.0 as u64 >= end;
        match &plan.layout.shape {
            Shape::Long(long) => self.long(long, record, start.0),
            Shape::Wide(wide) => self.wide(wide, record, begin)?,
        }
        Ok(Step::Next)
    }

    fn long(&mut self, long: &Long, record: &Record<'t>, start: usize) {
        let Some(current) = &mut self.current else { return };
        let text: &'t str = self.text;
        let prefix_end = record.field_start(self.first_of_metric).unwrap_or(start);
        let prefix = &text[start..prefix_end];
        current.prefix = Some(prefix.as_bytes()).filter(|p| !p.contains(&b'\n'));
        let name = record.raw(long.name);
        if name.is_empty() {
            current.launch.rule = long.rule.map(|rule| record.get(rule));
            return;
        }
        let field = |column: Option<usize>| column.map_or("", |c| record.raw(c));
        let value_start = record.field_start(long.value).unwrap_or(prefix_end);
        let ordered = [long.section, long.body].into_iter().flatten().chain([long.name, long.unit]);
        let comparable = ordered.into_iter().all(|column| column < long.value);
        let head = &text[prefix_end..value_start.max(prefix_end)];
        let value = record.get(long.value);
        let (section, body) = (field(long.section), field(long.body));
        let new = || {
            let (metric, unit) = (metrics::needed(section, body, name, long.extents), record.raw(long.unit));
            Template {
                head: head.as_bytes().into(),
                metric: metric.map(ToString::to_string),
                shown: name.to_string(),
                unit: unit.to_string(),
                scaling: metric.and_then(|metric| Scaling::of(metric, unit)),
                next: usize::MAX,
            }
        };
        // What cannot be told from its head alone is remembered under a head that no row has.
        let id = if comparable && !head.contains('\n') {
            self.templates.find(head.as_bytes(), new)
        } else {
            self.templates.all.push(Template { head: b"\n".as_slice().into(), ..new() });
            self.templates.all.len() - 1
        };
        self.templates.last = id;
        if !self.skipping {
            self.chunk.votes.see(&value);
            if self.templates.all[id].metric.is_some() {
                current.cells.push((id, record.line, value));
            }
        }
    }

    fn wide(&mut self, wide: &'t Wide<'t>, record: &Record<'t>, begin: u64) -> Result<(), Stop> {
        if record.len() < wide.width {
            return Err(Stop::Irregular);
        }
        let Some(current) = self.current.as_mut().filter(|_| !self.skipping) else { return Ok(()) };
        // Two rows of one launch: the other way of reading makes two launches of them.
        if !current.wide.is_empty() {
            return Err(Stop::Irregular);
        }
        let at = begin - self.plan.mark + record.start() as u64;
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        table::vote(&mut self.chunk.votes, wide, record, at);
        current.wide.extend(wide.metrics.iter().map(|metric| Cell {
            metric: metric.name,
            shown: metric.name,
            unit: metric.unit,
            raw: record.get(metric.column),
            unit_at: (wide.units_line, metric.column + 1),
        }));
        Ok(())
    }

    /// Makes the record of the launch whose rows are all read.
    fn complete(&mut self) -> Result<(), Stop> {
        let Some(current) = self.current.take().filter(|_| !self.skipping) else { return Ok(()) };
        let Templates { all, columns, shapes, .. } = &mut *self.templates;
        match &self.plan.layout.shape {
            Shape::Long(long) => {
                let cells = current.cells.iter().filter_map(|(id, line, raw)| {
                    let template = all.get(*id)?;
                    Some(Cell {
                        metric: template.metric.as_deref()?,
                        shown: &template.shown,
                        unit: &template.unit,
                        raw: raw.clone(),
                        unit_at: (*line, long.unit + 1),
                    })
                });
                let told = current
                    .cells
                    .iter()
                    .filter_map(|(id, ..)| Some((u32::try_from(*id).ok()?, all.get(*id)?.scaling)));
                let launch = Launch { cells: cells.collect(), ..current.launch };
                push(&mut self.chunk, self.plan, &launch, shapes, told)
            }
            Shape::Wide(wide) => {
                if columns.is_empty() {
                    columns.extend(wide.metrics.iter().map(|m| Scaling::of(m.name, m.unit)));
                }
                let launch = Launch { cells: current.wide, ..current.launch };
                push(&mut self.chunk, self.plan, &launch, shapes, (0..).zip(columns.iter().copied()))
            }
        }
    }
}

fn push(
    chunk: &mut Chunk,
    plan: &Plan<'_>,
    launch: &Launch<'_>,
    shapes: &mut Shapes,
    told: impl Iterator<Item = (u32, Option<Scaling>)>,
) -> Result<(), Stop> {
    let (assumptions, results) = (&mut chunk.assumptions, &mut chunk.results);
    if let Some((shape, results)) = shapes.find(plan, launch, told, assumptions, results) {
        let rule = launch.rule.as_deref().filter(|rule| checks::names_a_peak(rule)).unwrap_or_default();
        let (id, process) = (&launch.key.id, &launch.key.process);
        let own: [&str; 7] =
            [id, process, &launch.grid, &launch.block, &launch.context, &launch.stream, rule];
        let own = own.map(|text| {
            let start = chunk.texts.len();
            chunk.texts.push_str(text);
            start..chunk.texts.len()
        });
        chunk.launches.push(Launched::Shaped { shape: Arc::clone(shape), own, results });
        return Ok(());
    }
    // An error names a line of the file, which reading all of it knows.
    let parsed = kernel_record(plan.name, launch, plan.locale, &mut chunk.assumptions);
    let (record, about_lines) = parsed.map_err(|_| Stop::Irregular)?;
    // What is said of a wide row names the row of units, which has its place already.
    let wide = matches!(plan.layout.shape, Shape::Wide(_));
    let about_lines = if wide { 0 } else { about_lines };
    chunk.launches.push(Launched::Full { record: Box::new(record), about_lines });
    Ok(())
}

/// The value that begins at `at`, if nothing but empty fields follows it in the line, and where the next line begins.
fn value(text: &str, at: usize) -> Option<(&str, usize)> {
    let bytes = text.as_bytes();
    let rest = bytes.get(at..)?;
    let (start, length, mut next) = if rest.first() == Some(&b'"') {
        let length = rest[1..].iter().position(|b| *b == b'"')?;
        (at + 1, length, at + length + 2)
    } else {
        let length = rest.iter().position(|b| matches!(b, b',' | b'\n' | b'\r'))?;
        (at, length, at + length)
    };
    while bytes.get(next) == Some(&b',') {
        next += 1;
    }
    if bytes.get(next) == Some(&b'\r') {
        next += 1;
    }
    (bytes.get(next) == Some(&b'\n')).then(|| (&text[start..start + length], next + 1))
}
