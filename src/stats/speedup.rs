//! One duration against another: the speed-up, its interval, and the verdict that every command gives.

use super::bootstrap::{ENOUGH_VALUES, Interval, paired_ratio_interval, ratio_interval};
use super::grouped::Grouped;
use super::ranks::{self, Estimate};
use super::verdict::Verdict;
use super::{CONFIDENCE, normal, student};
use serde::{Deserialize, Serialize};

/// The least change in time that counts where none is named: under it lies what alignment and the day of measuring do
/// (Mytkowicz et al. 2009 found link order and environment size to move times by more).
pub const DEFAULT_THRESHOLD: f64 = 0.02;

/// The relative standard deviation assumed between processes of one program where each side is one process, so that
/// nothing was measured of it: what `scripts/false-alarms.sh` found on a virtual machine (docs/statistics.md).
pub const ASSUMED_SPREAD: f64 = 0.02;

/// The seed of bootstrap intervals, so that two files give the same report every time.
const SEED: u64 = 0;

/// How two sides were measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Design {
    /// Interleaved in the same processes: the n-th group, and in it the n-th value, of one side belongs to that of the other.
    Paired,
    /// Each in processes of its own.
    Apart {
        /// The relative standard deviation between processes, used only where each side is a single one.
        assumed_spread: f64,
    },
}

/// Where the interval comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// BCa bootstrap of the ratio of medians, by paired repetitions of one process.
    PairedBootstrap,
    /// BCa bootstrap of the ratio of medians, one process on each side, widened by an assumed spread between processes.
    AssumedSpread,
    /// Hodges and Lehmann's interval over the medians of processes.
    ProcessRanks,
    /// Student's t over the logarithms of medians of processes: few of them.
    ProcessStudent,
}

/// Old time / new time, with what may be said of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpeedUp {
    /// Above 1 is faster.
    pub speedup: f64,
    /// A 95 % interval for it; `None` where there are too few values.
    pub interval: Option<Interval>,
    /// Where the interval comes from; `None` without one.
    pub method: Option<Method>,
    /// What it allows to say.
    pub verdict: Verdict,
    /// Why nothing can be said, where that has a reason besides the interval.
    pub reason: Option<String>,
}

impl SpeedUp {
    /// Compares; a change under `threshold` (a fraction) is none.
    ///
    /// With one process on each side the speed-up is the ratio of medians, and its interval a BCa bootstrap; where the two
    /// processes are not the same, the interval is widened: with z the normal quantile, s the assumed spread and w the
    /// distance of an end from the centre (all logarithms), to sqrt(w^2 + 2 (z s)^2). With more processes, which are the unit
    /// that varies independently (Georges et al. 2007; Kalibera and Jones 2013), each counts by the logarithm of its median:
    /// the interval is that of Hodges and Lehmann where it exists, else Student's t with the variance of both sides pooled.
    pub fn new(old: &Grouped, new: &Grouped, design: Design, threshold: f64) -> Self {
        let found = if old.count().max(new.count()) > 1 {
            of_processes(old, new, design)
        } else {
            of_repetitions(old, new, design)
        };
        let (estimate, method) = found.map_or((None, None), |(e, method)| (Some(e), Some(method)));
        let ratio_of_medians = old.all().median() / new.all().median();
        let least = old.all().count().min(new.all().count());
        let reason = (least < ENOUGH_VALUES).then(|| {
            let s = if least == 1 { "" } else { "s" };
            format!("{least} repetition{s}: a verdict needs {ENOUGH_VALUES}; raise --repetitions")
        });
        let interval =
            estimate.map(|e| Interval { low: e.low.exp(), high: e.high.exp(), confidence: CONFIDENCE });
        let verdict = match reason {
            Some(_) => Verdict::Unclear,
            None => Verdict::of_speedup(interval, threshold),
        };
        let speedup = estimate.map_or(ratio_of_medians, |e| e.centre.exp());
        Self { speedup, interval, method, verdict, reason }
    }
}

/// The logarithm of the speed-up from the medians of processes.
fn of_processes(old: &Grouped, new: &Grouped, design: Design) -> Option<(Estimate, Method)> {
    let (before, after) = (old.log_medians()?, new.log_medians()?);
    if design == Design::Paired && before.len() == after.len() {
        let ratios: Vec<f64> = before.iter().zip(&after).map(|(a, b)| a - b).collect();
        let by_ranks = ranks::centre(&ratios, CONFIDENCE).map(|e| (e, Method::ProcessRanks));
        return by_ranks.or_else(|| Some((student_interval(&ratios, None)?, Method::ProcessStudent)));
    }
    let by_ranks = ranks::shift(&before, &after, CONFIDENCE).map(|e| (e, Method::ProcessRanks));
    by_ranks.or_else(|| Some((student_interval(&before, Some(&after))?, Method::ProcessStudent)))
}

/// The difference of means (or the mean of one), with the pooled variance of both.
fn student_interval(old: &[f64], new: Option<&[f64]>) -> Option<Estimate> {
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let squares = |values: &[f64]| values.iter().map(|v| (v - mean(values)).powi(2)).sum::<f64>();
    let sides: Vec<&[f64]> = std::iter::once(old).chain(new).collect();
    let dof = sides.iter().map(|side| side.len() - 1).sum::<usize>();
    if dof == 0 {
        return None;
    }
    let variance = sides.iter().map(|side| squares(side)).sum::<f64>() / dof as f64;
    let error = (variance * sides.iter().map(|side| 1.0 / side.len() as f64).sum::<f64>()).sqrt();
    let half = student::quantile(1.0 - (1.0 - CONFIDENCE) / 2.0, dof) * error;
    let centre = mean(old) - new.map_or(0.0, mean);
    Some(Estimate { centre, low: centre - half, high: centre + half })
}

/// The logarithm of the speed-up from the repetitions of one process on each side.
fn of_repetitions(old: &Grouped, new: &Grouped, design: Design) -> Option<(Estimate, Method)> {
    let (before, after) = (old.all(), new.all());
    let (interval, spread, method) = match design {
        Design::Paired => {
            (paired_ratio_interval(&before, &after, CONFIDENCE, SEED)?, 0.0, Method::PairedBootstrap)
        }
        Design::Apart { assumed_spread } => {
            (ratio_interval(&before, &after, CONFIDENCE, SEED)?, assumed_spread, Method::AssumedSpread)
        }
    };
    let centre = (before.median() / after.median()).ln();
    let z = normal::quantile(1.0 - (1.0 - CONFIDENCE) / 2.0);
    // The variances of independent differences add up, and so do the squares of half-widths.
    let extra = 2f64.sqrt() * z * spread;
    let (low, high) = (interval.low.ln(), interval.high.ln());
    let (low, high) = match extra > 0.0 {
        true => (centre - (centre - low).hypot(extra), centre + (high - centre).hypot(extra)),
        false => (low, high),
    };
    let estimate = Estimate { centre, low, high };
    (low.is_finite() && high.is_finite()).then_some((estimate, method))
}

#[cfg(test)]
mod tests {
    use super::*;

    const APART: Design = Design::Apart { assumed_spread: ASSUMED_SPREAD };

    fn one(values: &[f64]) -> Grouped {
        Grouped::new(vec![values.to_vec()]).unwrap()
    }

    /// Processes of three repetitions each around these medians.
    fn processes(medians: &[f64]) -> Grouped {
        Grouped::new(medians.iter().map(|m| vec![m * 0.99, *m, m * 1.01]).collect()).unwrap()
    }

    fn close(a: f64, b: f64) -> bool {
        (a / b - 1.0).abs() < 1e-9
    }

    #[test]
    fn one_process_on_each_side_is_widened_by_the_spread_assumed_between_them() {
        let (old, new) = (one(&[2.0; 9]), one(&[1.0; 9]));
        let found = SpeedUp::new(&old, &new, APART, 0.02);
        // exp(1.959964 x 0.02 x sqrt 2) = 1.057001.
        let interval = found.interval.unwrap();
        let factor = (1.959963984540054f64 * 0.02 * 2f64.sqrt()).exp();
        assert!(close(interval.high, 2.0 * factor) && close(interval.low, 2.0 / factor), "{interval:?}");
        assert_eq!((found.verdict, found.method), (Verdict::Faster, Some(Method::AssumedSpread)));
        // 4 % between two single processes may be chance.
        let found = SpeedUp::new(&one(&[1.04; 9]), &new, APART, 0.02);
        assert_eq!(found.verdict, Verdict::Unclear);
        let found = SpeedUp::new(&one(&[1.04; 9]), &new, Design::Apart { assumed_spread: 0.0 }, 0.02);
        assert_eq!(found.verdict, Verdict::Faster);
        let found = SpeedUp::new(&one(&[1.04; 9]), &new, Design::Paired, 0.02);
        assert_eq!((found.verdict, found.method), (Verdict::Faster, Some(Method::PairedBootstrap)));
    }

    #[test]
    fn many_processes_are_judged_by_their_medians() {
        let old = processes(&[1.00, 1.02, 1.04, 1.06, 1.30]);
        let new = processes(&[0.90, 0.91, 0.92, 0.93, 0.94]);
        let found = SpeedUp::new(&old, &new, APART, 0.02);
        assert_eq!((found.verdict, found.method), (Verdict::Faster, Some(Method::ProcessRanks)));
        // The third smallest and largest of 25 ratios: 1.00/0.94, 1.00/0.93, 1.02/0.94; 1.30/0.90, /0.91, /0.92.
        let interval = found.interval.unwrap();
        assert!(close(interval.low, 1.02 / 0.94) && close(interval.high, 1.30 / 0.92), "{interval:?}");
        // Between processes that differ by 10 % among themselves, 5 % is nothing to tell.
        let wide = processes(&[1.00, 1.10, 1.05, 0.95, 1.02]);
        let found = SpeedUp::new(&wide, &processes(&[0.95, 1.04, 1.00, 0.92, 0.97]), APART, 0.02);
        assert_eq!(found.verdict, Verdict::Unclear);
    }

    #[test]
    fn few_processes_are_judged_by_student_s_t() {
        // scipy 1.17.1: np.exp of ttest_ind(np.log([1.00, 1.01, 1.02]), np.log([0.90, 0.91, 0.92])).confidence_interval(.95)
        let (old, new) = ([1.00f64, 1.01, 1.02], [0.90f64, 0.91, 0.92]);
        let found = SpeedUp::new(&processes(&old), &processes(&new), APART, 0.02);
        assert_eq!(found.method, Some(Method::ProcessStudent));
        let interval = found.interval.unwrap();
        assert!(
            (interval.low - 1.0838907710215104).abs() < 1e-9
                && (interval.high - 1.136530319157161).abs() < 1e-9,
            "{interval:?}"
        );
        // One process against three: the variance is that of the three.
        let found = SpeedUp::new(&processes(&old), &processes(&new[..1]), APART, 0.02);
        assert_eq!(found.method, Some(Method::ProcessStudent));
        assert!(found.interval.is_some());
    }

    #[test]
    fn paired_processes_cancel_what_each_has_by_chance() {
        let old = processes(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        let new = processes(&[0.5, 1.0, 1.5, 2.0, 2.5, 3.0]);
        let found = SpeedUp::new(&old, &new, Design::Paired, 0.02);
        assert_eq!((found.verdict, found.method), (Verdict::Faster, Some(Method::ProcessRanks)));
        assert!(close(found.interval.unwrap().low, 2.0));
    }

    #[test]
    fn few_repetitions_bear_no_verdict_and_say_so() {
        let found = SpeedUp::new(&one(&[2.0; 4]), &one(&[1.0; 9]), Design::Paired, 0.02);
        assert_eq!(found.verdict, Verdict::Unclear);
        assert!(found.reason.unwrap().starts_with("4 repetitions: a verdict needs 5"));
        let found = SpeedUp::new(&one(&[2.0]), &one(&[1.0]), APART, 0.02);
        assert_eq!((found.interval, found.method, found.speedup), (None, None, 2.0));
    }
}
