//! The unsafe core of the CPU backend: vector instructions behind a safe vocabulary, memory seen as numbers, and the
//! threads that share one output.
//!
//! Kernels outside this folder are safe code: they are written over [`Simd`], handed to [`dispatch`], and write to
//! parts of an output that [`Pool`] gives to one task each.

mod cast;
mod pool;
mod portable;
#[cfg(test)]
mod tests;
mod vector;

#[cfg(target_arch = "x86_64")]
pub(super) mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;

pub(super) use cast::{Plain, cast, cast_mut};
pub(super) use pool::{Grid, Pool, Tile};
pub(super) use vector::{Element, LANES, Shape, Simd};

#[cfg(target_arch = "x86_64")]
pub(super) use amx::MatrixUnit;
#[cfg(target_arch = "x86_64")]
pub(crate) use amx::is_usable as tiles_are_usable;

use std::fmt;
use std::str::FromStr;

/// `each!([start; N], i => x)`: an array of N vectors, the `i`-th of which is `x`, computed in a loop; see [`Kernel`].
macro_rules! each {
    ([$start:expr; $count:expr], $i:ident => $x:expr) => {{
        let mut all = [$start; $count];
        for $i in 0..$count {
            all[$i] = $x;
        }
        all
    }};
}
pub(super) use each;

/// A generation of vector instructions that kernels run with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Isa {
    /// Plain code, vectorised by the compiler as far as it can.
    Portable,
    /// AArch64's vectors.
    Neon,
    /// With products of bytes (ARMv8.2's FEAT_DotProd).
    NeonDot,
    /// AVX2 with FMA and F16C.
    Avx2,
    /// AVX-512 F, BW, DQ, VL.
    Avx512,
    /// With VNNI and BF16: products of bytes, and of bfloat16 pairs.
    Avx512Bf16,
    /// With the matrix unit, which multiplies tiles of bfloat16.
    Amx,
}

impl Isa {
    /// All of them, the plainest first.
    pub const ALL: [Self; 7] =
        [Self::Portable, Self::Neon, Self::NeonDot, Self::Avx2, Self::Avx512, Self::Avx512Bf16, Self::Amx];

    /// Those that this CPU has, the plainest first.
    pub fn available() -> Vec<Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_available()).collect()
    }

    /// The best that this CPU has.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::Portable)
    }

    /// The name used in messages and in the environment variable `KPROF_CPU_ISA`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Neon => "neon",
            Self::NeonDot => "neon-dot",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
            Self::Avx512Bf16 => "avx512-bf16",
            Self::Amx => "amx",
        }
    }

    /// Whether it has an instruction for [`Simd::dot_pairs`].
    pub(super) fn multiplies_pairs(self) -> bool {
        matches!(self, Self::Avx512Bf16 | Self::Amx)
    }

    /// Whether it has an instruction for [`Simd::dot_bytes`].
    pub(super) fn multiplies_bytes(self) -> bool {
        matches!(self, Self::NeonDot | Self::Avx512Bf16 | Self::Amx)
    }

    #[cfg(target_arch = "x86_64")]
    fn is_available(self) -> bool {
        match self {
            Self::Portable => true,
            Self::Neon | Self::NeonDot => false,
            Self::Avx2 => avx2::Avx2::detect().is_some(),
            Self::Avx512 => avx512::Avx512::detect().is_some(),
            Self::Avx512Bf16 => avx512::Avx512Bf16::detect().is_some(),
            Self::Amx => avx512::Avx512Bf16::detect().is_some() && MatrixUnit::detect().is_some(),
        }
    }

    #[cfg(target_arch = "aarch64")]
    fn is_available(self) -> bool {
        match self {
            Self::Portable | Self::Neon => true,
            Self::NeonDot => neon::NeonDot::detect().is_some(),
            Self::Avx2 | Self::Avx512 | Self::Avx512Bf16 | Self::Amx => false,
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    fn is_available(self) -> bool {
        self == Self::Portable
    }
}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Isa {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|isa| isa.name() == text)
            .ok_or_else(|| format!("unknown instruction set '{text}'; known: {}", known()))
    }
}

/// Code that is compiled once for each instruction set.
///
/// `run` and what it calls are `#[inline(always)]`, so that they take on the instructions of their caller. A closure cannot be:
/// where the compiler leaves one as a function of its own, each operation in it becomes a call (a product of blocks on
/// AVX2 was ten times slower by one), so that vectors are computed in loops and by [`each`], never in closures.
pub(super) trait Kernel {
    type Output;
    fn run<S: Simd>(self, s: S) -> Self::Output;
}

/// Runs `kernel` with the instructions of `isa`, or with the next plainer ones that this CPU has.
#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code)]
pub(super) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    if isa >= Isa::Avx512Bf16
        && let Some(s) = avx512::Avx512Bf16::detect()
    {
        // SAFETY: `s` is the proof of the features that `run_bf16` enables; as for those below.
        return unsafe { avx512::run_bf16(s, kernel) };
    }
    if isa >= Isa::Avx512
        && let Some(s) = avx512::Avx512::detect()
    {
        // SAFETY: as above; a CPU with AVX-512 has AVX2, FMA and F16C.
        return unsafe { avx512::run(s, kernel) };
    }
    if isa >= Isa::Avx2
        && let Some(s) = avx2::Avx2::detect()
    {
        // SAFETY: as above.
        return unsafe { avx2::run(s, kernel) };
    }
    kernel.run(portable::Portable)
}

/// Runs `kernel` with the instructions of `isa`.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn dispatch<K: Kernel>(isa: Isa, kernel: K) -> K::Output {
    #[cfg(target_arch = "aarch64")]
    {
        if isa >= Isa::NeonDot
            && let Some(s) = neon::NeonDot::detect()
        {
            return kernel.run(s);
        }
        if isa >= Isa::Neon {
            return kernel.run(neon::Neon);
        }
    }
    let _ = isa;
    kernel.run(portable::Portable)
}
