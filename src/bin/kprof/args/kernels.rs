//! The flags of `kprof kernels`.

use clap::Args;
use kprof::backend::Gemm;
use kprof::llm::DType;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Check kprof's CUDA kernels on this GPU against arithmetic on the host",
    long_about = "Check kprof's CUDA kernels on this GPU against arithmetic in f64 on the host, on small shapes with ragged \
    edges: for a GPU or a driver that is new to kprof. Exit code 1 where one is wrong.",
    after_help = "\
Examples:
  kprof kernels                          every kernel on the first GPU
  kprof kernels --device cuda:1 --all    every shape, on the second
  kprof kernels --preset tiny            whole passes of a model too"
)]
pub(crate) struct KernelsArgs {
    /// Which GPU: cuda, cuda:N or cuda:UUID
    #[arg(long, value_name = "DEVICE", default_value = "cuda")]
    pub(crate) device: String,
    /// Only the kernels of these types: f32, bf16, f16
    #[arg(long, value_name = "TYPE", value_delimiter = ',', default_values = ["f32", "bf16", "f16"])]
    pub(crate) dtype: Vec<DType>,
    /// Who computes products of many rows: auto (cuBLASLt where it is found), cublaslt or own; kprof's own kernel is checked
    /// in any case
    #[arg(long, value_name = "WHO", default_value = "auto")]
    pub(crate) gemm: Gemm,
    /// Also run these models whole, with random weights: every version's logits, launched one by one and as graphs, against
    /// the reference on the CPU
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub(crate) preset: Vec<String>,
    /// Every shape, and not only the worst of each kernel
    #[arg(long)]
    pub(crate) all: bool,
}
