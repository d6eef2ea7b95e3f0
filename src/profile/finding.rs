//! Findings: what a reader should know before believing a number, as data, with a cause and a remedy.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The kind of a finding.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FindingCode {
    /// A precision that the chip has was not collected: FLOPs are a lower bound.
    FlopsIncomplete,
    /// A value is derived by an estimate, not counted.
    Estimated,
    /// A metric needed for a point was not collected.
    MetricMissing,
    /// Achieved more than a ceiling allows.
    AboveCeiling,
    /// Zero bytes, or an intensity out of any plausible range.
    ImplausibleBytes,
    /// Two sources of one quantity disagree.
    Disagreement,
    /// A launch failed or was not measured.
    LaunchInvalid,
    /// The profiler reported an error or warning of its own.
    ProfilerMessage,
    /// A profiler was attached while kprof timed its own passes.
    ProfilerAttached,
    /// How a file had to be read: locale guessed, units absent.
    ReadingAssumption,
    /// The run ended before it was complete.
    Partial,
    /// Fewer samples than were asked for, or too few for an interval.
    TooFewSamples,
    /// Recorded ops cover too little of a step.
    LowCoverage,
    /// Instrumentation cost more than it should.
    HighOverhead,
    /// The first sample is slower than the rest.
    FirstSampleSlow,
    /// Samples outside Tukey's fences.
    Outliers,
    /// Times still fell when the warm-up ended.
    NotSteady,
    /// Times rose or fell from the first sample to the last.
    Drift,
    /// Samples resemble those before them: they are worth fewer independent ones.
    Autocorrelated,
    /// Intervals are wider than was asked for.
    Imprecise,
    /// A clock changed while times were taken.
    ClockChanged,
    /// The machine's ceilings after the run are not those before it.
    CeilingMoved,
    /// Other programs, or a hypervisor, took CPU time.
    Interference,
    /// A limit on CPU time, power or temperature held the device back.
    Throttled,
    /// No ceiling is known for the device or precision.
    NoCeiling,
    /// The cache gives other results than the same tokens in one pass, or than no cache at all.
    CacheMismatch,
    /// More tokens than the model has positions for.
    BeyondPositions,
    /// The ceilings are those of another device than the measurement's.
    Simulated,
    /// A line of a file could not be used and was left out.
    LineSkipped,
    /// A device was matched by guess.
    DeviceGuessed,
    /// What was asked for could not be used, and something else was.
    Fallback,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Finding {
    /// Its kind.
    pub code: FindingCode,
    /// What it is about: a file with row and column, a kernel, a version and stage.
    pub about: String,
    /// What was found, and why.
    pub message: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// A finding without a remedy.
    pub fn new(code: FindingCode, about: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, about: about.into(), message: message.into(), remedy: None }
    }

    /// The same with a remedy.
    #[must_use]
    pub fn with_remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.message)?;
        match &self.remedy {
            Some(remedy) => write!(f, "; {remedy}"),
            None => Ok(()),
        }
    }
}
