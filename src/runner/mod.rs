//! Running benchmarks: a scenario and a backend in, records out. Nothing here prints.

mod generate;
mod memory_need;
mod phase;
mod profiled;
mod scenario;
mod schedule;

pub use generate::{Generation, TimedStep, generate};
pub use memory_need::{MemoryNeed, MemoryShape, NoRoom, check_memory};
pub use phase::{Outcome, measure_phases};
pub use profiled::ProfiledSteps;
pub use scenario::{Progress, RunnerError, Scenario, Sink};
pub use schedule::{Rounds, Schedule, Timed, Turn};
