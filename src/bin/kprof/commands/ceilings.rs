//! `kprof ceilings`.

use crate::args::CeilingsArgs;

pub(crate) fn run(_args: &CeilingsArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
