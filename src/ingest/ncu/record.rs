//! One launch with its readings, made into a [`KernelRecord`].

use super::attribution::{self, Attribution};
use super::evaluate::Context;
use super::launches::Launch;
use super::metrics::Quantity;
use super::readings::Readings;
use super::{ceilings, checks, complete, resources, tensor, tensor_estimate};
use crate::profile::{
    ComputeCapability, Finding, FindingCode, KernelFlops, KernelRates, KernelRecord, Measured, short_name,
};

/// What a launch is called in findings, before and after its ID.
pub(super) fn about_around(record: &KernelRecord) -> [String; 2] {
    [format!("{}: launch ", record.file), format!(" of {}", short_name(&record.kernel))]
}

/// What a launch is called in findings.
pub(super) fn about(record: &KernelRecord) -> String {
    match &record.launch {
        Some(id) => about_around(record).join(id),
        None => format!("{}: {}", record.file, short_name(&record.kernel)),
    }
}

/// Makes the record of a launch.
pub(super) fn record(file: &str, launch: &Launch<'_>, readings: &Readings<'_>) -> KernelRecord {
    let mut record = identity(file, launch, readings);
    if readings.all_nan() {
        let message = "every counter is NaN: the launch failed or was not measured";
        let finding = Finding::new(FindingCode::LaunchInvalid, about(&record), message);
        record.findings.push(finding.with_remedy("see the profiler's messages; profile again"));
        return record;
    }
    measure(&mut record, launch, readings);
    scale_to_all_launches(&mut record);
    record
}

/// Everything but the values.
fn identity(file: &str, launch: &Launch<'_>, readings: &Readings<'_>) -> KernelRecord {
    let text = |cell: &str| Some(cell.trim()).filter(|c| !c.is_empty()).map(ToString::to_string);
    let in_cells = launch.nvtx.iter().flat_map(|cell| attribution::range_names(cell));
    let nvtx: Vec<String> = launch.ranges.iter().cloned().chain(in_cells).collect();
    let from = attribute(file, &launch.key.kernel, &nvtx);
    let mut record = KernelRecord {
        file: file.to_string(),
        launch: text(&launch.key.id),
        kernel: launch.key.kernel.to_string(),
        launches: integer(&launch.invocations).filter(|n| *n > 0).unwrap_or(1),
        process: text(&launch.key.process),
        device: text(&launch.device_name),
        compute_capability: capability(launch, readings),
        grid: text(&launch.grid).map(|g| extent(&g)).or_else(|| extent_of("grid", readings)),
        block: text(&launch.block).map(|b| extent(&b)).or_else(|| extent_of("block", readings)),
        context: text(&launch.context),
        stream: text(&launch.stream),
        nvtx,
        version: from.version,
        stage: from.stage,
        phase: from.phase,
        ..KernelRecord::default()
    };
    resources::set(&mut record, readings);
    record
}

/// Makes a record that of another launch of the same kernel; `place` is grid, block, context and stream.
pub(super) fn set_identity(record: &mut KernelRecord, id: &str, process: &str, place: [&str; 4]) {
    let set = |own: &mut Option<String>, text: &str| match own {
        Some(own) if own == text => {}
        Some(own) if !text.is_empty() => {
            own.clear();
            own.push_str(text);
        }
        _ => *own = (!text.is_empty()).then(|| text.to_string()),
    };
    set(&mut record.launch, id.trim());
    set(&mut record.process, process.trim());
    let [grid, block, context, stream] = place;
    for (own, cell) in [(&mut record.grid, grid.trim()), (&mut record.block, block.trim())] {
        if is_plain_extent(cell) {
            set(own, cell);
        } else if own.as_deref() != Some(cell) {
            *own = (!cell.is_empty()).then(|| extent(cell));
        }
    }
    set(&mut record.context, context.trim());
    set(&mut record.stream, stream.trim());
}

fn attribute(file: &str, kernel: &str, nvtx: &[String]) -> Attribution {
    let known = [attribution::from_ranges(nvtx), attribution::from_kernel_name(kernel)];
    known.into_iter().find(|a| !a.is_empty()).unwrap_or_else(|| attribution::from_file_name(file))
}

/// A count as summaries print it: plain, with groups, or with zero decimals.
fn integer(cell: &str) -> Option<u64> {
    let cell = cell.trim();
    let whole = [".000000", ".00", ",00"].iter().find_map(|zeros| cell.strip_suffix(zeros)).unwrap_or(cell);
    let digits: String = whole.chars().filter(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// `   16,   16,    1` as the graphical program writes it, like `(16, 16, 1)`.
fn extent(cell: &str) -> String {
    let parts: Vec<&str> = cell.trim_matches(['(', ')']).split(',').map(str::trim).collect();
    if parts.len() == 3 { format!("({})", parts.join(", ")) } else { cell.to_string() }
}

/// What the metrics of a launch say: `(16, 16, 1)`, or how many there are in all, like `256`.
fn extent_of(what: &str, readings: &Readings<'_>) -> Option<String> {
    let value = |part: &str| readings.value(&format!("launch__{what}_{part}"));
    match (value("dim_x"), value("dim_y"), value("dim_z")) {
        (Some(x), Some(y), Some(z)) => Some(format!("({x:.0}, {y:.0}, {z:.0})")),
        _ => value("size").map(|all| format!("{all:.0}")),
    }
}

/// Whether [`extent`] would change nothing: `(`, numbers with `, ` between them, `)`.
fn is_plain_extent(cell: &str) -> bool {
    let Some(inside) = cell.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) else { return false };
    let bytes = inside.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    bytes.iter().enumerate().all(|(at, byte)| match byte {
        b'0'..=b'9' => true,
        b',' => at > 0 && digit(at - 1) && bytes.get(at + 1) == Some(&b' '),
        b' ' => at > 0 && bytes[at - 1] == b',' && digit(at + 1),
        _ => false,
    })
}

fn capability(launch: &Launch<'_>, readings: &Readings<'_>) -> Option<ComputeCapability> {
    let column = launch.capability.trim().split_once('.').and_then(|(major, minor)| {
        Some(ComputeCapability { major: major.parse().ok()?, minor: minor.parse().ok()? })
    });
    column.or_else(|| {
        let attribute = |part: &str| {
            let value = readings.value(&format!("device__attribute_compute_capability_{part}"))?;
            (0.0..1000.0).contains(&value).then_some(value as u32)
        };
        Some(ComputeCapability { major: attribute("major")?, minor: attribute("minor")? })
    })
}

/// Adds what the readings say.
pub(super) fn measure(record: &mut KernelRecord, launch: &Launch<'_>, readings: &Readings<'_>) {
    let untimed = Context { readings, time: None, per_second: false };
    record.time = untimed.quantity(Quantity::Time).filter(|t| !t.lower_bound);
    let time = record.time.as_ref().map(|t| t.value);
    let context = Context { readings, time, per_second: false };
    record.dram_bytes = context.quantity(Quantity::DramBytes);
    record.l2_bytes = context.quantity(Quantity::L2Bytes);
    record.l1_bytes = context.quantity(Quantity::L1Bytes);
    record.dram_percent = context.quantity(Quantity::DramPercent);
    record.sm_percent = context.quantity(Quantity::SmPercent);
    record.flops = flops(&context, record.compute_capability, &record.kernel);
    record.ceilings = ceilings::ceilings(&context, record.compute_capability);
    if time.is_none() {
        record.rates = rates(readings);
    }
    record.missing = missing(record, readings);
    record.flops_complete = record.missing.is_empty();
    record.findings.extend(complete::finding(
        &about(record),
        &record.kernel,
        collected_flops(record),
        &record.missing,
    ));
    record.findings.extend(estimate_finding(record));
    record.findings.extend(checks::check(launch, &context, record));
}

/// The FLOPs of a launch by precision.
fn flops(context: &Context<'_, '_>, capability: Option<ComputeCapability>, kernel: &str) -> KernelFlops {
    let counted = tensor::counted(context);
    let estimate = || {
        let readings = (!context.per_second).then_some(context.readings)?;
        tensor_estimate::estimated(readings, capability, kernel)
    };
    KernelFlops {
        fp64: context.quantity(Quantity::Fp64),
        fp32: context.quantity(Quantity::Fp32),
        fp16: context.quantity(Quantity::Fp16),
        fp16_packed: context.quantity(Quantity::Fp16Packed),
        tensor: counted.total.or_else(estimate),
        tensor_by_type: counted.by_type,
    }
}

/// Rates of a launch without a time, if it has any.
fn rates(readings: &Readings<'_>) -> Option<KernelRates> {
    let context = Context { readings, time: None, per_second: true };
    let rates =
        KernelRates { flops: flops(&context, None, ""), dram_bytes: context.quantity(Quantity::DramBytes) };
    (rates != KernelRates::default()).then_some(rates)
}

fn collected_flops(record: &KernelRecord) -> &KernelFlops {
    match &record.rates {
        Some(rates) if record.flops.total().is_none() => &rates.flops,
        _ => &record.flops,
    }
}

fn missing(record: &KernelRecord, readings: &Readings<'_>) -> Vec<String> {
    complete::missing(record.compute_capability, collected_flops(record), readings)
}

fn estimate_finding(record: &KernelRecord) -> Option<Finding> {
    let tensor = record.flops.tensor.as_ref().filter(|t| t.estimated)?;
    let message = format!(
        "tensor FLOPs are estimated from an instruction count ({}); what one instruction does depends on its shape",
        tensor.source
    );
    let remedy = "collect sm__ops_path_tensor_src_*.sum, which counts operations (ncu 2023.3 and later)";
    Some(Finding::new(FindingCode::Estimated, about(record), message).with_remedy(remedy))
}

/// A summary holds means per launch: extensive values are multiplied by how many there were.
fn scale_to_all_launches(record: &mut KernelRecord) {
    if record.launches <= 1 {
        return;
    }
    let factor = record.launches as f64;
    let flops = &mut record.flops;
    let values = [&mut record.time, &mut record.dram_bytes, &mut record.l2_bytes, &mut record.l1_bytes]
        .into_iter()
        .chain([&mut flops.fp64, &mut flops.fp32, &mut flops.fp16, &mut flops.fp16_packed, &mut flops.tensor])
        .flatten()
        .chain(flops.tensor_by_type.values_mut());
    values.for_each(|m: &mut Measured| {
        m.value *= factor;
        m.source = format!("{} launches x mean of {}", record.launches, m.source);
    });
}
