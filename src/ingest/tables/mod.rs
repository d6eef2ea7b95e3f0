//! Reads CSV tables of `nsys stats`, rocprofv3 and rocprof-compute: sums per kernel, or a launch per row.
//!
//! A file may have lines of the program before and between tables, and several tables one after the other. A table is
//! known by its header ([`kinds`]), columns by name, units by what stands in parentheses; a cell that should be a
//! number and is none is an error with its line.

mod kinds;
mod row;

use super::timeline::{Sink, TraceError};
use crate::profile::{
    CopyRecord, Finding, FindingCode, KernelRecord, ProfilerInfo, Run, TraceDevice, TraceInfo,
};
use kinds::{Kind, Rows, kind_of};
use row::Row;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;

/// Whether a line of `head`, the beginning of a file, is the header of a known table.
pub(super) fn looks_like(head: &[u8]) -> bool {
    let text = String::from_utf8_lossy(head);
    text.lines().any(|line| line.contains(',') && kind_of(line.split(',')).is_some())
}

/// Reads the tables of a file and gives their kernels to `push` one by one; the run has the rest.
///
/// # Errors
/// When the file cannot be read, a cell makes no sense, or there is no kernel in it.
pub(super) fn fold(path: &Path, push: Sink<'_>) -> Result<Run, TraceError> {
    let file = path.display().to_string();
    let error = |source| TraceError::Read { path: path.to_path_buf(), source };
    let input = BufReader::with_capacity(1 << 16, File::open(path).map_err(error)?);
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(input);
    let mut found = Found::default();
    let mut record = csv::ByteRecord::new();
    let mut header: Option<(&'static Kind, csv::StringRecord)> = None;
    loop {
        match reader.read_byte_record(&mut record) {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => return Err(csv_error(path, &file, e)),
        }
        let line = record.position().map_or(0, csv::Position::line);
        let cells = csv::StringRecord::from_byte_record_lossy(record.clone());
        if let Some(kind) = kind_of(cells.iter()) {
            found.note(kind, &file);
            header = Some((kind, cells));
            continue;
        }
        let Some((kind, names)) = &header else { continue };
        // A line of the program, or the title of the next table; or a row that was cut off.
        if cells.len() != names.len() {
            found.cut(&cells, names.len(), &file, line);
            header = None;
            continue;
        }
        let row = Row { file: &file, line, header: names, cells: &cells };
        found.add(kind, &row)?;
    }
    found.finish(file, push)
}

fn csv_error(path: &Path, file: &str, error: csv::Error) -> TraceError {
    let line = error.position().map_or(0, csv::Position::line);
    let why = error.to_string();
    match error.into_kind() {
        csv::ErrorKind::Io(source) => TraceError::Read { path: path.to_path_buf(), source },
        _ => TraceError::Csv { file: file.to_string(), line, why },
    }
}

/// What the tables of a file gave.
#[derive(Default)]
struct Found {
    kinds: Vec<&'static Kind>,
    /// Kernels with the rank of their table.
    kernels: Vec<(u32, KernelRecord)>,
    copies: Vec<(u32, CopyRecord)>,
    /// Bytes by the name of the operation.
    sizes: Vec<(String, f64)>,
    run: Run,
    devices: Vec<TraceDevice>,
}

impl Found {
    fn note(&mut self, kind: &'static Kind, file: &str) {
        if self.kinds.iter().any(|k| k.name == kind.name) {
            return;
        }
        self.kinds.push(kind);
        if let Some(note) = &kind.note {
            let about = format!("{file}: {}", kind.name);
            self.run.findings.push(Finding::new(FindingCode::ReadingAssumption, about, note.clone()));
        }
    }

    /// A line after the rows of a table that has cells, but not as many.
    fn cut(&mut self, cells: &csv::StringRecord, columns: usize, file: &str, line: u64) {
        if cells.len() < 3 {
            return;
        }
        let message = format!(
            "the line has {} cells in a table of {columns} columns: it and what follows up to the next header are left out",
            cells.len()
        );
        let finding = Finding::new(FindingCode::Partial, format!("{file}:{line}"), message);
        self.run.findings.push(finding.with_remedy("export or copy the file again if it is cut short"));
    }

    fn add(&mut self, kind: &'static Kind, row: &Row<'_>) -> Result<(), TraceError> {
        match kind.rows {
            Rows::Kernels => match row.copy_sum()? {
                Some(copy) => self.copies.push((kind.rank, copy)),
                None => self.kernels.extend(row.kernel_sum()?.map(|k| (kind.rank, k))),
            },
            Rows::Launches => match row.copy()? {
                Some(copy) => self.copies.push((kind.rank, copy)),
                None => {
                    let kernel = row.launch()?;
                    self.add_device(&kernel);
                    self.kernels.push((kind.rank, kernel));
                }
            },
            Rows::Copies => self.copies.extend(row.copy_sum()?.map(|c| (kind.rank, c))),
            Rows::CopySizes => self.sizes.extend(row.copy_bytes()?),
            Rows::Ranges => self.run.ranges.push(row.range()?),
        }
        Ok(())
    }

    fn add_device(&mut self, kernel: &KernelRecord) {
        let Some(number) = kernel.timeline.as_ref().and_then(|t| t.device) else { return };
        if !self.devices.iter().any(|d| d.number == number) {
            self.devices.push(TraceDevice { number, name: kernel.device.clone() });
        }
    }

    fn finish(mut self, file: String, push: Sink<'_>) -> Result<Run, TraceError> {
        if self.kernels.is_empty() {
            let names: Vec<&str> = self.kinds.iter().map(|k| k.name.as_str()).collect();
            let found = format!("the tables {}", names.join(", "));
            let remedy = "export kernels: `nsys stats --report cuda_gpu_trace --format csv report.nsys-rep`, or \
                          `rocprofv3 --kernel-trace --output-format csv -- ./app`";
            return Err(TraceError::NoKernels { file, found, remedy: remedy.into() });
        }
        self.keep_the_best(&file);
        self.count_from_the_first();
        let kind = self.kinds.iter().min_by_key(|k| k.rank);
        self.run.profiler = kind.map(|k| ProfilerInfo { name: k.tool.clone(), ..ProfilerInfo::default() });
        let mut info = TraceInfo { file: file.clone(), devices: self.devices, ..TraceInfo::default() };
        info.format = kind.map(|k| k.format.clone()).unwrap_or_default();
        info.span_s = span(self.kernels.iter().map(|(_, k)| k));
        self.run.traces = vec![info];
        self.run.copies = self.copies.into_iter().map(|(_, c)| c).collect();
        for copy in &mut self.run.copies {
            let size = self.sizes.iter().find(|(name, _)| Some(name) == copy.memory.as_ref());
            copy.bytes = copy.bytes.or(size.map(|(_, bytes)| *bytes));
        }
        self.run.file = file;
        self.run.complete = true;
        let start = |k: &KernelRecord| k.timeline.as_ref().and_then(|t| t.start_s).unwrap_or(0.0);
        self.kernels.sort_by(|a, b| start(&a.1).total_cmp(&start(&b.1)));
        self.kernels.iter().for_each(|(_, kernel)| push(kernel));
        Ok(self.run)
    }

    /// Times since the machine started become times since the first event.
    fn count_from_the_first(&mut self) {
        let copies = self.copies.iter_mut().map(|(_, c)| &mut c.timeline);
        let kernels = self.kernels.iter_mut().filter_map(|(_, k)| k.timeline.as_mut());
        let mut starts: Vec<&mut f64> = copies.chain(kernels).filter_map(|t| t.start_s.as_mut()).collect();
        starts.extend(self.run.ranges.iter_mut().map(|r| &mut r.start_s));
        let origin = starts.iter().map(|s| **s).fold(f64::INFINITY, f64::min);
        starts.into_iter().for_each(|s| *s -= origin);
    }

    /// Of several tables of the same kernels or copies only one counts.
    fn keep_the_best(&mut self, file: &str) {
        let best = self.kernels.iter().map(|(rank, _)| *rank).min().unwrap_or(0);
        let all = self.kernels.len();
        self.kernels.retain(|(rank, _)| *rank == best);
        let best_copies = self.copies.iter().map(|(rank, _)| *rank).min().unwrap_or(0);
        self.copies.retain(|(rank, _)| *rank == best_copies);
        if self.kernels.len() < all {
            let message = "it has several tables of the same kernels: the most detailed one is used";
            self.run.findings.push(Finding::new(FindingCode::ReadingAssumption, file, message));
        }
    }
}

fn span<'a>(kernels: impl Iterator<Item = &'a KernelRecord>) -> Option<f64> {
    let ends = kernels.filter_map(|k| {
        let start = k.timeline.as_ref()?.start_s?;
        Some((start, start + k.time.as_ref()?.value))
    });
    let (first, last) = ends.reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))?;
    Some(last - first)
}
