//! Lines that were measured with the same settings become one run.

use super::ResultsGroup;
use super::line::Line;
use crate::llm::{DType, KvDType, ModelSpec, Version, builtin_versions};
use crate::profile::{
    Accounted, ForeignRecord, LatencyRecord, MemoryMethod, MemoryRecord, PhaseTotalsRecord, QualityRecord,
    Record, RunConfig, Summarised, TimingMethod, WeightSource,
};
use serde_json::{Map, Value, json};

/// What tells runs apart. Results of perplexity say nothing of prompts: `None` goes with anything.
#[derive(Clone, Debug, PartialEq)]
struct Key {
    gpu: Option<String>,
    dtype: Option<String>,
    model: Map<String, Value>,
    pretrained: Option<String>,
    shape: Option<(usize, usize, u64)>,
}

impl Key {
    fn of(line: &Line) -> Self {
        let mut model = line.model_config.clone();
        // These two are the version's.
        model.retain(|key, _| !["kv_cache_quant", "cross_layer_sharing"].contains(&key.as_str()));
        let shape =
            line.prompt_length.map(|prompt| (prompt, line.batch_size.unwrap_or(1), line.seed.unwrap_or(0)));
        Self {
            gpu: line.gpu_name.clone(),
            dtype: line.dtype.clone(),
            model,
            pretrained: line.pretrained.clone(),
            shape,
        }
    }

    fn goes_with(&self, other: &Self) -> bool {
        let same_shape = self.shape.is_none() || other.shape.is_none() || self.shape == other.shape;
        same_shape
            && self.gpu == other.gpu
            && self.dtype == other.dtype
            && self.model == other.model
            && self.pretrained == other.pretrained
    }
}

struct Group {
    key: Key,
    first: Line,
    versions: Vec<Version>,
    records: Vec<Record>,
    samples: Option<usize>,
    dataset: Option<String>,
}

/// The groups so far.
#[derive(Default)]
pub(super) struct Groups(Vec<Group>);

impl Groups {
    /// Adds a line to the group that it goes with.
    pub(super) fn add(&mut self, line: &Line) -> Result<(), String> {
        let key = Key::of(line);
        let name = line.version()?;
        let group = match self.0.iter_mut().position(|g| g.key.goes_with(&key)) {
            Some(at) => &mut self.0[at],
            None => {
                let (first, versions, records) = (line.clone(), Vec::new(), Vec::new());
                self.0.push(Group {
                    key: key.clone(),
                    first,
                    versions,
                    records,
                    samples: None,
                    dataset: None,
                });
                let last = self.0.len() - 1;
                &mut self.0[last]
            }
        };
        let records = group.records_of(line, &name)?;
        group.records.extend(records);
        if group.key.shape.is_none() && key.shape.is_some() {
            group.key.shape = key.shape;
            group.first = line.clone();
        }
        if !group.versions.iter().any(|v| v.name == name) {
            group.versions.push(version(line, &name));
        }
        group.samples = group.samples.max(line.n_samples);
        group.dataset = group.dataset.take().or_else(|| line.dataset.clone());
        Ok(())
    }

    /// All groups that hold something.
    pub(super) fn finish(self) -> Vec<ResultsGroup> {
        self.0.into_iter().filter(|g| !g.records.is_empty()).map(Group::finish).collect()
    }
}

impl Group {
    fn records_of(&self, line: &Line, version: &str) -> Result<Vec<Record>, String> {
        match line.benchmark_name.as_deref() {
            Some("latency_vs_T") => Ok(vec![Record::Latency(self.latency(line, version)?)]),
            Some("vram_vs_T") => Ok(vec![Record::Memory(Box::new(self.memory(line, version)?))]),
            Some("per_phase_timing") => Ok(vec![Record::PhaseTotals(phase_totals(line, version)?)]),
            Some("perplexity") => Self::quality(line, version),
            Some(other) => Err(format!(
                "its benchmark '{other}' is not known; known: latency_vs_T, vram_vs_T, per_phase_timing, perplexity"
            )),
            None => Err("it has no benchmark_name".to_string()),
        }
    }

    fn latency(&self, line: &Line, version: &str) -> Result<LatencyRecord, String> {
        let tokens = needed(line.t, "T")?;
        let time = needed(line.time_total_ms_median, "time_total_ms_median")?;
        let is_same =
            |r: &&Record| matches!(r, Record::Latency(l) if l.version == version && l.tokens == tokens);
        Ok(LatencyRecord {
            version: version.to_string(),
            tokens,
            prompt_length: needed(line.prompt_length, "prompt_length")?,
            batch: line.batch_size.unwrap_or(1),
            repetition: self.records.iter().filter(is_same).count(),
            time_s: time / 1e3,
            ttft_s: None,
            method: TimingMethod::DeviceEvent,
            summarised: Some(Summarised {
                statistic: "median".to_string(),
                count: line.n_samples,
                mean: line.time_total_ms_mean.map(|ms| ms / 1e3),
                stddev: line.time_total_ms_std.map(|ms| ms / 1e3),
            }),
        })
    }

    fn memory(&self, line: &Line, version: &str) -> Result<MemoryRecord, String> {
        let tokens = needed(line.t, "T")?;
        let imported = |bytes: Option<f64>| bytes.map(|b| Accounted::new(b, MemoryMethod::Imported));
        let peak = needed(line.peak_memory_bytes, "peak_memory_bytes")?;
        let is_same =
            |r: &&Record| matches!(r, Record::Memory(m) if m.version == version && m.tokens == tokens);
        Ok(MemoryRecord {
            version: version.to_string(),
            tokens,
            prompt_length: needed(line.prompt_length, "prompt_length")?,
            batch: line.batch_size.unwrap_or(1),
            repetition: self.records.iter().filter(is_same).count(),
            capacity: None,
            peak: imported(Some(peak)),
            weights: imported(line.baseline_memory_bytes),
            cache_theoretical: None,
            cache_allocated: None,
            cache_touched: None,
            // The benchmark's activations have the cache among them.
            activations: None,
            above_weights: imported(line.peak_activation_bytes),
            resident_peak: None,
        })
    }

    fn quality(line: &Line, version: &str) -> Result<Vec<Record>, String> {
        let perplexity = line.perplexity.map(f64::ln);
        let nll = needed(line.loss.or(perplexity), "loss")?;
        let is_forced = line.eval_mode.as_deref() == Some("teacher-forcing");
        let quality = QualityRecord {
            version: version.to_string(),
            segment: 0,
            first_token: 0,
            bytes: None,
            characters: None,
            // What was scored in one pass is no figure of the cache.
            nll_nat: if is_forced { Vec::new() } else { vec![nll] },
            teacher_forced_nll_nat: if is_forced { vec![nll] } else { Vec::new() },
            reference: None,
            kl_nat: Vec::new(),
            same_top1: Vec::new(),
            mean_of: line.num_tokens_evaluated,
        };
        Ok(vec![Record::Quality(quality)])
    }

    fn finish(self) -> ResultsGroup {
        let line = &self.first;
        let text = |value: &Option<String>| value.clone().map(Value::String);
        let fields = [
            ("implementation_name", text(&line.implementation_name)),
            ("gpu_total_vram", line.gpu_total_vram.map(Value::from)),
            ("python_version", text(&line.python_version)),
            ("pytorch_version", text(&line.pytorch_version)),
            ("cuda_version", text(&line.cuda_version)),
            ("pretrained", text(&line.pretrained)),
            ("dataset", text(&self.dataset)),
        ];
        let fields = fields.into_iter().filter_map(|(key, value)| Some((key.to_string(), value?))).collect();
        let name = line.pretrained.clone().unwrap_or_else(|| "model".to_string());
        ResultsGroup {
            name: line.dtype.as_ref().map_or(name.clone(), |dtype| format!("{name}-{dtype}")),
            device: line.gpu_name.clone(),
            config: self.config(),
            foreign: ForeignRecord { schema: "nanogpt".to_string(), fields },
            records: self.records,
        }
    }

    fn config(&self) -> Option<RunConfig> {
        let line = &self.first;
        let name = line.pretrained.clone().unwrap_or_else(|| "model".to_string());
        let model = model(&name, &self.key.model)?;
        let lengths = lengths(&self.records);
        let implementation = match &line.pytorch_version {
            Some(version) => format!("PyTorch {version}"),
            None => "PyTorch".to_string(),
        };
        let seed = line.seed.unwrap_or(0);
        Some(RunConfig {
            benchmark: "import".to_string(),
            implementation,
            model,
            weights: match &line.pretrained {
                Some(path) => WeightSource::Directory { path: path.clone() },
                None => WeightSource::Random { seed },
            },
            dtype: line.dtype.as_deref()?.parse::<DType>().ok()?,
            weight_format: None,
            instructions: None,
            exec: None,
            gemm: None,
            counters: None,
            prompt_length: line.prompt_length?,
            tokens: lengths.last().copied().unwrap_or(1),
            lengths,
            batch: line.batch_size.unwrap_or(1),
            seed,
            warmup: 0,
            repetitions: self.samples.unwrap_or(1),
            max_time_s: None,
            versions: self.versions.clone(),
        })
    }
}

/// Every T of the records, ascending.
fn lengths(records: &[Record]) -> Vec<usize> {
    let tokens = |record: &Record| match record {
        Record::Latency(latency) => Some(latency.tokens),
        Record::Memory(memory) => Some(memory.tokens),
        Record::PhaseTotals(phases) => Some(phases.tokens),
        _ => None,
    };
    let mut all: Vec<usize> = records.iter().filter_map(tokens).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn needed<T>(value: Option<T>, field: &str) -> Result<T, String> {
    value.ok_or_else(|| format!("it has no {field}"))
}

fn phase_totals(line: &Line, version: &str) -> Result<PhaseTotalsRecord, String> {
    if line.time_phase_ms.is_empty() {
        return Err("it has no time_phase_ms".to_string());
    }
    Ok(PhaseTotalsRecord {
        version: version.to_string(),
        tokens: needed(line.t_star.or(line.t), "T_star")?,
        time_s: line.time_phase_ms.iter().map(|(phase, ms)| (phase.clone(), ms / 1e3)).collect(),
        statistic: "median".to_string(),
    })
}

/// The built-in version of that name where the line says nothing else of it, else what the line says.
fn version(line: &Line, name: &str) -> Version {
    let of_line = Version {
        name: name.to_string(),
        description: line.version_description.clone().unwrap_or_default(),
        use_cache: line.use_cache.unwrap_or(name != "v0" && line.version.is_some()),
        kv_dtype: if line.kv_cache_quant == Some(true) { KvDType::Int8 } else { KvDType::Model },
        share_layers: if line.cross_layer_sharing == Some(true) { 2 } else { 1 },
        ..Version::default()
    };
    let builtin = builtin_versions().into_iter().find(|v| v.name == name);
    let alike = |v: &Version| {
        line.use_cache.is_none_or(|c| c == v.use_cache)
            && line.kv_cache_quant.is_none_or(|q| q == (v.kv_dtype == KvDType::Int8))
            && line.cross_layer_sharing.is_none_or(|s| s == (v.share_layers == 2))
    };
    match builtin.filter(alike) {
        Some(builtin) => Version { description: of_line.description, ..builtin },
        None => of_line,
    }
}

/// nanoGPT's names for the shape of a GPT-2, as Hugging Face has them.
fn model(name: &str, shape: &Map<String, Value>) -> Option<ModelSpec> {
    let get = |key: &str| shape.get(key).cloned();
    let config = json!({
        "model_type": "gpt2",
        "n_layer": get("n_layer")?,
        "n_head": get("n_head")?,
        "n_embd": get("n_embd")?,
        "n_positions": get("block_size")?,
        "vocab_size": get("vocab_size")?,
    });
    ModelSpec::from_config_json(name, &config.to_string()).ok()
}
