//! `kprof logits`.

use crate::args::LogitsArgs;

pub(crate) fn run(_args: &LogitsArgs) -> anyhow::Result<()> {
    anyhow::bail!("not built yet")
}
