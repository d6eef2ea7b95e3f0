//! What the machine did while a run was measured: readings at the ends of each stage, and samples in between.
//!
//! A figure that the system does not tell is `None`, and left out of the file. Missing counters are never an error.

use super::Twin;
use crate::llm::Stage;
use serde::{Deserialize, Serialize};

/// What the machine did during one stage of one repetition, from readings before and after it.
///
/// CPU times are of the CPUs that this process may run on, in steps of the kernel's tick (10 ms on each CPU): over short
/// stages they are coarse, and `others_cpu_s`, a difference of two such figures, may be a tick under zero.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// The version.
    pub version: String,
    /// The stage.
    pub stage: Stage,
    /// Plain or instrumented.
    pub twin: Twin,
    /// Which repetition, from 0.
    pub repetition: usize,
    /// When it began, from the start of the telemetry's clock.
    pub at_s: f64,
    /// From the first reading to the second.
    pub wall_s: f64,
    /// How many CPUs this process may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<usize>,
    /// CPU time of this process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_cpu_s: Option<f64>,
    /// CPU time of everybody else, the kernel's interrupts among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub others_cpu_s: Option<f64>,
    /// Time in which a hypervisor ran somebody else on these CPUs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub steal_s: Option<f64>,
    /// Time for which threads were held back by the CPU limit of a control group, summed over them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttled_s: Option<f64>,
    /// Times that a thread of this process gave its CPU up to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub voluntary_switches: Option<u64>,
    /// Times that one was taken off its CPU.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub involuntary_switches: Option<u64>,
    /// Energy by counter; empty where none can be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub energy: Vec<EnergyReading>,
    /// How long the readings took, which no timed step contains.
    pub reading_s: f64,
}

impl UsageRecord {
    /// Of a stage, without figures.
    pub fn of(version: &str, stage: Stage, twin: Twin, repetition: usize) -> Self {
        Self {
            version: version.to_string(),
            stage,
            twin,
            repetition,
            at_s: 0.0,
            wall_s: 0.0,
            cpus: None,
            own_cpu_s: None,
            others_cpu_s: None,
            steal_s: None,
            throttled_s: None,
            voluntary_switches: None,
            involuntary_switches: None,
            energy: Vec::new(),
            reading_s: 0.0,
        }
    }

    /// Joules of all counters together; `None` where none can be read.
    pub fn energy_j(&self) -> Option<f64> {
        (!self.energy.is_empty()).then(|| self.energy.iter().map(|reading| reading.energy_j).sum())
    }
}

/// The energy that one counter saw: of the whole device, whoever used it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnergyReading {
    /// The counter: `package-0`, `dram-0`, `gpu-0`.
    pub counter: String,
    /// Joules.
    pub energy_j: f64,
}

/// One sample of the thread that watches.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TelemetryRecord {
    /// When, from the start of the telemetry's clock.
    pub at_s: f64,
    /// The median clock of the CPUs that this process may run on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_clock_hz: Option<f64>,
    /// Mean power since the sample before, by energy counter of the processor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub power: Vec<PowerReading>,
    /// The GPUs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gpus: Vec<GpuSample>,
}

/// The mean power that one counter saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PowerReading {
    /// The counter.
    pub counter: String,
    /// Watts.
    pub power_w: f64,
}

/// What a GPU was doing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct GpuSample {
    /// NVML's number of it.
    pub index: u32,
    /// Clock of the SMs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sm_clock_hz: Option<f64>,
    /// Clock of the memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_clock_hz: Option<f64>,
    /// Power.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub power_w: Option<f64>,
    /// Temperature, in degrees Celsius.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature_c: Option<f64>,
    /// What held clocks back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub throttle_reasons: Option<Vec<String>>,
    /// Memory in use, by whomever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_used_bytes: Option<f64>,
    /// Over PCIe to the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_sent_byte_per_s: Option<f64>,
    /// Over PCIe from the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pcie_received_byte_per_s: Option<f64>,
}

/// What watching cost: the CPU time of the watching thread, itself.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TelemetryCost {
    /// The time between samples that was asked for.
    pub interval_s: f64,
    /// Samples taken.
    pub samples: usize,
    /// From the thread's start to its end.
    pub wall_s: f64,
    /// Its CPU time; `None` where the system does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_s: Option<f64>,
}

impl std::ops::Add for TelemetryCost {
    type Output = Self;

    /// What two processes' threads cost together.
    fn add(self, other: Self) -> Self {
        Self {
            interval_s: self.interval_s,
            samples: self.samples + other.samples,
            wall_s: self.wall_s + other.wall_s,
            cpu_s: self.cpu_s.zip(other.cpu_s).map(|(a, b)| a + b),
        }
    }
}

impl TelemetryCost {
    /// Its CPU time per time: 0.01 is a hundredth of one CPU.
    pub fn cpu_share(&self) -> Option<f64> {
        (self.wall_s > 0.0).then_some(self.cpu_s? / self.wall_s)
    }
}
