//! The interval of a mean over values in a row that depend on their neighbours: whole blocks are drawn, not values.

use super::Interval;
use super::bootstrap::bca_of;

/// Fewer blocks than this give no interval: with few, resampling cannot tell how much the blocks differ.
pub const ENOUGH_BLOCKS: usize = 10;

/// Neighbouring values taken together.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Block {
    /// Their sum.
    pub sum: f64,
    /// How many there are.
    pub count: usize,
}

impl Block {
    /// The block of these values.
    pub fn of(values: &[f64]) -> Self {
        Self { sum: values.iter().sum(), count: values.len() }
    }
}

/// The interval of the mean of all values, by drawing blocks (Künsch 1989, with blocks that do not overlap) and BCa.
///
/// Values inside a block may depend on each other as they like; blocks are taken to be independent, which holds the better
/// the longer they are. `None` under [`ENOUGH_BLOCKS`] blocks, or where a resample has no finite mean.
pub fn block_mean_interval(blocks: &[Block], confidence: f64, seed: u64) -> Option<Interval> {
    if blocks.len() < ENOUGH_BLOCKS {
        return None;
    }
    let mean = |picked: &[Vec<usize>]| {
        let (sum, count) = picked[0].iter().fold((0.0, 0), |(sum, count), i| {
            let block = blocks[*i];
            (sum + block.sum, count + block.count)
        });
        sum / count as f64
    };
    bca_of(&[blocks.len()], mean, confidence, seed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_xoshiro::Xoshiro256PlusPlus;
    use rand_xoshiro::rand_core::{Rng, SeedableRng};

    #[test]
    fn the_interval_is_that_of_scipy_where_blocks_are_single_values() {
        // A = [3.1, 1.2, 4.7, 1.5, 5.9, 9.4, 2.6, 6.2, 5.3, 3.5, 8.8, 9.7, 9.1, 3.2, 2.4]; scipy 1.17.1:
        // bootstrap((A,), np.mean, method="BCa", n_resamples=200000) = (3.747..3.760, 6.653..6.673).
        let a = [3.1, 1.2, 4.7, 1.5, 5.9, 9.4, 2.6, 6.2, 5.3, 3.5, 8.8, 9.7, 9.1, 3.2, 2.4];
        let blocks: Vec<Block> = a.iter().map(|v| Block::of(&[*v])).collect();
        let found = block_mean_interval(&blocks, 0.95, 1).unwrap();
        assert!((found.low - 3.753).abs() < 0.1 && (found.high - 6.664).abs() < 0.1, "{found:?}");
        assert_eq!(block_mean_interval(&blocks[..9], 0.95, 1), None);
    }

    #[test]
    fn values_that_come_in_runs_need_blocks_for_an_honest_interval() {
        // 100 texts of 320 values in runs of 32 equal ones: independent are only the 10 runs, whose mean is 0.5.
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(4);
        let mut covered = [0, 0];
        for trial in 0..100 {
            let runs: Vec<f64> = (0..20).map(|_| rng.next_u64() as f64 / u64::MAX as f64).collect();
            let values: Vec<f64> = runs.iter().flat_map(|v| [*v; 16]).collect();
            for (covered, length) in covered.iter_mut().zip([16, 1]) {
                let blocks: Vec<Block> = values.chunks(length).map(Block::of).collect();
                let interval = block_mean_interval(&blocks, 0.95, trial).unwrap();
                *covered += usize::from(interval.low <= 0.5 && 0.5 <= interval.high);
            }
        }
        // Of 100: about 93 with whole runs (20 blocks are few), and about 38 (+-1.96 / 4 standard deviations) without.
        assert!(covered[0] >= 85 && covered[1] < 60, "{covered:?}");
    }

    #[test]
    fn blocks_of_unequal_length_count_by_their_values() {
        let blocks: Vec<Block> =
            (0..12).map(|i| Block { sum: f64::from(2 * i), count: i as usize }).collect();
        let interval = block_mean_interval(&blocks[1..], 0.95, 1).unwrap();
        assert_eq!((interval.low, interval.high), (2.0, 2.0));
    }
}
