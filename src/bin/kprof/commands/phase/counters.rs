//! `--counters`: what is traced and counted of kernels, prepared before anything is measured.

use crate::args::{Counted, PhaseArgs};
use crate::exit::usage;
use crate::gpu::{self, Device};
use kprof::attach::Presence;
use kprof::attach::ncu::{Offer, choose};
use kprof::backend::{Backend, CounterOffer, Cupti, CuptiError};
use kprof::ingest::ncu::{chip_named, chip_of};
use kprof::pass::Model;
use kprof::profile::{ComputeCapability, Finding, Record};
use kprof::runner::{KernelScenario, RunnerError, Scenario, Sink, count_kernels};

/// What was prepared.
pub(super) struct Counting {
    pub(super) kernels: KernelScenario,
    /// Who counts, for the run's header.
    pub(super) described: String,
    /// Metrics that the chip does not have, and what that means.
    findings: Vec<Finding>,
}

/// Finds CUPTI, and sees that it can do what is asked for; nothing where nothing is.
pub(super) fn prepare(args: &PhaseArgs, device: &Device) -> anyhow::Result<Option<Counting>> {
    let Some(counted) = args.counters else { return Ok(None) };
    let Device::Cuda(device) = device else {
        return Err(usage(format!("--counters {} is for --device cuda", counted.name())));
    };
    if args.processes > 1 {
        return Err(usage("--counters is for one process: leave --processes out"));
    }
    if let Some(tool) = Presence::of_process().tool {
        let reason = format!("{tool} is attached");
        return Err(CuptiError::Busy { call: "--counters", reason }.into());
    }
    let gpu = gpu::open(device)?;
    let cupti = Cupti::open(&gpu, args.cupti.as_deref())?;
    let (major, minor) = device.capability;
    let part = |n: i32| u32::try_from(n).unwrap_or(0);
    let capability = ComputeCapability { major: part(major), minor: part(minor) };
    let mut described = cupti.describe();
    let (mut counters, mut findings) = (None, Vec::new());
    if counted == Counted::Cupti {
        let offered = cupti.offer()?;
        let choice = choose("roofline", &offer(&offered, capability))?;
        let prepared = cupti.counters(&offered, &choice.metrics)?;
        let (metrics, passes) = (choice.metrics.len(), prepared.passes());
        described = format!("{described}, {metrics} metrics of {} in {passes} passes", offered.chip);
        findings = choice.findings;
        counters = Some((prepared, choice.metrics));
    }
    let kernels =
        KernelScenario { cupti, counters, file: String::new(), device: device.name.clone(), capability };
    Ok(Some(Counting { kernels, described, findings }))
}

fn offer(offered: &CounterOffer, capability: ComputeCapability) -> Offer {
    let name = offered.chip.to_lowercase();
    Offer {
        chip: chip_named(&name).or_else(|| chip_of(capability)),
        name: Some(name),
        names: Some(offered.metrics.clone()),
    }
}

impl Counting {
    /// Traces and counts every version.
    pub(super) fn run<B: Backend>(
        &mut self,
        backend: &mut B,
        model: &Model<B>,
        scenario: &Scenario,
        sink: &mut Sink<'_>,
    ) -> Result<(), RunnerError> {
        for finding in self.findings.drain(..) {
            (sink.record)(Record::Finding(finding))?;
        }
        count_kernels(backend, model, scenario, &mut self.kernels, sink)
    }
}
