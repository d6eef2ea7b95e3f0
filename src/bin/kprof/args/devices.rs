//! The flags of `kprof devices`.

use clap::Args;

#[derive(Args, Clone, Debug)]
#[command(
    about = "List the devices that passes can run on, and the one that --device auto takes",
    long_about = "List the devices that passes can run on, with number, UUID and MIG profile, and the one that --device auto \
    takes.\n\n\
    A GPU is named by its number among those that the process sees (cuda:1), or by its UUID or the beginning of it \
    (cuda:GPU-3f2a, cuda:MIG-91c2); CUDA_VISIBLE_DEVICES decides which it sees, and the driver numbers those from 0. \
    Every GPU is opened and loads a kernel. Without a GPU this is no error; without NVML its columns are n/a.",
    after_help = "\
Examples:
  kprof devices                                  what there is
  kprof devices --json | jq -r '.gpus[].uuid'    their UUIDs
  CUDA_VISIBLE_DEVICES=1 kprof devices           what that leaves
  srun -n 4 kprof devices                        what each rank would take"
)]
pub(crate) struct DevicesArgs {
    /// Print everything as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
