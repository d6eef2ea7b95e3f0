//! From the flags to a command: which ncu, whether it may, which metrics, where the results go.

use super::own::own;
use crate::args::NcuArgs;
use anyhow::Context as _;
use kprof::attach::ncu::{
    self, AttachError, Choice, Ncu, NcuVersion, OLDEST, Offer, Output, Permission, Places, Profile,
};
use kprof::profile::{Finding, FindingCode};
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// Everything that is needed to start.
pub(super) struct Plan {
    pub(super) ncu: Ncu,
    pub(super) permission: Permission,
    pub(super) arguments: Vec<OsString>,
    pub(super) output: Output,
    /// The run file of kprof's own passes, if they are what is profiled.
    pub(super) run: Option<PathBuf>,
    pub(super) findings: Vec<Finding>,
    /// What keeps the command from being run; only a dry run goes on with one.
    pub(super) obstacle: Option<AttachError>,
    /// Removed with everything in it at the end; `None` when the results are kept.
    _temporary: Option<TempDir>,
}

/// Finds all that a mistake can be in before anything runs.
pub(super) fn plan(args: &NcuArgs) -> anyhow::Result<Plan> {
    let (ncu, mut obstacle) = match Places::of_environment(args.ncu.as_deref()).find() {
        Ok(ncu) => (Some(ncu), None),
        Err(error) if args.dry_run => (None, Some(error)),
        Err(error) => return Err(error.into()),
    };
    let (output, temporary) = output(args)?;
    let own = own(args, &output)?;
    let program = own.as_ref().map_or(&args.program, |own| &own.program).clone();
    if obstacle.is_none() {
        obstacle = program.first().and_then(|p| missing_program(p));
    }
    let counts_nothing = own.as_ref().is_some_and(|own| !own.is_countable());
    if obstacle.is_none() && counts_nothing && !args.no_check {
        obstacle = Some(AttachError::NothingToCount);
    }
    let permission = Permission::read(Path::new("/"));
    if obstacle.is_none() && permission.is_forbidden() && !args.no_check {
        obstacle = Some(AttachError::Forbidden(permission.to_string()));
    }
    let Choice { metrics, mut findings } = ncu::choose(&args.metrics, &offer(args, ncu.as_ref())?)?;
    findings.extend(doubts(&permission));
    let more = args.ncu_arg.clone();
    let nvtx = args.roofline.0.nvtx.iter().map(|name| ncu::push_pop_range(name));
    let profile = Profile {
        metrics,
        kernel: args.roofline.0.kernel.as_ref().map(ToString::to_string),
        nvtx: nvtx.chain(args.nvtx_include.iter().cloned()).collect(),
        launch_skip: args.launch_skip,
        launch_count: args.launch_count,
        from_profiler_start: args.from_profiler_start || own.is_some(),
        more,
        program,
    };
    let arguments = ncu::arguments(&profile, &output);
    // Shown, never run: a dry run may be made where there is no ncu.
    let ncu = ncu.unwrap_or(Ncu { path: PathBuf::from("ncu"), version: OLDEST });
    let run = own.map(|own| own.run);
    Ok(Plan { ncu, permission, arguments, output, run, findings, obstacle, _temporary: temporary })
}

/// A program that is nowhere: ncu would say so on the stdout that is the program's.
fn missing_program(program: &OsStr) -> Option<AttachError> {
    let path = Path::new(program);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let there = path.exists()
        || path.with_extension("exe").exists()
        || (path.components().count() == 1
            && std::env::split_paths(&folders)
                .any(|f| f.join(path).exists() || f.join(path).with_extension("exe").exists()));
    (!there).then(|| AttachError::NoProgram { program: path.to_path_buf() })
}

/// What the chip offers: by the flag, or the machine's; as the profiler lists it, where there is one.
fn offer(args: &NcuArgs, ncu: Option<&Ncu>) -> Result<Offer, AttachError> {
    let chip = match &args.device_chip {
        Some(text) => Some(ncu::chip_from(text)?),
        None => ncu::chip_of_machine(),
    };
    match ncu {
        Some(ncu) => ncu::ask(ncu, chip),
        None => Ok(Offer { chip, ..Offer::default() }),
    }
}

/// What is not certain about the permission.
fn doubts(permission: &Permission) -> Option<Finding> {
    let doubtful =
        permission.restricted == Some(true) && permission.own_namespace && !permission.is_forbidden();
    doubtful.then(|| {
        let message = "counters are for administrators only, and this process is one in a user namespace of its own, \
                       which the driver may not accept";
        Finding::new(FindingCode::ProfilerMessage, "permission", message)
    })
}

/// Where ncu writes: where the user wants it kept, or a temporary folder.
fn output(args: &NcuArgs) -> anyhow::Result<(Output, Option<TempDir>)> {
    let in_folder =
        |folder: &Path| Output::Report { report: folder.join("report.ncu-rep"), log: folder.join("ncu.log") };
    let Some(path) = &args.output else {
        if args.dry_run {
            return Ok((in_folder(Path::new("")), None));
        }
        let folder = tempfile::Builder::new()
            .prefix("kprof-ncu-")
            .tempdir()
            .context("cannot make a temporary folder")?;
        return Ok((in_folder(folder.path()), Some(folder)));
    };
    let extension = path.extension().and_then(|e| e.to_str()).map(str::to_lowercase);
    let (output, folder) = match extension.as_deref() {
        Some("csv") => (Output::Csv(path.clone()), path.parent()),
        Some("ncu-rep") => {
            (Output::Report { report: path.clone(), log: path.with_extension("log") }, path.parent())
        }
        _ => (in_folder(path), Some(path.as_path())),
    };
    if !args.dry_run
        && let Some(folder) = folder.filter(|f| !f.as_os_str().is_empty())
    {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    Ok((output, None))
}

/// The command as a line for a shell.
pub(super) fn shown(plan: &Plan) -> String {
    ncu::shown(&plan.ncu.path, &plan.arguments)
}

/// The version, for the log.
pub(super) fn version(plan: &Plan) -> NcuVersion {
    plan.ncu.version
}
