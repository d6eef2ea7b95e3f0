//! The version of Nsight Compute, and the oldest that is used.

use std::fmt;

/// Nsight Compute's own number: year, release of the year, patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct NcuVersion {
    /// The year.
    pub year: u32,
    /// The release of the year, from 1.
    pub release: u32,
    /// Its patch.
    pub patch: u32,
}

/// The oldest whose options are those that kprof uses: `--kernel-name regex:` came with 2021.1, `--log-file` with
/// 2020.2 (its release notes).
pub const OLDEST: NcuVersion = NcuVersion { year: 2021, release: 1, patch: 0 };

impl NcuVersion {
    /// Reads it out of what `ncu --version` prints, `Version 2022.3.0.0 (build 31729285)`; `None` without such a line.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find_map(|l| l.trim().strip_prefix("Version "))?;
        let number = line.split_whitespace().next()?;
        let mut parts = number.split('.').map(str::parse::<u32>);
        let (year, release) = (parts.next()?.ok()?, parts.next()?.ok()?);
        Some(Self { year, release, patch: parts.next().and_then(Result::ok).unwrap_or(0) })
    }
}

impl fmt::Display for NcuVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.year, self.release, self.patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_is_found_among_the_other_lines() {
        let text = "NVIDIA (R) Nsight Compute Command Line Profiler\nCopyright (c) 2018-2022 NVIDIA Corporation\n\
                    Version 2022.3.0.0 (build 31729285) (public-release)\n";
        let version = NcuVersion::parse(text).unwrap();
        assert_eq!(version.to_string(), "2022.3.0");
        assert!(version > OLDEST);
        assert!(NcuVersion::parse("Version 2019.5.0 (Build 27346997)").unwrap() < OLDEST);
        assert_eq!(NcuVersion::parse("hello"), None);
    }
}
