//! The processor: name, cores, clocks, caches and SIMD extensions.

use super::{line, read};
use crate::hw::CpuTopology;
use crate::profile::CpuInfo;
use crate::stats::Sample;

/// The processor of this machine.
pub(super) fn cpu_info() -> CpuInfo {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    let topology = CpuTopology::detect();
    CpuInfo {
        name: model_name(&cpuinfo),
        arch: std::env::consts::ARCH.to_string(),
        physical_cores: topology.physical_cores,
        logical_cores: std::thread::available_parallelism().map_or(1, usize::from),
        clock_hz: median_clock(&cpuinfo),
        max_clock_hz: max_clock(),
        features: features(),
        cache_bytes: topology.caches.iter().map(|cache| cache.bytes as f64).collect(),
    }
}

/// The values of a key of `/proc/cpuinfo`, one per CPU.
fn values<'a>(cpuinfo: &'a str, key: &'a str) -> impl Iterator<Item = &'a str> {
    cpuinfo.lines().filter_map(move |line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then_some(value.trim())
    })
}

fn model_name(cpuinfo: &str) -> Option<String> {
    let name = values(cpuinfo, "model name").next().or_else(|| values(cpuinfo, "Model").next())?;
    Some(name.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The median over CPUs of the clock at this moment, in Hz. In a virtual machine this is often a constant.
fn median_clock(cpuinfo: &str) -> Option<f64> {
    let clocks = values(cpuinfo, "cpu MHz").filter_map(|mhz| mhz.parse::<f64>().ok());
    Sample::new(clocks.map(|mhz| mhz * 1e6).collect()).ok().map(|sample| sample.median())
}

/// The highest clock that the system names, in Hz: the kernel writes kHz.
fn max_clock() -> Option<f64> {
    let khz = line("/sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq")?;
    khz.parse::<f64>().ok().map(|khz| khz * 1e3)
}

/// The SIMD extensions that matter for inference and were found at run time.
#[cfg(target_arch = "x86_64")]
fn features() -> Vec<String> {
    macro_rules! found {
        ($($name:tt),+) => {
            [$(($name, std::arch::is_x86_feature_detected!($name))),+]
        };
    }
    let all = found!(
        "avx",
        "avx2",
        "fma",
        "f16c",
        "avxvnni",
        "avx512f",
        "avx512bw",
        "avx512vl",
        "avx512vnni",
        "avx512bf16",
        "avx512fp16"
    );
    all.into_iter().filter(|(_, found)| *found).map(|(name, _)| name.to_string()).collect()
}

/// The SIMD extensions that matter for inference and were found at run time.
#[cfg(target_arch = "aarch64")]
fn features() -> Vec<String> {
    macro_rules! found {
        ($($name:tt),+) => {
            [$(($name, std::arch::is_aarch64_feature_detected!($name))),+]
        };
    }
    let all = found!("neon", "fp16", "dotprod", "bf16", "i8mm", "sve", "sve2");
    all.into_iter().filter(|(_, found)| *found).map(|(name, _)| name.to_string()).collect()
}

/// The SIMD extensions that matter for inference: none are known of here.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn features() -> Vec<String> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "processor\t: 0\nmodel name\t: Some  CPU @ 2\ncpu MHz\t\t: 2000.5\n\n\
                       processor\t: 1\nmodel name\t: Some  CPU @ 2\ncpu MHz\t\t: 3000.5\n";

    #[test]
    fn cpuinfo_gives_the_name_and_the_median_clock() {
        assert_eq!(model_name(TWO).as_deref(), Some("Some CPU @ 2"));
        assert_eq!(median_clock(TWO), Some(2500.5e6));
        assert_eq!((model_name(""), median_clock("")), (None, None));
    }
}
