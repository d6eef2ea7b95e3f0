//! Results as text: terminal tables and exports. Nothing here measures, reads or writes files.

pub mod ceilings;
