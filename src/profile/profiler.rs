//! The profiler that an imported run comes from, as the file itself says.

use serde::{Deserialize, Serialize};

/// Who recorded an import, and how it was called; a field is `None` where the file does not say.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct ProfilerInfo {
    /// The program's name.
    pub name: String,
    /// Its version.
    pub version: Option<String>,
    /// Its command line.
    pub command: Option<String>,
    /// The program that was profiled.
    pub executable: Option<String>,
    /// The driver's CUDA version.
    pub cuda: Option<String>,
    /// When the recording began, seconds since 1970 in UTC.
    pub started_unix_s: Option<u64>,
}
