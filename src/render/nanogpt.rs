//! A run as the nanoGPT KV-cache benchmark writes its results: one JSON object per line, times in milliseconds, each line
//! with the whole environment. Figures that a run does not have are left out, never written as 0.

use crate::llm::{DType, KvDType, Version};
use crate::profile::{Accounted, LatencyRecord, MemoryRecord, Run, RunConfig, StepRecord, Twin};
use crate::stats::Sample;
use serde_json::{Map, Value, json};

/// The lines; none where the run has nothing that the benchmark knows.
pub fn nanogpt_jsonl(run: &Run) -> String {
    let environment = environment(run);
    let lines = latencies(run).into_iter().chain(memories(run)).chain(phases(run)).chain(qualities(run));
    let whole = |(version, result): (String, Map<String, Value>)| {
        let mut line = environment.clone();
        if let Some(Value::Object(model)) = line.get_mut("model_config") {
            let version = known(run, &version);
            model.insert("kv_cache_quant".into(), version.map(is_quantised).into());
            model.insert("cross_layer_sharing".into(), version.map(|v| v.share_layers > 1).into());
        }
        line.extend(result);
        Value::Object(line).to_string() + "\n"
    };
    lines.map(whole).collect()
}

/// The fields that every line has, in the benchmark's order.
fn environment(run: &Run) -> Map<String, Value> {
    let manifest = run.manifest.as_ref();
    let config = manifest.and_then(|m| m.config.as_ref());
    let foreign = run.foreign.iter().find(|f| f.schema == "nanogpt").map(|f| &f.fields);
    let kept = |key: &str| foreign.and_then(|fields| fields.get(key)).cloned();
    let implementation = || config.map(|c| Value::from(format!("kprof {}", c.implementation)));
    let imported = manifest.is_some_and(|m| m.device.kind == "import");
    let device = manifest.map(|m| m.device.name.clone()).filter(|name| name != "n/a");
    let mut line = Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        if let Some(value) = value {
            line.insert(key.to_string(), value);
        }
    };
    put("implementation_name", kept("implementation_name").or_else(implementation));
    put("gpu_name", device.map(Value::from));
    for key in ["gpu_total_vram", "python_version", "pytorch_version", "cuda_version"] {
        put(key, kept(key));
    }
    put("dtype", config.map(|c| dtype(c.dtype).into()));
    put("model_config", config.map(model));
    let pretrained = || config.filter(|_| !imported).map(|c| Value::from(c.model.name.clone()));
    put("pretrained", kept("pretrained").or_else(pretrained));
    put("prompt_length", config.map(|c| c.prompt_length.into()));
    put("batch_size", config.map(|c| c.batch.into()));
    put("seed", config.map(|c| c.seed.into()));
    line
}

fn dtype(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 => "float32",
        DType::Bf16 => "bfloat16",
        DType::F16 => "float16",
    }
}

fn model(config: &RunConfig) -> Value {
    let m = &config.model;
    json!({
        "n_layer": m.num_hidden_layers,
        "n_head": m.num_attention_heads,
        "n_embd": m.hidden_size,
        "block_size": m.max_position_embeddings,
        "vocab_size": m.vocab_size,
    })
}

fn known<'a>(run: &'a Run, name: &str) -> Option<&'a Version> {
    let config = run.manifest.as_ref().and_then(|m| m.config.as_ref());
    config.and_then(|c| c.versions.iter().find(|v| v.name == name))
}

fn is_quantised(version: &Version) -> bool {
    matches!(version.kv_dtype, KvDType::Int8 | KvDType::Int4)
}

/// What a line says first: which benchmark, which version, and what the version is.
fn result(run: &Run, benchmark: &str, name: &str) -> Map<String, Value> {
    let mut result = Map::new();
    result.insert("benchmark_name".into(), benchmark.into());
    result.insert("version".into(), name.into());
    if let Some(version) = known(run, name) {
        result.insert("version_description".into(), version.description.clone().into());
        result.insert("use_cache".into(), version.use_cache.into());
        result.insert("kv_cache_quant".into(), is_quantised(version).into());
        result.insert("cross_layer_sharing".into(), (version.share_layers > 1).into());
    }
    result
}

type Lines = Vec<(String, Map<String, Value>)>;

/// Pairs of version and T as they are first met.
fn cells<'a>(all: impl Iterator<Item = (&'a str, usize)>) -> Vec<(&'a str, usize)> {
    let mut cells = Vec::new();
    for cell in all {
        if !cells.contains(&cell) {
            cells.push(cell);
        }
    }
    cells
}

fn latencies(run: &Run) -> Lines {
    let cells = cells(run.latencies.iter().map(|l| (l.version.as_str(), l.tokens)));
    let mut lines = Lines::new();
    for (version, tokens) in cells {
        let of = |l: &&LatencyRecord| l.version == version && l.tokens == tokens;
        let (imported, own): (Vec<&LatencyRecord>, Vec<&LatencyRecord>) =
            run.latencies.iter().filter(of).partition(|l| l.summarised.is_some());
        for record in imported {
            let summary = record.summarised.as_ref();
            let times = [Some(record.time_s), summary.and_then(|s| s.mean), summary.and_then(|s| s.stddev)];
            lines.push((
                version.to_string(),
                latency(run, version, tokens, times, summary.and_then(|s| s.count)),
            ));
        }
        if let Ok(sample) = Sample::new(own.iter().map(|l| l.time_s).collect()) {
            let times = [Some(sample.median()), Some(sample.mean()), sample.stddev()];
            lines.push((version.to_string(), latency(run, version, tokens, times, Some(sample.count()))));
        }
    }
    lines
}

fn latency(
    run: &Run,
    version: &str,
    tokens: usize,
    [median, mean, stddev]: [Option<f64>; 3],
    count: Option<usize>,
) -> Map<String, Value> {
    let mut line = result(run, "latency_vs_T", version);
    line.insert("T".into(), tokens.into());
    let per_token = |time_s: Option<f64>| time_s.map(|t| t / tokens as f64);
    let times = [
        ("time_total_ms_median", median),
        ("time_total_ms_mean", mean),
        ("time_total_ms_std", stddev),
        ("time_per_token_ms_median", per_token(median)),
        ("time_per_token_ms_std", per_token(stddev)),
    ];
    for (key, time_s) in times {
        if let Some(time_s) = time_s {
            line.insert(key.into(), (time_s * 1e3).into());
        }
    }
    if let Some(count) = count {
        line.insert("n_samples".into(), count.into());
    }
    line
}

fn memories(run: &Run) -> Lines {
    let line = |m: &MemoryRecord| {
        let mut line = result(run, "vram_vs_T", &m.version);
        line.insert("T".into(), m.tokens.into());
        let figures = [
            ("peak_memory_bytes", m.peak),
            ("peak_activation_bytes", m.above_weights),
            ("baseline_memory_bytes", m.weights),
        ];
        for (key, bytes) in figures {
            if let Some(Accounted { bytes, .. }) = bytes {
                line.insert(key.into(), (bytes as u64).into());
            }
        }
        (m.version.clone(), line)
    };
    run.memory.iter().map(line).collect()
}

/// Sums over a whole generation, as the benchmark has them: those of an import, or of the instrumented steps, the median
/// over repetitions of each phase.
fn phases(run: &Run) -> Lines {
    let line = |version: &str, tokens: usize, times: Map<String, Value>| {
        let mut line = result(run, "per_phase_timing", version);
        line.insert("T_star".into(), tokens.into());
        line.insert("time_phase_ms".into(), Value::Object(times));
        (version.to_string(), line)
    };
    let imported = run.phase_totals.iter().map(|p| {
        let times = p.time_s.iter().map(|(phase, time_s)| (phase.clone(), (time_s * 1e3).into())).collect();
        line(&p.version, p.tokens, times)
    });
    let own = run.versions().into_iter().filter_map(|version| {
        let tokens = run.steps.iter().filter(|s| s.version == version).map(|s| s.step + 1).max()?;
        Some(line(version, tokens, phase_times(run, version)?))
    });
    imported.chain(own).collect()
}

fn phase_times(run: &Run, version: &str) -> Option<Map<String, Value>> {
    let steps = || run.steps.iter().filter(|s| s.version == version && s.twin == Twin::Instrumented);
    let mut repetitions: Vec<usize> = steps().map(|s| s.repetition).collect();
    repetitions.sort_unstable();
    repetitions.dedup();
    let median = |of: &dyn Fn(&StepRecord) -> Option<f64>| {
        let sum = |r: &usize| steps().filter(|s| s.repetition == *r).map(of).sum::<Option<f64>>();
        let sums = repetitions.iter().map(sum).collect::<Option<Vec<f64>>>()?;
        Some(Sample::new(sums).ok()?.median())
    };
    let mut times = Map::new();
    let mut known = 0.0;
    for phase in crate::llm::Phase::ALL {
        let of = |step: &StepRecord| {
            let plan = run.plan(version, step.stage)?;
            let ops = plan.ops.iter().zip(&step.op_time_s).filter(|(op, _)| op.phase == phase);
            Some(ops.map(|(_, time)| time).sum::<f64>())
        };
        let time = median(&of)?;
        known += time;
        times.insert(phase.name().into(), (time * 1e3).into());
    }
    let total = median(&|s| Some(s.time_s))?;
    times.insert("total".into(), (total * 1e3).into());
    times.insert("other".into(), ((total - known) * 1e3).into());
    Some(times)
}

/// A line per version and way of feeding: the mean over all scored tokens.
fn qualities(run: &Run) -> Lines {
    let mut versions: Vec<&str> = Vec::new();
    for quality in &run.qualities {
        if !versions.contains(&quality.version.as_str()) {
            versions.push(&quality.version);
        }
    }
    let foreign = run.foreign.iter().find(|f| f.schema == "nanogpt");
    let of_import = foreign.and_then(|f| f.fields.get("dataset")).cloned();
    let dataset = of_import.or_else(|| run.texts.first().map(|t| t.name.clone().into()));
    let mut lines = Lines::new();
    for version in versions {
        for (mode, forced) in [("autoregressive", false), ("teacher-forcing", true)] {
            let (mut sum, mut count) = (0.0, 0);
            for quality in run.qualities.iter().filter(|q| q.version == version) {
                let nll = if forced { &quality.teacher_forced_nll_nat } else { &quality.nll_nat };
                let weight = quality.mean_of.unwrap_or(1);
                sum += nll.iter().sum::<f64>() * weight as f64;
                count += nll.len() * weight;
            }
            if count == 0 {
                continue;
            }
            let loss = sum / count as f64;
            let mut line = result(run, "perplexity", version);
            if let Some(dataset) = &dataset {
                line.insert("dataset".into(), dataset.clone());
            }
            line.insert("eval_mode".into(), mode.into());
            line.insert("num_tokens_evaluated".into(), count.into());
            line.insert("perplexity".into(), loss.exp().into());
            line.insert("loss".into(), loss.into());
            lines.push((version.to_string(), line));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roofline::samples::phase_run;
    use crate::scaling::tests::{latency_run, memory_run};

    fn lines(run: &Run) -> Vec<Value> {
        nanogpt_jsonl(run).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_measured_run_has_the_benchmark_s_fields_in_milliseconds() {
        let lines = lines(&latency_run());
        assert_eq!(lines.len(), 10);
        let last = lines.last().unwrap();
        assert_eq!(
            (&last["benchmark_name"], &last["version"], &last["T"]),
            (&"latency_vs_T".into(), &"v1".into(), &200.into())
        );
        // 10 ms + 200 x 1 ms, of which the noise's median is none.
        assert!((last["time_total_ms_median"].as_f64().unwrap() - 210.0).abs() < 1e-6);
        assert!((last["time_per_token_ms_median"].as_f64().unwrap() - 1.05).abs() < 1e-8);
        assert_eq!(last["n_samples"], 5);
        assert!(
            last.get("python_version").is_none() && last.get("seed").is_none(),
            "what is not known is left out"
        );
    }

    #[test]
    fn activations_are_what_the_benchmark_calls_so_and_phases_add_up() {
        let memory = lines(&memory_run());
        // v1 at T = 8: a peak of 1300 + 800, 1000 of them weights.
        assert_eq!(
            (&memory[1]["peak_memory_bytes"], &memory[1]["peak_activation_bytes"]),
            (&2100.into(), &1100.into())
        );
        let phases = lines(&phase_run());
        let times = phases[0]["time_phase_ms"].as_object().unwrap();
        let of = |phase: &str| times[phase].as_f64().unwrap();
        let parts: f64 = ["embedding", "attention", "mlp", "head", "other"].into_iter().map(of).sum();
        assert!((parts / of("total") - 1.0).abs() < 1e-9, "{times:?}");
        assert_eq!(phases[0]["model_config"]["n_embd"], 64);
        assert_eq!(phases[0]["pretrained"], "tiny");
    }
}
