//! A launch as data: which kernel, how many threads, which arguments. Launches are compared to find a captured graph.

#![allow(unsafe_code)]

use std::fmt::Debug;

/// The largest struct of arguments, in words of 8 bytes.
const WORDS: usize = 20;

/// The arguments of a kernel: one struct that is laid out as C does.
///
/// # Safety
/// The type is `repr(C)`, has no padding and no references, and is what the kernel of that name takes.
pub(super) unsafe trait KernelArgs: Copy + 'static {}

/// A kernel with its grid and arguments.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Launch {
    /// The entry point.
    pub(super) kernel: &'static str,
    /// Blocks.
    pub(super) grid: [u32; 3],
    /// Threads of a block.
    pub(super) threads: u32,
    /// Bytes of dynamic shared memory.
    pub(super) shared: u32,
    bytes: u32,
    words: [u64; WORDS],
}

impl Debug for Launch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} with {}", self.kernel, self.shape())
    }
}

impl Launch {
    pub(super) fn new<A: KernelArgs>(kernel: &'static str, grid: [u32; 3], threads: u32, args: A) -> Self {
        const { assert!(size_of::<A>() <= WORDS * 8 && align_of::<A>() <= 8) };
        let mut words = [0u64; WORDS];
        // SAFETY: the assertion above says that the struct fits, at an alignment that words have; KernelArgs says that
        // every byte of it is initialised.
        unsafe { words.as_mut_ptr().cast::<A>().write(args) };
        Self { kernel, grid, threads, shared: 0, bytes: size_of::<A>() as u32, words }
    }

    /// What stands for a call of a library, where a fault is told: its own kernels and their grids are not known here.
    pub(super) fn of_library(call: &'static str, shape: [usize; 3]) -> Self {
        let grid = shape.map(|n| n as u32);
        Self { kernel: call, grid, threads: 0, shared: 0, bytes: 0, words: [0; WORDS] }
    }

    /// The same with `bytes` of dynamic shared memory.
    pub(super) fn shared(self, bytes: usize) -> Self {
        Self { shared: bytes as u32, ..self }
    }

    /// Where the arguments lie, as cuLaunchKernel wants them.
    pub(super) fn args(&self) -> *const u64 {
        self.words.as_ptr()
    }

    /// The size of the arguments.
    #[cfg(test)]
    pub(super) fn args_bytes(&self) -> usize {
        self.bytes as usize
    }

    /// Grid, block and shared memory in words.
    pub(super) fn shape(&self) -> String {
        let [x, y, z] = self.grid;
        if self.threads == 0 {
            return format!("a product of {x} x {y} x {z}");
        }
        format!("grid {x} x {y} x {z}, {} threads, {} B of dynamic shared memory", self.threads, self.shared)
    }
}
