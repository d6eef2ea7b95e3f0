//! Model directories in the Hugging Face layout: config.json and *.safetensors; and logits written for others.

use super::weights::{WeightError, Weights};
use crate::backend::HostTensor;
use crate::llm::{ModelSpec, SpecError};
use half::{bf16, f16};
use safetensors::tensor::{Metadata, TensorInfo};
use safetensors::{Dtype, SafeTensorError, SafeTensors, View};
use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Prefixes that frameworks put before the names of the bare model.
const PREFIXES: [&str; 3] = ["", "transformer.", "model."];

/// A header of more than this is no safetensors file (the crate's own limit).
const LONGEST_HEADER: u64 = 100_000_000;

struct Entry {
    file: usize,
    offset: u64,
    info: TensorInfo,
}

/// The tensors of all *.safetensors files of a directory; a tensor is read when asked for.
pub struct SafetensorsWeights {
    folder: PathBuf,
    files: Vec<PathBuf>,
    entries: HashMap<String, Entry>,
}

/// Reads the shape of a model: of a directory with a config.json, or of such a file; named after the directory.
///
/// # Errors
/// When it is missing, unreadable or not of a family whose shape is known.
pub fn read_model_spec(path: &Path) -> Result<ModelSpec, WeightError> {
    let is_file = path.extension().is_some_and(|e| e == "json");
    let folder = if is_file { path.parent().unwrap_or(path) } else { path };
    let config_path = if is_file { path.to_path_buf() } else { path.join("config.json") };
    let text = std::fs::read_to_string(&config_path)
        .map_err(|source| WeightError::Read { path: config_path, source })?;
    let name = folder.file_name().map_or_else(|| "model".to_string(), |n| n.to_string_lossy().into_owned());
    ModelSpec::from_config_json(&name, &text).map_err(|e| reject(folder, &e))
}

fn reject(folder: &Path, error: &SpecError) -> WeightError {
    WeightError::Directory { path: folder.to_path_buf(), reason: error.to_string() }
}

/// Reads a model directory: the shape from config.json, the tensors' places from *.safetensors.
///
/// # Errors
/// When a file is missing or unreadable, or config.json asks for what no pass computes.
pub fn read_model_dir(folder: &Path) -> Result<(ModelSpec, SafetensorsWeights), WeightError> {
    let spec = read_model_spec(folder)?;
    spec.require_pass().map_err(|e| reject(folder, &e))?;
    Ok((spec, SafetensorsWeights::open(folder)?))
}

/// Which file each tensor of a sharded model is in.
#[derive(serde::Deserialize)]
struct ShardIndex {
    weight_map: HashMap<String, String>,
}

/// The files that hold the tensors: those that the index of shards names, or all *.safetensors where there is none.
fn weight_files(folder: &Path) -> Result<Vec<PathBuf>, WeightError> {
    let directory = |reason: String| WeightError::Directory { path: folder.to_path_buf(), reason };
    let index_path = folder.join("model.safetensors.index.json");
    let mut files: Vec<PathBuf> = match std::fs::read_to_string(&index_path) {
        Ok(text) => {
            let index: ShardIndex = serde_json::from_str(&text)
                .map_err(|e| directory(format!("model.safetensors.index.json: {e}")))?;
            index.weight_map.into_values().map(|file| folder.join(file)).collect()
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => std::fs::read_dir(folder)
            .map_err(|source| WeightError::Read { path: folder.to_path_buf(), source })?
            .filter_map(|entry| entry.ok().map(|e| e.path()))
            .filter(|path| path.extension().is_some_and(|e| e == "safetensors"))
            .collect(),
        Err(source) => return Err(WeightError::Read { path: index_path, source }),
    };
    files.sort();
    files.dedup();
    if files.is_empty() {
        let reason = "no *.safetensors file; kprof reads no pickled weights (*.bin, *.pt)".to_string();
        return Err(directory(reason));
    }
    match files.iter().find(|file| !file.exists()) {
        Some(file) => {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            let named_by = "which model.safetensors.index.json names, is missing";
            Err(directory(format!("the shard {name}, {named_by}")))
        }
        None => Ok(files),
    }
}

impl SafetensorsWeights {
    fn open(folder: &Path) -> Result<Self, WeightError> {
        let files = weight_files(folder)?;
        let mut entries = HashMap::new();
        for (file, path) in files.iter().enumerate() {
            let (data_at, metadata) = read_header(path)?;
            for (name, info) in metadata.tensors() {
                let offset = data_at + info.data_offsets.0 as u64;
                entries.insert(name, Entry { file, offset, info: info.clone() });
            }
        }
        Ok(Self { folder: folder.to_path_buf(), files, entries })
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        PREFIXES.iter().find_map(|prefix| self.entries.get(&format!("{prefix}{name}")))
    }

    fn bytes(&self, entry: &Entry) -> Result<Vec<u8>, WeightError> {
        let path = &self.files[entry.file];
        let length = entry.info.data_offsets.1 - entry.info.data_offsets.0;
        let mut bytes = vec![0; length];
        let mut read = |file: &mut File| {
            file.seek(SeekFrom::Start(entry.offset))?;
            file.read_exact(&mut bytes)
        };
        File::open(path)
            .and_then(|mut file| read(&mut file))
            .map_err(|source| WeightError::Read { path: path.clone(), source })?;
        Ok(bytes)
    }
}

/// The header and where the data after it begins.
fn read_header(path: &Path) -> Result<(u64, Metadata), WeightError> {
    let read = |source| WeightError::Read { path: path.to_path_buf(), source };
    let format = |source| WeightError::Format { path: path.to_path_buf(), source };
    let mut file = File::open(path).map_err(read)?;
    let mut length = [0; 8];
    file.read_exact(&mut length).map_err(|_| format(SafeTensorError::HeaderTooSmall))?;
    let header_length = u64::from_le_bytes(length);
    if header_length > LONGEST_HEADER {
        return Err(format(SafeTensorError::HeaderTooLarge));
    }
    let mut header = length.to_vec();
    let taken = file.by_ref().take(header_length).read_to_end(&mut header).map_err(read)?;
    if (taken as u64) < header_length {
        return Err(format(SafeTensorError::InvalidHeaderLength));
    }
    // Read as metadata alone: the crate's own reader wants the whole body, which may be gigabytes, in memory.
    let metadata = parse_metadata(&header[8..]).map_err(format)?;
    Ok((8 + header_length, metadata))
}

fn parse_metadata(header: &[u8]) -> Result<Metadata, SafeTensorError> {
    let text = std::str::from_utf8(header).map_err(SafeTensorError::InvalidHeader)?;
    serde_json::from_str(text).map_err(SafeTensorError::InvalidHeaderDeserialization)
}

impl Weights for SafetensorsWeights {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<HostTensor, WeightError> {
        let (place, name) = (self.folder.display().to_string(), name.to_string());
        let Some(entry) = self.find(&name) else {
            return Err(WeightError::Missing { place, name, expected: shape.to_vec() });
        };
        if entry.info.shape != shape {
            let found = entry.info.shape.clone();
            return Err(WeightError::Shape { place, name, found, expected: shape.to_vec() });
        }
        let bytes = self.bytes(entry)?;
        match values(entry.info.dtype, &bytes) {
            Some(data) => Ok(HostTensor { shape: shape.to_vec(), data }),
            None => Err(WeightError::Type { place, name, found: format!("{:?}", entry.info.dtype) }),
        }
    }
}

/// All tensors of a safetensors file in memory; `place` names it in errors.
pub(super) fn tensors_of(place: &str, file: &[u8]) -> Result<HashMap<String, HostTensor>, WeightError> {
    let format = |source| WeightError::Format { path: PathBuf::from(place), source };
    let tensors = SafeTensors::deserialize(file).map_err(format)?;
    let read = |(name, view): (&str, safetensors::tensor::TensorView<'_>)| {
        let shape = view.shape().to_vec();
        match values(view.dtype(), view.data()) {
            Some(data) => Ok((name.to_string(), HostTensor { shape, data })),
            None => {
                let (place, name) = (place.to_string(), name.to_string());
                Err(WeightError::Type { place, name, found: format!("{:?}", view.dtype()) })
            }
        }
    };
    tensors.iter().map(read).collect()
}

/// Elements in f32; `None` of a type that is not read.
fn values(dtype: Dtype, bytes: &[u8]) -> Option<Vec<f32>> {
    Some(match dtype {
        Dtype::F32 => decode(bytes, f32::from_le_bytes),
        Dtype::F64 => decode(bytes, |b| f64::from_le_bytes(b) as f32),
        Dtype::BF16 => decode(bytes, |b| bf16::from_le_bytes(b).to_f32()),
        Dtype::F16 => decode(bytes, |b| f16::from_le_bytes(b).to_f32()),
        _ => return None,
    })
}

fn decode<const N: usize>(bytes: &[u8], value: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    let (chunks, _) = bytes.as_chunks::<N>();
    chunks.iter().map(|chunk| value(*chunk)).collect()
}

struct F32View<'a>(&'a HostTensor);

impl View for F32View<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }
    fn shape(&self) -> &[usize] {
        &self.0.shape
    }
    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.0.data.iter().flat_map(|x| x.to_le_bytes()).collect())
    }
    fn data_len(&self) -> usize {
        self.0.data.len() * 4
    }
}

/// The bytes of a safetensors file with one f32 tensor `logits` and `metadata`.
///
/// # Errors
/// When the tensor's shape and data disagree.
pub fn write_logits(
    logits: &HostTensor,
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, SafeTensorError> {
    let bytes = safetensors::serialize([("logits", F32View(logits))], Some(metadata))?;
    SafeTensors::deserialize(&bytes)?;
    Ok(bytes)
}
