//! Which rank of a distributed launch measured a run, and where its clock stands against others'.

use serde::{Deserialize, Serialize};

/// The place of a process among those that were launched together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct RankInfo {
    /// Its number, from 0.
    pub rank: usize,
    /// How many there are; `None` where the launcher does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub world_size: Option<usize>,
    /// Its number among those on its machine, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub local_rank: Option<usize>,
    /// Who launched it, e.g. `torchrun`.
    pub launcher: String,
    /// What the launcher calls the launch; `None` where it has no name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<String>,
}

impl RankInfo {
    /// `rank 1 of 4`; where it is not known of how many, `rank 1`.
    pub fn name(&self) -> String {
        let of = self.world_size.map_or(String::new(), |size| format!(" of {size}"));
        format!("rank {}{of}", self.rank)
    }

    /// Whether it is the only one, so that nothing has to be told apart.
    pub fn is_alone(&self) -> bool {
        self.world_size == Some(1)
    }

    /// What the names of its files have in them: `rank3`, with as many digits as the last rank has, so that names sort.
    pub fn file_tag(&self) -> String {
        let digits = self.world_size.map_or(1, |size| size.saturating_sub(1).to_string().len());
        format!("rank{:0digits$}", self.rank)
    }
}

/// One moment on several clocks: the run's own (that of its telemetry), the machine's monotonic one and its wall clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ClockRecord {
    /// The moment on the run's clock, in ns from the start of its telemetry.
    pub at_ns: u64,
    /// The same moment on the machine's monotonic clock, in ns from some fixed moment; `None` where the system has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monotonic_ns: Option<u64>,
    /// Which monotonic clock that is: alike for all processes that read the same one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monotonic_clock: Option<String>,
    /// The same moment by the machine's wall clock, in ns since 1970 in UTC.
    pub wall_unix_ns: u64,
    /// How long the three readings took together: each is of some moment within it.
    pub within_ns: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_ranks_sort_by_rank() {
        let rank = |rank, world_size| RankInfo {
            rank,
            world_size,
            local_rank: None,
            launcher: "torchrun".into(),
            job: None,
        };
        assert_eq!(rank(3, Some(10)).file_tag(), "rank3");
        assert_eq!(rank(3, Some(11)).file_tag(), "rank03");
        assert_eq!((rank(3, None).file_tag().as_str(), rank(3, None).name().as_str()), ("rank3", "rank 3"));
        assert!(rank(0, Some(1)).is_alone() && !rank(0, None).is_alone());
        assert_eq!(rank(1, Some(4)).name(), "rank 1 of 4");
    }
}
