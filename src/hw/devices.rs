//! The devices of `devices.toml`, and finding one by the name that a driver, a profiler or a person gives it.

use super::device::{DeviceSpec, parse_devices};
use std::sync::LazyLock;

const BUILTIN: &str = include_str!("devices.toml");

static KNOWN: LazyLock<Vec<DeviceSpec>> = LazyLock::new(|| {
    parse_devices(BUILTIN, "devices.toml", None).expect("the built-in devices.toml is valid: a test reads it")
});

/// What a name was found to mean.
#[derive(Clone, Debug, PartialEq)]
pub enum DeviceMatch<'a> {
    /// One device.
    Exact(&'a DeviceSpec),
    /// Part of the name of several devices with different ceilings, e.g. `A100`.
    Ambiguous(Vec<&'a DeviceSpec>),
    /// No known device.
    Unknown,
}

/// Every device of `devices.toml`, in its order.
pub fn known_devices() -> &'static [DeviceSpec] {
    &KNOWN
}

/// The device called `name`, if exactly one is.
pub fn find_device(name: &str) -> Option<&'static DeviceSpec> {
    match match_device(name) {
        DeviceMatch::Exact(spec) => Some(spec),
        DeviceMatch::Ambiguous(_) | DeviceMatch::Unknown => None,
    }
}

/// Looks `name` up: first as a whole name, then as part of one.
///
/// Words count, not their order, case or separators; `NVIDIA`, `Tesla`, `GeForce`, `Quadro` and `GPU` are
/// ignored, and so is the generation of an `SXM` socket. A slice of a device (`… MIG 1g.5gb`) is not the device.
pub fn match_device(name: &str) -> DeviceMatch<'static> {
    let wanted = words(name);
    if wanted.is_empty() {
        return DeviceMatch::Unknown;
    }
    let rules = |spec: &DeviceSpec| -> Vec<Vec<String>> {
        spec.names.iter().chain([&spec.name]).map(|rule| words(rule)).collect()
    };
    if let Some(spec) = KNOWN.iter().find(|spec| rules(spec).contains(&wanted)) {
        return DeviceMatch::Exact(spec);
    }
    let part_of = |rule: &Vec<String>| wanted.iter().all(|word| rule.contains(word));
    let candidates: Vec<&DeviceSpec> = KNOWN.iter().filter(|spec| rules(spec).iter().any(part_of)).collect();
    match candidates.as_slice() {
        [] => DeviceMatch::Unknown,
        [only] => DeviceMatch::Exact(only),
        _ => DeviceMatch::Ambiguous(candidates),
    }
}

/// The words of a name that tell devices apart, sorted. `80 GB` and `80GB` are one word.
fn words(name: &str) -> Vec<String> {
    const IGNORED: [&str; 5] = ["nvidia", "tesla", "geforce", "quadro", "gpu"];
    let lower = name.to_lowercase().replace(" gb", "gb");
    let mut words: Vec<String> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty() && !IGNORED.contains(word))
        .map(|word| if word.starts_with("sxm") { "sxm".to_string() } else { word.to_string() })
        .collect();
    words.sort();
    words.dedup();
    words
}

#[cfg(test)]
mod tests {
    use super::super::{Ceiling, CeilingKind, CeilingSource, ComputeUnit, MemoryLevel, Precision};
    use super::*;

    fn exact(name: &str) -> &'static str {
        match match_device(name) {
            DeviceMatch::Exact(spec) => &spec.name,
            other => panic!("{name}: {other:?}"),
        }
    }

    fn ridge(name: &str, precision: Precision, unit: ComputeUnit) -> f64 {
        let spec = find_device(name).unwrap();
        let peak = spec.compute(precision, unit).unwrap().flop_rate().unwrap();
        (peak / spec.bandwidth(MemoryLevel::Dram).unwrap()).0
    }

    #[test]
    fn names_as_printed_by_drivers_and_profilers_are_found() {
        for (printed, name) in [
            ("NVIDIA A100-SXM4-80GB", "NVIDIA A100 SXM4 80 GB"),
            ("A100-SXM4-40GB", "NVIDIA A100 SXM4 40 GB"),
            ("NVIDIA A100 80GB PCIe", "NVIDIA A100 PCIe 80 GB"),
            ("NVIDIA A100-PCIE-40GB", "NVIDIA A100 PCIe 40 GB"),
            ("Tesla V100-SXM2-16GB", "NVIDIA Tesla V100 SXM2 16 GB"),
            ("Tesla T4", "NVIDIA T4"),
            ("NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM5 80 GB"),
            ("NVIDIA H100 PCIe", "NVIDIA H100 PCIe"),
            ("NVIDIA H200", "NVIDIA H200 SXM"),
            ("NVIDIA GeForce RTX 4050 Laptop GPU", "NVIDIA GeForce RTX 4050 Laptop GPU"),
            ("rtx 3080", "NVIDIA GeForce RTX 3080 10 GB"),
            ("4090", "NVIDIA GeForce RTX 4090"),
            ("h100 sxm", "NVIDIA H100 SXM5 80 GB"),
            ("A10", "NVIDIA A10"),
        ] {
            assert_eq!(exact(printed), name, "{printed}");
        }
    }

    #[test]
    fn a_name_that_several_devices_share_gives_the_candidates() {
        for (name, count) in [("A100", 4), ("NVIDIA A100 80GB", 2), ("H100", 3), ("V100", 4)] {
            match match_device(name) {
                DeviceMatch::Ambiguous(candidates) => assert_eq!(candidates.len(), count, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
            assert_eq!(find_device(name), None);
        }
    }

    #[test]
    fn a_device_not_listed_or_only_a_slice_of_one_is_unknown() {
        for name in ["", "NVIDIA", "RTX 3090 Ti", "NVIDIA A100-SXM4-40GB MIG 1g.5gb", "Radeon VII"] {
            assert_eq!(match_device(name), DeviceMatch::Unknown, "{name}");
        }
    }

    #[test]
    fn no_two_devices_answer_to_one_name() {
        let mut seen: Vec<(Vec<String>, &str)> = Vec::new();
        for spec in known_devices() {
            for rule in spec.names.iter().chain([&spec.name]) {
                let rule = words(rule);
                let other = seen.iter().find(|(known, owner)| *known == rule && *owner != spec.name);
                assert!(other.is_none(), "{}: {rule:?} is also {other:?}", spec.name);
                seen.push((rule, &spec.name));
            }
        }
    }

    #[test]
    fn every_value_has_a_source_and_every_device_its_dram_bandwidth_and_fp32() {
        for spec in known_devices() {
            assert!(spec.bandwidth(MemoryLevel::Dram).is_some(), "{}", spec.name);
            assert!(spec.compute(Precision::Fp32, ComputeUnit::Vector).is_some(), "{}", spec.name);
            assert!(spec.memory_bytes.is_some() && spec.compute_capability.is_some(), "{}", spec.name);
            for ceiling in &spec.ceilings {
                let CeilingSource::Datasheet { url } = &ceiling.source else { panic!("{}", spec.name) };
                assert!(url.starts_with("https://"), "{}: {url}", spec.name);
            }
        }
    }

    /// Dense FLOPs that one multiprocessor does per clock, from the architectures' whitepapers; `half` is for
    /// cards whose tensor cores accumulate in FP32 at half rate (GeForce, A10G).
    fn flop_per_clock(cc: (u32, u32), half: bool, kind: &CeilingKind) -> Option<f64> {
        use Precision::{Bf16, Fp4, Fp6, Fp8, Fp16, Fp32, Fp64, Int4, Int8, Tf32};
        let CeilingKind::Compute { precision, unit, accumulate } = kind else { return None };
        let datacenter = matches!(cc, (7, 0) | (8, 0) | (9, 0) | (10, 0));
        let lanes = if matches!(cc, (7, _) | (8, 0)) { 64.0 } else { 128.0 };
        if *unit == ComputeUnit::Vector {
            let ratio = match (precision, cc) {
                (Fp32, _) => 1.0,
                (Fp64, _) if datacenter => 0.5,
                (Fp64, (7, 5)) => 1.0 / 32.0,
                (Fp64, _) => 1.0 / 64.0,
                (Fp16, (8, 0)) => 4.0,
                (Fp16, (7, _) | (9, 0)) | (Bf16, (8, 0) | (9, 0)) => 2.0,
                (Fp16 | Bf16, _) => 1.0,
                _ => return None,
            };
            return Some(2.0 * lanes * ratio);
        }
        let fp16 = match cc {
            (8, 0) => 2048.0,
            (9, 0) => 4096.0,
            (10, 0) => 8192.0,
            _ => 1024.0,
        };
        let slow = if half && *accumulate != Some(Fp16) { 0.5 } else { 1.0 };
        Some(match precision {
            Fp64 => {
                if cc == (10, 0) {
                    128.0
                } else {
                    fp16 / 16.0
                }
            }
            Tf32 => fp16 / 2.0 * slow,
            Fp16 | Bf16 => fp16 * slow,
            Fp8 | Fp6 => 2.0 * fp16 * slow,
            // Integer and FP4 accumulation are not halved on GeForce; on the A10G they are.
            Int8 => 2.0 * fp16,
            Int4 | Fp4 => 4.0 * fp16,
            _ => return None,
        })
    }

    #[test]
    fn every_peak_is_multiprocessors_times_flops_per_clock_times_clock_and_so_dense() {
        for spec in known_devices() {
            let a10g = spec.name == "NVIDIA A10G";
            let half = spec.name.contains("GeForce") || a10g;
            for ceiling in &spec.ceilings {
                let cc = spec.compute_capability.unwrap();
                let Some(per_clock) = flop_per_clock(cc, half, &ceiling.kind) else { continue };
                let integer = matches!(
                    ceiling.kind,
                    CeilingKind::Compute { precision: Precision::Int8 | Precision::Int4, .. }
                );
                let per_clock = if a10g && integer { per_clock / 2.0 } else { per_clock };
                let clock = clock_of(spec, ceiling);
                let expected = f64::from(spec.multiprocessors.unwrap()) * per_clock * clock;
                let ratio = ceiling.value / expected;
                // Documents round to two or three digits; a sparse figure would be off by 2.
                assert!((0.96..1.04).contains(&ratio), "{}, {}: {ratio}", spec.name, ceiling.name());
            }
        }
    }

    /// FP64 matrix peaks are stated at the vector clock.
    fn clock_of(spec: &DeviceSpec, ceiling: &Ceiling) -> f64 {
        let boost = spec.boost_hz.unwrap();
        match &ceiling.kind {
            CeilingKind::Compute { precision, unit: ComputeUnit::Matrix, .. }
                if *precision != Precision::Fp64 =>
            {
                spec.matrix_hz.unwrap_or(boost)
            }
            _ => boost,
        }
    }

    #[test]
    fn ridge_points_are_those_of_hand_arithmetic() {
        let close = |value: f64, by_hand: f64| (value / by_hand - 1.0).abs() < 1e-3;
        use ComputeUnit::{Matrix, Vector};
        // 312e12 / 2039e9 = 153.0; 989.4e12 / 3350e9 = 295.3; 989.4e12 / 4800e9 = 206.1;
        // 165.2e12 / 1008e9 = 163.9 (fp32 accumulate, not 330.3); 15.7e12 / 900e9 = 17.44.
        assert!(close(ridge("NVIDIA A100-SXM4-80GB", Precision::Bf16, Matrix), 153.016));
        assert!(close(ridge("NVIDIA H100 80GB HBM3", Precision::Bf16, Matrix), 295.343));
        assert!(close(ridge("NVIDIA H200", Precision::Bf16, Matrix), 206.125));
        assert!(close(ridge("RTX 4090", Precision::Fp16, Matrix), 163.889));
        assert!(close(ridge("Tesla V100-SXM2-32GB", Precision::Fp32, Vector), 17.444));
    }
}
