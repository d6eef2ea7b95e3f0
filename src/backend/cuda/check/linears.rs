//! Products: few rows and many, with all that stands around them.

use super::super::blas;
use super::super::linear::{Around, WideCut, skinny, wide};
use super::super::tensor::{CudaLinear, CudaTensor, Loader};
use super::Bench;
use super::reference::{activate, linear, norm};
use super::rows::norm_of;
use crate::backend::{BackendError, HostTensor, WeightOrder};
use crate::llm::{Activation, DType, NormKind};

/// A product and its surroundings.
#[derive(Clone, Copy, Debug)]
struct Case {
    rows: usize,
    inputs: usize,
    outputs: usize,
    norm: Option<NormKind>,
    activation: Option<Activation>,
    gate: bool,
    residual: bool,
    bias: bool,
}

const PLAIN: Case = Case {
    rows: 1,
    inputs: 64,
    outputs: 64,
    norm: None,
    activation: None,
    gate: false,
    residual: false,
    bias: false,
};

pub(super) fn check(bench: &mut Bench) -> Result<(), BackendError> {
    let gelu = Some(Activation::GeluTanh);
    let silu = Some(Activation::Silu);
    for case in [
        // An odd number of outputs; inputs that end inside a warp's share; every number of rows.
        Case { outputs: 77, bias: true, ..PLAIN },
        Case { rows: 2, inputs: 520, outputs: 40, norm: Some(NormKind::Rms), ..PLAIN },
        Case { rows: 3, inputs: 776, norm: Some(NormKind::Layer), activation: gelu, bias: true, ..PLAIN },
        Case { rows: 4, inputs: 1032, outputs: 24, residual: true, bias: true, ..PLAIN },
        Case { rows: 7, inputs: 264, outputs: 48, activation: silu, gate: true, ..PLAIN },
        Case {
            inputs: 2056,
            outputs: 32,
            norm: Some(NormKind::Rms),
            activation: silu,
            gate: true,
            bias: true,
            ..PLAIN
        },
    ] {
        // Few multiprocessors: many outputs per block, no sharing; many: all warps of a block share outputs.
        for multiprocessors in [1, 132] {
            one(bench, case, Kernel::Skinny, multiprocessors)?;
        }
    }
    for case in [
        Case { rows: 70, inputs: 72, outputs: 77, bias: true, ..PLAIN },
        Case { rows: 9, inputs: 32, outputs: 130, activation: gelu, bias: true, ..PLAIN },
        Case { rows: 65, inputs: 200, outputs: 64, residual: true, bias: true, ..PLAIN },
        Case { rows: 66, inputs: 40, outputs: 2 * 88, activation: silu, gate: true, bias: true, ..PLAIN },
        // A long sum: what tensor cores cut off must not pile up.
        Case { rows: 9, inputs: 2056, outputs: 16, ..PLAIN },
        // Inputs in parts, on the device with many multiprocessors.
        Case { rows: 33, inputs: 1032, outputs: 72, residual: true, bias: true, ..PLAIN },
        Case { rows: 20, inputs: 520, outputs: 80, activation: silu, gate: true, ..PLAIN },
    ] {
        // As if on a device that one tile fills, and on one that none does: the large and the small tile.
        for multiprocessors in [1, 1000] {
            one(bench, case, Kernel::Wide { tensor_cores: true }, multiprocessors)?;
        }
        // That of FMAs, which some devices take for f32, has neither gates nor parts.
        if bench.dtype == DType::F32 && !case.gate {
            one(bench, case, Kernel::Wide { tensor_cores: false }, 1)?;
        }
    }
    if bench.dtype == DType::F32 { range(bench) } else { Ok(()) }
}

/// f32 by tensor cores at the ends of its range: factors of 2^-100 and 2^100 change nothing, and what is infinite makes its
/// own row NaN and no other.
fn range(bench: &mut Bench) -> Result<(), BackendError> {
    let (rows, inputs, outputs) = (5, 40, 24);
    let (x, weight) = (bench.numbers(rows * inputs), bench.numbers(outputs * inputs));
    let exact: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    let mut want = linear(&exact, inputs, &weight, None);
    let scaled = |data: &[f32], by: i32| data.iter().map(|x| x * 2f32.powi(by)).collect::<Vec<f32>>();
    let (mut x, weight) = (scaled(&x, -100), scaled(&weight, 100));
    x[3 * inputs + 7] = f32::INFINITY;
    let gpu = bench.gpu.clone();
    let host = HostTensor { shape: vec![outputs, inputs], data: weight };
    let loader = Loader { gpu: &gpu, dtype: bench.dtype };
    let on_device = loader.linear(&host, WeightOrder::OutputInput, None)?;
    let (dx, y) = (bench.tensor(&x, inputs)?, bench.blank(rows, outputs)?);
    let cut = WideCut::new(true, 1, rows, &on_device);
    let launch = wide(bench.dtype, (cut, 0, 0), &dx, &on_device, Around::default(), &y);
    bench.run(&launch)?;
    let mut found = bench.read(&y)?;
    let infinite = 3 * outputs..4 * outputs;
    // A number there is wrong, whichever: it is left for the comparison to find.
    for (found, want) in found[infinite.clone()].iter_mut().zip(&mut want[infinite]) {
        if found.is_nan() {
            (*found, *want) = (0.0, 0.0);
        }
    }
    bench.note(launch.kernel, "2^-100 by 2^100, and an infinity".to_string(), &found, &want);
    Ok(())
}

/// Which kernel a case is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kernel {
    Skinny,
    Wide { tensor_cores: bool },
}

fn one(bench: &mut Bench, case: Case, kernel: Kernel, multiprocessors: usize) -> Result<(), BackendError> {
    let Case { rows, inputs, outputs, .. } = case;
    let results = if case.gate { outputs / 2 } else { outputs };
    let (x, weight) = (bench.numbers(rows * inputs), bench.numbers(outputs * inputs));
    let (bias, residual) = (bench.numbers(outputs), bench.numbers(rows * results));
    let (gain, shift) = (bench.numbers(inputs), bench.numbers(inputs));
    let shift = (case.norm == Some(NormKind::Layer)).then_some(&shift[..]);
    let gpu = bench.gpu.clone();
    let host = |shape: Vec<usize>, data: &[f32]| HostTensor { shape, data: data.to_vec() };
    let on_device = Loader { gpu: &gpu, dtype: bench.dtype }.linear(
        &host(vec![outputs, inputs], &weight),
        WeightOrder::OutputInput,
        case.bias.then(|| host(vec![outputs], &bias)).as_ref(),
    )?;
    let of = case.norm.map(|kind| norm_of(bench, kind, &gain, shift)).transpose()?;
    let (dx, dr) = (bench.tensor(&x, inputs)?, bench.tensor(&residual, results)?);
    let y = bench.blank(rows, results)?;
    let around = Around {
        norm: of.as_ref().map(|n| (n, 1)),
        activation: case.activation,
        gate: case.gate,
        residual: case.residual.then_some(&dr),
    };
    let tensor_cores = kernel == Kernel::Wide { tensor_cores: true };
    let cut = WideCut::new(tensor_cores, multiprocessors, rows, &on_device);
    let partial = gpu.allocate(cut.partial_bytes(), "a check")?;
    let arrived = gpu.zeros(cut.meetings() * 4, "a check")?;
    let launch = if kernel == Kernel::Skinny {
        skinny(bench.dtype, multiprocessors, &dx, rows, &on_device, around, &y)
    } else {
        wide(bench.dtype, (cut, partial.address, arrived.address), &dx, &on_device, around, &y)
    };

    let mut input: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
    if let Some(of) = &of {
        let normed: Vec<f32> = input
            .chunks(inputs)
            .flat_map(|row| norm(row, of.kind, &gain, shift, of.eps))
            .map(|x| x as f32)
            .collect();
        input = bench.rounded(&normed).iter().map(|x| f64::from(*x)).collect();
    }
    let product = linear(&input, inputs, &weight, case.bias.then_some(&bias[..]));
    let want: Vec<f64> = (0..rows * results)
        .map(|i| {
            let at = i / results * outputs + i % results;
            let activated = activate(product[at], case.activation);
            if case.gate {
                activated * product[at + results]
            } else if case.residual {
                activated + f64::from(residual[i])
            } else {
                activated
            }
        })
        .collect();
    // Twice: what parts count is left as it was found.
    bench.run(&launch)?;
    bench.compare(&launch, format!("{case:?} on {multiprocessors}"), &y, &want)?;
    // A library cuts as it likes: once is enough.
    if !tensor_cores || multiprocessors > 1 {
        Ok(())
    } else {
        by_library(bench, case, (&dx, &on_device, around), &want)
    }
}

/// The same product by the library, where there is one.
fn by_library(
    bench: &mut Bench,
    case: Case,
    (x, linear, around): (&CudaTensor, &CudaLinear, Around<'_>),
    want: &[f64],
) -> Result<(), BackendError> {
    let Some(blas) = bench.blas.take() else { return Ok(()) };
    let y = bench.blank(case.rows, want.len() / case.rows)?;
    let asked = blas::Asked { arena: &bench.arena, dtype: bench.dtype, every_step: false };
    if let Some(steps) = blas::steps(&blas, asked, x, linear, around, &y)? {
        bench.run_steps(&blas, &steps)?;
        let found = bench.read(&y)?;
        // A gate and some activations read what the product rounded, so that twice the usual error is allowed.
        bench.note(&blas.name(), format!("{case:?}"), &found, want);
        if let Some(check) = bench.checks.last_mut().filter(|_| steps.len() > 1) {
            check.error /= 2.0;
        }
    }
    bench.blas = Some(blas);
    Ok(())
}
