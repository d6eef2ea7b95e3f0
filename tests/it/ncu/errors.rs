//! Files that are no usable export say what they are and what to do.

use super::fixtures::refused;
use kprof::ingest::ncu::{NcuError, read_bytes};

#[test]
fn an_unknown_unit_is_located_and_the_known_ones_are_listed() {
    let (_, message) = refused("unknown-unit.csv");
    let expected = "unknown-unit.csv:4:14: metric 'dram__bytes.sum' has unit 'Qbyte', which is none of: \
                    byte, Kbyte, Mbyte, Gbyte, Tbyte";
    assert_eq!(message, expected);
}

#[test]
fn an_unknown_unit_of_a_wide_export_is_located_in_the_units_row() {
    let text =
        "log line\nID,Kernel Name,Context,gpu__time_duration.sum,dram__bytes.sum\n,,,ns,Qbyte\n0,k,1,5,6\n";
    let message = read_bytes("x.csv", text.as_bytes()).unwrap_err().to_string();
    assert!(message.starts_with("x.csv:3:5: metric 'dram__bytes.sum' has unit 'Qbyte'"), "{message}");
}

#[test]
fn a_missing_column_is_named_with_the_header_seen() {
    let (error, message) = refused("missing-column.csv");
    assert!(matches!(error, NcuError::MissingColumn { column: "Metric Unit", row: 1, .. }));
    assert!(message.contains("no column 'Metric Unit'") && message.contains("\"Kernel Name\""), "{message}");
}

#[test]
fn a_refusal_of_counters_gives_the_module_option_and_its_limit() {
    let (_, message) = refused("permission.csv");
    assert!(message.starts_with("permission.csv:2: "), "{message}");
    assert!(
        message.contains("NVreg_RestrictProfilingToAdminUsers=0") && message.contains("inside a container")
    );
}

#[test]
fn other_files_are_explained() {
    let of = |bytes: &[u8]| read_bytes("run.ncu-rep", bytes).unwrap_err();
    assert!(matches!(of(b""), NcuError::Empty { .. }));
    assert!(matches!(of(b"\xEF\xBB\xBF\r\n"), NcuError::Empty { .. }));
    let report = of(b"NVR\0\x02\0\0\0").to_string();
    assert!(
        report.contains(
            "byte 4: expected the length of the file header, found 2 bytes, of which the file has 0"
        )
    );
    assert!(matches!(of(b"NVR\0\x02\0\0\0\x08\x07"), NcuError::EmptyReport { .. }));
    let compressed = of(b"\x28\xB5\x2F\xFD\x04").to_string();
    assert!(compressed.contains("zstd -d run.ncu-rep -o run.plain.ncu-rep"), "{compressed}");
    assert!(matches!(of(b"\x97\0\0\0\x08"), NcuError::NotAReport { .. }));
    assert!(matches!(of(b"hello\n"), NcuError::Unknown { .. }));
    assert!(matches!(of(b"{\"a\": 1}"), NcuError::Unknown { .. }));
    let header = "ID,Process ID,Kernel Name,Metric Name,Metric Unit,Metric Value\n";
    assert!(matches!(of(header.as_bytes()), NcuError::NoLaunches { .. }));
    let crashed = format!("==ERROR== The application returned an error code (1).\n{header}");
    assert!(matches!(of(crashed.as_bytes()), NcuError::Profiler { row: 1, .. }));
}

#[test]
fn a_program_that_prints_a_similar_header_does_not_hide_the_table() {
    let table = std::fs::read_to_string(super::fixtures::path("long.csv")).unwrap();
    let text = format!("ID,Kernel Name,Metric Name,Metric Value\n{table}");
    assert_eq!(read_bytes("x.csv", text.as_bytes()).unwrap().kernels.len(), 2);
}

#[test]
fn a_run_file_is_dispatched_to_its_own_reader() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "{\"type\":\"manifest\",\"format_version\":99}\n").unwrap();
    let message = kprof::ingest::read_any(file.path()).unwrap_err().to_string();
    assert!(message.contains("format version 99"), "{message}");
}
