//! How a config.json says that the weights beside it are stored.

use super::super::{SpecError, WeightElement, WeightFormat, WeightScales};
use serde_json::Value;

/// The format of a checkpoint's linears: `quantization_config` of fp8, GPTQ, AWQ and compressed-tensors files, else
/// `torch_dtype` (`dtype` in newer files). `None` where the text says neither.
///
/// # Errors
/// When it is no JSON, or names a quantisation that kprof does not know.
pub fn stored_weights(text: &str) -> Result<Option<WeightFormat>, SpecError> {
    let json: Value = serde_json::from_str(text)?;
    let config = json.get("text_config").filter(|c| c.is_object()).unwrap_or(&json);
    let of = |key: &str| config.get(key).or_else(|| json.get(key)).filter(|v| !v.is_null());
    if let Some(quantised) = of("quantization_config") {
        return quantisation(quantised).map(Some);
    }
    let Some(dtype) = of("torch_dtype").or_else(|| of("dtype")) else { return Ok(None) };
    let name = dtype.as_str().unwrap_or_default().trim_start_matches("torch.");
    name.parse()
        .map(Some)
        .map_err(|_| SpecError::Field(format!("torch_dtype is {dtype}; say --dtype instead")))
}

fn quantisation(config: &Value) -> Result<WeightFormat, SpecError> {
    let method = config.get("quant_method").and_then(Value::as_str).unwrap_or("absent");
    let unknown = || {
        SpecError::Field(format!(
            "quantization_config.quant_method is {method} in a form that kprof does not know; say --dtype instead"
        ))
    };
    let whole = |from: &Value, key: &str| from.get(key).and_then(Value::as_i64);
    let weights = match method {
        "fp8" => {
            let block = config.get("weight_block_size").and_then(Value::as_array);
            let size = |i: usize| block.and_then(|b| b.get(i)?.as_u64()).filter(|n| *n > 0);
            return Ok(match (size(0), size(1)) {
                (Some(outputs), Some(inputs)) => WeightFormat {
                    element: WeightElement::Fp8,
                    scales: WeightScales::Block(outputs as usize, inputs as usize),
                },
                _ => WeightFormat::usual(WeightElement::Fp8),
            });
        }
        "gptq" | "awq" => {
            return integers(whole(config, "bits"), whole(config, "group_size")).ok_or_else(unknown);
        }
        "compressed-tensors" => config.get("config_groups").and_then(Value::as_object),
        _ => None,
    };
    let group = weights.and_then(|groups| groups.values().next()).and_then(|g| g.get("weights"));
    let group = group.ok_or_else(unknown)?;
    match (group.get("type").and_then(Value::as_str), whole(group, "num_bits")) {
        (Some("float"), Some(8)) => Ok(WeightFormat::usual(WeightElement::Fp8)),
        (Some("int"), bits) => integers(bits, whole(group, "group_size")).ok_or_else(unknown),
        _ => Err(unknown()),
    }
}

/// Integers of 4 or 8 bits; a group of -1 is all of one output.
fn integers(bits: Option<i64>, group: Option<i64>) -> Option<WeightFormat> {
    let element = match bits? {
        4 => WeightElement::Int4,
        8 => WeightElement::Int8,
        _ => return None,
    };
    let scales = match group {
        Some(inputs) if inputs > 0 => WeightScales::Group(inputs as usize),
        _ => WeightScales::Output,
    };
    Some(WeightFormat { element, scales })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(text: &str) -> Option<String> {
        stored_weights(text).unwrap().map(|f| f.to_string())
    }

    #[test]
    fn what_a_file_says_is_what_is_estimated() {
        assert_eq!(format("{}"), None);
        assert_eq!(format(r#"{"torch_dtype":"bfloat16"}"#).unwrap(), "bf16");
        assert_eq!(format(r#"{"dtype":"float16"}"#).unwrap(), "f16");
        // DeepSeek-V3's file.
        let blocks = r#"{"torch_dtype":"bfloat16","quantization_config":{"activation_scheme":"dynamic","fmt":"e4m3",
            "quant_method":"fp8","weight_block_size":[128,128]}}"#;
        assert_eq!(format(blocks).unwrap(), "fp8:128x128");
        let awq =
            r#"{"quantization_config":{"bits":4,"group_size":128,"quant_method":"awq","zero_point":true}}"#;
        assert_eq!(format(awq).unwrap(), "int4");
        let gptq = r#"{"quantization_config":{"bits":8,"group_size":-1,"quant_method":"gptq"}}"#;
        assert_eq!(format(gptq).unwrap(), "int8");
        let compressed = r#"{"quantization_config":{"quant_method":"compressed-tensors","config_groups":{"group_0":
            {"weights":{"num_bits":4,"type":"int","group_size":32}}}}}"#;
        assert_eq!(format(compressed).unwrap(), "int4:32");
    }

    #[test]
    fn a_quantisation_that_is_not_known_is_named() {
        let error = |text: &str| stored_weights(text).unwrap_err().to_string();
        let bnb = error(r#"{"quantization_config":{"quant_method":"bitsandbytes","load_in_4bit":true}}"#);
        assert!(bnb.contains("quant_method is bitsandbytes"), "{bnb}");
        let bits = error(r#"{"quantization_config":{"quant_method":"gptq","bits":3}}"#);
        assert!(bits.contains("say --dtype instead"), "{bits}");
    }
}
