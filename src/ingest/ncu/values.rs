//! The metrics themselves that numbers are made of, for whoever wants to check a formula by hand.

use super::units::{self, Dimension};
use super::{NcuError, decode, kernel_record, metrics, read_report, readings, resources, table};
use crate::profile::KernelRecord;
use std::path::Path;

/// One metric over the launches that have a value of it, in base units.
#[derive(Clone, Debug, PartialEq)]
pub struct MetricValues {
    /// Its own name, also where the file has a label.
    pub metric: String,
    /// Its base unit: s, byte, Hz, %, ...; empty for counts.
    pub unit: &'static str,
    /// How many launches have a value.
    pub launches: u64,
    /// The smallest of them.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// Their sum: over `launches` it is the mean.
    pub sum: f64,
}

/// The metrics that kprof reads, of the launches that are `wanted`, in the order of the file. The file is read whole.
///
/// # Errors
/// As [`super::read`].
pub fn metric_values(
    path: &Path,
    mut wanted: impl FnMut(&KernelRecord) -> bool,
) -> Result<Vec<MetricValues>, NcuError> {
    let mut all = Vec::new();
    if let Some(report) = read_report(path)? {
        for (record, values) in report.run.kernels.iter().zip(&report.metrics) {
            if wanted(record) {
                let needed = values
                    .iter()
                    .filter(|(name, _)| metrics::is_needed(name) && !resources::is_resource(name));
                let numbers = needed.filter_map(|(name, value)| Some((name, value.as_f64()?)));
                numbers.for_each(|(name, value)| add(&mut all, name, value * readings::base_factor(name)));
            }
        }
        return Ok(all);
    }
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| NcuError::Read { path: path.to_path_buf(), source })?;
    let text = decode::decode(&bytes);
    let collected = table::collect(&name, &text)?;
    let locale = collected.votes.decide();
    let mut ignored = readings::Assumptions::default();
    for launch in &collected.launches {
        if wanted(&kernel_record(&name, launch, locale, &mut ignored)?.0) {
            let read = readings::read(&name, &launch.cells, locale, &mut ignored, &mut Vec::new())?;
            let values = read.available().filter_map(|r| Some((r.metric, r.value?)));
            let values = values.filter(|(metric, _)| !resources::is_resource(metric));
            values.for_each(|(metric, value)| add(&mut all, metric, value));
        }
    }
    Ok(all)
}

fn add(all: &mut Vec<MetricValues>, metric: &str, value: f64) {
    match all.iter_mut().find(|known| known.metric == metric) {
        Some(known) => {
            known.launches += 1;
            known.min = known.min.min(value);
            known.max = known.max.max(value);
            known.sum += value;
        }
        None => all.push(MetricValues {
            metric: metric.to_string(),
            unit: base_unit(units::dimension_of(metric)),
            launches: 1,
            min: value,
            max: value,
            sum: value,
        }),
    }
}

fn base_unit(dimension: Dimension) -> &'static str {
    match dimension {
        Dimension::Time => "s",
        Dimension::Bytes => "byte",
        Dimension::ByteRate => "byte/s",
        Dimension::BytesPerCycle => "byte/cycle",
        Dimension::BytesPerBlock => "byte/block",
        Dimension::Frequency => "Hz",
        Dimension::Count => "",
        Dimension::CountRate => "1/s",
        Dimension::Percent => "%",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_values_behind_chosen_launches_are_given_in_base_units() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = "\"ID\",\"Kernel Name\",\"gpu__time_duration.sum\",\"dram__bytes.sum\",\"other__x.sum\"\n\
                    \"\",\"\",\"us\",\"Kbyte\",\"\"\n\
                    \"0\",\"f\",\"2\",\"1.5\",\"9\"\n\"1\",\"g\",\"7\",\"7\",\"7\"\n\"2\",\"f\",\"4\",\"n/a\",\"9\"\n";
        std::fs::write(file.path(), text).unwrap();
        let values = metric_values(file.path(), |record| record.kernel == "f").unwrap();
        let expected = |metric: &str, unit, launches, min, max, sum| MetricValues {
            metric: metric.to_string(),
            unit,
            launches,
            min,
            max,
            sum,
        };
        assert_eq!(values.len(), 2);
        assert_eq!(values[0], expected("gpu__time_duration.sum", "s", 2, 2e-6, 4e-6, 6e-6));
        assert_eq!(values[1], expected("dram__bytes.sum", "byte", 1, 1500.0, 1500.0, 1500.0));
    }
}
