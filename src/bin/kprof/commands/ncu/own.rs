//! kprof's own passes as the program to profile: `kprof phase`, with one step per stage marked for the profiler.

use crate::args::{Cli, Command, NcuArgs, PhaseArgs};
use crate::exit::usage;
use crate::model::choose;
use clap::Parser as _;
use kprof::attach::ncu::Output;
use std::ffi::OsString;
use std::path::PathBuf;

/// A `kprof phase` to profile.
pub(super) struct Own {
    /// The whole command.
    pub(super) program: Vec<OsString>,
    /// The run file that it will write.
    pub(super) run: PathBuf,
    /// The kind of device that it runs on.
    pub(super) device: &'static str,
}

impl Own {
    /// ncu counts on GPUs alone; the fake device is there to try things out.
    pub(super) fn is_countable(&self) -> bool {
        self.device != "cpu"
    }
}

/// kprof's own passes, if no program was given, or `phase` with its flags.
pub(super) fn own(args: &NcuArgs, output: &Output) -> anyhow::Result<Option<Own>> {
    let flags = match args.program.split_first() {
        None => &[],
        Some((first, flags)) if first == "phase" => flags,
        Some(_) => return Ok(None),
    };
    let phase = parse(flags)?;
    let run = phase.output.clone().unwrap_or_else(|| output.results().with_extension("run.jsonl"));
    let mut program: Vec<OsString> = vec![std::env::current_exe()?.into(), "phase".into()];
    program.extend(flags.iter().cloned());
    if phase.output.is_none() {
        program.extend(["--output".into(), run.clone().into()]);
    }
    if phase.profile_step.is_none() {
        let stage = args.stage.map(|s| format!("={s}")).unwrap_or_default();
        program.push(format!("--profile-step{stage}").into());
    }
    if !phase.quiet {
        program.push("--quiet".into());
    }
    let device = choose(&phase.model)?.device.kind();
    Ok(Some(Own { program, run, device }))
}

/// The flags as `kprof phase` understands them, so that mistakes are found before ncu starts.
fn parse(flags: &[OsString]) -> anyhow::Result<PhaseArgs> {
    let words = ["kprof".into(), "phase".into()].into_iter().chain(flags.iter().cloned());
    let phase = match Cli::try_parse_from(words) {
        Ok(Cli { command: Command::Phase(phase) }) => *phase,
        Ok(_) => return Err(usage("only `phase` can be profiled")),
        Err(error) => error.exit(),
    };
    if phase.load.is_some() {
        return Err(usage("--load measures nothing that could be profiled"));
    }
    Ok(phase)
}
