//! How much an op does: FLOPs and bytes, counted from its shape.

use crate::units::{ArithmeticIntensity, Bytes, Flops};
use serde::{Deserialize, Serialize};
use std::iter::Sum;
use std::ops::{Add, AddAssign};

/// The analytic cost of an op, a phase or a step.
///
/// Bytes are the *floor*: each external input and output once. They are not DRAM traffic, which caches
/// make smaller and re-reading makes larger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Work {
    /// FLOPs of matrix products (2 per multiply-add): what published FLOP counts and MFU mean.
    pub matmul_flops: Flops,
    /// FLOPs of everything else: norms, activations, sums, softmax; an estimate, see [`super::Op::work`].
    pub elementwise_flops: Flops,
    /// Bytes of external inputs.
    pub bytes_read: Bytes,
    /// Bytes of external outputs.
    pub bytes_written: Bytes,
}

impl Work {
    /// All FLOPs.
    pub fn flops(&self) -> Flops {
        self.matmul_flops + self.elementwise_flops
    }

    /// Bytes read and written.
    pub fn bytes(&self) -> Bytes {
        self.bytes_read + self.bytes_written
    }

    /// FLOPs per byte of the floor; `None` where nothing moves.
    pub fn intensity(&self) -> Option<ArithmeticIntensity> {
        (self.bytes().0 > 0.0).then(|| self.flops() / self.bytes())
    }

    /// This work `factor` times.
    pub fn scaled(&self, factor: f64) -> Self {
        Self {
            matmul_flops: self.matmul_flops * factor,
            elementwise_flops: self.elementwise_flops * factor,
            bytes_read: self.bytes_read * factor,
            bytes_written: self.bytes_written * factor,
        }
    }
}

impl Add for Work {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            matmul_flops: self.matmul_flops + other.matmul_flops,
            elementwise_flops: self.elementwise_flops + other.elementwise_flops,
            bytes_read: self.bytes_read + other.bytes_read,
            bytes_written: self.bytes_written + other.bytes_written,
        }
    }
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sum for Work {
    fn sum<I: Iterator<Item = Self>>(items: I) -> Self {
        items.fold(Self::default(), Add::add)
    }
}
