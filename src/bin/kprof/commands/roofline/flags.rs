//! What the flags mean to the library.

use crate::args::{ByArg, LevelArg, PrecisionArg, RooflineArgs};
use kprof::hw::MemoryLevel;
use kprof::roofline::{By, Only, Selection};

pub(super) fn by(arg: ByArg) -> By {
    match arg {
        ByArg::Kernel => By::Kernel,
        ByArg::Launch => By::Launch,
        ByArg::NameBase => By::NameBase,
        ByArg::Grid => By::Grid,
        ByArg::Nvtx => By::Nvtx,
        ByArg::Phase => By::Phase,
        ByArg::Class => By::Class,
        ByArg::File => By::File,
    }
}

pub(super) fn only(arg: PrecisionArg) -> Only {
    match arg {
        PrecisionArg::Auto => Only::All,
        PrecisionArg::Fp64 => Only::Fp64,
        PrecisionArg::Fp32 => Only::Fp32,
        PrecisionArg::Fp16 => Only::Fp16,
        PrecisionArg::Tensor => Only::Tensor,
    }
}

/// Under a chart of one precision it has to say so.
pub(super) fn precision_note(args: &RooflineArgs) -> String {
    only(args.precision).name().map(|name| format!(" · {name} FLOPs only")).unwrap_or_default()
}

pub(super) fn level(arg: LevelArg) -> MemoryLevel {
    match arg {
        LevelArg::Dram => MemoryLevel::Dram,
        LevelArg::L2 => MemoryLevel::L2,
        LevelArg::L1 => MemoryLevel::L1,
    }
}

pub(super) fn selection(args: &RooflineArgs) -> Selection {
    Selection { kernel: args.kernel.clone(), nvtx: args.nvtx.clone(), min_share: args.min_share / 100.0 }
}
