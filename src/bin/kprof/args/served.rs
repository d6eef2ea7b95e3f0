//! The flags that say what model ran in a trace or an export, and how it was served.

use clap::Args;
use kprof::llm::{Arithmetic, KvStorage, WeightFormat};
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
    /// How the weights of linears are stored: f32, bf16, f16, fp8, int8, int4; `int4:64` has a scale per 64 weights
    /// [default: what config.json says, else bf16]
    #[arg(long, value_name = "TYPE", requires = "model")]
    pub(crate) dtype: Option<WeightFormat>,
    /// How the KV cache is stored: f32, bf16, f16, fp8, int8, int4; `int8:64` has a scale per 64 channels
    /// [default: as activations]
    #[arg(long, value_name = "TYPE", requires = "model")]
    pub(crate) kv_dtype: Option<KvStorage>,
    /// What linears multiply in: f32, bf16, f16, fp8, int8 [default: fp8 for fp8 weights, else the activations' type]
    #[arg(long, value_name = "TYPE", requires = "model")]
    pub(crate) arithmetic: Option<Arithmetic>,
    /// Steps in the file: in a trace where its ranges do not tell, in an export always, e.g. `--steps prefill=1,decode=15`
    #[arg(long, value_name = "COUNTS", requires = "model", value_parser = step_counts)]
    pub(crate) steps: Option<StepCounts>,
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
