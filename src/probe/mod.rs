//! Measured ceilings: what this machine's bandwidths and FLOP rates are at most, found by running them.
//!
//! On the CPU: reads and triads from each cache level and from DRAM, and register-only multiply-adds per
//! precision, on one thread and on all. A ceiling is the *best* repetition; median and spread stand beside it.

mod buffer;
mod cpu;
mod cuda;
mod flush;
mod plan;
mod simd;
mod team;

pub use cpu::{Depth, ProbeOptions, Progress, bounds, cpu_ceilings, measure_cpu};
pub use cuda::{GpuDepth, gpu_bounds, gpu_launch_cost, measure_gpu};
pub use flush::Flush;
