//! The flags of `kprof ceilings`.

use clap::Args;

#[derive(Args, Clone, Debug)]
pub(crate) struct CeilingsArgs {}
