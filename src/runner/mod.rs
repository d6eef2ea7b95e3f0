//! Running benchmarks: a scenario and a backend in, records out. Nothing here prints.

mod capacity;
mod commands;
mod counters;
mod crossover;
mod flushing;
mod generate;
mod latency;
mod memory;
mod memory_need;
mod phase;
mod profiled;
mod quality;
mod scenario;
mod schedule;

pub use capacity::{CapacityScenario, account_capacity, measure_capacity};
pub use commands::{CommandError, CommandTimes, Commands, CommandsOutcome, RUN_PLACE, measure_commands};
pub use counters::{KernelScenario, count_kernels};
pub use crossover::{CrossoverScenario, measure_crossover};
pub use generate::{Generation, TimedStep, generate};
pub use latency::{LatencyScenario, measure_latency};
pub use memory::{MemoryScenario, measure_memory};
pub use memory_need::{MemoryNeed, MemoryShape, NoRoom, check_memory};
pub use phase::{Outcome, measure_phases};
pub use profiled::ProfiledSteps;
pub use quality::{QualityScenario, Window, measure_quality, windows};
pub use scenario::{Progress, RunnerError, Scenario, Sink};
pub use schedule::{Rounds, Schedule, Timed, Turn};
