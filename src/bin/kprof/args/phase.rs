//! The flags of `kprof phase`.

use clap::Args;

#[derive(Args, Clone, Debug)]
pub(crate) struct PhaseArgs {}
