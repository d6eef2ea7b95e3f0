//! The JSON Schema of run files, made from the types that read and write them, so that it cannot disagree with them.

use super::Record;

/// The schema of one line of a run file: one of the records, told apart by `type`.
pub fn record_schema() -> serde_json::Value {
    schemars::schema_for!(Record).to_value()
}
