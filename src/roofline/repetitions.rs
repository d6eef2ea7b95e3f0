//! The steps of one version, stage and twin, by repetition.

use crate::llm::Stage;
use crate::profile::{Run, StepRecord, Twin};
use crate::stats::Sample;
use std::collections::BTreeMap;

/// Whole repetitions, by their number: those that have as many steps as the longest. An interrupted one is left out,
/// because its mean would be over other steps than theirs.
pub struct Repetitions<'a> {
    steps: BTreeMap<usize, Vec<&'a StepRecord>>,
}

impl<'a> Repetitions<'a> {
    /// Those of `version`, `stage` and `twin`.
    pub fn of(run: &'a Run, version: &str, stage: Stage, twin: Twin) -> Self {
        let mut steps: BTreeMap<usize, Vec<&StepRecord>> = BTreeMap::new();
        let chosen = run.steps.iter().filter(|s| s.version == version && s.stage == stage);
        let longest = {
            let mut counts: BTreeMap<(TwinKey, usize), usize> = BTreeMap::new();
            for step in chosen.clone() {
                *counts.entry((step.twin.into(), step.repetition)).or_default() += 1;
            }
            counts.values().copied().max().unwrap_or(0)
        };
        for step in chosen.filter(|s| s.twin == twin) {
            steps.entry(step.repetition).or_default().push(step);
        }
        steps.retain(|_, s| s.len() == longest);
        Self { steps }
    }

    /// How many repetitions there are.
    pub fn count(&self) -> usize {
        self.steps.len()
    }

    /// Steps in each repetition.
    pub fn steps_each(&self) -> usize {
        self.steps.values().next().map_or(0, Vec::len)
    }

    /// The steps of the first repetition: those of the others have the same shapes.
    pub(super) fn first(&self) -> &[&'a StepRecord] {
        self.steps.values().next().map_or(&[], Vec::as_slice)
    }

    /// Of each repetition, the mean over its steps of what `value` gives; `None` where it gives none for any.
    pub fn means(&self, value: impl Fn(&StepRecord) -> Option<f64>) -> Option<Sample> {
        let mean = |steps: &Vec<&StepRecord>| {
            let values: Option<Vec<f64>> = steps.iter().map(|s| value(s)).collect();
            values.map(|v| v.iter().sum::<f64>() / v.len() as f64)
        };
        Sample::new(self.steps.values().map(mean).collect::<Option<_>>()?).ok()
    }

    /// Seconds per step of each repetition, by its number: the mean over its steps.
    pub(super) fn means_by_number(&self) -> BTreeMap<usize, f64> {
        let mean =
            |steps: &Vec<&StepRecord>| steps.iter().map(|s| s.time_s).sum::<f64>() / steps.len() as f64;
        self.steps.iter().map(|(number, steps)| (*number, mean(steps))).collect()
    }

    /// Of the repetitions that have both stages, the time of all steps: `self` being one stage and `other` the next.
    pub fn whole(&self, other: &Self) -> BTreeMap<usize, f64> {
        let total = |steps: &Vec<&StepRecord>| steps.iter().map(|s| s.time_s).sum::<f64>();
        let sum = |(number, steps): (&usize, &Vec<&StepRecord>)| {
            Some((*number, total(steps) + total(other.steps.get(number)?)))
        };
        self.steps.iter().filter_map(sum).collect()
    }

    /// Seconds per step: the mean over steps of each repetition.
    pub fn step_times(&self) -> Option<Sample> {
        self.means(|s| Some(s.time_s))
    }

    /// Of each repetition, the part of its steps' time that recorded ops cover.
    pub(super) fn coverage(&self) -> Option<Sample> {
        let of = |steps: &Vec<&StepRecord>| {
            let covered: Option<f64> = steps.iter().map(|s| s.covered_s()).sum();
            covered.map(|c| c / steps.iter().map(|s| s.time_s).sum::<f64>())
        };
        Sample::new(self.steps.values().map(of).collect::<Option<_>>()?).ok()
    }

    /// For each repetition that `plain` has too: this one's time over the plain one's, minus 1.
    pub(super) fn overhead(&self, plain: &Self) -> Option<Sample> {
        let total = |steps: &Vec<&StepRecord>| steps.iter().map(|s| s.time_s).sum::<f64>();
        let ratio = |(r, steps): (&usize, &Vec<&StepRecord>)| {
            plain.steps.get(r).map(|p| total(steps) / total(p) - 1.0)
        };
        Sample::new(self.steps.iter().filter_map(ratio).collect()).ok()
    }
}

/// [`Twin`] as a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct TwinKey(bool);

impl From<Twin> for TwinKey {
    fn from(twin: Twin) -> Self {
        Self(twin == Twin::Instrumented)
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::phase_run;
    use super::*;

    #[test]
    fn an_interrupted_repetition_is_left_out() {
        let mut run = phase_run();
        run.steps.pop();
        let of = |twin| Repetitions::of(&run, "v1", Stage::Decode, twin);
        assert_eq!((of(Twin::Instrumented).count(), of(Twin::Plain).count()), (2, 3));
        assert_eq!(of(Twin::Plain).steps_each(), 2);
    }

    #[test]
    fn means_are_over_the_steps_and_overhead_is_paired() {
        let run = phase_run();
        let plain = Repetitions::of(&run, "v1", Stage::Decode, Twin::Plain);
        let instrumented = Repetitions::of(&run, "v1", Stage::Decode, Twin::Instrumented);
        // 10 units of 0.505 ms in the middle repetition.
        assert!((plain.step_times().unwrap().median() - 5.05e-3).abs() < 1e-12);
        assert!((instrumented.overhead(&plain).unwrap().median() - 0.02).abs() < 1e-12);
        assert!((instrumented.coverage().unwrap().median() - 0.9).abs() < 1e-12);
    }
}
