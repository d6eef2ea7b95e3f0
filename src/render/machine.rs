//! What the machine did while a run was measured, in a few lines.

use crate::roofline::{GpuRange, Machine, PhaseReport};
use crate::units::{format_iec, format_si};

const UNKNOWN: &str = "n/a";

/// CPU time, clocks and GPUs, and what watching them cost; nothing of a run that was not watched.
pub fn machine_lines(report: &PhaseReport) -> Vec<String> {
    let machine = &report.machine;
    if *machine == Machine::default() {
        return Vec::new();
    }
    let mut lines = vec![cpu(machine)];
    lines.extend(machine.gpus.iter().map(gpu));
    lines.extend(cost(machine));
    lines
}

fn percent(share: Option<f64>) -> String {
    share.map_or(UNKNOWN.to_string(), |share| format!("{:.1} %", share * 100.0))
}

/// `2.00 GHz`, or `1.41 to 1.98 GHz (median 1.75 GHz)` where it changed.
fn range(values: Option<[f64; 3]>, write: impl Fn(f64) -> String) -> String {
    match values {
        None => UNKNOWN.to_string(),
        Some([low, _, high]) if low == high => write(low),
        Some([low, median, high]) => format!("{} to {} (median {})", write(low), write(high), write(median)),
    }
}

fn cpu(m: &Machine) -> String {
    let switches = m.involuntary_switches_per_s.map_or(UNKNOWN.to_string(), |rate| format!("{rate:.0}/s"));
    format!(
        "CPU time: own {}, others {}, stolen {}; clock {}; taken off a CPU {switches}",
        percent(m.own_cpu_share),
        percent(m.others_cpu_share),
        percent(m.steal_share),
        range(m.cpu_clock_hz, |hz| format_si(hz, "Hz")),
    )
}

fn gpu(g: &GpuRange) -> String {
    let si = |values, unit: &'static str| range(values, move |value| format_si(value, unit));
    format!(
        "GPU {}: SM clock {}; memory clock {}; power {}; temperature {}; memory {}; PCIe sent {}, received {}",
        g.index,
        si(g.sm_clock_hz, "Hz"),
        si(g.memory_clock_hz, "Hz"),
        si(g.power_w, "W"),
        range(g.temperature_c, |t| format!("{t:.0} °C")),
        range(g.memory_used_bytes, |bytes| format_iec(bytes, "B")),
        si(g.pcie_sent_byte_per_s, "B/s"),
        si(g.pcie_received_byte_per_s, "B/s"),
    )
}

fn cost(m: &Machine) -> Option<String> {
    let cost = m.telemetry?;
    let share = m.telemetry_cpu_share.map_or(UNKNOWN.to_string(), |share| match share * 100.0 {
        percent if percent < 0.01 => "<0.01 %".to_string(),
        percent => format!("{percent:.2} %"),
    });
    let every = format_si(cost.interval_s, "s");
    Some(format!("Telemetry: {} samples, one every {every}, took {share} of one CPU", cost.samples))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::TelemetryCost;
    use crate::roofline::samples::phase_run;

    #[test]
    fn a_run_that_was_not_watched_says_nothing() {
        assert!(machine_lines(&PhaseReport::new(&phase_run(), &[])).is_empty());
    }

    #[test]
    fn what_is_not_known_is_n_a() {
        let mut report = PhaseReport::new(&phase_run(), &[]);
        report.machine = Machine {
            own_cpu_share: Some(0.5),
            others_cpu_share: Some(-0.001),
            cpu_clock_hz: Some([2e9, 3e9, 3.5e9]),
            gpus: vec![GpuRange { index: 1, power_w: Some([70.0, 70.0, 70.0]), ..GpuRange::default() }],
            telemetry: Some(TelemetryCost { interval_s: 0.1, samples: 20, wall_s: 2.0, cpu_s: None }),
            ..Machine::default()
        };
        let lines = machine_lines(&report);
        let expected = "CPU time: own 50.0 %, others -0.1 %, stolen n/a; clock 2.00 GHz to 3.50 GHz (median 3.00 GHz); \
                        taken off a CPU n/a";
        assert_eq!(lines[0], expected);
        assert!(
            lines[1].starts_with("GPU 1: SM clock n/a") && lines[1].contains("power 70.0 W;"),
            "{}",
            lines[1]
        );
        assert_eq!(lines[2], "Telemetry: 20 samples, one every 100 ms, took n/a of one CPU");
    }
}
