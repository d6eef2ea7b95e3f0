//! The flags of `kprof memory`.

use super::BenchArgs;
use crate::args::counts::Counts;
use clap::Args;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Measure what a generation holds in memory against its length, by KV-cache version, beside theory",
    long_about = "Measure what a generation holds in memory against its length, by KV-cache version, beside theory.\n\n\
    On the CPU every byte that the process allocates is counted as it is asked for: the heap by kprof's allocator, the \
    cpu implementation's mappings by itself. Touched bytes are the resident pages of the caches, and resident is the \
    system's figure for the whole process; both on Linux.\n\n\
    theory: 2 x caching layers x kv_heads x head_dim x element bits / 8 x tokens, scales counted. allocated: capacity, \
    padding and whole huge pages included. activations: the peak less weights and caches.",
    after_help = "\
Examples:
  kprof memory --version v0-v4                                what each version's cache takes, and saves
  kprof memory --version v1 v2 --dtype bf16 -T 64-512*2       longer generations, in 16 bits
  kprof memory --version v1 --capacity 1024                   caches made for 1024 tokens at once, little of it touched
  kprof vram --preset tiny --quick                            seconds, to try it out
  kprof memory --json | jq '.versions[].points[-1].cache_allocated'"
)]
pub(crate) struct MemoryArgs {
    #[command(flatten)]
    pub(crate) bench: BenchArgs,
    /// Output tokens per sequence, T: `16,32,64` or `32-512*2` [default: 16,32,64,128, as far as the model has positions]
    #[arg(short = 'T', long, value_name = "LIST", help_heading = "Measurement")]
    pub(crate) lengths: Option<Counts>,
    /// Prompt tokens per sequence
    #[arg(short = 'p', long, value_name = "N", default_value_t = 32, help_heading = "Measurement")]
    pub(crate) prompt_length: usize,
    /// Repetitions of each version and length: allocations seldom differ
    #[arg(short = 'r', long, value_name = "N", default_value_t = 1, help_heading = "Measurement")]
    pub(crate) repetitions: usize,
    /// Tokens per sequence that caches are made for, at least [default: those that a generation needs]
    #[arg(long, value_name = "N", help_heading = "Measurement")]
    pub(crate) capacity: Option<usize>,
}
