//! Which rank this process is, told by what launchers leave in its environment.
//!
//! Launchers stand inside each other (Slurm starts mpirun, mpirun or srun start torchrun), and what the outer one sets is
//! inherited. So the innermost one that is known counts: torchrun, then Open MPI, PMIx, PMI (MPICH, Intel MPI), Slurm.
//! `KPROF_LAUNCHER` names one instead, or `none`.

use crate::profile::RankInfo;

/// The variable that names the launcher to believe.
const CHOICE: &str = "KPROF_LAUNCHER";

/// What a launcher sets: each figure in the first of these variables that is there.
struct Launcher {
    /// Its name, as `KPROF_LAUNCHER` takes it and files say it.
    name: &'static str,
    rank: &'static str,
    size: &'static [&'static str],
    local: &'static [&'static str],
    /// Variables that together name the launch.
    job: &'static [&'static str],
    /// Whether it needs its size to be believed: the name of the rank is one that others use too.
    needs_size: bool,
}

/// The known ones, the innermost first.
///
/// torchrun: pytorch.org/docs/stable/elastic/run.html. Open MPI: docs.open-mpi.org, "Environment variables". PMI: hydra of
/// MPICH and Intel MPI. Slurm: slurm.schedmd.com/srun.html, "OUTPUT ENVIRONMENT VARIABLES".
const LAUNCHERS: &[Launcher] = &[
    Launcher {
        name: "torchrun",
        rank: "RANK",
        size: &["WORLD_SIZE"],
        local: &["LOCAL_RANK"],
        job: &["TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT"],
        needs_size: true,
    },
    Launcher {
        name: "openmpi",
        rank: "OMPI_COMM_WORLD_RANK",
        size: &["OMPI_COMM_WORLD_SIZE"],
        local: &["OMPI_COMM_WORLD_LOCAL_RANK"],
        job: &["PMIX_NAMESPACE"],
        needs_size: false,
    },
    Launcher {
        name: "pmix",
        rank: "PMIX_RANK",
        size: &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
        local: &["SLURM_LOCALID"],
        job: &["PMIX_NAMESPACE"],
        needs_size: false,
    },
    Launcher {
        name: "pmi",
        rank: "PMI_RANK",
        size: &["PMI_SIZE"],
        local: &["MPI_LOCALRANKID", "SLURM_LOCALID"],
        job: &["SLURM_JOB_ID", "SLURM_STEP_ID"],
        needs_size: false,
    },
    Launcher {
        name: SLURM,
        rank: "SLURM_PROCID",
        size: &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
        local: &["SLURM_LOCALID"],
        job: &["SLURM_JOB_ID", "SLURM_STEP_ID"],
        needs_size: false,
    },
];

const SLURM: &str = "slurm";

/// Step numbers from here on are Slurm's own: the batch script (0xfffffffb), an interactive shell, helpers. They carry rank
/// variables without srun having started this process (slurm.h, `SLURM_MAX_NORMAL_STEP_ID`).
const FIRST_STEP_OF_SLURMS_OWN: u32 = 0xffff_fff0;

/// Why a rank cannot be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RankError {
    /// A variable has no number.
    #[error(
        "{variable}='{value}', which {launcher} sets, is no number; unset it, or set {CHOICE}=none to run without ranks"
    )]
    NoNumber {
        /// The variable.
        variable: &'static str,
        /// Its value.
        value: String,
        /// Whose it is.
        launcher: &'static str,
    },
    /// The rank is none of so many.
    #[error(
        "{rank_variable}={rank} is none of {size} ranks ({size_variable}), as {launcher} counts them from 0; mend the \
         variables, or set {CHOICE}=none to run without ranks"
    )]
    OutOfWorld {
        /// Where the rank was read.
        rank_variable: &'static str,
        /// The rank.
        rank: usize,
        /// Where the number of ranks was read.
        size_variable: &'static str,
        /// How many there are.
        size: usize,
        /// Who says so.
        launcher: &'static str,
    },
    /// `KPROF_LAUNCHER` is no launcher.
    #[error("{CHOICE}='{value}' is no launcher; known: none, {}", names())]
    UnknownChoice {
        /// Its value.
        value: String,
    },
    /// `KPROF_LAUNCHER` names one that did not start this process.
    #[error("{CHOICE}={launcher}, but {variable} is not set: {launcher} did not start this process")]
    NotThere {
        /// The launcher.
        launcher: &'static str,
        /// What it would have set.
        variable: &'static str,
    },
}

fn names() -> String {
    LAUNCHERS.iter().map(|l| l.name).collect::<Vec<_>>().join(", ")
}

/// The rank of a process, and the other launchers that say something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rank {
    /// What the innermost launcher says.
    pub info: RankInfo,
    /// What launchers around it say, where that differs: `slurm: rank 0 of 2`.
    pub overruled: Vec<String>,
}

/// The rank of this process; `None` where nothing launched it.
///
/// # Errors
/// When the variables contradict each other.
pub fn rank_of_process() -> Result<Option<Rank>, RankError> {
    rank_of(|name| std::env::var_os(name).map(|v| v.to_string_lossy().into_owned()))
}

/// The rank of a process with these variables.
///
/// # Errors
/// When the variables contradict each other.
pub fn rank_of(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Rank>, RankError> {
    let get = |name: &str| variable(name).filter(|value| !value.is_empty());
    let believed: Vec<&Launcher> = match get(CHOICE).as_deref() {
        Some("none") => return Ok(None),
        Some(choice) => vec![chosen(choice, &get)?],
        None => LAUNCHERS.iter().filter(|launcher| launcher.started_this(&get)).collect(),
    };
    let Some((inner, outer)) = believed.split_first() else { return Ok(None) };
    let info = inner.info(&get)?;
    // What an outer one says badly is of no concern: it is not believed.
    let others = outer.iter().filter_map(|launcher| launcher.info(&get).ok());
    let differs = |other: &RankInfo| (other.rank, other.world_size) != (info.rank, info.world_size);
    let overruled = others.filter(differs).map(|o| format!("{}: {}", o.launcher, o.name())).collect();
    Ok(Some(Rank { info, overruled }))
}

fn chosen(choice: &str, get: &impl Fn(&str) -> Option<String>) -> Result<&'static Launcher, RankError> {
    let launcher = LAUNCHERS
        .iter()
        .find(|l| l.name == choice)
        .ok_or_else(|| RankError::UnknownChoice { value: choice.to_string() })?;
    match get(launcher.rank) {
        Some(_) => Ok(launcher),
        None => Err(RankError::NotThere { launcher: launcher.name, variable: launcher.rank }),
    }
}

impl Launcher {
    /// Whether this one started the process, and not merely something around it.
    fn started_this(&self, get: &impl Fn(&str) -> Option<String>) -> bool {
        let has_size = || self.size.iter().any(|name| get(name).is_some());
        get(self.rank).is_some() && (!self.needs_size || has_size()) && (self.name != SLURM || is_srun(get))
    }

    fn info(&self, get: &impl Fn(&str) -> Option<String>) -> Result<RankInfo, RankError> {
        let number = |variable: &'static str| -> Result<Option<usize>, RankError> {
            let Some(value) = get(variable) else { return Ok(None) };
            let wrong = |_| RankError::NoNumber { variable, value: value.clone(), launcher: self.name };
            value.trim().parse().map(Some).map_err(wrong)
        };
        let first = |names: &'static [&'static str]| -> Result<Option<(&'static str, usize)>, RankError> {
            for &name in names {
                if let Some(value) = number(name)? {
                    return Ok(Some((name, value)));
                }
            }
            Ok(None)
        };
        let rank = number(self.rank)?.unwrap_or_default();
        let size = first(self.size)?;
        if let Some((size_variable, size)) = size.filter(|(_, size)| rank >= *size) {
            let (rank_variable, launcher) = (self.rank, self.name);
            return Err(RankError::OutOfWorld { rank_variable, rank, size_variable, size, launcher });
        }
        let job: Vec<String> = self.job.iter().filter_map(|name| get(name)).collect();
        Ok(RankInfo {
            rank,
            world_size: size.map(|(_, size)| size),
            local_rank: first(self.local)?.map(|(_, local)| local),
            launcher: self.name.to_string(),
            job: (!job.is_empty()).then(|| job.join(" ")),
        })
    }
}

/// Whether srun started this process: it is a task of a normal step.
fn is_srun(get: &impl Fn(&str) -> Option<String>) -> bool {
    let step = get("SLURM_STEP_ID").or_else(|| get("SLURM_STEPID"));
    step.and_then(|s| s.trim().parse::<u32>().ok()).is_some_and(|step| step < FIRST_STEP_OF_SLURMS_OWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rank(variables: &[(&str, &str)]) -> Result<Option<Rank>, RankError> {
        rank_of(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_string()))
    }

    fn told(variables: &[(&str, &str)]) -> (String, String, Option<usize>) {
        let info = rank(variables).unwrap().unwrap().info;
        (info.launcher.clone(), info.name(), info.local_rank)
    }

    #[test]
    fn each_launcher_is_known_by_what_it_sets() {
        let known = |launcher: &str, name: &str, local| (launcher.to_string(), name.to_string(), local);
        let torchrun = [("RANK", "5"), ("WORLD_SIZE", "8"), ("LOCAL_RANK", "1")];
        assert_eq!(told(&torchrun), known("torchrun", "rank 5 of 8", Some(1)));
        let openmpi = [
            ("OMPI_COMM_WORLD_RANK", "2"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "0"),
            ("PMIX_RANK", "2"),
        ];
        assert_eq!(told(&openmpi), known("openmpi", "rank 2 of 4", Some(0)));
        let hydra = [("PMI_RANK", "3"), ("PMI_SIZE", "4"), ("MPI_LOCALRANKID", "1")];
        assert_eq!(told(&hydra), known("pmi", "rank 3 of 4", Some(1)));
        assert_eq!(told(&[("PMIX_RANK", "1")]), known("pmix", "rank 1", None));
        let slurm = [
            ("SLURM_PROCID", "3"),
            ("SLURM_NTASKS", "8"),
            ("SLURM_STEP_NUM_TASKS", "4"),
            ("SLURM_LOCALID", "1"),
            ("SLURM_STEP_ID", "0"),
        ];
        assert_eq!(told(&slurm), known("slurm", "rank 3 of 4", Some(1)));
    }

    #[test]
    fn a_batch_script_a_shell_and_a_stray_variable_are_no_ranks() {
        assert_eq!(rank(&[]), Ok(None));
        assert_eq!(rank(&[("RANK", "1")]), Ok(None));
        assert_eq!(rank(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4")]), Ok(None));
        // The batch step, and the step of an interactive shell.
        for step in ["4294967291", "4294967290"] {
            assert_eq!(
                rank(&[("SLURM_PROCID", "0"), ("SLURM_NTASKS", "4"), ("SLURM_STEP_ID", step)]),
                Ok(None)
            );
        }
    }

    #[test]
    fn the_inner_launcher_counts_unless_another_is_named() {
        let both = [
            ("RANK", "3"),
            ("WORLD_SIZE", "4"),
            ("LOCAL_RANK", "1"),
            ("SLURM_PROCID", "1"),
            ("SLURM_NTASKS", "2"),
            ("SLURM_STEP_ID", "0"),
        ];
        let found = rank(&both).unwrap().unwrap();
        assert_eq!(found.info.name(), "rank 3 of 4");
        assert_eq!(found.overruled, ["slurm: rank 1 of 2"]);
        let named = |name| rank(&[&both[..], &[(CHOICE, name)]].concat());
        assert_eq!(named("slurm").unwrap().unwrap().info.name(), "rank 1 of 2");
        assert_eq!(named("none"), Ok(None));
        assert!(named("pbs").unwrap_err().to_string().contains("known: none, torchrun, openmpi"));
        assert!(named("openmpi").unwrap_err().to_string().contains("did not start this process"));
    }

    #[test]
    fn contradictions_are_refused_with_the_variables() {
        let error = rank(&[("RANK", "4"), ("WORLD_SIZE", "4")]).unwrap_err().to_string();
        assert!(error.contains("RANK=4 is none of 4 ranks (WORLD_SIZE)"), "{error}");
        let error = rank(&[("OMPI_COMM_WORLD_RANK", "x")]).unwrap_err().to_string();
        assert!(
            error.contains("OMPI_COMM_WORLD_RANK='x'") && error.contains("KPROF_LAUNCHER=none"),
            "{error}"
        );
    }
}
