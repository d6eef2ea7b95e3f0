//! Every instruction set that this CPU has against plain arithmetic: what a kernel is written in must mean the same everywhere.

use super::{Isa, Kernel, LANES, Simd, dispatch};
use half::{bf16, f16};

/// Runs `check` with each instruction set, named in what fails.
fn with_each(check: impl Kernel<Output = Result<(), String>> + Copy) {
    for isa in Isa::available() {
        if let Err(what) = dispatch(isa, check) {
            panic!("{isa}: {what}");
        }
    }
}

/// Repeatable bits (Knuth's generator of 64 bits, upper half).
fn bits(count: usize) -> impl Iterator<Item = u32> {
    std::iter::successors(Some(1u64), |x| {
        Some(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .map(|x| (x >> 32) as u32)
    .take(count)
}

fn lanes<T: Copy>(all: &[T]) -> impl Iterator<Item = &[T; LANES]> {
    all.as_chunks::<LANES>().0.iter()
}

fn same(got: f32, want: f32) -> bool {
    got == want || (got.is_nan() && want.is_nan())
}

/// Numbers of every size but the subnormal, which some instructions take for zero; ties, the largest, none.
fn numbers() -> Vec<f32> {
    let mut all: Vec<f32> = bits(1 << 14).map(f32::from_bits).filter(|x| !x.is_subnormal()).collect();
    let special = [0.0, -0.0, f32::MAX, f32::MIN, f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 1.0 / 3.0];
    let ties = [
        0x3F80_8000,
        0x3F81_8000,
        0xBF80_8000,
        0xBF81_8000,
        0x3F80_7FFF,
        0x3F80_8001,
        0x7F7F_8000,
        0x7F80_0001,
    ];
    all.truncate(all.len() / LANES * LANES);
    all.extend(special);
    all.extend(ties.map(f32::from_bits));
    all
}

#[derive(Clone, Copy)]
struct Narrowing;

impl Kernel for Narrowing {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        for x in lanes(&numbers()) {
            let (mut brain, mut half, mut pairs) =
                ([bf16::ZERO; LANES], [f16::ZERO; LANES], [bf16::ZERO; 2 * LANES]);
            s.store_bf16(s.load(x), &mut brain);
            s.store_f16(s.load(x), &mut half);
            s.store_pairs(s.load(x), s.sub(s.zero(), s.load(x)), &mut pairs);
            for (lane, x) in x.iter().enumerate() {
                let wants = [
                    ("bf16", brain[lane].to_f32(), bf16::from_f32(*x).to_f32()),
                    ("f16", half[lane].to_f32(), f16::from_f32(*x).to_f32()),
                    ("even of a pair", pairs[2 * lane].to_f32(), bf16::from_f32(*x).to_f32()),
                    ("odd of a pair", pairs[2 * lane + 1].to_f32(), bf16::from_f32(-*x).to_f32()),
                ];
                for (what, got, want) in wants {
                    if !same(got, want) && !want.is_subnormal() {
                        return Err(format!(
                            "{x:e} ({:08x}) is {got:e} as {what}, not {want:e}",
                            x.to_bits()
                        ));
                    }
                }
            }
        }
        Ok(())
    }
}

#[test]
fn numbers_are_rounded_to_the_nearest_and_what_is_none_stays_none() {
    with_each(Narrowing);
}

#[derive(Clone, Copy)]
struct Widening;

impl Kernel for Widening {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        for x in all.as_chunks::<{ 2 * LANES }>().0 {
            let (brain, half) = (x.map(bf16::from_bits), x.map(f16::from_bits));
            let mut got = [[0f32; LANES]; 4];
            s.store(s.load_bf16(&brain.as_chunks().0[1]), &mut got[0]);
            s.store(s.load_f16(&half.as_chunks().0[1]), &mut got[1]);
            let (even, odd) = s.pairs(&brain);
            s.store(even, &mut got[2]);
            s.store(odd, &mut got[3]);
            for lane in 0..LANES {
                let wants = [
                    brain[LANES + lane].to_f32(),
                    half[LANES + lane].to_f32(),
                    brain[2 * lane].to_f32(),
                    brain[2 * lane + 1].to_f32(),
                ];
                for (i, want) in wants.into_iter().enumerate() {
                    if !same(got[i][lane], want) {
                        return Err(format!("{want:e} is {:e} ({i})", got[i][lane]));
                    }
                }
            }
        }
        Ok(())
    }
}

#[test]
fn every_number_of_16_bits_is_widened_as_it_is() {
    with_each(Widening);
}

#[derive(Clone, Copy)]
struct Bytes;

impl Kernel for Bytes {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let random: Vec<u8> = bits(64 * 64).map(|x| (x >> 24) as u8).collect();
        let rows =
            random.as_chunks::<64>().0.iter().copied().chain([[0; 64], [255; 64], [127; 64], [128; 64]]);
        let quads = random.as_chunks::<4>().0.iter().map(|x| x.map(|x| x as i8));
        let quads: Vec<[i8; 4]> =
            quads.take(64).chain([[127; 4], [-128; 4], [127, -128, 127, -128]]).collect();
        for bytes in rows {
            for x in &quads {
                // Twice, from another sum than zero: what is there is added to.
                let sum = s.dot_bytes(s.dot_bytes(s.int_splat(-5), &bytes, *x), &bytes, *x);
                let mut got = [0f32; LANES];
                s.store(s.int_to_float(sum), &mut got);
                for (lane, bytes) in bytes.as_chunks::<4>().0.iter().enumerate() {
                    let products =
                        bytes.iter().zip(x).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>();
                    let want = (2 * products - 5) as f32;
                    if got[lane] != want {
                        return Err(format!("{bytes:?} . {x:?} twice - 5 is {}, not {want}", got[lane]));
                    }
                }
            }
        }
        Ok(())
    }
}

#[test]
fn products_of_bytes_are_exact_at_their_extremes() {
    with_each(Bytes);
}

#[derive(Clone, Copy)]
struct Codes;

impl Kernel for Codes {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let all: Vec<f32> = (-128..128).map(|x| x as f32).collect();
        for x in lanes(&all) {
            let mut got = [0i8; LANES];
            s.store_i8(s.load(x), &mut got);
            if got.map(f32::from) != *x {
                return Err(format!("{x:?} is {got:?}"));
            }
        }
        let stored: Vec<u8> = (0..=255).collect();
        for codes in stored.as_chunks::<64>().0 {
            let mut got = [[bf16::ZERO; 2 * LANES]; 2];
            s.widen_codes(codes, &mut got);
            for (i, code) in codes.iter().enumerate() {
                let got = got[i % 4 / 2][i / 4 * 2 + i % 2].to_f32();
                if got != f32::from(*code) - 128.0 {
                    return Err(format!("code {code} is {got}"));
                }
            }
        }
        Ok(())
    }
}

#[test]
fn codes_are_stored_and_widened_as_they_are() {
    with_each(Codes);
}

#[derive(Clone, Copy)]
struct Functions;

impl Kernel for Functions {
    type Output = Result<(), String>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Self::Output {
        let all: Vec<f32> = (0..4096).map(|i| (i as f32 - 2048.0) / 24.0).collect();
        for x in lanes(&all) {
            let mut got = [[0f32; LANES]; 3];
            s.store(s.exp(s.load(x)), &mut got[0]);
            s.store(s.gelu(s.load(x)), &mut got[1]);
            s.store(s.round(s.load(x)), &mut got[2]);
            for (lane, x) in x.iter().enumerate() {
                let wide = f64::from(*x);
                let tanh = ((2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044_715 * wide.powi(3))).tanh();
                let wants = [wide.exp(), 0.5 * wide * (1.0 + tanh), wide.round_ties_even()];
                for (i, want) in wants.into_iter().enumerate() {
                    let error = (f64::from(got[i][lane]) - want).abs();
                    // Where 1 + tanh loses its digits, 2e-7 of x stays.
                    if error > 5e-7 * want.abs() + 2e-7 * f64::from(u8::from(i == 1)) * wide.abs() + 1.3e-38 {
                        return Err(format!("function {i} of {x} is {:e}, not {want:e}", got[i][lane]));
                    }
                }
            }
            let (sum, largest) = (s.sum(s.load(x)), s.largest(s.load(x)));
            let want = x.iter().map(|x| f64::from(*x)).sum::<f64>();
            if (f64::from(sum) - want).abs() > 1e-3 || largest != x.iter().copied().fold(f32::MIN, f32::max) {
                return Err(format!("{x:?}: sum {sum}, largest {largest}"));
            }
        }
        Ok(())
    }
}

#[test]
fn functions_are_those_of_f64() {
    with_each(Functions);
}
