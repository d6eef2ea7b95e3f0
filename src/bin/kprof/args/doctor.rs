//! The flags of `kprof doctor`.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Look at this machine before measuring: processor, limits, NVIDIA, profilers, and what to change",
    long_about = "Look at this machine before measuring: processor, memory, limits of containers, NVIDIA's driver, \
    libraries and GPUs, profilers; and what to change, each with its cause, its fix and a command.\n\n\
    Needs no GPU and changes nothing. What the system does not tell is n/a; what answers late is left out, so that \
    it takes under two seconds.",
    after_help = "\
Examples:
  kprof doctor                                 facts and findings
  kprof doctor --json | jq '.advice[].command' the commands alone
  kprof doctor --strict                        exit code 4 if there is any finding

KPROF_NVML names the library libnvidia-ml.so.1 where the loader does not find it."
)]
pub(crate) struct DoctorArgs {
    /// Print everything as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Exit with code 4 if there is any finding
    #[arg(long)]
    pub(crate) strict: bool,
    /// Where ncu is [default: KPROF_NCU, the PATH, then where NVIDIA's installers put it, newest first]
    #[arg(long, value_name = "PATH")]
    pub(crate) ncu: Option<PathBuf>,
}
