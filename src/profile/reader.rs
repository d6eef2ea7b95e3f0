//! Reading run files: older formats are read, newer ones refused, interrupted ones read up to where they end.

use super::merge::{with_rank, without_rank};
use super::{FORMAT_VERSION, Finding, FindingCode, MergedRecord, RankRuns, Record, Run};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Why a run file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A record cannot be written as JSON.
    #[error("a record cannot be written as JSON")]
    Encode {
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The first line is no manifest.
    #[error("{}:1: no kprof run: the first line is not a manifest or merged record", path.display())]
    NotARun {
        /// The file.
        path: PathBuf,
    },
    /// A line in the middle is damaged.
    #[error("{}:{line}: damaged record", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The file is of a later format.
    #[error("{}:1: format version {found}, but this kprof reads up to {FORMAT_VERSION}: update kprof", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its format.
        found: u64,
    },
    /// A file of several ranks where one run is wanted.
    #[error(
        "{0} holds the runs of {n} ranks, and one is wanted: name it {0}@RANK; there {are} {list}",
        path.display(), n = ranks.len(), are = if ranks.len() == 1 { "is" } else { "are" },
        list = ranks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    )]
    Ranks {
        /// The file.
        path: PathBuf,
        /// The ranks that it has.
        ranks: Vec<usize>,
    },
    /// A rank is named of a file of one run.
    #[error("{}: it is the file of one run and not of several ranks: name it without @", path.display())]
    NotMerged {
        /// The file.
        path: PathBuf,
    },
}

/// What a file of several ranks begins with.
const MERGED: &str = r#"{"type":"merged""#;

/// Whether `head`, the beginning of a file, is that of a run file.
pub fn looks_like_run(head: &[u8]) -> bool {
    [r#"{"type":"manifest""#, MERGED].iter().any(|start| head.starts_with(start.as_bytes()))
}

/// Reads a run file; of a file of several ranks, the one that `FILE@RANK` names. A last line cut short is dropped, and a run
/// without an `end` record has a finding that says so.
///
/// # Errors
/// When the file cannot be read, is no run, is damaged before its last line, is of a later format, or holds several ranks
/// of which none is named.
pub fn read_run(name: &Path) -> Result<Run, ProfileError> {
    let (path, rank) = place_of(name);
    let text = read_text(&path)?;
    let Some(head) = head_of(&path, &text)? else {
        return match rank {
            Some(_) => Err(ProfileError::NotMerged { path }),
            None => parse(&path, &text, None),
        };
    };
    match rank {
        Some(rank) if head.ranks.iter().any(|r| r.rank == rank) => parse(&path, &text, Some(rank)),
        _ => Err(ProfileError::Ranks { path, ranks: head.ranks.iter().map(|r| r.rank).collect() }),
    }
}

/// What a run file holds.
#[derive(Clone, Debug, PartialEq)]
pub enum RunFile {
    /// One run.
    One(Box<Run>),
    /// The runs of several ranks.
    Ranks(Box<RankRuns>),
}

/// Reads a run file, whether it holds one run or those of several ranks.
///
/// # Errors
/// As [`read_run`], but for ranks.
pub fn read_run_file(name: &Path) -> Result<RunFile, ProfileError> {
    let (path, rank) = place_of(name);
    if rank.is_some() {
        return read_run(name).map(|run| RunFile::One(Box::new(run)));
    }
    let text = read_text(&path)?;
    let Some(head) = head_of(&path, &text)? else {
        return parse(&path, &text, None).map(|run| RunFile::One(Box::new(run)));
    };
    let runs = head.ranks.iter().map(|r| parse(&path, &text, Some(r.rank))).collect::<Result<_, _>>()?;
    Ok(RunFile::Ranks(Box::new(RankRuns { file: path.display().to_string(), head, runs })))
}

/// The names of the runs that a file holds, as [`read_run`] takes them: its own, or `FILE@RANK` for each of several ranks.
/// Of a file that cannot be read, or is no run, its own: its reader will say so.
pub fn names_of_runs(name: &Path) -> Vec<PathBuf> {
    let alone = || vec![name.to_path_buf()];
    let (path, rank) = place_of(name);
    let head = || {
        // A pipe is read once, by its reader.
        let mut file = path.is_file().then(|| std::fs::File::open(&path).ok()).flatten()?;
        let mut line = String::new();
        file.by_ref().take(MERGED.len() as u64).read_to_string(&mut line).ok()?;
        // Other files may be one line of gigabytes.
        let rest = Some(file).filter(|_| line == MERGED)?;
        io::BufRead::read_line(&mut io::BufReader::new(rest).take(MOST_OF_A_HEAD), &mut line).ok()?;
        match serde_json::from_str(&line).ok()? {
            Record::Merged(head) => Some(head),
            _ => None,
        }
    };
    match head().filter(|_| rank.is_none()) {
        Some(head) => head.ranks.iter().map(|r| name_of(&path, r.rank).into()).collect(),
        None => alone(),
    }
}

/// The head of a merged file is a line of some 100 bytes for each rank.
const MOST_OF_A_HEAD: u64 = 64 << 20;

fn name_of(path: &Path, rank: usize) -> String {
    format!("{}@{rank}", path.display())
}

/// The file and the rank that a name means: `FILE@RANK`, where there is no file of the whole name.
pub fn place_of(name: &Path) -> (PathBuf, Option<usize>) {
    let text = name.to_string_lossy();
    let named = text.rsplit_once('@').and_then(|(file, rank)| Some((file, rank.parse().ok()?)));
    match named.filter(|_| !name.exists()) {
        Some((file, rank)) => (PathBuf::from(file), Some(rank)),
        None => (name.to_path_buf(), None),
    }
}

fn read_text(path: &Path) -> Result<String, ProfileError> {
    std::fs::read_to_string(path).map_err(|source| ProfileError::Read { path: path.to_path_buf(), source })
}

/// The head of a file of several ranks; `None` of a file of one run.
fn head_of(path: &Path, text: &str) -> Result<Option<MergedRecord>, ProfileError> {
    check_format(path, text)?;
    let first = text.lines().next().unwrap_or_default();
    match serde_json::from_str(first) {
        Ok(Record::Merged(head)) => Ok(Some(*head)),
        Ok(_) => Ok(None),
        Err(source) => Err(ProfileError::Damaged { path: path.to_path_buf(), line: 1, source }),
    }
}

/// Whose line it is, in a file of several ranks.
#[derive(serde::Deserialize)]
struct Tag {
    of_rank: usize,
}

/// The records of `text`; of a file of several ranks, those of `rank`.
fn parse(path: &Path, text: &str, rank: Option<usize>) -> Result<Run, ProfileError> {
    let file = rank.map_or_else(|| path.display().to_string(), |rank| name_of(path, rank));
    let mut run = Run { file, ..Run::default() };
    let lines: Vec<&str> = text.lines().collect();
    let skipped = usize::from(rank.is_some());
    for (index, line) in lines.iter().enumerate().skip(skipped).filter(|(_, l)| !l.trim().is_empty()) {
        let mine = || Ok(rank.is_none() || Some(serde_json::from_str::<Tag>(line)?.of_rank) == rank);
        let record = mine().and_then(|mine| mine.then(|| serde_json::from_str::<Record>(line)).transpose());
        match record {
            Ok(record) => record.into_iter().for_each(|record| run.push(record)),
            // An interrupted writer leaves at most its last line short.
            Err(_) if index > 0 && index + 1 == lines.len() && !text.ends_with('\n') => break,
            Err(source) => {
                let path = path.to_path_buf();
                return Err(ProfileError::Damaged { path, line: index + 1, source });
            }
        }
    }
    if !run.complete {
        let message = "the run ended before it was complete; what was measured until then is shown";
        run.findings.push(Finding::new(FindingCode::Partial, run.file.clone(), message));
    }
    Ok(run)
}

/// The lines of a rank's run file, each with its rank added; what an interrupted writer left short is dropped.
///
/// # Errors
/// When the file cannot be read, or a line is no JSON object.
pub fn merged_lines(path: &Path, rank: usize) -> Result<Vec<String>, ProfileError> {
    let text = read_text(path)?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let tagged = lines.map(|(i, line)| with_rank(line, rank).ok_or_else(|| not_an_object(path, i + 1)));
    tagged.collect()
}

/// The text of a run by its name: of its own file, or of `FILE@RANK` as the rank's own file was.
///
/// # Errors
/// When the file cannot be read.
pub fn text_of_run(name: &Path) -> Result<String, ProfileError> {
    let (path, rank) = place_of(name);
    let text = read_text(&path)?;
    let Some(rank) = rank else { return Ok(text) };
    Ok(text.lines().filter_map(|line| without_rank(line, rank)).map(|line| line + "\n").collect())
}

fn not_an_object(path: &Path, line: usize) -> ProfileError {
    let source = serde::de::Error::custom("it is no JSON object");
    ProfileError::Damaged { path: path.to_path_buf(), line, source }
}

/// The format version is checked before the rest is decoded: a later format may not decode at all.
fn check_format(path: &Path, text: &str) -> Result<(), ProfileError> {
    let first = text.lines().next().unwrap_or_default();
    let not_a_run = || ProfileError::NotARun { path: path.to_path_buf() };
    let value: serde_json::Value = serde_json::from_str(first).map_err(|_| not_a_run())?;
    if !matches!(value.get("type").and_then(|t| t.as_str()), Some("manifest" | "merged")) {
        return Err(not_a_run());
    }
    match value.get("format_version").and_then(serde_json::Value::as_u64) {
        Some(found) if found > u64::from(FORMAT_VERSION) => {
            Err(ProfileError::Newer { path: path.to_path_buf(), found })
        }
        Some(_) => Ok(()),
        None => Err(not_a_run()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{
        Accounted, CapacityMethod, CapacityProbe, CapacityRecord, DecodePointRecord, DeviceBudget,
        LatencyRecord, MemoryMethod, MemoryRecord, QualityRecord, RunWriter, Summarised, TextRecord,
        TimingMethod,
    };

    fn latency() -> LatencyRecord {
        LatencyRecord {
            version: "v1".into(),
            tokens: 128,
            prompt_length: 32,
            batch: 1,
            repetition: 0,
            time_s: 0.245_32,
            ttft_s: None,
            method: TimingMethod::HostClock,
            summarised: Some(Summarised {
                statistic: "median".into(),
                count: None,
                mean: None,
                stddev: Some(1e-3),
            }),
        }
    }

    fn memory() -> MemoryRecord {
        let formula = |bytes| Some(Accounted::new(bytes, MemoryMethod::Formula));
        MemoryRecord {
            version: "v2".into(),
            tokens: 64,
            prompt_length: 32,
            batch: 2,
            repetition: 1,
            capacity: Some(95),
            peak: Some(Accounted::new(1e9, MemoryMethod::Counted)),
            weights: formula(5e8),
            cache_theoretical: formula(7e6),
            cache_allocated: None,
            cache_touched: Some(Accounted::new(6e6, MemoryMethod::ResidentPages)),
            activations: None,
            above_weights: None,
            resident_peak: Some(Accounted::new(1.1e9, MemoryMethod::ResidentSet)),
        }
    }

    fn capacity() -> CapacityRecord {
        let peak = Accounted::new(4.4e9, MemoryMethod::Counted);
        CapacityRecord {
            version: "v1".into(),
            context: 1024,
            budget_bytes: 4_294_967_296.0,
            batch: 47,
            method: CapacityMethod::Ran,
            theoretical_batch: Some(48),
            probes: vec![CapacityProbe { batch: 48, peak, fits: false, out_of_memory: true }],
            at_least: false,
            device_budget: Some(DeviceBudget::of(4.6e9, 8e9)),
        }
    }

    fn quality() -> QualityRecord {
        QualityRecord {
            version: "v2".into(),
            segment: 3,
            first_token: 769,
            bytes: Some(7),
            characters: Some(6),
            nll_nat: vec![0.5, 2.25],
            teacher_forced_nll_nat: vec![0.5, 2.26],
            reference: Some("v1".into()),
            kl_nat: vec![0.0, 1e-4],
            same_top1: vec![true, false],
            mean_of: None,
        }
    }

    fn all() -> Vec<Record> {
        let best_perplexity = Some(2.5);
        vec![
            Record::Latency(latency()),
            Record::DecodePoint(DecodePointRecord {
                version: "v1".into(),
                context: 2048,
                batch: 4,
                repetition: 2,
                time_s: 0.013,
                steps: 8,
                method: TimingMethod::Scripted,
            }),
            Record::Memory(Box::new(memory())),
            Record::Capacity(capacity()),
            Record::Text(TextRecord {
                name: "grammar".into(),
                bytes: 10,
                tokens: 10,
                tokenizer: "bytes".into(),
                context: Some(8),
                stride: None,
                best_perplexity,
            }),
            Record::Quality(quality()),
            Record::End { wall_s: 1.5 },
        ]
    }

    #[test]
    fn records_of_benchmarks_come_back_as_they_were_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run.jsonl");
        let mut writer = RunWriter::create(&path).unwrap();
        writer.append(&Record::Manifest(Box::new(crate::profile::manifest::tests::manifest()))).unwrap();
        all().iter().for_each(|record| writer.append(record).unwrap());
        let run = read_run(&path).unwrap();
        let mut expected = Run { file: run.file.clone(), manifest: run.manifest.clone(), ..Run::default() };
        all().into_iter().for_each(|record| expected.push(record));
        assert_eq!(run, expected);
        assert!(run.complete && run.memory[0].activations.is_none());
    }

    #[test]
    fn what_is_not_known_is_left_out_of_the_file_and_never_0() {
        let json = serde_json::to_string(&Record::Memory(Box::new(memory()))).unwrap();
        assert!(!json.contains("activations") && !json.contains("null"), "{json}");
        assert!(json.contains(r#""peak":{"bytes":1000000000.0,"method":"counted"}"#), "{json}");
        // A file of the least that a reader has to have.
        let least = r#"{"type":"quality","version":"v1","segment":0,"first_token":1,"nll_nat":[1.0]}"#;
        let Record::Quality(read) = serde_json::from_str(least).unwrap() else { panic!("{least}") };
        assert!(read.kl_nat.is_empty() && read.reference.is_none());
    }
}
