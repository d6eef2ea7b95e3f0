//! Which table a header begins: long, summary or wide, and where its columns are.

use super::metrics;
use super::records::Record;

/// The columns that every layout may have.
#[derive(Clone, Debug, Default)]
pub(super) struct Columns {
    pub(super) id: Option<usize>,
    pub(super) process: Option<usize>,
    pub(super) kernel: usize,
    pub(super) context: Option<usize>,
    pub(super) stream: Option<usize>,
    pub(super) block: Option<usize>,
    pub(super) grid: Option<usize>,
    pub(super) device: Option<usize>,
    pub(super) capability: Option<usize>,
    pub(super) device_name: Option<usize>,
    pub(super) invocations: Option<usize>,
    pub(super) nvtx: Vec<usize>,
}

/// A table of one metric per row.
#[derive(Clone, Debug)]
pub(super) struct Long {
    pub(super) section: Option<usize>,
    pub(super) body: Option<usize>,
    pub(super) name: usize,
    pub(super) unit: usize,
    /// The value, or the average in a summary.
    pub(super) value: usize,
    pub(super) rule: Option<usize>,
    /// The smallest and the largest value of a summary.
    pub(super) range: Option<[usize; 2]>,
    /// Whether metrics say the grid and the block, for want of columns.
    pub(super) extents: bool,
}

/// A metric's column in a table of one launch per row.
#[derive(Clone, Debug)]
pub(super) struct WideColumn<'a> {
    pub(super) column: usize,
    pub(super) name: &'a str,
    pub(super) unit: &'a str,
}

/// A table of one launch per row.
#[derive(Clone, Debug)]
pub(super) struct Wide<'a> {
    /// Only the metrics that are needed.
    pub(super) metrics: Vec<WideColumn<'a>>,
    /// The first column that holds a metric: all from here on may vote on the locale.
    pub(super) first: usize,
    pub(super) width: usize,
    /// The line with the units.
    pub(super) units_line: usize,
}

/// How a table is laid out.
#[derive(Clone, Debug)]
pub(super) enum Shape<'a> {
    Long(Long),
    Wide(Wide<'a>),
}

/// A table's header, understood.
#[derive(Clone, Debug)]
pub(super) struct Layout<'a> {
    pub(super) columns: Columns,
    pub(super) shape: Shape<'a>,
    /// The first cell, by which the header is known when it comes again.
    pub(super) first_cell: &'a str,
}

/// What a record is, taken as a header.
#[derive(Debug)]
pub(super) enum Header<'a> {
    Table(Box<Layout<'a>>),
    /// A table of metrics without a column that it must have.
    Missing(&'static str),
    No,
}

/// Whether a line is worth splitting to see if it is a header.
pub(super) fn may_be_header(line: &str) -> bool {
    (line.contains("Kernel Name") || line.contains("Metric Name") || line.contains("Function Name"))
        && !line.starts_with("==")
}

/// Reads a record as a header.
pub(super) fn header<'a>(record: &Record<'a>) -> Header<'a> {
    let names: Vec<&'a str> = (0..record.len()).map(|i| record.raw(i).trim()).collect();
    let find = |name: &str| names.iter().position(|n| *n == name);
    let launch = ["ID", "Process ID", "Domain", "Device Id", "Metric Name", "Demangled Name"];
    if !launch.iter().any(|n| find(n).is_some()) {
        return Header::No;
    }
    let kernel = ["Kernel Name", "Demangled Name", "Function Name"].iter().find_map(|n| find(n));
    let value = find("Metric Value").or_else(|| find("Average"));
    let name = find("Metric Name");
    let first_metric = names.iter().position(|n| is_metric_name(n));
    let size = |what: &str| names.iter().position(|n| n.strip_prefix(what).is_some_and(is_unit_or_nothing));
    let (block, grid) = (size("Block Size"), size("Grid Size"));
    let extents = grid.is_none();
    let shape = match (name, value, first_metric) {
        (Some(name), Some(value), _) => {
            let Some(unit) = find("Metric Unit") else { return Header::Missing("Metric Unit") };
            Shape::Long(Long {
                section: find("Section Name"),
                body: find("Body Item Label"),
                name,
                unit,
                value,
                rule: find("Rule Description"),
                range: find("Minimum").zip(find("Maximum")).map(<[usize; 2]>::from),
                extents,
            })
        }
        (None, Some(_), None) if kernel.is_some() => return Header::Missing("Metric Name"),
        (Some(_), None, None) if kernel.is_some() => return Header::Missing("Metric Value"),
        (_, _, Some(first)) => Shape::Wide(wide(&names, first, extents)),
        _ => return Header::No,
    };
    let Some(kernel) = kernel else { return Header::Missing("Kernel Name") };
    let columns = Columns {
        id: find("ID"),
        process: find("Process ID").or_else(|| find("Process")),
        kernel,
        context: find("Context").or_else(|| find("Context ID")),
        stream: find("Stream").or_else(|| find("Stream ID")),
        block,
        grid,
        device: find("Device").or_else(|| find("Device Id")),
        capability: find("CC"),
        device_name: find("Device Name"),
        invocations: find("Invocations"),
        nvtx: (0..names.len()).filter(|i| names[*i].contains("Range:PL_Type")).collect(),
    };
    Header::Table(Box::new(Layout { columns, shape, first_cell: record.raw(0) }))
}

/// Whether nothing but a unit follows a column's name: ` [block]`.
fn is_unit_or_nothing(rest: &str) -> bool {
    rest.is_empty() || rest.starts_with(" [")
}

fn wide<'a>(names: &[&'a str], first: usize, extents: bool) -> Wide<'a> {
    let metrics = names.iter().enumerate().filter_map(|(column, cell)| {
        let (name, unit) = split_unit(cell);
        let needed = metrics::is_needed(name) || (extents && metrics::is_extent(name));
        needed.then_some(WideColumn { column, name, unit })
    });
    Wide { metrics: metrics.collect(), first, width: names.len(), units_line: 0 }
}

/// `dram__bytes.sum [Mbyte]` as the graphical program writes it.
pub(super) fn split_unit(cell: &str) -> (&str, &str) {
    match cell.strip_suffix(']').and_then(|c| c.rsplit_once(" [")) {
        Some((name, unit)) => (name, unit),
        None => (cell, ""),
    }
}

/// Whether a header cell is a metric: `unit__name`, perhaps after dotted parts.
fn is_metric_name(cell: &str) -> bool {
    cell.split_once("__").is_some_and(|(unit, name)| {
        !unit.is_empty()
            && unit.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.'))
            && name.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

/// Whether a record under a wide header is its row of units.
pub(super) fn is_units_row(columns: &Columns, record: &Record<'_>) -> bool {
    record.raw(columns.kernel).trim().is_empty()
        && columns.id.is_none_or(|id| record.raw(id).trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::super::records::Records;
    use super::*;

    fn of(line: &str) -> Header<'_> {
        let mut records = Records::new(line);
        let mut record = records.record();
        records.next(&mut record);
        header(&record)
    }

    fn value_column(header: Header<'_>) -> Option<usize> {
        let Header::Table(layout) = header else { return None };
        if let Shape::Long(long) = layout.shape { Some(long.value) } else { None }
    }

    #[test]
    fn headers_tell_long_summary_and_wide() {
        let long = "\"ID\",\"Kernel Name\",\"Section Name\",\"Metric Name\",\"Metric Unit\",\"Metric Value\"";
        assert_eq!(value_column(of(long)), Some(5));
        let summary = "Process ID,Kernel Name,Invocations,Metric Name,Metric Unit,Minimum,Maximum,Average";
        assert_eq!(value_column(of(summary)), Some(7));
        let Header::Table(wide) = of("ID,Kernel Name,Context,dram__bytes.sum,x__y.sum") else { panic!() };
        let Shape::Wide(shape) = wide.shape else { panic!() };
        assert_eq!((shape.first, shape.width, shape.metrics.len()), (3, 5, 1));
    }

    #[test]
    fn other_tables_with_a_kernel_name_are_none_of_ours() {
        assert!(matches!(of("PID,TID,API Name,Kernel Name"), Header::No));
        assert!(matches!(of("\"Kernel Name\",\"foo\""), Header::No));
    }

    #[test]
    fn a_missing_column_is_named() {
        assert!(matches!(of("ID,Kernel Name,Metric Name,Metric Value"), Header::Missing("Metric Unit")));
        assert!(matches!(of("Metric Name,dram__bytes.sum"), Header::Missing("Kernel Name")));
    }

    #[test]
    fn a_unit_in_brackets_belongs_to_the_header_cell() {
        assert_eq!(split_unit("gpu__time_duration.sum [ms]"), ("gpu__time_duration.sum", "ms"));
        assert_eq!(split_unit("sm__x.sum"), ("sm__x.sum", ""));
    }
}
