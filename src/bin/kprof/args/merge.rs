//! The flags of `kprof merge`.

use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Join the run files of the ranks of one launch into one, with every record's rank and the clocks' offsets",
    long_about = "Join the run files of the ranks of one launch into one, in which every record keeps its rank, and say where \
    the ranks' clocks stand against each other and how that is known.\n\n\
    Under torchrun, mpirun and srun each process writes a file of its own (run.rank0.jsonl). Files of different launches are \
    refused, and so are missing ones. Ranks are no repetitions: every command shows them beside each other, with the slowest \
    and the imbalance (max/mean), and none adds or averages them. One rank of a merged file is named FILE@RANK.",
    after_help = "\
Examples:
  torchrun --nproc-per-node 4 --no-python kprof phase -q -o run.jsonl     run.rank0.jsonl to run.rank3.jsonl
  kprof merge run.rank*.jsonl -o run.jsonl                                one file of them
  kprof phase --load run.jsonl                                            each rank, and the slowest
  kprof phase --load run.jsonl@2 --export-svg rank2.svg                   one of them
  kprof latency --load latency.jsonl                                      of any benchmark: each rank, and the one that limits
  kprof compare before.jsonl after.jsonl                                  rank by rank
  kprof merge run.rank0.jsonl run.rank2.jsonl --partial -o some.jsonl     what is left of a launch"
)]
pub(crate) struct MergeArgs {
    /// The run files of the ranks, in any order
    #[arg(required = true, value_name = "RUN")]
    pub(crate) runs: Vec<PathBuf>,
    /// The file to write; it must not exist
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    /// Take what is there: ranks may be missing and their files incomplete, and every table says so
    #[arg(long)]
    pub(crate) partial: bool,
    /// Print ranks and clocks as JSON
    #[arg(long)]
    pub(crate) json: bool,
}
