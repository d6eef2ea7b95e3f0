//! `kprof kernels`.

mod agreement;

use crate::args::KernelsArgs;
use crate::gpu;
use crate::output;
use kprof::backend::{Backend, CudaBackend, ExecMode, Gemm, Gpu, KernelCheck, check_kernels};
use kprof::llm::DType;
use std::fmt::Write as _;
use std::rc::Rc;

pub(crate) fn run(args: &KernelsArgs) -> anyhow::Result<()> {
    let gpu = gpu::open(&gpu::named(&args.device)?)?;
    let library = library(&gpu, args.gemm)?;
    let mut checks = Vec::new();
    for dtype in &args.dtype {
        checks.extend(check_kernels(&gpu, *dtype, args.gemm)?);
    }
    let mut text = format!("{}: error as a share of what rounding explains{library}\n", gpu.device.name);
    let shown = if args.all { checks.clone() } else { worst_of_each(&checks) };
    for check in &shown {
        let word = if check.error > 1.0 { "WRONG" } else { "ok" };
        let _ = writeln!(text, "{word:5} {:8.3}  {}  {}", check.error, check.kernel, check.case);
    }
    let wrong = checks.iter().filter(|c| c.error > 1.0).count();
    let _ =
        writeln!(text, "{} checks of {} kernels, {wrong} wrong", checks.len(), worst_of_each(&checks).len());
    let mut failed = wrong;
    for preset in &args.preset {
        for dtype in &args.dtype {
            for found in agreement::agreement(&gpu, preset, *dtype, args.gemm)? {
                let word = if found.is_wrong() { "WRONG" } else { "ok" };
                failed += usize::from(found.is_wrong());
                let _ = writeln!(
                    text,
                    "{word:5} {:8.1e}  {} (at most {:.0e})",
                    found.apart, found.what, found.allowed
                );
            }
        }
    }
    output::print(&text)?;
    if failed > 0 {
        anyhow::bail!("{failed} checks failed on {}", gpu.device.name);
    }
    Ok(())
}

/// Who computes products of many rows, where that is not kprof's own kernel, and why it is not where a library is there.
fn library(gpu: &Rc<Gpu>, gemm: Gemm) -> anyhow::Result<String> {
    let mut backend = CudaBackend::new(gpu, DType::F32, ExecMode::Eager)?.with_gemm(gemm)?;
    let notes = backend.take_notes().into_iter().map(|note| format!("\nnote: {note}"));
    let name = backend.gemm().filter(|name| name != "own").map(|name| format!("; products also by {name}"));
    Ok(name.into_iter().chain(notes).collect())
}

/// The check with the largest error of each kernel, by name.
fn worst_of_each(checks: &[KernelCheck]) -> Vec<KernelCheck> {
    let mut worst = std::collections::BTreeMap::<&str, &KernelCheck>::new();
    for check in checks {
        let entry = worst.entry(&check.kernel).or_insert(check);
        if check.error > entry.error {
            *entry = check;
        }
    }
    worst.into_values().cloned().collect()
}
