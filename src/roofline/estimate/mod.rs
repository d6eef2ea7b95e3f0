//! What a model can do at most on a device, from its shape and the device's ceilings alone: nothing is measured.
//!
//! The floor of an op is max((weights + cache bytes) / DRAM bandwidth, matrix FLOPs / peak); that of a phase, a stage
//! or a step is the sum of its ops', which run one after the other. Weights and cache have to come from device memory
//! in every step; activations may stay on the chip and elementwise work may hide behind the rest, so neither is in the
//! floor. It ignores launches, the exchange between ranks, sampling and the host: a bound, not a prediction.

mod arithmetic;
mod points;
#[cfg(test)]
mod tests;

pub use points::estimate_points;

use super::attainable::{Bound, Floor, floor};
use super::ceilings::CeilingSet;
use crate::hw::{Ceiling, DeviceSpec};
use crate::llm::{Collective, Cost, Deployment, ModelOp, ModelSpec, Parameters, Phase, Stage, StepShape};
use crate::profile::{Finding, FindingCode};
use crate::units::Bytes;
use arithmetic::Units;
use serde::Serialize;

/// What is to be estimated.
#[derive(Clone, Debug)]
pub struct EstimateRequest<'a> {
    /// The model.
    pub model: &'a ModelSpec,
    /// How it is served.
    pub deployment: Deployment,
    /// One rank's device.
    pub device: &'a DeviceSpec,
    /// Sequences side by side.
    pub batches: &'a [usize],
    /// Tokens in the cache when a token is decoded, itself included.
    pub contexts: &'a [usize],
    /// Prompt tokens of each sequence; the context where `None`.
    pub prompt: Option<usize>,
}

/// Why nothing can be estimated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EstimateError {
    /// The device has no ceiling that a floor needs.
    #[error("no {what} is known for {device}; describe the device with one in a --device-spec file")]
    NoCeiling {
        /// The device.
        device: String,
        /// What is missing.
        what: String,
    },
    /// The ranks cannot share the model.
    #[error(transparent)]
    Deployment(#[from] crate::llm::DeploymentError),
}

/// An estimate of one model on one device.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The model's name.
    pub model: String,
    /// Its parameters.
    pub parameters: u64,
    /// The parameters that one token's pass multiplies with.
    pub active_parameters: u64,
    /// The device's name.
    pub device: String,
    /// How the model is served.
    pub deployment: Deployment,
    /// What linears are held against.
    pub linear_ceiling: Ceiling,
    /// What attention and the head are held against.
    pub attention_ceiling: Ceiling,
    /// What bytes are held against.
    pub bandwidth: Ceiling,
    /// The intensity at which linears change from memory-bound to compute-bound, in FLOP/B.
    pub ridge_flop_per_byte: f64,
    /// The smallest batch whose decode step keeps the linears' arithmetic at least as busy as their weights keep
    /// memory; `None` where no batch does.
    pub ridge_batch: Option<usize>,
    /// Memory of one rank's device.
    pub memory_bytes: Option<f64>,
    /// Bytes of one rank's weights.
    pub weight_bytes: f64,
    /// One point per context and batch.
    pub points: Vec<EstimatePoint>,
    /// What a reader should know before believing the numbers.
    pub findings: Vec<Finding>,
    /// Parameters by component.
    #[serde(skip)]
    pub components: Parameters,
}

/// One batch at one context.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EstimatePoint {
    /// Sequences side by side.
    pub batch: usize,
    /// Tokens in the cache when a token is decoded, itself included.
    pub context: usize,
    /// Prompt tokens of each sequence.
    pub prompt: usize,
    /// The shortest time to the first token of the batch's prompts, computed together.
    pub ttft_floor_s: f64,
    /// The shortest time between a sequence's tokens.
    pub tpot_floor_s: f64,
    /// The most tokens per second of all sequences together: batch / TPOT floor.
    pub max_tokens_per_s: f64,
    /// Bytes of one rank's cache.
    pub kv_bytes: f64,
    /// Bytes of one rank's weights and cache; activations and workspace come on top.
    pub needed_bytes: f64,
    /// Whether those fit; `None` where the device's memory is not known.
    pub fits: Option<bool>,
    /// The largest batch whose weights and cache fit; `None` where the device's memory is not known.
    pub largest_batch: Option<usize>,
    /// The step that computes the prompts.
    pub prefill: StageEstimate,
    /// The step that computes one token of each sequence.
    pub decode: StageEstimate,
}

/// Work and floor of some ops of one rank's step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct WorkEstimate {
    /// FLOPs of matrix products.
    pub matmul_flops: f64,
    /// FLOPs of everything else; not in the floor.
    pub elementwise_flops: f64,
    /// Bytes of weights.
    pub weight_bytes: f64,
    /// Bytes read from and written to the KV cache.
    pub cache_bytes: f64,
    /// Bytes of activations, each op's inputs and outputs once; not in the floor.
    pub activation_bytes: f64,
    /// Matrix FLOPs per byte of weights and cache; `None` where there is none.
    pub flop_per_byte: Option<f64>,
    /// The shortest time.
    pub floor_s: f64,
    /// What bounds it.
    pub bound: Bound,
}

/// One stage's step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageEstimate {
    /// The whole step.
    pub total: WorkEstimate,
    /// Its phases, in order.
    pub phases: Vec<PhaseEstimate>,
    /// What ranks send each other.
    pub collectives: Vec<Collective>,
}

/// One phase of a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhaseEstimate {
    /// The phase.
    pub phase: Phase,
    /// All of its ops.
    #[serde(flatten)]
    pub work: WorkEstimate,
    /// Its ops, each in all of its layers.
    pub ops: Vec<OpEstimate>,
}

/// One op in all of its layers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OpEstimate {
    /// What it is called in records.
    pub label: &'static str,
    /// How many layers run it.
    pub layers: usize,
    /// Its work and floor.
    #[serde(flatten)]
    pub work: WorkEstimate,
}

impl WorkEstimate {
    fn new(cost: &Cost, floor: Floor) -> Self {
        let bytes = cost.compulsory_bytes().0;
        let flops = cost.work.matmul_flops.0;
        Self {
            matmul_flops: flops,
            elementwise_flops: cost.work.elementwise_flops.0,
            weight_bytes: cost.weight_bytes.0,
            cache_bytes: cost.cache_bytes.0,
            activation_bytes: cost.activation_bytes().0,
            flop_per_byte: (bytes > 0.0).then(|| flops / bytes),
            floor_s: floor.time_s,
            bound: floor.bound(None),
        }
    }
}

/// Estimates `request`.
///
/// # Errors
/// When the ranks cannot share the model, or the device lacks a bandwidth or any compute ceiling.
pub fn estimate(request: &EstimateRequest<'_>) -> Result<Estimate, EstimateError> {
    let EstimateRequest { model, deployment, device, .. } = request;
    deployment.check(model)?;
    let ceilings = CeilingSet::new(device.ceilings.clone());
    let no_ceiling = |what: &str| EstimateError::NoCeiling { device: device.name.clone(), what: what.into() };
    let bandwidth = ceilings.dram().ok_or_else(|| no_ceiling("DRAM bandwidth"))?.clone();
    let (units, mut findings) = Units::resolve(deployment, &device.name, &ceilings)
        .ok_or_else(|| no_ceiling(&format!("peak of {} arithmetic", deployment.activations)))?;
    findings.extend(notes(request));
    let analysis = Analysis { request, ceilings: &ceilings, units: &units };
    let linear_ceiling = units.linears.ceiling.clone();
    Ok(Estimate {
        model: model.name.clone(),
        parameters: model.parameters(),
        active_parameters: model.active_parameters(),
        components: model.parameter_table(),
        device: device.name.clone(),
        deployment: *deployment,
        ridge_flop_per_byte: linear_ceiling.value / bandwidth.value,
        ridge_batch: analysis.ridge_batch(bandwidth.value),
        linear_ceiling,
        attention_ceiling: units.others.ceiling.clone(),
        bandwidth,
        memory_bytes: device.memory_bytes,
        weight_bytes: model.weight_bytes(deployment).0,
        points: request
            .contexts
            .iter()
            .flat_map(|context| request.batches.iter().map(|batch| analysis.point(*batch, *context)))
            .collect(),
        findings,
    })
}

/// What holds for the request as a whole.
fn notes(request: &EstimateRequest<'_>) -> Vec<Finding> {
    let EstimateRequest { model, contexts, prompt, .. } = request;
    let mut findings = Vec::new();
    let longest = contexts.iter().copied().chain(*prompt).max().unwrap_or(0);
    let limit = model.max_position_embeddings;
    if longest > limit {
        let message = format!("{longest} tokens are more than the {limit} positions of the model");
        findings.push(Finding::new(FindingCode::BeyondPositions, model.name.clone(), message));
    }
    if let Some(moe) = &model.moe {
        let message = format!(
            "the weights read are those of the experts that tokens are expected to touch if they choose {} of {} evenly \
             and independently; a router with favourites reads fewer",
            moe.num_experts_per_tok, moe.num_experts
        );
        findings.push(Finding::new(FindingCode::Estimated, model.name.clone(), message));
    }
    findings
}

/// Batches above this are not looked at for the ridge.
const LARGEST_BATCH: usize = 1 << 24;

struct Analysis<'a> {
    request: &'a EstimateRequest<'a>,
    ceilings: &'a CeilingSet,
    units: &'a Units,
}

impl Analysis<'_> {
    fn point(&self, batch: usize, context: usize) -> EstimatePoint {
        let EstimateRequest { model, deployment, device, prompt, .. } = self.request;
        let prompt = prompt.unwrap_or(context);
        let prefill = self.stage(Stage::Prefill, &StepShape { batch, new_tokens: prompt, context: prompt });
        let decode = self.stage(Stage::Decode, &StepShape { batch, new_tokens: 1, context });
        let weights = model.weight_bytes(deployment).0;
        let of_sequence = model.kv_bytes(deployment, context).0;
        let kv_bytes = of_sequence * batch as f64;
        let needed_bytes = weights + kv_bytes;
        EstimatePoint {
            batch,
            context,
            prompt,
            ttft_floor_s: prefill.total.floor_s,
            tpot_floor_s: decode.total.floor_s,
            max_tokens_per_s: batch as f64 / decode.total.floor_s,
            kv_bytes,
            needed_bytes,
            fits: device.memory_bytes.map(|memory| needed_bytes <= memory),
            largest_batch: device
                .memory_bytes
                .map(|memory| ((memory - weights).max(0.0) / of_sequence).floor() as usize),
            prefill,
            decode,
        }
    }

    fn stage(&self, stage: Stage, step: &StepShape) -> StageEstimate {
        let EstimateRequest { model, deployment, .. } = self.request;
        let ops: Vec<(ModelOp, Cost, Floor)> = model
            .ops(deployment, stage)
            .into_iter()
            .map(|op| {
                let cost = op.cost(step);
                let floor = self.floor(&op, &cost);
                (op, cost, floor)
            })
            .collect();
        let sum = |keep: &dyn Fn(&ModelOp) -> bool| {
            let kept = || ops.iter().filter(|(op, ..)| keep(op));
            WorkEstimate::new(&kept().map(|(_, c, _)| *c).sum(), kept().map(|(.., f)| *f).sum())
        };
        let of_phase = |phase: Phase| PhaseEstimate {
            phase,
            work: sum(&|op| op.phase == phase),
            ops: ops
                .iter()
                .filter(|(op, ..)| op.phase == phase)
                .map(|(op, cost, floor)| OpEstimate {
                    label: op.label,
                    layers: op.layers,
                    work: WorkEstimate::new(cost, *floor),
                })
                .collect(),
        };
        StageEstimate {
            total: sum(&|_| true),
            phases: Phase::ALL.map(of_phase).into(),
            collectives: model.collectives(deployment, step),
        }
    }

    fn floor(&self, op: &ModelOp, cost: &Cost) -> Floor {
        let demand = self.units.of(op).demand(cost.work.matmul_flops.0);
        let floor = floor(cost.compulsory_bytes().0, &[demand], self.ceilings);
        floor.expect("bandwidth and the units' peaks are known: the units were resolved from these ceilings")
    }

    /// The smallest batch of a decode step at which the linears whose weights the deployment stores take at least as
    /// long to compute as to read: sum of FLOPs / peak >= sum of weight bytes / bandwidth.
    fn ridge_batch(&self, bandwidth: f64) -> Option<usize> {
        let EstimateRequest { model, deployment, .. } = self.request;
        let ops = model.ops(deployment, Stage::Decode);
        let linears: Vec<&ModelOp> = ops.iter().filter(|op| op.weights.is_some()).collect();
        let peak = self.units.linears.ceiling.value;
        let busy = |batch: usize| {
            let step = StepShape { batch, new_tokens: 1, context: 1 };
            let total: Cost = linears.iter().map(|op| op.cost(&step)).sum();
            let Bytes(weights) = total.weight_bytes;
            total.work.matmul_flops.0 / peak >= weights / bandwidth
        };
        // FLOPs grow with the batch and weights at most as fast, so that once busy is always busy.
        if !busy(LARGEST_BATCH) {
            return None;
        }
        let (mut low, mut high) = (0, LARGEST_BATCH);
        while high - low > 1 {
            let middle = usize::midpoint(low, high);
            if busy(middle) { high = middle } else { low = middle }
        }
        Some(high)
    }
}
