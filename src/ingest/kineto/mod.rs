//! Reads traces of the PyTorch profiler (Kineto), as PyTorch itself, vLLM and SGLang write them: Chrome's trace
//! events in JSON, plain or gzipped, of any length.
//!
//! Events are read one by one and forgotten, except for what [`timeline`](super::timeline) needs: kernels, copies,
//! the calls that launched them, annotations, modules, and those operators that a built-in rule knows. `ts` and `dur`
//! are microseconds.

mod event;
mod header;
mod split;

use super::rules::{Meaning, Rules};
use super::timeline::{
    Activity, Call, CallKey, Collected, Copy, Kernel, Name, Range, Resources, Sink, TraceError,
};
use crate::profile::{CopyKind, Finding, FindingCode, Run};
use event::{Args, Event, text, whole};
use flate2::read::MultiGzDecoder;
use split::{SplitError, Splitter};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

/// What gzip files begin with.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// Whether `head`, the beginning of a file, may be that of a trace: gzip, or a JSON object or array.
pub(super) fn looks_like(head: &[u8]) -> bool {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
    head.starts_with(&GZIP)
        || matches!(text.iter().find(|b| !b.is_ascii_whitespace()), Some(b'{'))
        || is_array_of_objects(text)
}

/// A bracket alone may begin a line of a log.
fn is_array_of_objects(text: &[u8]) -> bool {
    let mut marks = text.iter().filter(|b| !b.is_ascii_whitespace());
    matches!((marks.next(), marks.next()), (Some(b'['), Some(b'{')))
}

/// Reads a trace and gives its kernels to `push` one by one, in the order they ran; the run has the rest.
///
/// # Errors
/// When the file cannot be read, is cut short or damaged, is no trace, or nothing in it ran on a GPU.
pub(super) fn fold(path: &Path, push: Sink<'_>) -> Result<Run, TraceError> {
    let error = |source| TraceError::Read { path: path.to_path_buf(), source };
    let file = File::open(path).map_err(error)?;
    let mut head = [0; 2];
    let mut peeked = BufReader::with_capacity(1 << 16, file);
    let read = peeked.read(&mut head).map_err(error)?;
    let start = std::io::Cursor::new(head[..read].to_vec());
    let whole = start.chain(peeked);
    let name = path.display().to_string();
    if head == GZIP {
        fold_text(&name, MultiGzDecoder::new(whole), true, push)
    } else {
        fold_text(&name, whole, false, push)
    }
}

fn fold_text(file: &str, text: impl Read, compressed: bool, push: Sink<'_>) -> Result<Run, TraceError> {
    let mut reader = Reader { compressed, ..Reader::new(file) };
    let mut split = Splitter::new(text);
    if let Err(error) = reader.read(&mut split) {
        return Err(reader.error(error, split.length()));
    }
    let collected = reader.finish()?;
    Ok(collected.emit(file, push))
}

/// What an event's category means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Category {
    Kernel,
    Copy,
    Set,
    Call,
    Annotation,
    DeviceAnnotation,
    Operator,
    Python,
    Other,
}

/// Categories as PyTorch has written them since 1.8; the first versions wrote them in capitals.
fn category(name: &str) -> Category {
    match name.to_ascii_lowercase().as_str() {
        "kernel" => Category::Kernel,
        "gpu_memcpy" | "memcpy" => Category::Copy,
        "gpu_memset" | "memset" => Category::Set,
        "cuda_runtime"
        | "cuda_driver"
        | "hip_runtime"
        | "hip_driver"
        | "xpu_runtime"
        | "runtime"
        | "privateuse1_runtime" => Category::Call,
        "user_annotation" => Category::Annotation,
        "gpu_user_annotation" => Category::DeviceAnnotation,
        "cpu_op" | "operator" => Category::Operator,
        "python_function" => Category::Python,
        _ => Category::Other,
    }
}

/// Whether a call of the host can put work on a device. Most calls cannot, and need not be kept.
fn may_launch(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["launch", "memcpy", "memset", "graph", "enqueue", "prefetch", "external"]
        .iter()
        .any(|w| name.contains(w))
}

struct Reader<'a> {
    file: &'a str,
    collected: Collected,
    inside: &'static str,
    /// How many events of each category, for saying what there was.
    counts: BTreeMap<String, u64>,
    categories: HashMap<String, Category>,
    /// Whether an operator's name means something by the built-in rules.
    meaningful: HashMap<Name, bool>,
    has_events: bool,
    keys: Vec<String>,
    repaired: u64,
    compressed: bool,
}

impl<'a> Reader<'a> {
    fn new(file: &'a str) -> Self {
        let mut collected = Collected { time_source: "dur of the trace event", ..Collected::default() };
        collected.info.format = "kineto".into();
        collected.profiler.name = "PyTorch profiler (Kineto)".into();
        Self {
            file,
            collected,
            inside: "the beginning",
            counts: BTreeMap::new(),
            categories: HashMap::new(),
            meaningful: HashMap::new(),
            has_events: false,
            keys: Vec::new(),
            repaired: 0,
            compressed: false,
        }
    }

    fn read(&mut self, split: &mut Splitter<impl Read>) -> Result<(), SplitError> {
        match split.peek()? {
            Some(b'[') => {
                self.has_events = true;
                self.events(split, true)
            }
            _ => self.object(split),
        }
    }

    fn object(&mut self, split: &mut Splitter<impl Read>) -> Result<(), SplitError> {
        split.expect(b"{")?;
        if split.peek()? == Some(b'}') {
            return Ok(());
        }
        loop {
            self.inside = "the values beside the events";
            let key = text(&String::from_utf8_lossy(split.value()?.1)).into_owned();
            split.expect(b":")?;
            if key == "traceEvents" {
                self.has_events = true;
                self.events(split, false)?;
            } else if header::wanted(&key) {
                let (at, bytes) = split.value()?;
                let value = serde_json::from_slice(bytes);
                let syntax = |e: serde_json::Error| SplitError::Syntax { at, why: format!("{key}: {e}") };
                header::take(&mut self.collected, &key, &value.map_err(syntax)?);
            } else {
                split.skip()?;
            }
            self.keys.push(key);
            if split.expect(b",}")? == b'}' {
                return Ok(());
            }
        }
    }

    /// The events; a bare array need not be closed, as Chrome's format says.
    fn events(&mut self, split: &mut Splitter<impl Read>, may_stay_open: bool) -> Result<(), SplitError> {
        self.inside = "the events";
        split.expect(b"[")?;
        loop {
            match split.peek()? {
                Some(b']') => {
                    split.expect(b"]")?;
                    return Ok(());
                }
                None if may_stay_open => return Ok(()),
                _ => {}
            }
            let (at, bytes) = split.value()?;
            self.event_text(at, bytes)?;
            match split.peek()? {
                None if may_stay_open => return Ok(()),
                Some(b']') => {}
                _ => {
                    split.expect(b",]")?;
                }
            }
        }
    }

    fn event_text(&mut self, at: u64, bytes: &[u8]) -> Result<(), SplitError> {
        if let Ok(event) = serde_json::from_slice::<Event<'_>>(bytes) {
            return self.event(at, &event);
        }
        let repaired = event::without_non_numbers(&String::from_utf8_lossy(bytes));
        let syntax = |e: serde_json::Error| SplitError::Syntax { at, why: format!("a damaged event: {e}") };
        let event = serde_json::from_str::<Event<'_>>(&repaired).map_err(syntax)?;
        self.repaired += 1;
        self.event(at, &event)
    }

    fn event(&mut self, at: u64, event: &Event<'_>) -> Result<(), SplitError> {
        let Some(cat) = event.cat.map(text) else { return Ok(()) };
        match self.counts.get_mut(cat.as_ref()) {
            Some(count) => *count += 1,
            None => _ = self.counts.insert(cat.to_string(), 1),
        }
        let category = match self.categories.get(cat.as_ref()) {
            Some(category) => *category,
            None => *self.categories.entry(cat.to_string()).or_insert(category(&cat)),
        };
        if category == Category::Other || event.ph.map(text).as_deref() != Some("X") {
            return Ok(());
        }
        let damaged = |what: &str| SplitError::Syntax { at, why: format!("a {cat} event without {what}") };
        let start_ns = event.ts.and_then(event::nanoseconds).ok_or_else(|| damaged("a number in ts"))?;
        let time_ns = event.dur.and_then(event::nanoseconds);
        let name = event.name.map(text).unwrap_or_default();
        let args =
            || event.args.and_then(|raw| serde_json::from_str::<Args<'_>>(raw).ok()).unwrap_or_default();
        match category {
            Category::Kernel | Category::Copy | Category::Set => {
                let time_ns = time_ns.ok_or_else(|| damaged("a number in dur"))?;
                self.device_work(category, event, &name, &args(), (start_ns, time_ns));
            }
            Category::Call if may_launch(&name) => {
                self.call(event, &args(), (start_ns, time_ns.unwrap_or(0)))
            }
            Category::Annotation | Category::DeviceAnnotation | Category::Operator | Category::Python => {
                if category == Category::Operator && matches!(name.as_ref(), "aten::mm" | "aten::addmm") {
                    self.matmul(&args());
                }
                self.range(category, event, &name, (start_ns, time_ns));
            }
            Category::Call | Category::Other => {}
        }
        Ok(())
    }

    fn device_work(
        &mut self,
        category: Category,
        event: &Event<'_>,
        name: &str,
        args: &Args<'_>,
        (start_ns, time_ns): (i64, i64),
    ) {
        let lane = self.lane(event);
        let names = &mut self.collected.names;
        let mut named = |raw: Option<&str>| raw.map(|r| names.name(&text(r)));
        let stream = named(args.stream.or(event.tid));
        let context = named(args.context);
        let device = args.device.or(event.pid).and_then(whole).and_then(|n| u32::try_from(n).ok());
        let call = args.correlation.and_then(whole).filter(|id| *id > 0).map(|id| (0, id));
        let at =
            Activity { start_ns, time_ns, call, device, stream, context, process: None, lane: Some(lane) };
        match category {
            Category::Kernel => {
                let mut extent = |raw: Option<&str>| raw.and_then(event::extent).map(|e| names.name(&e));
                let (grid, block) = (extent(args.grid), extent(args.block));
                let count = |raw: Option<&str>| raw.and_then(whole).and_then(|n| u32::try_from(n).ok());
                // What libkineto calls shared memory is static and dynamic in one sum.
                let (registers, shared) = (count(args.registers), count(args.shared));
                let resources = Resources { registers, shared, ..Resources::default() };
                let kernel = Kernel { at, name: names.name(name), grid, block, resources };
                self.collected.kernels.push(kernel);
            }
            _ => {
                let (kind, memory) =
                    if category == Category::Set { (CopyKind::Set, None) } else { copy_of(name) };
                let memory = memory.map(|m| names.name(m));
                let bytes = args.bytes.and_then(event::number);
                self.collected.copies.push(Copy { at, kind, memory, bytes });
            }
        }
    }

    fn call(&mut self, event: &Event<'_>, args: &Args<'_>, (start_ns, time_ns): (i64, i64)) {
        let Some(id) = args.correlation.and_then(whole).filter(|id| *id > 0) else { return };
        let key: CallKey = (0, id);
        let bytes = args.size.and_then(event::number);
        let lane = self.lane(event);
        self.collected.call(key, Call { start_ns, time_ns, lane, process: None, bytes });
    }

    /// A range is kept if it can tell what kernels are for: an annotation, a module, or an operator that a rule knows.
    fn range(
        &mut self,
        category: Category,
        event: &Event<'_>,
        name: &str,
        (start_ns, time_ns): (i64, Option<i64>),
    ) {
        let recorded = category == Category::Annotation;
        if category == Category::Python && !name.starts_with("nn.Module: ") {
            return;
        }
        let id = self.collected.names.name(name);
        if category == Category::Operator {
            let means = |name: &str| Rules::builtin().meaning("", &[name.to_string()]) != Meaning::default();
            if !*self.meaningful.entry(id).or_insert_with(|| means(name)) {
                return;
            }
        }
        let end_ns = time_ns.map_or(i64::MAX, |time| start_ns.saturating_add(time));
        let lane = self.lane(event);
        self.collected.ranges.push(Range { start_ns, end_ns, lane, name: id, recorded });
    }

    /// `aten::mm` has operands `[m, k]` and `[k, n]`; `aten::addmm` has the bias before them.
    fn matmul(&mut self, args: &Args<'_>) {
        let Some(raw) = args.input_dims else { return };
        let Ok(dims) = serde_json::from_str::<Vec<serde_json::Value>>(raw) else { return };
        let matrix = |v: &serde_json::Value| {
            let sides: Vec<u64> = v.as_array()?.iter().filter_map(serde_json::Value::as_u64).collect();
            <[u64; 2]>::try_from(sides).ok()
        };
        let matrices: Vec<[u64; 2]> = dims.iter().filter_map(matrix).collect();
        if let [.., [rows, inner], [inner_too, columns]] = matrices[..]
            && inner == inner_too
        {
            *self.collected.matmuls.entry((rows, inner, columns)).or_default() += 1;
        }
    }

    fn lane(&mut self, event: &Event<'_>) -> Name {
        let part = |raw: Option<&'_ str>| raw.map(|r| text(r).into_owned()).unwrap_or_default();
        self.collected.names.name(&format!("{}:{}", part(event.pid), part(event.tid)))
    }

    fn finish(mut self) -> Result<Collected, TraceError> {
        let file = self.file.to_string();
        if !self.has_events {
            let found = if self.keys.is_empty() { "nothing".to_string() } else { listed(&self.keys) };
            return Err(TraceError::NoTrace { file, found });
        }
        if self.collected.kernels.is_empty() {
            return Err(self.no_kernels());
        }
        if self.repaired > 0 {
            let message = format!(
                "{} events hold NaN, inf or bytes that are no UTF-8: read without them",
                self.repaired
            );
            self.collected.findings.push(Finding::new(FindingCode::ReadingAssumption, file, message));
        }
        Ok(self.collected)
    }

    fn no_kernels(&self) -> TraceError {
        let mut counts: Vec<(&String, &u64)> = self.counts.iter().collect();
        counts.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
        let counts: Vec<String> = counts.iter().map(|(cat, n)| format!("{n} {cat}")).collect();
        let found = match counts.is_empty() {
            true => "no events of any category".to_string(),
            false => format!("the events {}", listed(&counts)),
        };
        let remedy = if self.counts.contains_key("cuda_profiler_range") {
            "it was recorded with CUPTI's range profiler, which replaces kernels by counter ranges: record again \
             without profiler metrics"
        } else {
            "record with activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA], in a process that uses the GPU"
        };
        TraceError::NoKernels { file: self.file.to_string(), found, remedy: remedy.into() }
    }

    fn error(&self, error: SplitError, bytes: u64) -> TraceError {
        let file = self.file.to_string();
        match error {
            SplitError::End => TraceError::Truncated { file, bytes, inside: self.inside },
            SplitError::Syntax { at, why } => TraceError::Json { file, at, why },
            SplitError::Read(source) if self.compressed => TraceError::Gzip { file, bytes, source },
            SplitError::Read(source) => TraceError::Read { path: file.into(), source },
        }
    }
}

/// At most this many names stand in a message.
const NAMES: usize = 12;

fn listed(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMES);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

/// `Memcpy HtoD (Pinned -> Device)`: direction and memory.
fn copy_of(name: &str) -> (CopyKind, Option<&str>) {
    let kind = match name.strip_prefix("Memcpy ").unwrap_or(name).get(..4) {
        Some("HtoD") => CopyKind::HostToDevice,
        Some("DtoH") => CopyKind::DeviceToHost,
        Some("DtoD") => CopyKind::DeviceToDevice,
        Some("PtoP") => CopyKind::PeerToPeer,
        Some("HtoH") => CopyKind::HostToHost,
        _ => CopyKind::Unknown,
    };
    let memory = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    (kind, memory.filter(|m| !m.is_empty()))
}
