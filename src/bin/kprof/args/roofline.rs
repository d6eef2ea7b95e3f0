//! The flags of `kprof roofline`.

use clap::Args;

#[derive(Args, Clone, Debug)]
pub(crate) struct RooflineArgs {}
