//! `kprof schema`, held against what the program writes.

use super::{json, kprof, refused, run_of};
use serde_json::Value;

/// Whether `value` is what `schema` describes, as far as the keywords that schemars writes go; where it is not.
fn mismatch(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let wrong = |what: &str| Some(format!("{at}: {what}"));
    if let Some(path) = schema["$ref"].as_str() {
        let target = root.pointer(path.trim_start_matches('#')).unwrap_or_else(|| panic!("{path}"));
        if let Some(found) = mismatch(root, target, value, at) {
            return Some(found);
        }
    }
    for (keyword, least) in [("oneOf", 1), ("anyOf", 1), ("allOf", usize::MAX)] {
        if let Some(all) = schema[keyword].as_array() {
            let fits = all.iter().filter(|s| mismatch(root, s, value, at).is_none()).count();
            if fits < least.min(all.len()) {
                return wrong(&format!("{fits} of {} {keyword} fit {value}", all.len()));
            }
        }
    }
    let types: Vec<&str> = match &schema["type"] {
        Value::String(one) => vec![one],
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let is = |name: &&str| match *name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        _ => value.is_object(),
    };
    if !types.is_empty() && !types.iter().any(is) {
        return wrong(&format!("{value} is no {types:?}"));
    }
    if schema.get("const").is_some_and(|c| c != value) {
        return wrong(&format!("{value} is not {}", schema["const"]));
    }
    if schema["enum"].as_array().is_some_and(|all| !all.contains(value)) {
        return wrong(&format!("{value} is none of {}", schema["enum"]));
    }
    if let Some(object) = value.as_object() {
        for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            if !object.contains_key(name) {
                return wrong(&format!("{name} is missing"));
            }
        }
        for (name, field) in object {
            let own = &schema["properties"][name];
            if let Some(found) = mismatch(root, own, field, &format!("{at}.{name}")) {
                return Some(found);
            }
        }
    }
    let items = value.as_array().into_iter().flatten();
    items.filter_map(|item| mismatch(root, &schema["items"], item, at)).next()
}

#[test]
fn every_line_that_benchmarks_write_is_what_the_schema_says() {
    let tiny = ["--preset", "tiny", "--quick", "--threads", "2", "--version", "v0", "v2"];
    let (folder, _, _) = run_of(&[&["phase"][..], &tiny].concat());
    let schema = json(&kprof(folder.path(), &["schema"]));
    let mut seen = Vec::new();
    let mut check = |folder: &std::path::Path| {
        let text = std::fs::read_to_string(folder.join("run.jsonl")).unwrap();
        for line in text.lines() {
            let value: Value = serde_json::from_str(line).unwrap();
            if let Some(found) = mismatch(&schema, &schema, &value, "line") {
                panic!("{found}\n{line}");
            }
            let kind = value["type"].as_str().unwrap().to_string();
            if !seen.contains(&kind) {
                seen.push(kind);
            }
        }
    };
    check(folder.path());
    for benchmark in ["latency", "memory", "capacity"] {
        check(run_of(&[&[benchmark][..], &tiny].concat()).0.path());
    }
    check(run_of(&["crossover", "--preset", "tiny", "--quick", "--threads", "2"]).0.path());
    for kind in [
        "manifest",
        "ceiling",
        "plan",
        "step",
        "cache",
        "latency",
        "memory",
        "capacity",
        "decode_point",
        "end",
    ] {
        assert!(seen.iter().any(|s| s == kind), "{kind} was not met: {seen:?}");
    }
    // The check itself finds what is wrong.
    let wrong: Value = serde_json::from_str(r#"{"type":"end","wall_s":"long"}"#).unwrap();
    assert!(mismatch(&schema, &schema, &wrong, "line").is_some());
}

#[test]
fn one_record_has_its_own_schema_with_descriptions() {
    let folder = tempfile::tempdir().unwrap();
    let schema = json(&kprof(folder.path(), &["schema", "latency"]));
    let required: Vec<&str> = schema["$defs"]["LatencyRecord"]["required"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(required.contains(&"time_s") && !required.contains(&"ttft_s"), "{required:?}");
    let text = schema.to_string();
    assert!(text.contains("from the prefill's start to output token T"), "{text}");
    refused(&[(&["schema", "latncy"], "unknown record 'latncy'; known: latency")]);
}
