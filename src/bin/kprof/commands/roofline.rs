//! `kprof roofline`.

use crate::args::RooflineArgs;

pub(crate) fn run(_args: &RooflineArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
