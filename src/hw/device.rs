//! The specification of one device, and how it is read from TOML.

use super::{Ceiling, CeilingKind, CeilingSource, ComputeUnit, MemoryLevel, Precision};
use crate::units::{ByteRate, Bytes, FlopRate, ParseQuantityError};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a document, or the user, says that a device can do at most.
#[derive(Clone, Debug, PartialEq)]
pub struct DeviceSpec {
    /// The SKU as sold, e.g. `NVIDIA A100 SXM4 80 GB`.
    pub name: String,
    /// The names that profilers and drivers print for it.
    pub names: Vec<String>,
    /// CUDA compute capability, major and minor; `None` off NVIDIA.
    pub compute_capability: Option<(u32, u32)>,
    /// Device memory, in bytes.
    pub memory_bytes: Option<f64>,
    /// Streaming multiprocessors.
    pub multiprocessors: Option<u32>,
    /// The boost clock that vector peaks are stated at, in Hz.
    pub boost_hz: Option<f64>,
    /// The clock that matrix peaks are stated at, in Hz, where it is another.
    pub matrix_hz: Option<f64>,
    /// Every bound, with its unit and source.
    pub ceilings: Vec<Ceiling>,
}

impl DeviceSpec {
    /// Its ceilings, to be drawn in the place of those of the device that something was measured on.
    pub fn simulated_ceilings(&self) -> Vec<Ceiling> {
        let source = CeilingSource::Simulated { device: self.name.clone() };
        self.ceilings.iter().map(|c| Ceiling { source: source.clone(), ..c.clone() }).collect()
    }

    /// The bandwidth of a memory level in B/s, if it is given.
    pub fn bandwidth(&self, level: MemoryLevel) -> Option<ByteRate> {
        let wanted = CeilingKind::Bandwidth { level };
        self.ceilings.iter().find(|c| c.kind == wanted).and_then(Ceiling::byte_rate)
    }

    /// The ceiling of computing with operands of `precision` on `unit`.
    ///
    /// Where several accumulators are known, that of the widest one: what inference libraries use, and the
    /// slower one on GeForce cards.
    pub fn compute(&self, precision: Precision, unit: ComputeUnit) -> Option<&Ceiling> {
        let accumulator = |ceiling: &&Ceiling| match &ceiling.kind {
            CeilingKind::Compute { accumulate, .. } => *accumulate,
            CeilingKind::Bandwidth { .. } => None,
        };
        let matches = |c: &&Ceiling| matches!(&c.kind, CeilingKind::Compute { precision: p, unit: u, .. } if *p == precision && *u == unit);
        // `Precision` is ordered widest first.
        self.ceilings.iter().filter(matches).min_by_key(accumulator)
    }
}

/// Why a specification could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceSpecError {
    /// The file cannot be opened.
    #[error("cannot read device spec {path}")]
    Read {
        /// As given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no TOML of this shape; the message names the key and the line.
    #[error("device spec {file}: {source}")]
    Toml {
        /// The file.
        file: String,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
    /// There is not exactly one `[[device]]`.
    #[error("device spec {file}: {found} [[device]] tables; a spec holds exactly one")]
    Count {
        /// The file.
        file: String,
        /// How many it has.
        found: usize,
    },
    /// A value cannot be used.
    #[error("device spec {file}: device '{device}', key '{key}': {reason}")]
    Value {
        /// The file.
        file: String,
        /// The device's name.
        device: String,
        /// The key, with a dot between table and key.
        key: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// The shape of the TOML file: `devices.toml` says what each key means.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FileToml {
    device: Vec<DeviceToml>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceToml {
    name: String,
    #[serde(default)]
    names: Vec<String>,
    compute_capability: Option<String>,
    memory: Option<String>,
    multiprocessors: Option<u32>,
    boost_clock: Option<String>,
    matrix_clock: Option<String>,
    bandwidth: BTreeMap<String, String>,
    #[serde(default)]
    vector: BTreeMap<String, String>,
    #[serde(default)]
    matrix: BTreeMap<String, String>,
    url: Option<String>,
}

/// Reads a `--device-spec` file: one `[[device]]` table as in `devices.toml`, whose `url` may be left out.
///
/// # Errors
/// When it cannot be read, a key is unknown, or a value has no unit or another one; the message names the key.
pub fn read_device_spec(path: &Path) -> Result<DeviceSpec, DeviceSpecError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| DeviceSpecError::Read { path: path.to_path_buf(), source })?;
    let file = path.display().to_string();
    let source = CeilingSource::User { file: file.clone() };
    let mut devices = parse_devices(&text, &file, Some(&source))?;
    match devices.len() {
        1 => Ok(devices.remove(0)),
        found => Err(DeviceSpecError::Count { file, found }),
    }
}

/// Reads every `[[device]]` of `text`; ceilings come from `source`, or else from each device's `url`.
pub(super) fn parse_devices(
    text: &str,
    file: &str,
    source: Option<&CeilingSource>,
) -> Result<Vec<DeviceSpec>, DeviceSpecError> {
    let parsed: FileToml = toml::from_str(text)
        .map_err(|source| DeviceSpecError::Toml { file: file.to_string(), source: Box::new(source) })?;
    parsed.device.into_iter().map(|device| Reader { file, device: &device }.read(source)).collect()
}

/// One device being read: what errors need to say where they are.
struct Reader<'a> {
    file: &'a str,
    device: &'a DeviceToml,
}

impl Reader<'_> {
    fn read(&self, source: Option<&CeilingSource>) -> Result<DeviceSpec, DeviceSpecError> {
        let device = self.device;
        let source = match (source, &device.url) {
            (Some(source), _) => source.clone(),
            (None, Some(url)) => CeilingSource::Datasheet { url: url.clone() },
            (None, None) => return Err(self.error("url", "missing: a value needs its source")),
        };
        let mut ceilings = self.bandwidths(&source)?;
        ceilings.extend(self.computes("vector", &device.vector, ComputeUnit::Vector, &source)?);
        ceilings.extend(self.computes("matrix", &device.matrix, ComputeUnit::Matrix, &source)?);
        Ok(DeviceSpec {
            name: device.name.clone(),
            names: device.names.clone(),
            compute_capability: self.compute_capability()?,
            memory_bytes: self.optional("memory", &device.memory, "B", |t| Bytes::parse(t).map(|b| b.0))?,
            multiprocessors: device.multiprocessors,
            boost_hz: self.clock("boost_clock", &device.boost_clock)?,
            matrix_hz: self.clock("matrix_clock", &device.matrix_clock)?,
            ceilings,
        })
    }

    fn bandwidths(&self, source: &CeilingSource) -> Result<Vec<Ceiling>, DeviceSpecError> {
        let each = self.device.bandwidth.iter();
        each.map(|(level, text)| {
            let key = format!("bandwidth.{level}");
            let level = match level.as_str() {
                "dram" => MemoryLevel::Dram,
                "l3" => MemoryLevel::L3,
                "l2" => MemoryLevel::L2,
                "l1" => MemoryLevel::L1,
                _ => return Err(self.error(&key, "unknown level; known: dram, l3, l2, l1")),
            };
            let value = self.quantity(&key, text, "B/s", |t| ByteRate::parse(t).map(|r| r.0))?;
            Ok(Ceiling {
                kind: CeilingKind::Bandwidth { level },
                value,
                source: source.clone(),
                threads: None,
            })
        })
        .collect()
    }

    fn computes(
        &self,
        table: &str,
        rates: &BTreeMap<String, String>,
        unit: ComputeUnit,
        source: &CeilingSource,
    ) -> Result<Vec<Ceiling>, DeviceSpecError> {
        let each = rates.iter();
        each.map(|(formats, text)| {
            let key = format!("{table}.{formats}");
            let (operands, accumulator) = match formats.split_once('_') {
                Some((operands, accumulator)) => (operands, Some(self.precision(&key, accumulator)?)),
                None => (formats.as_str(), None),
            };
            let precision = self.precision(&key, operands)?;
            let value = self.quantity(&key, text, "FLOP/s", |t| FlopRate::parse(t).map(|r| r.0))?;
            let kind = CeilingKind::Compute { precision, unit, accumulate: accumulator };
            Ok(Ceiling { kind, value, source: source.clone(), threads: None })
        })
        .collect()
    }

    fn precision(&self, key: &str, name: &str) -> Result<Precision, DeviceSpecError> {
        Precision::ALL.into_iter().find(|p| p.name() == name).ok_or_else(|| {
            let known: Vec<_> = Precision::ALL.iter().map(|p| p.name()).collect();
            self.error(key, format!("unknown precision '{name}'; known: {}", known.join(", ")))
        })
    }

    fn compute_capability(&self) -> Result<Option<(u32, u32)>, DeviceSpecError> {
        let Some(text) = &self.device.compute_capability else { return Ok(None) };
        let parsed = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        parsed.map(Some).ok_or_else(|| self.error("compute_capability", "write it like \"8.0\""))
    }

    fn clock(&self, key: &str, text: &Option<String>) -> Result<Option<f64>, DeviceSpecError> {
        // MHz is how documents state clocks, and the only unit here: no quantity type is needed for one use.
        let Some(text) = text else { return Ok(None) };
        let number = text.strip_suffix("MHz").and_then(|n| n.trim().parse::<f64>().ok());
        let hz = number.map(|mhz| mhz * 1e6).filter(|hz| hz.is_finite() && *hz > 0.0);
        hz.map(Some).ok_or_else(|| self.error(key, "write it like \"1410 MHz\""))
    }

    fn optional(
        &self,
        key: &str,
        text: &Option<String>,
        unit: &str,
        parse: impl Fn(&str) -> Result<f64, ParseQuantityError>,
    ) -> Result<Option<f64>, DeviceSpecError> {
        text.as_ref().map(|text| self.quantity(key, text, unit, parse)).transpose()
    }

    /// A positive quantity whose unit is written out.
    fn quantity(
        &self,
        key: &str,
        text: &str,
        unit: &str,
        parse: impl Fn(&str) -> Result<f64, ParseQuantityError>,
    ) -> Result<f64, DeviceSpecError> {
        if !text.trim_end().ends_with(unit) {
            return Err(self.error(key, format!("'{text}' has no unit; write it in {unit} with a prefix")));
        }
        let value = parse(text).map_err(|e| self.error(key, e.to_string()))?;
        if value.is_finite() && value > 0.0 {
            Ok(value)
        } else {
            Err(self.error(key, format!("'{text}' is not above zero")))
        }
    }

    fn error(&self, key: &str, reason: impl Into<String>) -> DeviceSpecError {
        DeviceSpecError::Value {
            file: self.file.to_string(),
            device: self.device.name.clone(),
            key: key.to_string(),
            reason: reason.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(body: &str) -> String {
        let text = format!("[[device]]\nname = 'x'\n{body}");
        let source = CeilingSource::User { file: "x.toml".into() };
        parse_devices(&text, "x.toml", Some(&source)).unwrap_err().to_string()
    }

    #[test]
    fn an_error_names_the_file_the_device_and_the_key() {
        let error = error_of("bandwidth = { dram = '900' }");
        assert!(
            error.contains("x.toml") && error.contains("'x'") && error.contains("bandwidth.dram"),
            "{error}"
        );
        assert!(error.contains("no unit"), "{error}");
        assert!(error_of("bandwidth = { dram = '900 GFLOP/s' }").contains("bandwidth.dram"));
        assert!(error_of("bandwidth = { dram = '-1 GB/s' }").contains("above zero"));
        assert!(error_of("bandwidth = { hbm = '1 GB/s' }").contains("known: dram"));
        assert!(error_of("bandwidth = {}\nvector = { fp17 = '1 TFLOP/s' }").contains("'fp17'"));
        assert!(error_of("bandwidth = {}\nboost_clock = '1.4'").contains("boost_clock"));
        assert!(error_of("bandwith = {}").contains("bandwith"));
    }

    #[test]
    fn a_users_file_is_its_own_source() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let text =
            "[[device]]\nname = 'mine'\nbandwidth = { dram = '100 GB/s' }\nvector = { fp32 = '2 TFLOP/s' }\n";
        std::fs::write(&path, text).unwrap();
        let spec = read_device_spec(&path).unwrap();
        assert_eq!(spec.bandwidth(MemoryLevel::Dram), Some(ByteRate(100e9)));
        assert!(spec.ceilings.iter().all(|c| c.source.label() == "user"));
        std::fs::write(&path, format!("{text}{text}")).unwrap();
        assert!(read_device_spec(&path).unwrap_err().to_string().contains("2 [[device]]"));
        assert!(read_device_spec(&folder.path().join("none.toml")).is_err());
    }
}
