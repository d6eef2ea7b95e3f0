//! Whether two runs may be compared: what differs between them besides what they were made to compare.

use crate::profile::{RankInfo, Run};
use serde::Serialize;
use std::fmt;
use std::str::FromStr;

/// What has to be alike, unless the user allows a difference. Implementation, KV-cache version and kprof's revision are
/// what comparisons are made for, and not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Aspect {
    /// The model's shape.
    Model,
    /// Storage type of weights and activations.
    Dtype,
    /// How weights are stored.
    Weights,
    /// Sequences side by side.
    Batch,
    /// Prompt tokens.
    Prompt,
    /// Output tokens.
    Tokens,
    /// What the passes ran on.
    Device,
    /// How many threads computed.
    Threads,
    /// Whether caches were flushed before each step.
    Cache,
    /// Whether a profiler was attached.
    Profiler,
    /// Which rank of how many measured.
    Rank,
}

impl Aspect {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Model,
        Self::Dtype,
        Self::Weights,
        Self::Batch,
        Self::Prompt,
        Self::Tokens,
        Self::Device,
        Self::Threads,
        Self::Cache,
        Self::Profiler,
        Self::Rank,
    ];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Model => "model",
            Self::Dtype => "dtype",
            Self::Weights => "weights",
            Self::Batch => "batch",
            Self::Prompt => "prompt",
            Self::Tokens => "tokens",
            Self::Device => "device",
            Self::Threads => "threads",
            Self::Cache => "cache",
            Self::Profiler => "profiler",
            Self::Rank => "rank",
        }
    }

    /// How the run has it; `None` where it does not say.
    fn of(self, run: &Run) -> Option<String> {
        let manifest = run.manifest.as_ref()?;
        let config = manifest.config.as_ref();
        match self {
            Self::Model => config.map(|c| c.model.name.clone()),
            Self::Dtype => config.map(|c| c.dtype.to_string()),
            Self::Weights => {
                config.map(|c| c.weight_format.map_or("as the dtype".to_string(), |w| w.to_string()))
            }
            Self::Batch => config.map(|c| c.batch.to_string()),
            Self::Prompt => config.map(|c| c.prompt_length.to_string()),
            Self::Tokens => config.map(|c| c.tokens.to_string()),
            Self::Device => Some(manifest.device.name.clone()),
            Self::Threads => {
                Some(manifest.device.threads.map_or("none".to_string(), |threads| threads.to_string()))
            }
            Self::Cache => Some(run.cache_state().name().to_string()),
            Self::Profiler => {
                let tool = manifest.profiled.as_ref().and_then(|p| p.tool.clone());
                Some(tool.unwrap_or_else(|| "none".to_string()))
            }
            Self::Rank => {
                let rank = manifest.rank.as_ref().filter(|rank| !rank.is_alone()).map(RankInfo::name);
                Some(rank.unwrap_or_else(|| "none".to_string()))
            }
        }
    }

    fn differs(self, old: &Run, new: &Run) -> bool {
        let model = |run: &Run| Some(run.manifest.as_ref()?.config.as_ref()?.model.clone());
        self.of(old) != self.of(new) || (self == Self::Model && model(old) != model(new))
    }
}

impl FromStr for Aspect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL.into_iter().find(|aspect| aspect.name() == text).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL.iter().map(|a| a.name()).collect();
            format!("'{text}' is nothing that can differ; known: {}", known.join(", "))
        })
    }
}

/// One difference.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unlike {
    /// In what.
    pub aspect: Aspect,
    /// As the baseline has it; `None` where its file does not say.
    pub old: Option<String>,
    /// As the other has it.
    pub new: Option<String>,
}

impl fmt::Display for Unlike {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "not said".to_string());
        let (old, new) = (text(&self.old), text(&self.new));
        match old == new {
            true => write!(f, "{} (both named {old}, of different shapes)", self.aspect.name()),
            false => write!(f, "{} ({old} against {new})", self.aspect.name()),
        }
    }
}

/// Every aspect in which two runs differ.
pub fn unlike(old: &Run, new: &Run) -> Vec<Unlike> {
    let differing = Aspect::ALL.into_iter().filter(|aspect| aspect.differs(old, new));
    differing.map(|aspect| Unlike { aspect, old: aspect.of(old), new: aspect.of(new) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::samples::phase_run;

    #[test]
    fn what_differs_is_named_with_both_values() {
        let mut other = phase_run();
        assert_eq!(unlike(&phase_run(), &other), []);
        let manifest = other.manifest.as_mut().unwrap();
        manifest.device.threads = Some(8);
        let config = manifest.config.as_mut().unwrap();
        config.batch = 4;
        config.model.num_hidden_layers += 1;
        let found: Vec<String> = unlike(&phase_run(), &other).iter().map(ToString::to_string).collect();
        let expected =
            ["model (both named tiny, of different shapes)", "batch (1 against 4)", "threads (2 against 8)"];
        assert_eq!(found, expected);
    }

    #[test]
    fn an_unknown_aspect_lists_the_known_ones() {
        assert_eq!("device".parse(), Ok(Aspect::Device));
        assert!("gpu".parse::<Aspect>().unwrap_err().contains("known: model, dtype"));
    }
}
