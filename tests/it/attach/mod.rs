//! Other people's programs: `kprof ncu`, and ranges for the profiler that is attached.

#[cfg(unix)]
mod counters;
#[cfg(unix)]
mod ncu;
#[cfg(unix)]
mod ncu_script;
mod nvtx;
