//! Other people's programs: the launcher of Nsight Compute and the reader of its log, ranges for the profiler that is
//! attached to us, and whether one is; launchers and the rank they give us; where Nsight Systems is.

pub mod ncu;
pub mod nsys;
pub mod nvtx;
mod presence;
mod process;
mod ranks;

pub use presence::Presence;
pub use ranks::{Rank, RankError, rank_of, rank_of_process};
