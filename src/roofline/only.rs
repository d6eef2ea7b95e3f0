//! A run reduced to the FLOPs of one precision, so that its points are held against that ceiling alone.

use crate::profile::{KernelFlops, KernelRecord, Measured, suggests_matrix_units};

/// Whose FLOPs, and so which ceilings, points are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Only {
    /// All of them, each against its own ceiling.
    #[default]
    All,
    /// Double precision on vector units.
    Fp64,
    /// Single precision on vector units.
    Fp32,
    /// Half precision on vector units.
    Fp16,
    /// Matrix units, whatever the operands.
    Tensor,
}

impl Only {
    /// The launch with these FLOPs only; times and bytes stay.
    #[must_use]
    pub fn of_kernel(self, kernel: &KernelRecord) -> KernelRecord {
        let mut kernel = kernel.clone();
        if self != Self::All {
            self.reduce(&mut kernel);
        }
        kernel
    }

    /// What to call it; `None` for all precisions.
    pub fn name(self) -> Option<&'static str> {
        match self {
            Self::All => None,
            Self::Fp64 => Some("fp64"),
            Self::Fp32 => Some("fp32"),
            Self::Fp16 => Some("fp16"),
            Self::Tensor => Some("tensor"),
        }
    }

    fn reduce(self, kernel: &mut KernelRecord) {
        // Its vector FLOPs alone would make a tensor-core kernel look idle.
        let uncounted = self != Self::Tensor
            && kernel.flops.tensor.is_none()
            && kernel.rates.as_ref().is_none_or(|r| r.flops.tensor.is_none())
            && suggests_matrix_units(&kernel.kernel);
        kernel.flops = self.flops(&kernel.flops);
        if let Some(rates) = &mut kernel.rates {
            rates.flops = self.flops(&rates.flops);
        }
        let rates = kernel.rates.as_ref().map(|r| &r.flops);
        let counted = |flops: &KernelFlops| self.part(flops).is_some_and(|m| !m.lower_bound);
        kernel.missing.retain(|metric| metric.contains(self.metric_part()));
        kernel.flops_complete =
            !uncounted && (counted(&kernel.flops) || rates.is_some_and(counted)) && kernel.missing.is_empty();
    }

    fn flops(self, all: &KernelFlops) -> KernelFlops {
        match self {
            Self::All => all.clone(),
            Self::Fp64 => KernelFlops { fp64: all.fp64.clone(), ..KernelFlops::default() },
            Self::Fp32 => KernelFlops { fp32: all.fp32.clone(), ..KernelFlops::default() },
            Self::Fp16 => KernelFlops {
                fp16: all.fp16.clone(),
                fp16_packed: all.fp16_packed.clone(),
                ..KernelFlops::default()
            },
            Self::Tensor => KernelFlops {
                tensor: all.tensor.clone(),
                tensor_by_type: all.tensor_by_type.clone(),
                ..KernelFlops::default()
            },
        }
    }

    fn part(self, flops: &KernelFlops) -> Option<&Measured> {
        match self {
            Self::All => None,
            Self::Fp64 => flops.fp64.as_ref(),
            Self::Fp32 => flops.fp32.as_ref(),
            Self::Fp16 => flops.fp16_packed.as_ref(),
            Self::Tensor => flops.tensor.as_ref(),
        }
    }

    /// What the names of this precision's metrics have in them.
    fn metric_part(self) -> &'static str {
        match self {
            Self::All => "",
            Self::Fp64 => "_op_d",
            Self::Fp32 => "_op_f",
            Self::Fp16 => "_op_h",
            Self::Tensor => "tensor",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{kernel, reference_prefill};
    use super::*;

    fn only(which: Only, record: KernelRecord) -> KernelRecord {
        which.of_kernel(&record)
    }

    #[test]
    fn one_precision_is_complete_although_others_were_not_collected() {
        // The reference system counted all of fp32 and nothing of its tensor cores.
        let fp32 = only(Only::Fp32, reference_prefill());
        assert!(fp32.flops_complete && fp32.missing.is_empty());
        let tensor = only(Only::Tensor, reference_prefill());
        assert!(!tensor.flops_complete && tensor.flops.total().is_none() && tensor.missing.len() == 1);
    }

    #[test]
    fn a_tensor_core_kernel_is_not_complete_by_its_vector_flops() {
        let record = KernelRecord { kernel: "ampere_s16816gemm".into(), ..reference_prefill() };
        assert!(!only(Only::Fp32, record).flops_complete);
    }

    #[test]
    fn other_precisions_are_left_out_and_all_changes_nothing() {
        assert_eq!(only(Only::Fp64, kernel("k", 1.0, 1.0, 5.0)).flops.total(), Some(0.0));
        assert_eq!(only(Only::All, kernel("k", 1.0, 1.0, 5.0)), kernel("k", 1.0, 1.0, 5.0));
    }
}
