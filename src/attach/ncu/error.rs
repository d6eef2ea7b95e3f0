//! What can keep a program from being profiled, each with its cause and what mends it.

use super::version::{NcuVersion, OLDEST};
use std::io;
use std::path::PathBuf;

/// Why a program could not be profiled.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AttachError {
    /// There is no ncu.
    #[error(
        "ncu was not found in: {}; install Nsight Compute (it is part of the CUDA toolkit, and on \
         https://developer.nvidia.com/tools-overview/nsight-compute/get-started), or say where it is with --ncu PATH or \
         KPROF_NCU; a container needs it inside, or mounted",
        looked.join(", ")
    )]
    NotFound {
        /// Where it was looked for.
        looked: Vec<String>,
    },
    /// What was found does not run.
    #[error("cannot run {}", path.display())]
    CannotRun {
        /// The program.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What runs is no ncu.
    #[error("{} is no Nsight Compute: `--version` printed: {said}", path.display())]
    NoVersion {
        /// The program.
        path: PathBuf,
        /// The beginning of what it said.
        said: String,
    },
    /// It is too old.
    #[error(
        "{} is Nsight Compute {version}, and kprof needs {OLDEST} or newer (for `--kernel-name regex:`): install a \
         newer one, which works with older drivers too, and say where it is with --ncu PATH",
        path.display()
    )]
    TooOld {
        /// The program.
        path: PathBuf,
        /// Its version.
        version: NcuVersion,
    },
    /// It does not know the chip.
    #[error(
        "Nsight Compute {version} does not know the chip {chip}, which needs {needed} or newer: install that, and say \
         where it is with --ncu PATH"
    )]
    UnknownChip {
        /// Its version.
        version: NcuVersion,
        /// The chip.
        chip: String,
        /// The first version that knows it.
        needed: String,
    },
    /// It no longer knows the chip.
    #[error(
        "Nsight Compute {version} no longer knows the chip {chip}, which {first} and later ones did: install one of \
         those, and say where it is with --ncu PATH"
    )]
    DroppedChip {
        /// Its version.
        version: NcuVersion,
        /// The chip.
        chip: String,
        /// The first version that knew it.
        first: String,
    },
    /// The driver will refuse the counters.
    #[error("{0}")]
    Forbidden(String),
    /// kprof's own passes would run on the CPU.
    #[error(
        "kprof's passes run on the CPU here, and Nsight Compute counts on GPUs alone: name a program after `--`, or \
         look at the CPU with `kprof phase`"
    )]
    NothingToCount,
    /// A name that is no metric and no set.
    #[error("'{name}' is neither a set of metrics ({sets}) nor a metric's name, which has '__' in it")]
    NoMetric {
        /// The name.
        name: String,
        /// The sets.
        sets: String,
    },
    /// A chip that is not known.
    #[error("unknown chip '{name}'; give a compute capability such as 9.0, or one of: {known}")]
    NoChip {
        /// The name.
        name: String,
        /// The known ones.
        known: String,
    },
    /// A list of metrics of which the chip has none.
    #[error("{chip} has none of the metrics asked for: {metrics}")]
    NoneLeft {
        /// The chip.
        chip: String,
        /// The metrics.
        metrics: String,
    },
    /// There is no such program.
    #[error("there is no program {}, neither here nor on the PATH", program.display())]
    NoProgram {
        /// As given.
        program: PathBuf,
    },
    /// ncu ran, and said why there is nothing.
    #[error("{0}")]
    Problem(Box<super::log::Problem>),
    /// The program took too long.
    #[error(
        "the program was ended after {seconds:.0} s (--timeout), before anything was profiled: raise it, or limit what \
         is profiled with --kernel, --nvtx or --launch-count"
    )]
    TimedOut {
        /// The limit.
        seconds: f64,
    },
    /// ncu ended without a word.
    #[error(
        "ncu ended with {status} and wrote no results{}",
        if log.is_empty() { String::new() } else { format!("; the end of its log: {log}") }
    )]
    Silent {
        /// How it ended.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// A file of its own could not be read or written.
    #[error("{what}")]
    Io {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl AttachError {
    /// Whether the machine is at fault, not the program or the filters: nothing was measured, and nothing would be
    /// by trying again.
    pub fn is_environment(&self) -> bool {
        match self {
            Self::NotFound { .. }
            | Self::CannotRun { .. }
            | Self::NoVersion { .. }
            | Self::TooOld { .. }
            | Self::UnknownChip { .. }
            | Self::DroppedChip { .. }
            | Self::Forbidden(_)
            | Self::NothingToCount => true,
            Self::Problem(problem) => problem.refused,
            _ => false,
        }
    }

    /// Whether the command line is.
    pub fn is_usage(&self) -> bool {
        matches!(self, Self::NoMetric { .. } | Self::NoChip { .. })
    }
}
