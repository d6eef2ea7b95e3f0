//! The run files of the ranks of one launch as one file, in which every record keeps its rank.
//!
//! A merged file begins with a `merged` record; every further line is a line of a rank's file with its number added, as `of_rank`. Ranks
//! are never repetitions of each other: nothing here adds or averages them.

use super::{ClockRecord, KprofInfo, RankInfo, Run, RunConfig};
use serde::{Deserialize, Serialize};

/// The head of a merged file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MergedRecord {
    /// The format's version; the first field, so that it can be read before anything else.
    pub format_version: u32,
    /// Which kprof merged.
    pub kprof: KprofInfo,
    /// The command line.
    pub command: Vec<String>,
    /// When it was merged, RFC 3339 in UTC.
    pub merged: String,
    /// How many ranks were launched; `None` where no launcher said.
    #[serde(default)]
    pub world_size: Option<usize>,
    /// The ranks that are here, in order.
    pub ranks: Vec<MergedRank>,
    /// The ranks that were launched and are not here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<usize>,
}

/// One rank of a merged file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct MergedRank {
    /// Its number.
    pub rank: usize,
    /// The file it came from, as given.
    pub file: String,
    /// The machine it ran on.
    #[serde(default)]
    pub host: Option<String>,
    /// Where its clock stands against the first rank's.
    pub clock: ClockOffset,
}

/// Where the clock of one rank stands against that of the first one here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ClockOffset {
    /// How it was determined.
    pub method: OffsetMethod,
    /// What is added to a time of this rank (from the start of its telemetry) to have it on the first one's clock; `None`
    /// where it cannot be known.
    pub offset_s: Option<f64>,
    /// How far off that may be; `None` where it cannot be known.
    pub uncertainty_s: Option<f64>,
    /// By how much this rank's wall clock was moved against its monotonic one while it measured, by NTP or by hand: what the
    /// offset by wall clocks is off by at least. `None` where it was not looked at twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_moved_s: Option<f64>,
}

/// How the offset of a clock was determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OffsetMethod {
    /// It is the clock that others are held against.
    Reference,
    /// Both read one monotonic clock: that of one machine.
    MonotonicClock,
    /// By the wall clocks of two machines, whose agreement is not known.
    WallClock,
    /// Not at all: a file has no moment of a common clock.
    Unknown,
}

impl ClockOffset {
    /// Of a clock that nothing is known of.
    fn unknown() -> Self {
        Self { method: OffsetMethod::Unknown, offset_s: None, uncertainty_s: None, wall_moved_s: None }
    }

    /// Of `run` against `reference`.
    ///
    /// A moment stands in each file on the run's clock (`at`) and on a clock of the machine (`there`): the run's clock was 0
    /// at `there - at`, and the offset is the difference of the two zeros. Where both files read one monotonic clock, each
    /// zero is uncertain by what its reading took; of the wall clocks of two machines nobody knows how far they agree.
    pub fn between(reference: &[ClockRecord], run: &[ClockRecord]) -> Self {
        let (Some(first), Some(own)) = (reference.first(), run.first()) else { return Self::unknown() };
        let wall_moved_s = wall_moved_s(run);
        let offset = |from: u64, to: u64| {
            // Differences of ns are exact in i128 and small enough for f64.
            let zero = |there: u64, at: u64| i128::from(there) - i128::from(at);
            (zero(to, own.at_ns) - zero(from, first.at_ns)) as f64 * 1e-9
        };
        let same = own.monotonic_clock.is_some() && own.monotonic_clock == first.monotonic_clock;
        if let Some((from, to)) = first.monotonic_ns.zip(own.monotonic_ns).filter(|_| same) {
            return Self {
                method: OffsetMethod::MonotonicClock,
                offset_s: Some(offset(from, to)),
                uncertainty_s: Some((first.within_ns + own.within_ns) as f64 * 1e-9),
                wall_moved_s,
            };
        }
        Self {
            method: OffsetMethod::WallClock,
            offset_s: Some(offset(first.wall_unix_ns, own.wall_unix_ns)),
            uncertainty_s: None,
            wall_moved_s,
        }
    }
}

/// How far the wall clock moved against the monotonic one between the first and the last look.
fn wall_moved_s(clocks: &[ClockRecord]) -> Option<f64> {
    let (first, last) = clocks.first().zip(clocks.last()).filter(|_| clocks.len() > 1)?;
    let passed = |to: u64, from: u64| i128::from(to) - i128::from(from);
    let monotonic = passed(last.monotonic_ns?, first.monotonic_ns?);
    Some((passed(last.wall_unix_ns, first.wall_unix_ns) - monotonic) as f64 * 1e-9)
}

/// Why runs are no ranks of one launch.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// A run was measured by no rank.
    #[error(
        "{file} says no rank: it was measured by a process of its own, not under torchrun, mpirun or srun; repetitions of \
         one program are joined by `kprof phase --processes` or compared by `kprof compare`"
    )]
    NoRank {
        /// The file.
        file: String,
    },
    /// A run is not whole.
    #[error("{file} ended before it was complete; `--partial` takes it as it is")]
    Incomplete {
        /// The file.
        file: String,
    },
    /// Two files are of one rank.
    #[error("{first} and {second} are both of rank {rank}: a launch has each rank once")]
    Duplicate {
        /// The rank.
        rank: usize,
        /// The one.
        first: String,
        /// The other.
        second: String,
    },
    /// Two files are of different launches.
    #[error("{first} and {second} are not of one launch: they differ in {what} ({one} against {other})")]
    Different {
        /// The one.
        first: String,
        /// The other.
        second: String,
        /// In what.
        what: &'static str,
        /// As the one has it.
        one: String,
        /// As the other has it.
        other: String,
    },
    /// Ranks are not there.
    #[error(
        "rank{s} {} of {size} {is} missing; name their files too, or take what is there with `--partial`",
        list(missing), s = if missing.len() == 1 { "" } else { "s" }, is = if missing.len() == 1 { "is" } else { "are" }
    )]
    Missing {
        /// Which.
        missing: Vec<usize>,
        /// Of how many.
        size: usize,
    },
    /// No file says how many ranks there were.
    #[error(
        "no file says how many ranks were launched, so that a missing one cannot be told; `--partial` takes what is there"
    )]
    SizeNotKnown,
}

fn list(ranks: &[usize]) -> String {
    ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Puts the runs in order and checks that they are the ranks of one launch; gives those that are missing.
///
/// # Errors
/// When a run has no rank, a rank is there twice, two runs are of different launches, or (unless `partial`) one is
/// incomplete, missing, or may be missing.
pub fn check_ranks(runs: &mut [Run], partial: bool) -> Result<Vec<usize>, MergeError> {
    for run in runs.iter() {
        if run.rank().is_none() {
            return Err(MergeError::NoRank { file: run.file.clone() });
        }
        if !partial && !run.complete {
            return Err(MergeError::Incomplete { file: run.file.clone() });
        }
    }
    let number = |run: &Run| run.rank().map_or(0, |r| r.rank);
    runs.sort_by_key(number);
    for pair in runs.windows(2) {
        different(&pair[0], &pair[1])?;
        if number(&pair[0]) == number(&pair[1]) {
            let (first, second) = (pair[0].file.clone(), pair[1].file.clone());
            return Err(MergeError::Duplicate { rank: number(&pair[0]), first, second });
        }
    }
    let Some(size) = runs.first().and_then(|run| run.rank()?.world_size) else {
        return if partial { Ok(Vec::new()) } else { Err(MergeError::SizeNotKnown) };
    };
    let missing: Vec<usize> = (0..size).filter(|r| !runs.iter().any(|run| number(run) == *r)).collect();
    match missing.is_empty() || partial {
        true => Ok(missing),
        false => Err(MergeError::Missing { missing, size }),
    }
}

/// What ranks have alike: its name, and how a run says it.
type Alike = (&'static str, fn(&Run) -> Option<String>);

/// What the ranks of one launch have alike.
const ALIKE: &[Alike] = &[
    ("the launcher", |run| Some(run.rank()?.launcher.clone())),
    ("the number of ranks", |run| Some(run.rank()?.world_size.map_or("n/a".into(), |n| n.to_string()))),
    ("the launch", |run| run.rank()?.job.clone()),
    ("kprof's version", |run| {
        let kprof = &run.manifest.as_ref()?.kprof;
        Some(format!("{} {}", kprof.version, kprof.revision.as_deref().unwrap_or("n/a")))
    }),
    ("the benchmark", |run| Some(config(run)?.benchmark.clone())),
    ("the model", |run| Some(config(run)?.model.name.clone())),
    ("the shape of the model", |run| serde_json::to_string(&config(run)?.model).ok()),
    ("the weights", |run| serde_json::to_string(&config(run)?.weights).ok()),
    ("the type", |run| Some(config(run)?.model_and_types())),
    ("the implementation", |run| Some(config(run)?.implementation.clone())),
    ("the mode of execution", |run| config(run)?.exec.clone()),
    ("the prompt length", |run| Some(config(run)?.prompt_length.to_string())),
    ("the output tokens", |run| Some(format!("{} {:?}", config(run)?.tokens, config(run)?.lengths))),
    ("the batch", |run| Some(config(run)?.batch.to_string())),
    ("the versions", |run| {
        Some(config(run)?.versions.iter().map(|v| v.name.as_str()).collect::<Vec<_>>().join(", "))
    }),
    ("what versions mean", |run| serde_json::to_string(&config(run)?.versions).ok()),
];

fn config(run: &Run) -> Option<&RunConfig> {
    run.manifest.as_ref()?.config.as_ref()
}

fn different(first: &Run, second: &Run) -> Result<(), MergeError> {
    let said = |value: Option<String>| value.unwrap_or_else(|| "n/a".to_string());
    let found = ALIKE.iter().find(|(_, of)| of(first) != of(second));
    found.map_or(Ok(()), |(what, of)| {
        Err(MergeError::Different {
            first: first.file.clone(),
            second: second.file.clone(),
            what,
            one: said(of(first)),
            other: said(of(second)),
        })
    })
}

/// The ranks of `runs`, which [`check_ranks`] put in order, with their clocks against the first one's.
pub fn merged_ranks(runs: &[Run]) -> Vec<MergedRank> {
    let Some(reference) = runs.first() else { return Vec::new() };
    let of = |(i, run): (usize, &Run)| {
        let clock = match i {
            0 => ClockOffset {
                method: OffsetMethod::Reference,
                offset_s: Some(0.0),
                uncertainty_s: Some(0.0),
                wall_moved_s: wall_moved_s(&run.clocks),
            },
            _ => ClockOffset::between(&reference.clocks, &run.clocks),
        };
        let host = run.manifest.as_ref().and_then(|m| m.host.hostname.clone());
        MergedRank { rank: run.rank().map_or(i, |r| r.rank), file: run.file.clone(), host, clock }
    };
    runs.iter().enumerate().map(of).collect()
}

/// A line of a run file with the rank that it is of added as its last field, `of_rank` (some records have a `rank` besides); nothing else of it is changed.
pub(super) fn with_rank(line: &str, rank: usize) -> Option<String> {
    let inside = line.trim_end().strip_suffix('}')?;
    Some(format!("{inside},\"of_rank\":{rank}}}"))
}

/// The line as it was before [`with_rank`]; `None` where it is of another rank.
pub(super) fn without_rank(line: &str, rank: usize) -> Option<String> {
    let inside = line.trim_end().strip_suffix(&format!(",\"of_rank\":{rank}}}"))?;
    Some(format!("{inside}}}"))
}

/// A run file of several ranks, each a run of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct RankRuns {
    /// The file.
    pub file: String,
    /// Its head.
    pub head: MergedRecord,
    /// The runs, in the order of [`MergedRecord::ranks`]; each is called `FILE@RANK`.
    pub runs: Vec<Run>,
}

impl Run {
    /// The rank that measured it; `None` where nothing launched it as one of several.
    pub fn rank(&self) -> Option<&RankInfo> {
        self.manifest.as_ref()?.rank.as_ref()
    }

    /// The number of the rank that measured it, of several.
    pub fn rank_of_several(&self) -> Option<usize> {
        self.rank().filter(|rank| !rank.is_alone()).map(|rank| rank.rank)
    }
}

impl RankRuns {
    /// What is known of the rank of each run.
    pub fn ranks(&self) -> impl Iterator<Item = (&MergedRank, &Run)> {
        self.head.ranks.iter().zip(&self.runs)
    }
}
