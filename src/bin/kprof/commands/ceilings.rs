//! `kprof ceilings`.

use crate::args::CeilingsArgs;
use crate::exit::usage;
use anyhow::Context;
use kprof::probe::{Depth, ProbeOptions, Progress, measure_cpu};
use kprof::profile::write_atomically;
use kprof::{host, render};
use std::io::{IsTerminal, Write};
use std::path::Path;

pub(crate) fn run(args: &CeilingsArgs) -> anyhow::Result<()> {
    let outputs = args.export.paths();
    let to_stdout = outputs.iter().filter(|path| **path == Path::new("-")).count();
    if to_stdout > 1 {
        return Err(usage("only one export can go to stdout ('-')"));
    }
    let mut options = ProbeOptions::new(if args.quick { Depth::Quick } else { Depth::Thorough });
    options.threads = args.threads.map_or(options.threads, usize::from);
    let measured = measure_cpu(&options, &mut show_progress());
    clear_progress();

    let export = &args.export;
    if let Some(path) = &export.export_json {
        let json = render::ceilings::json(&measured, &host::environment(), &host::kprof_info())?;
        write_text(path, &json)?;
    }
    if let Some(path) = &export.export_csv {
        write_text(path, &render::ceilings::csv(&measured)?)?;
    }
    if let Some(path) = &export.export_markdown {
        write_text(path, &render::ceilings::markdown(&measured))?;
    }
    if to_stdout == 0 {
        write_text(Path::new("-"), &render::ceilings::text(&measured))?;
    }
    Ok(())
}

/// Writes to a file whole or not at all; `-` is stdout.
fn write_text(path: &Path, text: &str) -> anyhow::Result<()> {
    if path == Path::new("-") {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes()).and_then(|()| out.flush()).context("cannot write to stdout")
    } else {
        write_atomically(path, text.as_bytes()).map_err(Into::into)
    }
}

/// One line that is overwritten, on a terminal only.
fn show_progress() -> impl FnMut(&Progress) {
    let terminal = std::io::stderr().is_terminal();
    move |progress: &Progress| {
        if terminal {
            let Progress { what, done, of, round } = progress;
            eprint!("\r\x1b[Kceilings, round {round}: {}/{of} {what}", done + 1);
        }
    }
}

fn clear_progress() {
    if std::io::stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
}
