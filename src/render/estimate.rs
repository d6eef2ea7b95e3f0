//! An [`Estimate`] as tables, Markdown, JSON and CSV; every one of them says ANALYTIC.

use super::roofline_export::{to_csv, to_json};
use super::table::{Column, Table, in_scale, in_wide_scale, or_na, percent, significant};
use crate::llm::{Arithmetic, Stage};
use crate::roofline::{Bound, Estimate, EstimatePoint, WorkEstimate};
use crate::units::{Bytes, Flops, Scale, Seconds, format_si};
use serde::Serialize;

/// The version of the JSON of `kprof estimate`.
pub const ESTIMATE_SCHEMA_VERSION: u32 = 1;

/// What stands over every estimate.
const MARK: &str = "ANALYTIC: floors from shapes and ceilings; nothing was measured";

/// What is estimated: model, types and ranks; device and its ceilings; what they imply for every batch.
pub fn estimate_heading(e: &Estimate) -> String {
    let d = &e.deployment;
    let active = if e.active_parameters == e.parameters {
        String::new()
    } else {
        format!(" ({} active)", grouped(e.active_parameters))
    };
    let arithmetic = if Arithmetic::from(d.activations) == d.arithmetic {
        String::new()
    } else {
        format!(" multiplied in {}", d.arithmetic)
    };
    let ranks = match d.tensor_parallel {
        1 => String::new(),
        n => format!("  tensor parallel {n}, per rank"),
    };
    let ridge = match e.ridge_batch {
        Some(batch) => format!("batch {batch}"),
        None => "no batch".to_string(),
    };
    let linear = &e.linear_ceiling;
    format!(
        "kprof estimate  {MARK}\n\
         {}  {} parameters{active}\n\
         weights {}{arithmetic}  KV cache {}{ranks}\n\
         {}  {} {} ({})\n\
         linears: {} {} ({})\n\
         ridge: {} FLOP/B; linears of a decode step are compute-bound from {ridge} on",
        e.model,
        grouped(e.parameters),
        d.weights,
        kv_name(e),
        e.device,
        e.bandwidth.name(),
        e.bandwidth.value_text(),
        e.bandwidth.source.label(),
        linear.name(),
        linear.value_text(),
        linear.source.label(),
        significant(Some(e.ridge_flop_per_byte)),
    )
}

/// `6,738,415,616`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let groups = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy);
    groups.collect::<Vec<_>>().join(",")
}

fn kv_name(e: &Estimate) -> String {
    let kv = &e.deployment.kv;
    let name = kv.element.name();
    kv.group.map_or_else(|| name.to_string(), |group| format!("{name}:{group}"))
}

/// A row per context and batch.
pub fn estimate_table(e: &Estimate) -> Table {
    let points = || e.points.iter();
    let ttft = Scale::for_values(points().map(|p| p.ttft_floor_s), Seconds::UNIT);
    let tpot = Scale::for_values(points().map(|p| p.tpot_floor_s), Seconds::UNIT);
    let bytes = Scale::for_values(points().flat_map(|p| [p.kv_bytes, p.needed_bytes]), Bytes::UNIT);
    let mut table = Table::new(vec![
        Column::number("context", "tokens"),
        Column::number("batch", ""),
        Column::number("prompt", "tokens").dispensable(5),
        Column::number("TTFT >=", &ttft.unit),
        Column::text("prefill bound").dispensable(4),
        Column::number("TPOT >=", &tpot.unit),
        Column::text("decode bound").dispensable(3),
        Column::number("throughput <=", "tokens/s"),
        Column::number("KV cache", &bytes.unit).dispensable(2),
        Column::number("memory", &bytes.unit),
        Column::text("fits"),
        Column::number("largest batch", "").dispensable(1),
    ]);
    for p in &e.points {
        table.push(vec![
            p.context.to_string(),
            p.batch.to_string(),
            p.prompt.to_string(),
            in_wide_scale(&ttft, p.ttft_floor_s),
            p.prefill.total.bound.to_string(),
            in_wide_scale(&tpot, p.tpot_floor_s),
            p.decode.total.bound.to_string(),
            significant(Some(p.max_tokens_per_s)),
            in_wide_scale(&bytes, p.kv_bytes),
            in_wide_scale(&bytes, p.needed_bytes),
            or_na(p.fits.map(|fits| if fits { "yes" } else { "no" }.to_string())),
            or_na(p.largest_batch.map(|batch| batch.to_string())),
        ]);
    }
    table
}

/// What bounds each phase of both stages of one point.
pub fn estimate_phases(point: &EstimatePoint) -> Table {
    let stages = [(Stage::Prefill, &point.prefill), (Stage::Decode, &point.decode)];
    let rows = || stages.iter().flat_map(|(_, of)| of.phases.iter().map(|p| &p.work).chain([&of.total]));
    let flops = Scale::for_values(rows().map(|w| w.matmul_flops), Flops::UNIT);
    let bytes = Scale::for_values(rows().map(|w| w.weight_bytes), Bytes::UNIT);
    let time = Scale::for_values(rows().map(|w| w.floor_s), Seconds::UNIT);
    let mut table = Table::new(vec![
        Column::text("stage"),
        Column::text("phase"),
        Column::number("FLOPs", &flops.unit),
        Column::number("weights", &bytes.unit),
        Column::number("KV cache", &bytes.unit),
        Column::number("activations", &bytes.unit).dispensable(1),
        Column::number("FLOP/B", ""),
        Column::number("time >=", &time.unit),
        Column::number("share", "%"),
        Column::text("bound"),
    ]);
    for (stage, of) in stages {
        table.space();
        let named = of.phases.iter().map(|p| (p.phase.name(), &p.work)).chain([("total", &of.total)]);
        for (i, (phase, work)) in named.enumerate() {
            table.push(vec![
                if i == 0 { stage.to_string() } else { String::new() },
                phase.to_string(),
                in_scale(&flops, work.matmul_flops),
                in_scale(&bytes, work.weight_bytes),
                in_scale(&bytes, work.cache_bytes),
                in_scale(&bytes, work.activation_bytes),
                significant(work.flop_per_byte),
                in_scale(&time, work.floor_s),
                percent(Some(work.floor_s / of.total.floor_s)),
                work.bound.to_string(),
            ]);
        }
    }
    table
}

/// What the tables leave out, in lines.
pub fn estimate_notes(e: &Estimate) -> Vec<String> {
    let memory = e.memory_bytes.map_or("unknown memory".to_string(), |m| format_si(m, Bytes::UNIT));
    let mut notes = vec![
        format!(
            "memory: weights {} and the cache, of {memory}; activations and workspace come on top",
            format_si(e.weight_bytes, Bytes::UNIT)
        ),
        "floors: weights and cache once per step at the bandwidth, or matrix FLOPs (the column FLOPs) at the peak, op \
         by op; activations, elementwise work, launches and the host are left out"
            .to_string(),
    ];
    if let Some(first) = e.points.first().filter(|p| !p.decode.collectives.is_empty()) {
        let sent = |stage: &crate::roofline::StageEstimate| {
            let bytes: f64 = stage.collectives.iter().map(|c| c.sent_bytes.0).sum();
            format_si(bytes, Bytes::UNIT)
        };
        notes.push(format!(
            "each rank sends at least {} per prefill and {} per decode step (batch {}, prompt {}): not in the floors",
            sent(&first.prefill),
            sent(&first.decode),
            first.batch,
            first.prompt
        ));
    }
    notes
}

/// Heading, tables and notes as Markdown.
pub fn estimate_markdown(e: &Estimate) -> String {
    let heading = estimate_heading(e).lines().map(|l| format!("{l}  \n")).collect::<String>();
    let mut out = format!("{heading}\n{}", estimate_table(e).to_markdown());
    if let Some(first) = e.points.first() {
        out += &format!("\n{}:\n\n{}", phases_title(first), estimate_phases(first).to_markdown());
    }
    let findings = e.findings.iter().map(|f| format!("\n- {}: {}", f.about, f.message));
    out + &estimate_notes(e).iter().map(|n| format!("\n- {n}")).chain(findings).collect::<String>() + "\n"
}

/// What the table of phases is of.
pub fn phases_title(point: &EstimatePoint) -> String {
    format!("One step at batch {}, context {}, prompt {}", point.batch, point.context, point.prompt)
}

#[derive(Serialize)]
struct Document<'a> {
    schema_version: u32,
    kprof_version: &'static str,
    kind: &'static str,
    note: &'static str,
    #[serde(flatten)]
    estimate: &'a Estimate,
    definitions: Definitions,
}

#[derive(Serialize)]
struct Definitions {
    ttft_floor_s: &'static str,
    tpot_floor_s: &'static str,
    max_tokens_per_s: &'static str,
    ridge_batch: &'static str,
    floor_s: &'static str,
    needed_bytes: &'static str,
    bytes: &'static str,
}

/// The whole estimate as JSON, down to every op.
pub fn estimate_json(e: &Estimate) -> String {
    to_json(&Document {
        schema_version: ESTIMATE_SCHEMA_VERSION,
        kprof_version: env!("CARGO_PKG_VERSION"),
        kind: "ANALYTIC",
        note: MARK,
        estimate: e,
        definitions: Definitions {
            ttft_floor_s: "floor of one prefill step of batch x prompt tokens",
            tpot_floor_s: "floor of one decode step of batch tokens, each attending to context tokens",
            max_tokens_per_s: "batch / tpot_floor_s, of all ranks together",
            ridge_batch: "smallest batch at which the decode step's linears take as long to compute as their weights to \
                          read",
            floor_s: "sum over ops of max((weight_bytes + cache_bytes) / bandwidth, matmul_flops / peak)",
            needed_bytes: "weights and cache of one rank",
            bytes: "of one rank and one step",
        },
    })
}

#[derive(Serialize)]
struct CsvRow<'a> {
    kind: &'static str,
    model: &'a str,
    device: &'a str,
    weights: String,
    kv_cache: String,
    tensor_parallel: usize,
    context: usize,
    batch: usize,
    prompt: usize,
    stage: Stage,
    phase: &'static str,
    floor_s: f64,
    bound: Bound,
    matmul_flops: f64,
    elementwise_flops: f64,
    weight_bytes: f64,
    cache_bytes: f64,
    activation_bytes: f64,
    flop_per_byte: Option<f64>,
    tokens_per_s: Option<f64>,
    kv_bytes: f64,
    needed_bytes: f64,
    fits: Option<bool>,
    largest_batch: Option<usize>,
}

/// A row per point, stage and phase.
pub fn estimate_csv(e: &Estimate) -> String {
    to_csv(e.points.iter().flat_map(|point| {
        let stages = [(Stage::Prefill, &point.prefill), (Stage::Decode, &point.decode)];
        stages.into_iter().flat_map(move |(stage, of)| {
            let phases = of.phases.iter().map(|p| (p.phase.name(), &p.work));
            phases.chain([("total", &of.total)]).map(move |(phase, work)| row(e, point, stage, phase, work))
        })
    }))
}

fn row<'a>(
    e: &'a Estimate,
    point: &EstimatePoint,
    stage: Stage,
    phase: &'static str,
    work: &WorkEstimate,
) -> CsvRow<'a> {
    let whole_decode = stage == Stage::Decode && phase == "total";
    CsvRow {
        kind: "ANALYTIC",
        model: &e.model,
        device: &e.device,
        weights: e.deployment.weights.to_string(),
        kv_cache: kv_name(e),
        tensor_parallel: e.deployment.tensor_parallel,
        context: point.context,
        batch: point.batch,
        prompt: point.prompt,
        stage,
        phase,
        floor_s: work.floor_s,
        bound: work.bound,
        matmul_flops: work.matmul_flops,
        elementwise_flops: work.elementwise_flops,
        weight_bytes: work.weight_bytes,
        cache_bytes: work.cache_bytes,
        activation_bytes: work.activation_bytes,
        flop_per_byte: work.flop_per_byte,
        tokens_per_s: whole_decode.then_some(point.max_tokens_per_s),
        kv_bytes: point.kv_bytes,
        needed_bytes: point.needed_bytes,
        fits: point.fits,
        largest_batch: point.largest_batch,
    }
}

#[cfg(test)]
mod tests;
