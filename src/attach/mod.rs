//! Other people's programs: the launcher of Nsight Compute and the reader of its log.

pub mod ncu;
mod process;
