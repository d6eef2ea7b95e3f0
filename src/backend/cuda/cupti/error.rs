//! What keeps CUPTI from tracing or counting, each with its cause and what to do.

use super::sys;

/// The versions whose structs were checked, for messages.
pub(super) const KNOWN: &str = "CUDA 12.0 to 13.5";

/// Why kernels could not be traced or counted.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CuptiError {
    /// There is no library.
    #[error(
        "CUPTI is not found; looked in {looked}; it comes with the CUDA toolkit (extras/CUPTI/lib64) and with Python's \
         wheel nvidia-cuda-cupti: say where with --cupti FILE or KPROF_CUPTI, or leave --counters out"
    )]
    NotFound {
        /// Where was looked.
        looked: String,
    },
    /// There is one, and it does not serve.
    #[error("CUPTI cannot be used: {}", refused.join("; "))]
    Unusable {
        /// What was found, and why it does not serve.
        refused: Vec<String>,
    },
    /// It cannot count.
    #[error(
        "{library} is too old to count: the range profiler came with CUDA 12.6; use a newer one (--cupti FILE), or \
         --counters kernels, which needs none"
    )]
    TooOldToCount {
        /// Which.
        library: String,
    },
    /// The driver gives the counters to administrators only.
    #[error(
        "{call}: CUPTI_ERROR_INSUFFICIENT_PRIVILEGES: the driver gives the GPU's performance counters to administrators \
         only; on the host, as root: put `options nvidia NVreg_RestrictProfilingToAdminUsers=0` into \
         /etc/modprobe.d/nvidia-profiling.conf, then `update-initramfs -u` (or `dracut -f`) and reboot; or run with the \
         capability CAP_SYS_ADMIN. Nothing done inside a container can lift it: start the container with \
         --cap-add SYS_ADMIN, or use --counters kernels, which needs no permission"
    )]
    Forbidden {
        /// The function that said so.
        call: &'static str,
    },
    /// Somebody else has the GPU's profiling hardware, or is subscribed.
    #[error(
        "{call}: {reason}: another profiler is at work on this GPU or in this process (ncu, nsys, DCGM, a framework's \
         own): end it, and try again"
    )]
    Busy {
        /// The function that said so.
        call: &'static str,
        /// CUPTI's word for it.
        reason: String,
    },
    /// The device cannot be counted on.
    #[error("{device} cannot be profiled: {reason}; --counters kernels traces kernels without counters")]
    Device {
        /// The device.
        device: String,
        /// Why not.
        reason: String,
    },
    /// Records were lost.
    #[error("CUPTI dropped {count} records: what is left would be taken for all of them")]
    Dropped {
        /// How many.
        count: usize,
    },
    /// Another call that failed.
    #[error("{call}: {reason}")]
    Call {
        /// The function.
        call: &'static str,
        /// CUPTI's word for it.
        reason: String,
    },
}

impl CuptiError {
    /// Whether the machine refuses, so that trying again would not help.
    pub fn is_environment(&self) -> bool {
        !matches!(self, Self::Dropped { .. } | Self::Call { .. })
    }

    /// What a result other than success means.
    pub(super) fn of(call: &'static str, result: i32, reason: String) -> Self {
        match result {
            sys::INSUFFICIENT_PRIVILEGES | sys::VIRTUALIZED_INSUFFICIENT_PRIVILEGES => {
                Self::Forbidden { call }
            }
            sys::MULTIPLE_SUBSCRIBERS | sys::HARDWARE_BUSY | sys::OLD_PROFILER_API_INITIALIZED => {
                Self::Busy { call, reason }
            }
            sys::NOT_SUPPORTED | sys::VIRTUALIZED_DEVICE_NOT_SUPPORTED | sys::CONFIDENTIAL_COMPUTING => {
                Self::Device { device: "the device".to_string(), reason: format!("{call}: {reason}") }
            }
            _ => Self::Call { call, reason },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_told_apart_by_what_helps_against_them() {
        let of = |result| CuptiError::of("cuptiX", result, "CUPTI_X".to_string());
        for result in [35, 40] {
            let said = of(result).to_string();
            assert!(
                said.contains("NVreg_RestrictProfilingToAdminUsers=0") && said.contains("container"),
                "{said}"
            );
        }
        assert!(of(39).to_string().contains("another profiler"));
        assert!(of(33).to_string().contains("--counters kernels"));
        assert!(of(35).is_environment() && of(39).is_environment() && !of(1).is_environment());
    }
}
