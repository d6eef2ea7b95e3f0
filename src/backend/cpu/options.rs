//! What a user chooses of the CPU backend, and what is chosen otherwise.

use super::simd::Isa;
use crate::backend::BackendError;
use crate::hw::CpuTopology;
use crate::llm::{DType, WeightFormat};

/// Names an instruction set to use instead of the best one: for tests and for comparisons.
const ISA_VARIABLE: &str = "KPROF_CPU_ISA";

/// How to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CpuOptions {
    /// Storage type of activations, and of weights that are not quantised.
    pub dtype: DType,
    /// How the weights of linears are stored; `None` is as `dtype`.
    pub weights: Option<WeightFormat>,
    /// Threads, the caller's included; `None` is one per physical core that this process may use.
    pub threads: Option<usize>,
    /// Whether each thread stays on a CPU of its own.
    pub pin: bool,
    /// The instruction set; `None` is what `KPROF_CPU_ISA` says, or the best.
    pub isa: Option<Isa>,
}

impl CpuOptions {
    /// All of a model in `dtype`, on all cores, with the best instructions.
    pub fn new(dtype: DType) -> Self {
        Self { dtype, weights: None, threads: None, pin: false, isa: None }
    }

    /// The instruction set to use.
    ///
    /// # Errors
    /// When it is not known, or this CPU does not have it.
    pub(super) fn choose_isa(&self) -> Result<Isa, BackendError> {
        let refuse = |what: String| BackendError::Unsupported { backend: "cpu", what };
        let named = || match std::env::var(ISA_VARIABLE) {
            Ok(name) if !name.is_empty() => {
                name.parse().map(Some).map_err(|e: String| refuse(format!("{ISA_VARIABLE}={name}: {e}")))
            }
            _ => Ok(None),
        };
        let wanted = match self.isa {
            Some(isa) => Some(isa),
            None => named()?,
        };
        let available = Isa::available();
        match wanted {
            None => Ok(Isa::best()),
            Some(isa) if available.contains(&isa) => Ok(isa),
            Some(isa) => {
                let names: Vec<&str> = available.iter().map(|isa| isa.name()).collect();
                Err(refuse(format!("{isa} on this CPU, which has: {}", names.join(", "))))
            }
        }
    }

    /// The number of threads to use; at least 1.
    pub(super) fn choose_threads(&self) -> usize {
        self.threads.unwrap_or_else(default_threads).max(1)
    }
}

/// One thread per physical core, if this process may use as many CPUs: a second thread on a core shares its vector
/// units and its share of bandwidth.
pub(super) fn default_threads() -> usize {
    let allowed = std::thread::available_parallelism().map_or(1, usize::from);
    CpuTopology::detect().physical_cores.map_or(allowed, |cores| cores.min(allowed))
}

/// The CPUs that this process may run on, for threads to be pinned to one each; empty where that is not known.
#[cfg(target_os = "linux")]
pub(super) fn allowed_cpus() -> Vec<usize> {
    use rustix::thread::{CpuSet, sched_getaffinity};
    sched_getaffinity(None)
        .map(|set| (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
        .unwrap_or_default()
}

/// Keeps the calling thread on `cpu`; a system that refuses leaves it where it likes.
#[cfg(target_os = "linux")]
pub(super) fn pin_to(cpu: usize) {
    use rustix::thread::{CpuSet, sched_setaffinity};
    let mut set = CpuSet::new();
    set.set(cpu);
    let _ = sched_setaffinity(None, &set);
}

/// Not known on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn allowed_cpus() -> Vec<usize> {
    Vec::new()
}

/// Not possible on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn pin_to(_cpu: usize) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instruction_set_that_the_cpu_lacks_is_refused_with_those_it_has() {
        let missing = Isa::ALL.into_iter().find(|isa| !Isa::available().contains(isa)).unwrap();
        let options = CpuOptions { isa: Some(missing), ..CpuOptions::new(DType::F32) };
        let error = options.choose_isa().unwrap_err().to_string();
        assert!(error.contains(missing.name()) && error.contains("portable"), "{error}");
        for isa in Isa::available() {
            let options = CpuOptions { isa: Some(isa), ..options };
            assert_eq!(options.choose_isa().unwrap(), isa);
        }
    }

    #[test]
    fn threads_are_as_asked_and_at_least_one() {
        let options = CpuOptions { threads: Some(0), ..CpuOptions::new(DType::F32) };
        assert_eq!(options.choose_threads(), 1);
        assert!(CpuOptions::new(DType::F32).choose_threads() >= 1);
    }
}
