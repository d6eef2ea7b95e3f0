//! How long one version took, repetition by repetition, and what may be said when two are held against each other.

use super::repetitions::Repetitions;
use crate::llm::Stage;
use crate::profile::{Run, TimingMethod, Twin};
use crate::stats::{ASSUMED_SPREAD, Design, Grouped, Sample, SpeedUp};
use std::collections::BTreeMap;

/// What two sides of a comparison share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// Versions of one run: the same repetitions of the same processes.
    Repetitions,
    /// Rounds: the n-th process of one side ran beside the n-th of the other.
    Processes,
    /// Nothing.
    Apart,
}

/// One duration of the plain twin in seconds by repetition, and which process each repetition is of.
#[derive(Clone, Debug, PartialEq)]
pub struct Durations {
    values: BTreeMap<usize, f64>,
    /// The first repetition of each process but the first.
    later_processes: Vec<usize>,
    scripted: bool,
}

impl Durations {
    /// Seconds per step of `version` in `stage`: the mean over steps of each repetition.
    pub fn of_stage(run: &Run, version: &str, stage: Stage) -> Self {
        let values = Repetitions::of(run, version, stage, Twin::Plain).means_by_number();
        Self::new(run, version, values)
    }

    /// Seconds of a whole generation of `version`: all steps of the repetitions that have both stages.
    pub fn of_generation(run: &Run, version: &str) -> Self {
        let stage = |stage| Repetitions::of(run, version, stage, Twin::Plain);
        Self::new(run, version, stage(Stage::Prefill).whole(&stage(Stage::Decode)))
    }

    fn new(run: &Run, version: &str, values: BTreeMap<usize, f64>) -> Self {
        let of = |s: &&crate::profile::StepRecord| s.version == version;
        let scripted = run.steps.iter().find(of).is_some_and(|s| s.method == TimingMethod::Scripted);
        let later_processes = run.processes.iter().map(|p| p.first_repetition).filter(|r| *r > 0).collect();
        Self { values, later_processes, scripted }
    }

    /// All of them as one sample; `None` where there are none.
    pub fn sample(&self) -> Option<Sample> {
        Sample::new(self.values.values().copied().collect()).ok()
    }

    fn grouped(&self) -> Option<Grouped> {
        let mut groups: Vec<Vec<f64>> = vec![Vec::new(); self.later_processes.len() + 1];
        for (repetition, value) in &self.values {
            let process = self.later_processes.iter().filter(|first| repetition >= first).count();
            groups[process].push(*value);
        }
        Grouped::new(groups).ok()
    }

    /// Old against new. Of sides that share repetitions, only those that both have count. `None` where a side has none.
    pub fn compare(
        old: &Self,
        new: &Self,
        pairing: Pairing,
        threshold: f64,
    ) -> Option<(SpeedUp, [Sample; 2])> {
        let (mut old, mut new) = (old.clone(), new.clone());
        if pairing == Pairing::Repetitions {
            old.values.retain(|repetition, _| new.values.contains_key(repetition));
            new.values.retain(|repetition, _| old.values.contains_key(repetition));
        }
        // A scripted clock says the same in every process.
        let assumed_spread = if old.scripted && new.scripted { 0.0 } else { ASSUMED_SPREAD };
        let design = match pairing {
            Pairing::Apart => Design::Apart { assumed_spread },
            Pairing::Repetitions | Pairing::Processes => Design::Paired,
        };
        let (before, after) = (old.grouped()?, new.grouped()?);
        Some((SpeedUp::new(&before, &after, design, threshold), [before.all(), after.all()]))
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::phase_run;
    use super::*;
    use crate::profile::ProcessRecord;
    use crate::stats::{Method, Verdict};

    /// [`phase_run`] four times over, as four processes whose times are `factors` times the usual.
    fn processes(factors: [f64; 4]) -> Run {
        let mut run = phase_run();
        let once = std::mem::take(&mut run.steps);
        for (i, factor) in factors.into_iter().enumerate() {
            run.processes.push(ProcessRecord { first_repetition: 3 * i, started: None });
            for step in &once {
                let method = TimingMethod::HostClock;
                let (repetition, time_s) = (step.repetition + 3 * i, step.time_s * factor);
                run.steps.push(crate::profile::StepRecord { repetition, time_s, method, ..step.clone() });
            }
        }
        run
    }

    #[test]
    fn repetitions_are_grouped_by_process_so_that_what_differs_between_processes_counts() {
        let (old, new) = (processes([1.0, 1.2, 1.1, 1.3]), processes([1.05, 1.25, 1.15, 1.35]));
        let of = |run: &Run| Durations::of_stage(run, "v1", Stage::Decode);
        let (found, [before, _]) = Durations::compare(&of(&old), &of(&new), Pairing::Apart, 0.02).unwrap();
        assert_eq!(before.count(), 12);
        assert_eq!((found.method, found.verdict), (Some(Method::ProcessRanks), Verdict::Unclear));
        // Versions of one run share their processes: each halves its decode step.
        let v0 = Durations::of_stage(&old, "v0", Stage::Decode);
        let (found, _) = Durations::compare(&v0, &of(&old), Pairing::Repetitions, 0.02).unwrap();
        assert_eq!((found.method, found.verdict), (Some(Method::ProcessStudent), Verdict::Faster));
    }

    #[test]
    fn a_generation_is_the_sum_of_its_steps() {
        let whole = Durations::of_generation(&phase_run(), "v1");
        let (_, [sample, _]) = Durations::compare(&whole, &whole, Pairing::Repetitions, 0.02).unwrap();
        // Repetition 0: 10 ms and two steps of 5 ms.
        assert!((sample.values()[0] - 20e-3).abs() < 1e-12);
    }
}
