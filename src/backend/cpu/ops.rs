//! The ops that are not linears or attention: embedding, sums, gates, rotary positions, the largest logit.

use super::cache::WIDEST;
use super::linear::Engine;
use super::rows::{Add, Gate, Gelu, Norm};
use super::simd::{Element, Grid, dispatch};
use super::tensor::CpuTensor;
use super::weights::{CpuNorm, CpuRope, CpuTable};
use crate::backend::BackendError;
use crate::llm::{Activation, StepShape};

/// Rows of a task that works on whole rows: about 8192 elements, long against claiming it.
fn rows_of(tensor: &CpuTensor) -> Grid {
    let (rows, stride) = (tensor.rows, tensor.stride);
    let tile_rows = (8192 / stride).clamp(1, rows);
    Grid { rows, group: rows, tile_rows, columns: stride, tile_columns: stride, stride }
}

/// Token rows, plus position rows from `first` on in each sequence of `new_tokens`.
pub(super) fn embed<T: Element>(
    engine: &mut Engine<'_>,
    (new_tokens, first): (usize, usize),
    ids: &[u32],
    tokens: &CpuTable,
    positions: Option<&CpuTable>,
) -> Result<CpuTensor, BackendError> {
    let mut x = engine.arena.tensor::<T>(ids.len(), tokens.width)?;
    let (grid, isa, stride) = (rows_of(&x), engine.isa, x.stride);
    let row =
        |table: &CpuTable, i: usize| i * stride..(i * stride + stride).min(table.memory.of::<T>().len());
    engine.pool.tiles(x.data_mut::<T>(), grid, |mut tile| {
        for i in 0..tile.rows {
            let at = tile.row + i;
            let token = &tokens.memory.of::<T>()[row(tokens, ids[at] as usize)];
            match positions {
                None => tile.row_mut(i).copy_from_slice(token),
                Some(table) => {
                    let b = &table.memory.of::<T>()[row(table, first + at % new_tokens)];
                    dispatch(isa, Add { a: token, b, to: tile.row_mut(i) });
                }
            }
        }
    });
    Ok(x)
}

/// Applies `task` to every row of `x` and of a new tensor of `width`.
fn by_row<T: Element>(
    engine: &mut Engine<'_>,
    x: &CpuTensor,
    width: usize,
    task: impl Fn(usize, &[T], &mut [T]) + Sync,
) -> Result<CpuTensor, BackendError> {
    let mut y = engine.arena.tensor::<T>(x.rows, width)?;
    let (from, stride) = (x.data::<T>(), x.stride);
    let grid = rows_of(&y);
    engine.pool.tiles(y.data_mut::<T>(), grid, |mut tile| {
        for i in 0..tile.rows {
            let row = tile.row + i;
            task(row, &from[row * stride..(row + 1) * stride], tile.row_mut(i));
        }
    });
    Ok(y)
}

pub(super) fn gelu<T: Element>(engine: &mut Engine<'_>, x: &CpuTensor) -> Result<CpuTensor, BackendError> {
    let isa = engine.isa;
    by_row(engine, x, x.width, |_, x, to| dispatch(isa, Gelu::<T> { x, to }))
}

pub(super) fn add<T: Element>(
    engine: &mut Engine<'_>,
    a: &CpuTensor,
    b: &CpuTensor,
) -> Result<CpuTensor, BackendError> {
    let isa = engine.isa;
    let (data, stride) = (b.data::<T>(), b.stride);
    by_row(engine, a, a.width, |row, a, to| {
        dispatch(isa, Add { a, b: &data[row * stride..(row + 1) * stride], to });
    })
}

pub(super) fn gate<T: Element>(
    engine: &mut Engine<'_>,
    x: &CpuTensor,
    activation: Activation,
) -> Result<CpuTensor, BackendError> {
    let (isa, width) = (engine.isa, x.width / 2);
    by_row(engine, x, width, |_, x, to| dispatch(isa, Gate::<T> { x, width, activation, to }))
}

/// Norms heads one by one, in place where nobody else holds `x`.
pub(super) fn head_norm<T: Element>(
    engine: &mut Engine<'_>,
    x: CpuTensor,
    norm: &CpuNorm,
    first_head: usize,
    heads: usize,
) -> Result<CpuTensor, BackendError> {
    let isa = engine.isa;
    let (padded, width) = (norm.gain.len(), norm.width);
    if padded > WIDEST {
        let what = format!("norms of heads of {width} channels: at most {WIDEST}");
        return Err(BackendError::Unsupported { backend: "cpu", what });
    }
    in_place::<T>(engine, x, |_, row| {
        let mut from = [T::from_f32(0.0); WIDEST];
        let mut to = from;
        for head in row[first_head * width..].chunks_exact_mut(width).take(heads) {
            from[..width].copy_from_slice(head);
            dispatch(isa, Norm { x: &from[..padded], norm, to: &mut to[..padded] });
            head.copy_from_slice(&to[..width]);
        }
    })
}

/// Turns pairs of channels `(i, i + pairs)` of the first heads by the angles of their positions.
pub(super) fn rope<T: Element>(
    engine: &mut Engine<'_>,
    step: &StepShape,
    x: CpuTensor,
    rope: &CpuRope,
    (heads, head_dim): (usize, usize),
) -> Result<CpuTensor, BackendError> {
    let (first, pairs) = (step.context - step.new_tokens, rope.pairs);
    in_place::<T>(engine, x, |row, x| {
        let at = (first + row % step.new_tokens) * pairs;
        let (cos, sin) = (&rope.cos[at..at + pairs], &rope.sin[at..at + pairs]);
        for head in x.chunks_exact_mut(head_dim).take(heads) {
            let (a, b) = head[..2 * pairs].split_at_mut(pairs);
            for i in 0..pairs {
                let (x, y) = (a[i].to_f32(), b[i].to_f32());
                a[i] = T::from_f32(x * cos[i] - y * sin[i]);
                b[i] = T::from_f32(y * cos[i] + x * sin[i]);
            }
        }
    })
}

/// Changes every row where it is, or in a copy where others hold the tensor too.
fn in_place<T: Element>(
    engine: &mut Engine<'_>,
    x: CpuTensor,
    task: impl Fn(usize, &mut [T]) + Sync,
) -> Result<CpuTensor, BackendError> {
    let mut x =
        if x.is_unshared() { x } else { by_row::<T>(engine, &x, x.width, |_, x, to| to.copy_from_slice(x))? };
    let grid = rows_of(&x);
    engine.pool.tiles(x.data_mut::<T>(), grid, |mut tile| {
        for i in 0..tile.rows {
            let row = tile.row + i;
            task(row, tile.row_mut(i));
        }
    });
    Ok(x)
}

/// Logits that a task looks through.
const PART: usize = 8192;

/// The index of the largest element of each row; of equal ones the first.
pub(super) fn argmax<T: Element>(
    engine: &mut Engine<'_>,
    logits: &CpuTensor,
    ids: &mut Vec<u32>,
) -> Result<(), BackendError> {
    let parts = logits.width.div_ceil(PART);
    let mut found = engine.arena.bytes(logits.rows * parts * 4)?;
    let data = logits.data::<T>();
    let best = |row: usize, part: usize| {
        let row = &data[row * logits.stride..][..logits.width];
        let first = part * PART;
        let part = &row[first..(first + PART).min(logits.width)];
        // The largest first, which vectorises, then where it stands.
        let largest = part.iter().fold(f32::NEG_INFINITY, |m, x| m.max(x.to_f32()));
        first + part.iter().position(|x| x.to_f32() == largest).unwrap_or(0)
    };
    let all = &mut found.data_mut::<[u8; 4]>()[..logits.rows * parts];
    engine.pool.chunks(all, 1, |i, to| to[0] = (best(i / parts, i % parts) as u32).to_ne_bytes());
    ids.clear();
    for (row, places) in all.chunks(parts).enumerate() {
        let row = &data[row * logits.stride..];
        let places = places.iter().map(|place| u32::from_ne_bytes(*place));
        let value = |place: u32| row[place as usize].to_f32();
        let best = places.reduce(|best, place| if value(place) > value(best) { place } else { best });
        ids.extend(best);
    }
    Ok(())
}

/// Makes the elements between width and stride zero.
pub(super) fn clear_padding<T: Element>(x: &mut CpuTensor) {
    let (rows, width, stride) = (x.rows, x.width, x.stride);
    if width < stride {
        for row in x.data_mut::<T>().chunks_exact_mut(stride).take(rows) {
            row[width..].fill(T::from_f32(0.0));
        }
    }
}

/// The rows without their padding, in f32.
pub(super) fn to_host<T: Element>(x: &CpuTensor) -> Vec<f32> {
    let rows = x.data::<T>().chunks_exact(x.stride).take(x.rows);
    rows.flat_map(|row| row[..x.width].iter().map(|x| x.to_f32())).collect()
}
