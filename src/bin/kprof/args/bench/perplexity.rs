//! The flags of `kprof perplexity`.

use super::{LogArgs, OutputArgs};
use crate::args::counts::count;
use crate::args::model::ModelArgs;
use crate::args::versions::VersionsFileArgs;
use clap::Args;
use std::path::PathBuf;

#[derive(Args, Clone, Debug)]
#[command(
    about = "Measure what each KV-cache version does to a model's quality, through the cache itself",
    long_about = "Measure what each KV-cache version does to a model's quality, through the cache itself.\n\n\
    A text is scored token by token as each version would generate it, and each window once more in one pass (teacher \
    forcing, as most benchmarks do, where a cache's positions are never at stake). Without --model and --text, a tiny \
    trained model inside kprof scores text of a known grammar, whose best possible perplexity is known.\n\n\
    perplexity: exp of the mean -ln p per token. vs v1: its change against v1 on the same tokens, with a paired bootstrap \
    interval over blocks of tokens. KL: of v1's distribution from the version's, mean per token. top-1 same: how often the \
    most likely token is v1's. Perplexities compare only between runs of one tokenizer, context and stride; bits per byte \
    also between tokenizers.",
    after_help = "\
Examples:
  kprof perplexity                                             v0 to v4, offline, in seconds
  kprof perplexity --preset grammar-shared --version v1 v3     a model that was trained for v3
  kprof perplexity --model ./gpt2 --text wiki.test.raw         GPT-2 on WikiText-2: v1 to v4
  kprof perplexity --model ./gpt2 --text wiki.test.raw --context 1024 --stride 512 --tokens 20000
  kprof perplexity --version v1 v5 --versions-file mine.toml --dtype bf16
  kprof perplexity --json | jq '.versions[] | {version, perplexity}'
  kprof perplexity --load run.jsonl                            the report of an earlier run"
)]
pub(crate) struct PerplexityArgs {
    /// KV-cache versions: `v0 v1`, `v0,v1` or `v0-v4`
    /// [default: v0-v4 of a trained model inside kprof; v1-v4 of others, for v0 computes every step from the beginning]
    #[arg(long = "version", value_name = "VERSION", num_args = 1.., conflicts_with = "load")]
    pub(crate) versions: Vec<String>,
    /// The version that the others are compared with; it is measured whether it was asked for or not
    #[arg(long, value_name = "VERSION", default_value = "v1")]
    pub(crate) reference: String,
    #[command(flatten)]
    pub(crate) versions_file: VersionsFileArgs,
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The text to score, in UTF-8, e.g. WikiText-2's wiki.test.raw [default: text of kprof's grammar, for bytes only]
    #[arg(long, value_name = "FILE", conflicts_with = "load", help_heading = "Measurement")]
    pub(crate) text: Option<PathBuf>,
    /// What makes tokens of it: bytes, gpt2, or a tokenizer.json [default: what fits the model]
    #[arg(long, value_name = "NAME", help_heading = "Measurement")]
    pub(crate) tokenizer: Option<String>,
    /// Score at most this many tokens
    #[arg(short = 'n', long = "score-tokens", visible_alias = "tokens", value_name = "N", default_value = "4096",
        value_parser = count, help_heading = "Measurement")]
    pub(crate) tokens: usize,
    /// Tokens of a window, each of which begins with an empty cache [default: the model's positions, at most 1024]
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Measurement")]
    pub(crate) context: Option<usize>,
    /// Tokens from one window's start to the next one's; what windows have in common is scored once, in the earlier one, and
    /// is the later one's prompt [default: half the context; of the grammar, a story]
    #[arg(long, value_name = "N", value_parser = count, help_heading = "Measurement")]
    pub(crate) stride: Option<usize>,
    /// Do not score the windows in one pass as well, which needs the logits of a whole window in memory
    #[arg(long, help_heading = "Measurement")]
    pub(crate) no_one_pass: bool,
    #[command(flatten)]
    pub(crate) out: OutputArgs,
    #[command(flatten)]
    pub(crate) log: LogArgs,
}
