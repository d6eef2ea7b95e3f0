//! A file's launches, taken as they go by.

use super::Given;
use super::flags::{by, only, selection};
use crate::args::RooflineArgs;
use kprof::hw::{self, Ceiling};
use kprof::ingest::{Classifier, IngestError, Meaning, Seen, fold_any};
use kprof::profile::Run;
use kprof::roofline::{Ceilings, CounterSums, Counters, Launches, Place, TimelineBuilder};
use std::path::Path;

/// A file that was read.
pub(super) struct Read {
    pub(super) run: Run,
    pub(super) taken: Taken,
}

/// What is taken from a file's launches as they go by.
pub(super) struct Taken {
    pub(super) launches: Launches,
    pub(super) timeline: TimelineBuilder,
    pub(super) counters: Counters,
    pub(super) sums: CounterSums,
}

/// Reads a file; the ceilings of the devices that it names are added.
pub(super) fn read(
    args: &RooflineArgs,
    given: &Given,
    checked: bool,
    file: &Path,
    ceilings: &mut Ceilings,
    rules: &mut Classifier,
) -> Result<Read, IngestError> {
    let empty = || Taken {
        launches: Launches::new(by(args.by), selection(args), only(args.precision)),
        timeline: TimelineBuilder::default(),
        counters: Counters::default(),
        sums: CounterSums::default(),
    };
    let joined = args.served.model.is_some();
    let mut add = |taken: &mut Taken, seen: Seen<'_>, of_run: &[Ceiling]| {
        let kernel = seen.record;
        kernel.device.iter().for_each(|name| add_device(ceilings, name));
        let mut place = || {
            let Meaning { stage, phase, op, version, class } = rules.meaning(kernel);
            Place { version, stage: given.stage.or(stage), phase, op, class }
        };
        if kernel.timeline.is_none() && given.only_stage.is_none() && !checked {
            return taken.launches.push_alike(kernel, seen.alike, place, ceilings, of_run);
        }
        let place = place();
        if given.only_stage.is_some_and(|only| place.stage != Some(only)) {
            return;
        }
        if joined {
            taken.counters.push(kernel, place.stage);
        }
        if checked {
            taken.sums.push(kernel, &place);
        }
        taken.timeline.push(kernel, &place);
        taken.launches.push_alike(kernel, seen.alike, || place, ceilings, of_run);
    };
    let (mut run, mut taken) = fold_any(file, empty, |taken, seen| add(taken, seen, &[]))?;
    let kept = std::mem::take(&mut run.kernels);
    kept.iter().for_each(|record| add(&mut taken, Seen { record, alike: None }, &run.ceilings));
    run.devices.extend(kept.into_iter().filter_map(|k| k.device));
    run.devices.dedup();
    run.device_names().into_iter().for_each(|name| add_device(ceilings, name));
    Ok(Read { run, taken })
}

fn add_device(ceilings: &mut Ceilings, name: &str) {
    if !ceilings.by_device.iter().any(|(known, _)| known == name) {
        let of_device = hw::find_device(name).map(|spec| spec.ceilings.clone());
        ceilings.by_device.push((name.to_string(), of_device.unwrap_or_default()));
    }
}
