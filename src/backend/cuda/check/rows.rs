//! Kernels that work on rows: embeddings, norms, pointwise ops, rotary positions, argmax.

use super::super::rowwise;
use super::super::tensor::{CudaNorm, CudaRope, Loader};
use super::Bench;
use super::reference::{activate, norm};
use crate::backend::{BackendError, HostTensor};
use crate::llm::{Activation, DType, NormKind};

pub(super) fn check(bench: &mut Bench) -> Result<(), BackendError> {
    embeddings(bench)?;
    norms(bench)?;
    head_norms(bench)?;
    pointwise(bench)?;
    rotary(bench)?;
    argmax(bench)
}

fn wide(x: &[f32]) -> Vec<f64> {
    x.iter().map(|x| f64::from(*x)).collect()
}

fn embeddings(bench: &mut Bench) -> Result<(), BackendError> {
    let (entries, width, new_tokens) = (11, 72, 3);
    let (table, places) = (bench.numbers(entries * width), bench.numbers(16 * width));
    let ids = [4u32, 0, 10, 7, 7, 1];
    let loader = Loader { gpu: &bench.gpu.clone(), dtype: bench.dtype };
    let tokens = loader.table(&HostTensor { shape: vec![entries, width], data: table.clone() })?;
    let positions = loader.table(&HostTensor { shape: vec![16, width], data: places.clone() })?;
    let words: Vec<u8> = [5u32, 8, 0, 0].iter().chain(&ids).flat_map(|w| w.to_le_bytes()).collect();
    let step = bench.gpu.upload(&words, "a check")?;
    for with in [false, true] {
        let y = bench.blank(ids.len(), width)?;
        let launch =
            rowwise::embed(bench.dtype, &tokens, with.then_some(&positions), (new_tokens, step.address), &y);
        let want: Vec<f64> = (0..ids.len() * width)
            .map(|i| {
                let (row, c) = (i / width, i % width);
                let place = if with { places[(5 + row % new_tokens) * width + c] } else { 0.0 };
                f64::from(table[ids[row] as usize * width + c]) + f64::from(place)
            })
            .collect();
        bench.compare(&launch, format!("6 x {width}, positions: {with}"), &y, &want)?;
    }
    Ok(())
}

fn norms(bench: &mut Bench) -> Result<(), BackendError> {
    for (rows, width, every, kind, biased, branched) in [
        (3, 64, 1, NormKind::Layer, true, false),
        (6, 776, 3, NormKind::Layer, false, false),
        (4, 4104, 1, NormKind::Rms, false, false),
        (5, 200, 1, NormKind::Rms, false, true),
        (2, 768, 1, NormKind::Layer, true, true),
    ] {
        let (x, gain, bias) = (bench.numbers(rows * width), bench.numbers(width), bench.numbers(width));
        let branch = bench.numbers(rows * width);
        let of = norm_of(bench, kind, &gain, biased.then_some(&bias[..]))?;
        let dx = bench.tensor(&x, width)?;
        let (db, dsum) = (bench.tensor(&branch, width)?, bench.blank(rows, width)?);
        let y = bench.blank(rows / every, width)?;
        let added = branched.then_some((&db, &dsum));
        let launch = rowwise::norm(bench.dtype, &dx, added, &of, every, &y);
        let sum: Vec<f32> =
            if branched { x.iter().zip(&branch).map(|(x, b)| x + b).collect() } else { x.clone() };
        let input = wide(&bench.rounded(&sum));
        let want: Vec<f64> = (0..rows / every)
            .flat_map(|r| {
                let row = &input[((r + 1) * every - 1) * width..][..width];
                norm(row, kind, &gain, biased.then_some(&bias[..]), of.eps)
            })
            .collect();
        let case = format!("{kind:?}, {rows} x {width}, every {every}, residual: {branched}");
        bench.compare(&launch, case.clone(), &y, &want)?;
        if branched {
            let found = bench.read(&dsum)?;
            bench.note(launch.kernel, format!("{case}: the sum"), &found, &input);
        }
    }
    Ok(())
}

pub(super) fn norm_of(
    bench: &Bench,
    kind: NormKind,
    gain: &[f32],
    bias: Option<&[f32]>,
) -> Result<CudaNorm, BackendError> {
    let host = |data: &[f32]| HostTensor { shape: vec![data.len()], data: data.to_vec() };
    Loader { gpu: &bench.gpu, dtype: bench.dtype }.norm(kind, &host(gain), bias.map(host).as_ref(), 1e-5)
}

fn head_norms(bench: &mut Bench) -> Result<(), BackendError> {
    let (rows, total, head_dim, first, heads) = (3, 5, 40, 1, 3);
    let width = total * head_dim;
    let (x, gain) = (bench.numbers(rows * width), bench.numbers(head_dim));
    let of = norm_of(bench, NormKind::Rms, &gain, None)?;
    let dx = bench.tensor(&x, width)?;
    let launch = rowwise::head_norm(bench.dtype, &dx, &of, (first, heads));
    let mut want = wide(&x);
    for head in want.chunks_mut(head_dim).enumerate().filter(|(i, _)| (1..4).contains(&(i % total))) {
        let normed = norm(head.1, NormKind::Rms, &gain, None, of.eps);
        head.1.copy_from_slice(&normed);
    }
    Ok(bench.compare(&launch, format!("heads {first} to {heads} of {total}, {head_dim} wide"), &dx, &want)?)
}

fn pointwise(bench: &mut Bench) -> Result<(), BackendError> {
    let (rows, width, dtype) = (5, 248, bench.dtype);
    // Twice the range of the others, so that both tails are seen.
    let x: Vec<f32> = bench.numbers(rows * 2 * width).iter().map(|x| x * 2.0).collect();
    let other = bench.numbers(rows * 2 * width);
    let (dx, dother) = (bench.tensor(&x, 2 * width)?, bench.tensor(&other, 2 * width)?);
    let (y, half) = (bench.blank(rows, 2 * width)?, bench.blank(rows, width)?);
    let all = [Activation::GeluTanh, Activation::Gelu, Activation::Silu, Activation::Relu].map(Some);
    for kind in all.into_iter().chain([None]) {
        let want: Vec<f64> = x.iter().map(|x| activate(f64::from(*x), kind)).collect();
        bench.compare(&rowwise::activation(dtype, &dx, kind, &y), format!("{kind:?}"), &y, &want)?;
    }
    for kind in all.into_iter().flatten() {
        let want: Vec<f64> = (0..rows * width)
            .map(|i| {
                let at = i / width * 2 * width + i % width;
                activate(f64::from(x[at]), Some(kind)) * f64::from(x[at + width])
            })
            .collect();
        bench.compare(&rowwise::gate(dtype, &dx, kind, &half), format!("{kind:?}"), &half, &want)?;
    }
    let want: Vec<f64> = x.iter().zip(&other).map(|(a, b)| f64::from(*a) + f64::from(*b)).collect();
    Ok(bench.compare(
        &rowwise::residual(dtype, &dx, &dother, &y),
        format!("{rows} x {}", 2 * width),
        &y,
        &want,
    )?)
}

fn rotary(bench: &mut Bench) -> Result<(), BackendError> {
    // Three of four heads are turned, and of each 32 channels of 40; two sequences of three tokens from position 2 on.
    let (rows, heads, head_dim, pairs, new_tokens) = (6, 3, 40, 16, 3);
    let width = 4 * head_dim;
    let x = bench.numbers(rows * width);
    let angle = |i: usize| (i / pairs) as f32 * 0.3 + (i % pairs) as f32 * 0.1;
    let cos: Vec<f32> = (0..8 * pairs).map(|i| angle(i).cos()).collect();
    let sin: Vec<f32> = (0..8 * pairs).map(|i| angle(i).sin()).collect();
    let host = |data: &[f32]| HostTensor { shape: vec![8, pairs], data: data.to_vec() };
    let gpu = bench.gpu.clone();
    let by: CudaRope = Loader { gpu: &gpu, dtype: bench.dtype }.rope(&host(&cos), &host(&sin))?;
    let words: Vec<u8> = [2u32, 5, 0, 0].iter().flat_map(|w| w.to_le_bytes()).collect();
    let step = bench.gpu.upload(&words, "a check")?;
    let dx = bench.tensor(&x, width)?;
    let launch = rowwise::rope(bench.dtype, &dx, &by, (heads, head_dim), (new_tokens, step.address));
    let mut want = wide(&x);
    for row in 0..rows {
        let position = 2 + row % new_tokens;
        for head in 0..heads {
            for pair in 0..pairs {
                let at = row * width + head * head_dim + pair;
                let (a, b) = (f64::from(x[at]), f64::from(x[at + pairs]));
                let (c, s) =
                    (f64::from(cos[position * pairs + pair]), f64::from(sin[position * pairs + pair]));
                want[at] = a * c - b * s;
                want[at + pairs] = b * c + a * s;
            }
        }
    }
    Ok(bench.compare(&launch, format!("{rows} rows, {heads} heads of {head_dim}"), &dx, &want)?)
}

fn argmax(bench: &mut Bench) -> Result<(), BackendError> {
    let (rows, vocab) = (3, 5003);
    let mut x = bench.numbers(rows * vocab);
    // A tie: the first counts. All negative, so that no zero wins. The last element.
    x[vocab / 2] = 1.5;
    x[vocab - 10] = 1.5;
    x[vocab..2 * vocab].iter_mut().for_each(|x| *x -= 3.0);
    x[3 * vocab - 1] = 2.0;
    let x = bench.rounded(&x);
    let logits = bench.tensor(&x, vocab)?;
    let (ids, meeting) =
        (bench.gpu.zeros(64, "a check")?, bench.gpu.zeros(super::super::MEETINGS * 16, "a check")?);
    let launch = rowwise::argmax(bench.dtype, 132, &logits, ids.address, meeting.address);
    // Twice, as the second finds what the first leaves.
    bench.run(&launch)?;
    bench.run(&launch)?;
    let mut bytes = [0u8; 12];
    bench.gpu.download(&ids, &mut bytes)?;
    let found: Vec<f32> = bytes.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b) as f32).collect();
    let want: Vec<f64> = x
        .chunks(vocab)
        .map(|row| {
            let best = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            row.iter().position(|x| *x == best).unwrap_or(0) as f64
        })
        .collect();
    // Ids are exact, in whatever type the logits are.
    let dtype = std::mem::replace(&mut bench.dtype, DType::F32);
    bench.note(launch.kernel, format!("{rows} x {vocab}"), &found, &want);
    bench.dtype = dtype;
    Ok(())
}
