//! Which version of which run is compared with which.

use super::unlike::{Aspect, Unlike, unlike};
use crate::profile::Run;
use serde::Serialize;

/// Why runs cannot be compared.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CompareError {
    /// A run has no timed steps.
    #[error("{file} has no timed steps to compare; for kernels of a profiler's export: kprof roofline A B")]
    NoSteps {
        /// The file.
        file: String,
    },
    /// A run lacks the version asked for.
    #[error("{file} has no version '{version}'; it has: {known}")]
    NoVersion {
        /// The file.
        file: String,
        /// The version asked for.
        version: String,
        /// The versions that it has.
        known: String,
    },
    /// Two runs have no version in common.
    #[error(
        "{old} ({old_versions}) and {new} ({new_versions}) have no version in common; name what to compare: kprof compare {old}:VERSION {new}:VERSION"
    )]
    NothingInCommon {
        /// The baseline's file.
        old: String,
        /// Its versions.
        old_versions: String,
        /// The other file.
        new: String,
        /// Its versions.
        new_versions: String,
    },
    /// The two are one and the same.
    #[error("{what} is compared with itself: name another run, or another version of it")]
    Itself {
        /// The run and version.
        what: String,
    },
    /// There is only one to compare.
    #[error("{what} is the only thing named: a comparison needs two runs, or a run with two versions")]
    OnlyOne {
        /// The run.
        what: String,
    },
    /// The two differ in more than what is compared.
    #[error(
        "{old} and {new} are unlike in {}; compare them nevertheless with --allow {}",
        list(unlike),
        names(unlike)
    )]
    Unlike {
        /// The baseline.
        old: String,
        /// The other.
        new: String,
        /// The differences that are not allowed.
        unlike: Vec<Unlike>,
    },
}

fn list(unlike: &[Unlike]) -> String {
    unlike.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn names(unlike: &[Unlike]) -> String {
    unlike.iter().map(|u| u.aspect.name()).collect::<Vec<_>>().join(",")
}

/// A run as named on the command line: all of it, or one version.
#[derive(Clone, Debug)]
pub struct Named {
    /// The run.
    pub run: Run,
    /// The version, for `run.jsonl:v1`.
    pub version: Option<String>,
}

impl Named {
    /// Checks that the run has steps, and the version asked for.
    ///
    /// # Errors
    /// When it has not.
    pub fn new(run: Run, version: Option<String>) -> Result<Self, CompareError> {
        let known = run.versions().join(", ");
        match &version {
            _ if known.is_empty() => Err(CompareError::NoSteps { file: run.file }),
            Some(version) if !run.versions().contains(&version.as_str()) => {
                Err(CompareError::NoVersion { file: run.file, version: version.clone(), known })
            }
            _ => Ok(Self { run, version }),
        }
    }

    fn versions(&self) -> Vec<&str> {
        self.version.as_deref().map_or_else(|| self.run.versions(), |version| vec![version])
    }

    fn subject<'a>(&'a self, version: &'a str) -> Subject<'a> {
        Subject { run: &self.run, version }
    }
}

/// One version of one run.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Subject<'a> {
    /// The run.
    #[serde(skip)]
    pub run: &'a Run,
    /// The version.
    pub version: &'a str,
}

impl Subject<'_> {
    /// `run.jsonl:v1`.
    pub fn name(&self) -> String {
        format!("{}:{}", self.run.file, self.version)
    }
}

/// The pairs to compare, baseline first. Of one run, each later version is held against the first. Of several, each later
/// run is held against the first, version by version where both have it, and otherwise where each has just one.
///
/// # Errors
/// When there is nothing to compare, or two are unlike in an aspect that `allowed` lacks.
pub fn pair_up<'a>(
    all: &'a [Named],
    allowed: &[Aspect],
) -> Result<Vec<(Subject<'a>, Subject<'a>)>, CompareError> {
    let Some((baseline, others)) = all.split_first() else { return Ok(Vec::new()) };
    if others.is_empty() {
        let versions = baseline.versions();
        let only_one = || CompareError::OnlyOne { what: baseline.run.file.clone() };
        let (first, later) =
            versions.split_first().filter(|(_, later)| !later.is_empty()).ok_or_else(only_one)?;
        return Ok(later.iter().map(|v| (baseline.subject(first), baseline.subject(v))).collect());
    }
    let mut pairs = Vec::new();
    for other in others {
        for (old, new) in pairs_of(baseline, other)? {
            let differing = unlike(old.run, new.run);
            let refused: Vec<Unlike> =
                differing.into_iter().filter(|u| !allowed.contains(&u.aspect)).collect();
            if !refused.is_empty() {
                return Err(CompareError::Unlike { old: old.name(), new: new.name(), unlike: refused });
            }
            pairs.push((old, new));
        }
    }
    Ok(pairs)
}

fn pairs_of<'a>(old: &'a Named, new: &'a Named) -> Result<Vec<(Subject<'a>, Subject<'a>)>, CompareError> {
    let (before, after) = (old.versions(), new.versions());
    let pairs: Vec<(Subject<'a>, Subject<'a>)> = match (before.as_slice(), after.as_slice()) {
        ([one], [other]) => vec![(old.subject(one), new.subject(other))],
        _ => {
            let common = before.iter().filter(|v| after.contains(v));
            common.map(|v| (old.subject(v), new.subject(v))).collect()
        }
    };
    if let Some((same, _)) = pairs.iter().find(|(a, b)| a.name() == b.name()) {
        return Err(CompareError::Itself { what: same.name() });
    }
    if pairs.is_empty() {
        return Err(CompareError::NothingInCommon {
            old: old.run.file.clone(),
            old_versions: before.join(", "),
            new: new.run.file.clone(),
            new_versions: after.join(", "),
        });
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::samples::phase_run;

    fn named(file: &str, version: Option<&str>) -> Named {
        let run = Run { file: file.into(), ..phase_run() };
        Named::new(run, version.map(str::to_string)).unwrap()
    }

    fn names(all: &[Named]) -> Vec<(String, String)> {
        pair_up(all, &[]).unwrap().iter().map(|(a, b)| (a.name(), b.name())).collect()
    }

    #[test]
    fn versions_pair_up_by_name_and_single_ones_as_named() {
        let pair = |a: &str, b: &str| (a.to_string(), b.to_string());
        assert_eq!(names(&[named("a", None)]), [pair("a:v0", "a:v1")]);
        assert_eq!(
            names(&[named("a", None), named("b", None)]),
            [pair("a:v0", "b:v0"), pair("a:v1", "b:v1")]
        );
        assert_eq!(names(&[named("a", Some("v0")), named("b", Some("v1"))]), [pair("a:v0", "b:v1")]);
        assert_eq!(names(&[named("a", Some("v0")), named("b", None)]), [pair("a:v0", "b:v0")]);
    }

    #[test]
    fn what_cannot_be_compared_is_refused_with_its_reason() {
        let refused = |all: &[Named]| pair_up(all, &[]).unwrap_err().to_string();
        assert!(refused(&[named("a", Some("v0"))]).contains("a is the only thing named"));
        assert!(refused(&[named("a", None), named("a", None)]).contains("a:v0 is compared with itself"));
        let mut other = named("b", None);
        other.run.manifest.as_mut().unwrap().config.as_mut().unwrap().batch = 2;
        let text = refused(&[named("a", None), other.clone()]);
        assert_eq!(
            text,
            "a:v0 and b:v0 are unlike in batch (1 against 2); compare them nevertheless with --allow batch"
        );
        assert_eq!(pair_up(&[named("a", None), other], &[Aspect::Batch]).unwrap().len(), 2);
        let missing = Named::new(phase_run(), Some("v7".into())).unwrap_err().to_string();
        assert!(missing.ends_with("has no version 'v7'; it has: v0, v1"), "{missing}");
        assert!(matches!(Named::new(Run::default(), None), Err(CompareError::NoSteps { .. })));
    }
}
