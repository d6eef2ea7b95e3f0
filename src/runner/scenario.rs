//! What is to be measured, and how a run reports while it goes on.

use super::{ProfiledSteps, Schedule};
use crate::backend::{BackendError, CuptiError};
use crate::host::Watch;
use crate::llm::Version;
use crate::pass::{PassError, RecordError};
use crate::profile::{CacheState, ProfileError, Record, Twin};
use std::sync::atomic::AtomicBool;

/// The token shape and the schedule of a measurement.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The versions, in the order asked for.
    pub versions: Vec<Version>,
    /// Prompt tokens per sequence.
    pub prompt_length: usize,
    /// Output tokens per sequence: one prefill step and `tokens - 1` decode steps.
    pub tokens: usize,
    /// Sequences side by side.
    pub batch: usize,
    /// Whether caches are flushed before each step.
    pub cache: CacheState,
    /// How often; its seed is that of the prompt too.
    pub schedule: Schedule,
    /// The steps that a profiler is to look at, of one more generation of each version after the warm-up; `None` for no
    /// such generation.
    pub profiled: Option<ProfiledSteps>,
}

impl Scenario {
    /// Tokens per sequence in a cache at the end: the last output token is never fed back.
    pub fn cached_tokens(&self) -> usize {
        self.prompt_length + self.tokens - 1
    }
}

/// Where a run stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress<'a> {
    /// The version at work.
    pub version: &'a str,
    /// Plain or instrumented; `None` while warming up.
    pub twin: Option<Twin>,
    /// Turns done, warm-up included.
    pub done: usize,
    /// Turns in all, as far as can be told by now.
    pub total: usize,
    /// Seconds since the run began.
    pub elapsed_s: f64,
}

/// Why a run ended early.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunnerError {
    /// The pass failed.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// A record could not be written.
    #[error(transparent)]
    Profile(#[from] ProfileError),
    /// Marks do not match the plan.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A model that says nothing usable: NaN or infinities, such as f16 gives where it overflows.
    #[error(
        "the logits of {version} at token {token} of the text are not finite: the model is damaged, or its numbers are too \
         large for --dtype"
    )]
    NotFinite {
        /// The version.
        version: String,
        /// The token's place in the text, from 0.
        token: usize,
    },
    /// The backend failed outside of a pass.
    #[error(transparent)]
    Backend(#[from] BackendError),
    /// There is no memory to flush caches with.
    #[error("caches cannot be flushed: there is no memory to stream through; leave --cache cold out")]
    NoFlush,
    /// Kernels could not be traced or counted.
    #[error(transparent)]
    Cupti(#[from] CuptiError),
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

/// What a run writes to and is watched by.
pub struct Sink<'a> {
    /// Takes each record as it comes.
    pub record: &'a mut dyn FnMut(Record) -> Result<(), ProfileError>,
    /// Is told where the run stands.
    pub progress: &'a mut dyn FnMut(Progress<'_>),
    /// Set by another thread to stop the run at the next step.
    pub stop: &'a AtomicBool,
    /// Watches the machine; what it sees is recorded.
    pub watch: Option<&'a Watch>,
}
