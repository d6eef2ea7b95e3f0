//! The inner loops: reads, triads and chains of multiply-adds, in the widest form that this CPU has.
//!
//! The only unsafe code of the probe is in the files below; what leaves this module are safe functions, listed
//! only when the CPU was found to have what they need.

#[cfg(target_arch = "x86_64")]
mod amx;
mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::hw::{ComputeUnit, Operation, Precision};

/// How to stream through memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Streams {
    /// The instruction set, for the method's text.
    pub(super) name: &'static str,
    /// Reads every byte; the slice's length is a multiple of [`BLOCK`], or its rest is not read.
    pub(super) read: fn(&[u8]),
    /// The same from the four quarters side by side: more of a prefetcher's streams at once.
    pub(super) read_four: fn(&[u8]),
    /// `a = b + 3 c` over f32 elements of slices of one length.
    pub(super) triad: fn(&mut [u8], &[u8], &[u8]),
    /// The same with stores that bypass the caches: what DRAM triads want, as no line is read before it is written.
    pub(super) triad_streaming: fn(&mut [u8], &[u8], &[u8]),
}

/// What streams are done in, in bytes.
pub(super) const BLOCK: usize = 512;

/// A chain of arithmetic in registers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chain {
    /// What ran, for the method's text.
    pub(super) name: &'static str,
    pub(super) unit: ComputeUnit,
    pub(super) operation: Operation,
    pub(super) precision: Precision,
    /// The accumulator's precision where it is another.
    pub(super) accumulate: Option<Precision>,
    /// FLOPs of one iteration: chains x lanes x FLOPs per lane.
    pub(super) flop_per_iteration: f64,
    /// Runs so many iterations.
    pub(super) run: fn(u64),
}

/// The widest streams this CPU has.
pub(super) fn streams() -> Streams {
    #[cfg(target_arch = "x86_64")]
    if let Some(streams) = x86::streams() {
        return streams;
    }
    portable::STREAMS
}

/// The fastest chain of each unit and precision that this CPU computes in.
pub(super) fn chains() -> Vec<Chain> {
    #[cfg(target_arch = "x86_64")]
    if let Some(chains) = x86::chains() {
        return [chains, amx::chains()].concat();
    }
    portable::CHAINS.to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(streams: Streams) {
        let (b, c): (Vec<u8>, Vec<u8>) =
            (2 * BLOCK..4 * BLOCK).map(|i| (i as u8 & 0x3f, 0x3f - (i as u8 & 0x3f))).unzip();
        let float = |bytes: &[u8], i: usize| f32::from_ne_bytes(bytes[4 * i..4 * i + 4].try_into().unwrap());
        for triad in [streams.triad, streams.triad_streaming] {
            // Streaming stores need alignment: take an aligned part of a larger buffer.
            let mut room = vec![0u8; b.len() + 64];
            let start = room.as_ptr().align_offset(64);
            let a = &mut room[start..start + b.len()];
            triad(a, &b, &c);
            for i in 0..b.len() / 4 {
                let expected = float(&b, i) + 3.0 * float(&c, i);
                assert!(
                    (float(a, i) - expected).abs() <= 1e-6 * expected.abs(),
                    "{} element {i}",
                    streams.name
                );
            }
        }
        (streams.read)(&b);
        (streams.read_four)(&b);
    }

    #[test]
    fn every_stream_computes_the_triad() {
        check(streams());
        check(portable::STREAMS);
        #[cfg(target_arch = "x86_64")]
        x86::every_stream().into_iter().for_each(check);
    }

    #[test]
    fn chains_have_f32_and_run() {
        let chains = chains();
        assert!(chains.iter().any(|c| c.precision == Precision::Fp32 && c.operation == Operation::Fma));
        chains.iter().chain(portable::CHAINS.iter()).for_each(|chain| {
            (chain.run)(3);
            assert!(chain.flop_per_iteration > 0.0);
        });
    }
}
