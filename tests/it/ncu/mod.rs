//! Reading exports of Nsight Compute: hand-made fixtures, a corpus of real ones, and damaged ones.

mod convert;
mod dialects;
mod errors;
mod fixtures;
mod golden;
mod mutations;
pub(crate) mod report_bytes;
mod report_format;
mod reports;
mod resources;
mod tensor;
