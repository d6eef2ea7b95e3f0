//! Exit codes: 0 ok, 1 failure, 2 usage, 3 a confirmed regression, 4 findings under `--strict` or unclear where asked, 5 refused by the machine, 130 interrupted; and the one place that prints an error.

use kprof::attach::ncu::AttachError;
use kprof::backend::{CudaError, CuptiError};
use kprof::runner::RunnerError;
use std::process::ExitCode;

/// A mistake on the command line that clap cannot see, e.g. an unknown version: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct UsageError(pub(crate) String);

/// What a shell expects of a program that SIGINT ended: 128 + 2.
pub(crate) const INTERRUPTED: u8 = 130;

/// The user stopped the run; what was measured is kept.
#[derive(Debug, thiserror::Error)]
#[error("interrupted: {0}")]
pub(crate) struct Interrupted(pub(crate) String);

/// There are findings, and the user asked that there be none: exit code 4.
#[derive(Debug, thiserror::Error)]
#[error("--strict: {0} finding{s}", s = if *.0 == 1 { "" } else { "s" })]
pub(crate) struct Strict(pub(crate) usize);

/// A run is slower than its baseline for certain: exit code 3.
#[derive(Debug, thiserror::Error)]
#[error("{0} confirmed regression{s}", s = if *.0 == 1 { "" } else { "s" })]
pub(crate) struct Regressed(pub(crate) usize);

/// Verdicts are unclear, and the user asked that none be: exit code 4.
#[derive(Debug, thiserror::Error)]
#[error("--fail-on unclear: {0} verdict{s} unclear", s = if *.0 == 1 { " is" } else { "s are" })]
pub(crate) struct TooUnclear(pub(crate) usize);

/// Wraps any error as a usage error.
pub(crate) fn usage(error: impl std::fmt::Display) -> anyhow::Error {
    UsageError(error.to_string()).into()
}

/// Prints `error` with its causes and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    // A closed pipe (`kprof … | head`) is no failure of ours.
    let broken_pipe = error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
    });
    if broken_pipe {
        return ExitCode::SUCCESS;
    }
    eprintln!("error: {error:#}");
    if error.downcast_ref::<UsageError>().is_some() {
        return ExitCode::from(2);
    }
    if let Some(attach) = error.downcast_ref::<AttachError>() {
        return ExitCode::from(if attach.is_usage() {
            2
        } else if attach.is_environment() {
            5
        } else {
            1
        });
    }
    if let Some(cuda) = error.downcast_ref::<CudaError>() {
        return ExitCode::from(if cuda.is_usage() {
            2
        } else if cuda.is_environment() {
            5
        } else {
            1
        });
    }
    let of_runner = error.downcast_ref::<RunnerError>().and_then(|error| match error {
        RunnerError::Cupti(cupti) => Some(cupti),
        _ => None,
    });
    if let Some(cupti) = error.downcast_ref::<CuptiError>().or(of_runner) {
        return ExitCode::from(if cupti.is_environment() { 5 } else { 1 });
    }
    if error.downcast_ref::<Interrupted>().is_some() {
        return ExitCode::from(INTERRUPTED);
    }
    if error.downcast_ref::<Regressed>().is_some() {
        return ExitCode::from(3);
    }
    if error.downcast_ref::<Strict>().is_some() || error.downcast_ref::<TooUnclear>().is_some() {
        return ExitCode::from(4);
    }
    ExitCode::FAILURE
}
