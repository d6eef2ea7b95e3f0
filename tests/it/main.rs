//! The integration tests: one binary, one module per subject.

mod architecture;
mod attach;
mod benchmarks;
mod ceilings;
mod cli;
mod compare;
mod cpu_backend;
mod cpu_ops;
mod cuda;
mod damaged_runs;
mod doctor;
mod estimate;
mod llama;
mod models_cli;
mod ncu;
mod passes;
mod plot;
mod processes;
mod reference_gpt;
mod reference_llama;
mod release;
mod roofline;
mod telemetry;
mod traces;
