//! The flags of `kprof logits`.

use clap::Args;

#[derive(Args, Clone, Debug)]
pub(crate) struct LogitsArgs {}
