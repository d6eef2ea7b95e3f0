//! The flags of `kprof versions`, and the one that adds versions to every command that runs them.

use super::export::TableExportArgs;
use clap::Args;
use kprof::llm::DType;
use std::path::PathBuf;

/// Versions of the user's own.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct VersionsFileArgs {
    /// A file of more KV-cache versions, one TOML table each (`kprof versions --help` has the keys); versions.toml in
    /// kprof's configuration folder is always read
    #[arg(long, visible_alias = "versions", value_name = "FILE")]
    pub(crate) versions_file: Option<PathBuf>,
}

#[derive(Args, Clone, Debug)]
#[command(
    about = "List the KV-cache versions and the size of their caches for a model",
    long_about = "List the KV-cache versions and the theoretical size of their caches for a model: per token and in all, \
    scales counted.\n\n\
    More versions are rows of a file of yours: versions.toml in kprof's configuration folder ($XDG_CONFIG_HOME/kprof, \
    else ~/.config/kprof; Application Support on macOS, %APPDATA% on Windows), or --versions-file FILE.",
    after_help = "\
A file of versions has one table per version; every key may be left out:
  [v5]
  description  = \"4-bit cache shared by pairs of layers\"
  use_cache    = true                # false: every step recomputes the sequence
  kv_dtype     = \"int4\"              # model, f32, bf16, f16, int8, int4
  scale        = \"channel-group:32\"  # or token-head: which codes share an f16 scale
  share_layers = 2                   # layers that share one cache
  window       = 1024                # how many of the latest tokens a token sees

Examples:
  kprof versions                                      the built-in ones, for gpt2
  kprof versions --preset llama-2-7b --dtype bf16     for a larger model
  kprof versions --model ./llama -c 8192 -b 16        for a model of yours, at a context and a batch
  kprof versions --versions-file mine.toml --export-json - | jq '.versions[] | .total_bytes'"
)]
pub(crate) struct VersionsArgs {
    /// A model shape, e.g. `--preset llama-2-7b`
    #[arg(long, value_name = "NAME", default_value = "gpt2", conflicts_with = "model")]
    pub(crate) preset: String,
    /// A model directory in the Hugging Face layout, or its config.json; weights are not read
    #[arg(long, value_name = "DIR")]
    pub(crate) model: Option<PathBuf>,
    /// Storage type of weights and activations: f32, bf16, f16
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub(crate) dtype: DType,
    /// Tokens per sequence [default: the model's positions]
    #[arg(short = 'c', long, value_name = "N")]
    pub(crate) context: Option<usize>,
    /// Sequences side by side
    #[arg(short = 'b', long, value_name = "N", default_value_t = 1)]
    pub(crate) batch: usize,
    #[command(flatten)]
    pub(crate) file: VersionsFileArgs,
    #[command(flatten)]
    pub(crate) export: TableExportArgs,
}
