//! `kprof phase`.

use crate::args::PhaseArgs;

pub(crate) fn run(_args: &PhaseArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
