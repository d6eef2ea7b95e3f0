//! The integration tests: one binary, one module per subject.

mod architecture;
mod ceilings;
mod cli;
mod cpu_backend;
mod damaged_runs;
mod ncu;
mod passes;
mod reference_gpt;
mod roofline;
mod traces;
