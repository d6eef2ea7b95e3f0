//! Reads what Nsight Systems exports: SQLite databases of every schema since 2022, and the CSV of `nsys stats`.
//!
//! Tables of an SQLite export have kept their names and the columns that matter; what a schema lacks is absent in the
//! run. Times are whole nanoseconds.

mod names;
mod ranges;
mod target;
mod work;

use super::sqlite::{Database, MAGIC, SqliteError};
use super::timeline::{Collected, Sink, TraceError};
use crate::profile::{Finding, FindingCode, Run};
use std::path::Path;

/// Whether `head`, the beginning of a file, is that of an SQLite database.
pub(super) fn looks_like(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// The table of kernels, in every schema.
const KERNELS: &str = "CUPTI_ACTIVITY_KIND_KERNEL";
/// Launches of graphs that were traced as a whole.
const GRAPHS: &str = "CUPTI_ACTIVITY_KIND_GRAPH_TRACE";

/// Reads an export and gives its kernels to `push` one by one, in the order they ran; the run has the rest.
///
/// # Errors
/// When the file cannot be read, is damaged or cut short, has another schema, or no kernel.
pub(super) fn fold(path: &Path, push: Sink<'_>) -> Result<Run, TraceError> {
    let file = path.display().to_string();
    let error = |error: SqliteError| match error {
        SqliteError::Read(source) if source.kind() != std::io::ErrorKind::UnexpectedEof => {
            TraceError::Read { path: path.to_path_buf(), source }
        }
        SqliteError::Read(_) => TraceError::Sqlite { file: file.clone(), why: "a page is missing".into() },
        SqliteError::Damaged(why) => TraceError::Sqlite { file: file.clone(), why },
        SqliteError::Unsupported(why) => TraceError::OpenDatabase { file: file.clone(), why },
    };
    let mut database = Database::open(path).map_err(error)?;
    check(&file, &database)?;
    let mut collected =
        Collected { time_source: "end - start of CUPTI_ACTIVITY_KIND_KERNEL", ..Collected::default() };
    collected.info.format = "nsys".into();
    collected.profiler.name = "Nsight Systems".into();
    read(&mut database, &file, &mut collected).map_err(error)?;
    if collected.kernels.is_empty() {
        return Err(no_kernels(&file, &database));
    }
    Ok(collected.emit(&file, push))
}

fn read(database: &mut Database, file: &str, collected: &mut Collected) -> Result<(), SqliteError> {
    let names = names::read(database, &mut collected.names)?;
    target::read(database, collected)?;
    work::read(database, &names, collected)?;
    ranges::read(database, &names, collected)?;
    graphs(database, file, collected)
}

/// How the names of the tables begin that rocprofv3 writes by default.
const ROCPD: &str = "rocpd_";

/// A database that is no export of nsys, or one whose kernels have other columns than any known schema.
fn check(file: &str, database: &Database) -> Result<(), TraceError> {
    let schema = |why: String| TraceError::Schema { file: file.to_string(), why, tables: tables(database) };
    let is_nsys = ["StringIds", "META_DATA_EXPORT", "EXPORT_META_DATA", "TARGET_INFO_SYSTEM_ENV"];
    if is_nsys.iter().all(|t| database.table(t).is_none()) {
        if database.tables().iter().any(|t| t.name.starts_with(ROCPD)) {
            let what = "a database of rocprofv3 (rocpd), which kprof does not read";
            let remedy = "write its tables with `rocpd convert -i results.db --output-format csv`, and read \
                          out_kernel_trace.csv";
            return Err(TraceError::Unsupported { file: file.to_string(), what, remedy });
        }
        return Err(schema("this SQLite file is no export of Nsight Systems that kprof knows".into()));
    }
    let Some(kernels) = database.table(KERNELS) else { return Err(no_kernels(file, database)) };
    if let Some(missing) = ["start", "end"].iter().find(|c| !kernels.has(c)) {
        return Err(schema(format!("{KERNELS} has no column {missing}: a schema that kprof does not know")));
    }
    if names::KERNEL_NAMES.iter().all(|c| !kernels.has(c)) || database.table("StringIds").is_none() {
        return Err(schema(format!("{KERNELS} has no names: a schema that kprof does not know")));
    }
    Ok(())
}

/// Names in a message; enumerations of nsys tell nothing.
fn tables(database: &Database) -> String {
    let names = database.tables().iter().map(|t| t.name.as_str()).filter(|n| !n.starts_with("ENUM_"));
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn no_kernels(file: &str, database: &Database) -> TraceError {
    let remedy = if database.table(GRAPHS).is_some() {
        "its CUDA graphs were traced as a whole: record with `nsys profile --trace=cuda,nvtx --cuda-graph-trace=node`"
    } else {
        "record with `nsys profile --trace=cuda,nvtx`"
    };
    let found = format!("the tables {}", tables(database));
    TraceError::NoKernels { file: file.to_string(), found, remedy: remedy.into() }
}

/// Graphs traced as a whole hide their kernels: their time is said, and is in no table.
fn graphs(database: &mut Database, file: &str, collected: &mut Collected) -> Result<(), SqliteError> {
    let (mut count, mut time_ns) = (0_u64, 0_i64);
    database.scan(GRAPHS, &["start", "end"], &mut |row| {
        if let (Some(start), Some(end)) = (row[0].integer(), row[1].integer()) {
            count += 1;
            time_ns = time_ns.saturating_add(end.saturating_sub(start));
        }
    })?;
    if count > 0 {
        let time_ms = time_ns as f64 / 1e6;
        let message = format!(
            "{count} launches of CUDA graphs ({time_ms:.3} ms in all) were traced as a whole: their kernels are not in \
             the trace, and their time is in no table"
        );
        let finding = Finding::new(FindingCode::Partial, file, message);
        collected.findings.push(finding.with_remedy("record with nsys profile --cuda-graph-trace=node"));
    }
    Ok(())
}
