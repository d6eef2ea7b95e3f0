//! Time against length: whole generations of `kprof latency`, and single decode steps at a context and batch of
//! `kprof crossover`.

use super::TimingMethod;
use serde::{Deserialize, Serialize};

/// One generation, timed as a whole: a prefill and `tokens - 1` decode steps, without instrumentation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct LatencyRecord {
    /// The version.
    pub version: String,
    /// Output tokens per sequence: T.
    pub tokens: usize,
    /// Prompt tokens per sequence.
    pub prompt_length: usize,
    /// Sequences side by side.
    pub batch: usize,
    /// Which repetition of this version and T, from 0.
    pub repetition: usize,
    /// All steps, from the prefill's start to output token T.
    pub time_s: f64,
    /// The prefill alone, to output token 1; `None` where an import does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttft_s: Option<f64>,
    /// How it was timed.
    pub method: TimingMethod,
    /// For an import that has no single times: what `time_s` is of how many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summarised: Option<Summarised>,
}

impl LatencyRecord {
    /// What such records are times of, in a line: `v1 T=64`.
    pub fn lane(version: &str, tokens: usize) -> String {
        format!("{version} T={tokens}")
    }

    /// Time per output token as the reference benchmark counts it: all of the time over T, the prefill included. It is
    /// not TPOT, which is of decode steps alone.
    pub fn time_per_token_s(&self) -> f64 {
        self.time_s / self.tokens as f64
    }

    /// TPOT: (time - TTFT) / (T - 1); `None` under two tokens or without a TTFT.
    pub fn tpot_s(&self) -> Option<f64> {
        let steps = self.tokens.checked_sub(1).filter(|n| *n > 0)?;
        Some((self.time_s - self.ttft_s?) / steps as f64)
    }
}

/// What another program made of its samples, which it did not keep.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Summarised {
    /// Which statistic the value is: `median`, `mean`.
    pub statistic: String,
    /// Of how many samples; `None` where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<usize>,
    /// Their mean, in the value's unit; `None` where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean: Option<f64>,
    /// Their standard deviation, in the value's unit; `None` where it does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stddev: Option<f64>,
}

/// Decode steps at one context and batch, one after another, each from the same state of the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DecodePointRecord {
    /// The version.
    pub version: String,
    /// Tokens per sequence that the step attends to, its own included.
    pub context: usize,
    /// Sequences side by side.
    pub batch: usize,
    /// Which round, from 0: in a round every version is measured once, so that rounds pair them.
    pub repetition: usize,
    /// The median of the round's steps.
    pub time_s: f64,
    /// How many steps that is the median of.
    pub steps: usize,
    /// How they were timed.
    pub method: TimingMethod,
}

impl DecodePointRecord {
    /// What such records are times of, in a line: `v1 batch 4 context 512`.
    pub fn lane(version: &str, batch: usize, context: usize) -> String {
        format!("{version} batch {batch} context {context}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(tokens: usize, ttft_s: Option<f64>) -> LatencyRecord {
        LatencyRecord {
            version: "v1".into(),
            tokens,
            prompt_length: 32,
            batch: 1,
            repetition: 0,
            time_s: 2.0,
            ttft_s,
            method: TimingMethod::HostClock,
            summarised: None,
        }
    }

    #[test]
    fn time_per_token_counts_the_prefill_and_tpot_does_not() {
        let of_five = record(5, Some(0.4));
        assert_eq!(of_five.time_per_token_s(), 0.4);
        // (2.0 - 0.4) / 4
        assert_eq!(of_five.tpot_s(), Some(0.4));
        assert_eq!(record(1, Some(2.0)).tpot_s(), None);
        assert_eq!(record(5, None).tpot_s(), None);
    }
}
