//! Samples and what may be said of them: order statistics, Tukey fences and bootstrap intervals.
//!
//! A [`Sample`] is never empty and holds finite values only, so that nothing below has to ask.

mod blocks;
mod bootstrap;
mod grouped;
mod growth;
mod normal;
mod ranks;
mod sample;
mod series;
mod speedup;
mod student;
mod verdict;

pub use blocks::{Block, ENOUGH_BLOCKS, block_mean_interval};
pub use bootstrap::{
    ENOUGH_VALUES, Interval, mean_interval, median_interval, paired_ratio_interval, ratio_interval,
};
pub use grouped::Grouped;
pub use growth::{Estimate, Growth, Order, Polynomial, crossing, exponent};
pub use ranks::relative_half_width;
pub use sample::{Fences, Sample, SampleError, Summary};
pub use series::{LEAST_FOR_AUTOCORRELATION, LEAST_FOR_TREND, Trend, autocorrelation};
pub use speedup::{ASSUMED_SPREAD, DEFAULT_THRESHOLD, Design, Method, SpeedUp};
pub use verdict::Verdict;

/// The confidence level used wherever none is named.
pub const CONFIDENCE: f64 = 0.95;

/// The seed of the bootstrap intervals of reports, so that a run gives the same one every time. Who decides by such an interval
/// while it measures decides by the report's own.
pub const REPORT_SEED: u64 = 0;
