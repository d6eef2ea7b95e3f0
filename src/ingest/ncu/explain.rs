//! A file without a table: which of the known other things it is.

use super::NcuError;
use super::launches::Collected;
use super::table::shorten;

/// The error that says what `text` is, after no launch was found in it.
pub(super) fn explain(file: &str, text: &str, collected: &Collected<'_>) -> NcuError {
    let file = file.to_string();
    if let Some(row) = line_with(text, |l| l.contains("ERR_NVGPUCTRPERM")) {
        return NcuError::Permission { file, row };
    }
    if line_with(text, |l| l.contains("No kernels were profiled")).is_some() {
        return NcuError::NoKernels { file, available: available(text) };
    }
    if let Some(message) = collected.messages.iter().find(|m| m.error) {
        return NcuError::Profiler { file, row: message.line, message: message.text.clone() };
    }
    if collected.tables > 0 {
        return NcuError::NoLaunches { file };
    }
    if let Some(row) = line_with(text, is_source_header) {
        return NcuError::SourcePage { file, row };
    }
    if let Some(row) = line_with(text, is_nsys) {
        return NcuError::Nsys { file, row };
    }
    if let Some(row) = line_with(text, |l| l.trim_start().starts_with("Section: ")) {
        return NcuError::TextPage { file, row };
    }
    if line_with(text, |l| l.starts_with("==PROF==")).is_some() {
        return NcuError::OnlyLog { file };
    }
    let beginning = text.lines().find(|l| !l.trim().is_empty()).unwrap_or_default();
    NcuError::Unknown { file, beginning: shorten(beginning.trim()) }
}

fn line_with(text: &str, wanted: impl Fn(&str) -> bool) -> Option<usize> {
    text.lines().position(wanted).map(|index| index + 1)
}

/// The names under `Available Kernels:`, each numbered.
fn available(text: &str) -> Vec<String> {
    let after = text.lines().skip_while(|l| !l.starts_with("Available Kernels")).skip(1);
    let numbered = after.map_while(|l| l.trim().split_once(". "));
    numbered
        .filter(|(n, _)| n.bytes().all(|b| b.is_ascii_digit()))
        .map(|(_, name)| name.to_string())
        .collect()
}

fn is_source_header(line: &str) -> bool {
    let first = line.split(',').take(2).any(|c| c.trim_matches('"') == "Address");
    first && line.contains("Source")
}

fn is_nsys(line: &str) -> bool {
    let header = line.contains("Kernel Name") && line.contains("API Name");
    let report = ["cuda_gpu_kern_sum", "gpukernsum", "cuda_api_sum", "CUDA GPU Kernel Summary"];
    let sums = line.contains("Total Time (ns)") && line.contains("Instances");
    header || sums || report.iter().any(|r| line.contains(r))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        explain("x.csv", text, &Collected::default()).to_string()
    }

    #[test]
    fn each_kind_of_file_is_named() {
        assert!(message("a\n==ERROR== ERR_NVGPUCTRPERM - no\n").contains("RestrictProfilingToAdminUsers=0"));
        let none =
            message("==WARNING== No kernels were profiled.\nAvailable Kernels:\n1. add\n2. mul\nbye\n");
        assert!(none.ends_with("add, mul"), "{none}");
        assert!(
            message("\"Kernel Name\",\"f\"\n\"Address\",\"Source\"\n")
                .contains("x.csv:2: this is a source page")
        );
        assert!(message("PID,API Name,Kernel Name\n").contains("nsys"));
        assert!(message("[1] app\n    Section: Occupancy\n").contains("x.csv:2: this is a text page"));
        assert!(message("==PROF== Connected\n").contains("only the profiler's log"));
        assert!(message("hello\n").contains("begins with: hello"));
    }
}
