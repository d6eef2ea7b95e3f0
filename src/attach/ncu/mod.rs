//! The launcher of Nsight Compute: find it, check permission, choose metrics, run, read the log.
//!
//! ncu's exit code says little: 0 when no kernel was profiled or a metric is unknown, else mostly the program's own.
//! What happened is in its log ([`problems`]), and whether there are results is in the report.

mod command;
mod error;
mod find;
mod launch;
mod log;
mod metrics;
mod permission;
mod query;
mod version;

pub use crate::ingest::ncu::counted;
pub use command::{Output, Profile, arguments, push_pop_range, shown};
pub use error::AttachError;
pub use find::{Ncu, Places, VARIABLE};
pub use launch::{Ended, Ending, Launch, Seen, launch};
pub use log::{Follower, Problem, Progress, problems};
pub use metrics::{Choice, choose, sets};
pub use permission::Permission;
pub use query::{Offer, ask, chip_from, chip_of_machine};
pub use version::{NcuVersion, OLDEST};
