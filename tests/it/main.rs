//! The integration tests: one binary, one module per subject.

mod architecture;
mod ceilings;
mod ncu;
