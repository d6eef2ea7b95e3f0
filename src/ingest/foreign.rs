//! Files of profilers in formats of their own, which have to be exported before anybody else can read them.

use super::TraceError;
use std::path::Path;

/// Such a format, by the ending of its files: their contents are not documented.
struct Foreign {
    endings: &'static [&'static str],
    what: &'static str,
    remedy: &'static str,
}

const FOREIGN: &[Foreign] = &[
    Foreign {
        endings: &["nsys-rep", "qdrep", "qdstrm"],
        what: "a report of Nsight Systems, which only nsys can read",
        remedy: "export it with `nsys export --type sqlite report.nsys-rep`, and read report.sqlite",
    },
    Foreign {
        endings: &["pftrace", "perfetto-trace", "otf2"],
        what: "a trace in Perfetto's or OTF2's binary form, which kprof does not read",
        remedy: "write tables instead: `rocprofv3 --kernel-trace --output-format csv -- PROGRAM`, or `rocpd convert -i \
                 results.db --output-format csv`",
    },
];

/// The error for a file that nothing here can read and whose name says what to do.
pub(super) fn check(path: &Path, head: &[u8]) -> Result<(), TraceError> {
    let is_text = !head.contains(&0);
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    let known = FOREIGN.iter().find(|f| ending.as_deref().is_some_and(|e| f.endings.contains(&e)));
    match known {
        Some(Foreign { what, remedy, .. }) if !is_text => {
            Err(TraceError::Unsupported { file: path.display().to_string(), what, remedy })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_binary_file_with_a_known_ending_says_how_to_export_it() {
        let error = check(Path::new("a/run.NSYS-REP"), b"x\0y").unwrap_err().to_string();
        assert!(error.starts_with("a/run.NSYS-REP: a report of Nsight Systems"), "{error}");
        assert!(error.contains("nsys export --type sqlite"));
        // An export under a report's name is read for what it is.
        assert!(check(Path::new("run.nsys-rep"), b"text").is_ok());
        assert!(check(Path::new("run.csv"), b"x\0y").is_ok());
    }
}
