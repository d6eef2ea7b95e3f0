//! The flags of `kprof logits`.

use super::model::ModelArgs;
use super::versions::VersionsFileArgs;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// How the tokens go through the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum FeedArg {
    /// All tokens in one pass
    Prefill,
    /// One by one, through the cache, as generation does
    Decode,
}

#[derive(Args, Clone, Debug)]
#[command(
    about = "Write a pass's logits, so that they can be checked against another framework",
    long_about = "Write the logits of every position as a safetensors file, tensor `logits` of shape \
    [ids, vocab] in f32, so that a pass can be checked against another framework.",
    after_help = "\
Examples:
  kprof logits --model ./gpt2 --ids 15496,11,995 --out logits.safetensors
  kprof logits --model ./gpt2 --ids 15496,11,995 --version v2 --feed decode --out v2.safetensors"
)]
pub(crate) struct LogitsArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// Token ids, e.g. 1,2,3
    #[arg(long, value_name = "IDS", required = true, value_delimiter = ',', num_args = 1..)]
    pub(crate) ids: Vec<u32>,
    /// The KV-cache version
    #[arg(long, value_name = "VERSION", default_value = "v1")]
    pub(crate) version: String,
    #[command(flatten)]
    pub(crate) versions_file: VersionsFileArgs,
    /// How the tokens go through the model
    #[arg(long, value_enum, value_name = "HOW", default_value = "prefill")]
    pub(crate) feed: FeedArg,
    /// The safetensors file to write
    #[arg(short = 'o', long, value_name = "FILE")]
    pub(crate) out: PathBuf,
}
