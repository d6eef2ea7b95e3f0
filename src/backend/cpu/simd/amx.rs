//! AMX: products of bfloat16 tiles, by assembly, as its intrinsics are not stable.
//!
//! A process has to ask Linux for the tiles' state before it uses them (kernel documentation, arch/x86/xstate.rst).

#![allow(unsafe_code)]

use half::bf16;
use std::arch::asm;
use std::arch::x86_64::{__cpuid, __cpuid_count};
use std::marker::PhantomData;
use std::ops::Range;
use std::sync::LazyLock;

/// Rows of a tile, and its columns of f32.
pub(in crate::backend::cpu) const SIDE: usize = 16;
/// The bfloat16 elements of a tile's row: the depth of one product.
pub(in crate::backend::cpu) const DEPTH: usize = 32;

/// Elements of a piece's pair of tiles: 32 rows or columns, 32 deep.
pub(in crate::backend::cpu) const PIECE: usize = 2 * SIDE * DEPTH;

/// Assembly of [`Tiles::steps_of_pieces`]: loads of a pair of tiles, and the four products of two pairs.
macro_rules! pieces {
    (load a $offset:literal) => {
        concat!(
            "tileloadd tmm4, [{a} + {s}*1 + ", $offset, "]\n",
            "tileloadd tmm5, [{a} + {s}*1 + ", $offset, " + 1024]"
        )
    };
    (load b $offset:literal) => {
        concat!(
            "tileloadd tmm6, [{b} + {s}*1 + ", $offset, "]\n",
            "tileloadd tmm7, [{b} + {s}*1 + ", $offset, " + 1024]"
        )
    };
    (multiply) => {
        "tdpbf16ps tmm0, tmm4, tmm6\ntdpbf16ps tmm1, tmm4, tmm7\ntdpbf16ps tmm2, tmm5, tmm6\ntdpbf16ps tmm3, tmm5, tmm7"
    };
}

static USABLE: LazyLock<bool> = LazyLock::new(|| cpu_has_amx() && kernel_grants_tiles());

/// Whether the CPU has tiles with BF16 and INT8 products, and the kernel has granted this process their state.
pub(crate) fn is_usable() -> bool {
    *USABLE
}

/// CPUID leaf 7, EDX: bit 22 is AMX-BF16, 24 AMX-TILE, 25 AMX-INT8 (Intel SDM, volume 2A, CPUID).
fn cpu_has_amx() -> bool {
    const BITS: u32 = 1 << 22 | 1 << 24 | 1 << 25;
    __cpuid(0).eax >= 7 && __cpuid_count(7, 0).edx & BITS == BITS
}

/// Asks for the tiles' state: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`.
fn kernel_grants_tiles() -> bool {
    if !cfg!(target_os = "linux") {
        return false;
    }
    const ARCH_PRCTL: i64 = 158;
    const ARCH_REQ_XCOMP_PERM: u64 = 0x1023;
    const XFEATURE_XTILEDATA: u64 = 18;
    let mut result = ARCH_PRCTL;
    // SAFETY: a Linux system call with two integers; it clobbers rcx and r11 and touches no memory of ours.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") result,
            in("rdi") ARCH_REQ_XCOMP_PERM,
            in("rsi") XFEATURE_XTILEDATA,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack)
        );
    }
    result == 0
}

/// The proof that tiles can be used.
#[derive(Clone, Copy, Debug)]
pub(in crate::backend::cpu) struct MatrixUnit(());

/// The 64 bytes that LDTILECFG reads: palette 1, then bytes per row and rows of each of the eight tiles.
#[repr(C, align(64))]
struct TileConfig([u8; 64]);

static FULL: TileConfig = TileConfig::full();

impl TileConfig {
    /// Eight tiles of 16 rows of 64 bytes.
    const fn full() -> Self {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = 16;
            tile += 1;
        }
        Self(bytes)
    }
}

/// Tiles configured on this thread until this is dropped.
pub(in crate::backend::cpu) struct Tiles(PhantomData<*mut ()>);

impl Drop for Tiles {
    fn drop(&mut self) {
        // SAFETY: made only by a `MatrixUnit`; tiles hold nothing between two calls.
        unsafe { asm!("tilerelease", options(nostack, nomem)) }
    }
}

impl MatrixUnit {
    pub(in crate::backend::cpu) fn detect() -> Option<Self> {
        is_usable().then_some(Self(()))
    }

    /// Configures this thread's tiles.
    pub(in crate::backend::cpu) fn tiles(self) -> Tiles {
        // SAFETY: the CPU has tiles and the kernel grants their state; 64 bytes are read.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const FULL, options(nostack, readonly)) }
        Tiles(PhantomData)
    }
}

/// Rows of bfloat16 for the left side of a product.
#[derive(Clone, Copy)]
pub(in crate::backend::cpu) struct Rows<'a> {
    /// The first row's first element, and everything after it.
    pub(in crate::backend::cpu) data: &'a [bf16],
    /// Elements from a row to the next.
    pub(in crate::backend::cpu) stride: usize,
}

impl Rows<'_> {
    fn check(&self, depth: usize) {
        assert!((SIDE - 1) * self.stride + depth * DEPTH <= self.data.len(), "a tile's rows are readable");
    }
}

/// The right side: 16 columns as `[depth x 16 pairs][16 columns][2]`, with `stride` elements from a row of pairs to
/// the next.
#[derive(Clone, Copy)]
pub(in crate::backend::cpu) struct Columns<'a> {
    /// The elements.
    pub(in crate::backend::cpu) data: &'a [bf16],
    /// Elements from a row of pairs to the next.
    pub(in crate::backend::cpu) stride: usize,
}

impl Columns<'_> {
    fn check(&self, depth: usize) {
        let rows = depth * DEPTH / 2;
        assert!((rows - 1) * self.stride + 2 * SIDE <= self.data.len(), "a tile's columns are readable");
    }
}

/// A sum of products: 16 x 16 f32, `stride` elements from a row to the next.
pub(in crate::backend::cpu) struct Sums<'a> {
    /// The elements.
    pub(in crate::backend::cpu) data: &'a mut [f32],
    /// Elements from a row to the next.
    pub(in crate::backend::cpu) stride: usize,
}

impl Sums<'_> {
    fn check(&self, rows: usize, columns: usize) {
        assert!((rows - 1) * self.stride + columns <= self.data.len(), "the sums' tiles are writable");
    }
}

/// Memory to ask for before it is used: `step` bytes from each step to the next, a multiple of [`AHEAD`] or none; of each
/// step's, the first [`AHEAD`] are asked for.
#[derive(Clone, Copy)]
pub(in crate::backend::cpu) struct Ahead {
    /// The first step's.
    pub(in crate::backend::cpu) from: *const u8,
    /// Bytes from a step's to the next step's.
    pub(in crate::backend::cpu) step: usize,
}

impl Ahead {
    /// The steps ask for nothing new: for the first line of what they read, again and again.
    pub(in crate::backend::cpu) fn nothing(read: &[bf16]) -> Self {
        Self { from: read.as_ptr().cast(), step: 0 }
    }
}

/// Bytes that a step asks for.
pub(in crate::backend::cpu) const AHEAD: usize = 256;

impl Tiles {
    /// Begins 32 x 32 sums.
    #[inline(always)]
    pub(in crate::backend::cpu) fn begin_2x2(&self) {
        // SAFETY: tiles are configured (self). The compiler itself uses none, so they keep their values until
        // `steps_2x2` and `end_2x2`.
        unsafe {
            asm!(
                "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, nomem)
            );
        }
    }

    /// Goes on with 32 x 32 sums that were written.
    #[inline(always)]
    pub(in crate::backend::cpu) fn resume_2x2(&self, from: &Sums<'_>) {
        from.check(2 * SIDE, 2 * SIDE);
        // SAFETY: tiles are configured (self); what is read was checked to be inside its slice.
        unsafe {
            asm!(
                "tileloadd tmm0, [{c} + {sc}*1]",
                "tileloadd tmm1, [{c} + {sc}*1 + 64]",
                "tileloadd tmm2, [{d} + {sc}*1]",
                "tileloadd tmm3, [{d} + {sc}*1 + 64]",
                c = in(reg) from.data.as_ptr(),
                d = in(reg) from.data.as_ptr().wrapping_add(SIDE * from.stride),
                sc = in(reg) 4 * from.stride,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                options(nostack, readonly)
            );
        }
    }

    /// Adds `a b` over steps `steps` of 32 to the sums begun: 32 rows (two tiles' worth, from `a`) by 32 columns; each
    /// step asks for [`AHEAD`] bytes of `ahead`.
    #[inline(always)]
    pub(in crate::backend::cpu) fn steps_2x2(
        &self,
        a: [Rows<'_>; 2],
        b: [Columns<'_>; 2],
        steps: Range<usize>,
        ahead: Ahead,
    ) {
        a.iter().for_each(|a| a.check(steps.end));
        b.iter().for_each(|b| b.check(steps.end));
        assert!(!steps.is_empty() && a[0].stride == a[1].stride && b[0].stride == b[1].stride);
        let (from_a, from_b) = (steps.start * DEPTH, steps.start * SIDE * b[0].stride);
        // SAFETY: tiles are configured (self), everything read was checked to be inside its slice: step d reads 32
        // elements at 32 d of 16 rows of `a`, and 16 rows of pairs from 16 d on of `b`. A prefetch never faults.
        unsafe {
            asm!(
                "2:",
                "tileloaddt1 tmm4, [{a0} + {sa}*1]",
                "tileloaddt1 tmm6, [{b0} + {sb}*1]",
                "tileloaddt1 tmm7, [{b1} + {sb}*1]",
                "prefetcht1 [{ahead}]",
                "prefetcht1 [{ahead} + 64]",
                "prefetcht1 [{ahead} + 128]",
                "prefetcht1 [{ahead} + 192]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tileloaddt1 tmm5, [{a1} + {sa}*1]",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a0}, 64",
                "add {a1}, 64",
                "add {b0}, {step}",
                "add {b1}, {step}",
                "add {ahead}, {line}",
                "dec {depth}",
                "jnz 2b",
                a0 = inout(reg) a[0].data[from_a..].as_ptr() => _,
                a1 = inout(reg) a[1].data[from_a..].as_ptr() => _,
                b0 = inout(reg) b[0].data[from_b..].as_ptr() => _,
                b1 = inout(reg) b[1].data[from_b..].as_ptr() => _,
                sa = in(reg) 2 * a[0].stride,
                sb = in(reg) 2 * b[0].stride,
                step = in(reg) 32 * b[0].stride,
                depth = inout(reg) steps.len() => _,
                ahead = inout(reg) ahead.from => _,
                line = in(reg) ahead.step,
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack, readonly)
            );
        }
    }

    /// Adds `a b` over `steps` steps of 32 to the sums begun, where both sides are sums of `P` pieces, by the products
    /// of pieces that matter: those whose ranks add up to less than `P`.
    ///
    /// Both sides are tiles one after the other: step by step, piece by piece from the largest, the two of 32 rows or
    /// 32 columns. The products go such that each loads one new pair of tiles alone.
    #[inline(always)]
    pub(in crate::backend::cpu) fn steps_of_pieces<const P: usize>(
        &self,
        a: &[bf16],
        b: &[bf16],
        steps: usize,
    ) {
        assert!(steps > 0 && steps * P * PIECE <= a.len() && steps * P * PIECE <= b.len());
        macro_rules! run {
            ($($line:expr),* $(,)?) => {
                // SAFETY: tiles are configured (self), and what is read was checked to be inside the slices.
                unsafe {
                    asm!(
                        "2:",
                        $($line,)*
                        "add {a}, {step}",
                        "add {b}, {step}",
                        "dec {steps}",
                        "jnz 2b",
                        a = inout(reg) a.as_ptr() => _,
                        b = inout(reg) b.as_ptr() => _,
                        s = in(reg) 64usize,
                        step = const 2 * P * PIECE,
                        steps = inout(reg) steps => _,
                        out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                        out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                        options(nostack, readonly)
                    );
                }
            };
        }
        match P {
            2 => run!(
                pieces!(load a 0),
                pieces!(load b 2048),
                pieces!(multiply),
                pieces!(load b 0),
                pieces!(multiply),
                pieces!(load a 2048),
                pieces!(multiply),
            ),
            3 => run!(
                pieces!(load a 2048),
                pieces!(load b 2048),
                pieces!(multiply),
                pieces!(load a 0),
                pieces!(multiply),
                pieces!(load b 4096),
                pieces!(multiply),
                pieces!(load b 0),
                pieces!(multiply),
                pieces!(load a 2048),
                pieces!(multiply),
                pieces!(load a 4096),
                pieces!(multiply),
            ),
            _ => unreachable!("operands have two or three pieces"),
        }
    }

    /// Writes the sums.
    #[inline(always)]
    pub(in crate::backend::cpu) fn end_2x2(&self, to: &mut Sums<'_>) {
        to.check(2 * SIDE, 2 * SIDE);
        // SAFETY: tiles are configured (self); what is written was checked to be inside its slice.
        unsafe {
            asm!(
                "tilestored [{c} + {sc}*1], tmm0",
                "tilestored [{c} + {sc}*1 + 64], tmm1",
                "tilestored [{d} + {sc}*1], tmm2",
                "tilestored [{d} + {sc}*1 + 64], tmm3",
                c = in(reg) to.data.as_mut_ptr(),
                d = in(reg) to.data.as_mut_ptr().wrapping_add(SIDE * to.stride),
                sc = in(reg) 4 * to.stride,
                options(nostack)
            );
        }
    }

    /// `to = a b`, or `to += a b`, over `depth` steps of 32: 16 rows by 32 columns.
    #[inline(always)]
    pub(in crate::backend::cpu) fn product_1x2(
        &self,
        a: Rows<'_>,
        b: [Columns<'_>; 2],
        depth: usize,
        to: &mut Sums<'_>,
        add: bool,
    ) {
        a.check(depth);
        b.iter().for_each(|b| b.check(depth));
        to.check(SIDE, 2 * SIDE);
        assert!(depth > 0 && b[0].stride == b[1].stride);
        // SAFETY: as in `product_2x2`; the sums that are read were checked to be inside their slice.
        unsafe {
            asm!(
                "test {add}, {add}",
                "jz 3f",
                "tileloadd tmm0, [{c} + {sc}*1]",
                "tileloadd tmm1, [{c} + {sc}*1 + 64]",
                "jmp 2f",
                "3:",
                "tilezero tmm0", "tilezero tmm1",
                "2:",
                "tileloadd tmm4, [{a} + {sa}*1]",
                "tileloadd tmm6, [{b0} + {sb}*1]",
                "tileloadd tmm7, [{b1} + {sb}*1]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "add {a}, 64",
                "add {b0}, {step}",
                "add {b1}, {step}",
                "dec {depth}",
                "jnz 2b",
                "tilestored [{c} + {sc}*1], tmm0",
                "tilestored [{c} + {sc}*1 + 64], tmm1",
                add = in(reg) u64::from(add),
                a = inout(reg) a.data.as_ptr() => _,
                b0 = inout(reg) b[0].data.as_ptr() => _,
                b1 = inout(reg) b[1].data.as_ptr() => _,
                sa = in(reg) 2 * a.stride,
                sb = in(reg) 2 * b[0].stride,
                step = in(reg) 32 * b[0].stride,
                depth = inout(reg) depth => _,
                c = in(reg) to.data.as_mut_ptr(),
                sc = in(reg) 4 * to.stride,
                out("tmm0") _, out("tmm1") _, out("tmm4") _, out("tmm6") _, out("tmm7") _,
                options(nostack)
            );
        }
    }
}
