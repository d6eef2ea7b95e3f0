//! Other people's programs: `kprof ncu`.

#[cfg(unix)]
mod ncu;
#[cfg(unix)]
mod ncu_script;
