//! The flags that say what model ran in a trace or an export, and how it was served.

use clap::Args;
use kprof::llm::{DType, KvStorage, WeightFormat};
use kprof::roofline::StepCounts;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The model that ran")]
pub(crate) struct ServedArgs {
    /// Set the analytic work of this model beside a trace's times and an export's counters: a config.json, its folder,
    /// or a preset's name, e.g. `--model config.json --batch 8 --prompt 512`
    #[arg(long, value_name = "MODEL", requires = "batch", requires = "prompt")]
    pub(crate) model: Option<String>,
    /// Sequences side by side
    #[arg(long, value_name = "B", requires = "model", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) batch: Option<u32>,
    /// Prompt tokens of each sequence
    #[arg(long, value_name = "P", requires = "model", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) prompt: Option<u32>,
    /// Ranks that share the model by tensor parallelism
    #[arg(long, value_name = "N", requires = "model", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) tp: u32,
    /// Storage of the weights: bf16, f16, f32, fp8, int8, int4 or int4:GROUP
    #[arg(long, value_name = "TYPE", requires = "model", default_value = "bf16")]
    pub(crate) dtype: WeightFormat,
    /// Storage of the KV cache: bf16, f16, f32, fp8 or int8 [default: as the activations]
    #[arg(long, value_name = "TYPE", requires = "model", value_parser = kv_storage)]
    pub(crate) kv_dtype: Option<KvStorage>,
    /// Steps in the file: in a trace where its ranges do not tell, in an export always, e.g. `--steps prefill=1,decode=15`
    #[arg(long, value_name = "COUNTS", requires = "model", value_parser = step_counts)]
    pub(crate) steps: Option<StepCounts>,
}

fn kv_storage(text: &str) -> Result<KvStorage, String> {
    match text {
        "fp8" => Ok(KvStorage::FP8),
        "int8" => Ok(KvStorage::int8(None)),
        other => other
            .parse::<DType>()
            .map(KvStorage::plain)
            .map_err(|_| format!("unknown cache type '{other}'; known: bf16, f16, f32, fp8, int8")),
    }
}

fn step_counts(text: &str) -> Result<StepCounts, String> {
    let mut counts = StepCounts::default();
    for part in text.split(',') {
        let wrong = || format!("'{part}' is no count of steps; write prefill=1,decode=15");
        let (stage, count) = part.split_once('=').ok_or_else(wrong)?;
        let count = count.trim().parse().map_err(|_| wrong())?;
        match stage.trim() {
            "prefill" => counts.prefill = count,
            "decode" => counts.decode = count,
            _ => return Err(wrong()),
        }
    }
    if counts == StepCounts::default() {
        return Err("a trace of no steps has no work".to_string());
    }
    Ok(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_counted_by_stage() {
        assert_eq!(step_counts("prefill=1,decode=15"), Ok(StepCounts { prefill: 1, decode: 15 }));
        assert_eq!(step_counts("decode=3"), Ok(StepCounts { prefill: 0, decode: 3 }));
        for wrong in ["decode", "decode=x", "both=1", "decode=0", ""] {
            assert!(step_counts(wrong).is_err(), "{wrong}");
        }
    }
}
