//! Commands that were run in turns, held against the first of them: their wall times, and the runs that they wrote.

use super::align::{CompareError, Named, pair_up};
use super::pair::compare_pair_as;
use super::report::{PairReport, TimeChange};
use super::unlike::Aspect;
use crate::profile::Run;
use crate::roofline::Pairing;
use crate::stats::{Design, Grouped, Sample, SpeedUp};

/// The seed of bootstrap intervals.
const SEED: u64 = 0;

/// A command with what its rounds gave.
#[derive(Clone, Debug)]
pub struct MeasuredCommand {
    /// What it is called.
    pub name: String,
    /// Wall time of each round; the n-th of all commands ran one after another.
    pub times_s: Vec<f64>,
    /// What it wrote, one process for each round.
    pub run: Option<Run>,
}

/// Each later command against the first: the wall time of all, then version by version the runs of those that wrote one.
/// Rounds are what varies: a process of one side is paired with that of the other.
///
/// # Errors
/// When runs have nothing in common, or are unlike in an aspect that `allowed` lacks.
pub fn compare_commands(
    all: &[MeasuredCommand],
    allowed: &[Aspect],
    threshold: f64,
) -> Result<Vec<PairReport>, CompareError> {
    let Some((first, others)) = all.split_first() else { return Ok(Vec::new()) };
    let mut pairs: Vec<PairReport> =
        others.iter().filter_map(|other| wall(first, other, threshold)).collect();
    let named = |c: &MeasuredCommand| {
        let run = c.run.clone()?;
        Some(Named::new(Run { file: c.name.clone(), ..run }, None))
    };
    let runs = all.iter().filter_map(named).collect::<Result<Vec<_>, _>>()?;
    if runs.len() > 1 {
        let of_runs = pair_up(&runs, allowed)?;
        pairs.extend(
            of_runs.into_iter().map(|(old, new)| compare_pair_as(old, new, Pairing::Processes, threshold)),
        );
    }
    Ok(pairs)
}

fn wall(old: &MeasuredCommand, new: &MeasuredCommand, threshold: f64) -> Option<PairReport> {
    let rounds = |c: &MeasuredCommand| Grouped::new(c.times_s.iter().map(|t| vec![*t]).collect()).ok();
    let summary = |c: &MeasuredCommand| Some(Sample::new(c.times_s.clone()).ok()?.summary(SEED));
    let change = SpeedUp::new(&rounds(old)?, &rounds(new)?, Design::Paired, threshold);
    let time = TimeChange { what: "wall", old: summary(old)?, new: summary(new)?, change };
    Some(PairReport {
        old: old.name.clone(),
        new: new.name.clone(),
        rank: None,
        paired: true,
        processes: [old, new].map(|c| c.times_s.len()),
        unlike: Vec::new(),
        times: vec![time],
        stages: Vec::new(),
        memory: Default::default(),
        perplexity: None,
        comparison: Default::default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::{Method, Verdict};

    fn command(name: &str, times_s: &[f64]) -> MeasuredCommand {
        MeasuredCommand { name: name.into(), times_s: times_s.to_vec(), run: None }
    }

    #[test]
    fn rounds_are_paired_so_that_what_hits_both_sides_cancels() {
        let machine = [1.0, 1.5, 2.0, 1.2, 1.8, 1.1, 1.4];
        let old = command("1", &machine);
        let slower: Vec<f64> = machine.iter().map(|t| t * 1.1).collect();
        let pairs = compare_commands(&[old.clone(), command("2", &slower), old], &[], 0.05).unwrap();
        assert_eq!(pairs.len(), 2);
        let change = &pairs[0].times[0].change;
        assert_eq!((change.verdict, change.method), (Verdict::Slower, Some(Method::ProcessRanks)));
        assert!((change.speedup - 1.0 / 1.1).abs() < 1e-12);
        assert_eq!(pairs[1].times[0].change.verdict, Verdict::Same);
    }
}
