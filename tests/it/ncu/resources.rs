//! Registers and shared memory of launches, from every page and format.

use super::fixtures::{find, read};
use super::golden::corpus;
use super::report_bytes::{Proto, double};
use super::report_bytes::{launch, metric, payload_block, session_block, start, string_block};
use kprof::ingest::ncu;
use kprof::profile::{FindingCode, KernelRecord, Run};
use std::path::Path;

/// Registers, static, dynamic and all shared memory.
type Resources = (Option<u32>, Option<u64>, Option<u64>, Option<u64>);

fn of(kernel: &KernelRecord) -> Resources {
    (kernel.registers, kernel.static_shared_bytes, kernel.dynamic_shared_bytes, kernel.shared_total())
}

fn text(text: &str) -> Run {
    ncu::read_bytes("x.csv", text.as_bytes()).unwrap_or_else(|e| panic!("{e}"))
}

#[test]
fn the_details_page_gives_them_by_label_to_the_byte_or_not_at_all() {
    let run = read("launch-statistics.csv");
    assert_eq!(of(&run.kernels[0]), (Some(255), Some(0), Some(65_536), Some(65_536)));
    // 98.30 Kbyte is any of ten numbers of bytes, and what the driver takes is no part of the sum.
    assert_eq!(of(&run.kernels[1]), (Some(128), Some(1024), None, None));
    let said = find(&run.findings, FindingCode::ReadingAssumption).expect("the rounding is said");
    assert!(
        said.message.contains("launch__shared_mem_per_block_dynamic is not printed to the byte"),
        "{said:?}"
    );
    assert!(said.remedy.as_deref().is_some_and(|remedy| remedy.contains("--print-units base")), "{said:?}");
}

const WIDE: &str = "ID,Kernel Name,Context,gpu__time_duration.sum,launch__registers_per_thread,\
                    launch__registers_per_thread_allocated,launch__shared_mem_per_block,\
                    launch__shared_mem_per_block_driver,launch__shared_mem_per_block_dynamic,\
                    launch__shared_mem_per_block_static\n";

#[test]
fn the_raw_page_gives_them_in_the_unit_of_their_column() {
    let units = ",,,ns,register/thread,register/thread,Kbyte/block,Kbyte/block,byte/block,Kbyte/block\n";
    let run = text(&format!(
        "{WIDE}{units}0,a,1,5,40,8192,5.120000,1.024000,0.000000,4.096000\n\
         1,a,1,5,n/a,8192,5.120000,1.024000,n/a,4.097000\n"
    ));
    assert_eq!(of(&run.kernels[0]), (Some(40), Some(4096), Some(0), Some(4096)));
    assert_eq!(of(&run.kernels[1]), (None, Some(4097), None, None));
    assert!(find(&run.findings, FindingCode::ReadingAssumption).is_none(), "{:?}", run.findings);
    // An ncu older than its report leaves units out: base units.
    let run = text(&format!("{WIDE},,,ns,,,,,,\n0,a,1,5,98,13312,5120,1024,\"4,096\",0\n"));
    assert_eq!(of(&run.kernels[0]), (Some(98), Some(0), Some(4096), Some(4096)));
}

#[test]
fn an_unknown_unit_costs_the_value_and_not_the_file() {
    let run = text(&format!("{WIDE},,,ns,pair,,,,sack,byte\n0,a,1,5,98,13312,5120,1024,4096,16\n"));
    assert_eq!(of(&run.kernels[0]), (None, Some(16), None, None));
    let said = find(&run.findings, FindingCode::ReadingAssumption).expect("it is said");
    assert!(
        said.message.starts_with("launch__registers_per_thread, launch__shared_mem_per_block_dynamic "),
        "{said:?}"
    );
}

#[test]
fn a_summary_gives_what_all_its_launches_have_alike() {
    let header = "Process ID,Kernel Name,Block Size,Grid Size,Device,CC,Invocations,Section Name,Metric Name,Metric Unit,\
                  Minimum,Maximum,Average\n";
    let row = |name: &str, unit: &str, values: &str| {
        format!("7,k,\"(256, 1, 1)\",\"(8, 1, 1)\",0,8.0,2,Launch Statistics,{name},{unit},{values}\n")
    };
    let run = text(
        &[
            header.to_string(),
            row("Registers Per Thread", "register/thread", "40.000000,40.000000,40.000000"),
            row("Static Shared Memory Per Block", "byte/block", "16.00,16.00,16.00"),
            // The mean of two is the size of neither.
            row("Dynamic Shared Memory Per Block", "byte/block", "0.00,8192.00,4096.00"),
        ]
        .concat(),
    );
    assert_eq!(of(&run.kernels[0]), (Some(40), Some(16), None, None));
}

#[test]
fn the_export_of_the_graphical_program_gives_them() {
    let run = text(
        "ID,0\nFunction Name,f\ngpu__time_duration.sum [us],3.66\nlaunch__registers_per_thread [register/thread],40\n\
         launch__shared_mem_per_block_static [Kbyte/block],4.10\nlaunch__shared_mem_per_block_dynamic [byte/block],0\n",
    );
    assert_eq!(of(&run.kernels[0]), (Some(40), None, Some(0), None));
}

#[test]
fn a_launch_that_failed_is_invalid_though_its_registers_are_known() {
    let run = text(&format!("{WIDE},,,ns,register/thread,,,,,\n0,a,1,nan,40,,,,,\n"));
    assert_eq!(run.kernels[0].registers, Some(40));
    assert!(find(&run.kernels[0].findings, FindingCode::LaunchInvalid).is_some());
}

#[test]
fn a_binary_report_has_them_in_base_units() {
    let names = [
        "gpu__time_duration.sum",
        "launch__registers_per_thread",
        "launch__shared_mem_per_block_static",
        "launch__shared_mem_per_block_dynamic",
    ];
    let whole = |value| Proto::new().int(4, value);
    let metrics =
        [metric(0, double(1000.0)), metric(1, whole(168)), metric(2, whole(1024)), metric(3, whole(98_304))];
    let bytes = [
        start(),
        session_block(),
        payload_block(&[], &[launch("gemm()", &metrics), launch("other()", &metrics[..2])], &[]),
        string_block(&names),
    ]
    .concat();
    let run = ncu::read_bytes("x.ncu-rep", &bytes).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(of(&run.kernels[0]), (Some(168), Some(1024), Some(98_304), Some(99_328)));
    assert_eq!(of(&run.kernels[1]), (Some(168), None, None, None));
}

/// What every launch of a real file has, read from its text by eye.
const SEEN: [(&str, usize, Resources); 5] = [
    ("csv/hydro_a100_native_v0_raw.csv", 0, (Some(62), Some(0), Some(0), Some(0))),
    ("csv/GUI_baka14_4050_naive_rawpage_transposed.csv", 0, (Some(40), Some(0), Some(0), Some(0))),
    (
        "converted/rashwanth__output0__370d640.raw.auto.de_DE.csv",
        0,
        (Some(98), Some(0), Some(4096), Some(4096)),
    ),
    (
        "converted/2388612861__ncu_report_optimized__bf4a812.details.auto.csv",
        1,
        (Some(16), Some(4224), Some(0), Some(4224)),
    ),
    ("rep/rashwanth__output0__370d640.ncu-rep", 0, (Some(98), Some(0), Some(4096), Some(4096))),
];

#[test]
fn real_exports_give_what_stands_in_them() {
    let Some(root) = corpus() else {
        println!("skipped: real_exports_give_what_stands_in_them: no ../shared/ncu beside the checkout");
        return;
    };
    for (file, launch, expected) in SEEN {
        let run = ncu::read(&root.join(file)).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(of(&run.kernels[launch]), expected, "{file}");
    }
    let mut compared = 0;
    for entry in std::fs::read_dir(root.join("rep")).expect("the corpus has reports").flatten() {
        let Ok(report) = ncu::read(&entry.path()) else { continue };
        compared += pages_of(&root, &entry.path()).iter().map(|page| same_in(page, &report)).sum::<usize>();
    }
    assert!(compared > 50, "{compared} launches");
}

/// The tables of launches that ncu made of a report.
fn pages_of(root: &Path, report: &Path) -> Vec<std::path::PathBuf> {
    let stem = report.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_string();
    let files = std::fs::read_dir(root.join("converted")).expect("the corpus has conversions").flatten();
    let is_page = |name: &str| {
        name.starts_with(&stem)
            && (name.contains(".raw.") || name.contains(".details"))
            && !name.contains("summary")
    };
    files.map(|f| f.path()).filter(|p| p.file_name().and_then(|n| n.to_str()).is_some_and(is_page)).collect()
}

/// Holds every value of a page against the report; gives how many launches it has them of.
fn same_in(page: &Path, report: &Run) -> usize {
    let Ok(run) = ncu::read(page) else { return 0 };
    assert_eq!(run.kernels.len(), report.kernels.len(), "{}", page.display());
    let is_known = |k: &&KernelRecord| of(k) != (None, None, None, None);
    for (ours, reported) in run.kernels.iter().zip(&report.kernels) {
        // The occupancy section has registers alone.
        let ((a, b, c, d), whole) = (of(ours), of(reported));
        let of_both = (a.and(whole.0), b.and(whole.1), c.and(whole.2), d.and(whole.3));
        assert_eq!((a, b, c, d), of_both, "{}: {:?}", page.display(), ours.launch);
    }
    run.kernels.iter().filter(is_known).count()
}
