//! One result of a report: a kernel launch, or a range of several that was profiled as one.

use super::blocks::Entry;
use super::value::{self, Scalar};
use super::wire::{Break, Field, Message};

/// What a range is called: it has no kernel name.
const RANGE: &str = "range";

/// Where the fields are that the two kinds have in common.
const LAUNCH_METRICS: u64 = 13;
const RANGE_METRICS: u64 = 4;

/// A result without its metrics, which are read by [`metrics`].
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct ResultHead {
    /// The thread that launched it.
    pub(super) thread: Option<u64>,
    pub(super) name: String,
    pub(super) grid: Option<String>,
    pub(super) block: Option<String>,
    pub(super) device: u64,
    pub(super) context: Option<u64>,
    pub(super) stream: Option<u64>,
    /// NVTX ranges around it, outermost first.
    pub(super) ranges: Vec<String>,
    /// What the profiler's roofline rule says about it.
    pub(super) rule: Option<String>,
}

/// Reads everything but the metrics.
pub(super) fn head(entry: Entry, message: Message<'_>) -> Result<ResultHead, Break> {
    let head = match entry {
        Entry::Launch => launch(message)?,
        // What else a range has was in no file that could be checked.
        Entry::Range => {
            message.fields().try_for_each(|f| f.map(drop))?;
            ResultHead { name: RANGE.to_string(), ..ResultHead::default() }
        }
    };
    if head.name.is_empty() {
        return Err(Break::new(message.at(), "a result with the name of its kernel", "none"));
    }
    Ok(head)
}

fn launch(message: Message<'_>) -> Result<ResultHead, Break> {
    let mut head = ResultHead::default();
    let (mut mangled, mut function, mut demangled) = (None, None, None);
    for field in message.fields() {
        let Field { number, value } = field?;
        match (number, value.integer(), value.message()) {
            (1, Some(thread), _) => head.thread = Some(thread),
            (5, _, text) => mangled = text,
            (6, _, text) => function = text,
            (7, _, text) => demangled = text,
            (10, _, Some(grid)) => head.grid = Some(extent(grid)),
            (11, _, Some(block)) => head.block = Some(extent(block)),
            // The index of the device, as far as can be told: every known report is of device 0.
            (16, Some(device), _) => head.device = device,
            (19, _, Some(rule)) => head.rule = head.rule.or_else(|| roofline_rule(rule)),
            (21, _, Some(nvtx)) => head.ranges.extend(nvtx_ranges(nvtx)),
            (22, Some(context), _) => head.context = Some(context),
            (23, Some(stream), _) => head.stream = Some(stream),
            _ => {}
        }
    }
    // Names that are no C++ have no demangled form; ncu prints the function's then.
    let names = [demangled, function, mangled].into_iter().flatten().map(Message::text);
    head.name = names.into_iter().find(|n| !n.is_empty()).unwrap_or_default();
    Ok(head)
}

/// `(64, 64, 1)` as ncu prints it.
fn extent(message: Message<'_>) -> String {
    let part = |number| message.first(number).and_then(|v| v.integer()).unwrap_or_default();
    format!("({}, {}, {})", part(1), part(2), part(3))
}

/// The sentence that compares with the device's peaks, if this rule is the one that has it.
fn roofline_rule(rule: Message<'_>) -> Option<String> {
    let bodies = rule.messages(3).flat_map(|body| body.messages(1));
    let texts = bodies.flat_map(|item| item.messages(1)).filter_map(|message| message.text_of(1));
    texts.into_iter().find(|text| text.contains("fp32 peak"))
}

/// Names of the push/pop ranges that were open: of each thread, of each domain, outermost first.
///
/// Start/stop ranges, in another field, are not read: no known report has one.
fn nvtx_ranges(state: Message<'_>) -> impl Iterator<Item = String> {
    let domains = state.messages(2).flat_map(|thread| thread.messages(2));
    domains.flat_map(|domain| domain.messages(3)).filter_map(|range| range.text_of(1))
}

/// The metrics in file order, by the number of their name; `None` is one that is not available.
///
/// A metric's instances (per unit or per instruction) are skipped: its value is their aggregate.
pub(super) fn metrics(entry: Entry, message: Message<'_>) -> impl Iterator<Item = (u64, Option<Scalar>)> {
    let number = match entry {
        Entry::Launch => LAUNCH_METRICS,
        Entry::Range => RANGE_METRICS,
    };
    message.messages(number).filter_map(|metric| {
        let name = metric.first(1)?.integer()?;
        Some((name, metric.first(2).and_then(|v| v.message()).and_then(value::scalar)))
    })
}
