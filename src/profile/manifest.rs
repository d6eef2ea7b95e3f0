//! What was run, where and how: the first record of every run.

use super::RankInfo;
use crate::llm::{DType, ModelSpec, Stage, Version, WeightFormat};
use serde::{Deserialize, Serialize};

/// The version of the run format that this kprof writes.
pub const FORMAT_VERSION: u32 = 1;

/// The provenance of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Manifest {
    /// The format's version; the first field, so that it can be read before anything else.
    pub format_version: u32,
    /// Which kprof wrote it.
    pub kprof: KprofInfo,
    /// The command line.
    pub command: Vec<String>,
    /// When it started, RFC 3339 in UTC.
    pub started: String,
    /// The machine.
    pub host: HostInfo,
    /// What the passes ran on.
    pub device: DeviceInfo,
    /// What was measured; `None` for imports.
    #[serde(default)]
    pub config: Option<RunConfig>,
    /// The profiler that was attached, whose cost is in every time; `None` where none was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profiled: Option<Profiled>,
    /// Which rank of a launch measured it; `None` where nothing launched it as one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<RankInfo>,
}

impl Manifest {
    /// What it ran on, in lines: the device with its threads, and of one rank of several which, where, and on which GPU.
    pub fn device_lines(&self) -> String {
        let device = &self.device;
        let name = match device.threads {
            Some(threads) => format!("{}, {threads} threads", device.name),
            None => device.name.clone(),
        };
        name + &self.rank_line().map_or(String::new(), |line| format!("\n{line}"))
    }

    /// Of one rank of several: which, by whom, where, and on which GPU.
    pub fn rank_line(&self) -> Option<String> {
        let rank = self.rank.as_ref().filter(|rank| !rank.is_alone())?;
        let host = self.host.hostname.as_deref().unwrap_or("n/a");
        let (ordinal, uuid) = (self.device.ordinal, self.device.uuid.as_ref());
        let gpu = ordinal.zip(uuid).map(|(n, uuid)| format!(", cuda:{n} {uuid}")).unwrap_or_default();
        Some(format!("{} by {}, host {host}{gpu}", rank.name(), rank.launcher))
    }
}

/// What a profiler had to do with a run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Profiled {
    /// Its name, as far as it could be told; `None` where steps were marked for one and none was attached.
    pub tool: Option<String>,
    /// The stages of which one step each was marked for it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub stages: Vec<Stage>,
    /// The output token that the marked decode step ended with, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode_step: Option<usize>,
}

/// The program's own identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct KprofInfo {
    /// The package's version.
    pub version: String,
    /// The git revision it was built from, `-dirty` when the tree was changed; `None` outside a checkout.
    pub revision: Option<String>,
}

/// The machine; a field is `None` where the system does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct HostInfo {
    /// Its name.
    pub hostname: Option<String>,
    /// Operating system and kernel.
    pub os: Option<String>,
    /// The processor.
    pub cpu: CpuInfo,
    /// Main memory.
    pub memory_bytes: Option<f64>,
}

/// The processor; a field is `None` where the system does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct CpuInfo {
    /// The model's name.
    pub name: Option<String>,
    /// Instruction-set architecture, e.g. `x86_64`.
    pub arch: String,
    /// Cores.
    pub physical_cores: Option<usize>,
    /// Hardware threads that this process may use.
    pub logical_cores: usize,
    /// Clock at the time, in Hz: the median over cores.
    pub clock_hz: Option<f64>,
    /// The highest clock the system names, in Hz.
    pub max_clock_hz: Option<f64>,
    /// SIMD extensions found at run time.
    pub features: Vec<String>,
    /// Sizes of the data caches visible to one core, in bytes: L1d, L2, L3.
    pub cache_bytes: Vec<f64>,
}

/// What the passes ran on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct DeviceInfo {
    /// `cpu`, `cuda` or `fake`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// How many threads computed; `None` off the CPU.
    pub threads: Option<usize>,
    /// Its UUID as nvidia-smi prints it, `GPU-…`, or `MIG-…` of an instance; `None` off a GPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uuid: Option<String>,
    /// The profile of a MIG instance, e.g. `1g.10gb`; `None` where it is a whole device.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mig_profile: Option<String>,
    /// Why this one was taken, where kprof chose it (`--device auto`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chosen: Option<String>,
    /// Its number among the GPUs that the process saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal: Option<usize>,
    /// How many GPUs the process saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible: Option<usize>,
    /// `CUDA_VISIBLE_DEVICES`, where it was set: which GPUs of the machine those were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub visible_devices: Option<String>,
}

/// Where weights came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(tag = "source", rename_all = "lowercase")]
pub enum WeightSource {
    /// Seeded random numbers of the true shape: timing and memory are real, quality is not.
    Random {
        /// The seed.
        seed: u64,
    },
    /// A model directory.
    Directory {
        /// Its path as given.
        path: String,
    },
    /// A small trained model inside kprof itself.
    Builtin {
        /// Its preset.
        name: String,
    },
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RunConfig {
    /// The benchmark: `phase`, `latency`, `memory`, `perplexity`, `capacity`, `crossover`.
    pub benchmark: String,
    /// Who computes: `candle`, ...
    pub implementation: String,
    /// The model's shape.
    pub model: ModelSpec,
    /// Where its weights came from.
    pub weights: WeightSource,
    /// Storage type of weights and activations.
    pub dtype: DType,
    /// How the weights of linears are stored, where not as `dtype`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight_format: Option<WeightFormat>,
    /// The instructions that an implementation chose, e.g. `avx512`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// How decode steps reached a GPU: `eager` or `graph`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exec: Option<String>,
    /// Who computed products of many rows on a GPU: `own`, or a library with its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gemm: Option<String>,
    /// Who traced or counted kernels, in generations of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counters: Option<String>,
    /// Prompt tokens per sequence.
    pub prompt_length: usize,
    /// Output tokens per sequence (T*): one prefill step and T* - 1 decode steps.
    pub tokens: usize,
    /// The output lengths of a benchmark that measures against length (T); `tokens` is the largest of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lengths: Vec<usize>,
    /// Sequences side by side.
    pub batch: usize,
    /// The seed of weights, prompt and order.
    pub seed: u64,
    /// The least unrecorded rounds first; [`super::ScheduleRecord`] has how many there were.
    pub warmup: usize,
    /// The least repetitions asked for.
    pub repetitions: usize,
    /// The time after which no repetition is begun, in seconds.
    pub max_time_s: Option<f64>,
    /// The versions, whole, so that a run is readable without their file.
    pub versions: Vec<Version>,
}

impl RunConfig {
    /// What was computed in what types, e.g. `gpt2 bf16, weights int8:32`.
    pub fn model_and_types(&self) -> String {
        let plain = format!("{} {}", self.model.name, self.dtype);
        self.weight_format.map_or(plain.clone(), |format| format!("{plain}, weights {format}"))
    }

    /// What computed, e.g. `cpu (avx512)` or `cuda (graph, cuBLASLt 12.8.4)`.
    pub fn implementation_and_instructions(&self) -> String {
        let name = self.implementation.clone();
        let gemm = self.gemm.as_ref().filter(|gemm| *gemm != "own");
        let how: Vec<&str> =
            [&self.instructions, &self.exec].into_iter().flatten().chain(gemm).map(String::as_str).collect();
        if how.is_empty() { name } else { format!("{name} ({})", how.join(", ")) }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A manifest without a configuration.
    pub(in crate::profile) fn manifest() -> Manifest {
        Manifest {
            format_version: FORMAT_VERSION,
            kprof: KprofInfo { version: "0.1.0".into(), revision: None },
            command: vec!["kprof".into()],
            started: "2026-01-02T03:04:05Z".into(),
            host: HostInfo::default(),
            device: DeviceInfo { kind: "import".into(), name: "n/a".into(), ..DeviceInfo::default() },
            config: None,
            profiled: None,
            rank: None,
        }
    }
}
