//! Binary reports made by hand: what is read from which bytes, and what is said about damaged ones.

use super::fixtures::{assert_close, find, value};
use super::report_bytes::*;
use kprof::ingest::ncu::{NcuError, read_bytes};
use kprof::profile::{ComputeCapability, FindingCode, Run};
use std::time::{Duration, Instant};

fn read(bytes: &[u8]) -> Run {
    read_bytes("x.ncu-rep", bytes).unwrap_or_else(|e| panic!("{e}"))
}

fn file(blocks: &[Vec<u8>]) -> Vec<u8> {
    [start(), blocks.concat()].concat()
}

fn refusal(bytes: &[u8]) -> String {
    read_bytes("x.ncu-rep", bytes).unwrap_err().to_string()
}

#[test]
fn names_may_come_after_the_results() {
    let run = read(&whole());
    assert!(run.complete && run.findings.iter().all(|f| f.code != FindingCode::Partial));
    let [first, second] = &run.kernels[..] else { panic!("{:?}", run.kernels) };
    assert_eq!((first.kernel.as_str(), second.kernel.as_str()), ("first(int)", "second(int)"));
    assert_close(&first.time, 1e-6);
    assert_close(&second.time, 2e-6);
    assert_eq!((value(&first.dram_bytes), value(&second.dram_bytes)), (4096.0, 8192.0));
    assert_eq!((first.launch.as_deref(), second.launch.as_deref()), (Some("0"), Some("1")));
    assert_eq!((first.grid.as_deref(), first.block.as_deref()), (Some("(64, 1, 1)"), Some("(256, 1, 1)")));
    assert_eq!((first.context.as_deref(), first.stream.as_deref()), (Some("1"), Some("7")));
    assert_eq!((first.process.as_deref(), first.device.as_deref()), (Some("4242"), Some("Test GPU")));
    assert_eq!(first.compute_capability, Some(ComputeCapability { major: 8, minor: 6 }));
}

#[test]
fn numbers_of_names_go_on_from_table_to_table() {
    let metrics = [metric(0, double(5.0)), metric(2, double(64.0))];
    let tables = [string_block(&["gpu__time_duration.sum", "other"]), string_block(&["dram__bytes.sum"])];
    let run = read(&file(&[
        tables[0].clone(),
        payload_block(&[], &[launch("k", &metrics)], &[]),
        tables[1].clone(),
    ]));
    assert_eq!((value(&run.kernels[0].time), value(&run.kernels[0].dram_bytes)), (5e-9, 64.0));
}

#[test]
fn every_type_of_value_is_read_and_an_absent_one_is_not_available() {
    let names =
        ["gpu__time_duration.sum", "dram__bytes_read.sum", "dram__bytes_write.sum", "lts__t_bytes.sum"];
    let metrics = [
        metric(0, Proto::new().float(2, 1500.0)),
        metric(1, Proto::new().int(4, 32)),
        metric(2, Proto::new().int(5, 64)),
        metric(3, Proto::new()),
        Proto::new().int(1, 3),
    ];
    let run = read(&file(&[string_block(&names), payload_block(&[], &[launch("k", &metrics)], &[])]));
    let kernel = &run.kernels[0];
    assert_eq!((value(&kernel.time), value(&kernel.dram_bytes)), (1.5e-6, 96.0));
    assert_eq!(kernel.l2_bytes, None);
    assert!(kernel.missing.iter().any(|m| m.contains("op_ffma_pred_on")), "{:?}", kernel.missing);
}

#[test]
fn of_a_metric_that_occurs_twice_the_last_counts() {
    let metrics = [metric(0, double(144_864.0)), metric(1, double(1.0)), metric(0, double(143_296.0))];
    let blocks = [string_block(&NAMES), payload_block(&[], &[launch("k", &metrics)], &[])];
    assert_eq!(value(&read(&file(&blocks)).kernels[0].time), 143_296.0 * 1e-9);
}

#[test]
fn fields_that_are_not_known_are_skipped() {
    let newer = |proto: Proto| proto.int(31, 5).bytes(38, &[0xFF; 40]).double(900, 1.5).float(901, 2.5);
    let with = newer(metric(0, double(7.0)));
    let result = newer(launch("k", &[with]));
    let block = newer(Proto::new().int(2, 1).int(5, result.framed().len() as u64).int(10, 3));
    let run = read(&file(&[string_block(&NAMES), block.framed(), result.framed()]));
    assert_eq!(value(&run.kernels[0].time), 7.0 * 1e-9);
}

#[test]
fn names_fall_back_as_ncu_prints_them() {
    let of = |proto: Proto| {
        let blocks = [string_block(&NAMES), payload_block(&[], &[proto], &[])];
        read(&file(&blocks)).kernels[0].kernel.clone()
    };
    assert_eq!(of(launch("f(int)", &[])), "f(int)");
    assert_eq!(of(launch("", &[])), "function");
    assert_eq!(of(Proto::new().text(5, "_Zf")), "_Zf");
}

#[test]
fn ranges_around_a_launch_say_where_it_came_from() {
    let range = |name: &str| Proto::new().text(1, name).int(3, 0);
    let domain =
        Proto::new().int(1, 0).message(3, &range("step: 3")).message(3, &range("kprof/v1/decode/mlp"));
    let state = Proto::new().message(2, &Proto::new().int(1, 4242).message(2, &domain));
    let blocks = [string_block(&NAMES), payload_block(&[], &[launch("k", &[]).message(21, &state)], &[])];
    let run = read(&file(&blocks));
    assert_eq!(run.kernels[0].nvtx, ["step: 3", "kprof/v1/decode/mlp"]);
    assert_eq!(run.kernels[0].version.as_deref(), Some("v1"));
}

#[test]
fn a_profiled_range_is_a_launch_called_range() {
    let range = Proto::new().message(4, &metric(0, double(3000.0))).message(4, &metric(1, double(128.0)));
    let blocks = [string_block(&NAMES), payload_block(&[], &[launch("k", &[])], &[range])];
    let run = read(&file(&blocks));
    assert_eq!((run.kernels[1].kernel.as_str(), value(&run.kernels[1].time)), ("range", 3000.0 * 1e-9));
    assert_eq!(value(&run.kernels[1].dram_bytes), 128.0);
}

#[test]
fn the_session_is_merged_from_its_blocks() {
    let version = Proto::new().text(1, "Nsight Compute Target").text(2, "2025.1.0.0");
    let program = Proto::new().text(1, "/bin/app");
    let run = read(&file(&[
        header_block(3, &Proto::new().int(1, 77).int(2, 1_745_000_000)),
        header_block(3, &Proto::new().message(8, &version)),
        header_block(3, &Proto::new().message(9, &program)),
        payload_block(&[], &[launch("k", &[])], &[]),
        header_block(3, &Proto::new().text(11, "ncu -o x /bin/app ")),
        string_block(&NAMES),
    ]));
    let info = run.profiler.expect("a report says who wrote it");
    assert_eq!(info.version.as_deref(), Some("2025.1.0.0"));
    assert_eq!(
        (info.command.as_deref(), info.executable.as_deref()),
        (Some("ncu -o x /bin/app"), Some("/bin/app"))
    );
    assert_eq!(info.started_unix_s, Some(1_745_000_000));
}

#[test]
fn the_profilers_own_percentage_is_checked() {
    let names = [
        "gpu__time_duration.sum",
        "sm__sass_thread_inst_executed_op_fadd_pred_on.sum",
        "sm__sass_thread_inst_executed_op_fmul_pred_on.sum",
        "sm__sass_thread_inst_executed_op_ffma_pred_on.sum",
        "sm__sass_thread_inst_executed_op_ffma_pred_on.sum.peak_sustained",
        "sm__cycles_elapsed.avg.per_second",
    ];
    // 2 x 500 FLOPs in 1 us are 1 GFLOP/s; the peak is 2 x 2 x 1e9 = 4 GFLOP/s: 25 %.
    let values = [1000.0, 0.0, 0.0, 500.0, 2.0, 1e9];
    let metrics: Vec<Proto> = (0..).zip(values).map(|(id, v)| metric(id, double(v))).collect();
    let disagreements = |percent: &str| {
        let text = format!("The kernel achieved {percent} of this device's fp32 peak performance.");
        let body = Proto::new().message(1, &Proto::new().message(1, &Proto::new().text(1, &text)));
        let rule = Proto::new().text(1, "SOLFPRoofline").message(3, &body);
        let result = launch("k", &metrics).message(19, &rule);
        let run = read(&file(&[string_block(&names), payload_block(&[], &[result], &[])]));
        find(&run.kernels[0].findings, FindingCode::Disagreement).map(ToString::to_string)
    };
    assert_eq!(disagreements("25%"), None);
    let said = disagreements("40%").expect("25 is not 40");
    assert!(said.contains("the profiler says 40 % of the fp32 peak, its counters give 25.0 %"), "{said}");
}

#[test]
fn counters_below_zero_and_times_of_zero_are_not_available() {
    let metrics = [metric(0, double(0.0)), metric(1, double(-3792.0))];
    let run = read(&file(&[string_block(&NAMES), payload_block(&[], &[launch("k", &metrics)], &[])]));
    assert_eq!((&run.kernels[0].time, &run.kernels[0].dram_bytes), (&None, &None));
    let finding = find(&run.kernels[0].findings, FindingCode::MetricMissing).expect("it is said").to_string();
    assert!(finding.starts_with("x.ncu-rep: launch 0: metric 'dram__bytes.sum' is -3792"), "{finding}");
}

#[test]
fn a_report_cut_anywhere_gives_what_it_has_and_says_where_it_ends() {
    let bytes = whole();
    let full = read(&bytes);
    let names_at = bytes.len() - string_block(&NAMES).len();
    for end in 4..bytes.len() {
        match read_bytes("x.ncu-rep", &bytes[..end]) {
            Ok(run) => {
                panic!("cut at {end}: {} launches without the names of their metrics", run.kernels.len())
            }
            Err(NcuError::DamagedReport { damage, .. }) => assert!(damage.starts_with("byte "), "{damage}"),
            // A cut between blocks looks like a shorter report: until its names are missed.
            Err(NcuError::EmptyReport { .. }) => assert!(end < names_at),
            Err(error) => panic!("cut at {end}: {error}"),
        }
    }
    // With the names first, the complete results before the cut are kept.
    let metrics = |time| [metric(0, double(time))];
    let blocks = [
        string_block(&NAMES),
        payload_block(&[], &[launch("a", &metrics(1.0)), launch("b", &metrics(2.0))], &[]),
        payload_block(&[], &[launch("c", &metrics(3.0))], &[]),
    ];
    let bytes = file(&blocks);
    let mut most = 0;
    for end in 4..bytes.len() {
        let Ok(run) = read_bytes("x.ncu-rep", &bytes[..end]) else { continue };
        assert!(
            run.kernels.iter().zip(1..).all(|(k, time)| value(&k.time) == f64::from(time) * 1e-9),
            "{end}"
        );
        let between_blocks = run.kernels.len() == 2 && run.complete;
        assert!(between_blocks || find(&run.findings, FindingCode::Partial).is_some(), "cut at {end}");
        most = most.max(run.kernels.len());
    }
    assert_eq!((most, full.kernels.len()), (2, 2));
}

#[test]
fn a_partial_report_names_the_byte_and_what_should_be_there() {
    let blocks = [
        string_block(&NAMES),
        payload_block(&[], &[launch("a", &[metric(0, double(1.0))]), launch("b", &[])], &[]),
    ];
    let bytes = file(&blocks);
    let cut = bytes.len() - 3;
    let run = read(&bytes[..cut]);
    assert!(!run.complete && run.kernels.len() == 1);
    let finding = find(&run.findings, FindingCode::Partial).expect("it is said").to_string();
    let second = bytes.len() - launch("b", &[]).framed().len();
    assert!(finding.contains(&format!("from byte {second}: expected the length of a result")), "{finding}");
    assert!(finding.contains("profile again and let ncu finish"), "{finding}");
}

#[test]
fn a_damaged_result_is_left_out_and_the_others_are_kept() {
    let mut damaged = launch("bad", &[]);
    damaged.0.extend([0x6A, 0x7F]);
    let results = [launch("a", &[metric(0, double(1.0))]), damaged, launch("c", &[metric(0, double(3.0))])];
    let run = read(&file(&[string_block(&NAMES), payload_block(&[], &results, &[])]));
    let names: Vec<&str> = run.kernels.iter().map(|k| k.kernel.as_str()).collect();
    assert_eq!(names, ["a", "c"]);
    assert_eq!(run.kernels[1].launch.as_deref(), Some("2"));
    let finding = find(&run.findings, FindingCode::Partial).expect("it is said").to_string();
    assert!(finding.contains("3 results were found, 1 of them too damaged to use"), "{finding}");
}

#[test]
fn another_version_or_no_result_is_refused() {
    let newer = [b"NVR\0".as_slice(), &Proto::new().int(1, 8).framed()].concat();
    assert!(refusal(&newer).contains("expected version 7 of the report format, found 8"));
    assert!(refusal(&file(&[session_block(), string_block(&NAMES)])).contains("the report has no results"));
}

#[test]
fn hostile_lengths_and_counts_cost_no_more_than_the_file() {
    let start_time = Instant::now();
    let huge = u64::MAX;
    let lengths: Vec<Vec<u8>> = vec![
        vec![0xFF; 4],
        Proto::new().int(1, huge).int(5, 0).framed(),
        Proto::new().int(2, huge).int(5, huge).framed(),
        Proto::new().int(7, huge).int(5, 8).framed(),
        [Proto::new().int(2, 1).int(5, 4).framed(), vec![0xFF; 4]].concat(),
        [Proto::new().int(1, 1).int(5, 4).framed(), vec![0xFE, 0xFF, 0xFF, 0xFF]].concat(),
        [&Proto::new().bytes(3, &[0x32, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F]).framed()[..]].concat(),
    ];
    for hostile in &lengths {
        assert!(read_bytes("x.ncu-rep", &file(std::slice::from_ref(hostile))).is_err());
    }
    // Empty results of four bytes each, and one message nested in itself as often as fits.
    let empty = [Proto::new().int(2, huge).int(5, 4_000_000).framed(), vec![0; 4_000_000]].concat();
    assert!(refusal(&file(&[empty])).contains("expected a result with the name of its kernel"));
    let mut nested = Proto::new();
    for _ in 0..20_000 {
        nested = Proto([vec![0x0A], varint(nested.0.len() as u64), nested.0].concat());
    }
    let state = launch("k", &[]).message(21, &nested).message(19, &nested).message(13, &nested);
    let run = read(&file(&[string_block(&NAMES), payload_block(&[], &[state], &[])]));
    assert_eq!(run.kernels.len(), 1);
    assert!(start_time.elapsed() < Duration::from_secs(10), "{:?}", start_time.elapsed());
}

#[test]
fn no_bit_flip_makes_the_reader_panic() {
    let bytes = whole();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            let _ = read_bytes("x.ncu-rep", &flipped);
        }
    }
}
