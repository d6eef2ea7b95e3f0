//! `kprof view`.

use super::figures;
use crate::args::ViewArgs;
use crate::view::{App, show, tabs};
use anyhow::Context as _;
use kprof::render::Glyphs;
use std::io::IsTerminal;

pub(crate) fn run(args: &ViewArgs) -> anyhow::Result<()> {
    let input = figures::read(&args.runs, &args.label, args.device.as_deref())?;
    anyhow::ensure!(
        std::io::stdout().is_terminal() && std::io::stdin().is_terminal(),
        "kprof view needs a terminal; for a file or a pipe: kprof plot --terminal, kprof phase --load, or kprof report"
    );
    let glyphs = Glyphs::of(args.ascii);
    let app = App::new(tabs(&input, glyphs), input.roofline, glyphs);
    show(app, args.fail_after).context("the terminal failed")
}
