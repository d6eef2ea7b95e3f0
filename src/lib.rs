//! kprof: a profiling and roofline toolkit for LLM inference.
//!
//! Everything meets in [`profile::Run`]: passes are measured into one, exports of other profilers are read
//! into one, and all analysis starts from one.

#![deny(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

pub mod alloc;
pub mod attach;
pub mod backend;
pub mod compare;
pub mod host;
pub mod hw;
pub mod ingest;
pub mod llm;
pub mod pass;
pub mod probe;
pub mod profile;
pub mod render;
pub mod roofline;
pub mod runner;
pub mod scaling;
pub mod stats;
pub mod units;
