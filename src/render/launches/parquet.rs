//! Launches as a Parquet file: the columns of the CSV with their types, in row groups of bounded size.

use super::columns::{COLUMNS, Cell};
use super::{LAUNCHES_SCHEMA_VERSION, Launches};
use crate::profile::KernelRecord;
use parquet::basic::{LogicalType, Repetition, Type as Physical};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DoubleType, Int64Type};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter};
use parquet::schema::types::{Type, TypePtr};
use std::sync::Arc;

/// Rows of one group: few enough that a column of it is small in memory.
const GROUP: usize = 65_536;

pub(super) fn write(files: &[Launches<'_>]) -> Result<Vec<u8>> {
    let metadata = vec![
        KeyValue::new("kprof_version".to_string(), env!("CARGO_PKG_VERSION").to_string()),
        KeyValue::new("kprof_schema_version".to_string(), LAUNCHES_SCHEMA_VERSION.to_string()),
    ];
    let properties = WriterProperties::builder().set_key_value_metadata(Some(metadata)).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema()?, Arc::new(properties))?;
    let kernels: Vec<&KernelRecord> = files.iter().flat_map(|f| &f.run.kernels).collect();
    for group in kernels.chunks(GROUP) {
        let mut out = writer.next_row_group()?;
        for column in COLUMNS {
            let cells: Vec<Cell> = group.iter().map(|k| (column.get)(k)).collect();
            let Some(mut to) = out.next_column()? else {
                return Err(ParquetError::General(format!("no column {}", column.name)));
            };
            write_column(&mut to, cells)?;
            to.close()?;
        }
        out.close()?;
    }
    writer.into_inner()
}

fn schema() -> Result<TypePtr> {
    let fields = COLUMNS.iter().map(|column| {
        let (physical, logical, repetition) = match (column.get)(&KernelRecord::default()) {
            Cell::Text(_) => (Physical::BYTE_ARRAY, Some(LogicalType::String), Repetition::OPTIONAL),
            Cell::Number(_) => (Physical::DOUBLE, None, Repetition::OPTIONAL),
            Cell::Integer(_) => (Physical::INT64, None, Repetition::REQUIRED),
            Cell::Flag(_) => (Physical::BOOLEAN, None, Repetition::REQUIRED),
        };
        let field = Type::primitive_type_builder(column.name, physical).with_repetition(repetition);
        field.with_logical_type(logical).build().map(Arc::new)
    });
    let fields = fields.collect::<Result<Vec<_>>>()?;
    Ok(Arc::new(Type::group_type_builder("launches").with_fields(fields).build()?))
}

/// Writes cells that are all of one kind.
fn write_column(to: &mut SerializedColumnWriter<'_>, cells: Vec<Cell>) -> Result<()> {
    let present = |known: bool| i16::from(known);
    let levels: Vec<i16> =
        cells.iter().map(|cell| present(!matches!(cell, Cell::Text(None) | Cell::Number(None)))).collect();
    let (mut texts, mut numbers, mut integers, mut flags) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let kind = cells.first().cloned();
    for cell in cells {
        match cell {
            Cell::Text(text) => texts.extend(text.map(|t| ByteArray::from(t.into_bytes()))),
            Cell::Number(number) => numbers.extend(number),
            Cell::Integer(integer) => integers.push(i64::try_from(integer).unwrap_or(i64::MAX)),
            Cell::Flag(flag) => flags.push(flag),
        }
    }
    match kind {
        Some(Cell::Text(_)) => to.typed::<ByteArrayType>().write_batch(&texts, Some(&levels), None)?,
        Some(Cell::Number(_)) => to.typed::<DoubleType>().write_batch(&numbers, Some(&levels), None)?,
        Some(Cell::Integer(_)) => to.typed::<Int64Type>().write_batch(&integers, None, None)?,
        Some(Cell::Flag(_)) => to.typed::<BoolType>().write_batch(&flags, None, None)?,
        None => 0,
    };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::{Measured, Run};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;

    #[test]
    fn what_is_written_can_be_read_back() {
        let kernel = |time: Option<f64>| KernelRecord {
            kernel: "k".into(),
            launches: 3,
            time: time.map(|t| Measured::new(t, "t")),
            flops_complete: true,
            ..KernelRecord::default()
        };
        let run = Run { kernels: vec![kernel(Some(1.5)), kernel(None)], ..Run::default() };
        let bytes = write(&[Launches { run: &run, metrics: &[] }]).unwrap();
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let at = |name: &str| COLUMNS.iter().position(|c| c.name == name).unwrap();
        let rows: Vec<_> = reader.get_row_iter(None).unwrap().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(rows[0].get_double(at("time_s")).unwrap(), 1.5);
        assert!(rows[1].get_double(at("time_s")).is_err(), "null");
        assert_eq!(rows[1].get_string(at("kernel")).unwrap(), "k");
        assert_eq!(rows[0].get_long(at("launches")).unwrap(), 3);
        assert!(rows[0].get_bool(at("flops_complete")).unwrap());
    }
}
