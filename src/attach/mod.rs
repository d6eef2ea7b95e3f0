//! Other people's programs: the launcher of Nsight Compute and the reader of its log, ranges for the profiler that is
//! attached to us, and whether one is; where Nsight Systems is.

pub mod ncu;
pub mod nsys;
pub mod nvtx;
mod presence;
mod process;

pub use presence::Presence;
