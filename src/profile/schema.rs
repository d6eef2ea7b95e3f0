//! The JSON Schema of run files, made from the types that read and write them, so that it cannot disagree with them.

use super::Record;
use serde_json::json;

/// The schema of one line of a run file: one of the records, told apart by `type`. In a file of several ranks each line but
/// the first has an `of_rank` besides.
pub fn record_schema() -> serde_json::Value {
    let mut schema = schemars::schema_for!(Record).to_value();
    let records = schema["oneOf"].as_array_mut();
    for record in
        records.into_iter().flatten().filter(|record| record["properties"]["type"]["const"] != "merged")
    {
        record["properties"]["of_rank"] = json!({
            "type": "integer",
            "minimum": 0,
            "description": "Whose record it is; in a file of several ranks only.",
        });
    }
    schema
}
