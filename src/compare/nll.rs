//! -ln p of scored tokens: the mean of a version, and the paired difference of two, each with its interval. `kprof
//! perplexity` and `kprof compare` say the same of the same records, for they both ask here.

use crate::profile::{QualityRecord, Run};
use crate::stats::{Block, CONFIDENCE, Interval, block_mean_interval};

/// Blocks to aim at: windows are cut where there are fewer.
const BLOCKS: usize = 16;
/// No block is shorter than this: neighbouring tokens depend on each other.
const SHORTEST_BLOCK: usize = 32;
/// The seed of intervals.
const SEED: u64 = 42;

/// A mean difference of -ln p per token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Difference {
    /// In nats per token: positive is worse.
    pub(super) mean: f64,
    /// Of the mean, by a paired bootstrap over blocks of tokens; `None` with too few blocks, or without single tokens.
    pub(super) interval: Option<Interval>,
}

/// The records of a version, by segment.
pub(super) fn records<'a>(run: &'a Run, version: &str) -> Vec<&'a QualityRecord> {
    let mut records: Vec<&QualityRecord> = run.qualities.iter().filter(|q| q.version == version).collect();
    records.sort_by_key(|q| q.segment);
    records
}

/// Of how many tokens each value of a record is the mean.
pub(super) fn weight(record: &QualityRecord) -> usize {
    record.mean_of.unwrap_or(1)
}

/// The mean of what `lists` hold; of how many tokens each value is, is beside them. `None` of none.
pub(super) fn mean<'a>(lists: impl Iterator<Item = (&'a [f64], usize)>) -> Option<f64> {
    let (mut sum, mut count) = (0.0, 0);
    for (values, weight) in lists {
        sum += values.iter().sum::<f64>() * weight as f64;
        count += values.len() * weight;
    }
    (count > 0).then(|| sum / count as f64)
}

/// The mean of -ln p over all tokens of `records`; `None` of none.
pub(super) fn mean_nll(records: &[&QualityRecord]) -> Option<f64> {
    mean(records.iter().map(|r| (r.nll_nat.as_slice(), weight(r))))
}

/// The interval of [`mean_nll`]; `None` with too few blocks, or where the records do not have single tokens.
pub(super) fn nll_interval(records: &[&QualityRecord]) -> Option<Interval> {
    if records.iter().any(|r| r.mean_of.is_some()) {
        return None;
    }
    interval(&records.iter().map(|r| r.nll_nat.as_slice()).collect::<Vec<_>>())
}

/// The difference `new` - `old`, token by token, over the segments that both scored; `None` where there are none.
pub(super) fn difference(old: &[&QualityRecord], new: &[&QualityRecord]) -> Option<Difference> {
    let pairs: Vec<(&QualityRecord, &QualityRecord)> = new
        .iter()
        .filter_map(|n| old.iter().find(|o| o.segment == n.segment).map(|o| (*n, *o)))
        .filter(|(n, o)| n.nll_nat.len() == o.nll_nat.len() && n.mean_of == o.mean_of)
        .collect();
    let of_tokens: Vec<(Vec<f64>, usize)> = pairs
        .iter()
        .map(|(n, o)| (n.nll_nat.iter().zip(&o.nll_nat).map(|(n, o)| n - o).collect(), weight(n)))
        .collect();
    let mean = mean(of_tokens.iter().map(|(values, weight)| (values.as_slice(), *weight)))?;
    let has_tokens = pairs.iter().all(|(n, _)| n.mean_of.is_none());
    let windows: Vec<&[f64]> = of_tokens.iter().map(|(values, _)| values.as_slice()).collect();
    Some(Difference { mean, interval: has_tokens.then(|| interval(&windows)).flatten() })
}

/// The interval of the mean of all values of `windows`, by blocks of neighbours; `None` with too few of them.
pub(super) fn interval(windows: &[&[f64]]) -> Option<Interval> {
    block_mean_interval(&blocks(windows), CONFIDENCE, SEED)
}

/// Blocks of neighbouring tokens: whole windows where there are enough of them, for windows do not see each other, else
/// equal parts of windows, none shorter than [`SHORTEST_BLOCK`] unless its window is.
fn blocks(windows: &[&[f64]]) -> Vec<Block> {
    let parts = BLOCKS.div_ceil(windows.len().max(1));
    let of_window = |values: &&[f64]| {
        let parts = parts.min(values.len() / SHORTEST_BLOCK).max(1);
        let length = values.len().div_ceil(parts).max(1);
        values.chunks(length).map(Block::of).collect::<Vec<_>>()
    };
    windows.iter().flat_map(of_window).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_windows_or_parts_of_windows() {
        let lengths = |windows: &[usize]| -> Vec<usize> {
            let values: Vec<Vec<f64>> = windows.iter().map(|n| vec![0.0; *n]).collect();
            blocks(&values.iter().map(Vec::as_slice).collect::<Vec<_>>()).iter().map(|b| b.count).collect()
        };
        assert_eq!(lengths(&[100; 16]), [100; 16]);
        assert_eq!(lengths(&[240; 4]), [60; 16]);
        assert_eq!(lengths(&[1000]), [vec![63; 15], vec![55]].concat());
        assert_eq!(lengths(&[40, 10]), [40, 10]);
    }
}
