//! `kprof kernels`.

mod agreement;

use crate::args::KernelsArgs;
use crate::gpu;
use crate::output;
use kprof::backend::{KernelCheck, check_kernels};
use std::fmt::Write as _;

pub(crate) fn run(args: &KernelsArgs) -> anyhow::Result<()> {
    let gpu = gpu::open(&gpu::named(&args.device)?)?;
    let mut checks = Vec::new();
    for dtype in &args.dtype {
        checks.extend(check_kernels(&gpu, *dtype)?);
    }
    let shown = if args.all { checks.clone() } else { worst_of_each(&checks) };
    let mut text = format!("{}: error as a share of what rounding explains\n", gpu.device.name);
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
            for found in agreement::agreement(&gpu, preset, *dtype)? {
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
