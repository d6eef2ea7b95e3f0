//! What the readers of timeline traces share: events are collected small (names and shapes once, times in whole
//! nanoseconds), put together when all are known, and given out as records one by one.
//!
//! A trace has no order that can be relied on: a kernel may stand before the call that launched it and before the
//! ranges around that call. So what is kept grows with the number of kernels, copies and ranges that mean something,
//! at some 100 bytes each, and not with the size of the file.

mod emit;
mod error;
mod intern;
mod paths;

pub(super) use emit::Sink;
pub use error::TraceError;
pub(super) use intern::{Interner, Name};

use crate::profile::{CopyKind, Finding, MatmulShape, ProfilerInfo, TraceInfo};
use std::collections::HashMap;

/// A process and thread of the host, or a device and its stream: what ranges nest on.
pub(super) type Lane = Name;

/// A call of the host that launched something.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub start_ns: i64,
    pub time_ns: i64,
    pub lane: Lane,
    /// The lane of ranges that are open in a whole process.
    pub process: Option<Lane>,
    /// Bytes, where the call has them as an argument.
    pub bytes: Option<f64>,
}

/// What ties device work to its call: a process (0 where there is one) and an ID.
pub(super) type CallKey = (u64, u64);

/// Something that ran on a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Activity {
    pub start_ns: i64,
    pub time_ns: i64,
    pub call: Option<CallKey>,
    pub device: Option<u32>,
    pub stream: Option<Name>,
    pub context: Option<Name>,
    pub process: Option<Name>,
    /// Where device-side annotations of this stream are.
    pub lane: Option<Lane>,
}

/// A kernel.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kernel {
    pub at: Activity,
    pub name: Name,
    pub grid: Option<Name>,
    pub block: Option<Name>,
    pub resources: Resources,
}

/// What of a multiprocessor a launch takes; `None` of what the trace does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Resources {
    /// Of a thread.
    pub registers: Option<u32>,
    /// Bytes of a block that the kernel itself has.
    pub static_shared: Option<u32>,
    /// Bytes of a block that were asked for with the launch.
    pub dynamic_shared: Option<u32>,
    /// Both together, where only that is known.
    pub shared: Option<u32>,
}

/// A copy or a filling.
#[derive(Clone, Copy, Debug)]
pub(super) struct Copy {
    pub at: Activity,
    pub kind: CopyKind,
    pub memory: Option<Name>,
    pub bytes: Option<f64>,
}

/// A range on a lane.
#[derive(Clone, Copy, Debug)]
pub(super) struct Range {
    pub start_ns: i64,
    /// `i64::MAX` for one that the trace does not end.
    pub end_ns: i64,
    pub lane: Lane,
    pub name: Name,
    /// Whether it becomes a record of its own, rather than only a part of kernels' paths.
    pub recorded: bool,
}

/// All that a reader found.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub names: Interner,
    pub kernels: Vec<Kernel>,
    pub copies: Vec<Copy>,
    pub calls: HashMap<CallKey, Call>,
    pub ranges: Vec<Range>,
    pub matmuls: HashMap<(u64, u64, u64), u64>,
    pub info: TraceInfo,
    pub profiler: ProfilerInfo,
    pub findings: Vec<Finding>,
    /// What a kernel's time is called in the file.
    pub time_source: &'static str,
}

impl Collected {
    /// Adds a call; of two with one key the one that came first counts.
    pub(super) fn call(&mut self, key: CallKey, call: Call) {
        self.calls.entry(key).or_insert(call);
    }

    /// The matrix products, the most frequent first.
    fn matmul_shapes(&self) -> Vec<MatmulShape> {
        let of = |(&(rows, inner, columns), &calls): (&(u64, u64, u64), &u64)| MatmulShape {
            rows,
            inner,
            columns,
            calls,
        };
        let mut shapes: Vec<MatmulShape> = self.matmuls.iter().map(of).collect();
        shapes.sort_by_key(|s| (std::cmp::Reverse(s.calls), s.rows, s.inner, s.columns));
        shapes
    }
}
