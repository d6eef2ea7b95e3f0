//! `kprof schema`: the JSON Schema of run files, made from the types that write them.

use crate::args::SchemaArgs;
use crate::exit::usage;
use crate::output;
use anyhow::Context as _;
use kprof::llm::nearest_first;
use kprof::profile::record_schema;
use serde_json::{Value, json};

pub(crate) fn run(args: &SchemaArgs) -> anyhow::Result<()> {
    let all = record_schema();
    let text = match &args.record {
        None => serde_json::to_string_pretty(&all).context("a schema is JSON")?,
        Some(name) => serde_json::to_string_pretty(&one(&all, name)?).context("a schema is JSON")?,
    };
    output::print_as_is(&format!("{text}\n"))
}

/// The schema of one record, with what it refers to.
fn one(all: &Value, name: &str) -> anyhow::Result<Value> {
    let records = all["oneOf"].as_array().context("a record is one of several")?;
    let named = |record: &Value| record["properties"]["type"]["const"].as_str().map(str::to_string);
    let Some(record) = records.iter().find(|r| named(r).as_deref() == Some(name)) else {
        let known: Vec<String> = records.iter().filter_map(named).collect();
        let known = nearest_first(name, known.iter().map(String::as_str)).join(", ");
        return Err(usage(format!("unknown record '{name}'; known: {known}")));
    };
    let mut schema = json!({ "$schema": all["$schema"].clone() });
    if let (Some(to), Some(from)) = (schema.as_object_mut(), record.as_object()) {
        to.extend(from.clone());
        to.insert("$defs".to_string(), all["$defs"].clone());
    }
    Ok(schema)
}
