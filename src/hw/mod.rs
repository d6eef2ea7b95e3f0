//! What hardware can do at most: ceilings, each with its source, and the specifications of known devices.
//!
//! A ceiling is never just "peak": it names the precision, the execution unit and accumulation type or the
//! memory level, and says whether it comes from a datasheet, a probe, a report or the user.

mod ceiling;
mod device;
mod devices;
mod measured;
mod memory;
mod topology;

pub use ceiling::{Ceiling, CeilingKind, CeilingSource, ComputeUnit, MemoryLevel, Precision};
pub use device::{DeviceSpec, DeviceSpecError, read_device_spec};
pub use devices::{DeviceMatch, find_device, known_devices, match_device};
pub use measured::{LaunchCost, MeasuredCeiling, Operation};
pub use memory::available_memory;
pub use topology::{CpuCache, CpuTopology};
