//! Labels of the details page, each with the metric that it shows.
//!
//! A details export names metrics by label unless they were asked for with `--metrics`, and one label may stand
//! for several metrics: `Memory Throughput` is bytes per second in one section and a percentage in another.

/// One label: where it occurs and the metric behind it.
struct Label {
    /// What the section's name begins with.
    section: &'static str,
    /// What the body item's label ends with (`--print-details all`); empty where it does not matter.
    body: &'static str,
    label: &'static str,
    metric: &'static str,
}

macro_rules! labels {
    ($($section:literal, $body:literal, $label:literal => $metric:literal;)*) => {
        &[$(Label { section: $section, body: $body, label: $label, metric: $metric }),*]
    };
}

/// Checked in order. Sections are those of ncu 2019 to 2026.
const LABELS: &[Label] = labels! {
    "GPU Speed Of Light", "", "Duration" => "gpu__time_duration.sum";
    "GPU Speed Of Light", "", "Elapsed Cycles" => "gpc__cycles_elapsed.max";
    "GPU Speed Of Light", "", "DRAM Throughput" => "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed";
    "GPU Speed Of Light", "", "Compute (SM) Throughput" => "sm__throughput.avg.pct_of_peak_sustained_elapsed";
    "GPU Speed Of Light", "", "SOL SM" => "sm__throughput.avg.pct_of_peak_sustained_elapsed";
    "GPU Speed Of Light", "Achieved Value", "SM Frequency" => "smsp__cycles_elapsed.avg.per_second";
    "GPU Speed Of Light", "Roofline", "SM Frequency" => "sm__cycles_elapsed.avg.per_second";
    "GPU Speed Of Light Throughput", "", "SM Frequency" => "gpc__cycles_elapsed.avg.per_second";
    "GPU Speed Of Light", "", "SM Frequency" => "sm__cycles_elapsed.avg.per_second";
    "GPU Speed Of Light", "", "DRAM Frequency" => "dram__cycles_elapsed.avg.per_second";
    "GPU Speed Of Light", "", "DRAM Bandwidth" => "dram__bytes.sum.per_second";
    "GPU Speed Of Light", "", "Theoretical DRAM Bytes Accessible" => "dram__bytes.sum.peak_sustained";
    "GPU Speed Of Light", "", "Theoretical Predicated-On DFMA Operations"
        => "derived__sm__sass_thread_inst_executed_op_dfma_pred_on_x2";
    "GPU Speed Of Light", "", "Theoretical Predicated-On FFMA Operations"
        => "derived__sm__sass_thread_inst_executed_op_ffma_pred_on_x2";
    "GPU Speed Of Light", "", "Predicated-On DADD Thread Instructions Executed Per Cycle"
        => "smsp__sass_thread_inst_executed_op_dadd_pred_on.sum.per_cycle_elapsed";
    "GPU Speed Of Light", "", "Predicated-On DMUL Thread Instructions Executed Per Cycle"
        => "smsp__sass_thread_inst_executed_op_dmul_pred_on.sum.per_cycle_elapsed";
    "GPU Speed Of Light", "Achieved Value", "Predicated-On DFMA Operations Per Cycle"
        => "derived__smsp__sass_thread_inst_executed_op_dfma_pred_on_x2";
    "GPU Speed Of Light", "", "Predicated-On DFMA Operations Per Cycle"
        => "derived__smsp__sass_thread_inst_executed_op_dfma_pred_on_x2";
    "GPU Speed Of Light", "", "Predicated-On FADD Thread Instructions Executed Per Cycle"
        => "smsp__sass_thread_inst_executed_op_fadd_pred_on.sum.per_cycle_elapsed";
    "GPU Speed Of Light", "", "Predicated-On FMUL Thread Instructions Executed Per Cycle"
        => "smsp__sass_thread_inst_executed_op_fmul_pred_on.sum.per_cycle_elapsed";
    "GPU Speed Of Light", "", "Predicated-On FFMA Operations Per Cycle"
        => "derived__smsp__sass_thread_inst_executed_op_ffma_pred_on_x2";
    "GPU Speed Of Light", "", "Predicated-On HADD Thread Instructions Executed Per Cycle"
        => "smsp__sass_thread_inst_executed_op_hadd_pred_on.sum.per_cycle_elapsed";
    "GPU Speed Of Light", "", "Predicated-On HMUL Thread Instructions Executed Per Cycle"
        => "smsp__sass_thread_inst_executed_op_hmul_pred_on.sum.per_cycle_elapsed";
    "Launch Statistics", "", "Grid Size" => "launch__grid_size";
    "Launch Statistics", "", "Block Size" => "launch__block_size";
    "Launch Statistics", "", "Registers Per Thread" => "launch__registers_per_thread";
    "Occupancy", "", "Registers Per Thread" => "launch__registers_per_thread";
    "Launch Statistics", "", "Static Shared Memory Per Block" => "launch__shared_mem_per_block_static";
    "Launch Statistics", "", "Dynamic Shared Memory Per Block" => "launch__shared_mem_per_block_dynamic";
    "Memory Workload Analysis", "", "Memory Throughput" => "dram__bytes.sum.per_second";
};

/// The metric that a row's `name` stands for: the name itself, the one in `label (name)`, or that of a label.
pub(super) fn metric_of<'a>(section: &str, body: &str, name: &'a str) -> &'a str {
    if name.contains("__") {
        return inner_name(name);
    }
    LABELS
        .iter()
        .find(|l| l.label == name && section.starts_with(l.section) && body.ends_with(l.body))
        .map_or(name, |l| l.metric)
}

/// `Duration (gpu__time_duration.sum)` under `--print-metric-name label-name`.
fn inner_name(name: &str) -> &str {
    let inner = name.strip_suffix(')').and_then(|n| n.rsplit_once('(')).map(|(_, inner)| inner);
    inner.filter(|i| i.contains("__") && !i.contains(' ')).unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_label_means_what_its_section_says() {
        let name = "Memory Throughput";
        assert_eq!(metric_of("Memory Workload Analysis", "", name), "dram__bytes.sum.per_second");
        assert_eq!(metric_of("GPU Speed Of Light Throughput", "", name), name);
    }

    #[test]
    fn a_body_item_tells_the_achieved_clock_from_the_roof() {
        let section = "GPU Speed Of Light Roofline Chart";
        let of = |body| metric_of(section, body, "SM Frequency");
        assert_eq!(of("Single Precision Achieved Value"), "smsp__cycles_elapsed.avg.per_second");
        assert_eq!(of("Single Precision Roofline"), "sm__cycles_elapsed.avg.per_second");
    }

    #[test]
    fn a_label_with_its_name_gives_the_name() {
        assert_eq!(metric_of("x", "", "Duration (gpu__time_duration.sum)"), "gpu__time_duration.sum");
        assert_eq!(metric_of("x", "", "dram__bytes.sum"), "dram__bytes.sum");
    }
}
