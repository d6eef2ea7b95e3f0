//! The figures that `kprof plot` and `kprof report` draw: a table of them, one file each.

mod cache;
mod capacity;
mod crossover;
mod heatmap;
mod input;
mod itl;
mod kernels;
mod latency;
mod layers;
mod memory;
mod op_times;
mod pareto;
mod perplexity;
mod phases_grouped;
mod phases_share;
mod rooflines;
mod samples;
mod scenarios;
mod series;
mod speedup;
mod steps;
mod telemetry;
mod throughput;
mod trajectory;

pub use input::FigureInput;

use super::{ChartOptions, Figure};
use crate::profile::Run;

/// A figure that can be drawn of runs.
pub struct FigureKind {
    /// The name on the command line, and of its file.
    pub name: &'static str,
    /// One line for lists.
    pub shows: &'static str,
    /// The records that it is drawn from.
    pub needs: &'static str,
    /// A command that records them.
    pub command: &'static str,
    /// Whether a run has records that it is drawn from.
    of: fn(&Run) -> bool,
    /// Draws it; `None` where the runs lack what it needs.
    draw: fn(&FigureInput, &ChartOptions) -> Option<Figure>,
}

/// The figure that cannot be drawn, and what would help.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{files} {has} no {needs}, which the figure '{name}' is drawn from; record them with: {command}")]
pub struct MissingRecords {
    /// The figure.
    pub name: &'static str,
    /// What was looked into.
    pub files: String,
    has: &'static str,
    /// What it lacks.
    pub needs: &'static str,
    /// What records it.
    pub command: &'static str,
}

impl FigureKind {
    /// The runs that it is drawn from, for its line of provenance.
    pub fn runs<'a>(&self, input: &'a FigureInput) -> impl Iterator<Item = &'a Run> {
        let of = self.of;
        input.runs.iter().filter(move |run| of(run))
    }

    /// Draws it.
    ///
    /// # Errors
    /// When the runs lack the records that it is made of.
    pub fn draw(&self, input: &FigureInput, options: &ChartOptions) -> Result<Figure, MissingRecords> {
        (self.draw)(input, options).ok_or_else(|| MissingRecords {
            name: self.name,
            files: input.files().join(", "),
            has: if input.files().len() == 1 { "has" } else { "have" },
            needs: self.needs,
            command: self.command,
        })
    }
}

/// Steps of one scenario.
const TIMED: fn(&Run) -> bool = |run| !input::is_sweep(run) && !run.steps.is_empty();
const KERNELS: fn(&Run) -> bool = |run| !run.kernels.is_empty();
const POINTS: fn(&Run) -> bool = |run| TIMED(run) || KERNELS(run);

const PHASE: &str = "kprof phase --version v0 v1 -o run.jsonl";
const STEPS: &str = "timed steps";
const MARKED: &str = "instrumented steps";

/// Every figure, in the order of lists and reports.
pub const FIGURES: &[FigureKind] = &[
    FigureKind {
        name: "roofline",
        shows: "every kernel, or phase of every version in prefill and decode, against the ceilings",
        needs: "points with FLOPs, bytes and a time",
        command: "kprof phase --version v0 v1 -o run.jsonl, or kprof ncu -- PROGRAM",
        of: POINTS,
        draw: rooflines::all,
    },
    FigureKind {
        name: "roofline-versions",
        shows: "whole steps of every version in prefill and decode, coloured by version",
        needs: MARKED,
        command: PHASE,
        of: TIMED,
        draw: rooflines::versions,
    },
    FigureKind {
        name: "roofline-levels",
        shows: "each kernel once per level of memory, joined: how well caches serve it",
        needs: "launches with bytes of L2 or L1",
        command: "kprof ncu -- PROGRAM",
        of: KERNELS,
        draw: rooflines::levels,
    },
    FigureKind {
        name: "roofline-precision",
        shows: "each kernel once per precision, against that precision's own ceiling",
        needs: "launches with FLOPs of two precisions",
        command: "kprof ncu -- PROGRAM",
        of: KERNELS,
        draw: rooflines::precision,
    },
    FigureKind {
        name: "roofline-changes",
        shows: "arrows from each kernel or phase of the first run to the same of later ones",
        needs: "kernels or phases in common with a second run",
        command: "kprof plot before.jsonl after.jsonl --figure roofline-changes",
        of: POINTS,
        draw: rooflines::changed,
    },
    FigureKind {
        name: "roofline-trajectory",
        shows: "how decode steps move over the roofline as the context or the batch grows",
        needs: "decode steps at two contexts or batches",
        command: "kprof phase --version v0 v1 -n 128 -o run.jsonl, or kprof crossover v1 v2 --batches 1-16*2 -o run.jsonl",
        of: |r| TIMED(r) || !r.decode_points.is_empty(),
        draw: trajectory::figure,
    },
    FigureKind {
        name: "phases",
        shows: "time per step by phase, stacked",
        needs: MARKED,
        command: PHASE,
        of: TIMED,
        draw: phases_grouped::stacked,
    },
    FigureKind {
        name: "phases-grouped",
        shows: "time per step by phase, side by side, with intervals",
        needs: MARKED,
        command: PHASE,
        of: TIMED,
        draw: phases_grouped::figure,
    },
    FigureKind {
        name: "phases-share",
        shows: "each phase's share of a step",
        needs: MARKED,
        command: PHASE,
        of: TIMED,
        draw: phases_share::figure,
    },
    FigureKind {
        name: "phases-layers",
        shows: "time of each layer by phase",
        needs: "instrumented steps whose ops name their layer",
        command: PHASE,
        of: TIMED,
        draw: layers::figure,
    },
    FigureKind {
        name: "ops-layers",
        shows: "heat map of the time of each op in each layer",
        needs: "instrumented steps whose ops name their layer",
        command: PHASE,
        of: TIMED,
        draw: heatmap::figure,
    },
    FigureKind {
        name: "throughput",
        shows: "tokens per second in prefill and decode, with intervals",
        needs: STEPS,
        command: PHASE,
        of: TIMED,
        draw: throughput::figure,
    },
    FigureKind {
        name: "speedup",
        shows: "speed-up of each version against one of them (--against), with intervals and verdicts",
        needs: "timed steps of two versions or runs",
        command: PHASE,
        of: TIMED,
        draw: speedup::figure,
    },
    FigureKind {
        name: "scenarios",
        shows: "time of a whole generation in each run, by version",
        needs: "plain prefill and decode steps",
        command: PHASE,
        of: TIMED,
        draw: scenarios::figure,
    },
    FigureKind {
        name: "cache",
        shows: "bytes of the KV cache of each version: by formula, allocated, touched",
        needs: "cache records with bytes",
        command: "kprof phase --version v1-v4 -o run.jsonl",
        of: |r| !r.caches.is_empty(),
        draw: cache::figure,
    },
    FigureKind {
        name: "latency",
        shows: "time of a generation against its length, in all and per token, with fits carried on",
        needs: "latency records",
        command: "kprof latency --version v0 v1 -o latency.jsonl",
        of: |r| !r.latencies.is_empty(),
        draw: latency::figure,
    },
    FigureKind {
        name: "memory",
        shows: "memory against the number of tokens: weights, caches, activations, and the cache by formula",
        needs: "memory records",
        command: "kprof memory --version v0 v1 -o memory.jsonl",
        of: |r| !r.memory.is_empty(),
        draw: memory::figure,
    },
    FigureKind {
        name: "capacity",
        shows: "the largest batch that fits a memory budget, found and in theory",
        needs: "capacity records",
        command: "kprof capacity --version v1 v2 -o capacity.jsonl",
        of: |r| !r.capacities.is_empty(),
        draw: capacity::figure,
    },
    FigureKind {
        name: "crossover",
        shows: "decode steps of two versions over the context, by batch, and from where the second one pays",
        needs: "decode steps of two versions at several contexts or batches",
        command: "kprof crossover v1 v2 -o crossover.jsonl",
        of: |r| !r.decode_points.is_empty(),
        draw: crossover::figure,
    },
    FigureKind {
        name: "perplexity",
        shows: "perplexity of each version, and by how much it is worse than the reference's, in zones",
        needs: "perplexities",
        command: "kprof perplexity --version v0-v4 -o quality.jsonl",
        of: |r| !r.qualities.is_empty(),
        draw: perplexity::figure,
    },
    FigureKind {
        name: "pareto",
        shows: "time of a decode step, perplexity and cache bytes of each version, and which version beats which",
        needs: "decode steps of two versions with their perplexities or caches",
        command: "kprof phase --version v1-v4 --preset grammar -o run.jsonl and kprof perplexity --version v1-v4 --preset grammar \
                  -o quality.jsonl, then kprof plot run.jsonl quality.jsonl --figure pareto",
        of: |r| TIMED(r) || !r.qualities.is_empty(),
        draw: pareto::figure,
    },
    FigureKind {
        name: "samples",
        shows: "every repetition's time per step: distribution function and box",
        needs: STEPS,
        command: PHASE,
        of: TIMED,
        draw: samples::figure,
    },
    FigureKind {
        name: "steps",
        shows: "time of each decode step over the generation",
        needs: "two decode steps",
        command: "kprof phase --version v0 v1 -n 64 -o run.jsonl",
        of: TIMED,
        draw: steps::figure,
    },
    FigureKind {
        name: "itl",
        shows: "histogram of the times between tokens",
        needs: "plain decode steps",
        command: "kprof phase --version v0 v1 -n 64 -o run.jsonl",
        of: TIMED,
        draw: itl::figure,
    },
    FigureKind {
        name: "telemetry",
        shows: "clocks, power, temperature and CPU time over the run",
        needs: "telemetry or usage records",
        command: "kprof phase --version v0 v1 --telemetry-interval 100ms -o run.jsonl",
        of: |r| !r.telemetry.is_empty() || !r.usage.is_empty(),
        draw: telemetry::figure,
    },
    FigureKind {
        name: "kernels",
        shows: "the kernels that take the most time, and all the rest",
        needs: "kernel launches with times",
        command: "kprof ncu -- PROGRAM, or kprof import TRACE",
        of: KERNELS,
        draw: kernels::figure,
    },
];
