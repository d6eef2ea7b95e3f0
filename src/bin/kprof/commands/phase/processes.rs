//! `kprof phase --processes N`: the same measurement by several processes one after another, as one run.
//!
//! A process keeps by chance what it got at its start (where its memory lies, which cores, the state of the machine), so that
//! only several of them show how far two measurements of one program differ.

use super::measure::create;
use super::plan::Plan;
use crate::args::PhaseArgs;
use crate::interrupt;
use crate::progress::Line;
use anyhow::Context as _;
use kprof::host;
use kprof::profile::{Finding, FindingCode, Record, Run, RunWriter, findings_of_processes, read_run};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::Ordering;
use std::time::Instant;

/// Measures in as many processes as asked for; `complete` is false when the user stopped it.
pub(super) fn measure(args: &PhaseArgs, plan: &Plan, line: &mut Line) -> anyhow::Result<Run> {
    let began = Instant::now();
    let mut writer = create(args, plan, &host::now_rfc3339())?;
    let mut run = Run { file: writer.path().display().to_string(), ..Run::default() };
    let stop = interrupt::flag();
    let folder = tempfile::tempdir().context("there is no place for the runs of single processes")?;
    let mut findings: Vec<Finding> = Vec::new();
    for process in 0..args.processes {
        line.update(&format!("process {} of {}", process + 1, args.processes));
        let part = folder.path().join(format!("{process}.jsonl"));
        let finished = one(&part, process > 0 && !args.no_ceilings, args.quiet)?;
        let mut other = read_run(&part)?;
        other.findings.retain(|f| f.code != FindingCode::Partial);
        findings.append(&mut other.findings);
        add(&mut writer, &mut run, other)?;
        if !finished || stop.load(Ordering::Relaxed) {
            break;
        }
    }
    let processes = run.processes.len();
    for finding in findings_of_processes(&findings, processes) {
        push(&mut writer, &mut run, Record::Finding(finding))?;
    }
    if processes == args.processes && !stop.load(Ordering::Relaxed) {
        push(&mut writer, &mut run, Record::End { wall_s: began.elapsed().as_secs_f64() })?;
    }
    Ok(run)
}

fn add(writer: &mut RunWriter, run: &mut Run, other: Run) -> anyhow::Result<()> {
    for record in run.records_of(other) {
        push(writer, run, record)?;
    }
    Ok(())
}

fn push(writer: &mut RunWriter, run: &mut Run, record: Record) -> anyhow::Result<()> {
    writer.append(&record)?;
    run.push(record);
    Ok(())
}

/// Runs this very program with the same flags, for the run file `part`; false when it was interrupted.
fn one(part: &Path, skips_ceilings: bool, quiet: bool) -> anyhow::Result<bool> {
    let program = std::env::current_exe().context("cannot find this program to start it again")?;
    let mut command = Command::new(program);
    command.args(std::env::args_os().skip(1)).arg("--part").arg(part);
    if skips_ceilings {
        // One probe is enough for all of them.
        command.arg("--no-ceilings");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let mut errors = tempfile::tempfile().context("there is no place for what a process says")?;
    if quiet || !std::io::IsTerminal::is_terminal(&std::io::stderr()) {
        command.stderr(errors.try_clone().context("cannot watch a process")?);
    }
    let status = command.status().context("cannot start this program again")?;
    if status.success() {
        return Ok(true);
    }
    if status.code() == Some(i32::from(crate::exit::INTERRUPTED)) || interrupt::flag().load(Ordering::Relaxed)
    {
        return Ok(false);
    }
    let mut said = String::new();
    std::io::Seek::rewind(&mut errors)
        .and_then(|()| std::io::Read::read_to_string(&mut errors, &mut said))?;
    anyhow::bail!("a process of this measurement failed ({status}): {}", said.trim());
}
