//! The search for the largest batch that fits: what the tries say, and which one is next.

use crate::profile::{Accounted, CapacityMethod, CapacityProbe, MemoryMethod};

/// So many tries believe that memory is linear in the batch.
const STRAIGHT: usize = 5;

/// What is known of which batches fit.
#[derive(Debug, Default)]
pub(super) struct Bracket {
    /// The largest known to fit.
    pub(super) fits: usize,
    /// The smallest known not to.
    pub(super) too_large: Option<usize>,
    /// What was tried, in the order tried.
    pub(super) probes: Vec<CapacityProbe>,
}

impl Bracket {
    /// How the ends of the bracket were found out: by the weakest of the methods that tell them.
    pub(super) fn method(&self) -> CapacityMethod {
        let ends = [Some(self.fits), self.too_large];
        let of_end = self.probes.iter().filter(|p| ends.contains(&Some(p.batch))).map(|p| p.peak.method);
        let used: Vec<MemoryMethod> = of_end.collect();
        if used.contains(&MemoryMethod::Formula) {
            CapacityMethod::Accounted
        } else if used.contains(&MemoryMethod::Extrapolated) {
            CapacityMethod::Extrapolated
        } else {
            CapacityMethod::Ran
        }
    }

    /// What `batch` takes, by the line through what is known.
    pub(super) fn extrapolated(&self, batch: usize) -> Option<Accounted> {
        Some(Accounted::new(self.line(batch)?, MemoryMethod::Extrapolated))
    }

    /// A batch was tried.
    pub(super) fn note(&mut self, probe: CapacityProbe) {
        if probe.fits {
            self.fits = self.fits.max(probe.batch);
        } else {
            self.too_large = Some(self.too_large.map_or(probe.batch, |b| b.min(probe.batch)));
        }
        self.probes.push(probe);
    }

    /// The tries that say what their batch takes: those for which there was memory.
    fn known(&self) -> impl DoubleEndedIterator<Item = &CapacityProbe> {
        self.probes.iter().filter(|p| !p.out_of_memory)
    }

    /// The peak at `batch` on the line through the first and the last known, memory being linear in the batch.
    fn line(&self, batch: usize) -> Option<f64> {
        let (a, b) = self.known().next().zip(self.known().next_back()).filter(|(a, b)| a.batch != b.batch)?;
        let slope = (b.peak.bytes - a.peak.bytes) / (b.batch as f64 - a.batch as f64);
        Some(a.peak.bytes + slope * (batch as f64 - a.batch as f64))
    }

    /// The batch to try next: where the line meets the budget, or else the middle; `None` when all is known.
    pub(super) fn next(&self, budget: f64, most: usize) -> Option<usize> {
        let low = self.fits + 1;
        let high = self.too_large.map_or(most, |b| b - 1);
        if low > high {
            return None;
        }
        let middle = low + (high - low) / 2;
        let known: Vec<&CapacityProbe> = self.known().collect();
        // Memory in steps, as of huge pages, is no line: from here on halves.
        if known.len() >= STRAIGHT {
            return Some(middle);
        }
        // Where memory ended there, no line tells what is below.
        let ran_out = self.probes.iter().any(|p| p.out_of_memory && p.batch == high + 1);
        let Some((a, b)) = self.line(0).zip(self.line(1)).filter(|(a, b)| b > a) else {
            return Some(match known[..] {
                // One probe alone: its neighbour tells the slope, on the side where the answer is.
                [only] if only.fits => (only.batch + 1).clamp(low, high),
                [only] if !ran_out => (only.batch - 1).clamp(low, high),
                _ => middle,
            });
        };
        let met = ((budget - a) / (b - a)).floor();
        // What fits by the line is tried, and then the next larger one.
        let guess = if met < 1.0 { low } else { met as usize };
        if guess > high && ran_out {
            return Some(middle);
        }
        Some(guess.clamp(low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The batch that a search finds and how many tries it took, where a batch takes `bytes` of a budget of 1000.
    fn found(guess: usize, most: usize, bytes: impl Fn(usize) -> f64) -> (usize, bool, usize) {
        found_on(usize::MAX, guess, most, bytes)
    }

    /// The same on a device whose memory ends before batch `end`.
    fn found_on(end: usize, guess: usize, most: usize, bytes: impl Fn(usize) -> f64) -> (usize, bool, usize) {
        let mut search = Bracket::default();
        let mut next = Some(guess);
        while let Some(batch) = next {
            let peak = Accounted::new(bytes(batch), MemoryMethod::Counted);
            let out_of_memory = batch >= end;
            let fits = !out_of_memory && peak.bytes <= 1000.0;
            search.note(CapacityProbe { batch, peak, fits, out_of_memory });
            assert!(search.probes.len() < 30, "{batch}");
            next = search.next(1000.0, most);
        }
        (search.fits, search.too_large.is_none(), search.probes.len())
    }

    #[test]
    fn a_line_is_found_in_a_few_tries_from_any_guess() {
        for (per_sequence, base) in [(7.0, 100.0), (1.0, 0.0), (450.0, 20.0), (900.0, 100.0)] {
            let expected = ((1000.0 - base) / per_sequence) as usize;
            for guess in [1, 2, expected.max(1), expected + 1, 2 * expected + 3] {
                let (batch, at_most, tries) = found(guess, 1 << 20, |b| base + per_sequence * b as f64);
                assert_eq!((batch, at_most), (expected, false), "{per_sequence} {guess}");
                assert!(tries <= 5, "{tries} tries from {guess} to {expected}");
            }
        }
    }

    #[test]
    fn steps_and_curves_are_found_too() {
        // Memory comes in pages of 64.
        let stepped = |b: usize| ((b * 13).div_ceil(64) * 64) as f64;
        // 75 x 13 = 975 is 16 pages, 1024; 73 x 13 = 949 is 15, 960.
        assert_eq!(found(40, 1 << 20, stepped).0, 73);
        assert_eq!(found(40, 1 << 20, |b| (b * b) as f64).0, 31);
    }

    #[test]
    fn nothing_fits_or_more_than_is_tried() {
        assert_eq!(found(5, 100, |b| 2000.0 + b as f64).0, 0);
        assert_eq!(found(5, 100, |b| b as f64), (100, true, 3));
    }

    #[test]
    fn what_there_was_no_memory_for_says_where_to_look_and_not_what_it_takes() {
        // Theory's 2000 runs out; half of it and its neighbour give the line, which is right.
        let (batch, at_least, tries) = found_on(1500, 2000, 1 << 20, |b| 100.0 + 0.7 * b as f64);
        assert_eq!((batch, at_least), (1285, false));
        assert!(tries <= 6, "{tries}");
        // Memory ends long before the budget: by halves, not one by one.
        let (batch, _, tries) = found_on(700, 2000, 1 << 20, |b| 100.0 + 0.1 * b as f64);
        assert_eq!(batch, 699);
        assert!(tries <= 16, "{tries}");
        assert_eq!(found_on(1, 4, 100, |b| b as f64).0, 0, "not even one");
        assert_eq!(found_on(2, 4, 100, |b| b as f64).0, 1);
    }
}
